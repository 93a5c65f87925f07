import type { Hop as HopEntry } from '../../../proto/gen/switchyard/v1/Hop.js'
import type { BreakerPhase } from '../../../proto/policy/breaker.js'
import type { Choice } from '../../../proto/policy/choose-target.js'
import type { TargetTable } from '../../../proto/policy/tables.js'
import { must } from '../../../proto/std/assert.js'
import { isRefusal, refuse } from '../../../proto/std/refusal.js'
import type { Dialects } from '../providers/dialects.js'
import type { ProviderSecret, RequestBody } from '../providers/provider-dialect.js'
import type { ReplicaPicker } from '../replicas/replica-picker.js'
import type { AgentMetrics } from '../telemetry/metrics.js'
import type { HeaderNames } from './header-names.js'
import type { HedgeBudgets } from './hedge-budget.js'
import { HedgeRace } from './hedge-race.js'
import { type HopPlan, type HopQuestion, planHop } from './plan-hop.js'
import type { HopOutcome } from './record.js'
import type { RequestRefusal } from './request-refusal.js'
import { HopRun, type HopTools } from './run-hop.js'
import type { Cancellable, RunningRequest } from './running-request.js'
import type { PlaceWait, TargetBatch } from './target-batch.js'
import type { KnownTarget, TargetPlace } from './target-health.js'
import { hopRefusal, leftAloneRefusal } from './tries-refusal.js'

/**
 * The targets of one request, one after the other until one decides: answers, begins a stream, or says a "no" that any would
 * say. Passed over is who has no credential here, who is left alone, who cannot be asked for this, and where as many run as
 * may and no place comes free in time; each is a hop on the record all the same. Where the route hedges, two may run at once.
 *
 * A target that is left alone because it fails is asked after all where there is nothing else: no other target that could
 * be asked, and no last resort. Some chance is then better than none. One that named a time itself is not.
 */
export interface TryTools extends HopTools {
  readonly replicas: ReplicaPicker
  readonly dialects: Dialects
  readonly names: HeaderNames
  readonly budgets: HedgeBudgets
  readonly metrics: AgentMetrics
}

export interface TryOptions {
  readonly request: RunningRequest
  readonly choice: Choice
  readonly body: RequestBody
  /** The client named the target itself: it is asked also when it is left alone. */
  readonly pinned: boolean
  /**
   * There is something to give the client instead: milliseconds that an answer is waited for, and only a target that does
   * well is asked at all. Left out: there is not.
   */
  readonly isWorthMs?: number
}

/**
 * How it ended: `answered` (a whole answer waits in the hop), `streamed` (one began to reach the client and is over, well or
 * not), `refused` (the upstream's own "no" is for the client), `aborted` (from outside), `failed` (see `refusal`).
 */
export type TriesEnd = 'answered' | 'streamed' | 'refused' | 'aborted' | 'failed'

type Unreached = Pick<HopRun['order'], 'known' | 'pick' | 'entry'>

/** Targets of which a breaker said no: one of them, the first that has not asked to be left alone if there is one. */
interface LeftAlone {
  target: TargetTable
  known: KnownTarget
  /** Its place on the record. */
  entry: HopEntry
  /** Until the first of all may be asked again. */
  retryUs: number
  /** All of them said themselves when to come again. */
  allCoolDown: boolean
}

/** What came before the start of a hop at the same target. */
interface Before {
  /** Its place on the record, where it has one already. */
  readonly entry: HopEntry | null
  /** Its replica that could not be reached just now. */
  readonly unreached: Unreached | null
  /** How long it waited for the place in the batch that it has; null: it has none yet. */
  readonly waitedUs: number | null
}

const nothingBefore: Before = Object.freeze({ entry: null, unreached: null, waitedUs: null })

/** A target with a limit, where as many run as may: the request stands in line. */
interface Full {
  readonly target: TargetTable
  readonly known: KnownTarget
  readonly wait: PlaceWait
  /** Its place on the record, from the beginning of the wait on. */
  readonly entry: HopEntry
  readonly startedUs: number
  readonly unreached: Unreached | null
  /** Nobody else is left: it is asked whatever its breaker says. */
  readonly afterAll: boolean
}

