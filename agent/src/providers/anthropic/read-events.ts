import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import type { ChatEventReader, TakeEvent } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { countOf, isJsonObject, type JsonObject, textOf } from '../../conversation/json-object.js'
import { type SseData, SseFields } from '../sse-fields.js'
import { tokensOf } from './answer.js'
import { isJsonTool } from './json-tool.js'
import { finishOf, refusalIn } from './read-answer.js'

/** Reads a stream of message events. Source: Anthropic's documentation, "Streaming Messages". */
export class AnthropicEventReader implements ChatEventReader {
  readonly #sse = new SseFields()
  readonly #events: MessageEvents

  constructor(conversation: Conversation) {
    this.#events = new MessageEvents(conversation)
  }

  push(chunk: Buffer, take: TakeEvent) {
    this.#sse.push(chunk, (data) => this.#read(data, take))
    if (this.#sse.malformed) take({ type: 'malformed' })
  }

  end(take: TakeEvent) {
    this.#sse.end((data) => this.#read(data, take))
    if (this.#sse.malformed) take({ type: 'malformed' })
  }

  #read(data: SseData, take: TakeEvent) {
    if ('fields' in data) this.#events.read(data.fields, take)
    else take({ type: 'malformed' })
  }
}

/** What the events of one message mean; also read by who sends their bytes on as they are. */
export class MessageEvents {
  readonly #conversation: Conversation | null
  /** Told first; the end tells the output and may leave the rest out. */
  #told: TokenUsage | null = null
  /** The block that is open is our own tool for JSON: its arguments are the answer's text. */
  #isJsonAnswer = false
  /** The arguments of the open tool call as they stand until pieces of them come; null once they came, and without a call. */
  #wholeInput: JsonObject | null = null

  constructor(conversation: Conversation | null) {
    this.#conversation = conversation
  }

  read(event: JsonObject, take: TakeEvent) {
    switch (event['type']) {
      case 'message_start':
        return this.#readStart(event['message'], take)
      case 'content_block_start':
        return this.#readBlock(event['content_block'], take)
      case 'content_block_delta':
        return this.#readDelta(event['delta'], take)
      case 'content_block_stop':
        return this.#endInput(take)
      case 'message_delta':
        return this.#readEnd(event, take)
      case 'message_stop':
        return take({ type: 'done' })
      case 'error': {
        const error = event['error']
        const message = isJsonObject(error) ? textOf(error['message']) : null
        return take({ type: 'error', message: message ?? 'the upstream reported an error' })
      }
      default:
        // `ping`, and what comes later: the documentation asks to pass over what is not known.
        if (typeof event['type'] !== 'string') take({ type: 'malformed' })
    }
  }

  #readStart(message: unknown, take: TakeEvent) {
    if (!isJsonObject(message)) return take({ type: 'malformed' })
    take({ type: 'start', id: textOf(message['id']), model: textOf(message['model']) })
    const usage = isJsonObject(message['usage']) ? tokensOf(message['usage']) : null
    if (usage === null) return
    // The output told here is what was generated up to now and counts again at the end.
    this.#told = { ...usage, output: 0 }
    take({ type: 'usage', usage: this.#told, final: false })
  }

  #readBlock(block: unknown, take: TakeEvent) {
    if (!isJsonObject(block)) return take({ type: 'malformed' })
    this.#endInput(take)
    this.#isJsonAnswer = false
    switch (block['type']) {
      case 'text': {
        const text = textOf(block['text']) ?? ''
        return text === '' ? undefined : take({ type: 'text', text, logprobs: null })
      }
      case 'redacted_thinking':
        return take({ type: 'reasoning_redacted', data: textOf(block['data']) ?? '' })
      case 'tool_use': {
        const name = textOf(block['name']) ?? ''
        this.#isJsonAnswer = isJsonTool(name, this.#conversation)
        this.#wholeInput = isJsonObject(block['input']) ? block['input'] : {}
        return this.#isJsonAnswer ? undefined : take({ type: 'tool_call', id: textOf(block['id']) ?? '', name })
      }
    }
  }

  #readDelta(delta: unknown, take: TakeEvent) {
    if (!isJsonObject(delta)) return take({ type: 'malformed' })
    switch (delta['type']) {
      case 'text_delta':
        return take({ type: 'text', text: textOf(delta['text']) ?? '', logprobs: null })
      case 'thinking_delta':
        return take({ type: 'reasoning', text: textOf(delta['thinking']) ?? '' })
      case 'signature_delta':
        return take({ type: 'reasoning_signature', signature: textOf(delta['signature']) ?? '' })
      case 'input_json_delta': {
        const text = textOf(delta['partial_json']) ?? ''
        if (text === '') return
        this.#wholeInput = null
        return this.#takeInput(text, take)
      }
    }
  }

  /** A call of which no pieces came has the arguments that it began with: none, or all of them. */
  #endInput(take: TakeEvent) {
    const whole = this.#wholeInput
    this.#wholeInput = null
    if (whole !== null) this.#takeInput(JSON.stringify(whole), take)
  }

  #takeInput(text: string, take: TakeEvent) {
    take(this.#isJsonAnswer ? { type: 'text', text, logprobs: null } : { type: 'tool_arguments', text })
  }

  #readEnd(event: JsonObject, take: TakeEvent) {
    const delta = event['delta']
    if (isJsonObject(delta)) {
      const refusal = refusalIn(delta['stop_details'])
      if (refusal !== null) take({ type: 'refusal', text: refusal })
      if (textOf(delta['stop_reason']) !== null) {
        take({ type: 'finish', finish: finishOf(delta, this.#conversation) })
      }
    }
    const usage = isJsonObject(event['usage']) ? this.#totalOf(event['usage']) : null
    if (usage !== null) take({ type: 'usage', usage, final: true })
  }

  #totalOf(usage: JsonObject): TokenUsage | null {
    const told = tokensOf(usage)
    if (told === null || countOf(usage['input_tokens']) !== null || this.#told === null) return told
    return { ...this.#told, output: told.output, reasoningOutput: told.reasoningOutput }
  }
}
