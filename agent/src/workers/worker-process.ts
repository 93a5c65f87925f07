import { must, unreachable } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { pauseEvery } from '../../../proto/std/pause.js'
import { RefusalError } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import { TablesHolder } from '../config/decision-tables.js'
import { HeapBound } from '../heap.js'
import { ReplicaTeller, type ReplicaTelling } from '../replicas/replica-telling.js'
import type { CredentialSource, UsageMeter } from '../request/ports.js'
import type { DoorLimits } from '../server/http-server.js'
import { Meter } from '../usage/meter.js'
import { tellMs as tellLanesMs, WorkerSpool } from '../usage/worker-spool.js'
import { CountingMeter } from './counting-meter.js'
import { boundConnections, DoorLimitsLeft } from './door-limits-left.js'
import { KeyUses } from './key-uses.js'
import type { ToPrimary, ToWorker, WorkerBeginning, WorkerSettings } from './messages.js'
import { ToldCredentials } from './told-credentials.js'
import { ToldTables } from './told-tables.js'

/** What serves requests in this process: everything between the door and the upstreams. */
export interface RequestServing {
  readonly address: { readonly host: string; readonly port: number }
  readonly inFlightCount: number
  readonly connectionCount: number
  /** Opens the door. Rejects when it cannot be opened. */
  run(): Promise<void>
  drain(deadlineMs: number): Promise<void>
  stop(): Promise<void>
  metricsText(): Promise<string>
  countDroppedConnection(): void
  /** What other workers sent to which replicas, and have running there. */
  learn(telling: ReplicaTelling): void
}

/** The way to other workers of the agent, for what they need to know of replicas. */
export interface ReplicaPeers {
  /** Under which all of them name beginnings of prompts. */
  readonly key: Uint32Array
  readonly teller: ReplicaTeller
}

/** What a request worker gives to what serves in it. */
export interface ServingParts {
  readonly settings: WorkerSettings
  readonly tls: WorkerBeginning['tls']
  readonly limits: DoorLimits
  readonly tables: TablesHolder
  readonly vault: CredentialSource
  readonly meter: UsageMeter
  /** Of several workers the first does what once per agent is enough. */
  readonly isFirst: boolean
  /** Null: there are no other workers. */
  readonly peers: ReplicaPeers | null
  readonly clock: Clock
  readonly log: Log
}

export interface WorkerProcessOptions {
  readonly channel: PrimaryChannel
  readonly clock: Clock
  readonly makeLog: (begin: WorkerBeginning) => Log
  readonly makeServing: (parts: ServingParts) => RequestServing
  /** Ends this process. */
  readonly exit: (code: number) => void
}

/** To the primary and back. */
export interface PrimaryChannel {
  /** Resolves when it is handed over; never rejects. */
  send(message: ToPrimary): Promise<void>
  onMessage(listener: (message: ToWorker) => void): void
}

const tellMs = 250
const tellUrgentMs = 5
const signOfLifeMs = 1_000
/** What goes to replicas, and what has ended there, is told to the others this late at most. */
const tellReplicasMs = 20
const sliceMs = 2
/** In the old generation, before it is collected: with it a worker with a thousand tenants stays below 160 MB under load. */
const waitingBytes = 12 * 1024 * 1024

/**
 * A request worker in its process: serves by what the primary tells it, and tells what the primary and the other workers
 * need to know. It owns nothing that outlives it but the files of its lanes, and decides nothing about its own life: when
 * the channel to the primary ends, so does the process (`node:cluster` sees to that).
 */
export class WorkerProcess {
  readonly #options: WorkerProcessOptions
  readonly #heap = new HeapBound(waitingBytes)
  #parts: Parts | null = null
  /** Changes of tables, and then the door, in the order in which they came. */
  #inOrder: Promise<void> = Promise.resolve()
  #cancelTell: (() => void) | null = null
  /** `later`: within `tellMs`. */
  #telling: 'not' | 'later' | 'soon' | 'now' = 'not'
  #soonAgain = false
  #stopped = false
  #draining = false
  readonly #teller = new ReplicaTeller(() => this.#scheduleTellingReplicas())
  #cancelTellReplicas: (() => void) | null = null
  #isTellingReplicas = false
  #lastTold = { connections: -1, inFlight: -1, atUs: Number.NEGATIVE_INFINITY }

  constructor(options: WorkerProcessOptions) {
    this.#options = options
  }

