import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { newTraceId } from '../../../../proto/std/ids.js'
import type { AnswerPart, ChatAnswer, FinishReason, TokenLogprob } from '../../conversation/chat-answer.js'
import type { AnswerContext } from '../../request/ports.js'

/** An answer as a chat completion. Source: OpenAI's API reference, "The chat completion object". */
export function writeChatAnswer(answer: ChatAnswer, context: AnswerContext): string {
  const logprobs = answer.parts.flatMap((part) => (part.type === 'text' ? (part.logprobs ?? []) : []))
  return JSON.stringify({
    id: answer.id ?? newAnswerId('chatcmpl-'),
    object: 'chat.completion',
    created: context.createdAtSeconds,
    model: answer.model ?? context.model,
    choices: [
      {
        index: 0,
        message: messageOf(answer.parts),
        logprobs: logprobs.length === 0 ? null : logprobsOf(logprobs),
        finish_reason: finishReasonOf(answer.finish.reason),
      },
    ],
    ...(answer.usage === null ? {} : { usage: chatUsage(answer.usage) }),
  })
}

/**
 * Of an answer to which its vendor gave none. Drawn, and not the request's: that one is often the client's own word, and an
 * answer that is kept is given to others.
 */
export function newAnswerId(prefix: 'chatcmpl-' | 'cmpl-' | 'msg_'): string {
  return prefix + newTraceId()
}

function messageOf(parts: readonly AnswerPart[]) {
  const text = joined(parts, 'text')
  const refusal = joined(parts, 'refusal')
  const reasoning = joined(parts, 'reasoning')
  const calls = parts.flatMap((part) =>
    part.type === 'tool_call'
      ? [{ id: part.id, type: 'function', function: { name: part.name, arguments: part.argumentsText } }]
      : [],
  )
  return {
    role: 'assistant',
    content: text,
    refusal,
    // vLLM's name, which other compatible servers share; OpenAI itself does not show it.
    ...(reasoning === null || reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
}

function joined(parts: readonly AnswerPart[], type: 'text' | 'refusal' | 'reasoning'): string | null {
  const texts = parts.flatMap((part) => (part.type === type ? [part.text] : []))
  return texts.length === 0 ? null : texts.join('')
}

export function logprobsOf(logprobs: readonly TokenLogprob[]) {
  return {
    content: logprobs.map(({ token, logprob, bytes, top }) => ({ token, logprob, bytes, top_logprobs: top })),
    refusal: null,
  }
}

export function finishReasonOf(reason: FinishReason): string {
  switch (reason) {
    case 'length':
    case 'tool_calls':
    case 'content_filter':
      return reason
    case 'refusal':
      return 'content_filter'
    default:
      return 'stop'
  }
}

/** Subsets that the vendor did not tell are left out, never zero. */
export function chatUsage(usage: TokenUsage) {
  return {
    prompt_tokens: usage.input,
    completion_tokens: usage.output,
    total_tokens: usage.input + usage.output,
    ...(usage.cachedInput === null ? {} : { prompt_tokens_details: { cached_tokens: usage.cachedInput } }),
    ...(usage.reasoningOutput === null
      ? {}
      : { completion_tokens_details: { reasoning_tokens: usage.reasoningOutput } }),
  }
}
