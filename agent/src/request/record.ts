import type { Attribute } from '../../../proto/gen/switchyard/v1/Attribute.js'
import type { Hop } from '../../../proto/gen/switchyard/v1/Hop.js'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import type { Choice } from '../../../proto/policy/choose-target.js'
import type { Classified } from '../../../proto/policy/classifier.js'
import { explainChoice } from '../../../proto/policy/explain.js'
import { priceUsage, type TokenUsage } from '../../../proto/policy/price-usage.js'
import type { DecisionTables, ProviderTable, RouteTable, TargetTable } from '../../../proto/policy/tables.js'
import { assert } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newSpanId } from '../../../proto/std/ids.js'
import type { CacheHit } from '../cache/cache-turn.js'
import type { EmbeddingHop } from '../cache/embedder.js'
import type { RequestBody } from '../providers/provider-dialect.js'
import { attributeNames } from '../telemetry/attribute-names.js'
import type { AgentMetrics } from '../telemetry/metrics.js'
import type { RequestTelemetry } from '../telemetry/request-telemetry.js'
import type { TraceContext } from '../telemetry/trace-context.js'
import type { Authenticated } from './authenticate.js'
import type { ClientCall, UsageMeter } from './ports.js'

export type RecordStatus = 'ok' | 'refused' | 'failed' | 'aborted'

export type HopOutcome =
  | 'ok'
  | 'connect_error'
  | 'timeout_connect'
  | 'timeout_first_token'
  | 'timeout_idle'
  | 'timeout_total'
  | 'rate_limited'
  | 'upstream_5xx'
  | 'upstream_4xx'
  | 'malformed'
  | 'aborted'
  | 'not_ready'
  /** The client asked for something that its vendor has no word for. */
  | 'not_expressible'
  /** It is left alone for now. */
  | 'circuit_open'
  /** As many run there as may, and no place came free in time. */
  | 'busy'
  /** Another target's first token came first. */
  | 'hedge_lost'

/** What a client got when every target failed. */
export type LastResortKind = 'cached' | 'safe-answer'

export interface RecordTools {
  readonly meter: UsageMeter
  readonly clock: Clock
  readonly metrics: AgentMetrics
  readonly telemetry: RequestTelemetry
}

export interface RecordSubject {
  readonly call: ClientCall
  readonly authenticated: Authenticated
  readonly tables: DecisionTables
  readonly requestId: string
  readonly trace: TraceContext
  readonly spanId: string
  readonly sampled: boolean
}

const textLengthMax = 256
/** Absent, but a member: all records are of one shape for V8, which is what makes reading their forty members cheap. */
const notKnown = undefined as unknown as number

/**
 * The one record of an authenticated request, filled as the request goes and written exactly once: `close` may be called
 * again and does nothing. Integers only; what is not known stays absent and is never zero.
 */
export class RequestRecord {
  readonly fields: UsageRecord
  readonly #tools: RecordTools
  readonly #subject: RecordSubject
  readonly #hops: Hop[] = []
  /** Spans of the hops, only when sampled. */
  readonly #hopSpans: HopSpan[] | null
  #choice: Choice | null = null
  #opened = false
  #open: unknown = null
  #closed = false
  #costIsKnown = true
  #asideCount = 0
  #classified: ClassifiedSpan | null = null
  #lastResort: { readonly kind: LastResortKind; readonly startedUs: number } | null = null

