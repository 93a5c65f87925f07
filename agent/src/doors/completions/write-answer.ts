import type { ChatAnswer, FinishReason } from '../../conversation/chat-answer.js'
import type { AnswerContext } from '../../request/ports.js'
import { chatUsage, newAnswerId } from '../chat-completions/write-answer.js'
import { LogprobLists } from './logprob-lists.js'

/**
 * An answer as a completion; null where a model called a tool, for which there is no place (none was offered). Thoughts have
 * none either and are left out. Source: OpenAI's API reference, "The completion object".
 */
export function writeCompletionAnswer(answer: ChatAnswer, context: AnswerContext): string | null {
  if (answer.parts.some(({ type }) => type === 'tool_call')) return null
  const logprobs = answer.parts.flatMap((part) => (part.type === 'text' ? (part.logprobs ?? []) : []))
  return JSON.stringify({
    id: answer.id ?? newAnswerId('cmpl-'),
    object: 'text_completion',
    created: context.createdAtSeconds,
    model: answer.model ?? context.model,
    choices: [
      {
        text: answer.parts.map((part) => (part.type === 'text' || part.type === 'refusal' ? part.text : '')).join(''),
        index: 0,
        logprobs: new LogprobLists().next(logprobs),
        finish_reason: completionFinishOf(answer.finish.reason),
      },
    ],
    ...(answer.usage === null ? {} : { usage: chatUsage(answer.usage) }),
  })
}

export function completionFinishOf(reason: FinishReason): string {
  switch (reason) {
    case 'length':
    case 'content_filter':
      return reason
    case 'refusal':
      return 'content_filter'
    default:
      return 'stop'
  }
}
