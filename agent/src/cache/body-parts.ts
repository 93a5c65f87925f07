import type { BodyPart } from '../../../proto/policy/cache-key.js'
import { hintsOf } from '../conversation/hints.js'
import { isJsonObject, type JsonObject } from '../conversation/json-object.js'
import { comma, openBracket, quote, skipSpace } from '../providers/json-bytes.js'
import { findMembers, type Members, type Span } from '../providers/json-members.js'
import type { RequestBody, UpstreamOperation } from '../providers/provider-dialect.js'

/**
 * A client's body as the parts that make two requests the same: its bytes, but for members that change nothing of an answer
 * and are not repeated in it. Where the newest thing said is a plain text of the user's, that text is set apart, so that the
 * rest alone says in which company it was asked.
 */
export interface BodyReading {
  readonly parts: readonly BodyPart[]
  /** Null: not a question that could be asked in other words. */
  readonly question: Question | null
}

export interface Question {
  /** What the user said last. */
  readonly text: string
  /** Everything else. */
  readonly surroundings: readonly BodyPart[]
}

const questionMembers: Readonly<Partial<Record<UpstreamOperation, string>>> = Object.freeze({
  chat_completions: 'messages',
  messages: 'messages',
  completions: 'prompt',
  responses: 'input',
})

/** Characters of a question that is worth comparing by meaning. */
const questionLengthMin = 3
const questionLengthMax = 4_096

export interface BodyReadingOptions {
  /** Hints count too: the answer is for this user alone. */
  readonly keepsHints: boolean
  /** Set the question apart. */
  readonly wantsQuestion: boolean
}

/** Null: parsers could read the body in two ways, so nobody knows what its answer would be to. */
export function readBodyParts(
  body: RequestBody,
  operation: UpstreamOperation,
  options: BodyReadingOptions,
): BodyReading | null {
  const { bytes, fields } = body
  // A member that is not there once it was parsed, however it might be written, is not looked for in the bytes.
  const left = options.keepsHints ? none : namesIn(fields, hintsOf(operation))
  const member = options.wantsQuestion ? questionMembers[operation] : undefined
  if (left.length === 0 && member === undefined) return { parts: [bytes], question: null }
  const members = member === undefined ? membersOf(body, left) : findMembers(bytes, 0, [...left, member])
  if (members === null || members.duplicate !== null) return null
  const cuts: Cut[] = []
  for (const name of left) {
    const span = members.spans.get(name)
    // Member by member, not by spreading: this is made for every request with a hint.
    if (span !== undefined) cuts.push({ start: span.start, end: span.end, without: name })
  }
  const span = member === undefined ? undefined : members.spans.get(member)
  const question = span === undefined ? null : findQuestion(body, operation, span)
  return {
    parts: partsWithout(bytes, cuts),
    question: question && {
      text: question.text,
      surroundings: partsWithout(bytes, [...cuts, { ...question.span, without: 'question' }]),
    },
  }
}

const none: readonly string[] = Object.freeze([])

/** Those of `names` that are there. */
function namesIn(fields: JsonObject, names: readonly string[]): readonly string[] {
  let found: string[] | null = null
  for (const name of names) {
    if (fields[name] === undefined) continue
    if (found === null) found = [name]
    else found.push(name)
  }
  return found ?? none
}

/** The door has seen where its hints stand; looked for again where somebody else made the body. */
function membersOf({ bytes, members }: RequestBody, names: readonly string[]): Members | null {
  for (const name of names) if (members.spans.get(name) === undefined) return findMembers(bytes, 0, names)
  return members
}

interface Cut extends Span {
  readonly without: string
}

function partsWithout(bytes: Buffer, cuts: readonly Cut[]): BodyPart[] {
  const parts: BodyPart[] = []
  let from = 0
  for (const cut of cuts.length > 1 ? cuts.toSorted((a, b) => a.start - b.start) : cuts) {
    parts.push(bytes.subarray(from, cut.start), { without: cut.without })
    from = cut.end
  }
  parts.push(bytes.subarray(from))
  return parts
}

