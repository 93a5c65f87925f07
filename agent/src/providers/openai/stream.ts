import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { isJsonObject, type JsonObject, parseJsonObject } from '../../conversation/json-object.js'
import { findMembers } from '../json-members.js'
import type { StreamReader, StreamReaderOptions } from '../provider-dialect.js'
import { SseSplitter } from '../sse-splitter.js'
import { tokensOf, usageOf } from './answer.js'

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
  /** From the quote that closes it to the end of the event; or to the value that is another one each time. */
  readonly after: Buffer
  /** Behind OpenAI's `obfuscation`, a random text: from the quote that closes it to the end. Null without one. */
  readonly afterNoise: Buffer | null
  /** Bytes from the closing quote to the comma before `usage`; -1 where no total follows. */
  readonly usageOffset: number
}

/** Templates made without one that fitted; a stream whose events are all different is better read without. */
const templateTriesMax = 8
const noiseName = '"obfuscation":"'

const nothing = Buffer.alloc(0)

export class ChatStreamReader implements StreamReader {
  readonly contentType = 'text/event-stream'
  alike = false
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
  /** The first event was looked at as a whole. */
  #isProven = false
  #said: Buffer = nothing
  #saidBytes = 0
  #template: Template | null = null
  #templateTries = 0
  /** What is read has no empty line of its own: it may be the half of an event. */
  #isForced = false
  #pieces: Buffer[] | null = null
  #from = 0
  /** The client asked for the usage and the upstream has told it only as a running total so far. */
  #owedUsage: Buffer | null = null

  constructor(options: StreamReaderOptions) {
    this.#options = options
  }

  push(chunk: Buffer): Buffer | null {
    const splitter = this.#splitter
    this.alike = splitter.restBytes === 0 && this.#readAllLike(chunk)
    if (this.alike) return chunk
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
    this.#isForced = true
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
    const isWhole =
      text.startsWith('{') && text.trimEnd().endsWith('}') && (!this.#isForced || parseJsonObject(text) !== null)
    if (!isWhole) {
      this.malformed = true
      return
    }
    if (!this.#isProven && !this.#readFirst(text)) return
    this.#isProven = true
    // Azure's first chunk is about the prompt: no choice, no model's name, and nothing that the model has done.
    this.started ||= !noChoices.test(text)
    if (this.model === null && text.includes('"model"')) this.#readModel(parseJsonObject(text))
    const isFinish = finishReason.test(text)
    if (isFinish) this.finished = true
    if ((text.startsWith('{"error"') || !text.includes('"choices"')) && this.#readError(text)) return
    const usage = text.includes('"usage"') ? this.#readUsage(text, dataCount === 1) : null
    const span = spanOfContent(text)
    if (span !== null && !isFinish && dataCount === 1 && this.#templateTries < templateTriesMax) {
      this.#templateTries += 1
      this.#template = this.#templateOf(text, span, usage)
    }
    if (usage !== null) return
    this.#keepSaid(span === null ? escapedDelta(text) : Buffer.from(text.slice(span.start, span.end), 'latin1'))
  }

  /** What may be taken for granted of later events like this one. */
  #templateOf(text: string, span: Range, usage: Range | null): Template | null {
    const { bytes, eventStart, eventEnd, dataStart } = this.#splitter
    const copy = (from: number, to: number) => Buffer.from(bytes.subarray(from, to))
    const before = copy(eventStart, dataStart + span.start)
    const quote = dataStart + span.end
    if (usage !== null) {
      const name = text.lastIndexOf('"usage"', usage.start)
      const comma = text.lastIndexOf(',', name)
      // Only the last member of all, behind the text, can be found again without looking at the whole.
      const isLast = comma >= span.end && text.slice(comma + 1, name).trim() === '' && usage.end === text.length - 1
      if (!isLast) return null
      return { before, after: copy(quote, dataStart + usage.start), afterNoise: null, usageOffset: comma - span.end }
    }
    const noise = text.indexOf(noiseName, span.end)
    if (noise === -1) return { before, after: copy(quote, eventEnd), afterNoise: null, usageOffset: -1 }
    const noiseStart = noise + noiseName.length
    const noiseEnd = dataStart + endOfText(text, noiseStart)
    const after = copy(quote, dataStart + noiseStart)
    return { before, after, afterNoise: copy(noiseEnd, eventEnd), usageOffset: -1 }
  }

  /** Reads a chunk of nothing but whole events like one looked at before; false, and nothing read, for any other. */
  #readAllLike(chunk: Buffer): boolean {
    const template = this.#template
    if (template === null || template.usageOffset !== -1) return false
    const saidBytes = this.#saidBytes
    for (let at = 0; at < chunk.length; ) {
      const textEnd = endOfLikeText(chunk, at, template)
      const end = textEnd === -1 ? -1 : endOfLike(chunk, textEnd, template)
      if (end === -1) {
        this.#saidBytes = saidBytes
        return false
      }
      this.#keepSaid(chunk.subarray(at + template.before.length, textEnd))
      at = end
    }
    this.#templateTries = 0
    return true
  }

  /** Reads an event that is like one looked at before; false when it is not. */
  #readLike(bytes: Buffer): boolean {
    const template = this.#template
    if (template === null) return false
    const { eventStart, eventEnd, dataEnd } = this.#splitter
    const textEnd = endOfLikeText(bytes, eventStart, template)
    if (textEnd === -1) return false
    const { before, after, usageOffset } = template
    if (usageOffset === -1) {
      if (endOfLike(bytes, textEnd, template) !== eventEnd) return false
      this.#templateTries = 0
      this.#keepSaid(bytes.subarray(eventStart + before.length, textEnd))
      return true
    }
    // The last member of the chunk: its value, the brace that closes the chunk, and nothing else.
    const value = parseJsonObject(bytes.toString('latin1', textEnd + after.length, dataEnd - 1))
    const tokens = value === null || bytes[dataEnd - 1] !== closeBrace ? null : tokensOf(value)
    if (tokens === null) return false
    this.#templateTries = 0
    this.usage = tokens
    this.#saidBytes = 0
    if (this.#hidesTotals) this.#cut(textEnd + usageOffset, dataEnd - 1)
    return true
  }

  /** We asked for running totals that the client did not ask for. */
  get #hidesTotals(): boolean {
    return this.#options.depth === 'continuous' && !this.#options.wantsContinuousUsage
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
    const chunk = parseJsonObject(text)
    if (chunk === null) {
      this.malformed = true
      return false
    }
    // Ollama's own counts, on servers that send only those.
    if (chunk['usage'] === undefined) this.usage = usageOf(chunk)
    return !this.#readError(text)
  }

