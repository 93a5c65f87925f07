import type { TargetTable } from '../../../proto/policy/tables.js'
import { refuse } from '../../../proto/std/refusal.js'
import type { Conversation } from '../conversation/conversation.js'
import { isJsonObject, type JsonObject } from '../conversation/json-object.js'
import { applyEdits, type Edit, findMembers, type Span } from '../providers/json-members.js'
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
  const members = findMembers(body.bytes, 0, ['temperature', ...words.outputTokensMax])
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
  }
  return { value: withEdits(body, edits), capped: capped.length === 0 ? null : capped.join(', ') }
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

/** Anthropic refuses one to a model that thinks, and beside `top_p`. */
function takesTemperature(fields: JsonObject, operation: Operation): boolean {
  if (isGiven(fields['temperature'])) return false
  if (operation !== 'messages') return true
  const { thinking } = fields
  return !isGiven(fields['top_p']) && !(isJsonObject(thinking) && thinking['type'] !== 'disabled')
}

/** The same body with other bytes: what was found in them stands elsewhere now. */
function withEdits(body: RequestBody, edits: Edit[]): RequestBody {
  if (edits.length === 0) return body
  edits.sort((a, b) => a.start - b.start)
  const { members } = body
  const shifted = (at: number) =>
    edits.reduce((sum, edit) => (edit.start <= at ? sum + edit.text.length - (edit.end - edit.start) : sum), at)
  const spans = new Map<string, Span>()
  for (const [name, { start, end }] of members.spans) spans.set(name, { start: shifted(start), end: shifted(end) })
  return { ...body, bytes: applyEdits(body.bytes, edits), members: { ...members, spans, end: shifted(members.end) } }
}

/** `conversation` as it goes to `target`. */
export function conversationWithParameters(
  conversation: Conversation,
  { parameters }: TargetTable,
): WithParameters<Conversation> {
  const { settings, names } = conversation
  const most = parameters.outputTokensMax
  const isCapped = most !== null && settings.outputTokensMax !== null && settings.outputTokensMax > most
  const outputTokensMax = isCapped ? most : (settings.outputTokensMax ?? most)
  const temperature = settings.temperature ?? parameters.temperature
  if (outputTokensMax === settings.outputTokensMax && temperature === settings.temperature) {
    return { value: conversation, capped: null }
  }
  const value = { ...conversation, settings: { ...settings, outputTokensMax, temperature } }
  return { value, capped: isCapped ? names.outputTokensMax : null }
}
