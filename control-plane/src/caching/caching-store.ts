import { must } from '../../../proto/std/assert.js'
import type { Database, Transaction } from '../database/database.js'
import type { CachePurge as PurgeRow, RouteCache as RouteCacheRow } from '../database/generated/client.js'
import type { CachePurge } from './cache-purge.js'
import { cacheSharings, type RouteCache } from './route-cache.js'

/** Rows of `RouteCache` and `CachePurge`. */
export class CachingStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async findMany(routeIds: readonly string[]): Promise<readonly RouteCache[]> {
    const rows = await this.#database.rows.routeCache.findMany({ where: { routeId: { in: [...routeIds] } } })
    return rows.map(routeCacheOf)
  }

  /** Null: nothing of the route is kept. */
  async find(transaction: Transaction, routeId: string): Promise<RouteCache | null> {
    const row = await transaction.rows.routeCache.findUnique({ where: { routeId } })
    return row === null ? null : routeCacheOf(row)
  }

  async put(transaction: Transaction, cache: RouteCache): Promise<void> {
    const { routeId, ttls, semantic, ...rest } = cache
    const data = {
      ...rest,
      ttls: Object.fromEntries(ttls.map(({ promptClass, seconds }) => [promptClass, seconds])),
      semanticThresholdPpm: semantic?.thresholdPpm ?? null,
      semanticEmbeddingRoute: semantic?.embeddingRoute ?? null,
      detailApiKeyIds: [...cache.detailApiKeyIds],
      tags: [...cache.tags],
    }
    await transaction.rows.routeCache.upsert({ where: { routeId }, create: { routeId, ...data }, update: data })
  }

  async remove(transaction: Transaction, routeId: string): Promise<void> {
    await transaction.rows.routeCache.delete({ where: { routeId } })
  }

  /** In order of instant, then id. */
  async findPurges(environmentId: string, transaction?: Transaction): Promise<readonly CachePurge[]> {
    const rows = await (transaction?.rows ?? this.#database.rows).cachePurge.findMany({
      where: { environmentId },
      orderBy: [{ at: 'asc' }, { id: 'asc' }],
    })
    return rows.map((row: PurgeRow) => row)
  }

  /** Those of the environment become `purges`. */
  async replacePurges(
    transaction: Transaction,
    before: readonly CachePurge[],
    purges: readonly CachePurge[],
  ): Promise<void> {
    const kept = new Set(purges)
    const gone = before.filter((purge) => !kept.has(purge)).map(({ id }) => id)
    const known = new Set(before)
    await transaction.rows.cachePurge.deleteMany({ where: { id: { in: gone } } })
    await transaction.rows.cachePurge.createMany({ data: purges.filter((purge) => !known.has(purge)) })
  }
}

function routeCacheOf(row: RouteCacheRow): RouteCache {
  const { ttls, semanticThresholdPpm, semanticEmbeddingRoute, sharedBy, ...rest } = row
  return {
    ...rest,
    sharedBy: must(
      cacheSharings.find((sharing) => sharing === sharedBy),
      `the cache of ${row.routeId} is shared in a known way`,
    ),
    ttls: Object.entries(ttls as Record<string, number>)
      .map(([promptClass, seconds]) => ({ promptClass, seconds }))
      .sort((a, b) => (a.promptClass < b.promptClass ? -1 : 1)),
    semantic:
      semanticThresholdPpm === null || semanticEmbeddingRoute === null
        ? null
        : { thresholdPpm: semanticThresholdPpm, embeddingRoute: semanticEmbeddingRoute },
  }
}
