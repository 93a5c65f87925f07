import {
  advance,
  type BreakerEvent,
  type BreakerPhase,
  claimProbe,
  clearWindow,
  defaultBreaker,
  isCoolingDown,
  newBreakerState,
  phaseOf,
  retryInUs,
  windowOf,
} from '../../../proto/policy/breaker.js'
import { findOutlier } from '../../../proto/policy/find-outlier.js'
import type { HealthFacts, TargetHealth } from '../../../proto/policy/health.js'
import type {
  BreakerTable,
  DecisionTables,
  EnvironmentTable,
  RouteTable,
  TargetTable,
} from '../../../proto/policy/tables.js'
import { assert } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import type { TargetGauges, TargetMetrics, TargetSeries } from '../telemetry/target-metrics.js'
import { FirstTokenTimes } from './first-token-times.js'
import { TargetBatch } from './target-batch.js'

/**
 * What this agent has seen of each target: its breaker, how long it takes to a first token, how much runs there, and its
 * places where it has a limit. One object per target id, made at its first request, kept when tables change and forgotten
 * when the target is gone from them; at most `targetsMax`. A request costs one look-up here and a few integers written.
 *
 * Nothing of this is shared between agents: each judges by what it sees from where it is.
 */
const targetsMax = 20_000
/** A target is compared with its siblings once in so many of its requests. */
const lookEvery = 16
/** Fewer samples make no percentile. */
const samplesMin = 20
/** An outlier is left alone as long as a broken target, doubled when it is one again soon, at most so many times. */
const ejectionGrowthMax = 16

/** Routes that show a target as theirs; further ones count for the first. */
const seriesPerTargetMax = 8

/** Where a target stands. */
export interface TargetPlace {
  readonly environment: EnvironmentTable
  readonly route: RouteTable
  readonly ruleId: string
}

/** One try of a target as its health sees it. */
export interface TargetTry extends BreakerEvent {
  readonly outcome: string
  readonly stream: boolean
}

export interface TargetHealthsOptions {
  readonly clock: Clock
  readonly metrics: TargetMetrics
  readonly log: Log
}

export class TargetHealths {
  readonly #clock: Clock
  readonly #metrics: TargetMetrics
  readonly #log: Log
  readonly #byId = new Map<string, KnownTarget>()
  readonly #facts = new FactsNow(this.#byId)
  /** Until then some target may be left alone. */
  #awayUntilUs = Number.NEGATIVE_INFINITY
  #environments: DecisionTables['environments'] | null = null
  /** By id, as the newest tables have them. */
  #newest: ReadonlyMap<string, EnvironmentTable> = new Map()

  constructor({ clock, metrics, log }: TargetHealthsOptions) {
    this.#clock = clock
    this.#metrics = metrics
    this.#log = log
  }

  /** Targets that something is known of. */
  get size(): number {
    return this.#byId.size
  }

