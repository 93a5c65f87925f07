import { type Choice, decide, findRoute, listRoutes } from '../../../proto/policy/choose-target.js'
import type { PromptFacts } from '../../../proto/policy/measured-prompt.js'
import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { ClassifierTable, RouteTable, TargetTable } from '../../../proto/policy/tables.js'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { Deadlines } from '../../../proto/std/deadlines.js'
import { newId, newSpanId, newTraceId, randomUnit } from '../../../proto/std/ids.js'
import { isRefusal, refuse } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import type { AnswerCache } from '../cache/answer-cache.js'
import type { CacheHit, CacheTurn } from '../cache/cache-turn.js'
import { QuietCall } from '../cache/quiet-call.js'
import type { Dialects } from '../providers/dialects.js'
import type { Operation, RequestBody, UpstreamOperation } from '../providers/provider-dialect.js'
import { newPrefixKey, ReplicaPicker, replicaDefaults } from '../replicas/replica-picker.js'
import type { AgentMetrics } from '../telemetry/metrics.js'
import type { RequestTelemetry } from '../telemetry/request-telemetry.js'
import { formatTraceparent, parseTraceContext, type TraceContext } from '../telemetry/trace-context.js'
import { Admission } from './admit.js'
import { Classifiers } from './ask-classifier.js'
import { authenticate } from './authenticate.js'
import { promptText, type TokenCounter } from './count-tokens.js'
import { CountlessTargets } from './countless-targets.js'
import { HeaderNames } from './header-names.js'
import { HedgeBudgets } from './hedge-budget.js'
import { findLastResort, streamOf } from './last-resort.js'
import { countBody } from './plan-hop.js'
import {
  type ClientCall,
  type CredentialSource,
  type FallbackAnswers,
  noFallbackAnswers,
  type ResponseHead,
  type TablesSource,
  type UsageMeter,
} from './ports.js'
import { type RecordStatus, RequestRecord } from './record.js'
import { type RequestRefusal, statusOf } from './request-refusal.js'
import { RoutingFacts } from './routing-facts.js'
import { chooseOverridden, overrideText, type RoutingOverride, readOverride } from './routing-override.js'
import type { HopRun } from './run-hop.js'
import { type Ending, RunningRequest } from './running-request.js'
import { TargetHealths } from './target-health.js'
import { TargetTries, type TryTools } from './try-targets.js'
import type { UpstreamSource } from './upstreams.js'

/**
 * A request from its first step to its last. Every step returns its value or a refusal, and what happens then is decided
 * here, but for the way through its targets, which is `try-targets`.
 *
 *     authenticate → admit → (body) → (ask-classifier) → choose-target → try-targets → respond → record
 *
 * The decision tables are taken once and used to the end. Each way out closes the record before the client's last byte;
 * the `finally` is the net below that, and it gives the slot back on every path.
 */
export interface RequestHandlerOptions {
  readonly tables: TablesSource
  readonly vault: CredentialSource
  readonly meter: UsageMeter
  readonly upstreams: UpstreamSource
  readonly dialects: Dialects
  readonly limits: RequestLimits
  readonly clock: Clock
  readonly log: Log
  readonly metrics: AgentMetrics
  readonly telemetry: RequestTelemetry
  readonly counter: TokenCounter
  /** Left out: nobody else knows targets. */
  readonly healths?: TargetHealths
  /** Left out: no answers are kept. */
  readonly cache?: AnswerCache
  /** Where the cache has none for a last resort, or nothing to do with the request. */
  readonly answers?: FallbackAnswers
  /** Left out: replicas are chosen by what this handler has running there. */
  readonly replicas?: ReplicaPicker
}

export interface RequestLimits {
  /** Bytes of a whole (not streamed) answer that are held in memory until it is sent. */
  readonly answerBytesMax: number
  /** Milliseconds that a client may take nothing of a stream. */
  readonly clientStallMs: number
}

