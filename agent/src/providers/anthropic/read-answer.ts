import type { AnswerPart, ChatAnswer, Finish } from '../../conversation/chat-answer.js'
import type { Conversation } from '../../conversation/conversation.js'
import { isJsonObject, type JsonObject, objectsOf, parseJsonObject, textOf } from '../../conversation/json-object.js'
import { tokensOf } from './answer.js'
import { isJsonTool } from './json-tool.js'

/** A whole message; null when the bytes are none. Source: Anthropic's API reference, "Create a Message", response. */
export function readMessageAnswer(bytes: Buffer, conversation: Conversation): ChatAnswer | null {
  const message = parseJsonObject(bytes.toString('utf8'))
  if (message === null || message['type'] !== 'message' || !Array.isArray(message['content'])) return null
  const parts = objectsOf(message['content']).flatMap((block) => partsOf(block, conversation))
  const refusal = refusalIn(message['stop_details'])
  if (refusal !== null) parts.push({ type: 'refusal', text: refusal })
  const { usage } = message
  return {
    id: textOf(message['id']),
    model: textOf(message['model']),
    parts,
    finish: finishOf(message, conversation),
    usage: isJsonObject(usage) ? tokensOf(usage) : null,
  }
}

function partsOf(block: JsonObject, conversation: Conversation): AnswerPart[] {
  switch (block['type']) {
    case 'text': {
      const text = textOf(block['text']) ?? ''
      return text === '' ? [] : [{ type: 'text', text, logprobs: null }]
    }
    case 'thinking':
      return [reasoning(textOf(block['thinking']) ?? '', textOf(block['signature']), null)]
    case 'redacted_thinking':
      return [reasoning('', null, textOf(block['data']) ?? '')]
    case 'tool_use': {
      const name = textOf(block['name']) ?? ''
      const argumentsText = JSON.stringify(block['input'] ?? {})
      if (isJsonTool(name, conversation)) return [{ type: 'text', text: argumentsText, logprobs: null }]
      return [{ type: 'tool_call', id: textOf(block['id']) ?? '', name, argumentsText }]
    }
    default:
      return []
  }
}

function reasoning(text: string, signature: string | null, redacted: string | null): AnswerPart {
  return { type: 'reasoning', text, signature, redacted }
}

/** Why the model refused, where it says. */
export function refusalIn(details: unknown): string | null {
  return isJsonObject(details) && details['type'] === 'refusal' ? textOf(details['explanation']) : null
}

/** How a message, or the delta that ends one, ended. */
export function finishOf(message: JsonObject, conversation: Conversation | null): Finish {
  const stopSequence = textOf(message['stop_sequence'])
  switch (message['stop_reason']) {
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return { reason: 'length', stopSequence: null }
    case 'stop_sequence':
      return { reason: 'stop_sequence', stopSequence }
    case 'tool_use':
      // Our own tool for JSON is not the client's.
      return { reason: conversation?.answerFormat?.type === 'json' ? 'stop' : 'tool_calls', stopSequence: null }
    case 'refusal':
      return { reason: 'refusal', stopSequence: null }
    case 'pause_turn':
      return { reason: 'pause', stopSequence: null }
    default:
      return { reason: 'stop', stopSequence: null }
  }
}

/** The message of Anthropic's error body. */
export function readErrorMessage(bytes: Buffer): string | null {
  const error = parseJsonObject(bytes.toString('utf8'))?.['error']
  return isJsonObject(error) ? textOf(error['message']) : null
}
