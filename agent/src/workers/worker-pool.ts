import { Backoff } from '../../../proto/std/backoff.js'
import type { Clock } from '../../../proto/std/clock.js'
import { pauseEvery } from '../../../proto/std/pause.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { Effect } from '../config/build-tables.js'
import type { VaultSecret } from '../config/credential-vault.js'
import type { LaneOrder } from '../usage/lane-telling.js'
import type { SpoolClass } from '../usage/segment.js'
import type { FollowedLanes } from '../usage/spool.js'
import { LoadBoard } from './load-board.js'
import type { CredentialReport, CredentialValue, ToPrimary, WorkerSettings } from './messages.js'
import { PrimaryWorker } from './primary-worker.js'
import { TablesChange } from './tables-parcel.js'
import { UseBoard } from './use-board.js'
import type { WorkerEnd, WorkerSource } from './worker-handle.js'

/** As much of the spool as workers' lanes need. */
export interface LaneFollower {
  readonly directory: string
  readonly accepting: boolean
  onAccepting(listener: (accepting: boolean) => void): void
  follow(lane: number, ask: (of: SpoolClass, order: LaneOrder) => void): FollowedLanes
  unfollow(lanes: FollowedLanes): void
}

/** As much of the vault as workers need. */
export interface CredentialsOfAll {
  values(): Iterable<CredentialValue>
  reportRejected(credentialId: string, version: number): void
  reportAccepted(credentialId: string, version: number): void
}

export interface WorkerPoolOptions {
  /** How many request workers. */
  readonly count: number
  readonly settings: WorkerSettings
  readonly tls: { readonly cert: string; readonly key: string } | null
  readonly source: WorkerSource
  readonly registry: { add(pid: number): Promise<void>; remove(pid: number): Promise<void> }
  readonly spool: LaneFollower
  readonly vault: CredentialsOfAll
  /** Takes a worker's output; called for each start of a worker. */
  readonly output: () => (chunk: Buffer) => void
  /** The process of that life has ended. */
  readonly onEnded: (life: number) => void
  /** Under which workers name beginnings of prompts. */
  readonly prefixKey: Uint32Array
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

interface Slot {
  readonly index: number
  readonly backoff: Backoff
  worker: PrimaryWorker | null
  /** A worker of this number has served. */
  served: boolean
}

const restartMinMs = 100
const restartMaxMs = 30_000
/** One that served for so long was well; the next wait is the first again. */
const steadyMs = 60_000
/** From its start until it listens, modules read from a cold disk included. */
const upMs = 60_000
/** Workers say something once a second from their beginning on. */
const silentMs = 15_000
const lookMs = 1_000
/** A look so late says that this process did not run either; nobody is judged by it. */
const lateLookMs = 5_000
/** What one worker tells reaches the others no later than this, and in no more messages. */
const relayMs = 5
/** The same for replicas: no more of prompts in so long than an outbox holds. */
const replicaRelayMs = 20
const scrapeMs = 2_000
/** After the deadline of running requests: their last bytes, flush, the telling. */
const drainedMs = 10_000
const stopMs = 5_000

/**
 * The request workers of an agent, in its primary: starts them, tells them whatever serving needs, starts anew those that
 * end, and sees to what they leave behind. See `agent/decisions/0002`.
 */
export class WorkerPool implements Service {
  readonly name = 'request-workers'
  readonly #options: WorkerPoolOptions
  readonly #log: Log
  readonly #slots: readonly Slot[]
  readonly #board: UseBoard
  readonly #loads: LoadBoard
  readonly #stopping = new AbortController()
  /** Endings that are being seen to. */
  readonly #ending = new Set<Promise<void>>()
  #change: TablesChange | null = null
  #address: { readonly host: string; readonly port: number } | null = null
  #restartCount = 0
  /** What a worker said before it ended; the last one. */
  #failure: string | null = null
  #draining = false
  #cancelLook: (() => void) | null = null
  #cancelRelay: (() => void) | null = null
  #cancelReplicaRelay: (() => void) | null = null
  /** Of workers that have ended. */
  #droppedPrefixCount = 0
  #lifeCount = 0
  #lookedUs: number
  #crowded = false
  /** All workers served at once, by a configuration. */
  #wasReady = false

