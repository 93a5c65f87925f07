import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Database } from '../database/database.js'
import { classifyDatabaseError } from '../database/database-error.js'
import { Prisma } from '../database/generated/client.js'

/**
 * What one target of one route served. Tokens and cost are of requests with a cost, so that the two belong together, and of
 * the hop that served alone: what a hedge that lost or a vector for the cache took is on the record and nowhere here.
 */
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
   * The hop that served a request is one of the record's own provider and model (a vector for the cache is another's, and an
   * answer from it has no provider): the last that went well, else the last of all, for what was cut off costs too, but none
   * that lost a race. Where hops name their shares the record has sums over several, and the share counts; of the vendor's
   * prompt cache there are no shares, so that is cut to it. Refused requests had no hop. Refuses `unavailable` when it takes
   * too long.
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
        SELECT "routeId", "targetId", "tokensIn", "tokensOut", "costNanoUsd", cached AS "tokensInCached",
          least("tokensInCacheWrite", coalesce("tokensIn", 0) - cached) AS "tokensInCacheWrite"
        FROM (
          SELECT record."routeId", hop->>'targetId' AS "targetId", share."tokensIn", share."tokensOut", share."costNanoUsd",
            least(coalesce(record."tokensInCached", 0), coalesce(share."tokensIn", 0)) AS cached,
            coalesce(record."tokensInCacheWrite", 0) AS "tokensInCacheWrite"
          FROM "UsageRecord" AS record
          CROSS JOIN LATERAL (
            SELECT hop FROM jsonb_array_elements(record.hops) WITH ORDINALITY AS hops(hop, place)
            WHERE hop->>'modelId' = record."modelId" AND hop->>'providerId' = record."providerId"
              AND hop->>'outcome' <> 'hedge_lost'
            ORDER BY hop->>'outcome' = 'ok' DESC, place DESC LIMIT 1
          ) AS serving
          CROSS JOIN LATERAL (
            SELECT
              CASE WHEN shared THEN (hop->>'tokensIn')::bigint ELSE record."tokensIn" END AS "tokensIn",
              CASE WHEN shared THEN (hop->>'tokensOut')::bigint ELSE record."tokensOut" END AS "tokensOut",
              CASE WHEN shared THEN (hop->>'costNanoUsd')::bigint ELSE record."costNanoUsd" END AS "costNanoUsd"
            FROM (SELECT jsonb_path_exists(record.hops, '$[*].tokensIn ? (@ != null)') AS shared) AS kind
          ) AS share
          WHERE record."tenantId" = ${tenantId} AND record."startedAt" >= ${from} AND record."startedAt" < ${to}
            AND record."environmentId" = ${environmentId} AND record.status <> 'refused'
            AND ${routeId === null ? Prisma.sql`record."routeId" IS NOT NULL` : Prisma.sql`record."routeId" = ${routeId}`}
        ) AS record
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
