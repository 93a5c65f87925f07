import type { Clock } from '../../../proto/std/clock.js'
import type { Effect } from '../config/build-tables.js'
import { PrefixOutbox } from '../replicas/prefix-outbox.js'
import type { ServerLoad } from '../replicas/replica-server.js'
import type { FollowedLanes } from '../usage/spool.js'
import type { ToPrimary, ToWorker, WorkerBeginning } from './messages.js'
import { Relay } from './relay.js'
import type { TablesChange } from './tables-parcel.js'
import type { WorkerEnd, WorkerHandle } from './worker-handle.js'

/** `starting` until its door is open. `ended`: the process is gone. */
export type WorkerState = 'starting' | 'serving' | 'ended'

export interface PrimaryWorkerOptions {
  readonly index: number
  /** Which of all processes that there were; never the same again. */
  readonly life: number
  readonly handle: WorkerHandle
  readonly clock: Clock
  /** Called for each message that concerns more than this worker. */
  readonly onMessage: (message: ToPrimary) => void
  /** It is beyond waiting for, and was killed. */
  readonly onStuck: (why: string) => void
}

/** To apply a change: so long, and so much more for each MiB of it. */
const applyMs = 10_000
const applyMsPerMib = 1_000
/** From being told to serve until its door is open. */
const serveMs = 60_000

/**
 * One request worker in the primary, for one life of its process: what it was told, what it still has to answer, and when it
 * was last heard.
 */
export class PrimaryWorker {
  readonly index: number
  readonly life: number
  readonly pid: number
  /** For it to learn from the others. */
  readonly prefixes = new PrefixOutbox()
  state: WorkerState = 'starting'
  /** Set with its beginning. */
  lanes: FollowedLanes | null = null
  lastHeardUs: number
  /** It applied a change; without any it refuses requests. */
  hasTables = false
  /** Infinity until it serves. */
  servesSinceUs = Number.POSITIVE_INFINITY
  readonly #options: PrimaryWorkerOptions
  readonly #handle: WorkerHandle
  /** What it holds once it has applied all that it was sent. */
  #sent: Effect | null = null
  /** Changes go one after the other. */
  #changing: Promise<void> = Promise.resolve()
  #nextNumber = 1
  readonly #answers = new Map<string, () => void>()
  readonly #scrapes = new Map<number, (text: string | null) => void>()
  readonly #useRelay: Relay
  readonly #replicaRelay: Relay
  #isToServe = false
  #end: Promise<WorkerEnd>
  #hasEnded: (how: WorkerEnd) => void = () => {}

