import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Database, Transaction } from '../database/database.js'
import { classifyDatabaseError } from '../database/database-error.js'
import { Prisma } from '../database/generated/client.js'
import { type RouteCacheSums, statisticsRoutesMax } from './cache-statistics.js'

export interface StatisticsQuestion {
  readonly tenantId: string
  readonly environmentId: string | null
  readonly routeId: string | null
  readonly from: Date
  readonly to: Date
}

/** Questions about what is cached that join or sum. */
export class CachingReader {
  readonly #database: Database
  readonly #readMsMax: number

  /** `readMsMax`: what a sum may take, default 10 s; then it is refused as `unavailable`. */
  constructor(database: Database, { readMsMax = 10_000 }: { readMsMax?: number } = {}) {
    this.#database = database
    this.#readMsMax = readMsMax
  }

  /** Whether a route of that name in the environment has a target whose model makes embeddings. */
  async makesEmbeddings(environmentId: string, name: string, transaction?: Transaction): Promise<boolean> {
    const count = await (transaction?.rows ?? this.#database.rows).route.count({
      where: { environmentId, name, targets: { some: { model: { capabilities: { has: 'embeddings' } } } } },
    })
    return count > 0
  }

  /** Those of the routes whose policy names a route for embeddings that is there and makes some. */
  async findComparing(routeIds: readonly string[]): Promise<ReadonlySet<string>> {
    if (routeIds.length === 0) return new Set()
    const rows = await this.#database.rows.$queryRaw<{ routeId: string }[]>(Prisma.sql`
      SELECT c."routeId" FROM "RouteCache" c
        JOIN "Route" r ON r.id = c."routeId"
        JOIN "Route" e ON e."environmentId" = r."environmentId" AND e.name = c."semanticEmbeddingRoute"
      WHERE c."routeId" IN (${Prisma.join([...routeIds])}) AND EXISTS (
        SELECT 1 FROM "RouteTarget" t JOIN "Model" m ON m.id = t."modelId"
        WHERE t."routeId" = e.id AND 'embeddings' = ANY(m.capabilities))`)
    return new Set(rows.map(({ routeId }) => routeId))
  }

  async hasRoute(transaction: Transaction, id: string): Promise<boolean> {
    return (await transaction.rows.route.count({ where: { id } })) > 0
  }

  /** Those of `ids` that are no keys of the environment. */
  async unknownApiKeys(transaction: Transaction, environmentId: string, ids: readonly string[]): Promise<string[]> {
    if (ids.length === 0) return []
    const rows = await transaction.rows.apiKey.findMany({
      where: { environmentId, id: { in: [...ids] } },
      select: { id: true },
    })
    const known = new Set(rows.map(({ id }) => id))
    return ids.filter((id) => !known.has(id))
  }

  /** Environments of the tenant that are in service, in order of id. */
  async activeEnvironmentIds(transaction: Transaction, tenantId: string): Promise<readonly string[]> {
    const rows = await transaction.rows.environment.findMany({
      where: { tenantId, archivedAt: null, tenant: { archivedAt: null } },
      orderBy: { id: 'asc' },
      select: { id: true },
    })
    return rows.map(({ id }) => id)
  }

  /**
   * Of records, along the index (tenant, startedAt, …): rollups do not know of the cache. Most requests first, at most
   * `statisticsRoutesMax` routes. Refuses `unavailable` when it takes too long.
   */
  async findStatistics(question: StatisticsQuestion): Promise<readonly RouteCacheSums[]> {
    const { tenantId, environmentId, routeId, from, to } = question
    const ofEnvironment = environmentId === null ? Prisma.empty : Prisma.sql`AND "environmentId" = ${environmentId}`
    const ofRoute = routeId === null ? Prisma.empty : Prisma.sql`AND "routeId" = ${routeId}`
    try {
      return await this.#database.readWithin(this.#readMsMax, (rows) =>
        rows.$queryRaw<RouteCacheSums[]>(Prisma.sql`
          SELECT "routeId", (array_agg("routeName" ORDER BY "startedAt" DESC))[1] AS "routeName",
            (count(*) FILTER (WHERE "cacheHit" = 'exact'))::bigint AS "exactCount",
            (count(*) FILTER (WHERE "cacheHit" = 'semantic'))::bigint AS "semanticCount",
            (count(*) FILTER (WHERE "cacheHit" = 'miss'))::bigint AS "missCount",
            coalesce(sum("savedNanoUsd"), 0)::bigint AS "savedNanoUsd",
            coalesce(sum("savedTokensIn"), 0)::bigint AS "savedTokensIn",
            coalesce(sum("savedTokensOut"), 0)::bigint AS "savedTokensOut",
            (count(*) FILTER (WHERE "cacheHit" <> 'miss' AND "savedNanoUsd" IS NULL))::bigint AS "unpricedCount",
            coalesce(sum("costNanoUsd") FILTER (WHERE "cacheHit" = 'miss'), 0)::bigint AS "missedNanoUsd"
          FROM "UsageRecord"
          WHERE "tenantId" = ${tenantId} AND "startedAt" >= ${from} AND "startedAt" < ${to}
            AND "cacheHit" IS NOT NULL AND "routeId" IS NOT NULL ${ofEnvironment} ${ofRoute}
          GROUP BY "routeId" ORDER BY count(*) DESC, "routeId" LIMIT ${statisticsRoutesMax}`),
      )
    } catch (error) {
      if (classifyDatabaseError(error)?.kind !== 'timeout') throw error
      return throwRefusal(
        'unavailable',
        `the answer takes longer than ${this.#readMsMax / 1000} s: ask for a shorter time (input.from, input.to)`,
      )
    }
  }
}
