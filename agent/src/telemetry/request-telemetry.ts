import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { afterTurn } from '../../../proto/std/turn.js'
import { LineBytes } from './line-bytes.js'
import { AgentLog, lineBytesMax } from './log.js'
import type { AgentMetrics } from './metrics.js'
import { writeRequestMembers } from './request-members.js'

export interface RequestTelemetryOptions {
  readonly metrics: AgentMetrics
  readonly log: Log
  readonly clock: Clock
  /** One line at `info` for every request. */
  readonly logRequests: boolean
}

/** Records wait at most this long, and no longer than the turn in which there are this many: half a millisecond of work. */
const waitMs = 100
const waitingMax = 64

/**
 * What people and scrapers are told of a request once its record is closed: a log line and numbers. The client does not
 * wait for either, so they are made for many requests at once, after the answers of that turn have left: the caches of a
 * processor that does little else are cold for each request anew, and one after another they cost a third.
 *
 * A killed process loses the lines of its last moment; the records themselves are in the spool. A line bears the instant
 * of its record's close, and may stand a tenth of a second behind lines of others that are later.
 */
export class RequestTelemetry implements Service {
  readonly name = 'request-telemetry'
  readonly #options: RequestTelemetryOptions
  #waiting: UsageRecord[] = []
  #cancelTimer: (() => void) | null = null
  #stopped = false

  constructor(options: RequestTelemetryOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    this.#options.metrics.beforeScrape(this.flush)
    // Before the log's own listener, which writes what it has been given.
    process.prependListener('exit', this.flush)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.flush()
    process.off('exit', this.flush)
  }

  /** Takes a closed record; nobody changes it any more. */
  add(record: UsageRecord): void {
    this.#waiting.push(record)
    if (this.#stopped) this.flush()
    else if (this.#waiting.length === waitingMax) afterTurn(this.flush)
    else this.#cancelTimer ??= this.#options.clock.after(waitMs, this.flush)
  }

  /** Tells everything that waits. */
  readonly flush = (): void => {
    this.#cancelTimer?.()
    this.#cancelTimer = null
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    for (const record of waiting) this.#options.metrics.countRecord(record)
    if (!this.#options.logRequests) return
    for (const record of waiting) this.#writeLine(record)
  }

  /** Of the instant at which the record was closed. */
  #writeLine(record: UsageRecord) {
    const { log } = this.#options
    const closedAtMs = Number(record.startedAtUnixMs) + Math.round(Number(record.latencyUs) / 1000)
    if (log instanceof AgentLog) return log.plain(writeRequestMembers, record, 'request', closedAtMs)
    const line = new LineBytes(Buffer.alloc(lineBytesMax))
    line.plain('{')
    writeRequestMembers(line, record)
    line.plain('}')
    if (!line.overflown) log.info(JSON.parse(line.bytes.toString('utf8', 0, line.at)), 'request')
  }
}
