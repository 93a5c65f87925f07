import type { LastResortTable } from '../../../proto/policy/tables.js'
import type { AnswerPart, ChatAnswer } from '../conversation/chat-answer.js'
import type { ChatEvent } from '../conversation/chat-event.js'
import type { AnswerContext, ConversationDoor, FallbackAnswers, FallbackQuestion } from './ports.js'
import type { LastResortKind } from './record.js'

/**
 * What a client gets when every target of its route failed: an answer to the same request that the cache still has, after an
 * apology, or else the route's fixed words. It is an answer like any other in the words of the client's door; a header and
 * the record say what it is.
 *
 * Who asked for JSON reads it by program: a kept answer is given without the apology, and fixed words, which are no JSON,
 * are not given at all; the error is easier to handle.
 */
export interface LastResort {
  readonly kind: LastResortKind
  readonly answer: ChatAnswer
}

/** Null: the error. `question` names the age that `table` allows. */
export async function findLastResort(
  table: LastResortTable,
  answers: FallbackAnswers,
  question: FallbackQuestion,
): Promise<LastResort | null> {
  const wantsJson = question.conversation !== null && question.conversation.answerFormat !== null
  const asked = table.cachedAgeMaxSeconds > 0 ? answers.find(question) : null
  const kept = asked instanceof Promise ? await asked : asked
  if (kept !== null && kept.ageSeconds <= table.cachedAgeMaxSeconds) {
    const answer = wantsJson || table.apology === '' ? kept.answer : apologising(kept.answer, table.apology)
    return { kind: 'cached', answer: { ...answer, usage: null } }
  }
  if (table.safeAnswer === '' || wantsJson) return null
  return { kind: 'safe-answer', answer: fixedAnswer(table.safeAnswer) }
}

function apologising(answer: ChatAnswer, apology: string): ChatAnswer {
  const first: AnswerPart = { type: 'text', text: `${apology}\n\n`, logprobs: null }
  return { ...answer, parts: [first, ...answer.parts] }
}

function fixedAnswer(text: string): ChatAnswer {
  return {
    id: null,
    model: null,
    parts: [{ type: 'text', text, logprobs: null }],
    finish: { reason: 'stop', stopSequence: null },
    usage: null,
  }
}

/** The answer as a stream of the door's, whole: what goes before its end, and its end. */
export function streamOf(
  answer: ChatAnswer,
  door: ConversationDoor,
  context: AnswerContext,
): { readonly bytes: Buffer; readonly tail: string } {
  const writer = door.streamWriter(context)
  let text = writer.write({ type: 'start', id: answer.id, model: answer.model })
  for (const part of answer.parts) for (const event of eventsOf(part)) text += writer.write(event)
  text += writer.write({ type: 'finish', finish: answer.finish })
  return { bytes: Buffer.from(text), tail: writer.end(answer.usage) }
}

function eventsOf(part: AnswerPart): readonly ChatEvent[] {
  switch (part.type) {
    case 'text':
      return [{ type: 'text', text: part.text, logprobs: part.logprobs }]
    case 'refusal':
      return [{ type: 'refusal', text: part.text }]
    case 'reasoning':
      if (part.redacted !== null) return [{ type: 'reasoning_redacted', data: part.redacted }]
      return [
        { type: 'reasoning', text: part.text },
        ...(part.signature === null ? [] : [{ type: 'reasoning_signature', signature: part.signature } as const]),
      ]
    case 'tool_call':
      return [
        { type: 'tool_call', id: part.id, name: part.name },
        { type: 'tool_arguments', text: part.argumentsText },
      ]
  }
}
