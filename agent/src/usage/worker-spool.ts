import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { afterTurn } from '../../../proto/std/turn.js'
import { frameHeaderBytes } from './frame.js'
import { recordBytesMax, SpoolLane, type WriteCall, writePlainly } from './lane.js'
import { type LaneOrder, LaneTeller, type LaneTelling } from './lane-telling.js'
import type { SpoolClass } from './segment.js'
import { SyncGroup } from './sync-group.js'

export type LaneTellings = Readonly<Record<SpoolClass, LaneTelling | null>>

export interface WorkerSpoolOptions {
  directory: string
  bootEpoch: number
  /** Number of the worker. */
  lane: number
  segmentBytes: number
  /** Whether the agent's budget has room, until `setAccepting` says otherwise. */
  accepting: boolean
  /** The same for all workers of an agent, another one for each agent: when within `tellMs` they tell. Default 0. */
  phaseMs?: number
  /** Resolves when the primary process has been sent it. */
  tell: (tellings: LaneTellings) => Promise<void>
  clock: Clock
  log: Log
  syncIntervalMs?: number
  write?: WriteCall
}

/**
 * A frame is told so late at most (and `tellMsMin`), unless a telling is under way; at instants so far apart, which are the
 * same for every worker of an agent. What all of them tell then makes one round of reports, and rounds are most of what the
 * primary costs.
 */
export const tellMs = 200
/** The next instant is not so near: timers ring a little early, and nobody tells twice of one. */
const tellMsMin = 20
const retryMs = 500

/**
 * The spool of a request worker: this worker's own two lanes, written as in an agent of one process. Everything else of a
 * spool (budgets, watermarks, retention, recovery, reports) is done by the primary, which follows what is told here.
 *
 * One telling is under way at a time; what changes meanwhile is in the next, so that a primary that is slow to read is told
 * less often and never more.
 */
export class WorkerSpool implements Service {
  readonly name = 'worker-spool'
  readonly usage: SpoolLane
  readonly spans: SpoolLane
  readonly #options: WorkerSpoolOptions
  readonly #log: Log
  readonly #sync: SyncGroup
  readonly #tellers: Readonly<Record<SpoolClass, LaneTeller>>
  readonly #phaseMs: number
  #hasRoom: boolean
  #cancelTell: (() => void) | null = null
  #telling: Promise<void> | null = null
  #cancelRetry: (() => void) | null = null
  #stopped = false

  constructor(options: WorkerSpoolOptions) {
    this.#options = options
    this.#log = options.log.child({ service: this.name })
    this.#phaseMs = options.phaseMs ?? 0
    this.#hasRoom = options.accepting
    this.#sync = new SyncGroup({
      clock: options.clock,
      intervalMs: options.syncIntervalMs ?? 50,
      onFault: (fault) => this.#onFault(fault),
    })
    const scratch = Buffer.allocUnsafeSlow(recordBytesMax + frameHeaderBytes)
    this.usage = this.#makeLane('usage', scratch)
    this.spans = this.#makeLane('spans', scratch)
    this.#tellers = { usage: new LaneTeller(this.usage), spans: new LaneTeller(this.spans) }
  }

  /** New requests may be served. */
  get accepting(): boolean {
    return this.#hasRoom && !this.#stopped && !this.usage.faulted
  }

  /** The agent's budget has room, or has none left. */
  setAccepting(hasRoom: boolean): void {
    this.#hasRoom = hasRoom
  }

  async run(): Promise<void> {
    this.#scheduleRetry()
  }

  /** Everything written so far is on the disk and told when it resolves. */
  async drain(): Promise<void> {
    this.usage.flush()
    this.spans.flush()
    await this.#sync.flush()
    await this.#tellAll()
  }

  /** Ends both lanes; one with a request still open is left for the primary to recover. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#cancelRetry?.()
    this.usage.finish()
    this.spans.finish()
    await this.#sync.flush()
    await this.#tellAll()
  }

  /** Does what the primary asks of a lane. Throws when the disk refuses a rename. */
  obey(of: SpoolClass, order: LaneOrder): void {
    this.#tellers[of].obey(order)
    this.#scheduleTelling()
  }

  #makeLane(of: SpoolClass, scratch: Buffer): SpoolLane {
    const { bootEpoch, lane, directory, segmentBytes, write } = this.#options
    return new SpoolLane({
      key: { bootEpoch, lane, class: of },
      ...{ directory, segmentBytes, sync: this.#sync, scratch },
      write: write ?? writePlainly,
      afterTurn: of === 'usage' ? afterTurn : null,
      onBytes: () => this.#scheduleTelling(),
      onFault: (fault) => this.#onFault(fault),
    })
  }

  #onFault(fault: Error): void {
    // The primary raises the alarm, once for all workers.
    this.#log.debug({ fault: fault.message }, 'the disk refused a write')
    this.#scheduleTelling()
  }

  #scheduleRetry(): void {
    this.#cancelRetry = this.#options.clock.after(retryMs, () => {
      for (const lane of [this.usage, this.spans]) if (lane.faulted && lane.retry()) this.#scheduleTelling()
      this.#scheduleRetry()
    })
  }

  #scheduleTelling(): void {
    if (this.#cancelTell !== null) return
    const { clock } = this.#options
    const leftMs = tellMs - ((clock.nowMs() + this.#phaseMs) % tellMs)
    this.#cancelTell = clock.after(leftMs < tellMsMin ? leftMs + tellMs : leftMs, () => {
      this.#cancelTell = null
      if (this.#telling === null) void this.#tell()
    })
  }

  /** Resolves when everything up to now was told. */
  async #tellAll(): Promise<void> {
    while (this.#telling !== null) await this.#telling
    await this.#tell()
  }

  #tell(): Promise<void> {
    const tellings = { usage: this.#tellers.usage.next(), spans: this.#tellers.spans.next() }
    if (tellings.usage === null && tellings.spans === null) return Promise.resolve()
    const telling = this.#options.tell(tellings).finally(() => {
      this.#telling = null
      if (!this.#stopped) this.#scheduleTelling()
    })
    this.#telling = telling
    return telling
  }
}