  #readModel(chunk: JsonObject | null): void {
    const model = chunk?.['model']
    if (typeof model === 'string' && model !== '') this.model = latin1ToText(model)
  }

  #readError(text: string): boolean {
    const chunk = parseJsonObject(text)
    const error = chunk?.['object'] === 'error' ? chunk : chunk?.['error']
    if (error === undefined || error === null) return false
    const message = isJsonObject(error) ? error['message'] : error
    this.error = latin1ToText(typeof message === 'string' ? message : 'the upstream reported an error')
    return true
  }

  /**
   * Takes the usage told in this chunk and cuts it, or the chunk, out of what is sent on. Gives where its value stands in
   * the text; null when no usage is told.
   */
  #readUsage(text: string, isOneLine: boolean): Range | null {
    const span = usageSpan(text)
    const value = span === null ? null : parseJsonObject(text.slice(span.start, span.end))
    const tokens = value === null ? null : tokensOf(value)
    if (span === null || tokens === null) return null
    this.usage = tokens
    this.#saidBytes = 0
    const { wantsUsage } = this.#options
    const { eventStart, eventEnd, dataStart } = this.#splitter
    if (!text.includes('"choices"') || noChoices.test(text)) {
      this.#owedUsage = null
      if (!wantsUsage) this.#cut(eventStart, eventEnd)
    } else if (this.#hidesTotals) {
      if (wantsUsage && finishReason.test(text)) this.#owedUsage = usageEvent(text)
      if (isOneLine) this.#cutMember(text, span, dataStart)
      else this.#replace(eventStart, eventEnd, withoutUsage(text))
    }
    return span
  }

  /** Cuts the member `usage` with the comma that it makes superfluous. */
  #cutMember(text: string, value: Range, dataStart: number): void {
    const name = text.lastIndexOf('"usage"', value.start)
    const comma = text.lastIndexOf(',', name)
    const isLater = comma !== -1 && text.slice(comma + 1, name).trim() === ''
    const following = isLater ? null : /^\s*,/.exec(text.slice(value.end, value.end + 16))
    this.#cut(dataStart + (isLater ? comma : name), dataStart + value.end + (following?.[0].length ?? 0))
  }

  #replace(start: number, end: number, bytes: Buffer): void {
    this.#cut(start, end)
    this.#pieces?.push(bytes)
  }

  #cut(start: number, end: number): void {
    this.#pieces ??= []
    if (start > this.#from) this.#pieces.push(this.#splitter.bytes.subarray(this.#from, start))
    this.#from = end
  }
}

