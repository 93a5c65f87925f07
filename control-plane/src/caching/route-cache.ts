import { z } from 'zod'
import { ageSecondsMax, cacheDefaults, isLabel, labelShape, labelsMax } from '../../../proto/policy/cache-policy.js'
import { shapes } from '../access/check-input.js'
import { modelName } from '../models/model.js'

/**
 * Who shares an answer: everybody in the environment, the keys of a team, one key, or the end user that the client names.
 * The narrower, the fewer answers are given again.
 */
export const cacheSharings = ['environment', 'team', 'api_key', 'user'] as const
export type CacheSharing = (typeof cacheSharings)[number]

/** What is kept of a route's answers and given again, and for how long. */
export interface RouteCache {
  readonly routeId: string
  /** Also where the temperature is not 0 and the client does not ask for it. */
  readonly anyTemperature: boolean
  readonly sharedBy: CacheSharing
  /** In order of class. */
  readonly ttls: readonly CacheTtl[]
  /** For prompts of no class above. */
  readonly ttlSeconds: number
  /** Nothing older is given. */
  readonly ageMaxSeconds: number
  /** Beyond its freshness, while a new one is fetched. */
  readonly staleSeconds: number
  /** Also in the store that agents share. */
  readonly shared: boolean
  readonly semantic: SemanticCache | null
  readonly detailApiKeyIds: readonly string[]
  readonly tags: readonly string[]
  readonly updatedAt: Date
}

/** What a route keeps now (null: nothing), and the intent revision of its environment from which on agents follow it. */
export interface RouteCacheChange {
  readonly routeId: string
  readonly cache: RouteCache | null
  readonly intentRevision: bigint
}

export interface CacheTtl {
  readonly promptClass: string
  readonly seconds: number
}

export interface SemanticCache {
  readonly thresholdPpm: number
  /** Name of a route of the same environment that makes embeddings. */
  readonly embeddingRoute: string
}

const ttlsMax = 32
const detailKeysMax = 64
const promptClass = z
  .string()
  .regex(
    /^[a-z][a-z0-9_-]{0,63}$/,
    'expected a class such as factual, dynamic or code: lower-case letters, digits, _ -',
  )
const label = z.string().refine(isLabel, `expected ${labelShape}`)
const seconds = shapes.integer(0, ageSecondsMax)

const ttlList = z
  .array(z.object({ promptClass, seconds }))
  .max(ttlsMax, `expected at most ${ttlsMax} classes`)
  .refine((ttls) => new Set(ttls.map((ttl) => ttl.promptClass)).size === ttls.length, 'expected each class once')

export const setRouteCacheInput = z
  .object({
    routeId: shapes.id,
    anyTemperature: z.boolean().nullish(),
    sharedBy: z.enum(cacheSharings, `expected one of ${cacheSharings.join(', ')}`).nullish(),
    ttls: ttlList.nullish(),
    ttlSeconds: seconds.nullish(),
    ageMaxSeconds: shapes.integer(1, ageSecondsMax).nullish(),
    staleSeconds: seconds.nullish(),
    shared: z.boolean().nullish(),
    semantic: z
      .object({
        embeddingRoute: modelName,
        threshold: z.number().gt(0, 'expected a number above 0').max(1, 'expected at most 1').nullish(),
      })
      .nullish(),
    detailApiKeyIds: z.array(shapes.id).max(detailKeysMax, `expected at most ${detailKeysMax} keys`).nullish(),
    tags: z.array(label).max(labelsMax, `expected at most ${labelsMax} tags`).nullish(),
  })
  .refine(({ semantic, detailApiKeyIds }) => semantic != null || (detailApiKeyIds ?? []).length === 0, {
    path: ['detailApiKeyIds'],
    message: 'expected none without semantic: there is nothing to tell about a very same request',
  })

/** A whole policy: what is left out is as a new one has it. */
export function completeRouteCache(input: z.output<typeof setRouteCacheInput>, now: Date): RouteCache {
  const ttls =
    input.ttls ?? Object.entries(cacheDefaults.ttls).map(([name, value]) => ({ promptClass: name, seconds: value }))
  return {
    routeId: input.routeId,
    anyTemperature: input.anyTemperature ?? false,
    sharedBy: input.sharedBy ?? 'environment',
    ttls: ttls.toSorted((a, b) => (a.promptClass < b.promptClass ? -1 : 1)),
    ttlSeconds: input.ttlSeconds ?? cacheDefaults.ttlSeconds,
    ageMaxSeconds: input.ageMaxSeconds ?? cacheDefaults.ageMaxSeconds,
    staleSeconds: input.staleSeconds ?? 0,
    shared: input.shared ?? false,
    semantic:
      input.semantic == null
        ? null
        : {
            embeddingRoute: input.semantic.embeddingRoute,
            thresholdPpm:
              input.semantic.threshold == null
                ? cacheDefaults.thresholdPpm
                : Math.round(input.semantic.threshold * 1_000_000),
          },
    detailApiKeyIds: [...new Set(input.detailApiKeyIds)].sort(),
    tags: [...new Set(input.tags)].sort(),
    updatedAt: now,
  }
}

/** What the audit trail keeps of it. */
export function auditRouteCache(cache: RouteCache) {
  const { routeId, updatedAt, semantic, ...rest } = cache
  return {
    ...rest,
    semantic: semantic && { ...semantic },
    ttls: Object.fromEntries(cache.ttls.map((ttl) => [ttl.promptClass, ttl.seconds])),
  }
}
