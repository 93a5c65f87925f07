import { Field, Float, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { cacheDefaults } from '../../../proto/policy/cache-policy.js'
import { formatUsd } from '../../../proto/std/money.js'
import { Access } from '../api/access-rule.js'
import { BigIntString, DateTime } from '../api/scalars.js'
import { EnvironmentRevisionGraph, environmentRevisions } from '../tenancy/intent-revision-graph.js'
import type { CachePurgeChange } from './cache-purge.js'
import { type CacheStatistics, type CacheSums, hitRatioOf, type RouteCacheSums } from './cache-statistics.js'
import type { CacheSharing, RouteCache, RouteCacheChange } from './route-cache.js'

export const CacheSharingGraph = {
  ENVIRONMENT: 'environment',
  TEAM: 'team',
  API_KEY: 'api_key',
  USER: 'user',
} as const satisfies Record<string, CacheSharing>
registerEnumType(CacheSharingGraph, {
  name: 'CacheSharing',
  description: `Who shares an answer: everybody in the environment, the keys of a team (a key without one shares with no other),
one API key, or the end user that the client names (one that names none gets and keeps nothing), among the requests of its
team or, without one, of its API key.`,
})

@Access('cache.read')
@ObjectType('CacheTtl')
export class CacheTtlGraph {
  @Field(() => String)
  promptClass!: string

  @Field(() => Int)
  seconds!: number
}

@Access('cache.read')
@ObjectType('SemanticCache', { description: 'Answers to questions that mean the same.' })
export class SemanticCacheGraph {
  @Field(() => Float, { description: 'Least cosine similarity, 0 to 1.' })
  threshold!: number

  @Field(() => String, { description: 'Route of the same environment that makes embeddings.' })
  embeddingRoute!: string
}

@Access('cache.read')
@ObjectType('RouteCache', { description: "What is kept of a route's answers and given again." })
export class RouteCacheGraph {
  @Field(() => ID)
  routeId!: string

  @Field(() => Boolean, {
    description: 'Also where the temperature is not 0; otherwise only with the header x-switchyard-cache: on.',
  })
  anyTemperature!: boolean

  @Field(() => CacheSharingGraph)
  sharedBy!: CacheSharing

  @Field(() => [CacheTtlGraph], { description: 'The shortest that fits a prompt counts.' })
  ttls!: readonly CacheTtlGraph[]

  @Field(() => Int, { description: 'For prompts of no class in ttls.' })
  ttlSeconds!: number

  @Field(() => Int, { description: 'Nothing older is given, whatever else is said; not as a last resort either.' })
  ageMaxSeconds!: number

  @Field(() => Int, { description: 'Beyond its freshness, while a new one is fetched; 0: not at all.' })
  staleSeconds!: number

  @Field(() => Boolean, { description: 'Also kept, encrypted, in the store that agents share, where they have one.' })
  shared!: boolean

  @Field(() => SemanticCacheGraph, { nullable: true, description: 'Null: only the very same request is answered.' })
  semantic!: SemanticCacheGraph | null

  @Field(() => [ID], { description: 'API keys whose clients are told similarity and matched question.' })
  detailApiKeyIds!: readonly string[]

  @Field(() => [String], { description: 'On every answer of the route; what a purge can name.' })
  tags!: readonly string[]

  @Field(() => DateTime)
  updatedAt!: Date
}

@Access('cache.read')
@ObjectType()
export class RouteCachePayload {
  @Field(() => ID)
  routeId!: string

  @Field(() => RouteCacheGraph, { nullable: true, description: 'Null: nothing is kept any more.' })
  cache!: RouteCacheGraph | null

  @Field(() => BigIntString, { description: 'Agents follow the change where they show at least this revision.' })
  intentRevision!: bigint
}

@InputType()
export class CacheTtlInput {
  @Field(() => String, { description: 'factual, dynamic, or a class that routing knows.' })
  promptClass!: string

  @Field(() => Int)
  seconds!: number
}

@InputType()
export class SemanticCacheInput {
  @Field(() => String, { description: 'Name of a route of the same environment whose model makes embeddings.' })
  embeddingRoute!: string

  @Field(() => Float, { nullable: true, description: `${cacheDefaults.thresholdPpm / 1_000_000} when left out.` })
  threshold?: number | null
}

@InputType({ description: 'The whole policy: what is left out is as a new one has it.' })
export class SetRouteCacheInput {
  @Field(() => ID)
  routeId!: string

  @Field(() => Boolean, { nullable: true, description: 'False when left out.' })
  anyTemperature?: boolean | null

  @Field(() => CacheSharingGraph, { nullable: true, description: 'ENVIRONMENT when left out.' })
  sharedBy?: CacheSharing | null

  @Field(() => [CacheTtlInput], {
    nullable: true,
    description: `factual ${cacheDefaults.ttls.factual}, dynamic ${cacheDefaults.ttls.dynamic} when left out.`,
  })
  ttls?: CacheTtlInput[] | null

  @Field(() => Int, { nullable: true, description: `${cacheDefaults.ttlSeconds} when left out.` })
  ttlSeconds?: number | null

  @Field(() => Int, { nullable: true, description: `${cacheDefaults.ageMaxSeconds} when left out; at most 30 days.` })
  ageMaxSeconds?: number | null

  @Field(() => Int, { nullable: true, description: '0 when left out.' })
  staleSeconds?: number | null

  @Field(() => Boolean, { nullable: true, description: 'False when left out.' })
  shared?: boolean | null

  @Field(() => SemanticCacheInput, { nullable: true, description: 'Left out: only the very same request is answered.' })
  semantic?: SemanticCacheInput | null

  @Field(() => [ID], { nullable: true })
  detailApiKeyIds?: string[] | null

  @Field(() => [String], { nullable: true })
  tags?: string[] | null
}

@Access('cache.read')
@ObjectType('CachePurge', {
  description: 'Answers kept before `at` that fit are not given any more. What is null fits everything.',
})
export class CachePurgeGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  environmentId!: string

  @Field(() => DateTime)
  at!: Date

  @Field(() => ID, { nullable: true })
  routeId!: string | null

  @Field(() => ID, { nullable: true })
  promptId!: string | null

  @Field(() => String, { nullable: true })
  promptVersion!: string | null

  @Field(() => String, { nullable: true })
  tag!: string | null

  @Field(() => ID, { nullable: true })
  documentId!: string | null

  @Field(() => String)
  createdBy!: string
}

