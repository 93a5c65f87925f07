import type { ReplicaPlace } from '../../../proto/policy/tables.js'
import type { EngineCounters, EngineMetrics, EngineRefusal } from './engine-metrics.js'

/**
 * One server, whoever's provider names it: what it said of itself at the last reading, and what this agent has running there:
 * this process's to the request and the instant, that of other request workers as they told. What a reading shows beyond is
 * others' work: it is taken to stay until the next reading, while ours is counted on.
 */
export class ReplicaServer {
  readonly url: string
  readonly metricsUrl: string
  /** What came of the last reading. */
  speech: ServerSpeech = 'unread'
  /**
   * Somebody looks at what runs there: it is one of several, or is read. What runs at any other server is not counted, for
   * each request would pay for a number that decides nothing.
   */
  isCounted = false
  /** To some provider; then other request workers of the agent are told what runs there. */
  isOneOfSeveral = false
  /** Written by `ReplicaTeller` alone. */
  isToBeTold = false
  /** Readings in a row that found nobody there. */
  silentCount = 0
  /** When somebody was last there, on the monotonic clock. */
  heardUs = Number.NEGATIVE_INFINITY
  /** Times that it was found to have begun anew. */
  restartCount = 0
  #reading: Reading | null = null
  #before: Reading | null = null
  #inFlightCount = 0
  #inFlightTokens = 0
  #unansweredTokens = 0
  /**
   * Not a `Set`: one that grows and shrinks with every request leaves its outgrown tables to the garbage collector, which
   * costs more than the rest of a pick.
   */
  readonly #unanswered: ReplicaWork[] = []

  readonly #onLoad: ((server: ReplicaServer) => void) | undefined
  /** Others have to be told once more: of nothing. */
  #isToldOf = false
  /** What other request workers of the agent have running there, as last told. */
  #peers: PeerLoad = noPeers

  constructor(place: ReplicaPlace, onLoad?: (server: ReplicaServer) => void) {
    this.#onLoad = onLoad
    this.url = urlOf(place)
    // A server's numbers stand beside its API, not below its version.
    this.metricsUrl = `${place.origin}${place.basePath.replace(/\/v\d+$/, '')}/metrics`
  }

  /** This process's, running. */
  get inFlightCount(): number {
    return this.#inFlightCount
  }

  get inFlightTokens(): number {
    return this.#inFlightTokens
  }

  /** This process's, to be computed before a new request's turn. */
  get unansweredTokens(): number {
    return this.#unansweredTokens
  }

