import type { CacheGetRequest__Output } from '../../../proto/gen/switchyard/v1/CacheGetRequest.js'
import type { CacheGetResponse } from '../../../proto/gen/switchyard/v1/CacheGetResponse.js'
import type { CachePutRequest__Output } from '../../../proto/gen/switchyard/v1/CachePutRequest.js'
import type { CachePutResponse } from '../../../proto/gen/switchyard/v1/CachePutResponse.js'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal, RefusalError, throwRefusal } from '../../../proto/std/refusal.js'
import { classifyDatabaseError } from '../database/database-error.js'
import type { GrpcContract } from '../fleet/grpc-contract.js'
import type { GrpcRegistration } from '../fleet/grpc-server.js'
import type { PeerCall } from '../fleet/grpc-stream.js'
import type { Metrics } from '../observability/metrics.js'
import { answerOf, checkName } from './shared-answer.js'
import type { SharedAnswerStore } from './shared-answer-store.js'

export interface SharedAnswerServiceOptions {
  readonly store: SharedAnswerStore
  /** Where this control plane and its database stand. Null: nobody is served. */
  readonly region: string | null
  /** Of a cluster; null where there is none. */
  readonly regionOf: (clusterId: string) => Promise<string | null>
  /** What the answers of one cluster may take. */
  readonly clusterBytesMax: number
  /** Puts, and whatever else writes, of this replica; what comes meanwhile waits its turn. */
  readonly putsAtOnceMax: number
  readonly metrics: Metrics
  readonly clock: Clock
}

/** Of one agent, over all its connections. */
const underWayMax = { get: 16, put: 8 }
/** Of this replica: beyond it a look-up would be answered too late for anybody. */
const getsUnderWayMax = 256
/** Of up to 1 MiB each, in memory until their turn comes. */
const putsUnderWayMax = 64
const regionsMax = 10_000

type Kind = keyof typeof underWayMax

/**
 * Keeps answers for the agents of a cluster, as the cluster's certificate says, where the cluster is in this control plane's
 * own region: answers are what users said and were told, though encrypted, and stay where the cluster is. Look-ups and puts
 * have bounds of their own, and puts leave connections free, so that no put keeps a look-up waiting.
 */
