import type { TargetTable } from '../../../proto/policy/tables.js'
import { isRefusal, refuse } from '../../../proto/std/refusal.js'
import type { Conversation } from '../conversation/conversation.js'
import { isJsonObject } from '../conversation/json-object.js'
import { leavesTemperature, takesTemperature } from '../conversation/target-temperature.js'
import { applyEdits, type Edit, findMembers, type Span, Spans } from '../providers/json-members.js'
import type { Operation, RequestBody } from '../providers/provider-dialect.js'
import type { RequestRefusal } from './request-refusal.js'

/**
 * A target's own parameters: its temperature where the client gave none, and its limit of output tokens where the client
 * gave none or a higher one. What is lowered is named, so that a client learns why an answer ended early.
 *
 * They are applied to a request before its provider sees it: to the bytes where the wire is the client's own, spliced in
 * where they stand like everything else, and to the conversation where it is translated. So no provider knows of them.
 */
export interface WithParameters<T> {
  readonly value: T
  /** The client's fields that asked for more; null: none did. */
  readonly capped: string | null
}

interface Words {
  /** The client's names for the most tokens of an answer, any of which it may use. */
  readonly outputTokensMax: readonly [string, ...string[]]
}

const wordsOf: Readonly<Partial<Record<Operation, Words>>> = {
  chat_completions: { outputTokensMax: ['max_completion_tokens', 'max_tokens'] },
  completions: { outputTokensMax: ['max_tokens'] },
  responses: { outputTokensMax: ['max_output_tokens'] },
  messages: { outputTokensMax: ['max_tokens'] },
}

/** OpenAI's models that think know the newer name only, many servers that speak like it the older one only. */
function nameToAdd({ outputTokensMax: [first, second] }: Words, { provider: { kind } }: TargetTable): string {
  return second === undefined || kind === 'openai' || kind === 'azure-openai' ? first : second
}

/** `body` as it goes to `target` on its own wire, or why it may not. */
export function bodyWithParameters(
  body: RequestBody,
  operation: Operation,
  target: TargetTable,
): WithParameters<RequestBody> | RequestRefusal {
  const { parameters } = target
  const words = wordsOf[operation]
  if (words === undefined || (parameters.temperature === null && parameters.outputTokensMax === null)) {
    return { value: body, capped: null }
  }
  const thinking = operation === 'messages' ? ['thinking'] : []
  const members = findMembers(body.bytes, 0, ['temperature', ...words.outputTokensMax, ...thinking])
  if (members === null) return { value: body, capped: null }
  // Whoever reads the other one of two would not be limited.
  if (members.duplicate !== null) {
    return refuse('duplicate_field', `'${members.duplicate}' is given more than once.`, { field: members.duplicate })
  }
  const edits: Edit[] = []
  const put = (name: string, value: number) => {
    const span = members.spans.get(name)
    // Absent: a new first member, before the one that is certainly there (`model`).
    if (span === undefined) edits.push({ start: members.open + 1, end: members.open + 1, text: `"${name}":${value},` })
    else edits.push({ start: span.start, end: span.end, text: String(value) })
  }
  if (parameters.temperature !== null && takesTemperature(body.fields, operation)) {
    put('temperature', parameters.temperature)
  }
  const capped: string[] = []
  if (parameters.outputTokensMax !== null) {
    const given = words.outputTokensMax.filter((name) => isGiven(body.fields[name]))
    for (const name of given) {
      const asked = body.fields[name]
      if (typeof asked !== 'number') {
        return refuse('invalid_type', `'${name}' has to be a number.`, { field: name })
      }
      if (asked <= parameters.outputTokensMax) continue
      put(name, parameters.outputTokensMax)
      capped.push(name)
    }
    if (given.length === 0) put(nameToAdd(words, target), parameters.outputTokensMax)
    const span = members.spans.get('thinking')
    const edit = span === undefined ? null : budgetEdit(body, span, parameters.outputTokensMax)
    if (isRefusal(edit)) return edit
    if (edit !== null && (capped.length > 0 || given.length === 0)) {
      edits.push(edit)
      capped.push('thinking.budget_tokens')
    }
  }
  return { value: withEdits(body, edits), capped: capped.length === 0 ? null : capped.join(', ') }
}

/** The least that Anthropic takes as a budget. */
const budgetTokensMin = 1_024

/**
 * Anthropic refuses a budget of thinking tokens that is not below the limit: with a lower limit it is lowered too, and where
 * that leaves less than the least, the model does not think. Null where it may stay.
 */
function budgetEdit(
  { bytes, fields }: RequestBody,
  thinking: Span,
  outputTokensMax: number,
): Edit | RequestRefusal | null {
  const budget = isJsonObject(fields['thinking']) ? fields['thinking']['budget_tokens'] : null
  if (typeof budget !== 'number' || budget < outputTokensMax) return null
  if (outputTokensMax <= budgetTokensMin) return { ...thinking, text: '{"type":"disabled"}' }
  const members = findMembers(bytes, thinking.start, ['budget_tokens'])
  const field = 'thinking.budget_tokens'
  if (members?.duplicate) return refuse('duplicate_field', `'${field}' is given more than once.`, { field })
  const span = members?.spans.get('budget_tokens')
  return span === undefined ? null : { start: span.start, end: span.end, text: String(outputTokensMax - 1) }
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** The same body with other bytes: what was found in them stands elsewhere now. */
function withEdits(body: RequestBody, edits: Edit[]): RequestBody {
  if (edits.length === 0) return body
  edits.sort((a, b) => a.start - b.start)
  const { members } = body
  const shifted = (at: number) =>
    edits.reduce((sum, edit) => (edit.start <= at ? sum + edit.text.length - (edit.end - edit.start) : sum), at)
  const spans = new Spans()
  members.spans.forEach((name, { start, end }) => {
    spans.set(name, { start: shifted(start), end: shifted(end) })
  })
  return { ...body, bytes: applyEdits(body.bytes, edits), members: { ...members, spans, end: shifted(members.end) } }
}

/** `conversation` as it goes to `target`. */
export function conversationWithParameters(
  conversation: Conversation,
  target: TargetTable,
): WithParameters<Conversation> {
  const { settings, names } = conversation
  const { parameters } = target
  const most = parameters.outputTokensMax
  const isCapped = most !== null && settings.outputTokensMax !== null && settings.outputTokensMax > most
  const outputTokensMax = isCapped ? most : (settings.outputTokensMax ?? most)
  const temperature = settings.temperature ?? (leavesTemperature(conversation, target) ? parameters.temperature : null)
  if (outputTokensMax === settings.outputTokensMax && temperature === settings.temperature) {
    return { value: conversation, capped: null }
  }
  const value = { ...conversation, settings: { ...settings, outputTokensMax, temperature } }
  return { value, capped: isCapped ? names.outputTokensMax : null }
}