  constructor(options: WorkerPoolOptions) {
    this.#options = options
    this.#log = options.log.child({ service: this.name })
    this.#board = new UseBoard(options.count)
    this.#loads = new LoadBoard(options.count)
    this.#lookedUs = options.clock.monotonicUs()
    const limits = { minMs: restartMinMs, maxMs: restartMaxMs }
    this.#slots = Array.from({ length: options.count }, (_, index) => ({
      ...{ index, backoff: new Backoff(limits, options.random), worker: null, served: false },
    }))
  }

  /** Where clients connect; null until a worker serves. */
  get address(): { readonly host: string; readonly port: number } | null {
    return this.#address
  }

  /** Requests running in all workers, as last told. */
  get inFlightCount(): number {
    return this.#board.inFlightCount
  }

  /** Workers whose door is open. */
  get servingCount(): number {
    return this.#live().filter((worker) => worker.state === 'serving').length
  }

  /** Workers that ended unasked. */
  get restartCount(): number {
    return this.#restartCount
  }

  /** Beginnings of prompts that workers did not hear of, because more came than they took. */
  get droppedPrefixCount(): number {
    return this.#live().reduce((sum, { prefixes }) => sum + prefixes.droppedCount, this.#droppedPrefixCount)
  }

  /** Why no client would be served; null when one would. In the beginning: until every worker serves, by a configuration. */
  get unreadyReason(): string | null {
    if (this.#wasReady) return this.servingCount > 0 ? null : 'no_request_worker'
    return this.#slots.some((slot) => !slot.served) ? 'starting' : 'no_configuration'
  }

  /** Resolves when all workers serve, or, while draining, when none will any more. Refuses (RefusalError) when one cannot, with what it says. */
  async run(): Promise<void> {
    const { spool } = this.#options
    spool.onAccepting((accepting) => this.#tellAll((worker) => worker.tell({ kind: 'accepting', accepting })))
    this.#scheduleLook()
    await Promise.all(
      this.#slots.map(async (slot) => {
        const worker = await this.#start(slot)
        if (worker?.state !== 'serving' && !this.#draining) {
          throwRefusal('request_worker_failed', this.#failure ?? 'a request worker ended before it served')
        }
      }),
    )
  }

  /**
   * Resolves when nobody is served by anything but `effect`: every worker whose door may be open has swapped, and one that has
   * not in time is killed and starts anew. One that is still starting is not waited for: it takes the newest before it serves.
   */
  async publish(effect: Effect): Promise<void> {
    const change = new TablesChange(effect, pauseEvery(2, this.#options.clock))
    this.#change = change
    await Promise.all(this.#live().map((worker) => (worker.mayServe ? worker.change(change) : undefined)))
    this.#noteReady()
  }

  #noteReady(): void {
    this.#wasReady ||= this.#slots.every(({ worker }) => worker?.state === 'serving' && worker.hasTables)
  }

  /** A credential's value appeared, changed or (null) went. */
  tellCredential(credentialId: string, version: number, value: VaultSecret | null): void {
    this.#tellAll((worker) => worker.tell({ kind: 'credentials', values: [[credentialId, version, value]] }))
  }

  /** By life, texts of those that answer in time. */
  async scrape(): Promise<ReadonlyMap<number, string>> {
    const texts = new Map<number, string>()
    await Promise.all(
      this.#live().map(async (worker) => {
        const text = await worker.scrape(scrapeMs)
        if (text !== null) texts.set(worker.life, text)
      }),
    )
    return texts
  }

  /** Every worker refuses new requests and lets running ones end; resolves when none runs and all lanes are told. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    const { clock } = this.#options
    const late = new AbortController()
    // Where no door is open or will be there is nothing to drain.
    const drained = Promise.all(this.#live().map((worker) => (worker.mayServe ? worker.drain(deadlineMs) : undefined)))
    await Promise.race([drained, clock.sleep(deadlineMs + drainedMs, late.signal).catch(() => {})])
    late.abort()
  }

  async stop(): Promise<void> {
    this.#draining = true
    this.#stopping.abort()
    this.#cancelLook?.()
    this.#cancelRelay?.()
    this.#cancelReplicaRelay?.()
    await Promise.all(
      this.#live().map(async (worker) => {
        worker.tell({ kind: 'stop' })
        const cancel = this.#options.clock.after(stopMs, () => worker.giveUp(`it did not stop within ${stopMs} ms`))
        await worker.end
        cancel()
      }),
    )
    while (this.#ending.size > 0) await Promise.all(this.#ending)
  }

  #live(): readonly PrimaryWorker[] {
    return this.#slots.flatMap(({ worker }) => (worker === null ? [] : [worker]))
  }

  #tellAll(tell: (worker: PrimaryWorker) => void): void {
    for (const worker of this.#live()) if (worker.hasBegun) tell(worker)
  }

  /** One life of a worker, up to where it serves or has ended, or is not to serve. Null: there is not even a process. */
  async #start(slot: Slot): Promise<PrimaryWorker | null> {
    const worker = this.#fork(slot)
    if (worker === null) return null
    try {
      await this.#begin(worker)
    } catch (fault) {
      // A disk that takes no boot epoch, for example. Once it has ended it is started anew, later and later.
      worker.giveUp(`it could not be begun: ${String(fault)}`)
      await worker.end
    }
    return worker
  }

  #fork(slot: Slot): PrimaryWorker | null {
    const { source, clock, output } = this.#options
    const { index } = slot
    let worker: PrimaryWorker
    try {
      const handle = source.start(index)
      handle.onOutput(output())
      worker = new PrimaryWorker({
        ...{ index, life: this.#lifeCount++, handle, clock },
        onMessage: (message) => this.#take(worker, message),
        onStuck: (why) =>
          this.#log.error({ worker: index, pid: handle.pid, why }, 'a request worker is stuck; it is killed'),
      })
    } catch (fault) {
      this.#log.error({ worker: index, fault: String(fault) }, 'no process for a request worker')
      this.#startLater(slot)
      return null
    }
    slot.worker = worker
    const ending: Promise<void> = worker.end
      .then((how) => this.#seeToEnd(slot, worker, how))
      .catch((fault) =>
        this.#log.error({ worker: index, fault: String(fault) }, 'a fault of ours at the end of a worker'),
      )
      .finally(() => this.#ending.delete(ending))
    this.#ending.add(ending)
    return worker
  }

  /** Everything from its first word until it serves. */
  async #begin(worker: PrimaryWorker): Promise<void> {
    const { registry, clock, spool, vault, settings, tls, count, prefixKey } = this.#options
    const { index } = worker
    const cancelUp = clock.after(upMs, () => worker.giveUp(`it was not up within ${upMs} ms`))
    await Promise.all([worker.up(), this.#register(registry, worker)])
    cancelUp()
    if (worker.state === 'ended' || this.#draining) return
    const lanes = spool.follow(index, (of, order) => worker.tell({ kind: 'lane', of, order }))
    worker.begin(lanes, {
      ...{ index, count, settings, tls, prefixKey, spoolDirectory: spool.directory },
      ...{ bootEpoch: lanes.usage.key.bootEpoch, accepting: spool.accepting },
    })
    worker.tell({ kind: 'credentials', values: [...vault.values()] })
    // Again, should there be a newer one meanwhile: it never serves by less than the newest.
    for (let change = this.#change; change !== null; change = this.#change) {
      await worker.change(change)
      if (change === this.#change) break
    }
    // Who would serve from now on would soon cut off what it let in.
    if (this.#draining) return
    // What it heard of use and of replicas before it began went nowhere.
    this.#scheduleRelay()
    this.#scheduleReplicaRelay()
    await worker.serve()
    this.#noteReady()
  }

  async #register(registry: WorkerPoolOptions['registry'], worker: PrimaryWorker): Promise<void> {
    try {
      await registry.add(worker.pid)
    } catch (fault) {
      worker.giveUp(`the disk does not take its name: ${String(fault)}`)
      await worker.end
    }
  }

  #take(worker: PrimaryWorker, message: ToPrimary): void {
    const { clock, vault } = this.#options
    switch (message.kind) {
      case 'serving': {
        const { host, port } = message
        const slot = this.#slots[worker.index]
        if (slot) slot.served = true
        this.#address = { host, port }
        this.#log.info({ worker: worker.index, pid: worker.pid, host, port }, 'request worker up')
        break
      }
      case 'failed':
        this.#failure = message.message
        this.#log.error(
          { worker: worker.index, code: message.code },
          `a request worker cannot serve: ${message.message}`,
        )
        break
      case 'lanes':
        for (const of of ['usage', 'spans'] as const) {
          const telling = message.tellings[of]
          if (telling !== null) worker.lanes?.[of].follow(telling)
        }
        break
      case 'use': {
        const refusedCount = this.#board.tell(worker.index, message.use, clock.monotonicUs())
        if (refusedCount > 0 && !this.#crowded) {
          this.#crowded = true
          this.#log.warn(
            { keyCount: this.#board.keyCount },
            'too many keys in use; limits of further ones hold per worker',
          )
        }
        this.#scheduleRelay()
        break
      }
      case 'replicas':
        this.#loads.tell(worker.index, message.telling.loads)
        for (const other of this.#live()) {
          if (other === worker || !other.hasBegun) continue
          for (const learned of message.telling.prefixes) other.prefixes.add(learned)
        }
        this.#scheduleReplicaRelay()
        break
      case 'rejected':
        this.#learnRejection(worker, message.credential, vault)
        break
      default:
    }
  }

  #learnRejection(worker: PrimaryWorker, credential: CredentialReport, vault: CredentialsOfAll): void {
    const { credentialId, version, rejected } = credential
    if (rejected) vault.reportRejected(credentialId, version)
    else vault.reportAccepted(credentialId, version)
    this.#tellAll((other) => {
      if (other !== worker) other.tell({ kind: 'rejected', credential })
    })
  }

  async #seeToEnd(slot: Slot, worker: PrimaryWorker, how: WorkerEnd): Promise<void> {
    const { spool, registry, clock, onEnded } = this.#options
    slot.worker = null
    this.#droppedPrefixCount += worker.prefixes.droppedCount
    try {
      if (worker.lanes !== null) spool.unfollow(worker.lanes)
    } catch (fault) {
      // The next start of the agent finds it on the disk as it is.
      this.#log.error(
        { worker: worker.index, fault: String(fault) },
        'what a request worker left could not be recovered; the next start of the agent does it',
      )
    }
    this.#board.forget(worker.index)
    this.#loads.forget(worker.index)
    this.#scheduleRelay()
    this.#scheduleReplicaRelay()
    onEnded(worker.life)
    await registry.remove(worker.pid).catch((fault) => {
      this.#log.warn({ fault: String(fault) }, 'the list of request workers could not be written')
    })
    if (this.#draining) return
    this.#restartCount += 1
    if (clock.monotonicUs() - worker.servesSinceUs > steadyMs * 1000) slot.backoff.reset()
    // A worker that ends unasked is a fault of ours or of the machine, though nothing is lost by it.
    const level = slot.backoff.logLevel === 'warn' ? 'error' : 'warn'
    this.#log[level](
      { worker: worker.index, pid: worker.pid, ...how, attempt: slot.backoff.attempt },
      'a request worker ended; it is started anew',
    )
    // Those that never served are for `run` to judge.
    if (slot.served) this.#startLater(slot)
  }

  #startLater(slot: Slot): void {
    const { clock } = this.#options
    const { signal } = this.#stopping
    clock.sleep(slot.backoff.nextMs(), signal).then(
      () => {
        // Never rejects: what fails ends the worker, and its end is seen to.
        if (!this.#draining) void this.#start(slot)
      },
      () => {},
    )
  }

  /** Who is silent is stuck. */
  #scheduleLook(): void {
    const { clock } = this.#options
    this.#cancelLook = clock.after(lookMs, () => {
      const nowUs = clock.monotonicUs()
      const isLate = nowUs - this.#lookedUs > (lookMs + lateLookMs) * 1000
      this.#lookedUs = nowUs
      for (const worker of this.#live()) {
        if (isLate) worker.lastHeardUs = nowUs
        else if (worker.hasBegun && nowUs - worker.lastHeardUs > silentMs * 1000) {
          worker.giveUp(`nothing was heard of it for ${silentMs} ms`)
        }
      }
      this.#board.advance(nowUs)
      this.#scheduleRelay()
      this.#scheduleLook()
    })
  }

  #scheduleRelay(): void {
    this.#cancelRelay ??= this.#options.clock.after(relayMs, () => {
      this.#cancelRelay = null
      for (const worker of this.#live()) {
        worker.relayUse(() => {
          const use = this.#board.newsFor(worker.index)
          if (this.#board.hasNewsFor(worker.index)) this.#scheduleRelay()
          return use === null ? null : { kind: 'others', use }
        })
      }
    })
  }

  #scheduleReplicaRelay(): void {
    this.#cancelReplicaRelay ??= this.#options.clock.after(replicaRelayMs, () => {
      this.#cancelReplicaRelay = null
      for (const worker of this.#live()) {
        worker.relayReplicas(() => {
          const loads = this.#loads.newsFor(worker.index)
          if (this.#loads.hasNewsFor(worker.index)) this.#scheduleReplicaRelay()
          return loads
        })
      }
    })
  }
}
