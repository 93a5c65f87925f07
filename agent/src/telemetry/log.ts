import { type DestinationStream, type Logger, pino } from 'pino'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { LineBytes } from './line-bytes.js'

/**
 * One JSON line per event on standard output, ISO-8601 time, secrets redacted by name wherever they stand. Text of
 * prompts and answers is never logged. Lines leave in batches, so that a line per request does not cost a system call per
 * request; what has gathered leaves at a warning and at exit. A killed process loses its last moment of lines, never records.
 *
 * Redaction is our own: pino's takes paths, copies the object for each wildcard, and cost more than the rest of a request.
 */
const secretNames: ReadonlySet<string> = new Set([
  'authorization',
  'apikey',
  'api_key',
  'api-key',
  'cookie',
  'credential',
  'jointoken',
  'password',
  'secret',
  'token',
])
const longestSecretName = 13
const redactedText = '[redacted]'
const depthMax = 4

export interface AgentLogOptions {
  readonly level: string
  readonly agentName: string
  readonly clock: Clock
  /** Standard output unless a test gives another. */
  readonly destination?: DestinationStream
}

/** Lines gather until a page of this many bytes is full or this long; a warning takes everything with it at once. */
const pageBytes = 64 * 1024
const gatherMs = 200
/** Room that is made for a line which is put together in its place. */
const lineBytesUsual = 4 * 1024
/** Of such a line; a longer one is not written. A record has bounded texts and some dozens of hops. */
export const lineBytesMax = 256 * 1024
/** Lines that wait because nobody reads them are dropped beyond this: a stuck pipe must not take the agent's memory. */
const waitingBytesMax = 8 * 1024 * 1024