export interface RequestHandler {
  /** Sees `call` to its end. Never rejects. */
  handle(call: ClientCall): Promise<void>
  /** Authenticated requests running now. */
  readonly runningCount: number
  /** Deadlines of hops that are waited for; none once nothing runs upstream. */
  readonly deadlineCount: number
  /** What is known of targets, and what runs there. */
  readonly healths: TargetHealths
  /** Ends every running request; streams get an error event. */
  endAll(): void
}

export function createRequestHandler(options: RequestHandlerOptions): RequestHandler {
  return new Handler(options)
}

class Handler implements RequestHandler {
  readonly #options: RequestHandlerOptions
  readonly #admission = new Admission()
  readonly #deadlines: Deadlines
  readonly #names = new HeaderNames()
  readonly #classifiers: Classifiers
  readonly #tools: TryTools
  readonly #answers: FallbackAnswers
  readonly #countless = new CountlessTargets()
  readonly healths: TargetHealths

  constructor(options: RequestHandlerOptions) {
    const { tables, clock, metrics, log } = options
    this.#options = options
    this.#deadlines = new Deadlines(clock)
    this.#classifiers = new Classifiers(options)
    this.#answers = options.answers ?? noFallbackAnswers
    this.healths = options.healths ?? new TargetHealths({ clock, metrics: metrics.targets, log })
    this.#tools = {
      ...{ clock, metrics, log, limits: options.limits, deadlines: this.#deadlines, healths: this.healths },
      ...{ dialects: options.dialects, upstreams: options.upstreams, vault: options.vault },
      ...{ names: this.#names, budgets: new HedgeBudgets() },
      replicas: options.replicas ?? new ReplicaPicker({ clock, key: newPrefixKey(), ...replicaDefaults }),
    }
    tables.onSwap((next) => {
      this.#admission.enforce(next)
      this.healths.keepOnly(next)
    })
  }

  get runningCount(): number {
    return this.#admission.runningCount
  }

  get deadlineCount(): number {
    return this.#deadlines.size
  }

  endAll(): void {
    this.#admission.endAll()
  }

  async handle(call: ClientCall): Promise<void> {
    const { clock, metrics } = this.#options
    const tables = this.#options.tables.current
    const trace = traceOf(call)
    const spanId = newSpanId()
    const sampled = tables?.cluster ? isSampled(tables.cluster.spanSamplePpm) : false
    const head: ResponseHead = {
      requestId: requestIdOf(call),
      traceparent: formatTraceparent(trace.traceId, spanId, sampled || trace.sampled),
      route: null,
      target: null,
      hop: 0,
      fallbackReason: null,
      retryAfterSeconds: null,
      dropped: null,
      capped: null,
      lastResort: null,
      cache: nothing,
    }
    if (tables === null) return this.#refuseUnrecorded(call, head, notReady)
    const authenticated = authenticate(call, tables, call.startedAtMs)
    if (isRefusal(authenticated)) {
      metrics.authenticationFailures.of(authenticated.code).add(1)
      return this.#refuseUnrecorded(call, head, authenticated)
    }
    // A full spool cannot take the record of the refusal either; it is counted.
    if (!this.#options.meter.accepting) return this.#refuseUnrecorded(call, head, spoolFull)
    const record = new RequestRecord(this.#options, {
      call,
      authenticated,
      tables,
      requestId: head.requestId,
      trace,
      spanId,
      sampled,
    })
    const request = new RunningRequest(call, tables, authenticated, trace, head, record)
    try {
      const { key, secretHash } = authenticated
      const refusal = this.#admission.admit(key, secretHash, request, clock.monotonicUs())
      if (refusal !== null) return this.#refuse(request, refusal)
      call.onGone(() => request.end('client_closed'))
      if (call.door.operation === 'models') this.#answerModels(request)
      else await this.#serve(request)
    } catch (fault) {
      this.#options.log.error(
        { requestId: head.requestId, fault: fault instanceof Error ? (fault.stack ?? fault.message) : String(fault) },
        'a request failed by a fault of the agent',
      )
      this.#fail(request)
    } finally {
      request.cache?.leave(request.ending !== null)
      this.#admission.release(authenticated.secretHash, request)
      if (!record.closed) record.close('failed', 'internal_error', 500)
    }
  }

