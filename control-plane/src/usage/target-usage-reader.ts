import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Database } from '../database/database.js'
import { classifyDatabaseError } from '../database/database-error.js'
import { Prisma } from '../database/generated/client.js'

/** What one target of one route served. Tokens and cost are of requests with a cost, so that the two belong together. */
export interface TargetUsage {
  readonly routeId: string
  readonly targetId: string
  readonly requestCount: bigint
  /** Of these, without a cost. */
  readonly unpricedCount: bigint
  readonly tokensIn: bigint
  readonly tokensOut: bigint
  readonly tokensInCached: bigint
  readonly tokensInCacheWrite: bigint
  readonly costNanoUsd: bigint
}

export interface TargetUsageQuestion {
  readonly tenantId: string
  readonly environmentId: string
  /** Null: every route of the environment. */
  readonly routeId: string | null
  readonly from: Date
  readonly to: Date
}

/**
 * Usage by target. Rollups have no targets (they would multiply every bucket), so it is computed from records: of one
 * tenant and a bounded time, along the index (tenant, startedAt, …), and given up after `readMsMax`.
 */
export class TargetUsageReader {
  readonly #database: Database
  readonly #readMsMax: number

  constructor(database: Database, { readMsMax = 10_000 }: { readMsMax?: number } = {}) {
    this.#database = database
    this.#readMsMax = readMsMax
  }

  /**
   * The hop that served a request is the one that went well, else the last one: what was cut off costs too. Refused requests
   * had no hop. Refuses `unavailable` when it takes too long.
   */
  async findByTarget({
    tenantId,
    environmentId,
    routeId,
    from,
    to,
  }: TargetUsageQuestion): Promise<readonly TargetUsage[]> {
    const question = Prisma.sql`
      SELECT "routeId", "targetId", count(*)::bigint AS "requestCount",
        (count(*) FILTER (WHERE "costNanoUsd" IS NULL))::bigint AS "unpricedCount",
        ${Prisma.join(sums.map((column) => Prisma.raw(`coalesce(sum("${column}") FILTER (WHERE "costNanoUsd" IS NOT NULL), 0)::bigint AS "${column}"`)))}
      FROM (
        SELECT "routeId", "tokensIn", "tokensOut", "tokensInCached", "tokensInCacheWrite", "costNanoUsd",
          coalesce(
            (SELECT hop->>'targetId' FROM jsonb_array_elements(hops) AS hop WHERE hop->>'outcome' = 'ok' LIMIT 1),
            hops->-1->>'targetId') AS "targetId"
        FROM "UsageRecord"
        WHERE "tenantId" = ${tenantId} AND "startedAt" >= ${from} AND "startedAt" < ${to}
          AND "environmentId" = ${environmentId} AND status <> 'refused'
          AND ${routeId === null ? Prisma.sql`"routeId" IS NOT NULL` : Prisma.sql`"routeId" = ${routeId}`}
      ) AS served
      WHERE "targetId" IS NOT NULL
      GROUP BY "routeId", "targetId" ORDER BY "routeId", "targetId"
      LIMIT ${targetsMax + 1}`
    try {
      const rows = await this.#database.readWithin(this.#readMsMax, (client) =>
        client.$queryRaw<TargetUsage[]>(question),
      )
      if (rows.length > targetsMax) throwRefusal('limit_exceeded', `more than ${targetsMax} targets; ask for one route`)
      return rows
    } catch (error) {
      if (classifyDatabaseError(error)?.kind !== 'timeout') throw error
      const seconds = this.#readMsMax / 1000
      return throwRefusal(
        'unavailable',
        `the answer takes longer than ${seconds} s: ask for a shorter time (input.from, input.to)`,
      )
    }
  }
}

/** Every target that an environment can have had in the time, many times over. */
const targetsMax = 100_000
const sums = ['tokensIn', 'tokensOut', 'tokensInCached', 'tokensInCacheWrite', 'costNanoUsd'] as const