  begin(work: ReplicaWork): void {
    this.#inFlightCount += 1
    this.#inFlightTokens += work.weightTokens
    this.#unansweredTokens += work.missingTokens
    work.slot = this.#unanswered.length
    this.#unanswered.push(work)
    if (this.#onLoad !== undefined) this.#noteLoad(this.#onLoad)
  }

  /** Its prompt was computed, as far as can be known. Harmless when said before. */
  answer(work: ReplicaWork): void {
    const { slot } = work
    if (slot === -1) return
    work.slot = -1
    const last = this.#unanswered.pop()
    if (last !== undefined && last !== work) {
      this.#unanswered[slot] = last
      last.slot = slot
    }
    // Differences of guessed numbers leave a remainder, which would grow with the requests.
    if (this.#unanswered.length === 0) this.#unansweredTokens = 0
    else this.#unansweredTokens -= work.missingTokens
    if (this.#onLoad !== undefined) this.#noteLoad(this.#onLoad)
  }

  /** To be called once. */
  end(work: ReplicaWork): void {
    this.answer(work)
    this.#inFlightCount -= 1
    if (this.#inFlightCount === 0) this.#inFlightTokens = 0
    else this.#inFlightTokens -= work.weightTokens
    if (this.#onLoad !== undefined) this.#noteLoad(this.#onLoad)
  }

  /** To the last end of what was told, also when it is not one of several any more by then. */
  #noteLoad(onLoad: (server: ReplicaServer) => void): void {
    if (!this.isOneOfSeveral && !this.#isToldOf) return
    this.#isToldOf = this.#inFlightCount > 0
    onLoad(this)
  }

  /** This process's, for the other request workers. */
  get load(): ServerLoad {
    const { url } = this
    return [url, this.#inFlightCount, this.#inFlightTokens, this.#unanswered.length, this.#unansweredTokens]
  }

  /** What the other request workers have running there. */
  hearPeers([, inFlightCount, inFlightTokens, unansweredCount, unansweredTokens]: ServerLoad): void {
    this.#peers = { inFlightCount, inFlightTokens, unansweredCount, unansweredTokens }
  }

  /** Of the whole agent, running. */
  get agentTokens(): number {
    return this.#inFlightTokens + this.#peers.inFlightTokens
  }

  /** Of the whole agent, to be computed before a new request's turn. */
  get agentUnansweredTokens(): number {
    return this.#unansweredTokens + this.#peers.unansweredTokens
  }

  /** Takes what it said of itself. */
  hear(metrics: EngineMetrics, nowUs: number): void {
    const { runningCount, waitingCount } = metrics
    if (this.#reading !== null && hasRestarted(this.#reading.metrics, metrics)) this.restartCount += 1
    // A whole answer has no first word to tell; but where nobody waits, its turn has come.
    if (waitingCount === 0) this.#answerWhole()
    const peers = this.#peers
    this.#before = this.#reading
    this.#reading = Object.freeze({
      metrics,
      atUs: nowUs,
      othersCount: Math.max(0, runningCount + waitingCount - this.#inFlightCount - peers.inFlightCount),
      othersWaitingCount: Math.max(0, waitingCount - this.#unanswered.length - peers.unansweredCount),
    })
    this.speech = 'understood'
    this.see(nowUs)
  }

  /** It is there, and says nothing that we understand. */
  hearNothing(speech: Exclude<ServerSpeech, 'understood' | 'silent'>, nowUs: number): void {
    this.speech = speech
    this.see(nowUs)
  }

  /** Nobody is there. */
  hearSilence(): void {
    this.speech = 'silent'
    this.silentCount += 1
  }

  /** From the end, for answering moves the last one into the place that is free then. */
  #answerWhole(): void {
    for (let slot = this.#unanswered.length - 1; slot >= 0; slot--) {
      const work = this.#unanswered[slot]
      if (work !== undefined && !work.isStream) this.answer(work)
    }
  }

  /** It is read no more: what was heard last, silence too, says nothing of later. */
  leaveUnread(): void {
    this.silentCount = 0
    this.speech = 'unread'
  }

  /** It is there: it answered somebody. */
  see(nowUs: number): void {
    this.silentCount = 0
    this.heardUs = nowUs
  }

  /** However old; null: there is none. */
  get lastReading(): Reading | null {
    return this.#reading
  }

  /** The last reading, unless there is none or it is older than `ageUsMax`. */
  reading(nowUs: number, ageUsMax: number): Reading | null {
    return this.#reading !== null && nowUs - this.#reading.atUs <= ageUsMax ? this.#reading : null
  }

  /** How fast a counter rose between the last two readings, per second; null when not known. */
  ratePerSecond(counter: keyof EngineCounters): number | null {
    const rise = this.#rise(counter)
    if (rise === null || this.#reading === null || this.#before === null) return null
    return rise / ((this.#reading.atUs - this.#before.atUs) / 1_000_000)
  }

  /** One counter's rise per that of another between the last two readings; null when not known or nothing happened. */
  riseRatio(counter: keyof EngineCounters, per: keyof EngineCounters): number | null {
    const [rise, other] = [this.#rise(counter), this.#rise(per)]
    return rise === null || other === null || other <= 0 ? null : rise / other
  }

  #rise(counter: keyof EngineCounters): number | null {
    const now = this.#reading?.metrics.counters[counter] ?? null
    const then = this.#before?.metrics.counters[counter] ?? null
    return now === null || then === null || now < then ? null : now - then
  }
}

/** What somebody has running at a server, and what of it has no first word yet. */
export type ServerLoad = readonly [
  url: string,
  inFlightCount: number,
  inFlightTokens: number,
  unansweredCount: number,
  unansweredTokens: number,
]

type PeerLoad = Readonly<Record<'inFlightCount' | 'inFlightTokens' | 'unansweredCount' | 'unansweredTokens', number>>

const noPeers: PeerLoad = { inFlightCount: 0, inFlightTokens: 0, unansweredCount: 0, unansweredTokens: 0 }

export type ServerSpeech = 'unread' | 'understood' | 'silent' | 'no_text' | 'too_large' | EngineRefusal

/** One request of ours at a server. */
export interface ReplicaWork {
  /** Where it stands among those without a first word; -1 when it has one. Written by `ReplicaServer` alone. */
  slot: number
  /** Its prompt, and something for being a request. */
  readonly weightTokens: number
  /** What the server's cache was believed not to hold. */
  readonly missingTokens: number
  readonly isStream: boolean
}

export interface Reading {
  readonly metrics: EngineMetrics
  readonly atUs: number
  /** Requests there that are not ours. */
  readonly othersCount: number
  readonly othersWaitingCount: number
}

export function urlOf({ origin, basePath }: ReplicaPlace): string {
  return `${origin}${basePath}`
}

/** Another process, whose cache is empty: it was born at another time, or totals fell, which only rise. */
function hasRestarted(before: EngineMetrics, after: EngineMetrics): boolean {
  if (before.bornSeconds !== null && after.bornSeconds !== null && before.bornSeconds !== after.bornSeconds) return true
  for (const counter of ['promptTokens', 'generationTokens'] as const) {
    const [then, now] = [before.counters[counter], after.counters[counter]]
    if (then !== null && now !== null && now < then) return true
  }
  return false
}