  /** Requests running at all targets that are not forgotten. */
  get inFlightCount(): number {
    let count = 0
    for (const known of this.#byId.values()) count += known.inFlightCount
    return count
  }

  /**
   * What a decision made now may know; good until the next call. `stream`: what is asked for, as first tokens come sooner
   * than whole answers.
   */
  facts(nowUs: number, stream: boolean): HealthFacts {
    const facts = this.#facts
    facts.nowUs = nowUs
    facts.stream = stream
    facts.calm = nowUs >= this.#awayUntilUs
    return facts
  }

  /** What is known of `target`, which stands at `place`. */
  of(target: TargetTable, place: TargetPlace): KnownTarget {
    const known = this.#byId.get(target.id)
    if (known === undefined) return this.#add(target, place)
    if (known.target !== target) this.#renew(known, target, place)
    return known
  }

  /** What is known of `target`, which need not be anything. */
  find(target: TargetTable): KnownTarget | null {
    return this.#byId.get(target.id) ?? null
  }

  /** Takes the one place of a half-open target's probe until `dueUs`; 0: there is none to take. */
  claimProbe(known: KnownTarget, nowUs: number, dueUs: number): number {
    if (phaseOf(known.breaker, nowUs) !== 'half_open') return 0
    const leaseUs = claimProbe(known.breaker, nowUs, dueUs)
    this.#awayUntil(leaseUs)
    return leaseUs
  }

  /** A try is over, or has shown that the target lives. `siblings`: the targets that might have served instead. */
  take(
    known: KnownTarget,
    event: TargetTry,
    siblings: readonly TargetTable[],
    nowUs: number = this.#clock.monotonicUs(),
  ) {
    const { breaker } = known
    if (known.isGone && !known.hasPlacesTaken) {
      // Once: what ends there later (a count of tokens has no place) must not forget who has come under the same id.
      known.isGone = false
      return this.#forget(known)
    }
    const wasOpen = breaker.open
    const cooldownUs = breaker.cooldownUs
    advance(breaker, event, nowUs, known.table)
    if (breaker.open || breaker.cooldownUs !== cooldownUs) this.#awayUntil(nowUs + retryInUs(breaker, nowUs))
    if (breaker.open !== wasOpen) this.#tell(known, event, nowUs)
    if (event.verdict === 'none' || siblings.length < 2) return
    known.judgedCount += 1
    if (known.judgedCount % lookEvery === 0) this.#eject(siblings, event.stream, nowUs)
  }

  /** Forgets the targets that `tables` do not have. What still runs at one of them ends as it would. */
  keepOnly(tables: DecisionTables): void {
    if (tables.environments === this.#environments) return
    this.#environments = tables.environments
    const byId = new Map<string, EnvironmentTable>()
    for (const environment of tables.environments.values()) byId.set(environment.environmentId, environment)
    this.#newest = byId
    for (const known of this.#byId.values()) {
      const environment = byId.get(known.environment.environmentId)
      if (environment === known.environment) continue
      const target = environment && findTarget(environment, known)
      if (environment === undefined || target === undefined) {
        // Places that are taken are not forgotten: should the target come back, they are its own.
        if (known.hasPlacesTaken) known.isGone = true
        else this.#forget(known)
        continue
      }
      known.isGone = false
      known.environment = environment
      // At once, not at the next request: who waits may have a place now.
      known.limit(target)
    }
  }

  #add(target: TargetTable, place: TargetPlace): KnownTarget {
    if (this.#byId.size >= targetsMax) this.#makeRoom()
    const known = new KnownTarget(target, place, this.#clock)
    this.#byId.set(target.id, known)
    return known
  }

  /** Its settings may be newer, or those of before, for a request that took its tables then: that changes no limit back. */
  #renew(known: KnownTarget, target: TargetTable, { environment }: TargetPlace): void {
    known.target = target
    const newest = this.#newest.get(environment.environmentId)
    if (newest === undefined || newest === environment) known.limit(target)
  }

  /** The numbers of `known` at `place`: rules that a route takes from another one are rules of both. */
  seriesOf(known: KnownTarget, { route, ruleId }: TargetPlace): TargetSeries {
    for (const series of known.series) if (series.isShared || series.labels.route === route.id) return series
    const [first] = known.series
    if (first !== undefined && known.series.length >= seriesPerTargetMax) return first
    const series = this.#metrics.open({ route: route.id, rule: ruleId, target: known.target.id }, known)
    known.series.push(series)
    return series
  }

  /** The one that was known first, of those where nothing runs or has a place. */
  #makeRoom(): void {
    for (const known of this.#byId.values()) {
      if (known.inFlightCount > 0 || known.hasPlacesTaken) continue
      this.#forget(known)
      return
    }
  }

  #forget(known: KnownTarget): void {
    this.#byId.delete(known.target.id)
    for (const series of known.series) this.#metrics.close(series)
  }

  #awayUntil(untilUs: number): void {
    if (untilUs > this.#awayUntilUs) this.#awayUntilUs = untilUs
  }

  #eject(siblings: readonly TargetTable[], stream: boolean, nowUs: number): void {
    const known: KnownTarget[] = []
    for (const target of siblings) {
      const one = this.#byId.get(target.id)
      if (one === undefined) return
      known.push(one)
    }
    const outlier = known[findOutlier(known.map((one) => one.sample(nowUs, stream)))]
    if (outlier === undefined) return
    outlier.eject(nowUs)
    this.#awayUntil(outlier.ejectedUntilUs)
    const { id, provider } = outlier.target
    const forMs = Math.round((outlier.ejectedUntilUs - nowUs) / 1000)
    this.#log.info({ targetId: id, providerId: provider.id, forMs }, 'a target does worse than its siblings')
  }

  #tell({ target: { id, provider }, breaker }: KnownTarget, { outcome }: TargetTry, nowUs: number) {
    const fields = { targetId: id, providerId: provider.id, outcome }
    if (!breaker.open) return this.#log.info(fields, 'a target is back')
    const retryInMs = Math.round(retryInUs(breaker, nowUs) / 1000)
    this.#log.info({ ...fields, retryInMs }, 'a target fails and is left alone')
  }
}

class FactsNow implements HealthFacts {
  nowUs = 0
  stream = false
  calm = true
  readonly #byId: ReadonlyMap<string, KnownTarget>

  constructor(byId: ReadonlyMap<string, KnownTarget>) {
    this.#byId = byId
  }

  /** A fresh one each time: whoever explains the decision later shows what was known when it was made. */
  of(target: TargetTable): TargetHealth {
    return this.#byId.get(target.id)?.health(this.nowUs, this.stream) ?? nothing
  }
}

export class KnownTarget implements TargetGauges {
  /** As the newest request that asked it knows it. */
  target: TargetTable
  environment: EnvironmentTable
  readonly routeName: string
  readonly breaker = newBreakerState()
  readonly streams = new FirstTokenTimes()
  readonly wholes = new FirstTokenTimes()
  /** One per route; a handful. */
  readonly series: TargetSeries[] = []
  inFlightCount = 0
  /** When the last request went there. */
  usedUs = Number.NEGATIVE_INFINITY
  ejectedUntilUs = Number.NEGATIVE_INFINITY
  #ejectedForUs = 0
  judgedCount = 0
  coldStartUs: number | null = null
  /** It is in no tables any more, and is forgotten with the last of its places. */
  isGone = false
  /** Its places; null: it never had a limit, and nobody counts. */
  batch: TargetBatch | null = null
  readonly #clock: Clock