/** The agent's log. */
export function createAgentLog(options: AgentLogOptions): AgentLog {
  const destination = options.destination ?? new PagedOutput(options.clock)
  const base = { plane: 'agent', agent: options.agentName }
  const instant = new InstantText()
  const timestampOf = (atMs: number) => `,"timestamp":"${instant.of(atMs)}"`
  const timestamp = () => timestampOf(options.clock.nowMs())
  const logger = pino(
    {
      level: options.level,
      base,
      messageKey: 'message',
      timestamp,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
  return new AgentLog(logger, { destination, timestampOf }, base)
}

/**
 * Standard output in pages of bytes: a line is encoded once, where it will be written from. As a text it would be flattened,
 * measured, joined to others and encoded, which for a line per request costs twice what making it does.
 */
class PagedOutput implements DestinationStream {
  readonly #output = openOutput()
  readonly #clock: Clock
  #page = Buffer.allocUnsafeSlow(pageBytes)
  #line = new LineBytes(this.#page)
  #length = 0
  #cancelTimer: (() => void) | null = null

  constructor(clock: Clock) {
    this.#clock = clock
    process.on('exit', () => {
      this.flush()
      this.#output.flushSync()
    })
  }

  /** Where the next line may be put together, with room for most. It counts once `endLine` was called. */
  beginLine(): LineBytes {
    if (this.#length + lineBytesUsual > pageBytes) this.flush()
    const line = this.#line
    line.at = this.#length
    line.overflown = false
    return line
  }

  endLine(): void {
    this.#length = this.#line.at
    this.#cancelTimer ??= this.#clock.after(gatherMs, this.#flush)
  }

  write(line: string): void {
    // No character takes more than three bytes per unit.
    const bytesMax = line.length * 3
    if (this.#length + bytesMax > pageBytes) this.flush()
    if (bytesMax > pageBytes) return void this.#output.write(Buffer.from(line))
    this.#length += this.#page.write(line, this.#length)
    this.#cancelTimer ??= this.#clock.after(gatherMs, this.#flush)
  }

  readonly #flush = () => this.flush()

  flush(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = null
    if (this.#length === 0) return
    this.#output.write(this.#page.subarray(0, this.#length))
    this.#page = Buffer.allocUnsafeSlow(pageBytes)
    this.#line = new LineBytes(this.#page)
    this.#length = 0
  }
}

interface BytesOutput {
  write(bytes: Uint8Array): boolean
  flushSync(): void
}

function openOutput(): BytesOutput {
  // Its types know texts only, whatever the content mode.
  return pino.destination({
    dest: 1,
    sync: false,
    maxLength: waitingBytesMax,
    contentMode: 'buffer',
  }) as unknown as BytesOutput
}

/** ISO-8601 text of instants; within a second only the milliseconds are made anew. */
class InstantText {
  #second = Number.NaN
  #prefix = ''

  of(nowMs: number): string {
    const second = Math.floor(nowMs / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#prefix = new Date(second * 1000).toISOString().slice(0, 20)
    }
    const ms = Math.floor(nowMs) - second * 1000
    return `${this.#prefix}${ms < 10 ? '00' : ms < 100 ? '0' : ''}${ms}Z`
  }
}

interface Line {
  readonly destination: DestinationStream & { flush?(): void }
  readonly timestampOf: (atMs: number) => string
}

export class AgentLog implements Log {
  readonly #logger: Logger
  readonly #line: Line
  readonly #bindings: Fields
  readonly #bindingsText: string

  constructor(logger: Logger, line: Line, bindings: Fields) {
    this.#logger = logger
    this.#line = line
    this.#bindings = bindings
    // Escaped where it is not ASCII: names of agents are what an operator likes.
    this.#bindingsText = JSON.stringify(bindings)
      .slice(1, -1)
      .replace(/[^\x20-\x7e]/g, escaped)
  }

  /**
   * An `info` line of the instant `atMs` whose members (`"a":1,"b":"c"`, no secret among them) `write` writes of `value`: what
   * is written for every request, without a logger's way through each field. `message` is plain.
   */
  plain<T>(write: (line: LineBytes, value: T) => void, value: T, message: string, atMs: number) {
    if (!this.#logger.isLevelEnabled('info')) return
    const { destination } = this.#line
    if (destination instanceof PagedOutput) {
      const line = destination.beginLine()
      this.#compose(line, write, value, message, atMs)
      if (!line.overflown) return destination.endLine()
    }
    const line = new LineBytes(Buffer.allocUnsafe(lineBytesMax))
    this.#compose(line, write, value, message, atMs)
    if (!line.overflown) destination.write(line.bytes.toString('utf8', 0, line.at))
  }

  #compose<T>(line: LineBytes, write: (line: LineBytes, value: T) => void, value: T, message: string, atMs: number) {
    line.plain('{"level":"info"')
    line.plain(this.#line.timestampOf(atMs))
    line.plain(',')
    line.plain(this.#bindingsText)
    line.plain(',')
    write(line, value)
    line.plain(',"message":"')
    line.plain(message)
    line.plain('"}\n')
  }

  debug(fields: Readonly<Record<string, unknown>>, message: string): void {
    if (this.#logger.isLevelEnabled('debug')) this.#logger.debug(redact(fields, 0), message)
  }
  info(fields: Readonly<Record<string, unknown>>, message: string): void {
    if (this.#logger.isLevelEnabled('info')) this.#logger.info(redact(fields, 0), message)
  }
  warn(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#logger.warn(redact(fields, 0), message)
    this.#line.destination.flush?.()
  }
  error(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.#logger.error(redact(fields, 0), message)
    this.#line.destination.flush?.()
  }
  child(fields: Readonly<Record<string, unknown>>): AgentLog {
    const shown = redact(fields, 0)
    return new AgentLog(this.#logger.child(shown), this.#line, { ...this.#bindings, ...shown })
  }
}

type Fields = Readonly<Record<string, unknown>>

/** A UTF-16 unit as JSON can spell it in ASCII. */
function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** The same object when nothing in it is secret, else a copy without what is. */
function redact(fields: Fields, depth: number): Fields {
  let copy: Record<string, unknown> | null = null
  for (const name in fields) {
    const value = fields[name]
    let shown = value
    if (name.length <= longestSecretName && secretNames.has(name.toLowerCase())) shown = redactedText
    else if (typeof value === 'object' && value !== null) shown = redactValue(value, depth + 1)
    if (shown === value) continue
    copy ??= { ...fields }
    copy[name] = shown
  }
  return copy ?? fields
}

function redactValue(value: object, depth: number): unknown {
  if (value instanceof Error || ArrayBuffer.isView(value)) return value
  if (depth > depthMax) return redactedText
  if (!Array.isArray(value)) return redact(value as Fields, depth)
  let copy: unknown[] | null = null
  for (let index = 0; index < value.length; index++) {
    const item: unknown = value[index]
    const shown = typeof item === 'object' && item !== null ? redactValue(item, depth + 1) : item
    if (shown === item) continue
    copy ??= [...value]
    copy[index] = shown
  }
  return copy ?? value
}
