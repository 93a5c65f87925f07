import { isJsonObject } from '../conversation/json-object.js'
import {
  backslash,
  closeBrace,
  closeBracket,
  colon,
  comma,
  openBrace,
  openBracket,
  quote,
  skipSpace,
} from './json-bytes.js'
import { findMembers, nameOf, Spans } from './json-members.js'

/**
 * Chosen members of a JSON text. The text is judged as strictly as `JSON.parse` judges it. Short ones are parsed, which takes
 * less than a look at every byte from here. Of longer ones nothing is built but what is asked for: of an answer that goes on
 * byte for byte only the usage and the model are of interest, and making objects of a thousand numbers costs several times
 * the look.
 */
export function readMembers(bytes: Buffer, names: readonly string[]): Readonly<Record<string, unknown>> | null {
  if (isShort(bytes)) return parseMembers(bytes)
  if (bytes.length > judgedBytesMax) return soughtMembers(bytes, names)
  const spans = new Spans()
  const end = skipSpace(bytes, skipObject(bytes, skipSpace(bytes, 0), 0, names, spans))
  // Where only the depth was too much for us, the judge is asked itself.
  if (end === tooDeep) return parseMembers(bytes)
  if (end !== bytes.length) return null
  return valuesOf(bytes, spans)
}

/** An answer of text is mostly shorter; one of vectors is not. */
const parsedBytesMax = 8 * 1024
/** Beyond it a look at every byte would hold up other requests for milliseconds. */
const judgedBytesMax = 1024 * 1024

/**
 * The same of a long text (an answer of a thousand embeddings), whose strings are passed over by a native search and not
 * looked into: it is one object from first to last, but not every character in it has been judged.
 */
function soughtMembers(bytes: Buffer, names: readonly string[]): Readonly<Record<string, unknown>> | null {
  try {
    const members = findMembers(bytes, 0, names)
    if (members === null || members.end === -1 || skipSpace(bytes, members.end) !== bytes.length) return null
    return valuesOf(bytes, members.spans)
  } catch {
    return null
  }
}

/** Of two members of one name the last counts, as for `JSON.parse`. */
function valuesOf(bytes: Buffer, spans: Spans): Record<string, unknown> {
  const members: Record<string, unknown> = {}
  spans.forEach((name, { start, end }) => {
    members[name] = JSON.parse(bytes.toString('utf8', start, end))
  })
  return members
}

/** So short that parsing it takes less than looking at it. */
export function isShort(bytes: Buffer): boolean {
  return bytes.length <= parsedBytesMax
}

/** All members of a JSON object; null for anything else. */
export function parseMembers(bytes: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return isJsonObject(value) ? value : null
  } catch {
    return null
  }
}

const depthMax = 100
const wrong = -1
const tooDeep = -2

/** Each of the functions below takes where something begins and gives the byte after it, or a negative number. */
function skipObject(
  bytes: Buffer,
  from: number,
  depth: number,
  names: readonly string[] | null,
  spans: Spans | null,
): number {
  if (from < 0 || bytes[from] !== openBrace) return from < 0 ? from : wrong
  let at = skipSpace(bytes, from + 1)
  if (bytes[at] === closeBrace) return at + 1
  for (;;) {
    if (bytes[at] !== quote) return wrong
    const nameEnd = skipText(bytes, at + 1)
    if (nameEnd < 0) return nameEnd
    const name = names === null ? null : nameOf(bytes, at + 1, nameEnd - 1, names)
    at = skipSpace(bytes, nameEnd)
    if (bytes[at] !== colon) return wrong
    const start = skipSpace(bytes, at + 1)
    const end = skipValue(bytes, start, depth + 1)
    if (end < 0) return end
    if (name !== null) spans?.set(name, { start, end })
    at = skipSpace(bytes, end)
    if (bytes[at] === closeBrace) return at + 1
    if (bytes[at] !== comma) return wrong
    at = skipSpace(bytes, at + 1)
  }
}

function skipArray(bytes: Buffer, from: number, depth: number): number {
  let at = skipSpace(bytes, from + 1)
  if (bytes[at] === closeBracket) return at + 1
  for (;;) {
    const end = skipValue(bytes, at, depth + 1)
    if (end < 0) return end
    at = skipSpace(bytes, end)
    if (bytes[at] === closeBracket) return at + 1
    if (bytes[at] !== comma) return wrong
    at = skipSpace(bytes, at + 1)
  }
}

function skipValue(bytes: Buffer, from: number, depth: number): number {
  if (depth > depthMax) return tooDeep
  switch (bytes[from]) {
    case quote:
      return skipText(bytes, from + 1)
    case openBrace:
      return skipObject(bytes, from, depth, null, null)
    case openBracket:
      return skipArray(bytes, from, depth)
    case 0x74: // t
      return skipWord(bytes, from, 'true')
    case 0x66: // f
      return skipWord(bytes, from, 'false')
    case 0x6e: // n
      return skipWord(bytes, from, 'null')
    default:
      return skipNumber(bytes, from)
  }
}

function skipWord(bytes: Buffer, from: number, word: string): number {
  for (let i = 1; i < word.length; i++) if (bytes[from + i] !== word.charCodeAt(i)) return wrong
  return from + word.length
}

/** `-? (0 | [1-9][0-9]*) (\.[0-9]+)? ([eE][+-]?[0-9]+)?` (RFC 8259, section 6). */
function skipNumber(bytes: Buffer, from: number): number {
  let at = from
  if (bytes[at] === 0x2d) at += 1
  if (bytes[at] === 0x30) at += 1
  else {
    at = skipDigits(bytes, at)
    if (at < 0) return wrong
  }
  if (bytes[at] === 0x2e) {
    at = skipDigits(bytes, at + 1)
    if (at < 0) return wrong
  }
  if (bytes[at] !== 0x65 && bytes[at] !== 0x45) return at
  at += 1
  if (bytes[at] === 0x2b || bytes[at] === 0x2d) at += 1
  return skipDigits(bytes, at)
}

/** At least one digit. */
function skipDigits(bytes: Buffer, from: number): number {
  let at = from
  for (let byte = bytes[at]; byte !== undefined && byte >= 0x30 && byte <= 0x39; byte = bytes[at]) at += 1
  return at === from ? wrong : at
}

/** From the first byte of a text to the byte after its closing quote. */
function skipText(bytes: Buffer, from: number): number {
  const { length } = bytes
  let at = from
  while (at < length) {
    const byte = bytes[at] ?? 0
    if (byte === quote) return at + 1
    if (byte < 0x20) return wrong
    if (byte !== backslash) {
      at += 1
      continue
    }
    const escaped = bytes[at + 1] ?? 0
    if (escaped === 0x75) {
      for (let i = 2; i < 6; i++) if (!isHexDigit(bytes[at + i] ?? 0)) return wrong
      at += 6
    } else if (isEscape(escaped)) at += 2
    else return wrong
  }
  return wrong
}

/** What may stand behind a backslash, but for `u`: `" \ / b f n r t`. */
function isEscape(byte: number): boolean {
  switch (byte) {
    case quote:
    case backslash:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return true
    default:
      return false
  }
}

function isHexDigit(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66)
}