@InputType({
  description: `What is to be forgotten: everything of a tenant or environment, or what fits all members given. One purge for each
document; a source of documents calls this when one changes.`,
})
export class PurgeCacheInput {
  @Field(() => ID, {
    nullable: true,
    description: 'Without environmentId: all its environments. Your own when left out.',
  })
  tenantId?: string | null

  @Field(() => ID, { nullable: true })
  environmentId?: string | null

  @Field(() => ID, { nullable: true })
  routeId?: string | null

  @Field(() => ID, { nullable: true, description: 'Refused: there are no prompts yet.' })
  promptId?: string | null

  @Field(() => String, { nullable: true, description: 'Refused, like promptId.' })
  promptVersion?: string | null

  @Field(() => String, { nullable: true, description: 'Of the route, or of the header x-switchyard-cache-tags.' })
  tag?: string | null

  @Field(() => [ID], {
    nullable: true,
    description: 'As the header x-switchyard-cache-documents names them; at most 16.',
  })
  documentIds?: string[] | null
}

@Access('cache.read')
@ObjectType()
export class CachePurgePayload {
  @Field(() => DateTime, { description: 'Answers to requests that came in before it are not given any more.' })
  at!: Date

  @Field(() => Int, { description: 'One for each document and environment.' })
  purgeCount!: number

  @Field(() => [EnvironmentRevisionGraph])
  intentRevisions!: readonly EnvironmentRevisionGraph[]
}

@InputType()
export class CacheStatisticsInput {
  @Field(() => ID, { nullable: true, description: 'Your own when left out.' })
  tenantId?: string | null

  @Field(() => ID, { nullable: true })
  environmentId?: string | null

  @Field(() => ID, { nullable: true })
  routeId?: string | null

  @Field(() => DateTime, { description: 'At or after.' })
  from!: Date

  @Field(() => DateTime, { description: 'Before; at most 31 days after from.' })
  to!: Date
}

