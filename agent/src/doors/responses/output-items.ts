import type { TokenLogprob } from '../../conversation/chat-answer.js'
import { isJsonObject } from '../../conversation/json-object.js'
import { type CarriedThought, carriedIdPrefix, carryThought } from '../../providers/openai/carried-thought.js'
import type { AnswerContext } from '../../request/ports.js'

/**
 * Items of a response's output, whole or as they stand while they are streamed. Source: OpenAI's API reference, "The
 * response object", `output`.
 */
export type ItemStatus = 'in_progress' | 'completed' | 'incomplete'

export function messageId(name: string, index: number): string {
  return `msg_${name}_${index}`
}

export function callItemId(name: string, index: number): string {
  return `fc_${name}_${index}`
}

export function thoughtId(name: string, index: number): string {
  return `${carriedIdPrefix}_${name}_${index}`
}

export function messageItem(id: string, status: ItemStatus, content: readonly object[]): object {
  return { id, type: 'message', status, content, role: 'assistant' }
}

export function textPart(text: string, logprobs: readonly TokenLogprob[]): object {
  return { type: 'output_text', annotations: [], logprobs: logprobs.map(logprobOf), text }
}

export function refusalPart(refusal: string): object {
  return { type: 'refusal', refusal }
}

/** Their clients want numbers where a vendor may have none. */
export function logprobOf({ token, logprob, bytes, top }: TokenLogprob): object {
  const alternatives = top.map((other) => ({ token: other.token, bytes: other.bytes ?? [], logprob: other.logprob }))
  return { token, bytes: bytes ?? [], logprob, top_logprobs: alternatives }
}

export interface Call {
  readonly callId: string
  readonly name: string
  readonly argumentsText: string
}

export function callItem(id: string, status: ItemStatus, { callId, name, argumentsText }: Call): object {
  return { id, type: 'function_call', status, arguments: argumentsText, call_id: callId, name }
}

/** Where thoughts stand: in the item's content, or in its summary where a summary was asked for. */
export type ThoughtPlace = 'content' | 'summary'

/** Clients that asked for a summary look for the thoughts there only. */
export function thoughtPlaceOf({ body }: AnswerContext): ThoughtPlace {
  const { reasoning } = body.fields
  if (!isJsonObject(reasoning)) return 'content'
  return (reasoning['summary'] ?? reasoning['generate_summary'] ?? null) === null ? 'content' : 'summary'
}

export function thoughtItem(id: string, status: ItemStatus, thought: CarriedThought, place: ThoughtPlace): object {
  const { text, signature, redacted } = thought
  const parts = text === '' ? [] : [thoughtPart(text, place)]
  return {
    id,
    type: 'reasoning',
    status,
    summary: place === 'summary' ? parts : [],
    ...(place === 'content' ? { content: parts } : {}),
    ...(signature === null && redacted === null ? {} : { encrypted_content: carryThought(thought) }),
  }
}

export function thoughtPart(text: string, place: ThoughtPlace): object {
  return { type: place === 'summary' ? 'summary_text' : 'reasoning_text', text }
}