  constructor(target: TargetTable, { environment, route }: TargetPlace, clock: Clock) {
    this.target = target
    this.environment = environment
    this.routeName = route.name
    this.#clock = clock
    this.limit(target)
  }

  /** Somebody runs there within its limit, or waits for a place. */
  get hasPlacesTaken(): boolean {
    return this.batch !== null && (this.batch.runningCount > 0 || this.batch.waitingCount > 0)
  }

  /** How much may run there as `target` says. What ran before there was any limit has no place and is not counted. */
  limit({ batchSize, batchWaitMs }: TargetTable): void {
    if (this.batch !== null) this.batch.resize(batchSize ?? Number.POSITIVE_INFINITY, batchWaitMs)
    else if (batchSize !== null) this.batch = new TargetBatch(batchSize, batchWaitMs)
  }

  get table(): BreakerTable {
    return this.target.breaker ?? defaultBreaker
  }

  /** Of the breaker; an outlier may still be asked where nobody else is left. */
  phase(nowUs: number): BreakerPhase {
    return phaseOf(this.breaker, nowUs)
  }

  /** The target itself said when. */
  isCoolingDown(nowUs: number): boolean {
    return isCoolingDown(this.breaker, nowUs)
  }

  retryInUs(nowUs: number): number {
    return retryInUs(this.breaker, nowUs)
  }

  /** A request goes there. `leave` is called once for it. */
  enter(nowUs: number): void {
    this.inFlightCount += 1
    this.usedUs = nowUs
  }

  leave(): void {
    assert(this.inFlightCount > 0, 'what leaves a target has entered it')
    this.inFlightCount -= 1
  }

  times(stream: boolean): FirstTokenTimes {
    return stream ? this.streams : this.wholes
  }

  /** The first token of a stream, or a whole answer, came after `durationUs`. */
  observe(durationUs: number, stream: boolean, nowUs: number = this.#clock.monotonicUs()): void {
    this.times(stream).observe(durationUs, nowUs)
  }

  /** 95 % of its first tokens come within this, microseconds; null: too few to say. */
  percentile95Us(stream: boolean): number | null {
    const times = this.times(stream)
    return times.count < samplesMin ? null : times.percentileUs(0.95)
  }

  health(nowUs: number, stream: boolean): TargetHealth {
    const isEjected = nowUs < this.ejectedUntilUs
    const retryUs = Math.max(retryInUs(this.breaker, nowUs), isEjected ? this.ejectedUntilUs - nowUs : 0)
    const known = this.times(stream).known ? this.times(stream) : this.times(!stream)
    return {
      state: isEjected ? 'open' : this.phase(nowUs),
      retryInMs: Math.ceil(retryUs / 1000),
      latencyUs: known.known ? Math.round(known.averageUs(nowUs)) : null,
      inFlightCount: this.inFlightCount,
    }
  }

  sample(nowUs: number, stream: boolean) {
    const times = this.times(stream)
    const { requestCount, failureCount } = windowOf(this.breaker, nowUs)
    return {
      modelId: this.target.model.id,
      away: nowUs < this.ejectedUntilUs || this.phase(nowUs) !== 'closed',
      requestCount,
      failureCount,
      medianUs: times.count < samplesMin ? null : times.percentileUs(0.5),
    }
  }

  /** Leaves it alone for a while, after which it is judged by what it does then. */
  eject(nowUs: number): void {
    const shortestUs = this.table.openMs * 1000
    const isSoon = nowUs - this.ejectedUntilUs < this.#ejectedForUs * 2
    this.#ejectedForUs = isSoon ? Math.min(this.#ejectedForUs * 2, shortestUs * ejectionGrowthMax) : shortestUs
    this.ejectedUntilUs = nowUs + this.#ejectedForUs
    clearWindow(this.breaker)
    this.streams.clear()
    this.wholes.clear()
  }

  get breakerState(): number {
    const nowUs = this.#clock.monotonicUs()
    if (nowUs < this.ejectedUntilUs) return 2
    const phase = this.phase(nowUs)
    return phase === 'closed' ? 0 : phase === 'half_open' ? 1 : 2
  }
}

const nothing: TargetHealth = Object.freeze({ state: 'closed', retryInMs: 0, latencyUs: null, inFlightCount: 0 })

/** Mostly where it was met first; rules that a route takes from another are rules of both. */
function findTarget({ routes }: EnvironmentTable, { routeName, target }: KnownTarget): TargetTable | undefined {
  const first = routes.get(routeName)
  const found = first && findInRoute(first, target.id)
  if (found !== undefined) return found
  for (const route of routes.values()) {
    const elsewhere = findInRoute(route, target.id)
    if (elsewhere !== undefined) return elsewhere
  }
  return undefined
}

function findInRoute({ rules }: RouteTable, id: string): TargetTable | undefined {
  for (const { targets } of rules) {
    const found = targets.find((target) => target.id === id)
    if (found !== undefined) return found
  }
  return undefined
}
