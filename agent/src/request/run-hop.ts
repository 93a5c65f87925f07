import type { Hop as HopEntry } from '../../../proto/gen/switchyard/v1/Hop.js'
import type { Verdict } from '../../../proto/policy/breaker.js'
import { hopDueUs } from '../../../proto/policy/choose-target.js'
import type { TargetTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Deadlines } from '../../../proto/std/deadlines.js'
import type { Log } from '../../../proto/std/service.js'
import type {
  Authorization,
  AuthorizationFault,
  ProviderDialect,
  ProviderSecret,
  RequestBody,
  UsageDepth,
} from '../providers/provider-dialect.js'
import type { ReplicaPick } from '../replicas/replica-pick.js'
import type { TargetSeries } from '../telemetry/target-metrics.js'
import { formatTraceparent } from '../telemetry/trace-context.js'
import { type StreamSink, TargetCall } from './call-target.js'
import { cooldownOf, verdictOf } from './hop-verdict.js'
import type { HopPlan, PlannedAnswer } from './plan-hop.js'
import type { CredentialSource } from './ports.js'
import type { HopOutcome } from './record.js'
import type { RunningRequest } from './running-request.js'
import type { TargetBatch } from './target-batch.js'
import type { KnownTarget, TargetHealths, TargetTry } from './target-health.js'
import type { Upstream, UpstreamSource } from './upstreams.js'

/** What every hop is run with. */
export interface HopTools {
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly healths: TargetHealths
  readonly limits: { readonly answerBytesMax: number; readonly clientStallMs: number }
  readonly log: Log
  readonly upstreams: UpstreamSource
  readonly vault: CredentialSource
}

/** What one hop is to do. */
export interface HopOrder {
  readonly request: RunningRequest
  readonly body: RequestBody
  /** At the replica that was picked. */
  readonly target: TargetTable
  readonly pick: ReplicaPick
  /** Another replica is asked if this one cannot be reached. */
  readonly hasElsewhere: boolean
  readonly dialect: ProviderDialect
  readonly secret: ProviderSecret | null
  readonly plan: HopPlan
  readonly known: KnownTarget
  readonly series: TargetSeries
  readonly siblings: readonly TargetTable[]
  readonly entry: HopEntry
  readonly startedUs: number
  readonly routeDueUs: number
  /** Of the whole route, from its beginning. */
  readonly routeTotalUs: number
  /** How the target before was passed over, or failed; null for the first. */
  readonly before: HopOutcome | null
  /** The stream of `hop` is about to begin: whatever else runs for the request is to be ended. */
  onBegin(hop: HopRun): void
}

/**
 * One hop from the first look at its target to its end: who we are there, the call, the same once more where the upstream
 * refuses only the way we ask for its usage. However it ends, the record and the target's health hear of it once, in the
 * turn in which it ends.
 */
export class HopRun implements TargetTry, StreamSink {
  readonly order: HopOrder
  /** When it must be over. */
  readonly dueUs: number
  /** Null: it was never sent. */
  call: TargetCall | null = null
  outcome: HopOutcome = 'aborted'
  /** A whole answer, read. */
  answer: PlannedAnswer | null = null
  /** Record and health have heard of its end. */
  over = false
  verdict: Verdict = 'none'
  leaseUs = 0
  /** Where it has a place, until it is over; null: nothing limits what runs at its target. */
  batch: TargetBatch | null = null
  probedUs = Number.NaN
  cooldownMs = 0
  readonly #tools: HopTools
  readonly #upstream: Upstream

  constructor(tools: HopTools, order: HopOrder) {
    this.#tools = tools
    this.order = order
    this.dueUs = hopDueUs(order.target, order.startedUs, order.routeDueUs)
    this.#upstream = tools.upstreams.of(order.target.provider)
  }

  get startedUs(): number {
    return this.order.startedUs
  }

  get stream(): boolean {
    return this.order.body.stream
  }

  /** The stream has begun to reach the client. */
  get committed(): boolean {
    return this.call?.committed === true
  }

