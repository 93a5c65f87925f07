import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import type { StreamReader, StreamReaderOptions } from '../provider-dialect.js'
import { SseSplitter } from '../sse-splitter.js'
import { isFields, tokensOf, usageOf } from './answer.js'

/**
 * Reads a streamed chat completion as it passes. The bytes go on as they came, except that a client which did not ask for
 * usage does not get what we asked for on its behalf: the last chunk (no choices, only usage) is withheld and running
 * totals are cut out of the others.
 *
 * A chunk is parsed as a whole only once per stream (the first: model, and whether this is the protocol at all). For the
 * rest it is enough to look for member names in the raw text: a quote inside a JSON text is always escaped, so
 * `"usage":{` can only be structure. Whether that member is the chunk's own is proven by parsing just its value, which
 * must end where the chunk ends; anything else takes the slow way.
 */
const eventBytesMax = 4 * 1024 * 1024
/** Bytes of text kept for counting while no usage is told: a million is above any model's longest answer. */
const saidBytesMax = 1024 * 1024

/**
 * What the events of a stream have in common around the text they bring. An event that begins and ends like one that was
 * looked at, and has one JSON text between, holds nothing that one did not.
 */
interface Template {
  /** From the start of the event up to and with the quote that opens the text. */
  readonly before: Buffer
  /** From the quote that closes it to the end of the event, or to the value of `usage` where a total follows. */
  readonly after: Buffer
  /** Bytes from the closing quote to the comma before `usage`; -1 where no total follows. */
  readonly usageOffset: number
}

const nothing = Buffer.alloc(0)

export class ChatStreamReader implements StreamReader {
  started = false
  done = false
  finished = false
  malformed = false
  tail: Buffer | null = null
  error: string | null = null
  usage: TokenUsage | null = null
  model: string | null = null

  readonly #splitter = new SseSplitter(eventBytesMax)
  readonly #options: StreamReaderOptions
  #said: Buffer = nothing
  #saidBytes = 0
  #template: Template | null = null
  #pieces: Buffer[] | null = null
  #from = 0
  /** The client asked for the usage and the upstream has told it only as a running total so far. */
  #owedUsage: Buffer | null = null

  constructor(options: StreamReaderOptions) {
    this.#options = options
  }

  push(chunk: Buffer): Buffer | null {
    const splitter = this.#splitter
    if (splitter.restBytes === 0 && this.#readAllLike(chunk)) return chunk
    splitter.feed(chunk)
    const bytes = splitter.bytes
    this.#pieces = null
    this.#from = 0
    let end = 0
    while (!this.#ended && splitter.next()) {
      if (splitter.dataCount > 0) this.#readEvent(bytes)
      // The terminal event waits in `tail`; a broken one and an error are answered by the caller, not passed on.
      end = this.#ended ? splitter.eventStart : splitter.eventEnd
    }
    if (splitter.overflown) this.malformed = true
    splitter.keepRest()
    if (this.#from === 0 && end === bytes.length && this.#pieces === null) return bytes
    return this.#take(end > this.#from ? bytes.subarray(this.#from, end) : null)
  }

  #take(last: Buffer | null): Buffer | null {
    const pieces = this.#pieces
    if (pieces === null) return last
    if (last !== null) pieces.push(last)
    return pieces.length === 0 ? null : pieces.length === 1 ? (pieces[0] ?? null) : Buffer.concat(pieces)
  }

  get #ended(): boolean {
    return this.done || this.malformed || this.error !== null
  }

  /** The upstream ended: a last event without its empty line still counts. Gives what is left to send on. */
  end(): Buffer | null {
    const rest = this.#splitter.restBytes === 0 || this.done ? null : this.push(Buffer.from('\n\n'))
    if (!this.done) this.tail = this.#owedUsage
    return rest
  }