  constructor(tools: RecordTools, subject: RecordSubject) {
    this.#tools = tools
    this.#subject = subject
    this.#hopSpans = subject.sampled ? [] : null
    const { call, authenticated, tables } = subject
    const { key } = authenticated
    this.fields = {
      requestId: subject.requestId,
      traceId: subject.trace.traceId,
      startedAtUnixMs: call.startedAtMs,
      tenantId: key.environment.tenantId,
      environmentId: key.environment.environmentId,
      apiKeyId: key.id,
      teamId: key.teamId ?? '',
      userId: userOf(call.header('x-switchyard-user')),
      operation: call.door.operation,
      routeId: '',
      routeName: '',
      providerId: '',
      requestedModel: '',
      actualModel: '',
      modelId: '',
      clusterId: tables.cluster?.id ?? '',
      region: tables.cluster?.region ?? '',
      usageSource: 'none',
      priceVersion: 0,
      latencyUs: 0,
      providerLatencyUs: 0,
      guardrailLatencyUs: 0,
      status: '',
      code: '',
      httpStatus: 0,
      fallbackUsed: false,
      hops: this.#hops,
      stream: false,
      snapshotGeneration: tables.generation,
      spanId: subject.spanId,
      routingOverride: '',
      tokensIn: notKnown,
      tokensOut: notKnown,
      tokensInCached: notKnown,
      tokensInCacheWrite: notKnown,
      tokensOutReasoning: notKnown,
      costNanoUsd: notKnown,
      firstTokenUs: notKnown,
      temperature: notKnown,
      cacheHit: notKnown as unknown as string,
      savedNanoUsd: notKnown,
      savedTokensIn: notKnown,
      savedTokensOut: notKnown,
    }
  }

  get closed(): boolean {
    return this.#closed
  }

