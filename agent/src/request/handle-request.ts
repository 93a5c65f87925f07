import { type Choice, chooseTarget, findRoute, hopDueUs, listRoutes } from '../../../proto/policy/choose-target.js'
import type { DecisionTables, RouteTable, TargetTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import { Deadlines } from '../../../proto/std/deadlines.js'
import { newId, newSpanId, newTraceId, randomUnit } from '../../../proto/std/ids.js'
import { isRefusal, refuse } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import type { Dialects } from '../providers/dialects.js'
import type {
  Authorization,
  AuthorizationFault,
  ProviderDialect,
  ProviderSecret,
  RequestBody,
  UsageDepth,
} from '../providers/provider-dialect.js'
import type { AgentMetrics } from '../telemetry/metrics.js'
import type { RequestTelemetry } from '../telemetry/request-telemetry.js'
import { formatTraceparent, parseTraceContext, type TraceContext } from '../telemetry/trace-context.js'
import { Admission, type Running } from './admit.js'
import { type Authenticated, authenticate } from './authenticate.js'
import { TargetCall } from './call-target.js'
import { promptText, type TokenCounter } from './count-tokens.js'
import { type HopPlan, type PlannedAnswer, planHop, type ReadOnce } from './plan-hop.js'
import type { ClientCall, CredentialSource, ResponseHead, TablesSource, UsageMeter } from './ports.js'
import { type HopOutcome, type RecordStatus, RequestRecord } from './record.js'
import { type RequestRefusal, statusOf } from './request-refusal.js'
import type { Upstreams } from './upstreams.js'

/**
 * A request from its first step to its last. The only file of this room with branches: every step returns its value or a
 * refusal, and what happens then is decided here.
 *
 *     authenticate → admit → (body) → choose-target → per hop plan-hop, call-target → respond → record
 *
 * The decision tables are taken once and used to the end. Each way out closes the record before the client's last byte;
 * the `finally` is the net below that, and it gives the slot back on every path.
 */
export interface RequestHandlerOptions {
  readonly tables: TablesSource
  readonly vault: CredentialSource
  readonly meter: UsageMeter
  readonly upstreams: Upstreams
  readonly dialects: Dialects
  readonly limits: RequestLimits
  readonly clock: Clock
  readonly log: Log
  readonly metrics: AgentMetrics
  readonly telemetry: RequestTelemetry
  readonly counter: TokenCounter
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
  /** Ends every running request; streams get an error event. */
  endAll(): void
}

export function createRequestHandler(options: RequestHandlerOptions): RequestHandler {
  return new Handler(options)
}

type Ending = 'revoked_api_key' | 'agent_draining' | 'client_closed'

/** What one authenticated request carries through its steps. */
class Request implements Running, ReadOnce {
  slot = -1
  conversation: ReadOnce['conversation'] = null
  /** Why it is to end early; set once. */
  ending: Ending | null = null
  hop: TargetCall | null = null

  constructor(
    readonly call: ClientCall,
    readonly tables: DecisionTables,
    readonly authenticated: Authenticated,
    readonly trace: TraceContext,
    readonly head: ResponseHead,
    readonly record: RequestRecord,
  ) {}

  end(ending: Ending): void {
    if (this.ending !== null) return
    this.ending = ending
    this.hop?.cancel()
  }
}

/** How one hop goes. */
interface HopWay {
  readonly target: TargetTable
  readonly dialect: ProviderDialect
  readonly secret: ProviderSecret | null
  readonly plan: HopPlan
  readonly body: RequestBody
  readonly startedUs: number
  readonly routeDueUs: number
}

class Handler implements RequestHandler {
  readonly #options: RequestHandlerOptions
  readonly #admission = new Admission()
  readonly #deadlines: Deadlines
  /** Names of routes and targets as response headers show them. */
  readonly #names = new WeakMap<object, string>()

  constructor(options: RequestHandlerOptions) {
    this.#options = options
    this.#deadlines = new Deadlines(options.clock)
    options.tables.onSwap((next) => this.#admission.enforce(next))
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
    const request = new Request(call, tables, authenticated, trace, head, record)
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
      this.#admission.release(authenticated.secretHash, request)
      if (!record.closed) record.close('failed', 'internal_error', 500)
    }
  }

  #answerModels(request: Request) {
    const { call, authenticated, head, record } = request
    const { key } = authenticated
    if (call.parameter === null) {
      const body = JSON.stringify({ object: 'list', data: listRoutes(key).map(modelOf) })
      record.close('ok', '', 200)
      return call.answer(200, 'application/json', body, head)
    }
    const route = findRoute(call.parameter, key)
    if (route === null) return this.#refuse(request, unknownModel(call.parameter))
    record.close('ok', '', 200)
    call.answer(200, 'application/json', JSON.stringify(modelOf(route)), head)
  }

  async #serve(request: Request): Promise<void> {
    const { call, authenticated, record, head } = request
    const body = await call.readBody()
    if (isRefusal(body)) return this.#refuse(request, body)
    record.describe(body)
    if (request.ending !== null) return this.#abort(request, null, body)
    const { operation } = call.door
    const facts = { operation: operation === 'embeddings' ? operation : 'chat_completions', model: body.model } as const
    const choice = chooseTarget(facts, authenticated.key)
    if (isRefusal(choice)) return this.#refuse(request, choice)
    record.choose(choice)
    head.route = this.#routeNameOf(choice.route)
    if (operation === 'count_tokens' && !this.#countsTokens(choice)) return this.#countTokens(request, body)
    record.open()
    await this.#written()
    if (request.ending !== null) return this.#abort(request, null, body)
    const refusal = await this.#callHops(request, choice, body)
    if (refusal !== null) await this.#refuseAfterOpen(request, refusal)
  }

  /** The target that is asked first counts tokens itself. */
  #countsTokens(choice: Choice): boolean {
    const kind = choice.targets[0]?.provider.kind
    return kind !== undefined && this.#options.dialects.find(kind)?.native.count_tokens !== undefined
  }

  /** No vendor counts for this route: the agent does, with a vocabulary that may be another one than the model's. */
  async #countTokens({ call, record, head }: Request, body: RequestBody): Promise<void> {
    const count = await this.#options.counter.count(promptText(body.prompt))
    record.close('ok', '', 200)
    await this.#written()
    call.answer(200, 'application/json', JSON.stringify({ input_tokens: count }), head)
  }

  /** Tries the targets in order. Null: the client has its answer (or left). Otherwise what to tell it. */
  async #callHops(request: Request, choice: Choice, body: RequestBody): Promise<RequestRefusal | null> {
    const { clock } = this.#options
    const { head, record } = request
    const routeDueUs = request.call.startedUs + choice.route.totalTimeoutMs * 1000
    let outcome: HopOutcome = 'timeout_total'
    /** Of the last hop that was really tried, and why the first one that was not could not be. */
    let last: { readonly outcome: HopOutcome; readonly hop: TargetCall | null } | null = null
    let inexpressible: RequestRefusal | null = null
    for (const [index, target] of choice.targets.entries()) {
      const startedUs = clock.monotonicUs()
      if (startedUs >= routeDueUs) break
      head.hop = index + 1
      head.target = this.#targetNameOf(target)
      if (index > 0) head.fallbackReason = outcome
      const dialect = this.#options.dialects.find(target.provider.kind)
      const secret = this.#secretOf(target)
      if (dialect === null || secret === undefined) {
        outcome = 'not_ready'
        last = { outcome, hop: null }
        record.addHop(target, outcome, 0, startedUs, startedUs)
        continue
      }
      const { route } = choice
      const plan = planHop({
        ...{ call: request.call, body, read: request, route, target, dialect, requestId: head.requestId },
      })
      if (isRefusal(plan)) {
        inexpressible ??= plan
        outcome = 'not_expressible'
        record.addHop(target, outcome, 0, startedUs, startedUs)
        continue
      }
      head.dropped = plan.dropped
      const hop = await this.#callTarget(request, { target, dialect, secret, plan, body, startedUs, routeDueUs })
      if (hop === null) {
        outcome = 'not_ready'
        last = { outcome, hop }
        record.addHop(target, outcome, 0, startedUs, clock.monotonicUs())
        if (request.ending === null) continue
        await this.#abort(request, target, body)
        return null
      }
      const answer = hop.outcome === 'ok' && hop.answer !== null ? plan.readAnswer(hop.answer) : null
      outcome = hop.outcome === 'ok' && answer === null && !hop.committed ? 'malformed' : hop.outcome
      last = { outcome, hop }
      record.addHop(target, outcome, hop.httpStatus, startedUs, hop.endedUs)
      this.#tellVault(target, hop)
      if (hop.committed) {
        await this.#endStream(request, target, hop, body)
        return null
      }
      if (request.ending !== null || hop.stalled) {
        await this.#abort(request, target, body)
        return null
      }
      if (answer !== null) {
        await this.#answer(request, target, hop, answer)
        return null
      }
      if (outcome === 'upstream_4xx' && !isCredentialRejected(hop)) {
        await this.#passRefusal(request, hop, plan)
        return null
      }
    }
    if (last === null && inexpressible !== null) return inexpressible
    return refusalOf(last?.outcome ?? 'timeout_total', last?.hop ?? null, choice)
  }

  /**
   * One hop, asked again at once where the upstream refuses only the way we ask for its usage. Null: nobody could say who
   * we are to it.
   */
  async #callTarget(request: Request, way: HopWay): Promise<TargetCall | null> {
    const { target, dialect, secret, plan, body, startedUs, routeDueUs } = way
    const { clock, upstreams, limits } = this.#options
    const upstream = upstreams.of(target.provider)
    const { call, head, record } = request
    const { path, headers } = plan
    headers.push('x-request-id', head.requestId)
    headers.push(
      'traceparent',
      formatTraceparent(request.trace.traceId, record.hopSpanId(), head.traceparent.endsWith('1')),
    )
    if (request.trace.state !== null) headers.push('tracestate', request.trace.state)
    const firstDepth: UsageDepth = upstream.usageDepth ?? dialect.usageDepth(target.provider)
    for (let depth = firstDepth; ; ) {
      const bytes = plan.body(depth)
      const outgoing = { provider: target.provider, path, headers, body: bytes, timeoutMs: target.deadlines.connectMs }
      const asked = dialect.authorize(outgoing, secret)
      const authorization: Authorization = asked instanceof Promise ? await asked : asked
      if ('fault' in authorization) {
        this.#tellOfFault(target, authorization)
        return null
      }
      if (request.ending !== null) return null
      const hop = new TargetCall({
        dispatcher: upstream.pool,
        target,
        path,
        headers: authorization.length === 0 ? headers : [...headers, ...authorization],
        body: bytes,
        reader: plan.streamReader(depth),
        sink: {
          begin: (atUs) => {
            record.setFirstToken(atUs)
            call.startStream(head)
          },
          write: (piece) => call.write(piece),
          onDrain: (listener) => call.onDrain(listener),
        },
        clock,
        deadlines: this.#deadlines,
        startedUs,
        dueUs: hopDueUs(target, startedUs, routeDueUs),
        answerBytesMax: limits.answerBytesMax,
        clientStallMs: limits.clientStallMs,
      })
      request.hop = hop
      const over = hop.run()
      // The client may have left between two steps.
      if (request.ending !== null) hop.cancel()
      await over
      // Remembered only once asking for less was what helped: a client's own bad request is refused at every depth, and
      // must not change how the next client's usage is counted.
      if (depth !== firstDepth && hop.outcome === 'ok') {
        upstream.usageDepth = depth
        this.#options.log.info(
          { providerId: target.provider.id, asks: depth },
          'an upstream refuses to be asked for its usage this way; asking for less from now on',
        )
      }
      const less = lessDepth(depth)
      if (!body.stream || less === null || hop.answer === null || request.ending !== null) return hop
      if (!dialect.refusesUsageDepth(hop.httpStatus, hop.answer)) return hop
      depth = less
    }
  }

  #tellOfFault({ provider }: TargetTable, { fault, message }: AuthorizationFault): void {
    const { credential, id, kind } = provider
    if (fault === 'rejected' && credential !== null) {
      this.#options.vault.reportRejected(credential.id, credential.version)
    }
    this.#options.log.warn({ providerId: id, kind, fault, message }, 'a call to a provider could not be authorised')
  }

  #routeNameOf(route: RouteTable): string {
    return this.#names.get(route) ?? this.#keepName(route, route.name)
  }

  #targetNameOf(target: TargetTable): string {
    return this.#names.get(target) ?? this.#keepName(target, `${target.provider.name}/${target.upstreamModel}`)
  }

  #keepName(table: object, name: string): string {
    const text = headerText(name)
    this.#names.set(table, text)
    return text
  }

  /** The secret, null where the provider wants none, undefined where it is not here. */
  #secretOf(target: TargetTable): ProviderSecret | null | undefined {
    const { credential } = target.provider
    if (credential === null) return null
    return this.#options.vault.get(credential.id, credential.version) ?? undefined
  }

  #tellVault({ provider: { credential } }: TargetTable, hop: TargetCall): void {
    if (credential === null) return
    if (isCredentialRejected(hop)) this.#options.vault.reportRejected(credential.id, credential.version)
    else if (hop.outcome === 'ok') this.#options.vault.reportAccepted(credential.id, credential.version)
  }

  async #answer(request: Request, target: TargetTable, hop: TargetCall, answer: PlannedAnswer): Promise<void> {
    const { record, call, head } = request
    if (answer.usage !== null) record.setUsage(answer.usage, 'provider', target)
    record.setActualModel(answer.model)
    record.close('ok', '', hop.httpStatus)
    await this.#written()
    call.answer(hop.httpStatus, 'application/json', answer.body, head)
  }

  /** An upstream's own "no" to what the client asked goes to the client, in the client's own words. */
  async #passRefusal(request: Request, hop: TargetCall, plan: HopPlan): Promise<void> {
    const { record, call, head } = request
    record.close('failed', 'upstream_rejected', hop.httpStatus)
    await this.#written()
    head.retryAfterSeconds = hop.retryAfterSeconds
    const body = plan.readRefusal(hop.answer ?? emptyBody, hop.httpStatus)
    call.answer(hop.httpStatus, typeof body === 'string' ? 'application/json' : hop.contentType, body, head)
  }

  /** Ends a stream that has begun: its terminal event, or an error event where it did not come to its end. */
  async #endStream(request: Request, target: TargetTable, hop: TargetCall, body: RequestBody): Promise<void> {
    const { record, call } = request
    const reader = hop.reader
    record.setActualModel(reader?.model ?? null)
    this.#release(request)
    await this.#settleUsage(request, target, hop, body)
    if (hop.outcome === 'ok') {
      record.close('ok', '', 200)
      await this.#written()
      return call.endStream(reader?.tail ?? null)
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

  /** What the stream used: told by the provider, or told up to a point and counted from there. */
  async #settleUsage(request: Request, target: TargetTable, hop: TargetCall, body: RequestBody): Promise<void> {
    const reader = hop.reader
    if (reader === null) return
    const told = reader.usage
    const text = reader.deliveredText()
    if (told !== null && text === '') return request.record.setUsage(told, 'provider', target)
    const { counter } = this.#options
    const [output, input] = await Promise.all([
      counter.count(text),
      told === null ? counter.count(promptText(body.prompt)) : told.input,
    ])
    const usage = {
      input,
      output: (told?.output ?? 0) + output,
      cachedInput: told?.cachedInput ?? null,
      cacheWriteInput: told?.cacheWriteInput ?? null,
      reasoningOutput: told?.reasoningOutput ?? null,
    }
    request.record.setUsage(usage, 'counted', target)
  }

  /** The request ended from outside before anything reached the client. */
  async #abort(request: Request, target: TargetTable | null, body: RequestBody): Promise<void> {
    this.#release(request)
    const ending = request.ending ?? 'client_closed'
    if (target !== null && request.hop !== null && request.hop.httpStatus === 200 && body.stream) {
      await this.#settleUsage(request, target, request.hop, body)
    }
    if (ending === 'client_closed') {
      request.record.close('aborted', ending, statusOf(ending))
      return request.call.destroy()
    }
    request.record.close('aborted', ending, statusOf(ending))
    await this.#written()
    this.#send(request.call, request.head, endings[ending])
  }

  /** The record has an open frame: its close goes to the file before the client hears anything. */
  async #refuseAfterOpen(request: Request, refusal: RequestRefusal): Promise<void> {
    request.record.close('failed', refusal.code, statusOf(refusal.code))
    await this.#written()
    this.#send(request.call, request.head, refusal)
  }

  /** Null, and so no turn lost, where the meter writes at once. */
  #written(): Promise<void> | null {
    return this.#options.meter.written()
  }

  #refuse(request: Request, refusal: RequestRefusal) {
    const status = statusOf(refusal.code)
    if (refusal.code === 'client_closed') {
      request.record.close('aborted', refusal.code, status)
      return request.call.destroy()
    }
    request.record.close('refused', refusal.code, status)
    this.#send(request.call, request.head, refusal)
  }

  /** A fault of ours: say so with a reference, never with a detail. */
  #fail(request: Request) {
    if (request.record.closed) return request.call.destroy()
    request.hop?.cancel()
    request.record.close('failed', 'internal_error', 500)
    if (request.hop?.committed) return request.call.destroy()
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
  #release(request: Request): void {
    this.#admission.release(request.authenticated.secretHash, request)
  }
}