interface FoundQuestion {
  readonly text: string
  readonly span: Span
}

function findQuestion({ bytes, fields }: RequestBody, operation: UpstreamOperation, span: Span): FoundQuestion | null {
  if (!isPlainTalk(fields, operation)) return null
  if (bytes[span.start] === quote) return textAt(bytes, span)
  if (bytes[span.start] !== openBracket || operation === 'completions') return null
  const last = lastElement(bytes, span)
  const members = last === null ? null : findMembers(bytes, last, ['role', 'content'])
  const role = members?.spans.get('role')
  const content = members?.spans.get('content')
  if (!members || members.duplicate !== null || !role || !content) return null
  if (bytes.toString('utf8', role.start, role.end) !== '"user"') return null
  if (bytes[content.start] === quote) return textAt(bytes, content)
  // A list of one text.
  const only = bytes[content.start] === openBracket ? lastElement(bytes, content) : null
  const part = only === null ? null : findMembers(bytes, only, ['text'])
  const text = part?.spans.get('text')
  return part && part.duplicate === null && text ? textAt(bytes, text) : null
}

function textAt(bytes: Buffer, span: Span): FoundQuestion | null {
  if (bytes[span.start] !== quote) return null
  const text: unknown = JSON.parse(bytes.toString('utf8', span.start, span.end))
  if (typeof text !== 'string' || text.length < questionLengthMin || text.length > questionLengthMax) return null
  return { text, span }
}

/** First byte of the last object of the array; null when an element is no object. */
function lastElement(bytes: Buffer, span: Span): number | null {
  let at = skipSpace(bytes, span.start + 1)
  for (;;) {
    const element = findMembers(bytes, at, [])
    if (element === null || element.end === -1) return null
    const after = skipSpace(bytes, element.end)
    if (bytes[after] !== comma) return at
    at = skipSpace(bytes, after + 1)
  }
}

/** Nothing but texts of people and assistants: no tools, no pictures, nothing that a tool said. */
function isPlainTalk(fields: JsonObject, operation: UpstreamOperation): boolean {
  for (const name of ['tools', 'functions', 'tool_choice', 'function_call', 'audio', 'web_search_options']) {
    const value = fields[name]
    if (value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0)) return false
  }
  if (operation === 'completions') return typeof fields['prompt'] === 'string'
  const turns = fields[operation === 'responses' ? 'input' : 'messages']
  if (typeof turns === 'string') return true
  return Array.isArray(turns) && turns.every(isPlainTurn)
}

const plainRoles: ReadonlySet<unknown> = new Set(['system', 'developer', 'user', 'assistant'])
const textTypes: ReadonlySet<unknown> = new Set(['text', 'input_text', 'output_text'])

function isPlainTurn(turn: unknown): boolean {
  if (!isJsonObject(turn) || !plainRoles.has(turn['role'])) return false
  if (turn['tool_calls'] !== undefined || turn['function_call'] !== undefined) return false
  const { content, role } = turn
  if (typeof content === 'string') return true
  if (!Array.isArray(content) || !content.every((part) => isJsonObject(part) && textTypes.has(part['type'])))
    return false
  // What the user says in several pieces is not one question.
  return role !== 'user' || content.length === 1
}

/** What the user said last, for knowing whether its answer goes out of date; null where nobody can say. */
export function lastSaid({ prompt }: RequestBody): string | null {
  if (typeof prompt === 'string') return prompt
  if (!Array.isArray(prompt)) return null
  const last: unknown = prompt.findLast(
    (turn) => typeof turn === 'string' || (isJsonObject(turn) && turn['role'] === 'user'),
  )
  if (typeof last === 'string') return last
  const content = isJsonObject(last) ? last['content'] : null
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return null
  return content.map((part) => (isJsonObject(part) && typeof part['text'] === 'string' ? part['text'] : '')).join('\n')
}