  deliveredText(): string {
    const escaped = this.#said.toString('utf8', 0, this.#saidBytes)
    try {
      return JSON.parse(`"${escaped}"`) as string
    } catch {
      return escaped
    }
  }

  #readEvent(bytes: Buffer): void {
    const { eventStart, eventEnd, dataStart, dataEnd, dataCount } = this.#splitter
    if (dataEnd <= dataStart && dataCount === 1) return
    if (bytes[dataStart] === 0x5b && bytes.toString('latin1', dataStart, dataEnd).trimEnd() === '[DONE]') {
      this.done = true
      const end = bytes.subarray(eventStart, eventEnd)
      this.tail = Buffer.concat(this.#owedUsage === null ? [end] : [this.#owedUsage, end])
      return
    }
    if (dataCount === 1 && this.#readLike(bytes)) return
    const text = dataCount === 1 ? bytes.toString('latin1', dataStart, dataEnd) : latin1(this.#splitter.dataText())
    if (!text.startsWith('{') || !text.trimEnd().endsWith('}')) {
      this.malformed = true
      return
    }
    if (!this.started && !this.#readFirst(text)) return
    this.started = true
    const isFinish = hasFinishReason(text)
    if (isFinish) this.finished = true
    if (text.startsWith('{"error"') && this.#readError(text)) return
    const name = text.lastIndexOf('"usage"')
    const hasUsage = name !== -1 && this.#readUsage(text, name, dataCount === 1 ? dataStart : -1)
    const span = spanOfContent(text)
    if (span !== null && !isFinish && dataCount === 1)
      this.#template = this.#templateOf(text, span, hasUsage ? name : -1)
    if (hasUsage) return
    this.#keepSaid(span === null ? escapedDelta(text) : Buffer.from(text.slice(span.start, span.end), 'latin1'))
  }

  /** What may be taken for granted of later events like this one. */
  #templateOf(text: string, span: { start: number; end: number }, usageName: number): Template | null {
    const { bytes, eventStart, eventEnd, dataStart } = this.#splitter
    const before = Buffer.from(bytes.subarray(eventStart, dataStart + span.start))
    const quote = dataStart + span.end
    if (usageName === -1) return { before, after: Buffer.from(bytes.subarray(quote, eventEnd)), usageOffset: -1 }
    const comma = text.lastIndexOf(',', usageName)
    // A total in front of the text would not be found behind it.
    if (comma < span.end || text.slice(comma + 1, usageName).trim() !== '') return null
    const value = dataStart + skipColon(text, usageName + 7)
    return { before, after: Buffer.from(bytes.subarray(quote, value)), usageOffset: comma - span.end }
  }

  /** Reads a chunk of nothing but whole events like one looked at before; false, and nothing read, for any other. */
  #readAllLike(chunk: Buffer): boolean {
    const template = this.#template
    if (template === null || template.usageOffset !== -1) return false
    const saidBytes = this.#saidBytes
    for (let at = 0; at < chunk.length; ) {
      const start = at + template.before.length
      const end = endOfLike(chunk, at, template)
      if (end === -1) {
        this.#saidBytes = saidBytes
        return false
      }
      this.#keepSaid(chunk.subarray(start, end))
      at = end + template.after.length
    }
    return true
  }

  /** Reads an event that is like one looked at before; false when it is not. */
  #readLike(bytes: Buffer): boolean {
    const template = this.#template
    if (template === null) return false
    const { eventStart, eventEnd, dataEnd } = this.#splitter
    const end = endOfLike(bytes, eventStart, template)
    if (end === -1) return false
    const { before, after, usageOffset } = template
    if (usageOffset === -1) {
      if (end + after.length !== eventEnd) return false
      this.#keepSaid(bytes.subarray(eventStart + before.length, end))
      return true
    }
    // The last member of the chunk: its value, the brace that closes the chunk, and nothing else.
    const value = parse(bytes.toString('latin1', end + after.length, dataEnd - 1))
    const tokens = value === null || bytes[dataEnd - 1] !== 0x7d ? null : tokensOf(value)
    if (tokens === null) return false
    this.usage = tokens
    this.#saidBytes = 0
    const { wantsContinuousUsage, depth } = this.#options
    if (depth === 'continuous' && !wantsContinuousUsage) this.#cut(end + usageOffset, dataEnd - 1)
    return true
  }

  /** Keeps what was said, JSON-escaped bytes, until somebody tells how many tokens that is. */
  #keepSaid(escaped: Buffer): void {
    const length = this.#saidBytes + escaped.length
    if (escaped.length === 0 || length > saidBytesMax) return
    if (length > this.#said.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(512, length * 2))
      this.#said.copy(grown, 0, 0, this.#saidBytes)
      this.#said = grown
    }
    this.#said.set(escaped, this.#saidBytes)
    this.#saidBytes = length
  }