const emptyBody = Buffer.alloc(0)
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

const plainHeader = /^[\x21-\x7e][\x20-\x7e]*$/

/** Names are written by people: whatever is not plain ASCII goes percent-encoded (through bytes: a lone surrogate must not throw). */
function headerText(text: string): string {
  return plainHeader.test(text) ? text : encodeURIComponent(Buffer.from(text).toString())
}

/** A route as OpenAI's clients expect a model to look; when it was made is not theirs to know. */
function modelOf(route: RouteTable): Record<string, unknown> {
  return { id: route.name, object: 'model', created: 0, owned_by: 'switchyard' }
}

function lessDepth(depth: UsageDepth): UsageDepth | null {
  return depth === 'continuous' ? 'final' : depth === 'final' ? 'none' : null
}

function isCredentialRejected(hop: TargetCall): boolean {
  return hop.httpStatus === 401 || hop.httpStatus === 403
}

/** What the client is told when no hop served it. */
function refusalOf(outcome: HopOutcome, hop: TargetCall | null, choice: Choice): RequestRefusal {
  const tried =
    choice.targets.length === 1 ? 'The upstream' : `All ${choice.targets.length} upstreams failed; the last one`
  switch (outcome) {
    case 'not_ready':
      return refuse('upstream_not_ready', `${tried} is not ready: its credential has not reached this agent.`, {
        detail: { retryAfterSeconds: 5 },
      })
    case 'connect_error':
      return refuse('upstream_unavailable', `${tried} could not be reached.`)
    case 'timeout_connect':
    case 'timeout_first_token':
    case 'timeout_idle':
    case 'timeout_total':
      return refuse('upstream_timeout', `${tried} did not answer in time (${outcome.slice('timeout_'.length)}).`)
    case 'rate_limited':
      return refuse('upstream_rate_limited', `${tried} refused for its rate limit.`, {
        detail: { retryAfterSeconds: hop?.retryAfterSeconds ?? 1 },
      })
    case 'upstream_4xx':
      return refuse('upstream_credential_rejected', `${tried} rejected the credential configured for it.`)
    case 'malformed':
    case 'ok':
      return refuse('upstream_malformed', `${tried} answered with something that is not an answer of its kind.`)
    default:
      return refuse('upstream_failed', `${tried} failed.`)
  }
}

/** How a stream that had begun is ended. */
function streamRefusal(ending: Ending | null, hop: TargetCall): RequestRefusal {
  if (ending === 'client_closed') return clientClosed
  if (ending !== null) return endings[ending]
  if (hop.stalled) return clientStalled
  switch (hop.outcome) {
    case 'timeout_idle':
    case 'timeout_total':
      return refuse(
        'upstream_timeout',
        `The upstream stopped in the middle of its answer (${hop.outcome.slice('timeout_'.length)}).`,
      )
    case 'upstream_5xx':
      return refuse('upstream_failed', hop.reader?.error ?? 'The upstream failed in the middle of its answer.')
    default:
      return refuse('upstream_truncated', 'The upstream broke off in the middle of its answer.')
  }
}
