import { Field, Float, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { z } from 'zod'
import { formatUsd } from '../../../proto/std/money.js'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { BigIntString, DateTime } from '../api/scalars.js'
import type { LaneCoverage, StoredUsage, UsageGroup, UsageTotal } from './usage-question.js'

export const UsageStatusGraph = {
  OK: 'ok',
  REFUSED: 'refused',
  FAILED: 'failed',
  ABORTED: 'aborted',
  INTERRUPTED: 'interrupted',
} as const
registerEnumType(UsageStatusGraph, {
  name: 'UsageStatus',
  description:
    'REFUSED: we said no. FAILED: upstream did. ABORTED: the client left. INTERRUPTED: the agent died and found the request in its spool.',
})
type UsageStatus = (typeof UsageStatusGraph)[keyof typeof UsageStatusGraph]

@Access('usage.read')
@ObjectType('Hop', { description: 'One try of one target.' })
export class HopGraph {
  @Field(() => Int)
  index!: number

  @Field(() => ID)
  targetId!: string

  @Field(() => ID)
  providerId!: string

  @Field(() => ID)
  modelId!: string

  @Field(() => String)
  upstreamModel!: string

  @Field(() => String, {
    description:
      'ok, or why it did not: connect_error, timeout_first_token, rate_limited, upstream_5xx, busy (no place there), …',
  })
  outcome!: string

  @Field(() => Int, { nullable: true })
  httpStatus!: number | null

  @Field(() => Float, { description: 'From the head of the request.' })
  startedMs!: number

  @Field(() => Float)
  durationMs!: number

  @Field(() => Float, {
    nullable: true,
    description: 'What this hop served, where more than one did: the tokens and cost of the record are their sums.',
  })
  tokensIn!: number | null

  @Field(() => Float, { nullable: true, description: 'As tokensIn.' })
  tokensOut!: number | null

  @Field(() => BigIntString, { nullable: true, description: 'As tokensIn; null also where the price is unknown.' })
  costNanoUsd!: bigint | null

  @Field(() => String, { nullable: true, description: 'The same in dollars with nine places.' })
  costUsd!: string | null
}

@Access('usage.read')
@ObjectType('UsageRecord', { description: 'Exactly one per authenticated request, refused ones included.' })
export class UsageRecordGraph {
  @Field(() => ID, { description: 'agent/boot epoch/lane/sequence.' })
  id!: string

  @Field(() => String, { description: 'As in the x-request-id of the answer.' })
  requestId!: string

  @Field(() => String, { description: 'W3C trace id.' })
  traceId!: string

  @Field(() => String, { nullable: true })
  spanId!: string | null

  @Field(() => DateTime, { description: 'When the head of the request was read.' })
  timestamp!: Date

  @Field(() => ID)
  tenantId!: string

  @Field(() => ID)
  environmentId!: string

  @Field(() => ID)
  apiKeyId!: string

  @Field(() => ID, { nullable: true })
  teamId!: string | null

  @Field(() => String, { description: 'The end user that the request named, or anonymous.' })
  userId!: string

  @Field(() => String, {
    description: 'The door: chat_completions, completions, embeddings, responses, messages, count_tokens or models.',
  })
  operation!: string

  @Field(() => ID, { nullable: true })
  routeId!: string | null

  @Field(() => String, { nullable: true })
  routeName!: string | null

  @Field(() => ID, { nullable: true })
  providerId!: string | null

  @Field(() => ID, { nullable: true })
  modelId!: string | null

  @Field(() => String, { description: 'What the client put into model.' })
  requestedModel!: string

  @Field(() => String, { nullable: true, description: 'What the provider says answered, dated if it says so.' })
  actualModel!: string | null

  @Field(() => String, { description: 'The model that answered; the one asked for when none did.' })
  model!: string

  @Field(() => ID)
  agentId!: string

  @Field(() => ID)
  clusterId!: string

  @Field(() => String)
  region!: string

  @Field(() => Float, { nullable: true, description: 'Whole; null: unknown, see usageSource.' })
  tokensIn!: number | null

  @Field(() => Float, { nullable: true, description: 'Whole; null: unknown, see usageSource.' })
  tokensOut!: number | null

  @Field(() => Float, { nullable: true, description: 'The same as tokensIn.' })
  inputTokens!: number | null

  @Field(() => Float, { nullable: true, description: 'The same as tokensOut.' })
  outputTokens!: number | null

  @Field(() => Float, { nullable: true, description: 'Of tokensIn, served from the cache of the provider.' })
  tokensInCached!: number | null

  @Field(() => Float, {
    nullable: true,
    description: 'Of tokensIn, apart from tokensInCached, written into the cache of the provider.',
  })
  tokensInCacheWrite!: number | null

  @Field(() => Float, { nullable: true, description: 'Of tokensOut, spent on reasoning.' })
  tokensOutReasoning!: number | null

  @Field(() => String, { description: 'provider, counted (from the stream) or none.' })
  usageSource!: string

  @Field(() => BigIntString, { nullable: true, description: 'Null: tokens or price unknown.' })
  costNanoUsd!: bigint | null

  @Field(() => String, { nullable: true, description: 'Dollars with nine places, exact.' })
  costUsd!: string | null

  @Field(() => Int, { nullable: true, description: 'Version of the model price it was priced with.' })
  priceVersion!: number | null

  @Field(() => Float, { description: 'Head read to last byte written; the sum of the three shares.' })
  latencyMs!: number

  @Field(() => Float)
  providerLatencyMs!: number

  @Field(() => Float)
  guardrailLatencyMs!: number

  @Field(() => Float, { description: 'What the agent itself took.' })
  ownLatencyMs!: number

  @Field(() => Float, { nullable: true })
  firstTokenMs!: number | null

  @Field(() => UsageStatusGraph)
  status!: UsageStatus

  @Field(() => String, { nullable: true, description: 'Why it was refused or failed.' })
  code!: string | null

  @Field(() => Int, { nullable: true, description: 'What the client was answered; null: nothing was.' })
  httpStatus!: number | null

  @Field(() => Boolean)
  fallbackUsed!: boolean

  @Field(() => [HopGraph])
  hops!: HopGraph[]

  @Field(() => Boolean)
  stream!: boolean

  @Field(() => Float, { nullable: true })
  temperature!: number | null

  @Field(() => ID, { nullable: true })
  promptId!: string | null

  @Field(() => String, { nullable: true })
  promptVersion!: string | null

  @Field(() => String, { nullable: true })
  guardrailResult!: string | null

  @Field(() => Float, { nullable: true })
  groundingScore!: number | null

  @Field(() => String, { nullable: true, description: 'exact, semantic or miss; null: no kept answer was looked for.' })
  cacheHit!: string | null

  @Field(() => BigIntString, {
    nullable: true,
    description: 'What the tokens of the kept answer that was given would have cost.',
  })
  savedNanoUsd!: bigint | null

  @Field(() => String, { nullable: true, description: 'The same in dollars with nine places.' })
  savedUsd!: string | null

  @Field(() => Float, { nullable: true, description: 'Tokens that were not asked for again.' })
  savedTokensIn!: number | null

  @Field(() => Float, { nullable: true })
  savedTokensOut!: number | null

  @Field(() => String, {
    nullable: true,
    description:
      'What of the routing the client decided itself by header, as its key permits: target=<id>, fallback=none, or both with a blank between them.',
  })
  routingOverride!: string | null

  @Field(() => BigIntString, { description: 'Generation of the configuration that decided.' })
  snapshotGeneration!: bigint

  @Field(() => DateTime, { description: 'When it was stored here.' })
  storedAt!: Date
}

export const UsageRecordConnection = connectionType('UsageRecord', () => UsageRecordGraph, 'usage.read')

@InputType({ description: 'Every member narrows.' })
export class UsageFilterInput {
  @Field(() => DateTime, { nullable: true, description: 'At or after.' })
  from?: Date | null

  @Field(() => DateTime, { nullable: true, description: 'Before.' })
  to?: Date | null

  @Field(() => ID, { nullable: true })
  environmentId?: string | null

  @Field(() => ID, { nullable: true })
  apiKeyId?: string | null

  @Field(() => ID, { nullable: true })
  teamId?: string | null

  @Field(() => String, { nullable: true })
  userId?: string | null

  @Field(() => String, { nullable: true })
  routeName?: string | null

  @Field(() => ID, { nullable: true })
  providerId?: string | null

  @Field(() => ID, { nullable: true })
  modelId?: string | null

  @Field(() => String, { nullable: true, description: 'The model that answered, or the one asked for.' })
  model?: string | null

  @Field(() => ID, { nullable: true })
  clusterId?: string | null

  @Field(() => String, { nullable: true })
  region?: string | null

  @Field(() => UsageStatusGraph, { nullable: true })
  status?: UsageStatus | null

  @Field(() => String, { nullable: true })
  requestId?: string | null

  @Field(() => String, { nullable: true })
  traceId?: string | null

  @Field(() => Boolean, {
    nullable: true,
    description: 'True: only requests with a routingOverride; false: only those without one.',
  })
  routingOverridden?: boolean | null
}

export const UsageGranularityGraph = { MINUTE: 'minute', HOUR: 'hour' } as const
registerEnumType(UsageGranularityGraph, { name: 'UsageGranularity' })

export const UsageGroupGraph = {
  ENVIRONMENT: 'environmentId',
  API_KEY: 'apiKeyId',
  TEAM: 'teamId',
  ROUTE: 'routeName',
  PROVIDER: 'providerId',
  MODEL: 'actualModel',
  CLUSTER: 'clusterId',
  REGION: 'region',
} as const satisfies Record<string, UsageGroup>
registerEnumType(UsageGroupGraph, { name: 'UsageGroup' })

@InputType({ description: 'Every member narrows.' })
export class UsageTotalsFilterInput {
  @Field(() => DateTime, { description: 'Buckets that begin at or after it.' })
  from!: Date

  @Field(() => DateTime, { description: 'Buckets that begin before it; 2 days of minutes or 366 of hours at most.' })
  to!: Date

  @Field(() => ID, { nullable: true })
  environmentId?: string | null

  @Field(() => ID, { nullable: true })
  apiKeyId?: string | null

  @Field(() => ID, { nullable: true })
  teamId?: string | null

  @Field(() => String, { nullable: true })
  routeName?: string | null

  @Field(() => ID, { nullable: true })
  providerId?: string | null

  @Field(() => String, { nullable: true, description: 'The model that answered.' })
  model?: string | null

  @Field(() => ID, { nullable: true })
  clusterId?: string | null

  @Field(() => String, { nullable: true })
  region?: string | null
}

@Access('usage.read')
@ObjectType('UsageTotal', {
  description: 'A sum of usage records. What it was not grouped by is null, and so is "none".',
})
export class UsageTotalGraph {
  @Field(() => DateTime, { nullable: true, description: 'When the bucket begins; null for a sum over the whole time.' })
  bucketAt!: Date | null

  @Field(() => ID, { nullable: true })
  environmentId!: string | null

  @Field(() => ID, { nullable: true })
  apiKeyId!: string | null

  @Field(() => ID, { nullable: true })
  teamId!: string | null

  @Field(() => String, { nullable: true })
  routeName!: string | null

  @Field(() => ID, { nullable: true })
  providerId!: string | null

  @Field(() => String, { nullable: true, description: 'The model that answered.' })
  model!: string | null

  @Field(() => ID, { nullable: true })
  clusterId!: string | null

  @Field(() => String, { nullable: true })
  region!: string | null

  @Field(() => BigIntString)
  requestCount!: bigint

  @Field(() => BigIntString)
  refusedCount!: bigint

  @Field(() => BigIntString)
  failedCount!: bigint

  @Field(() => BigIntString)
  fallbackCount!: bigint

  @Field(() => BigIntString, { description: 'Requests whose cost is unknown: they are not in costUsd.' })
  unpricedCount!: bigint

  @Field(() => BigIntString)
  tokensIn!: bigint

  @Field(() => BigIntString)
  tokensOut!: bigint

  @Field(() => BigIntString, { description: 'The same as tokensIn.' })
  inputTokens!: bigint

  @Field(() => BigIntString, { description: 'The same as tokensOut.' })
  outputTokens!: bigint

  @Field(() => BigIntString)
  tokensInCached!: bigint

  @Field(() => BigIntString)
  tokensInCacheWrite!: bigint

  @Field(() => BigIntString)
  tokensOutReasoning!: bigint

  @Field(() => BigIntString)
  costNanoUsd!: bigint

  @Field(() => String, { description: 'Dollars with nine places, exact.' })
  costUsd!: string

  @Field(() => Float, { nullable: true, description: 'Mean over all requests; null when there were none.' })
  latencyMsMean!: number | null
}

@Access('fleet.read')
@ObjectType('UsageLane', {
  description: "One lane of an agent's spool: whether every request it numbered has arrived.",
})
export class UsageLaneGraph {
  @Field(() => ID)
  agentId!: string

  @Field(() => BigIntString)
  bootEpoch!: bigint

  @Field(() => Int)
  lane!: number

  @Field(() => String, { description: 'usage or spans.' })
  class!: string

  @Field(() => BigIntString, { description: 'Every sequence below is a row, a dead letter or a declared drop.' })
  nextSequence!: bigint

  @Field(() => BigIntString, { description: 'Arrived beyond nextSequence.' })
  aheadCount!: bigint

  @Field(() => BigIntString, {
    description: 'Not arrived although later ones have: on their way, or a gap if it stays.',
  })
  missingCount!: bigint

  @Field(() => BigIntString, { description: 'Given up by the agent on purpose, and declared.' })
  droppedCount!: bigint

  @Field(() => BigIntString, { description: 'Arrived, but could not be stored as a record.' })
  deadLetterCount!: bigint

  @Field(() => DateTime)
  updatedAt!: Date
}

export const UsageLaneConnection = connectionType('UsageLane', () => UsageLaneGraph, 'fleet.read')

const storedHops = z.array(
  z.object({
    ...{ index: z.number(), targetId: z.string(), providerId: z.string(), modelId: z.string() },
    ...{ upstreamModel: z.string(), outcome: z.string(), httpStatus: z.number() },
    ...{ startedUs: z.number(), durationUs: z.number() },
    // Rows of a release before have none of these.
    ...{ tokensIn: z.number().nullish(), tokensOut: z.number().nullish(), costNanoUsd: z.int().nullish() },
  }),
)

const statuses = new Map<string, UsageStatus>(Object.values(UsageStatusGraph).map((status) => [status, status]))

export function usageRecordGraph(row: StoredUsage): UsageRecordGraph {
  const tokensIn = numberOf(row.tokensIn)
  const tokensOut = numberOf(row.tokensOut)
  // Clocks of the shares tick in microseconds of their own: never let their rounding show as negative time.
  const ownUs = row.latencyUs - row.providerLatencyUs - row.guardrailLatencyUs
  return {
    id: `${row.agentId}/${row.bootEpoch}/${row.lane}/${row.sequence}`,
    ...{ requestId: row.requestId, traceId: row.traceId, spanId: row.spanId || null, timestamp: row.startedAt },
    ...{ tenantId: row.tenantId, environmentId: row.environmentId, apiKeyId: row.apiKeyId, teamId: row.teamId },
    ...{ userId: row.userId, operation: row.operation, routeId: row.routeId, routeName: row.routeName },
    ...{ providerId: row.providerId, modelId: row.modelId },
    ...{ requestedModel: row.requestedModel, actualModel: row.actualModel },
    model: row.actualModel ?? row.requestedModel,
    ...{ agentId: row.agentId, clusterId: row.clusterId, region: row.region },
    ...{ tokensIn, tokensOut, inputTokens: tokensIn, outputTokens: tokensOut },
    tokensInCached: numberOf(row.tokensInCached),
    tokensInCacheWrite: numberOf(row.tokensInCacheWrite),
    tokensOutReasoning: numberOf(row.tokensOutReasoning),
    usageSource: row.usageSource,
    costNanoUsd: row.costNanoUsd,
    costUsd: row.costNanoUsd === null ? null : formatUsd(row.costNanoUsd),
    priceVersion: row.priceVersion || null,
    latencyMs: msOf(row.latencyUs),
    providerLatencyMs: msOf(row.providerLatencyUs),
    guardrailLatencyMs: msOf(row.guardrailLatencyUs),
    ownLatencyMs: msOf(ownUs < 0n ? 0n : ownUs),
    firstTokenMs: row.firstTokenUs === null ? null : msOf(row.firstTokenUs),
    // A word that a newer agent made up is a kind of failure to us.
    status: statuses.get(row.status) ?? UsageStatusGraph.FAILED,
    ...{ code: row.code || null, httpStatus: row.httpStatus || null, fallbackUsed: row.fallbackUsed },
    hops: hopsOf(row.hops),
    ...{ stream: row.stream, temperature: row.temperature, promptId: row.promptId, promptVersion: row.promptVersion },
    ...{ guardrailResult: row.guardrailResult, groundingScore: row.groundingScore, cacheHit: row.cacheHit },
    ...{ savedNanoUsd: row.savedNanoUsd, savedUsd: row.savedNanoUsd === null ? null : formatUsd(row.savedNanoUsd) },
    ...{ savedTokensIn: numberOf(row.savedTokensIn), savedTokensOut: numberOf(row.savedTokensOut) },
    ...{ routingOverride: row.routingOverride, snapshotGeneration: row.snapshotGeneration, storedAt: row.storedAt },
  }
}

function hopsOf(stored: unknown): HopGraph[] {
  const parsed = storedHops.safeParse(stored)
  if (!parsed.success) return []
  return parsed.data.map(({ startedUs, durationUs, httpStatus, tokensIn, tokensOut, costNanoUsd, ...hop }) => ({
    ...hop,
    httpStatus: httpStatus || null,
    startedMs: startedUs / 1000,
    durationMs: durationUs / 1000,
    ...{ tokensIn: tokensIn ?? null, tokensOut: tokensOut ?? null },
    costNanoUsd: costNanoUsd == null ? null : BigInt(costNanoUsd),
    costUsd: costNanoUsd == null ? null : formatUsd(BigInt(costNanoUsd)),
  }))
}

export function usageTotalGraph(total: UsageTotal): UsageTotalGraph {
  const { groups, latencyUs, requestCount } = total
  return {
    bucketAt: total.bucketAt,
    ...{ environmentId: groups.environmentId ?? null, apiKeyId: groups.apiKeyId ?? null },
    ...{ teamId: groups.teamId ?? null, routeName: groups.routeName ?? null, providerId: groups.providerId ?? null },
    ...{ model: groups.actualModel ?? null, clusterId: groups.clusterId ?? null, region: groups.region ?? null },
    ...{ requestCount, refusedCount: total.refusedCount, failedCount: total.failedCount },
    ...{ fallbackCount: total.fallbackCount, unpricedCount: total.unpricedCount },
    ...{ tokensIn: total.tokensIn, tokensOut: total.tokensOut },
    ...{ inputTokens: total.tokensIn, outputTokens: total.tokensOut },
    ...{ tokensInCached: total.tokensInCached, tokensInCacheWrite: total.tokensInCacheWrite },
    tokensOutReasoning: total.tokensOutReasoning,
    ...{ costNanoUsd: total.costNanoUsd, costUsd: formatUsd(total.costNanoUsd) },
    latencyMsMean: requestCount === 0n ? null : msOf(latencyUs / requestCount),
  }
}

export function usageLaneGraph(lane: LaneCoverage): UsageLaneGraph {
  return lane
}

function numberOf(value: bigint | null): number | null {
  return value === null ? null : Number(value)
}

function msOf(us: bigint): number {
  return Number(us) / 1000
}