export class SharedAnswerService {
  readonly #options: SharedAnswerServiceOptions
  readonly #underWay = {
    get: new UnderWay(underWayMax.get, getsUnderWayMax),
    put: new UnderWay(underWayMax.put, putsUnderWayMax),
  }
  /** A cluster never moves. */
  readonly #regions = new Map<string, string>()
  readonly #waitingWrites: (() => void)[] = []
  #runningWriteCount = 0
  readonly #calls: (labels: { call: Kind; outcome: string }) => void

  constructor(options: SharedAnswerServiceOptions) {
    this.#options = options
    const calls = options.metrics.counter({
      name: 'shared_answer_calls_total',
      help: 'Calls of agents about answers that they share, by what came of them.',
      labels: ['call', 'outcome'],
    })
    this.#calls = (labels) => calls.inc(labels)
  }

  /** For the fleet's port. */
  registration(contract: GrpcContract): GrpcRegistration {
    return {
      ...{ port: 'fleet', service: contract.cache, methods: {} },
      unaryMethods: {
        Get: (call: PeerCall<CacheGetRequest__Output>) => this.get(call),
        Put: (call: PeerCall<CachePutRequest__Output>) => this.put(call),
      },
    }
  }

  /** Refuses `other_region`, `limit_exceeded` (too many under way), `bad_input`, `unavailable`. */
  get({ peer, request }: Omit<PeerCall<CacheGetRequest__Output>, 'isOver'>): Promise<CacheGetResponse> {
    return this.#serve<CacheGetResponse>('get', peer, async () => {
      const unnamed = checkName(request.name)
      if (unnamed !== null) throw new RefusalError(unnamed)
      const { store, clock } = this.#options
      const options = { bytesMax: request.bytesMax, now: new Date(clock.nowMs()) }
      const value = await store.find(peer.clusterId, request.name, options)
      return value === null ? { outcome: 'miss', answer: {} } : { outcome: 'hit', answer: { value } }
    })
  }

  /** Refuses as `get` does. An answer that nobody waits for any more when its turn comes is not kept. */
  put({ peer, request, isOver }: PeerCall<CachePutRequest__Output>): Promise<CachePutResponse> {
    return this.#serve<CachePutResponse>('put', peer, async () => {
      const { store, clock, clusterBytesMax } = this.#options
      const answer = answerOf(peer.clusterId, request, clock.nowMs())
      if (isRefusal(answer)) throw new RefusalError(answer)
      return this.inTurn(async () => {
        if (isOver()) return { outcome: 'abandoned', answer: { kept: false } }
        const kept = await store.put(answer, { bytesMax: clusterBytesMax, now: new Date(clock.nowMs()) })
        return { outcome: kept ? 'kept' : 'older', answer: { kept } }
      })
    })
  }

  /**
   * Runs `work` as one of the `putsAtOnceMax`, after those that came before. For one caller beside the puts, one step at a
   * time: nothing here bounds how many wait.
   */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    await this.#takeTurn()
    try {
      return await work()
    } finally {
      this.#passTurn()
    }
  }

  async #serve<Answer>(
    call: Kind,
    peer: { readonly agentId: string; readonly clusterId: string },
    work: () => Promise<{ outcome: string; answer: Answer }>,
  ): Promise<Answer> {
    const leave = this.#underWay[call].enter(peer.agentId)
    if (leave === null) {
      this.#calls({ call, outcome: 'refused' })
      return throwRefusal('limit_exceeded', `too many ${call} calls under way`)
    }
    let outcome = 'failed'
    try {
      await this.#requireRegion(peer.clusterId)
      const done = await work()
      outcome = done.outcome
      return done.answer
    } catch (fault) {
      if (fault instanceof RefusalError) outcome = 'refused'
      // Nobody's fault that somebody should be woken for: an answer less.
      if (classifyDatabaseError(fault)?.kind === 'timeout') throwRefusal('unavailable', 'the database took too long')
      throw fault
    } finally {
      leave()
      this.#calls({ call, outcome })
    }
  }

  async #requireRegion(clusterId: string): Promise<void> {
    const { region } = this.#options
    if (region === null) {
      throwRefusal(
        'other_region',
        'this control plane keeps no answers: it was not told its region (SWITCHYARD_REGION)',
      )
    }
    const its = await this.#regionOf(clusterId)
    if (its !== region) {
      throwRefusal(
        'other_region',
        `this control plane keeps answers for clusters in ${region}, not in ${its ?? 'none'}`,
      )
    }
  }

  async #regionOf(clusterId: string): Promise<string | null> {
    const known = this.#regions.get(clusterId)
    if (known !== undefined) return known
    const region = await this.#options.regionOf(clusterId)
    if (region === null) return null
    if (this.#regions.size >= regionsMax) this.#regions.clear()
    this.#regions.set(clusterId, region)
    return region
  }

  async #takeTurn(): Promise<void> {
    if (this.#runningWriteCount < this.#options.putsAtOnceMax) {
      this.#runningWriteCount += 1
      return
    }
    await new Promise<void>((resolve) => this.#waitingWrites.push(resolve))
  }

  #passTurn(): void {
    const next = this.#waitingWrites.shift()
    if (next === undefined) this.#runningWriteCount -= 1
    else next()
  }
}

/** Calls that run, by agent and in all. */
class UnderWay {
  readonly #agentMax: number
  readonly #allMax: number
  readonly #counts = new Map<string, number>()
  #count = 0

  constructor(agentMax: number, allMax: number) {
    this.#agentMax = agentMax
    this.#allMax = allMax
  }

  /** The way out, or null where there is no room. */
  enter(agentId: string): (() => void) | null {
    const own = this.#counts.get(agentId) ?? 0
    if (own >= this.#agentMax || this.#count >= this.#allMax) return null
    this.#counts.set(agentId, own + 1)
    this.#count += 1
    return () => {
      this.#count -= 1
      const left = (this.#counts.get(agentId) ?? 1) - 1
      if (left === 0) this.#counts.delete(agentId)
      else this.#counts.set(agentId, left)
    }
  }
}
