import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import type { AnswerPart, ChatAnswer, FinishReason } from '../../conversation/chat-answer.js'
import { parseJsonObject } from '../../conversation/json-object.js'
import type { AnswerContext } from '../../request/ports.js'
import { newAnswerId } from '../chat-completions/write-answer.js'

/**
 * An answer as a message; null where a model wrote arguments of a tool that are no JSON object, for which a message has no
 * place. Source: Anthropic's API reference, "Create a Message", response.
 */
export function writeMessageAnswer(answer: ChatAnswer, context: AnswerContext): string | null {
  const content = answer.parts.map(blockOf)
  if (content.includes(null)) return null
  return JSON.stringify({
    id: answer.id ?? newAnswerId('msg_'),
    type: 'message',
    role: 'assistant',
    model: answer.model ?? context.model,
    content,
    stop_reason: stopReasonOf(answer.finish.reason),
    stop_sequence: answer.finish.stopSequence,
    usage: messageUsage(answer.usage),
  })
}

function blockOf(part: AnswerPart): object | null {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return { type: 'text', text: part.text, citations: null }
    case 'reasoning':
      return part.redacted === null
        ? { type: 'thinking', thinking: part.text, signature: part.signature ?? '' }
        : { type: 'redacted_thinking', data: part.redacted }
    case 'tool_call': {
      const input = parseJsonObject(part.argumentsText === '' ? '{}' : part.argumentsText)
      return input && { type: 'tool_use', id: part.id, name: part.name, input }
    }
  }
}

export function stopReasonOf(reason: FinishReason): string {
  switch (reason) {
    case 'stop':
      return 'end_turn'
    case 'stop_sequence':
      return 'stop_sequence'
    case 'length':
      return 'max_tokens'
    case 'tool_calls':
      return 'tool_use'
    case 'pause':
      return 'pause_turn'
    case 'content_filter':
    case 'refusal':
      return 'refusal'
  }
}

/** Anthropic counts the parts of the input side by side; a client of it always gets numbers. */
export function messageUsage(usage: TokenUsage | null) {
  const cached = usage?.cachedInput ?? 0
  const written = usage?.cacheWriteInput ?? 0
  return {
    input_tokens: Math.max(0, (usage?.input ?? 0) - cached - written),
    cache_creation_input_tokens: written,
    cache_read_input_tokens: cached,
    output_tokens: usage?.output ?? 0,
  }
}