  #answerModels(request: RunningRequest) {
    const { call, authenticated, head, record } = request
    const { key } = authenticated
    const writer = must(call.door.models, 'a door that lists models writes them')
    if (call.parameter === null) {
      record.close('ok', '', 200)
      return call.answer(200, 'application/json', writer.list(listRoutes(key)), head)
    }
    const route = findRoute(call.parameter, key)
    if (route === null) return this.#refuse(request, unknownModel(call.parameter))
    record.close('ok', '', 200)
    call.answer(200, 'application/json', writer.one(route), head)
  }

  async #serve(request: RunningRequest): Promise<void> {
    const { call, authenticated, record, head } = request
    const body = await call.readBody()
    if (isRefusal(body)) return this.#refuse(request, body)
    request.readUs = this.#options.clock.monotonicUs()
    record.describe(body)
    if (request.ending !== null) return this.#abort(request, null, body)
    const { operation } = call.door
    const { key } = authenticated
    const override = readOverride(call, key)
    if (isRefusal(override)) return this.#refuse(request, override)
    // Who names the target asks nobody where to go.
    const route = override?.target == null ? findRoute(body.model, key) : null
    const prompt = route?.classifier
      ? await this.#askClassifier(request, route, route.classifier, body, override)
      : null
    if (request.ending !== null) return this.#abort(request, null, body)
    const choice = this.#choose(request, operation, body, override, prompt)
    if (isRefusal(choice)) return this.#refuse(request, choice)
    record.choose(choice)
    if (override !== null && !record.opened) this.#noteOverride(request, override, choice.targets)
    head.route = this.#names.ofRoute(choice.route)
    if (operation === 'count_tokens' && !this.#countsTokens(choice)) {
      return this.#countBeside(request, choice, body, override)
    }
    // Who names the target wants to see what that one answers.
    const isCached = operation !== 'models' && (override?.target ?? null) === null
    const turn = isCached ? this.#consultCache(request, choice, body, operation) : null
    if (isRefusal(turn)) return this.#refuse(request, turn)
    const looked = turn === null ? null : this.#lookInCache(request, turn)
    const hit = looked instanceof Promise ? await looked : looked
    if (request.ending !== null) return this.#abort(request, null, body)
    if (hit !== null) return this.#giveKept(request, body, hit)
    record.open()
    await this.#written()
    if (request.ending !== null) return this.#abort(request, null, body)
    if (body.stream) request.sent = turn?.startRecord() ?? null
    await this.#askTargets(request, choice, body, override)
  }

  #consultCache(
    { call, authenticated: { key }, tables, readUs }: RunningRequest,
    choice: Choice,
    body: RequestBody,
    operation: UpstreamOperation,
  ) {
    const { route, targets, readings } = choice
    const { cache } = this.#options
    if (cache === undefined) return null
    // One literal: V8 makes an object of spreads member by member.
    return cache.consult({
      key,
      route,
      targets,
      operation,
      body,
      region: tables.cluster?.region ?? '',
      shapes: nothing,
      prompt: null,
      startedAtMs: call.startedAtMs,
      header: (name) => call.header(name),
      promptClass: () => readings.prompt_class,
      dueUs: readUs + route.totalTimeoutMs * 1000,
      isRenewal: call instanceof QuietCall,
    })
  }

  /** A kept answer, or null: the targets are to be asked. At once where that can be said at once. */
  #lookInCache(request: RunningRequest, turn: CacheTurn): CacheHit | null | Promise<CacheHit | null> {
    request.cache = turn
    if (!turn.gives) return null
    if (turn.callsUpstream) return this.#lookUpstream(request, turn)
    const looked = turn.look()
    if (looked instanceof Promise) return looked.then((hit) => this.#noteLook(request, turn, hit))
    return this.#noteLook(request, turn, looked)
  }

  async #lookUpstream(request: RunningRequest, turn: CacheTurn): Promise<CacheHit | null> {
    request.record.open()
    await this.#written()
    return this.#noteLook(request, turn, await turn.look())
  }

  #noteLook({ record, head }: RunningRequest, turn: CacheTurn, hit: CacheHit | null): CacheHit | null {
    head.cache = hit?.headers ?? turn.missHeaders
    if (turn.embedding !== null) record.addAside(turn.embedding)
    record.setCache(hit)
    return hit
  }

  async #giveKept(request: RunningRequest, body: RequestBody, hit: CacheHit): Promise<void> {
    const { call, head, record } = request
    const { kept } = hit
    head.dropped = kept.dropped
    head.capped = kept.capped
    if (kept.stream) record.setFirstToken(this.#options.clock.monotonicUs())
    record.close('ok', '', 200)
    await this.#written()
    if (kept.stream) {
      call.startStream(head)
      call.write(kept.bytes.subarray(0, kept.tailAt))
      call.endStream(kept.bytes.subarray(kept.tailAt))
    } else call.answer(200, 'application/json', kept.bytes, head)
    if (!hit.renews) return
    // Stale: a new one is made for nobody, as a request of its own, in the place of this one: its key may have no other.
    this.#release(request)
    void this.handle(new QuietCall(call, body, this.#options.clock))
  }

  #choose(
    { call, authenticated: { key }, tables, readUs }: RunningRequest,
    operation: Operation,
    body: RequestBody,
    override: RoutingOverride | null,
    prompt: PromptFacts | null,
  ): Choice | RequestRefusal {
    const routed = operation === 'models' ? 'chat_completions' : operation
    const facts = new RoutingFacts(call, routed, body, tables.cluster?.region, prompt)
    const health = this.healths.facts(readUs, body.stream)
    if (override !== null) return chooseOverridden({ override, facts, key, health })
    const decision = decide(facts, key, health)
    const { route, conditionFailureCount, refusal } = decision
    if (conditionFailureCount > 0 && route !== null) {
      this.#options.metrics.countConditionFailures(route.id, conditionFailureCount)
    }
    return refusal ?? (decision as Choice)
  }

  /** Its record is opened before the classifier sees anything: a prompt that leaves is on disk as one that may have left. */
  #askClassifier(
    request: RunningRequest,
    route: RouteTable,
    classifier: ClassifierTable,
    body: RequestBody,
    override: RoutingOverride | null,
  ): Promise<PromptFacts> {
    return this.#classifiers.ask(request, route, classifier, body, () => {
      const { record } = request
      record.setRoute(route)
      if (override !== null) this.#noteOverride(request, override, noTargets)
      record.open()
      return this.#written()
    })
  }

  /** On the record and in the numbers: who routes by header is audited. */
  #noteOverride({ record }: RunningRequest, override: RoutingOverride, targets: readonly TargetTable[]): void {
    const pinned = override.target === null ? null : (targets[0] ?? null)
    record.override(overrideText(override, pinned))
    this.#options.metrics.routingOverrides.of(pinned === null ? 'fallback' : 'target').add(1)
  }

  /** The target that is asked first counts tokens itself. */
  #countsTokens(choice: Choice): boolean {
    const kind = choice.targets[0]?.provider.kind
    return kind !== undefined && this.#options.dialects.find(kind)?.native.count_tokens !== undefined
  }

  /**
   * Tokens where no vendor counts them as the client asks: the server of the target that is asked first does, if it can, and
   * no other, whose vocabulary may be another one. The agent counts itself where that comes to nothing.
   */
  async #countBeside(
    request: RunningRequest,
    choice: Choice,
    body: RequestBody,
    override: RoutingOverride | null,
  ): Promise<void> {
    const { clock } = this.#options
    const [target] = choice.targets
    const wire = target === undefined ? undefined : this.#options.dialects.find(target.provider.kind)?.count
    if (target === undefined || !wire?.serves(target.provider) || this.#countless.has(target, request.readUs)) {
      return this.#countTokens(request, body)
    }
    request.record.open()
    await this.#written()
    if (request.ending !== null) return this.#abort(request, null, body)
    const pinned = (override?.target ?? null) !== null
    const only = { ...choice, targets: [target] }
    const tries = new TargetTries(this.#tools, { request, choice: only, body, pinned, isWorthMs: countMsMax })
    request.upstream = tries
    const end = await tries.run()
    const { hop } = tries
    if (end === 'answered' && hop !== null) return this.#answer(request, hop, false)
    if (end === 'aborted') return this.#abort(request, tries, body)
    if (hop !== null) this.#countless.learn(target, hop, clock.monotonicUs())
    return this.#countTokens(request, body)
  }

  /** The agent counts, with a vocabulary that may be another one than the model's. */
  async #countTokens({ call, record, head }: RunningRequest, body: RequestBody): Promise<void> {
    const count = await this.#options.counter.count(promptText(body.prompt))
    // Whoever was asked before did not count.
    head.target = null
    head.hop = 0
    head.fallbackReason = null
    record.forgetTarget()
    record.close('ok', '', 200)
    await this.#written()
    call.answer(200, 'application/json', countBody(count), head)
  }

  async #askTargets(
    request: RunningRequest,
    choice: Choice,
    body: RequestBody,
    override: RoutingOverride | null,
  ): Promise<void> {
    const tries = new TargetTries(this.#tools, { request, choice, body, pinned: (override?.target ?? null) !== null })
    request.upstream = tries
    const end = await tries.run()
    const { hop, lost } = tries
    if (end === 'aborted' && hop === null) return this.#abort(request, tries, body)
    if (end === 'failed' || hop === null) return this.#fallBack(request, choice, body, tries)
    if (lost !== null) await this.#billLost(request, lost, body)
    switch (end) {
      case 'answered':
        return this.#answer(request, hop, lost !== null)
      case 'streamed':
        return this.#endStream(request, hop, body, lost !== null)
      case 'refused':
        // No client asked that server for anything.
        return hop.order.plan.isBeside ? this.#countTokens(request, body) : this.#passRefusal(request, hop)
      default:
        return this.#abort(request, tries, body)
    }
  }

  /** `isShare`: another hop served, too. */
  async #answer(request: RunningRequest, hop: HopRun, isShare: boolean): Promise<void> {
    const { record, call, head } = request
    const { target, entry } = hop.order
    const answer = must(hop.answer, 'who answered has an answer')
    const { httpStatus } = must(hop.call, 'who answered was called')
    if (answer.usage !== null)
      record.addUsage(answer.usage, 'provider', target, isShare || record.hasAsides ? entry : null)
    // What another hop used is known, what this one did is not: a sum of the two would be no sum.
    else if ((isShare || record.hasAsides) && call.door.embeddings === undefined) record.forgetSums()
    // Some vendors of vectors tell their tokens nowhere that a body shows (Cohere on Bedrock): they are counted.
    else if (call.door.embeddings !== undefined) {
      const input = await this.#options.counter.count(promptText(hop.order.body.prompt))
      const usage = { input, output: 0, cachedInput: null, cacheWriteInput: null, reasoningOutput: null }
      record.addUsage(usage, 'counted', target, isShare ? entry : null)
    }
    record.setActualModel(answer.model)
    record.close('ok', '', httpStatus)
    await this.#written()
    call.answer(httpStatus, 'application/json', answer.body, head)
    const { cache } = request
    if (httpStatus !== 200 || cache === null) return
    const { usage, model } = answer
    const { dropped, capped } = head
    cache.keepWhole(target, answer.body, { usage, model, parsed: answer.parsed ?? null, dropped, capped })
  }

  /** An upstream's own "no" to what the client asked goes to the client, in the client's own words. */
  async #passRefusal(request: RunningRequest, hop: HopRun): Promise<void> {
    const { record, call, head } = request
    const { httpStatus, retryAfterSeconds, answer, contentType } = must(hop.call, 'who refused was called')
    record.close('failed', 'upstream_rejected', httpStatus)
    await this.#written()
    head.retryAfterSeconds = retryAfterSeconds
    const said = hop.order.plan.readRefusal(answer ?? emptyBody, httpStatus)
    call.answer(httpStatus, typeof said === 'string' ? 'application/json' : contentType, said, head)
  }

  /** Ends a stream that has begun: its terminal event, or an error event where it did not come to its end. */
  async #endStream(request: RunningRequest, hop: HopRun, body: RequestBody, isShare: boolean): Promise<void> {
    const { record, call } = request
    const reader = hop.call?.reader ?? null
    record.setActualModel(reader?.model ?? null)
    this.#release(request)
    const usage = await this.#settleUsage(request, hop, body, isShare)
    if (hop.outcome === 'ok') {
      record.close('ok', '', 200)
      await this.#written()
      const tail = reader?.tail ?? null
      call.endStream(tail)
      const { sent, cache, head } = request
      if (sent === null || cache === null) return
      const told = { usage, model: reader?.model ?? null, dropped: head.dropped, capped: head.capped }
      cache.keepStream(hop.order.target, sent, tail, told)
      return
    }
    const refusal = streamRefusal(request.ending, hop)
    const isAborted = refusal.code === 'client_closed' || refusal.code === 'client_stalled'
    const status: RecordStatus = isAborted || request.ending !== null ? 'aborted' : 'failed'
    record.close(status, refusal.code, 200)
    await this.#written()
    if (isAborted) return call.destroy()
    this.#options.metrics.refusals.of(refusal.code).add(1)
    call.endStream(call.door.errorEvent(refusal))
  }

  /**
   * What a stream used: told by the provider, or told up to a point and counted from there. `isShare`: another hop served,
   * too. `withinMs`: how long counting may take before an estimate has to do.
   */
  async #settleUsage(
    { record }: RunningRequest,
    hop: HopRun,
    body: RequestBody,
    isShare: boolean,
    withinMs?: number,
  ): Promise<TokenUsage | null> {
    const reader = hop.call?.reader ?? null
    if (reader === null) return null
    const { target, entry } = hop.order
    const share = isShare || record.hasAsides ? entry : null
    const told = reader.usage
    const text = reader.deliveredText()
    if (told !== null && text === '') {
      record.addUsage(told, 'provider', target, share)
      return told
    }
    const { counter } = this.#options
    const [output, input] = await Promise.all([
      counter.count(text, withinMs),
      told === null ? counter.count(promptText(body.prompt), withinMs) : told.input,
    ])
    const usage = {
      input,
      output: (told?.output ?? 0) + output,
      cachedInput: told?.cachedInput ?? null,
      cacheWriteInput: told?.cacheWriteInput ?? null,
      reasoningOutput: told?.reasoningOutput ?? null,
    }
    record.addUsage(usage, 'counted', target, share)
    return usage
  }

  /**
   * What the hop that lost a race is taken to have used: what it said, and the prompt that it was at work on. The client of
   * the one that won waits for it, and must not lose what the race has gained.
   */
  async #billLost(request: RunningRequest, hop: HopRun, body: RequestBody): Promise<void> {
    this.#release(request)
    if (!hop.call?.sent) return
    if (hop.call.reader !== null) {
      await this.#settleUsage(request, hop, body, true, lostCountMs)
      return
    }
    const input = await this.#options.counter.count(promptText(body.prompt), lostCountMs)
    const usage = { input, output: 0, cachedInput: null, cacheWriteInput: null, reasoningOutput: null }
    request.record.addUsage(usage, 'counted', hop.order.target, hop.order.entry)
  }

  /** The request ended from outside before anything reached the client. */
  async #abort(request: RunningRequest, tries: TargetTries | null, body: RequestBody): Promise<void> {
    this.#release(request)
    const ending = request.ending ?? 'client_closed'
    const answering = (tries?.asked ?? []).filter((hop) => body.stream && hop.call?.httpStatus === 200)
    for (const hop of answering) await this.#settleUsage(request, hop, body, answering.length > 1)
    if (ending === 'client_closed') {
      request.record.close('aborted', ending, statusOf(ending))
      return request.call.destroy()
    }
    request.record.close('aborted', ending, statusOf(ending))
    await this.#written()
    this.#send(request.call, request.head, endings[ending])
  }

  /** No target gave an answer: the route's last resort, where it has one and the targets are at fault; else the error. */
  async #fallBack(request: RunningRequest, choice: Choice, body: RequestBody, tries: TargetTries): Promise<void> {
    const refusal = tries.refusal ?? upstreamFailed
    const { call, head, record } = request
    const { operation, conversation: door } = call.door
    const { route } = choice
    const table = route.lastResort
    if (table === null || door === null || operation === 'count_tokens' || !tries.targetsFailed) {
      return this.#refuseAfterOpen(request, refusal)
    }
    const startedUs = this.#options.clock.monotonicUs()
    request.conversation ??= door.read(body)
    const conversation = isRefusal(request.conversation) ? null : request.conversation
    const ageMaxSeconds = table.cachedAgeMaxSeconds
    const { key } = request.authenticated
    const found = await findLastResort(table, request.cache ?? this.#answers, {
      ...{ key, route, operation, body, conversation, ageMaxSeconds },
    })
    if (request.ending !== null) return this.#abort(request, null, body)
    const createdAtSeconds = Math.floor(call.startedAtMs / 1000)
    const context = {
      requestId: head.requestId,
      createdAtSeconds,
      model: body.model,
      wantsUsage: body.wantsUsage,
      body,
    }
    const whole = found === null || body.stream ? null : door.writeAnswer(found.answer, context)
    if (found === null || (!body.stream && whole === null)) return this.#refuseAfterOpen(request, refusal)
    record.setLastResort(found.kind, startedUs)
    head.lastResort = found.kind
    record.close('ok', 'last_resort', 200)
    await this.#written()
    if (whole !== null) return call.answer(200, 'application/json', whole, head)
    const { bytes, tail } = streamOf(found.answer, door, context)
    call.startStream(head)
    call.write(bytes)
    call.endStream(tail)
  }

  /** The record has an open frame: its close goes to the file before the client hears anything. */
  async #refuseAfterOpen(
    request: RunningRequest,
    refusal: RequestRefusal,
    status: 'failed' | 'refused' = 'failed',
  ): Promise<void> {
    request.record.close(status, refusal.code, statusOf(refusal.code))
    await this.#written()
    this.#send(request.call, request.head, refusal)
  }

  /** Null, and so no turn lost, where the meter writes at once. */
  #written(): Promise<void> | null {
    return this.#options.meter.written()
  }

  #refuse(request: RunningRequest, refusal: RequestRefusal) {
    const status = statusOf(refusal.code)
    if (refusal.code === 'client_closed') {
      request.record.close('aborted', refusal.code, status)
      return request.call.destroy()
    }
    if (request.record.opened) return this.#refuseAfterOpen(request, refusal, 'refused')
    request.record.close('refused', refusal.code, status)
    return this.#send(request.call, request.head, refusal)
  }

  /** A fault of ours: say so with a reference, never with a detail. */
  #fail(request: RunningRequest) {
    if (request.record.closed) return request.call.destroy()
    request.upstream?.cancel()
    request.record.close('failed', 'internal_error', 500)
    if (request.upstream?.committed) return request.call.destroy()
    this.#send(
      request.call,
      request.head,
      refuse('internal_error', `The agent failed to serve this request. Reference: ${request.head.requestId}`),
    )
  }

  #refuseUnrecorded(call: ClientCall, head: ResponseHead, refusal: RequestRefusal): void {
    this.#send(call, head, refusal)
  }

  #send(call: ClientCall, head: ResponseHead, refusal: RequestRefusal): void {
    this.#options.metrics.refusals.of(refusal.code).add(1)
    const seconds = refusal.detail?.['retryAfterSeconds']
    if (typeof seconds === 'number') head.retryAfterSeconds = seconds
    call.refuse(refusal, head)
  }

  /** The slot is free as soon as nothing runs upstream, even where counting goes on. */
  #release(request: RunningRequest): void {
    this.#admission.release(request.authenticated.secretHash, request)
  }
}

