import { isJsonObject, type JsonObject, objectsOf, parseJsonObject } from '../conversation/json-object.js'
import { colon, openBracket, quote, skipSpace } from '../providers/json-bytes.js'
import type { UpstreamOperation } from '../providers/provider-dialect.js'

/**
 * Whether an answer may be given again: whole, ended by itself or to hear from tools, with something in it. Not what was cut
 * at a limit, filtered, refused or empty: the next try may do better, and a "no" must not stay for a day.
 *
 * Read from the bytes that the client got, in the words of its door: of a stream from those of its events that are not like
 * others before them but for their text.
 */
export function isStreamWorthKeeping(operation: UpstreamOperation, said: Buffer): boolean {
  return isStreamGood(operation, said)
}

/** The same of a whole one. `parsed`: what it says, where somebody has looked already. */
export function isWholeWorthKeeping(
  operation: UpstreamOperation,
  said: Buffer | string,
  parsed: JsonObject | null = null,
): boolean {
  return isAnswerGood(operation, parsed ?? parseJsonObject(typeof said === 'string' ? said : said.toString('utf8')))
}

const endings: Readonly<Record<string, ReadonlySet<unknown>>> = Object.freeze({
  finish_reason: new Set(['stop', 'tool_calls', 'function_call']),
  stop_reason: new Set(['end_turn', 'stop_sequence', 'tool_use']),
})

function isAnswerGood(operation: UpstreamOperation, answer: JsonObject | null): boolean {
  if (answer === null || hasValue(answer['error'])) return false
  switch (operation) {
    case 'chat_completions':
      return areChoicesGood(answer, ({ message }) => isJsonObject(message) && saysSomething(message))
    case 'completions':
      return areChoicesGood(answer, ({ text }) => typeof text === 'string' && text !== '')
    case 'messages':
      return endings['stop_reason']?.has(answer['stop_reason']) === true && objectsOf(answer['content']).length > 0
    case 'responses':
      return isResponseGood(answer)
    case 'embeddings':
      return Array.isArray(answer['data']) && answer['data'].length > 0
    default:
      return false
  }
}

function areChoicesGood(answer: JsonObject, says: (choice: JsonObject) => boolean): boolean {
  const choices = objectsOf(answer['choices'])
  return (
    choices.length > 0 &&
    choices.every((choice) => endings['finish_reason']?.has(choice['finish_reason']) === true && says(choice))
  )
}

function saysSomething(message: JsonObject): boolean {
  if (typeof message['refusal'] === 'string' && message['refusal'] !== '') return false
  const { content } = message
  return (
    (typeof content === 'string' && content !== '') ||
    (Array.isArray(content) && content.length > 0) ||
    objectsOf(message['tool_calls']).length > 0 ||
    hasValue(message['function_call'])
  )
}

function isResponseGood(response: JsonObject): boolean {
  const items = objectsOf(response['output'])
  const parts = items.flatMap((item) => objectsOf(item['content']))
  return (
    response['status'] === 'completed' &&
    !hasValue(response['incomplete_details']) &&
    items.some((item) => item['type'] !== 'reasoning') &&
    !parts.some((part) => part['type'] === 'refusal')
  )
}

function hasValue(value: unknown): boolean {
  return value !== undefined && value !== null
}

/**
 * A quote inside a JSON text is always escaped, so what looks like a member is one, wherever the text came from. Every ending
 * in the stream has to be good, and there has to be one. Looked for in the bytes: of a stream of a hundred chunks a text and
 * its expressions cost more than sending it.
 */
function isStreamGood(operation: UpstreamOperation, said: Buffer): boolean {
  switch (operation) {
    case 'chat_completions':
      return (
        areEndingsGood(said, 'finish_reason') &&
        !hasText(said, names.refusal) &&
        (hasText(said, names.content) ||
          hasText(said, names.arguments) ||
          hasText(said, names.name) ||
          startOfValue(said, names.content, openBracket, 0) !== -1)
      )
    case 'completions':
      return areEndingsGood(said, 'finish_reason') && hasText(said, names.text)
    case 'messages':
      return areEndingsGood(said, 'stop_reason') && hasTypeOf(said, (type) => type === 'content_block_start')
    case 'responses':
      return (
        hasTypeOf(said, (type) => type === 'response.completed') &&
        !hasTypeOf(said, (type) => refusing.test(type)) &&
        hasTypeOf(said, (type) => saying.test(type))
      )
    default:
      return false
  }
}

const refusing = /^(?:response\.(?:refusal|incomplete|failed).*|refusal|error)$/
const saying = /^response\.(?:output_text|function_call_arguments)\.done$/

function areEndingsGood(said: Buffer, member: 'finish_reason' | 'stop_reason'): boolean {
  let count = 0
  for (let at = 0; ; ) {
    at = startOfValue(said, names[member], quote, at)
    if (at === -1) return count > 0
    const ending = textAt(said, at)
    // Some servers tell an empty one with every chunk.
    if (ending === '') continue
    if (endings[member]?.has(ending) !== true) return false
    count += 1
  }
}

/** A member called `name` is a text with something in it. */
function hasText(said: Buffer, name: Buffer): boolean {
  for (let at = 0; ; ) {
    at = startOfValue(said, name, quote, at)
    if (at === -1) return false
    if (at < said.length && said[at] !== quote) return true
  }
}

function hasTypeOf(said: Buffer, is: (type: string) => boolean): boolean {
  for (let at = 0; ; ) {
    at = startOfValue(said, names.type, quote, at)
    if (at === -1) return false
    if (is(textAt(said, at))) return true
  }
}

/** The byte behind the one that the value of a member called `name` begins with, from `from` on, where that is `first`; -1: none is. */
function startOfValue(said: Buffer, name: Buffer, first: number, from: number): number {
  for (let at = said.indexOf(name, from); at !== -1; at = said.indexOf(name, at)) {
    at += name.length
    const colonAt = skipSpace(said, at)
    if (said[colonAt] !== colon) continue
    const valueAt = skipSpace(said, colonAt + 1)
    if (said[valueAt] === first) return valueAt + 1
  }
  return -1
}

/** Up to the next quote. */
function textAt(said: Buffer, at: number): string {
  const end = said.indexOf(quote, at)
  return said.toString('latin1', at, end === -1 ? said.length : end)
}

const names = Object.freeze({
  finish_reason: Buffer.from('"finish_reason"'),
  stop_reason: Buffer.from('"stop_reason"'),
  refusal: Buffer.from('"refusal"'),
  content: Buffer.from('"content"'),
  arguments: Buffer.from('"arguments"'),
  name: Buffer.from('"name"'),
  text: Buffer.from('"text"'),
  type: Buffer.from('"type"'),
})
