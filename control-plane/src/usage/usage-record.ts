import { usageRecordCodec } from '../../../proto/gen/codec.js'
import type { UsageRecord__Output } from '../../../proto/gen/switchyard/v1/UsageRecord.js'

/**
 * A usage record as it goes into Postgres: every text bounded and storable, every number a whole one that fits. What an
 * end user chose (ids, names) is cut and cleaned, never a reason to lose a record; what only a broken agent can say
 * (negative tokens, a status that does not exist) is malformed.
 */
export interface UsageRow {
  readonly requestId: string
  readonly traceId: string
  readonly spanId: string
  readonly startedAt: string
  readonly tenantId: string
  readonly environmentId: string
  readonly apiKeyId: string
  readonly teamId: string | null
  readonly userId: string
  readonly operation: string
  readonly routeId: string | null
  readonly routeName: string | null
  readonly providerId: string | null
  readonly modelId: string | null
  readonly requestedModel: string
  readonly actualModel: string | null
  readonly clusterId: string
  readonly region: string
  readonly tokensIn: number | null
  readonly tokensOut: number | null
  readonly tokensInCached: number | null
  readonly tokensInCacheWrite: number | null
  readonly tokensOutReasoning: number | null
  readonly usageSource: string
  readonly costNanoUsd: number | null
  readonly priceVersion: number | null
  readonly latencyUs: number
  readonly providerLatencyUs: number
  readonly guardrailLatencyUs: number
  readonly firstTokenUs: number | null
  readonly status: string
  readonly code: string | null
  readonly httpStatus: number
  readonly fallbackUsed: boolean
  readonly hops: readonly unknown[]
  readonly stream: boolean
  readonly temperature: number | null
  readonly promptId: string | null
  readonly promptVersion: string | null
  readonly guardrailResult: string | null
  readonly groundingScore: number | null
  readonly cacheHit: string | null
  readonly savedNanoUsd: number | null
  readonly savedTokensIn: number | null
  readonly savedTokensOut: number | null
  readonly routingOverride: string | null
  readonly snapshotGeneration: number
}

const statuses: ReadonlySet<string> = new Set(['ok', 'refused', 'failed', 'aborted', 'interrupted'])
const sources: ReadonlySet<string> = new Set(['provider', 'counted', 'none'])
/** Texts go into indexes, whose entries PostgreSQL limits to a third of a page. */
const textMax = 512
const indexedTextMax = 128
const hopsMax = 64
const int4Max = 2 ** 31 - 1
/** No request has as many: sums of millions of records still fit into a BIGINT. Costs end with the safe integers. */
const tokensMax = 2 ** 40
/** A record older than that is from a clock that was never set; nothing here is as old as the product. */
const earliestMs = Date.UTC(2020, 0, 1)
const latestMs = Date.UTC(2200, 0, 1)

/** The row of a payload, or in words why it is malformed. */
export function readUsageRecord(payload: Uint8Array): UsageRow | string {
  let record: UsageRecord__Output
  try {
    record = usageRecordCodec.decode(payload)
  } catch (fault) {
    return `not a usage record: ${(fault as Error).message}`
  }
  return faultOf(record) ?? rowOf(record)
}

function faultOf(record: UsageRecord__Output): string | null {
  for (const name of ['requestId', 'tenantId', 'environmentId', 'apiKeyId', 'operation'] as const) {
    if (record[name] === '') return `${name} is missing`
  }
  if (!statuses.has(record.status)) return 'status is unknown'
  if (!sources.has(record.usageSource)) return 'usageSource is unknown'
  const started = record.startedAtUnixMs
  if (!(started >= earliestMs && started <= latestMs)) return 'startedAtUnixMs is not an instant'
  for (const name of counts) {
    const value = record[name]
    if (value !== undefined && !isCount(value)) return `${name} is not a count`
  }
  for (const name of tokens) if ((record[name] ?? 0) > tokensMax) return `${name} is beyond ${tokensMax}`
  for (const [index, hop] of record.hops.entries()) {
    for (const name of hopCounts) {
      const value = hop[name]
      if (value !== undefined && !isCount(value)) return `hops[${index}].${name} is not a count`
    }
    for (const name of hopTokens)
      if ((hop[name] ?? 0) > tokensMax) return `hops[${index}].${name} is beyond ${tokensMax}`
  }
  if (record.httpStatus > 999) return 'httpStatus is not a status'
  if (record.priceVersion > int4Max) return 'priceVersion is not a version'
  return null
}