/** The event of its own in which OpenAI tells the usage, made of the last chunk that has a choice. */
function usageEvent(text: string): Buffer | null {
  const chunk = parseJsonObject(latin1ToText(text))
  return chunk && Buffer.from(`data: ${JSON.stringify({ ...chunk, choices: [] })}\n\n`)
}

/** Index of the quote that closes the text of an event like `template` at `from`; -1 when no such event is there. */
function endOfLikeText(bytes: Buffer, from: number, { before, after }: Template): number {
  const start = from + before.length
  if (!holds(bytes, from, before)) return -1
  const end = endOfPlainText(bytes, start)
  return end !== -1 && holds(bytes, end, after) ? end : -1
}

/** Index after an event whose text ends at `textEnd`, -1 when it ends otherwise. */
function endOfLike(bytes: Buffer, textEnd: number, { after, afterNoise }: Template): number {
  const end = textEnd + after.length
  if (afterNoise === null) return end
  const noiseEnd = endOfPlainText(bytes, end)
  return noiseEnd !== -1 && holds(bytes, noiseEnd, afterNoise) ? noiseEnd + afterNoise.length : -1
}

/** Index of the quote that closes a text; -1 where a line ends before (an event ends at its lines' ends). */
function endOfPlainText(bytes: Buffer, from: number): number {
  let at = from
  for (let byte = bytes[at]; byte !== 0x22; byte = bytes[at]) {
    if (byte === undefined || byte < 0x20) return -1
    at += byte === 0x5c ? 2 : 1
  }
  return at
}

/** Parts shorter than this are compared sooner than somebody is called to do it. */
const comparedLength = 24

function holds(bytes: Buffer, at: number, part: Buffer): boolean {
  const { length } = part
  const end = at + length
  if (end > bytes.length) return false
  if (length > comparedLength) return bytes.compare(part, 0, length, at, end) === 0
  for (let index = 0; index < length; index++) if (bytes[at + index] !== part[index]) return false
  return true
}

interface Range {
  readonly start: number
  readonly end: number
}

const closeBrace = 0x7d
const noChoices = /"choices"\s*:\s*(?:\[\s*\]|null)/
/** Some servers tell an empty one with every chunk. */
const finishReason = /"finish_reason"\s*:\s*"[^"]/

/** Where the value of the chunk's own `usage` stands, if that is an object. */
function usageSpan(text: string): Range | null {
  const name = text.lastIndexOf('"usage"')
  const start = skipColon(text, name + 7)
  const isObject = start !== -1 && text.charCodeAt(start) === 0x7b
  // The only one, and null.
  if (!isObject && start !== -1 && text.indexOf('"usage"') === name) return null
  // The usual place, behind all others: what ends where the chunk ends can only be a member of the chunk itself.
  if (isObject && parseJsonObject(text.slice(start, -1)) !== null) return { start, end: text.length - 1 }
  const span = findMembers(Buffer.from(text, 'latin1'), 0, ['usage'])?.spans.get('usage')
  return span !== undefined && text.charCodeAt(span.start) === 0x7b ? span : null
}

/** The same event, in one line, without its running total. */
function withoutUsage(text: string): Buffer {
  const { usage: _told, ...rest } = parseJsonObject(latin1ToText(text)) ?? {}
  return Buffer.from(`data: ${JSON.stringify(rest)}\n\n`)
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
function spanOfContent(text: string): Range | null {
  const name = text.indexOf('"content"')
  if (name === -1 || text.indexOf('"content"', name + 9) !== -1) return null
  if (text.includes('_call') || text.includes('"reasoning') || /"refusal"\s*:\s*"/.test(text)) return null
  const start = skipColon(text, name + 9)
  if (start === -1 || text.charCodeAt(start) !== 0x22) return null
  return { start: start + 1, end: endOfText(text, start + 1) }
}

/** What the model said in a chunk that says more than one thing, still JSON-escaped. */
function escapedDelta(text: string): Buffer {
  const choices = parseJsonObject(latin1ToText(text))?.['choices']
  if (!Array.isArray(choices)) return nothing
  const said: string[] = []
  for (const choice of choices) {
    if (!isJsonObject(choice)) continue
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
  else if (isJsonObject(value)) {
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
