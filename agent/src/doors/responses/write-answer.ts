import { newTraceId } from '../../../../proto/std/ids.js'
import type { AnswerPart, ChatAnswer, TokenLogprob } from '../../conversation/chat-answer.js'
import type { AnswerContext } from '../../request/ports.js'
import {
  callItem,
  callItemId,
  messageId,
  messageItem,
  refusalPart,
  textPart,
  thoughtId,
  thoughtItem,
  thoughtPlaceOf,
} from './output-items.js'
import { incompleteReasonOf, responseName, responseObject } from './response-object.js'

/** An answer as a response. */
export function writeResponseAnswer(answer: ChatAnswer, context: AnswerContext): string {
  // Not the request's, which is often the client's own word: an answer that is kept is given to others.
  const name = responseName(answer.id ?? newTraceId(), context)
  const incompleteReason = incompleteReasonOf(
    answer.finish,
    answer.parts.some(({ type }) => type === 'refusal'),
  )
  const groups = groupsOf(answer.parts)
  const output = groups.map((group, index) => {
    const isCutOff = incompleteReason !== null && index === groups.length - 1
    return itemOf(group, index, isCutOff ? 'incomplete' : 'completed', name, context)
  })
  return JSON.stringify(
    responseObject(
      {
        name,
        model: answer.model ?? context.model,
        output,
        status: incompleteReason === null ? 'completed' : 'incomplete',
        incompleteReason,
        usage: answer.usage,
      },
      context,
    ),
  )
}

type SaidPart = Extract<AnswerPart, { type: 'text' | 'refusal' }>
type Group = readonly SaidPart[] | Exclude<AnswerPart, SaidPart>

/** What is said in a row is one message; thoughts and calls are items of their own. */
function groupsOf(parts: readonly AnswerPart[]): Group[] {
  const groups: Group[] = []
  let said: SaidPart[] | null = null
  for (const part of parts) {
    if (part.type !== 'text' && part.type !== 'refusal') {
      said = null
      groups.push(part)
    } else if (said === null) {
      said = [part]
      groups.push(said)
    } else said.push(part)
  }
  return groups
}

function itemOf(
  group: Group,
  index: number,
  status: 'completed' | 'incomplete',
  name: string,
  context: AnswerContext,
): object {
  if (!('type' in group)) return messageItem(messageId(name, index), status, contentOf(group))
  if (group.type === 'reasoning') {
    return thoughtItem(thoughtId(name, index), status, group, thoughtPlaceOf(context))
  }
  const { id: callId, name: called, argumentsText } = group
  return callItem(callItemId(name, index), status, {
    callId,
    name: called,
    argumentsText: argumentsText === '' ? '{}' : argumentsText,
  })
}

/** Neighbours of one kind are one part, as they would be in a stream. */
function contentOf(said: readonly SaidPart[]): object[] {
  const content: { type: SaidPart['type']; text: string; logprobs: TokenLogprob[] }[] = []
  for (const part of said) {
    const logprobs = part.type === 'text' ? (part.logprobs ?? []) : []
    const last = content.at(-1)
    if (last?.type === part.type) {
      last.text += part.text
      last.logprobs.push(...logprobs)
    } else content.push({ type: part.type, text: part.text, logprobs: [...logprobs] })
  }
  return content.map(({ type, text, logprobs }) => (type === 'text' ? textPart(text, logprobs) : refusalPart(text)))
}