const emptyBody = Buffer.alloc(0)
const noTargets: readonly TargetTable[] = Object.freeze([])
/** Longest that a server is waited for which counts tokens: the agent's own count is not much worse. */
const countMsMax = 2_000
/** Longest that the winner of a race waits until the tokens of the other one are counted. */
const lostCountMs = 20
const nothing: readonly string[] = Object.freeze([])
const notReady = refuse('agent_not_ready', 'This agent has no configuration yet. Try again in a moment.', {
  detail: { retryAfterSeconds: 1 },
})
const spoolFull = refuse(
  'usage_spool_full',
  'This agent cannot record usage at the moment and serves nothing unrecorded.',
  {
    detail: { retryAfterSeconds: 5 },
  },
)
const endings: Readonly<Record<Exclude<Ending, 'client_closed'>, RequestRefusal>> = {
  revoked_api_key: refuse('revoked_api_key', 'This API key was revoked.'),
  agent_draining: refuse('agent_draining', 'This agent is stopping. Try again.', { detail: { retryAfterSeconds: 1 } }),
}
const upstreamFailed = refuse('upstream_failed', 'No upstream answered.')
const clientClosed = refuse('client_closed', 'The client closed the connection.')
const clientStalled = refuse('client_stalled', 'The client took nothing of the stream for too long.')

