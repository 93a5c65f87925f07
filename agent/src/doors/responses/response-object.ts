import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import type { Finish } from '../../conversation/chat-answer.js'
import { isJsonObject, type JsonObject } from '../../conversation/json-object.js'
import type { AnswerContext } from '../../request/ports.js'

/**
 * The response object around what was said: how it ended, and the request's members again, as OpenAI repeats them. Source:
 * OpenAI's API reference, "The response object". What nobody said is null: the vendor's own defaults are not known here.
 */
export interface ResponseFacts {
  /** As `responseName` makes it. */
  readonly name: string
  readonly model: string
  readonly output: readonly object[]
  readonly status: 'in_progress' | 'completed' | 'incomplete'
  readonly incompleteReason: IncompleteReason | null
  readonly usage: TokenUsage | null
}

export type IncompleteReason = 'max_output_tokens' | 'content_filter'

export function responseObject(facts: ResponseFacts, context: AnswerContext): object {
  const { fields } = context.body
  const { name, model, output, status, incompleteReason, usage } = facts
  const given = (member: string, otherwise: unknown = null) => fields[member] ?? otherwise
  return {
    id: `resp_${name}`,
    object: 'response',
    created_at: context.createdAtSeconds,
    status,
    background: false,
    error: null,
    incomplete_details: incompleteReason === null ? null : { reason: incompleteReason },
    instructions: given('instructions'),
    max_output_tokens: given('max_output_tokens'),
    max_tool_calls: given('max_tool_calls'),
    model,
    output,
    parallel_tool_calls: given('parallel_tool_calls', true),
    previous_response_id: null,
    reasoning: { effort: null, summary: null, ...objectOf(fields['reasoning']) },
    safety_identifier: given('safety_identifier'),
    store: false,
    temperature: given('temperature'),
    text: { format: { type: 'text' }, ...withoutNulls(objectOf(fields['text'])) },
    tool_choice: given('tool_choice', 'auto'),
    tools: given('tools', []),
    top_logprobs: given('top_logprobs'),
    top_p: given('top_p'),
    truncation: given('truncation', 'disabled'),
    usage: usage === null ? null : responseUsage(usage),
    user: given('user'),
    metadata: given('metadata', {}),
  }
}

function objectOf(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {}
}

function withoutNulls(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null))
}

/** A client of this API always gets numbers. */
function responseUsage(usage: TokenUsage): object {
  return {
    input_tokens: usage.input,
    input_tokens_details: {
      cached_tokens: usage.cachedInput ?? 0,
      cache_write_tokens: usage.cacheWriteInput ?? 0,
    },
    output_tokens: usage.output,
    output_tokens_details: { reasoning_tokens: usage.reasoningOutput ?? 0 },
    total_tokens: usage.input + usage.output,
  }
}

/** Of what ids may be long at OpenAI (64), what is left beside the longest prefix and an index. */
const nameLengthMax = 40

/**
 * What the ids of a response and its items are made of: the vendor's id of the answer, or the request's. Unique wherever
 * those are, for items go back to vendors that refuse two of one id.
 */
export function responseName(answerId: string | null, { requestId }: AnswerContext): string {
  const name = (answerId ?? requestId).replace(/[^A-Za-z0-9]/g, '').slice(-nameLengthMax)
  return name === '' ? '0' : name
}

/** Why an answer is not whole; null when it is. */
export function incompleteReasonOf({ reason }: Finish, saidRefusal: boolean): IncompleteReason | null {
  switch (reason) {
    case 'length':
      return 'max_output_tokens'
    case 'content_filter':
      return 'content_filter'
    case 'refusal':
      // A refusal that was put into words is an answer.
      return saidRefusal ? null : 'content_filter'
    default:
      return null
  }
}