  /** False when the first event is not JSON, or is an error. */
  #readFirst(text: string): boolean {
    const chunk = parse(text)
    if (chunk === null) {
      this.malformed = true
      return false
    }
    if (typeof chunk['model'] === 'string') this.model = latin1ToText(chunk['model'])
    // Ollama's own counts, on servers that send only those.
    if (chunk['usage'] === undefined) this.usage = usageOf(chunk)
    return !this.#readError(text)
  }

  #readError(text: string): boolean {
    const error = parse(text)?.['error']
    if (error === undefined || error === null) return false
    const message = isFields(error) ? error['message'] : error
    this.error = latin1ToText(typeof message === 'string' ? message : 'the upstream reported an error')
    return true
  }

  /** Takes the usage told in this chunk; true when there was one. Cuts it, or the chunk, out of what is sent on. */
  #readUsage(text: string, name: number, dataStart: number): boolean {
    const valueStart = skipColon(text, name + 7)
    if (valueStart === -1 || text.charCodeAt(valueStart) !== 0x7b || text.charCodeAt(name) !== 0x22) return false
    let valueEnd = text.length - 1
    let value = parse(text.slice(valueStart, valueEnd))
    if (value === null) {
      // Not the last member of the chunk, or not a member of the chunk itself: the slow way.
      const whole = parse(text)
      if (whole === null) {
        this.malformed = true
        return false
      }
      if (!isFields(whole['usage'])) return false
      value = whole['usage']
      valueEnd = endOfObject(text, valueStart)
    }
    const tokens = tokensOf(value)
    if (tokens === null) return false
    this.usage = tokens
    this.#saidBytes = 0
    const { wantsUsage, wantsContinuousUsage, depth } = this.#options
    const choiceless = text.includes('"choices":[]') || /"choices"\s*:\s*\[\s*\]/.test(text)
    if (choiceless) {
      this.#owedUsage = null
      if (!wantsUsage) this.#cut(this.#splitter.eventStart, this.#splitter.eventEnd)
    } else if (depth === 'continuous' && !wantsContinuousUsage && dataStart !== -1) {
      if (wantsUsage && hasFinishReason(text)) this.#owedUsage = usageEvent(text)
      const comma = text.lastIndexOf(',', name)
      const isLater = comma !== -1 && text.slice(comma + 1, name).trim() === ''
      const start = isLater ? comma : name
      const following = /^\s*,/.exec(text.slice(valueEnd, valueEnd + 16))
      this.#cut(dataStart + start, dataStart + valueEnd + (isLater || following === null ? 0 : following[0].length))
    }
    return true
  }

  #cut(start: number, end: number): void {
    this.#pieces ??= []
    if (start > this.#from) this.#pieces.push(this.#splitter.bytes.subarray(this.#from, start))
    this.#from = end
  }
}

/** The event of its own in which OpenAI tells the usage, made of the last chunk that has a choice. */
function usageEvent(text: string): Buffer | null {
  const chunk = parse(latin1ToText(text))
  return chunk && Buffer.from(`data: ${JSON.stringify({ ...chunk, choices: [] })}\n\n`)
}

