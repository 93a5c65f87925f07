import type { ReplicaPlace } from '../../../proto/policy/tables.js'
import type { EngineCounters, EngineMetrics, EngineRefusal } from './engine-metrics.js'

/**
 * One server, whoever's provider names it: what it said of itself at the last reading, and what this agent has running there,
 * which it knows to the request and the instant. What a reading shows beyond our own is others' work: it is taken to stay
 * until the next reading, while ours is counted on.
 */
export class ReplicaServer {
  readonly url: string
  readonly metricsUrl: string
  /** What came of the last reading. */
  speech: ServerSpeech = 'unread'
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
  readonly #unanswered = new Set<ReplicaWork>()

  constructor(place: ReplicaPlace) {
    this.url = urlOf(place)
    // A server's numbers stand beside its API, not below its version.
    this.metricsUrl = `${place.origin}${place.basePath.replace(/\/v\d+$/, '')}/metrics`
  }

  /** Ours, running. */
  get inFlightCount(): number {
    return this.#inFlightCount
  }

  get inFlightTokens(): number {
    return this.#inFlightTokens
  }

  /** Ours, to be computed before a new request's turn. */
  get unansweredTokens(): number {
    return this.#unansweredTokens
  }

  begin(work: ReplicaWork): void {
    this.#inFlightCount += 1
    this.#inFlightTokens += work.weightTokens
    this.#unanswered.add(work)
    this.#unansweredTokens += work.missingTokens
  }

  /** Its prompt was computed, as far as can be known. Harmless when said before. */
  answer(work: ReplicaWork): void {
    if (this.#unanswered.delete(work)) this.#unansweredTokens -= work.missingTokens
  }

  /** To be called once. */
  end(work: ReplicaWork): void {
    this.answer(work)
    this.#inFlightCount -= 1
    this.#inFlightTokens -= work.weightTokens
  }

  /** Takes what it said of itself. */
  hear(metrics: EngineMetrics, nowUs: number): void {
    const { runningCount, waitingCount } = metrics
    if (this.#reading !== null && hasRestarted(this.#reading.metrics, metrics)) this.restartCount += 1
    // A whole answer has no first word to tell; but where nobody waits, its turn has come.
    if (waitingCount === 0) for (const work of this.#unanswered) if (!work.isStream) this.answer(work)
    this.#before = this.#reading
    this.#reading = Object.freeze({
      metrics,
      atUs: nowUs,
      othersCount: Math.max(0, runningCount + waitingCount - this.#inFlightCount),
      othersWaitingCount: Math.max(0, waitingCount - this.#unanswered.size),
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

export type ServerSpeech = 'unread' | 'understood' | 'silent' | 'no_text' | EngineRefusal

/** One request of ours at a server. */
export interface ReplicaWork {
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