@Access('usage.read')
@ObjectType('RouteCacheStatistics')
export class RouteCacheStatisticsGraph {
  @Field(() => ID)
  routeId!: string

  @Field(() => String)
  routeName!: string

  @Field(() => BigIntString, { description: 'Requests that got the answer to the very same one.' })
  exactCount!: bigint

  @Field(() => BigIntString, { description: 'Requests that got the answer to a question that means the same.' })
  semanticCount!: bigint

  @Field(() => BigIntString)
  missCount!: bigint

  @Field(() => Float, { nullable: true, description: 'Of those that looked, 0 to 1; null where none did.' })
  hitRatio!: number | null

  @Field(() => BigIntString)
  savedNanoUsd!: bigint

  @Field(() => String, { description: 'What the tokens of given answers would have cost: dollars with nine places.' })
  savedUsd!: string

  @Field(() => BigIntString)
  savedTokensIn!: bigint

  @Field(() => BigIntString)
  savedTokensOut!: bigint

  @Field(() => BigIntString, { description: 'Given answers of which nobody knows what they saved.' })
  unpricedCount!: bigint

  @Field(() => BigIntString)
  missedNanoUsd!: bigint

  @Field(() => String, { description: 'What the misses cost: the part that a better hit rate would save.' })
  missedUsd!: string
}

@Access('usage.read')
@ObjectType('CacheStatistics', {
  description: 'Hit rate and savings of requests that looked for a kept answer. Computed from usage records.',
})
export class CacheStatisticsGraph {
  @Field(() => DateTime)
  from!: Date

  @Field(() => DateTime)
  to!: Date

  @Field(() => BigIntString)
  exactCount!: bigint

  @Field(() => BigIntString)
  semanticCount!: bigint

  @Field(() => BigIntString)
  missCount!: bigint

  @Field(() => Float, { nullable: true, description: 'Of those that looked, 0 to 1; null where none did.' })
  hitRatio!: number | null

  @Field(() => Float, { nullable: true, description: '1 − hitRatio: what was paid for once more.' })
  missRatio!: number | null

  @Field(() => BigIntString)
  savedNanoUsd!: bigint

  @Field(() => String)
  savedUsd!: string

  @Field(() => BigIntString)
  savedTokensIn!: bigint

  @Field(() => BigIntString)
  savedTokensOut!: bigint

  @Field(() => BigIntString)
  unpricedCount!: bigint

  @Field(() => BigIntString)
  missedNanoUsd!: bigint

  @Field(() => String)
  missedUsd!: string

  @Field(() => [RouteCacheStatisticsGraph], { description: 'Most requests first, at most 1,000.' })
  routes!: readonly RouteCacheStatisticsGraph[]
}

export function routeCacheGraph({ semantic, ...cache }: RouteCache): RouteCacheGraph {
  return {
    ...cache,
    semantic: semantic && { threshold: semantic.thresholdPpm / 1_000_000, embeddingRoute: semantic.embeddingRoute },
  }
}

export function routeCachePayload({ routeId, cache, intentRevision }: RouteCacheChange): RouteCachePayload {
  return { routeId, cache: cache && routeCacheGraph(cache), intentRevision }
}

export function cachePurgePayload({ at, purges, intentRevisions }: CachePurgeChange): CachePurgePayload {
  return { at, purgeCount: purges.length, intentRevisions: environmentRevisions(intentRevisions) }
}

export function cacheStatisticsGraph({ from, to, routes, ...sums }: CacheStatistics): CacheStatisticsGraph {
  const whole = sumsGraph(sums)
  return {
    ...{ from, to, ...whole, missRatio: whole.hitRatio === null ? null : 1 - whole.hitRatio },
    routes: routes.map(({ routeId, routeName, ...route }: RouteCacheSums) => ({
      ...{ routeId, routeName, ...sumsGraph(route) },
    })),
  }
}

function sumsGraph(sums: CacheSums) {
  return {
    ...sums,
    hitRatio: hitRatioOf(sums),
    savedUsd: formatUsd(sums.savedNanoUsd),
    missedUsd: formatUsd(sums.missedNanoUsd),
  }
}