export class TargetTries implements Cancellable {
  /** The one that decided; where none did, the last. Null: none was asked. */
  hop: HopRun | null = null
  /** When it failed: what to tell the client. */
  refusal: RequestRefusal | null = null
  /** Targets failed or are left alone: the request itself is not at fault. */
  targetsFailed = false
  readonly #tools: TryTools
  readonly #options: TryOptions
  readonly #place: TargetPlace
  readonly #routeDueUs: number
  #race: HedgeRace | null = null
  #next = 0
  #askedCount = 0
  /** How the target before was passed over, or failed. */
  #before: HopOutcome | null = null
  /** Of the last target that failed or was not ready, not of those that could not be asked for this. */
  #last: { readonly outcome: HopOutcome; readonly hop: HopRun | null } | null = null
  #inexpressible: RequestRefusal | null = null
  /** Its replica could not be reached: another one is asked before another target. */
  #unreached: Unreached | null = null
  /** The first of them, and what is known of all. */
  #leftAlone: LeftAlone | null = null
  #askedAfterAll = false
  /** Waited for. */
  #full: Full | null = null

  constructor(tools: TryTools, options: TryOptions) {
    const { request, choice } = options
    this.#tools = tools
    this.#options = options
    const { environment } = request.authenticated.key
    this.#place = { environment, route: choice.route, ruleId: choice.ruleId }
    const { isWorthMs = Number.POSITIVE_INFINITY } = options
    this.#routeDueUs = request.readUs + Math.min(choice.route.totalTimeoutMs, isWorthMs) * 1000
  }

  /** The hop that lost a race and is billed; null: there was none. */
  get lost(): HopRun | null {
    return this.#race?.lost ?? null
  }

  /** What was asked last: two where they raced. */
  get asked(): readonly HopRun[] {
    const { hop } = this
    if (hop === null) return []
    const race = this.#race
    const second = race?.second ?? null
    if (race === null || second === null || (hop !== race.first && hop !== second)) return [hop]
    return [race.first, second]
  }

  get committed(): boolean {
    return this.asked.some((hop) => hop.committed)
  }

  cancel(): void {
    this.#full?.wait.end(false)
    for (const hop of this.asked) hop.cancel('aborted')
  }

