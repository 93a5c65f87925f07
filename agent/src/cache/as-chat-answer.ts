import type { AnswerPart, ChatAnswer, Finish } from '../conversation/chat-answer.js'
import type { ChatEvent } from '../conversation/chat-event.js'
import type { Conversation } from '../conversation/conversation.js'
import { isJsonObject, type JsonObject, objectsOf, parseJsonObject, textOf } from '../conversation/json-object.js'
import { readMessageAnswer } from '../providers/anthropic/read-answer.js'
import { MessageEvents } from '../providers/anthropic/read-events.js'
import { readChatAnswer } from '../providers/openai/read-answer.js'
import { OpenaiEventReader } from '../providers/openai/read-events.js'
import type { UpstreamOperation } from '../providers/provider-dialect.js'
import { SseFields } from '../providers/sse-fields.js'
import type { KeptAnswer } from './kept-answer.js'

/**
 * A kept answer in no door's words, for where it has to be said with something before it. Read from the bytes that a client
 * of that door once got. Null for what is no conversation, or cannot be read.
 */
export function asChatAnswer(
  kept: KeptAnswer,
  operation: UpstreamOperation,
  conversation: Conversation | null,
): ChatAnswer | null {
  try {
    return kept.stream ? readStream(kept.bytes, operation) : readWhole(kept.bytes, operation, conversation)
  } catch {
    // Readers are made for what vendors say; whatever one trips over is no answer.
    return null
  }
}

function readWhole(bytes: Buffer, operation: UpstreamOperation, conversation: Conversation | null): ChatAnswer | null {
  switch (operation) {
    case 'chat_completions':
      return readChatAnswer(bytes)
    case 'messages':
      return conversation && readMessageAnswer(bytes, conversation)
    case 'completions':
      return readCompletion(parseJsonObject(bytes.toString('utf8')))
    case 'responses':
      return readResponse(parseJsonObject(bytes.toString('utf8')))
    default:
      return null
  }
}

function readCompletion(answer: JsonObject | null): ChatAnswer | null {
  const text = textOf(objectsOf(answer?.['choices'])[0]?.['text'])
  return answer && text ? plainAnswer(answer, text) : null
}

function plainAnswer(answer: JsonObject, text: string): ChatAnswer {
  const parts: AnswerPart[] = [{ type: 'text', text, logprobs: null }]
  return { id: textOf(answer['id']), model: textOf(answer['model']), parts, finish: stop, usage: null }
}

const stop: Finish = Object.freeze({ reason: 'stop', stopSequence: null })

/** Source: OpenAI's API reference, "The response object". What it thought is left out: nobody may ask about it again. */
function readResponse(response: JsonObject | null): ChatAnswer | null {
  if (response === null) return null
  const parts = objectsOf(response['output']).flatMap((item): AnswerPart[] => {
    switch (item['type']) {
      case 'message': {
        const text = objectsOf(item['content'])
          .map((part) => textOf(part['text']) ?? '')
          .join('')
        return text === '' ? [] : [{ type: 'text', text, logprobs: null }]
      }
      case 'function_call': {
        const { call_id: id, name, arguments: given } = item
        return [
          { type: 'tool_call', id: textOf(id) ?? '', name: textOf(name) ?? '', argumentsText: textOf(given) ?? '{}' },
        ]
      }
      default:
        return []
    }
  })
  if (parts.length === 0) return null
  const callsTools = parts.some(({ type }) => type === 'tool_call')
  const finish: Finish = callsTools ? { reason: 'tool_calls', stopSequence: null } : stop
  return { id: textOf(response['id']), model: textOf(response['model']), parts, finish, usage: null }
}

// ----------------------------------------------------------------------------------------------------------- streams

function readStream(bytes: Buffer, operation: UpstreamOperation): ChatAnswer | null {
  switch (operation) {
    case 'chat_completions': {
      const assembly = new Assembly()
      const reader = new OpenaiEventReader()
      reader.push(bytes, assembly.take)
      reader.end(assembly.take)
      return assembly.finish()
    }
    case 'messages': {
      const assembly = new Assembly()
      const events = new MessageEvents(null)
      eachEvent(bytes, (fields) => events.read(fields, assembly.take))
      return assembly.finish()
    }
    case 'completions': {
      let [text, first] = ['', null as JsonObject | null]
      eachEvent(bytes, (fields) => {
        first ??= fields
        text += textOf(objectsOf(fields['choices'])[0]?.['text']) ?? ''
      })
      return first === null || text === '' ? null : plainAnswer(first, text)
    }
    case 'responses': {
      let response: JsonObject | null = null
      eachEvent(bytes, (fields) => {
        if (fields['type'] === 'response.completed' && isJsonObject(fields['response'])) response = fields['response']
      })
      return readResponse(response)
    }
    default:
      return null
  }
}

function eachEvent(bytes: Buffer, take: (fields: JsonObject) => void): void {
  const sse = new SseFields()
  const takeFields = (data: { readonly fields: JsonObject } | { readonly text: string }) => {
    if ('fields' in data) take(data.fields)
  }
  sse.push(bytes, takeFields)
  sse.end(takeFields)
}

/** Events, put together again. */
class Assembly {
  #id: string | null = null
  #model: string | null = null
  #finish: Finish | null = null
  #isBroken = false
  readonly #parts: AnswerPart[] = []

  readonly take = (event: ChatEvent) => {
    const last = this.#parts.at(-1)
    switch (event.type) {
      case 'start':
        this.#id = event.id
        this.#model = event.model
        return
      case 'text':
        if (last?.type === 'text') this.#replaceLast({ ...last, text: last.text + event.text })
        else this.#parts.push({ type: 'text', text: event.text, logprobs: null })
        return
      case 'reasoning':
        if (last?.type === 'reasoning' && last.signature === null && last.redacted === null) {
          this.#replaceLast({ ...last, text: last.text + event.text })
        } else this.#parts.push({ type: 'reasoning', text: event.text, signature: null, redacted: null })
        return
      case 'reasoning_signature':
        if (last?.type === 'reasoning') this.#replaceLast({ ...last, signature: event.signature })
        return
      case 'reasoning_redacted':
        this.#parts.push({ type: 'reasoning', text: '', signature: null, redacted: event.data })
        return
      case 'tool_call':
        this.#parts.push({ type: 'tool_call', id: event.id, name: event.name, argumentsText: '' })
        return
      case 'tool_arguments':
        if (last?.type === 'tool_call') {
          this.#replaceLast({ ...last, argumentsText: last.argumentsText + event.text })
        }
        return
      case 'finish':
        this.#finish = event.finish
        return
      case 'refusal':
      case 'error':
      case 'malformed':
        // Nothing of that kind is kept.
        this.#isBroken = true
        return
      default:
        return
    }
  }

  finish(): ChatAnswer | null {
    if (this.#isBroken || this.#finish === null || this.#parts.length === 0) return null
    return { id: this.#id, model: this.#model, parts: this.#parts, finish: this.#finish, usage: null }
  }

  #replaceLast(part: AnswerPart): void {
    this.#parts[this.#parts.length - 1] = part
  }
}
