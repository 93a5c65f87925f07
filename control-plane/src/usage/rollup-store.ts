import type pg from 'pg'

/** One tenant's minute or hour. */
export interface Bucket {
  readonly granularity: 'minute' | 'hour'
  readonly at: Date
  readonly tenantId: string
}

const dimensions = [
  '"environmentId"',
  '"apiKeyId"',
  '"teamId"',
  '"routeName"',
  '"providerId"',
  '"actualModel"',
  '"clusterId"',
  'region',
].join(', ')

/** Counted in a row; sums of these, over minutes, are those of the hour. */
const sums = [
  '"requestCount"',
  '"refusedCount"',
  '"failedCount"',
  '"fallbackCount"',
  '"unpricedCount"',
  '"tokensIn"',
  '"tokensOut"',
  '"tokensInCached"',
  '"tokensInCacheWrite"',
  '"tokensOutReasoning"',
  '"costNanoUsd"',
  '"latencyUs"',
]

const fromRecords = `
  SELECT "environmentId", "apiKeyId", coalesce("teamId", '') AS "teamId", coalesce("routeName", '') AS "routeName",
    coalesce("providerId", '') AS "providerId", coalesce("actualModel", '') AS "actualModel", "clusterId", region,
    count(*) AS "requestCount",
    count(*) FILTER (WHERE status = 'refused') AS "refusedCount",
    count(*) FILTER (WHERE status NOT IN ('ok', 'refused')) AS "failedCount",
    count(*) FILTER (WHERE "fallbackUsed") AS "fallbackCount",
    count(*) FILTER (WHERE "costNanoUsd" IS NULL AND status <> 'refused') AS "unpricedCount",
    coalesce(sum("tokensIn"), 0) AS "tokensIn", coalesce(sum("tokensOut"), 0) AS "tokensOut",
    coalesce(sum("tokensInCached"), 0) AS "tokensInCached",
    coalesce(sum("tokensInCacheWrite"), 0) AS "tokensInCacheWrite",
    coalesce(sum("tokensOutReasoning"), 0) AS "tokensOutReasoning",
    coalesce(sum("costNanoUsd"), 0) AS "costNanoUsd", coalesce(sum("latencyUs"), 0) AS "latencyUs"
  FROM "UsageRecord" WHERE "tenantId" = $1 AND "startedAt" >= $2 AND "startedAt" < $2 + interval '1 minute'
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8`

const fromMinutes = `
  SELECT ${dimensions}, ${sums.map((sum) => `sum(${sum})`).join(', ')}
  FROM "UsageRollup" WHERE granularity = 'minute' AND "tenantId" = $1 AND "bucketAt" >= $2
    AND "bucketAt" < $2 + interval '1 hour'
  GROUP BY ${dimensions}`

/** Marks and sums. Every method with a client runs inside the transaction that holds the bucket. */
export class RollupStore {
  /** Buckets with marks, eldest first, minutes before hours; none of `except`. */
  async findMarked(sql: pg.Pool, countMax: number, except: readonly Bucket[] = []): Promise<Bucket[]> {
    const { rows } = await sql.query<{ granularity: Bucket['granularity']; bucketAt: Date; tenantId: string }>(
      `SELECT granularity, "bucketAt", "tenantId" FROM "RollupMark"
       WHERE (granularity, "bucketAt", "tenantId") NOT IN (SELECT * FROM unnest($2::text[], $3::timestamptz[], $4::text[]))
       GROUP BY granularity, "bucketAt", "tenantId" ORDER BY granularity DESC, "bucketAt" LIMIT $1`,
      [
        countMax,
        except.map(({ granularity }) => granularity),
        except.map(({ at }) => at.toISOString()),
        except.map(({ tenantId }) => tenantId),
      ],
    )
    return rows.map((row) => ({ granularity: row.granularity, at: row.bucketAt, tenantId: row.tenantId }))
  }

  /** Holds the bucket until the transaction ends; false when somebody else holds it. */
  async tryHold(client: pg.PoolClient, bucket: Bucket): Promise<boolean> {
    const { rows } = await client.query<{ held: boolean }>(
      `SELECT pg_try_advisory_xact_lock(hashtextextended($1, 7240)) AS held`,
      [`${bucket.granularity}/${bucket.at.toISOString()}/${bucket.tenantId}`],
    )
    return rows[0]?.held === true
  }

  /** When the bucket was last computed, in milliseconds before now by Postgres' clock; null: never. */
  async loadAgeMs(client: pg.PoolClient, bucket: Bucket): Promise<number | null> {
    const { rows } = await client.query<{ ageMs: number | null }>(
      `SELECT (extract(epoch FROM now() - max("computedAt")) * 1000)::double precision AS "ageMs" FROM "UsageRollup"
       WHERE granularity = $1 AND "bucketAt" = $2 AND "tenantId" = $3`,
      [bucket.granularity, bucket.at, bucket.tenantId],
    )
    return rows[0]?.ageMs ?? null
  }

  /**
   * Deletes the marks that are visible now. What they stand for was committed before, so the next statement of this
   * transaction (its own snapshot) sees it; a mark committed in between stays and brings us back.
   */
  async takeMarks(client: pg.PoolClient, bucket: Bucket): Promise<void> {
    await client.query(`DELETE FROM "RollupMark" WHERE granularity = $1 AND "bucketAt" = $2 AND "tenantId" = $3`, [
      bucket.granularity,
      bucket.at,
      bucket.tenantId,
    ])
  }

  /** Computes the bucket anew from what is below it; a minute marks its hour. */
  async compute(client: pg.PoolClient, bucket: Bucket): Promise<void> {
    const { granularity, at, tenantId } = bucket
    await client.query(`DELETE FROM "UsageRollup" WHERE granularity = $1 AND "bucketAt" = $2 AND "tenantId" = $3`, [
      granularity,
      at,
      tenantId,
    ])
    await client.query(
      `INSERT INTO "UsageRollup" (granularity, "bucketAt", "tenantId", ${dimensions}, ${sums.join(', ')}, "computedAt")
       SELECT '${granularity}', $2::timestamptz, $1, s.*, clock_timestamp()
       FROM (${granularity === 'minute' ? fromRecords : fromMinutes}) AS s`,
      [tenantId, at],
    )
    if (granularity === 'hour') return
    await client.query(
      `INSERT INTO "RollupMark" (granularity, "bucketAt", "tenantId")
       VALUES ('hour', date_trunc('hour', $2::timestamptz, 'UTC'), $1)`,
      [tenantId, at],
    )
  }
}