  /** What the body says. */
  describe(body: RequestBody): void {
    assert(!this.#opened, 'what an open frame says is settled before it')
    const { fields } = this
    fields.requestedModel = boundText(body.model)
    fields.stream = body.stream
    if (body.user !== null && body.user !== '') fields.userId = boundText(body.user)
    if (body.temperature !== null) fields.temperature = body.temperature
  }

  /** A classifier was asked about the prompt, before anybody was chosen: upstream, and no hop. */
  setClassified(classified: ClassifiedSpan): void {
    this.#classified = classified
  }

  /** Of requests whose targets are yet to be chosen. */
  setRoute({ id, name }: RouteTable): void {
    assert(!this.#opened, 'what an open frame says is settled before it')
    this.fields.routeId = id
    this.fields.routeName = name
  }

  choose(choice: Choice): void {
    this.#choice = choice
    if (!this.#opened) this.setRoute(choice.route)
    assert(this.fields.routeId === choice.route.id, 'targets are of the route that was asked about')
  }

  /** What of the routing the client decided itself. */
  override(words: string): void {
    assert(!this.#opened, 'what an open frame says is settled before it')
    this.fields.routingOverride = boundText(words)
  }

  /** It is on disk that something may go upstream. */
  get opened(): boolean {
    return this.#opened
  }

  /** To be called before the first byte goes upstream. */
  open(): void {
    if (this.#opened) return
    this.#opened = true
    this.#open = this.#tools.meter.open(this.fields)
  }

  /** A try of `target` begins: hops are in the order of their beginnings, also where they overlap. */
  startHop(target: TargetTable, startedUs: number): Hop {
    const hop: Hop = {
      index: this.#hops.length,
      targetId: target.id,
      providerId: target.provider.id,
      modelId: target.model.id,
      upstreamModel: target.upstreamModel,
      outcome: 'aborted',
      httpStatus: 0,
      startedUs: startedUs - this.#subject.call.startedUs,
      durationUs: 0,
      tokensIn: notKnown,
      tokensOut: notKnown,
      costNanoUsd: notKnown,
    }
    this.#hops.push(hop)
    this.#hopSpans?.push({ spanId: newSpanId(), target })
    return hop
  }

  /** The span that the upstream call of `hop` names as parent; null: the request's own, as nobody records the hop's. */
  hopSpanId({ index }: Hop): string | null {
    return this.#hopSpans?.[index ?? 0]?.spanId ?? null
  }

  /** The hop is over. The last one to be so that is not lost to another is the one that counts. */
  endHop(hop: Hop, target: TargetTable, outcome: HopOutcome, httpStatus: number, endedUs: number): void {
    hop.outcome = outcome
    hop.httpStatus = httpStatus
    hop.durationUs = endedUs - this.#subject.call.startedUs - (hop.startedUs as number)
    this.#tools.metrics.hops.of(target.provider.kind, outcome).add(1)
    if (outcome === 'hedge_lost') return
    const { fields } = this
    fields.providerId = target.provider.id
    fields.modelId = target.model.id
    fields.actualModel = target.upstreamModel
    fields.fallbackUsed = hop.index !== this.#asideCount
  }

  /** A hop that was never sent. */
  addHop(target: TargetTable, outcome: HopOutcome, startedUs: number, endedUs: number): Hop {
    const hop = this.startHop(target, startedUs)
    this.endHop(hop, target, outcome, 0, endedUs)
    return hop
  }

  /**
   * Tokens served by a hop, and what they cost. Several hops' are summed, and then each is to be named, so that its share is
   * kept with it: `hop` is null where one hop served it all. A sum with an unknown cost in it is unknown.
   */
  addUsage(usage: TokenUsage, source: 'provider' | 'counted', target: TargetTable, hop: Hop | null): void {
    const { fields } = this
    fields.tokensIn = plus(fields.tokensIn, usage.input)
    fields.tokensOut = plus(fields.tokensOut, usage.output)
    if (usage.cachedInput !== null) fields.tokensInCached = plus(fields.tokensInCached, usage.cachedInput)
    if (usage.cacheWriteInput !== null) {
      fields.tokensInCacheWrite = plus(fields.tokensInCacheWrite, usage.cacheWriteInput)
    }
    if (usage.reasoningOutput !== null) {
      fields.tokensOutReasoning = plus(fields.tokensOutReasoning, usage.reasoningOutput)
    }
    if (fields.usageSource !== 'counted') fields.usageSource = source
    const { price } = target.model
    const cost = priceUsage(price, usage)
    const isKnown = cost !== null && price !== null && cost <= BigInt(Number.MAX_SAFE_INTEGER)
    if (hop !== null) {
      hop.tokensIn = usage.input
      hop.tokensOut = usage.output
      if (isKnown) hop.costNanoUsd = Number(cost)
    }
    this.#costIsKnown &&= isKnown
    fields.costNanoUsd = this.#costIsKnown ? plus(fields.costNanoUsd, Number(cost)) : notKnown
    fields.priceVersion = this.#costIsKnown ? (price?.version ?? 0) : 0
  }

  /** One of several hops told no usage: the shares of the others stay with them, a sum there is not. */
  forgetSums(): void {
    const { fields } = this
    fields.tokensIn = notKnown
    fields.tokensOut = notKnown
    fields.tokensInCached = notKnown
    fields.tokensInCacheWrite = notKnown
    fields.tokensOutReasoning = notKnown
    fields.costNanoUsd = notKnown
    fields.priceVersion = 0
    fields.usageSource = 'none'
    this.#costIsKnown = false
  }

  /** Who was asked is on the record as a hop, but has served nothing. */
  forgetTarget(): void {
    const { fields } = this
    fields.providerId = ''
    fields.modelId = ''
    fields.actualModel = ''
    fields.fallbackUsed = false
  }

  /** Every target failed; what the client gets all the same began to be made at `atUs`. No target has served it. */
  setLastResort(kind: LastResortKind, atUs: number): void {
    const { fields } = this
    this.forgetTarget()
    fields.fallbackUsed = true
    this.#lastResort = { kind, startedUs: atUs - this.#subject.call.startedUs }
    this.#tools.metrics.lastResorts.of(kind).add(1)
  }

  /** Calls that were not made for the answer itself; then every hop's share of the tokens is to be named. */
  get hasAsides(): boolean {
    return this.#asideCount > 0
  }

  /** A vector was asked for, to look for a question that means the same. */
  addAside({ target, outcome, httpStatus, startedUs, endedUs, usage }: EmbeddingHop): void {
    const hop = this.startHop(target, startedUs)
    hop.outcome = outcome
    hop.httpStatus = httpStatus
    hop.durationUs = endedUs - startedUs
    this.#tools.metrics.hops.of(target.provider.kind, outcome).add(1)
    this.#asideCount += 1
    if (usage !== null) this.addUsage(usage, 'provider', target, hop)
  }

  /** A kept answer was looked for. Null: there was none. What is given from the cache served no tokens, and cost nothing. */
  setCache(hit: CacheHit | null): void {
    const { fields } = this
    fields.cacheHit = hit?.kind ?? 'miss'
    if (hit === null) return
    const { usage, modelId, model } = hit.kept
    fields.modelId = modelId
    this.setActualModel(model)
    if (hit.savedNanoUsd !== null) fields.savedNanoUsd = hit.savedNanoUsd
    if (usage !== null) {
      fields.savedTokensIn = usage.input
      fields.savedTokensOut = usage.output
    }
    if (this.#asideCount > 0) return
    fields.tokensIn = 0
    fields.tokensOut = 0
    fields.costNanoUsd = 0
  }

  setActualModel(model: string | null): void {
    if (model !== null && model !== '') this.fields.actualModel = boundText(model)
  }

  setFirstToken(atUs: number): void {
    const firstTokenUs = atUs - this.#subject.call.startedUs
    this.fields.firstTokenUs = firstTokenUs
    // At once, unlike the rest: a stream may run for minutes, and slow first tokens are wanted while they happen.
    this.#tools.metrics.firstTokenSeconds.of().observeUs(firstTokenUs)
  }

  /** To be called before the last byte goes to the client. The first call counts. */
  close(status: RecordStatus, code: string, httpStatus: number): void {
    if (this.#closed) return
    this.#closed = true
    const { meter, clock, telemetry } = this.#tools
    const { fields } = this
    const latencyUs = clock.monotonicUs() - this.#subject.call.startedUs
    fields.latencyUs = latencyUs
    const askedUs = this.#classified === null ? 0 : this.#classified.endedUs - this.#classified.startedUs
    fields.providerLatencyUs = Math.min(coveredUs(this.#hops) + askedUs, latencyUs)
    fields.status = status
    fields.code = code
    fields.httpStatus = httpStatus
    if (this.#opened) meter.close(this.#open, fields)
    else meter.record(fields)
    if (this.#hopSpans !== null) this.#writeSpans(this.#hopSpans)
    telemetry.add(fields)
  }

  #writeSpans(hopSpans: readonly HopSpan[]): void {
    const { fields } = this
    const { trace, spanId, call } = this.#subject
    const { meter } = this.#tools
    const startUnixUs = call.startedAtMs * 1000
    const shared = {
      traceId: trace.traceId,
      tenantId: fields.tenantId ?? '',
      environmentId: fields.environmentId ?? '',
    }
    meter.span({
      ...shared,
      spanId,
      parentSpanId: trace.parentSpanId ?? '',
      name: `${fields.operation ?? ''} ${fields.routeName ?? ''}`.trim(),
      kind: 2,
      startUnixUs,
      endUnixUs: startUnixUs + Number(fields.latencyUs),
      status: fields.status === 'ok' ? 'ok' : 'error',
      attributes: [
        text(attributeNames.requestId, fields.requestId),
        text(attributeNames.operation, fields.operation === 'embeddings' ? 'embeddings' : 'chat'),
        text(attributeNames.requestModel, fields.requestedModel),
        text(attributeNames.responseModel, fields.actualModel),
        text(attributeNames.route, fields.routeName),
        text(attributeNames.rule, this.#choice?.ruleId),
        text(attributeNames.errorType, fields.code),
        text(attributeNames.routingOverride, fields.routingOverride),
        integer(attributeNames.httpStatus, fields.httpStatus),
        integer(attributeNames.inputTokens, fields.tokensIn),
        integer(attributeNames.outputTokens, fields.tokensOut),
        text(attributeNames.explanation, this.#choice === null ? '' : explainChoice(this.#choice).join('; ')),
      ].filter((attribute) => attribute !== null),
    })
    for (const [index, hop] of this.#hops.entries()) {
      const hopStartUnixUs = startUnixUs + Number(hop.startedUs)
      const span = hopSpans[index]
      meter.span({
        ...shared,
        spanId: span?.spanId ?? newSpanId(),
        parentSpanId: spanId,
        name: `hop ${hop.upstreamModel ?? ''}`,
        kind: 3,
        startUnixUs: hopStartUnixUs,
        endUnixUs: hopStartUnixUs + Number(hop.durationUs),
        status: hop.outcome === 'ok' ? 'ok' : hop.outcome === 'hedge_lost' ? 'unset' : 'error',
        attributes: [...hopAttributes(hop), ...(span === undefined ? [] : targetAttributes(span.target))],
      })
    }
    if (this.#classified !== null) {
      const { provider, classified, startedUs, endedUs } = this.#classified
      const classifiedUnixUs = startUnixUs + startedUs - call.startedUs
      meter.span({
        ...shared,
        spanId: newSpanId(),
        parentSpanId: spanId,
        name: 'classify',
        kind: 3,
        startUnixUs: classifiedUnixUs,
        endUnixUs: classifiedUnixUs + endedUs - startedUs,
        status: classified.outcome === 'ok' || classified.outcome === 'abstained' ? 'ok' : 'error',
        attributes: [
          text(attributeNames.provider, provider.name),
          text(attributeNames.outcome, classified.outcome),
          text(attributeNames.classifierLabel, classified.label),
        ].filter((attribute) => attribute !== null),
      })
    }
    if (this.#lastResort === null) return
    const { kind, startedUs } = this.#lastResort
    meter.span({
      ...shared,
      spanId: newSpanId(),
      parentSpanId: spanId,
      name: 'last resort',
      kind: 1,
      startUnixUs: startUnixUs + startedUs,
      endUnixUs: startUnixUs + Number(fields.latencyUs),
      status: 'ok',
      attributes: [{ key: attributeNames.lastResort, text: kind }],
    })
  }
}

/** What came of asking a classifier. */
export interface ClassifiedSpan {
  readonly provider: ProviderTable
  readonly classified: Classified
  readonly startedUs: number
  readonly endedUs: number
}

interface HopSpan {
  readonly spanId: string
  readonly target: TargetTable
}

function hopAttributes(hop: Hop): Attribute[] {
  return [
    integer(attributeNames.hop, (hop.index ?? 0) + 1),
    text(attributeNames.target, hop.targetId),
    text(attributeNames.requestModel, hop.upstreamModel),
    text(attributeNames.outcome, hop.outcome),
    integer(attributeNames.httpStatus, hop.httpStatus),
    integer(attributeNames.inputTokens, hop.tokensIn),
    integer(attributeNames.outputTokens, hop.tokensOut),
  ].filter((attribute) => attribute !== null)
}

/** What routing has chosen with a target: its parameters, and where it runs. */
function targetAttributes({ provider, parameters, nodePool, owner }: TargetTable): Attribute[] {
  const { temperature, outputTokensMax } = parameters
  return [
    text(attributeNames.provider, provider.name),
    temperature === null ? null : { key: attributeNames.temperature, real: temperature },
    integer(attributeNames.outputTokensMax, outputTokensMax),
    text(attributeNames.nodePool, nodePool),
    text(attributeNames.owner, owner),
  ].filter((attribute) => attribute !== null)
}

/** Microseconds during which at least one of `hops`, in the order of their beginnings, ran. */
function coveredUs(hops: readonly Hop[]): number {
  let sumUs = 0
  let untilUs = 0
  for (const hop of hops) {
    const startedUs = Math.max(hop.startedUs as number, untilUs)
    const endedUs = (hop.startedUs as number) + (hop.durationUs as number)
    if (endedUs <= startedUs) continue
    sumUs += endedUs - startedUs
    untilUs = endedUs
  }
  return sumUs
}

function plus(sum: UsageRecord['tokensIn'], count: number): number {
  return typeof sum === 'number' ? sum + count : count
}

/** `text` bounded, and without what Postgres or a terminal would choke on: control characters and lone surrogates. */
export function boundText(text: string): string {
  const bounded = text.length > textLengthMax ? text.slice(0, textLengthMax) : text
  if (isPlain(bounded)) return bounded
  return unwritable.test(bounded) ? bounded.replace(unwritableAll, '\ufffd') : bounded
}

/** Printable ASCII only: nearly every name, and found sooner than by an expression that knows Unicode. */
function isPlain(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit < 0x20 || unit > 0x7e) return false
  }
  return true
}

const unwritable = /[\p{Cc}\p{Cs}]/u
const unwritableAll = /[\p{Cc}\p{Cs}]/gu

function userOf(header: string | undefined): string {
  return header === undefined || header === '' ? 'anonymous' : boundText(header)
}

function text(key: string, value: string | undefined): Attribute | null {
  return value === undefined || value === '' ? null : { key, text: value }
}

function integer(key: string, value: unknown): Attribute | null {
  return typeof value === 'number' && value !== 0 ? { key, integer: value } : null
}
