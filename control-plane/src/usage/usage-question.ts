/**
 * What can be asked of usage, and what the answer is: records as they are stored, sums of rollups, coverage of lanes. Integers
 * as the agent counted them: microseconds, tokens, nano-dollars.
 */
export interface StoredUsage {
  readonly agentId: string
  readonly bootEpoch: bigint
  readonly lane: number
  readonly sequence: bigint
  readonly requestId: string
  readonly traceId: string
  readonly spanId: string
  readonly startedAt: Date
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
  readonly tokensIn: bigint | null
  readonly tokensOut: bigint | null
  readonly tokensInCached: bigint | null
  readonly tokensInCacheWrite: bigint | null
  readonly tokensOutReasoning: bigint | null
  readonly usageSource: string
  readonly costNanoUsd: bigint | null
  readonly priceVersion: number | null
  readonly latencyUs: bigint
  readonly providerLatencyUs: bigint
  readonly guardrailLatencyUs: bigint
  readonly firstTokenUs: bigint | null
  readonly status: string
  readonly code: string | null
  readonly httpStatus: number
  readonly fallbackUsed: boolean
  /** As stored; shaped at the door. */
  readonly hops: unknown
  readonly stream: boolean
  readonly temperature: number | null
  readonly promptId: string | null
  readonly promptVersion: string | null
  readonly guardrailResult: string | null
  readonly groundingScore: number | null
  readonly cacheHit: string | null
  readonly savedNanoUsd: bigint | null
  readonly savedTokensIn: bigint | null
  readonly savedTokensOut: bigint | null
  readonly routingOverride: string | null
  readonly snapshotGeneration: bigint
  readonly storedAt: Date
}

/** Which records; every member narrows. Instants: from inclusive, to exclusive. */
export interface UsageFilter {
  readonly from?: Date | null | undefined
  readonly to?: Date | null | undefined
  readonly environmentId?: string | null | undefined
  readonly apiKeyId?: string | null | undefined
  readonly teamId?: string | null | undefined
  readonly userId?: string | null | undefined
  readonly routeName?: string | null | undefined
  readonly providerId?: string | null | undefined
  readonly modelId?: string | null | undefined
  /** The model that answered, or the one asked for. */
  readonly model?: string | null | undefined
  readonly clusterId?: string | null | undefined
  readonly region?: string | null | undefined
  readonly status?: string | null | undefined
  readonly requestId?: string | null | undefined
  readonly traceId?: string | null | undefined
  /** True: with a routing override; false: without one. */
  readonly routingOverridden?: boolean | null | undefined
}

/** What rollups can be asked by, as the columns of `UsageRollup` are called. */
export const usageGroups = [
  'environmentId',
  'apiKeyId',
  'teamId',
  'routeName',
  'providerId',
  'actualModel',
  'clusterId',
  'region',
] as const
export type UsageGroup = (typeof usageGroups)[number]

export type TotalsFilter = { readonly [Group in UsageGroup]?: string | null | undefined }

export interface TotalsQuestion {
  readonly tenantId: string
  readonly granularity: 'minute' | 'hour'
  readonly from: Date
  readonly to: Date
  readonly filter: TotalsFilter
  readonly groupBy: readonly UsageGroup[]
  /** False: one sum over the whole time. */
  readonly byBucket: boolean
}

/** One sum. A group that was not asked for is undefined; '' in a rollup (none) becomes null. */
export interface UsageTotal {
  readonly bucketAt: Date | null
  readonly groups: { readonly [Group in UsageGroup]?: string | null }
  readonly requestCount: bigint
  readonly refusedCount: bigint
  readonly failedCount: bigint
  readonly fallbackCount: bigint
  readonly unpricedCount: bigint
  readonly tokensIn: bigint
  readonly tokensOut: bigint
  readonly tokensInCached: bigint
  readonly tokensInCacheWrite: bigint
  readonly tokensOutReasoning: bigint
  readonly costNanoUsd: bigint
  readonly latencyUs: bigint
}

export const totalsMax = 1_000

/** One lane of an agent's spool as Postgres knows it. */
export interface LaneCoverage {
  readonly agentId: string
  readonly bootEpoch: bigint
  readonly lane: number
  readonly class: string
  /** Every sequence below is a row, a dead letter or a declared drop. */
  readonly nextSequence: bigint
  /** Sequences above `nextSequence` that have arrived. */
  readonly aheadCount: bigint
  /** Sequences between `nextSequence` and the highest seen that have not arrived (yet). */
  readonly missingCount: bigint
  /** Declared as gone by the agent and really gone. */
  readonly droppedCount: bigint
  readonly deadLetterCount: bigint
  readonly updatedAt: Date
}