  /** Its replica could not be reached, and there is another one. */
  get goesElsewhere(): boolean {
    return this.over && this.#isUnreached && this.order.hasElsewhere
  }

  get #isUnreached(): boolean {
    return this.outcome === 'connect_error' || this.outcome === 'timeout_connect'
  }

  /** The upstream refused whom we say to be. */
  get credentialRejected(): boolean {
    const status = this.call?.httpStatus
    return status === 401 || status === 403
  }

  /** Resolves when it is over for the client; one that was ended from outside, a little later. */
  async run(): Promise<void> {
    const { request, dialect, plan, target, secret, entry } = this.order
    const { head, record, trace } = request
    const { path, headers } = plan
    // Without spans of its own the hop is a child of the request's span, as the client was told.
    const spanId = record.hopSpanId(entry)
    const traceparent = spanId === null ? head.traceparent : formatTraceparent(trace.traceId, spanId, true)
    headers.push('x-request-id', head.requestId, 'traceparent', traceparent)
    if (trace.state !== null) headers.push('tracestate', trace.state)
    const upstream = this.#upstream
    const firstDepth: UsageDepth = upstream.usageDepth ?? dialect.usageDepth(target.provider)
    for (let depth = firstDepth; ; ) {
      const body = plan.body(depth)
      const outgoing = { provider: target.provider, path, headers, body, timeoutMs: target.deadlines.connectMs }
      const asked = dialect.authorize(outgoing, secret)
      const authorization: Authorization = asked instanceof Promise ? await asked : asked
      if (this.over) return
      if ('fault' in authorization) {
        this.#tellOfFault(authorization)
        return this.#finish('not_ready')
      }
      upstream.authorizationFault = null
      const call = this.#makeCall(authorization, body, depth)
      this.call = call
      await call.run()
      if (this.over) return
      // Remembered only once asking for less was what helped: a client's own bad request is refused at every depth, and
      // must not change how the next client's usage is counted.
      if (depth !== firstDepth && call.outcome === 'ok') {
        upstream.usageDepth = depth
        this.#tools.log.info(
          { providerId: target.provider.id, asks: depth },
          'an upstream refuses to be asked for its usage this way; asking for less from now on',
        )
      }
      const less = lessDepth(depth)
      const { answer, httpStatus } = call
      if (!this.stream || less === null || answer === null) return this.#end(call)
      if (!dialect.refusesUsageDepth(httpStatus, answer)) return this.#end(call)
      depth = less
    }
  }

  /** Ends it at once, as `outcome`; harmless when it is over. */
  cancel(outcome: 'aborted' | 'hedge_lost'): void {
    if (this.over) return
    this.call?.cancel()
    this.#finish(outcome)
  }

  // --------------------------------------------------------------------------------------------- the stream of the call

  begin(atUs: number): void {
    const { request, startedUs, pick } = this.order
    this.order.onBegin(this)
    pick.answered()
    this.#observe(atUs - startedUs, atUs)
    // A probe has shown enough; how the stream ends is one more try.
    if (this.leaseUs !== 0) {
      this.probedUs = atUs
      this.#judge('success', atUs)
      this.leaseUs = 0
    }
    request.record.setFirstToken(atUs)
    request.call.startStream(request.head)
  }

  write(bytes: Buffer): boolean {
    const { call, sent } = this.order.request
    sent?.add(bytes, this.call?.reader?.alike === true)
    return call.write(bytes)
  }

  onDrain(listener: () => void): void {
    this.order.request.call.onDrain(listener)
  }

  // -------------------------------------------------------------------------------------------------------------- its end

  #makeCall(authorization: readonly string[], body: Buffer, depth: UsageDepth): TargetCall {
    const { target, plan, known, startedUs } = this.order
    const { clock, deadlines, limits } = this.#tools
    const { headers } = plan
    return new TargetCall({
      dispatcher: this.#upstream.pool,
      target,
      path: plan.path,
      headers: authorization.length === 0 ? headers : headers.concat(authorization),
      body,
      reader: plan.streamReader(depth),
      sink: this,
      occupancy: known,
      clock,
      deadlines,
      startedUs,
      dueUs: this.dueUs,
      answerBytesMax: limits.answerBytesMax,
      clientStallMs: limits.clientStallMs,
    })
  }

  #end(call: TargetCall): void {
    const isWhole = call.outcome === 'ok' && !call.committed
    this.answer = isWhole && call.answer !== null ? this.#readAnswer(call.answer) : null
    this.#finish(isWhole && this.answer === null ? 'malformed' : call.outcome)
  }

  /** Null: no answer. Of what can be parsed not all can be written again (thousands of levels); the next target may do. */
  #readAnswer(bytes: Buffer): PlannedAnswer | null {
    try {
      return this.order.plan.readAnswer(bytes)
    } catch (thrown) {
      const fault = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
      this.#tools.log.debug({ providerId: this.order.target.provider.id, fault }, 'an answer could not be read')
      return null
    }
  }

  #finish(outcome: HopOutcome): void {
    if (this.over) return
    this.over = true
    this.outcome = outcome
    this.batch?.giveBack()
    const { request, entry, target, series, known, startedUs, pick, plan } = this.order
    const { call } = this
    const nowUs = this.#tools.clock.monotonicUs()
    const endedUs = call !== null && call.endedUs > startedUs ? call.endedUs : nowUs
    request.record.endHop(entry, target, outcome, call?.httpStatus ?? 0, endedUs)
    series.count(outcome)
    // Whether somebody is there is all that can be learned beside the API: its engine, or its key, may be another matter.
    const tellsNothing = plan.isBeside === true && !this.#isUnreached
    pick.end(tellsNothing ? 'aborted' : outcome, this.answer?.usage ?? call?.reader?.usage ?? null)
    if (!tellsNothing) this.#tellVault(outcome)
    if (this.answer !== null) this.#observe(endedUs - startedUs, nowUs)
    if (outcome === 'hedge_lost') known.times(this.stream).exceeded(endedUs - startedUs, nowUs)
    this.cooldownMs = tellsNothing ? 0 : cooldownOf(call)
    // One replica says nothing about the target while another is asked.
    this.#judge(
      this.goesElsewhere || tellsNothing ? 'none' : verdictOf(outcome, this.#upstream, this.#hadItsTime),
      nowUs,
    )
  }

  /** Only what a model did says how fast the target is: counting tokens takes no time that could be compared. */
  #observe(durationUs: number, nowUs: number): void {
    if (this.order.request.call.door.operation === 'count_tokens') return
    this.order.known.observe(durationUs, this.stream, nowUs)
    this.order.series.firstToken.observeUs(durationUs)
  }

  #judge(verdict: Verdict, nowUs: number): void {
    this.verdict = verdict
    this.#tools.healths.take(this.order.known, this, this.order.siblings, nowUs)
  }

  /** Not cut short by what hops before it took of the route's time: it had half of what it can have at most. */
  get #hadItsTime(): boolean {
    const { target, startedUs, routeTotalUs } = this.order
    return this.dueUs - startedUs >= Math.min(target.deadlines.totalMs * 1000, routeTotalUs) / 2
  }

  #tellOfFault({ fault, message }: AuthorizationFault): void {
    const { credential, id, kind } = this.order.target.provider
    if (fault === 'rejected' && credential !== null) {
      this.#tools.vault.reportRejected(credential.id, credential.version)
    }
    // Once, not for each request that it holds up.
    if (this.#upstream.authorizationFault === message) return
    this.#upstream.authorizationFault = message
    this.#tools.log.warn({ providerId: id, kind, fault, message }, 'a call to a provider could not be authorised')
  }

  #tellVault(outcome: HopOutcome): void {
    const { credential } = this.order.target.provider
    if (credential === null) return
    if (this.credentialRejected) {
      this.#tools.vault.reportRejected(credential.id, credential.version)
      this.order.dialect.forgetAuthorization?.(this.order.target.provider)
    } else if (outcome === 'ok') this.#tools.vault.reportAccepted(credential.id, credential.version)
  }
}

function lessDepth(depth: UsageDepth): UsageDepth | null {
  return depth === 'continuous' ? 'final' : depth === 'final' ? 'none' : null
}