function unknownModel(name: string): RequestRefusal {
  return refuse('model_not_found', `The model \`${name}\` does not exist or you do not have access to it.`, {
    field: 'model',
  })
}

function traceOf(call: ClientCall): TraceContext {
  const given = parseTraceContext(call.header('traceparent'), call.header('tracestate'))
  return given ?? { traceId: newTraceId(), parentSpanId: null, sampled: false, state: null }
}

const requestIdPattern = /^[A-Za-z0-9._-]{1,128}$/

function requestIdOf(call: ClientCall): string {
  const given = call.header('x-request-id')
  return given !== undefined && requestIdPattern.test(given) ? given : newId('request', call.startedAtMs)
}

function isSampled(samplePpm: number): boolean {
  return samplePpm > 0 && randomUnit() * 1_000_000 < samplePpm
}

/** How a stream that had begun is ended. */
function streamRefusal(ending: Ending | null, hop: HopRun): RequestRefusal {
  if (ending === 'client_closed') return clientClosed
  if (ending !== null) return endings[ending]
  if (hop.call?.stalled) return clientStalled
  switch (hop.outcome) {
    case 'timeout_idle':
    case 'timeout_total':
      return refuse(
        'upstream_timeout',
        `The upstream stopped in the middle of its answer (${hop.outcome.slice('timeout_'.length)}).`,
      )
    case 'upstream_5xx':
      return refuse('upstream_failed', hop.call?.reader?.error ?? 'The upstream failed in the middle of its answer.')
    default:
      return refuse('upstream_truncated', 'The upstream broke off in the middle of its answer.')
  }
}