  async run(): Promise<TriesEnd> {
    const { route } = this.#options.choice
    if (route.hedging !== null) this.#tools.budgets.count(route, route.hedging.budgetRatio)
    for (;;) {
      let hop = this.#nextHop(false)
      if (hop === null && this.#full === null) hop = this.#askAfterAll()
      if (hop === null) {
        if (this.#full === null) return this.#fail()
        hop = await this.#waitAt(this.#full)
        if (this.#options.request.ending !== null) return this.#endInLine(hop)
        if (hop === null) continue
      }
      this.hop = hop
      this.#show(hop)
      const delayUs = this.#hedgeDelayUs(hop)
      if (delayUs === null) await hop.run()
      else this.hop = await this.#runHedged(hop, hop.startedUs + delayUs)
      const end = this.#endOf(this.hop)
      if (end !== null) return end
      this.#before = this.hop.outcome
      this.#last = { outcome: this.hop.outcome, hop: this.hop }
      if (this.hop.goesElsewhere) this.#unreached = this.hop.order
    }
  }

  // --------------------------------------------------------------------------------------------------- one after the other

  /** Null: the next target is to be tried. */
  #endOf(hop: HopRun): Exclude<TriesEnd, 'failed'> | null {
    if (hop.committed) return 'streamed'
    if (this.#options.request.ending !== null || hop.call?.stalled) return 'aborted'
    if (hop.answer !== null) return 'answered'
    return hop.outcome === 'upstream_4xx' && !hop.credentialRejected ? 'refused' : null
  }

  /**
   * The next target that can be asked, ready to be; null: there is none, or no time, or it is full and waited for. A second
   * target beside a first is not waited for: it stays the next one.
   */
  #nextHop(isHedge: boolean): HopRun | null {
    const { targets } = this.#options.choice
    const elsewhere = this.#goElsewhere()
    if (elsewhere !== null || this.#full !== null) return elsewhere
    for (;;) {
      const target = targets[this.#next]
      const startedUs = this.#tools.clock.monotonicUs()
      if (target === undefined || startedUs >= this.#routeDueUs) return null
      this.#next += 1
      const known = this.#tools.healths.of(target, this.#place)
      const isLeft = !this.#options.pinned && this.#isLeftAlone(known.phase(startedUs))
      if (isHedge && !isLeft && this.#batchOf(known)?.hasPlace === false) {
        this.#next -= 1
        this.#tools.metrics.hedges.of('no_place').add(1)
        return null
      }
      const hop = isLeft
        ? this.#leaveAlone(target, known, startedUs, null)
        : this.#prepare(target, known, startedUs, nothingBefore)
      if (hop !== null || this.#full !== null) return hop
    }
  }

  /** The same target at another replica; null: none was unreached, or there is no time. */
  #goElsewhere(): HopRun | null {
    const unreached = this.#unreached
    this.#unreached = null
    const startedUs = this.#tools.clock.monotonicUs()
    if (unreached === null || startedUs >= this.#routeDueUs) return null
    const before = { entry: null, unreached, waitedUs: null }
    return this.#prepare(unreached.pick.original, unreached.known, startedUs, before)
  }

  #isLeftAlone(phase: BreakerPhase): boolean {
    // A probe is to tell how a target does, which a request that something stands in for need not.
    return phase === 'open' || (phase === 'half_open' && this.#options.isWorthMs !== undefined)
  }

  #leaveAlone(target: TargetTable, known: KnownTarget, nowUs: number, at: HopEntry | null): null {
    const entry = this.#passOver(target, known, 'circuit_open', nowUs, at)
    const retryUs = known.retryInUs(nowUs)
    const allCoolDown = known.isCoolingDown(nowUs)
    const before = this.#leftAlone
    if (before === null) this.#leftAlone = { target, known, entry, retryUs, allCoolDown }
    else {
      if (before.allCoolDown && !allCoolDown) Object.assign(before, { target, known, entry })
      before.retryUs = Math.min(before.retryUs, retryUs)
      before.allCoolDown &&= allCoolDown
    }
    return null
  }

  /** A target that fails, because there is nobody else; once. */
  #askAfterAll(): HopRun | null {
    const left = this.#leftAlone
    const startedUs = this.#tools.clock.monotonicUs()
    if (left === null || this.#askedCount > 0 || this.#options.isWorthMs !== undefined) return null
    if (this.#options.choice.route.lastResort !== null || this.#askedAfterAll) return null
    if (left.known.isCoolingDown(startedUs) || startedUs >= this.#routeDueUs) return null
    this.#askedAfterAll = true
    const before = { entry: left.entry, unreached: null, waitedUs: null }
    return this.#prepare(left.target, left.known, startedUs, before)
  }

  /** Null: it cannot be asked, or is full and may be waited for. */
  #prepare(target: TargetTable, known: KnownTarget, startedUs: number, before: Before): HopRun | null {
    const { entry, unreached, waitedUs } = before
    const { request, choice, body } = this.#options
    const { dialects, healths, replicas } = this.#tools
    const dialect = dialects.find(target.provider.kind)
    const secret = this.#secretOf(target)
    if (dialect === null || secret === undefined) {
      this.#passOver(target, known, 'not_ready', startedUs, entry)
      this.#last = { outcome: 'not_ready', hop: null }
      return null
    }
    const { call, head, record } = request
    const { route } = choice
    const { requestId } = head
    const { operation } = call.door
    const { environmentId } = request.authenticated.key.environment
    // A prompt that is counted is not computed: no cache holds it then, so it is looked for, and remembered, nowhere.
    const routedAs = operation === 'count_tokens' ? 'embeddings' : operation
    const batch = this.#batchOf(known)
    if (batch !== null && waitedUs === null && !batch.hasPlace) {
      // Nobody waits for whom it cannot ask. No replica is picked yet: to pick one is to believe that it gets the prompt.
      const plan = this.#plan({ call, body, read: request, route, target, dialect, requestId })
      if (isRefusal(plan)) return this.#passInexpressible(target, known, startedUs, entry, plan)
      return this.#standInLine(target, known, startedUs, before)
    }
    const failed = unreached === null ? null : unreached.pick
    const pick = replicas.pick({ target, environmentId, operation: routedAs, body, failed })
    const plan = this.#plan({ call, body, read: request, route, target: pick.target, dialect, requestId })
    if (isRefusal(plan)) {
      pick.end('not_expressible', null)
      return this.#passInexpressible(target, known, startedUs, entry, plan)
    }
    this.#askedCount += 1
    const series = healths.seriesOf(known, this.#place)
    // One literal: V8 makes an object of several spreads member by member, which costs more than the rest of this.
    const hop = new HopRun(this.#tools, {
      request,
      body,
      target: pick.target,
      pick,
      hasElsewhere: pick.hasOthers && failed === null,
      dialect,
      secret,
      plan,
      known,
      series,
      siblings: choice.targets,
      entry: entry ?? record.startHop(target, startedUs),
      startedUs,
      routeDueUs: this.#routeDueUs,
      routeTotalUs: route.totalTimeoutMs * 1000,
      before: this.#before,
      onBegin: this.#onBegin,
    })
    hop.leaseUs = healths.claimProbe(known, startedUs, hop.dueUs)
    if (batch === null) return hop
    // Last of all: from here on it is the hop that gives it back.
    series.observeBatchWait(waitedUs ?? 0)
    if (waitedUs === null) batch.take()
    hop.batch = batch
    return hop
  }

  /**
   * The plan of a hop. What a client sent may hold what can be read and not be written again (a tool's arguments of thousands
   * of levels): that is a "no" to the request, not a fault of the agent.
   */
  #plan(question: HopQuestion): HopPlan | RequestRefusal {
    try {
      return planHop(question)
    } catch (thrown) {
      const { provider } = question.target
      const fault = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
      this.#tools.log.debug({ providerId: provider.id, fault }, 'a request could not be written for a target')
      return refuse('invalid_value', `The request could not be written for a provider of kind ${provider.kind}.`)
    }
  }

  /** On the record, and not asked. */
  #passOver(
    target: TargetTable,
    known: KnownTarget,
    outcome: HopOutcome,
    nowUs: number,
    entry: HopEntry | null,
  ): HopEntry {
    const { record } = this.#options.request
    const hop = entry ?? record.startHop(target, nowUs)
    record.endHop(hop, target, outcome, 0, nowUs)
    this.#tools.healths.seriesOf(known, this.#place).count(outcome)
    this.#before = outcome
    return hop
  }

  /** The secret, null where the provider wants none, undefined where it is not here. */
  #secretOf({ provider: { credential } }: TargetTable): ProviderSecret | null | undefined {
    if (credential === null) return null
    return this.#tools.vault.get(credential.id, credential.version) ?? undefined
  }

  // ------------------------------------------------------------------------------------------------------ waiting for a place

  /** The places that a request needs one of; null: none. To count tokens makes no batch grow. */
  #batchOf({ batch }: KnownTarget): TargetBatch | null {
    return batch !== null && this.#options.request.call.door.operation !== 'count_tokens' ? batch : null
  }

  /** It is full: waited for as long as it says and the route has time, or else passed over. */
  #standInLine(target: TargetTable, known: KnownTarget, startedUs: number, { entry, unreached }: Before): null {
    const batch = must(known.batch, 'what is full has a limit')
    const dueUs = Math.min(startedUs + batch.waitMs * 1000, this.#routeDueUs)
    // Who had a place and could not reach its replica stands where it stood when it came.
    const cameUs = unreached?.entry.startedUs
    const sinceUs = typeof cameUs === 'number' ? this.#options.request.call.startedUs + cameUs : startedUs
    const wait = dueUs > startedUs ? batch.wait(this.#tools.deadlines, sinceUs, dueUs) : null
    if (wait === null) return this.#passBusy(target, known, startedUs, entry)
    this.#full = {
      target,
      known,
      wait,
      entry: entry ?? this.#options.request.record.startHop(target, startedUs),
      startedUs,
      unreached,
      afterAll: entry !== null,
    }
    return null
  }

  /** Resolves with the target ready to be asked, once it has a place; null: it is passed over, or the request has ended. */
  async #waitAt(full: Full): Promise<HopRun | null> {
    const { target, known, entry, startedUs, unreached } = full
    const hasPlace = await full.wait.over
    this.#full = null
    const nowUs = this.#tools.clock.monotonicUs()
    const isEnded = this.#options.request.ending !== null
    let hop: HopRun | null = null
    try {
      if (isEnded) this.#passOver(target, known, 'aborted', nowUs, entry)
      else if (!hasPlace || nowUs >= this.#routeDueUs) this.#passBusy(target, known, nowUs, entry)
      else if (!full.afterAll && !this.#options.pinned && this.#isLeftAlone(known.phase(nowUs))) {
        this.#leaveAlone(target, known, nowUs, entry)
      } else hop = this.#prepare(target, known, nowUs, { entry, unreached, waitedUs: nowUs - startedUs })
    } finally {
      if (hasPlace && hop === null) known.batch?.giveBack()
    }
    return hop
  }

  /** From outside, while nothing ran. `hop`: it got its place just before. */
  #endInLine(hop: HopRun | null): 'aborted' {
    hop?.cancel('aborted')
    this.hop = null
    return 'aborted'
  }

  #passInexpressible(
    target: TargetTable,
    known: KnownTarget,
    nowUs: number,
    entry: HopEntry | null,
    why: RequestRefusal,
  ): null {
    this.#passOver(target, known, 'not_expressible', nowUs, entry)
    this.#inexpressible ??= why
    return null
  }