  constructor(options: PrimaryWorkerOptions) {
    this.#options = options
    this.#handle = options.handle
    this.index = options.index
    this.life = options.life
    this.pid = options.handle.pid
    this.lastHeardUs = options.clock.monotonicUs()
    this.#useRelay = new Relay((message) => this.#handle.send(message))
    this.#replicaRelay = new Relay((message) => this.#handle.send(message))
    this.#end = new Promise((resolve) => {
      this.#hasEnded = resolve
    })
    this.#handle.onMessage((message) => this.#take(message))
    this.#handle.onEnd((how) => {
      this.state = 'ended'
      for (const settle of this.#answers.values()) settle()
      this.#answers.clear()
      for (const settle of this.#scrapes.values()) settle(null)
      this.#hasEnded(how)
    })
  }

  /** Resolves when the process is gone. */
  get end(): Promise<WorkerEnd> {
    return this.#end
  }

  /** It has begun: whatever all are told, it is told. */
  get hasBegun(): boolean {
    return this.lanes !== null && this.state !== 'ended'
  }

  /** Clients are served by it, or may be any moment: it was told to open its door. */
  get mayServe(): boolean {
    return this.#isToServe && this.state !== 'ended'
  }

  /** Resolves when it listens to messages, or is gone. */
  up(): Promise<void> {
    return this.#answer('up')
  }

  begin(lanes: FollowedLanes, beginning: WorkerBeginning): void {
    this.lanes = lanes
    this.tell({ kind: 'begin', begin: beginning })
  }

  /** Never rejects; what a process that is gone is told is lost with it. */
  tell(message: ToWorker): void {
    void this.#handle.send(message)
  }

  /** Resolves when the worker serves by it, or is gone: one that does not apply it in time is killed. */
  change(change: TablesChange): Promise<void> {
    this.#changing = this.#changing.then(() => this.#change(change))
    return this.#changing
  }

  /**
   * Opens its door once every change before is applied; resolves when clients are served, or it is gone: one whose door is not
   * open in time is killed.
   */
  async serve(): Promise<void> {
    this.#isToServe = true
    await this.#changing
    const serving = this.#answer('serving')
    this.tell({ kind: 'serve' })
    const cancel = this.#options.clock.after(serveMs, () => this.giveUp(`its door was not open within ${serveMs} ms`))
    await serving
    cancel()
  }

  /** Resolves when nothing runs in it any more and its lanes are told, or it is gone. Of one that `mayServe`. */
  drain(deadlineMs: number): Promise<void> {
    const drained = this.#answer('drained')
    this.tell({ kind: 'drain', deadlineMs })
    // One that was just opening its door leaves it closed, and says nothing of it.
    this.#settle('serving')
    return drained
  }

  /** Its metrics, or null when it does not answer in `waitMs`. */
  scrape(waitMs: number): Promise<string | null> {
    if (this.state !== 'serving') return Promise.resolve(null)
    const number = this.#nextNumber++
    return new Promise((resolve) => {
      const settle = (text: string | null) => {
        cancel()
        this.#scrapes.delete(number)
        resolve(text)
      }
      const cancel = this.#options.clock.after(waitMs, () => settle(null))
      this.#scrapes.set(number, settle)
      this.tell({ kind: 'scrape', number })
    })
  }

  /** What the others use: `next` makes it when there is nothing of it under way. */
  relayUse(next: () => ToWorker | null): void {
    if (this.hasBegun) this.#useRelay.offer(() => (this.hasBegun ? next() : null))
  }

  /** What waits in `prefixes`, and `loads` made when there is nothing of it under way. */
  relayReplicas(loads: () => readonly ServerLoad[]): void {
    if (!this.hasBegun) return
    this.#replicaRelay.offer(() => {
      if (!this.hasBegun) return null
      const telling = { prefixes: this.prefixes.take(), loads: loads() }
      return telling.prefixes.length === 0 && telling.loads.length === 0 ? null : { kind: 'replicas', telling }
    })
  }

  /** Ends it at once; `why` is for the log. */
  giveUp(why: string): void {
    if (this.state === 'ended') return
    this.#options.onStuck(why)
    this.#handle.kill()
  }

  async #change(change: TablesChange): Promise<void> {
    if (this.#isGone() || this.#sent === change.effect) return
    const before = this.#sent
    const number = this.#nextNumber++
    this.#sent = change.effect
    const applied = this.#answer(`applied ${number}`)
    let bytes = 0
    for await (const parcel of change.from(before, number)) {
      // One that takes nothing any more is noticed by its silence.
      await Promise.race([this.#handle.send({ kind: 'tables', parcel }), this.#end])
      if (this.#isGone()) return
      bytes += parcel.sections.reduce((sum, section) => sum + section.content.length, 0)
    }
    const waitMs = Math.round(applyMs + (bytes / 2 ** 20) * applyMsPerMib)
    const cancel = this.#options.clock.after(waitMs, () => this.giveUp(`a change was not applied within ${waitMs} ms`))
    await applied
    cancel()
    this.hasTables = true
  }

  #isGone(): boolean {
    return this.state === 'ended'
  }

  /** Resolves with the message of that name, or the worker's end. */
  #answer(name: string): Promise<void> {
    if (this.state === 'ended') return Promise.resolve()
    return new Promise((resolve) => {
      this.#answers.set(name, resolve)
    })
  }

  #take(message: ToPrimary): void {
    if (this.state === 'ended') return
    this.lastHeardUs = this.#options.clock.monotonicUs()
    switch (message.kind) {
      case 'applied':
        this.#settle(`applied ${message.number}`)
        break
      case 'scraped':
        this.#scrapes.get(message.number)?.(message.text)
        break
      case 'up':
      case 'drained':
        this.#settle(message.kind)
        break
      case 'serving':
        this.state = 'serving'
        this.servesSinceUs = this.lastHeardUs
        this.#options.onMessage(message)
        this.#settle('serving')
        break
      default:
        this.#options.onMessage(message)
    }
  }

  #settle(name: string): void {
    this.#answers.get(name)?.()
    this.#answers.delete(name)
  }
}