const tokens = [
  ...(['tokensIn', 'tokensOut', 'tokensInCached', 'tokensInCacheWrite', 'tokensOutReasoning'] as const),
  ...(['savedTokensIn', 'savedTokensOut'] as const),
]
const counts = [
  ...tokens,
  'costNanoUsd',
  'savedNanoUsd',
  'latencyUs',
  'providerLatencyUs',
  'guardrailLatencyUs',
  'firstTokenUs',
  'snapshotGeneration',
] as const
const hopTokens = ['tokensIn', 'tokensOut'] as const
const hopCounts = [...hopTokens, 'costNanoUsd'] as const

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

/**
 * What of the input went through the vendor's prompt cache: read from it, else written into it, never more than there was.
 * Upstreams tell these numbers, so one that does not add up is cut, as it is when it is priced, and loses no record.
 */
function cacheShares(record: UsageRecord__Output): Pick<UsageRow, 'tokensInCached' | 'tokensInCacheWrite'> {
  const whole = record.tokensIn ?? Number.POSITIVE_INFINITY
  const cached = Math.min(record.tokensInCached ?? 0, whole)
  const written = Math.min(record.tokensInCacheWrite ?? 0, whole - cached)
  return {
    tokensInCached: record.tokensInCached === undefined ? null : cached,
    tokensInCacheWrite: record.tokensInCacheWrite === undefined ? null : written,
  }
}

function rowOf(record: UsageRecord__Output): UsageRow {
  return {
    requestId: text(record.requestId, indexedTextMax),
    traceId: text(record.traceId, indexedTextMax),
    spanId: text(record.spanId, indexedTextMax),
    startedAt: new Date(record.startedAtUnixMs).toISOString(),
    tenantId: text(record.tenantId, indexedTextMax),
    environmentId: text(record.environmentId, indexedTextMax),
    apiKeyId: text(record.apiKeyId, indexedTextMax),
    teamId: named(record.teamId),
    userId: text(record.userId) || 'anonymous',
    operation: text(record.operation),
    routeId: named(record.routeId),
    routeName: named(record.routeName),
    providerId: named(record.providerId),
    modelId: named(record.modelId),
    requestedModel: text(record.requestedModel),
    actualModel: named(record.actualModel),
    clusterId: text(record.clusterId, indexedTextMax),
    region: text(record.region, indexedTextMax),
    tokensIn: record.tokensIn ?? null,
    tokensOut: record.tokensOut ?? null,
    ...cacheShares(record),
    tokensOutReasoning: record.tokensOutReasoning ?? null,
    usageSource: record.usageSource,
    costNanoUsd: record.costNanoUsd ?? null,
    priceVersion: record.priceVersion === 0 ? null : record.priceVersion,
    latencyUs: record.latencyUs,
    providerLatencyUs: record.providerLatencyUs,
    guardrailLatencyUs: record.guardrailLatencyUs,
    firstTokenUs: record.firstTokenUs ?? null,
    status: record.status,
    code: named(record.code),
    httpStatus: record.httpStatus,
    fallbackUsed: record.fallbackUsed,
    hops: record.hops.slice(0, hopsMax).map((hop) => ({
      index: hop.index,
      targetId: text(hop.targetId),
      providerId: text(hop.providerId),
      modelId: text(hop.modelId),
      upstreamModel: text(hop.upstreamModel),
      outcome: text(hop.outcome),
      httpStatus: hop.httpStatus,
      startedUs: hop.startedUs,
      durationUs: hop.durationUs,
      // Most hops say nothing of these; JSON leaves out what is undefined.
      tokensIn: hop.tokensIn,
      tokensOut: hop.tokensOut,
      costNanoUsd: hop.costNanoUsd,
    })),
    stream: record.stream,
    temperature: real(record.temperature),
    promptId: optional(record.promptId),
    promptVersion: optional(record.promptVersion),
    guardrailResult: optional(record.guardrailResult),
    groundingScore: real(record.groundingScore),
    cacheHit: optional(record.cacheHit),
    savedNanoUsd: record.savedNanoUsd ?? null,
    savedTokensIn: record.savedTokensIn ?? null,
    savedTokensOut: record.savedTokensOut ?? null,
    routingOverride: text(record.routingOverride) || null,
    snapshotGeneration: record.snapshotGeneration,
  }
}

/** What PostgreSQL cannot store as text: NUL, and halves of surrogate pairs. */
const unstorable = /\0|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** Cut to `max` UTF-16 units and made storable. */
export function text(value: string, max = textMax): string {
  const cut = value.length > max ? value.slice(0, max) : value
  return cut.search(unstorable) === -1 ? cut : cut.replace(unstorable, '\ufffd')
}

/** The wire's '' is nobody. */
function named(value: string): string | null {
  return value === '' ? null : text(value, indexedTextMax)
}

function optional(value: string | undefined): string | null {
  return value === undefined ? null : text(value)
}

function real(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null
}
