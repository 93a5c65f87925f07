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

/**
 * Finds the members of one JSON object in its raw bytes, without making values of them, so that a member can be replaced
 * where it stands and every other byte goes on untouched. Runs after `JSON.parse` has accepted the text, so it need not
 * judge the grammar; it must only never mistake a byte inside a text or a nested value for structure.
 */
export interface Span {
  /** First byte of the value. */
  readonly start: number
  /** Byte after the value. */
  readonly end: number
}

export interface Members {
  /** Only of the names asked for. */
  readonly spans: Spans
  /** A name that occurred twice, the first one asked for: parsers disagree about which of the two counts. Null: none did. */
  readonly duplicate: string | null
  /** Byte of the opening brace. */
  readonly open: number
  readonly empty: boolean
  /** Byte after the closing brace; -1 when the object does not end, or was not read to its end. */
  readonly end: number
  /** It holds more levels than were permitted; nothing was read behind the first one too many. */
  readonly tooDeep: boolean
}

/** Where values stand, by name: a handful, for which a list is a tenth of what a map costs. */
export class Spans {
  readonly #names: string[] = []
  readonly #spans: Span[] = []

  get(name: string): Span | undefined {
    const names = this.#names
    for (let at = 0; at < names.length; at++) if (names[at] === name) return this.#spans[at]
    return undefined
  }

  /** Of two of one name the last counts, as for `JSON.parse`. True: it is the first of its name. */
  set(name: string, span: Span): boolean {
    const at = this.#names.indexOf(name)
    if (at !== -1) {
      this.#spans[at] = span
      return false
    }
    this.#names.push(name)
    this.#spans.push(span)
    return true
  }

  forEach(see: (name: string, span: Span) => void): void {
    for (const [at, span] of this.#spans.entries()) see(this.#names[at] as string, span)
  }
}

const anyDepth = 0x3fff_ffff

/**
 * The members called one of `names` in the object that begins at or after `from`. Null when there is no object. `depthMax`
 * bounds the levels of objects and arrays, the object itself included.
 */
export function findMembers(
  bytes: Buffer,
  from: number,
  names: readonly string[],
  depthMax = anyDepth,
): Members | null {
  const open = skipSpace(bytes, from)
  if (bytes[open] !== openBrace) return null
  const spans = new Spans()
  let duplicate: string | null = null
  let at = skipSpace(bytes, open + 1)
  const empty = bytes[at] === closeBrace
  while (bytes[at] === quote) {
    const nameEnd = skipText(bytes, at)
    const name = nameOf(bytes, at + 1, nameEnd - 1, names)
    at = skipSpace(bytes, nameEnd)
    if (bytes[at] !== colon) return null
    const start = skipSpace(bytes, at + 1)
    const end = skipValue(bytes, start, depthMax - 1)
    if (end === -1) return { spans, duplicate, open, empty, end, tooDeep: true }
    if (name !== null) {
      const isFirst = spans.set(name, { start, end })
      if (!isFirst && (duplicate === null || names.indexOf(name) < names.indexOf(duplicate))) duplicate = name
    }
    at = skipSpace(bytes, end)
    if (bytes[at] !== comma) break
    at = skipSpace(bytes, at + 1)
  }
  return { spans, duplicate, open, empty, end: bytes[at] === closeBrace ? at + 1 : -1, tooDeep: false }
}

/** A replacement of the bytes of `span`; an empty span inserts. */
export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** `bytes` with every edit applied; edits are in order of `start` and do not overlap. */
export function applyEdits(bytes: Buffer, edits: readonly Edit[]): Buffer {
  let length = bytes.length
  for (const edit of edits) length += Buffer.byteLength(edit.text) - (edit.end - edit.start)
  const out = Buffer.allocUnsafe(length)
  let read = 0
  let write = 0
  for (const edit of edits) {
    write += bytes.copy(out, write, read, edit.start)
    write += out.write(edit.text, write)
    read = edit.end
  }
  bytes.copy(out, write, read)
  return out
}

/** The name asked for that these bytes spell, escapes included (`mod\u0065l` is `model` to every parser). */
export function nameOf(bytes: Buffer, start: number, end: number, names: readonly string[]): string | null {
  for (const name of names) {
    if (name.length === end - start && spells(bytes, start, name)) return name
  }
  for (let i = start; i < end; i++) {
    if (bytes[i] !== backslash) continue
    const decoded: unknown = JSON.parse(bytes.toString('utf8', start - 1, end + 1))
    return names.find((name) => name === decoded) ?? null
  }
  return null
}

function spells(bytes: Buffer, start: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name.charCodeAt(i)) return false
  return true
}

/** Texts shorter than this are cheaper to walk than to search with a native call. */
const walkedLength = 48

/** From an opening quote to the byte after the closing one. */
function skipText(bytes: Buffer, from: number): number {
  let at = from + 1
  const walkEnd = Math.min(bytes.length, at + walkedLength)
  while (at < walkEnd) {
    const byte = bytes[at]
    if (byte === quote) return at + 1
    at += byte === backslash ? 2 : 1
  }
  for (;;) {
    const end = bytes.indexOf(quote, at)
    if (end === -1) return bytes.length
    // The quote closes the text unless an odd number of backslashes stands before it.
    let first = end
    while (first > at && bytes[first - 1] === backslash) first -= 1
    if (((end - first) & 1) === 0) return end + 1
    at = end + 1
  }
}

/** To the byte after the value; -1 where it holds more than `depthMax` levels. */
function skipValue(bytes: Buffer, from: number, depthMax: number): number {
  const first = bytes[from]
  if (first === quote) return skipText(bytes, from)
  if (first !== openBrace && first !== openBracket) {
    let at = from
    for (; at < bytes.length; at++) {
      const byte = bytes[at]
      if (byte === comma || byte === closeBrace || byte === closeBracket || byte === undefined || byte <= 0x20) break
    }
    return at
  }
  let depth = 0
  for (let at = from; at < bytes.length; ) {
    const byte = bytes[at]
    if (byte === quote) {
      at = skipText(bytes, at)
      continue
    }
    at += 1
    if (byte === openBrace || byte === openBracket) {
      depth += 1
      if (depth > depthMax) return -1
    } else if ((byte === closeBrace || byte === closeBracket) && --depth === 0) return at
  }
  return bytes.length
}