  #passBusy(target: TargetTable, known: KnownTarget, nowUs: number, entry: HopEntry | null): null {
    this.#passOver(target, known, 'busy', nowUs, entry)
    this.#last = { outcome: 'busy', hop: null }
    return null
  }

  /** What response headers say of the hop that is asked, and of the one that answers. */
  #show(hop: HopRun): void {
    const { head } = this.#options.request
    const { entry, target, plan, before } = hop.order
    head.hop = (entry.index ?? 0) + 1
    head.target = this.#tools.names.ofTarget(target)
    const race = this.#race
    head.fallbackReason = hop === race?.second ? race.first.outcome : before
    head.dropped = plan.dropped
    head.capped = plan.capped
  }

  // --------------------------------------------------------------------------------------------------------- two at a time

  /** How long the first token of `hop` is waited for before a second target is asked; null: for as long as it may take. */
  #hedgeDelayUs(hop: HopRun): number | null {
    const { choice } = this.#options
    const { hedging } = choice.route
    if (hedging === null || this.#race !== null || this.#next >= choice.targets.length) return null
    const slowUs = hop.order.known.percentile95Us(hop.stream)
    return slowUs === null ? null : Math.max(slowUs, hedging.delayMinMs * 1000)
  }

  async #runHedged(first: HopRun, dueUs: number): Promise<HopRun> {
    const { deadlines, metrics } = this.#tools
    const race = new HedgeRace({
      ...{ deadlines, counts: metrics.hedges, first, dueUs },
      next: () => this.#nextHedge(),
      decides: (hop) => this.#endOf(hop) !== null,
    })
    this.#race = race
    const hop = await race.run()
    // It was not needed: the next hop may still be hedged.
    if (race.second === null) this.#race = null
    if (hop !== first) this.#show(hop)
    return hop
  }

  #nextHedge(): HopRun | null {
    const { route } = this.#options.choice
    const { budgets, metrics } = this.#tools
    // It ended while the first target was being asked who we are: there is nobody to hedge for.
    if (this.#options.request.ending !== null) return null
    if (!budgets.has(route)) {
      metrics.hedges.of('over_budget').add(1)
      return null
    }
    const hop = this.#nextHop(true)
    if (hop !== null) budgets.take(route)
    return hop
  }

  readonly #onBegin = (hop: HopRun): void => {
    this.#race?.begins(hop)
    if (hop !== this.hop) this.#show(hop)
  }

  // ---------------------------------------------------------------------------------------------------------- nobody is left

  #fail(): 'failed' {
    const left = this.#leftAlone
    this.targetsFailed = this.#last !== null || left !== null
    this.refusal = this.#refusal(left)
    return 'failed'
  }

  #refusal(left: LeftAlone | null): RequestRefusal {
    const { targets } = this.#options.choice
    if (this.#last !== null)
      return hopRefusal(this.#last.outcome, this.#last.hop?.call?.retryAfterSeconds ?? 1, targets.length)
    if (left !== null) return leftAloneRefusal(left, targets.length)
    return this.#inexpressible ?? hopRefusal('timeout_total', 1, targets.length)
  }
}
