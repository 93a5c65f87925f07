import type { AnswerPart, ChatAnswer, Finish } from '../../conversation/chat-answer.js'
import type { Conversation } from '../../conversation/conversation.js'
import { isJsonObject, type JsonObject, objectsOf, parseJsonObject, textOf } from '../../conversation/json-object.js'
import { tokensOf } from './answer.js'
import { isJsonTool } from './json-tool.js'

/**
 * A whole answer of Converse; null when the bytes are none, or the model wrote something that Converse could not read.
 * It has no id, and does not name the model. Source: AWS's Bedrock API reference, "Converse", response.
 */
export function readConverseAnswer(bytes: Buffer, conversation: Conversation): ChatAnswer | null {
  const response = parseJsonObject(bytes.toString('utf8'))
  const output = response?.['output']
  const message = isJsonObject(output) ? output['message'] : null
  if (response === null || !isJsonObject(message) || !Array.isArray(message['content'])) return null
  const parts: AnswerPart[] = []
  for (const block of objectsOf(message['content'])) {
    const read = partsOf(block, conversation)
    if (read === null) return null
    parts.push(...read)
  }
  const finish = finishOf(
    response,
    parts.some(({ type }) => type === 'tool_call'),
  )
  if (finish === null) return null
  const { usage } = response
  return { id: null, model: null, parts, finish, usage: isJsonObject(usage) ? tokensOf(usage) : null }
}

/** Null where a call does not say what is called. */
function partsOf(block: JsonObject, conversation: Conversation): AnswerPart[] | null {
  const { text, reasoningContent, toolUse, citationsContent } = block
  if (typeof text === 'string') return textPart(text)
  if (isJsonObject(reasoningContent)) return reasoningParts(reasoningContent)
  if (isJsonObject(citationsContent)) {
    return objectsOf(citationsContent['content']).flatMap((piece) => textPart(textOf(piece['text']) ?? ''))
  }
  if (!isJsonObject(toolUse) || isServerTool(toolUse)) return []
  const { toolUseId: id, name, input } = toolUse
  if (typeof id !== 'string' || typeof name !== 'string') return null
  const argumentsText = JSON.stringify(input ?? {})
  return isJsonTool(name, conversation) ? textPart(argumentsText) : [{ type: 'tool_call', id, name, argumentsText }]
}

/** A tool that runs at AWS: not the client's to answer. */
export function isServerTool(toolUse: JsonObject): boolean {
  return toolUse['type'] === 'server_tool_use'
}

function textPart(text: string): AnswerPart[] {
  return text === '' ? [] : [{ type: 'text', text, logprobs: null }]
}

function reasoningParts({ reasoningText, redactedContent }: JsonObject): AnswerPart[] {
  if (typeof redactedContent === 'string') {
    return [{ type: 'reasoning', text: '', signature: null, redacted: redactedContent }]
  }
  if (!isJsonObject(reasoningText)) return []
  const text = textOf(reasoningText['text']) ?? ''
  return [{ type: 'reasoning', text, signature: textOf(reasoningText['signature']), redacted: null }]
}

/**
 * How an answer, or the event that ends one, ended; null when the model wrote what Converse could not read. `hasCalled`: it
 * called a tool of the client's; ours for JSON is none.
 */
export function finishOf(ending: JsonObject, hasCalled: boolean): Finish | null {
  switch (ending['stopReason']) {
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return { reason: 'length', stopSequence: null }
    case 'stop_sequence': {
      const own = ending['additionalModelResponseFields']
      return { reason: 'stop_sequence', stopSequence: isJsonObject(own) ? textOf(own['stop_sequence']) : null }
    }
    case 'tool_use':
      return { reason: hasCalled ? 'tool_calls' : 'stop', stopSequence: null }
    case 'guardrail_intervened':
    case 'content_filtered':
      return { reason: 'content_filter', stopSequence: null }
    case 'malformed_model_output':
    case 'malformed_tool_use':
      return null
    default:
      return typeof ending['stopReason'] === 'string' ? { reason: 'stop', stopSequence: null } : null
  }
}

/** The message of an error body; what is wrong with a signature is told with a capital letter. */
export function readErrorMessage(bytes: Buffer): string | null {
  const body = parseJsonObject(bytes.toString('utf8'))
  return textOf(body?.['message']) ?? textOf(body?.['Message'])
}