/** Index of the quote that closes the text of an event like `template` at `from`; -1 when no such event is there. */
function endOfLike(bytes: Buffer, from: number, { before, after }: Template): number {
  const start = from + before.length
  if (start >= bytes.length || bytes.compare(before, 0, before.length, from, start) !== 0) return -1
  let end = start
  for (let byte = bytes[end]; byte !== 0x22; byte = bytes[end]) {
    // An event ends at its lines' ends, and JSON has no control character inside a text.
    if (byte === undefined || byte < 0x20) return -1
    end += byte === 0x5c ? 2 : 1
  }
  const last = end + after.length
  return last <= bytes.length && bytes.compare(after, 0, after.length, end, last) === 0 ? end : -1
}

function parse(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text)
    return isFields(value) ? value : null
  } catch {
    return null
  }
}

function hasFinishReason(text: string): boolean {
  return text.includes('"finish_reason":"') || text.includes('"finish_reason": "')
}

/** Index of the value after the colon that follows a name, or -1. */
function skipColon(text: string, from: number): number {
  let at = skipSpace(text, from)
  if (text.charCodeAt(at) !== 0x3a) return -1
  at = skipSpace(text, at + 1)
  return at
}

function skipSpace(text: string, from: number): number {
  let at = from
  while (text.charCodeAt(at) === 0x20) at += 1
  return at
}

/** Index after the object that begins at `from`. The text is valid JSON. */
function endOfObject(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 0x22) at = endOfText(text, at + 1)
    else if (code === 0x7b) depth += 1
    else if (code === 0x7d && --depth === 0) return at + 1
  }
  return text.length
}

/** Index of the quote that closes a text whose first character is at `from`; the length when none does. */
function endOfText(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 1)) {
    let first = at
    while (first > from && text.charCodeAt(first - 1) === 0x5c) first -= 1
    if (((at - first) & 1) === 0) return at
  }
  return text.length
}

/** Where the one text of a chunk's content stands, when there is nothing else that is said. */
function spanOfContent(text: string): { start: number; end: number } | null {
  const name = text.indexOf('"content"')
  if (name === -1 || text.indexOf('"content"', name + 9) !== -1) return null
  if (text.includes('_calls"') || text.includes('"reasoning') || text.includes('"refusal":"')) return null
  const start = skipColon(text, name + 9)
  if (start === -1 || text.charCodeAt(start) !== 0x22) return null
  return { start: start + 1, end: endOfText(text, start + 1) }
}

/** What the model said in a chunk that says more than one thing, still JSON-escaped. */
function escapedDelta(text: string): Buffer {
  const choices = parse(latin1ToText(text))?.['choices']
  if (!Array.isArray(choices)) return nothing
  const said: string[] = []
  for (const choice of choices) {
    if (!isFields(choice)) continue
    gatherTexts(choice['delta'], said)
    if (typeof choice['text'] === 'string') said.push(choice['text'])
  }
  return said.length === 0 ? nothing : Buffer.from(JSON.stringify(said.join('')).slice(1, -1))
}

const silentNames: ReadonlySet<string> = new Set(['role', 'id', 'type', 'index'])

/** Every text of a delta that is generated: content, reasoning, refusal, names and arguments of tool calls. */
function gatherTexts(value: unknown, said: string[]): void {
  if (typeof value === 'string') said.push(value)
  else if (Array.isArray(value)) for (const item of value) gatherTexts(item, said)
  else if (isFields(value)) {
    for (const [name, member] of Object.entries(value)) if (!silentNames.has(name)) gatherTexts(member, said)
  }
}

function latin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** A text parsed out of bytes read as Latin-1, as what it is. */
function latin1ToText(text: string): string {
  return Buffer.from(text, 'latin1').toString('utf8')
}