  /** Says that it listens; everything else is told. */
  run(): void {
    const { channel } = this.#options
    channel.onMessage((message) => this.#take(message))
    void channel.send({ kind: 'up' })
  }

  #take(message: ToWorker): void {
    switch (message.kind) {
      case 'begin':
        this.#begin(message.begin)
        break
      case 'credentials':
        this.#begun.credentials.take(message.values)
        break
      case 'rejected':
        this.#begun.credentials.learn(message.credential)
        break
      case 'tables': {
        const { parcel } = message
        this.#next(async () => {
          if (await this.#begun.tables.take(parcel)) await this.#say({ kind: 'applied', number: parcel.number })
        })
        break
      }
      case 'serve':
        this.#next(() => this.#serve())
        break
      case 'others':
        this.#begun.others.connections = message.use.connections
        this.#begun.others.inFlight = message.use.inFlight
        this.#begun.uses.learn(message.use.keys)
        break
      case 'replicas':
        this.#begun.serving.learn(message.telling)
        break
      case 'accepting':
        this.#begun.spool.setAccepting(message.accepting)
        break
      case 'lane':
        this.#begun.spool.obey(message.of, message.order)
        break
      case 'scrape': {
        const { number } = message
        void this.#begun.serving.metricsText().then((text) => this.#say({ kind: 'scraped', number, text }))
        break
      }
      case 'drain':
        void this.#drain(message.deadlineMs)
        break
      case 'stop':
        void this.#stop()
        break
      default:
        unreachable(message)
    }
  }

  get #begun(): Parts {
    return must(this.#parts, 'a worker is told who it is before anything else')
  }

  #begin(begin: WorkerBeginning): void {
    const { clock, makeLog, makeServing } = this.#options
    const { settings, index, count } = begin
    const log = makeLog(begin).child({ worker: index })
    const others = { connections: 0, inFlight: 0 }
    const uses = new KeyUses({ index, count }, () => this.#scheduleTelling(true))
    const tables = new TablesHolder()
    const credentials = new ToldCredentials((credential) => void this.#say({ kind: 'rejected', credential }))
    const spool = new WorkerSpool({
      ...{ directory: begin.spoolDirectory, bootEpoch: begin.bootEpoch, lane: index },
      ...{ segmentBytes: settings.spoolSegmentBytes, accepting: begin.accepting, clock, log },
      // Of what an agent's workers share and agents do not: a fleet is not to report in one instant.
      phaseMs: (begin.prefixKey[0] ?? 0) % tellLanesMs,
      tell: (tellings) => this.#say({ kind: 'lanes', tellings }),
    })
    const serving = makeServing({
      ...{ settings, tls: begin.tls, tables, vault: credentials, clock, log },
      limits: new DoorLimitsLeft(settings, others),
      meter: new CountingMeter(new Meter(spool, log), uses),
      peers: { key: begin.prefixKey, teller: this.#teller },
      isFirst: index === 0,
    })
    const told = new ToldTables(
      {
        swap: (next) => {
          tables.swap(Object.freeze({ ...next, keys: uses.leftOf(next.keys) }))
          this.#heap.adapt()
        },
      },
      pauseEvery(sliceMs, clock),
    )
    this.#parts = { settings, others, uses, credentials, spool, serving, tables: told, release: () => {} }
    this.#scheduleTelling(false)
  }

  async #serve(): Promise<void> {
    const { spool, serving, settings, others } = this.#begun
    // A door that opened now would only cut off what it let in.
    if (this.#draining) return
    await spool.run()
    try {
      await serving.run()
    } catch (fault) {
      const code =
        fault instanceof RefusalError ? fault.refusal.code : ((fault as NodeJS.ErrnoException).code ?? 'fault')
      await this.#say({ kind: 'failed', code, message: String((fault as Error).message ?? fault) })
      await this.#stop()
      return
    }
    this.#begun.release = boundConnections({
      connectionsMax: settings.connectionsMax,
      others,
      own: () => serving.connectionCount,
      onDrop: () => serving.countDroppedConnection(),
    })
    if (this.#draining) return
    await this.#say({ kind: 'serving', ...serving.address })
  }

  async #drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    const { serving, spool } = this.#begun
    await serving.drain(deadlineMs)
    await spool.drain()
    await this.#say({ kind: 'drained' })
  }

  async #stop(): Promise<void> {
    const parts = this.#parts
    this.#stopped = true
    this.#cancelTell?.()
    this.#cancelTellReplicas?.()
    if (parts !== null) {
      parts.release()
      await parts.serving.stop()
      await parts.spool.stop()
    }
    this.#options.exit(0)
  }

  /** After what came before it. A fault ends the process: nothing half applied may serve. */
  #next(step: () => Promise<void>): void {
    this.#inOrder = this.#inOrder.then(step)
  }

  #say(message: ToPrimary): Promise<void> {
    return this.#options.channel.send(message)
  }

  // — what the others need to know —

  /** One telling is under way at a time; what is learned meanwhile waits, as much as there is room for. */
  #scheduleTellingReplicas(): void {
    if (this.#stopped || this.#isTellingReplicas) return
    this.#cancelTellReplicas ??= this.#options.clock.after(tellReplicasMs, () => void this.#tellReplicas())
  }

  async #tellReplicas(): Promise<void> {
    this.#cancelTellReplicas = null
    this.#isTellingReplicas = true
    await this.#say({ kind: 'replicas', telling: this.#teller.take() })
    this.#isTellingReplicas = false
    if (this.#teller.hasNews) this.#scheduleTellingReplicas()
  }

  #scheduleTelling(urgent: boolean): void {
    if (this.#stopped) return
    if (this.#telling === 'now') {
      // What changes while one is under way is in the next.
      this.#soonAgain ||= urgent
      return
    }
    if (this.#telling === 'soon' || (this.#telling === 'later' && !urgent)) return
    this.#cancelTell?.()
    this.#telling = urgent ? 'soon' : 'later'
    this.#cancelTell = this.#options.clock.after(urgent ? tellUrgentMs : tellMs, () => void this.#tellUse())
  }

  async #tellUse(): Promise<void> {
    const { serving, uses } = this.#begun
    this.#telling = 'now'
    this.#cancelTell = null
    this.#soonAgain = false
    const nowUs = this.#options.clock.monotonicUs()
    const { connectionCount: connections, inFlightCount: inFlight } = serving
    const last = this.#lastTold
    const isNews = uses.hasNews || last.connections !== connections || last.inFlight !== inFlight
    if (isNews || nowUs - last.atUs >= signOfLifeMs * 1000) {
      this.#lastTold = { connections, inFlight, atUs: nowUs }
      await this.#say({ kind: 'use', use: { connections, inFlight, keys: uses.next() } })
    }
    this.#telling = 'not'
    this.#scheduleTelling(this.#soonAgain)
  }
}

interface Parts {
  readonly settings: WorkerSettings
  readonly others: { connections: number; inFlight: number }
  readonly uses: KeyUses
  readonly credentials: ToldCredentials
  readonly spool: WorkerSpool
  readonly serving: RequestServing
  readonly tables: ToldTables
  release: () => void
}
