import { assert } from '../../../proto/std/assert.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Database } from '../database/database.js'
import { classifyDatabaseError } from '../database/database-error.js'
import { Prisma } from '../database/generated/client.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import {
  type LaneCoverage,
  type StoredUsage,
  type TotalsQuestion,
  totalsMax,
  type UsageFilter,
  type UsageGroup,
  type UsageTotal,
  usageGroups,
} from './usage-question.js'

/** Questions about usage records and their sums. Always of one tenant, except the coverage, which is the installation's. */
export class UsageReader {
  readonly #database: Database
  readonly #readMsMax: number

  /** `readMsMax`: what a question may take, default 10 s; then it is refused as `unavailable`. */
  constructor(database: Database, { readMsMax = 10_000 }: { readMsMax?: number } = {}) {
    this.#database = database
    this.#readMsMax = readMsMax
  }

  /** Newest first, along the index (tenant, startedAt, key). */
  async page(tenantId: string, filter: UsageFilter, args: PageArgs): Promise<Page<StoredUsage>> {
    const after = positionOf(decodeCursor(args.after, 5))
    const beyond =
      after === null
        ? Prisma.empty
        : Prisma.sql`AND ("startedAt", "agentId", "bootEpoch", lane, sequence) <
            (${after.startedAt}::timestamptz, ${after.agentId}, ${after.bootEpoch}::bigint, ${after.lane}::int, ${after.sequence}::bigint)`
    const rows = await this.#ask<StoredUsage>(Prisma.sql`
      SELECT * FROM "UsageRecord"
      WHERE "tenantId" = ${tenantId} ${conditions(filter)} ${beyond}
      ORDER BY "startedAt" DESC, "agentId" DESC, "bootEpoch" DESC, lane DESC, sequence DESC
      LIMIT ${args.first + 1}`)
    return pageOf(rows, args, (row) =>
      encodeCursor(row.startedAt.toISOString(), row.agentId, `${row.bootEpoch}`, `${row.lane}`, `${row.sequence}`),
    )
  }

  /** The newest with this request id; clients may choose ids, so there can be several. */
  async findByRequestId(tenantId: string, requestId: string): Promise<StoredUsage | null> {
    const [row] = await this.#ask<StoredUsage>(Prisma.sql`
      SELECT * FROM "UsageRecord" WHERE "requestId" = ${requestId} AND "tenantId" = ${tenantId}
      ORDER BY "startedAt" DESC, "agentId" DESC, "bootEpoch" DESC, lane DESC, sequence DESC LIMIT 1`)
    return row ?? null
  }

  /** Sums of rollups by bucket and group; refuses `limit_exceeded` beyond `totalsMax` of them. */
  async findTotals(question: TotalsQuestion): Promise<readonly UsageTotal[]> {
    const { tenantId, granularity, from, to, filter, byBucket } = question
    const groupBy = [...new Set(question.groupBy)]
    // They become SQL below: never anything but the columns of the closed list.
    assert(
      groupBy.every((group) => usageGroups.includes(group)),
      'totals are grouped by known columns',
    )
    const columns = groupBy.map((group) => Prisma.raw(`"${group}"`))
    const keys = [...(byBucket ? [Prisma.raw('"bucketAt"')] : []), ...columns]
    const narrowed = usageGroups.flatMap((group) => {
      const value = filter[group]
      return value == null ? [] : [Prisma.sql`AND ${Prisma.raw(`"${group}"`)} = ${value}`]
    })
    const rows = await this.#ask<TotalRow>(Prisma.sql`
      SELECT ${keys.length === 0 ? Prisma.empty : Prisma.sql`${Prisma.join(keys)},`}
        ${Prisma.join(sums.map((column) => Prisma.raw(`coalesce(sum("${column}"), 0)::bigint AS "${column}"`)))}
      FROM "UsageRollup"
      WHERE "tenantId" = ${tenantId} AND granularity = ${granularity} AND "bucketAt" >= ${from} AND "bucketAt" < ${to}
        ${narrowed.length === 0 ? Prisma.empty : Prisma.join(narrowed, ' ')}
      ${keys.length === 0 ? Prisma.empty : Prisma.sql`GROUP BY ${Prisma.join(keys)} ORDER BY ${Prisma.join(keys)}`}
      LIMIT ${totalsMax + 1}`)
    if (rows.length > totalsMax) {
      throwRefusal('limit_exceeded', `more than ${totalsMax} totals; ask for a shorter time or fewer groups`)
    }
    return rows.map((row) => ({
      ...row,
      bucketAt: row.bucketAt ?? null,
      groups: Object.fromEntries(groupBy.map((group) => [group, row[group] || null])),
    }))
  }

  /** Every lane of every agent (or of one), newest boot first: where records are missing and how many. */
  async pageLanes(agentId: string | null, args: PageArgs): Promise<Page<LaneCoverage>> {
    const after = decodeCursor(args.after, 4)
    const rows = await this.#ask<LaneCoverage>(Prisma.sql`
      SELECT l."agentId", l."bootEpoch", l.lane, l.class, l."nextSequence", l."updatedAt",
        coalesce(ahead.count, 0)::bigint AS "aheadCount",
        (coalesce(ahead.upper, l."nextSequence") - l."nextSequence" - coalesce(ahead.count, 0))::bigint AS "missingCount",
        coalesce((SELECT sum(d."missingCount") FROM "SpoolDrop" d
          WHERE (d."agentId", d."bootEpoch", d.lane, d.class) = (l."agentId", l."bootEpoch", l.lane, l.class)), 0)::bigint AS "droppedCount",
        (SELECT count(*) FROM "DeadLetter" x
          WHERE (x."agentId", x."bootEpoch", x.lane, x.class) = (l."agentId", l."bootEpoch", l.lane, l.class))::bigint AS "deadLetterCount"
      FROM "SpoolLane" l
      LEFT JOIN LATERAL (
        SELECT max(upper(r)) AS upper, sum(upper(r) - greatest(lower(r), l."nextSequence")) AS count
        FROM unnest(l.ranges) AS r WHERE upper(r) > l."nextSequence"
      ) AS ahead ON true
      WHERE ${agentId === null ? Prisma.sql`true` : Prisma.sql`l."agentId" = ${agentId}`}
        ${
          after === null
            ? Prisma.empty
            : Prisma.sql`AND (l."bootEpoch", l."agentId", l.lane, l.class) <
                (${integerOf(after[0])}::bigint, ${after[1]}, ${integerOf(after[2])}::int, ${after[3]})`
        }
      ORDER BY l."bootEpoch" DESC, l."agentId" DESC, l.lane DESC, l.class DESC
      LIMIT ${args.first + 1}`)
    return pageOf(rows, args, (row) => encodeCursor(`${row.bootEpoch}`, row.agentId, `${row.lane}`, row.class))
  }

  /**
   * What is asked of many records can cost more than an answer is worth: nobody waits for ever, and one tenant's question
   * does not hold a connection from the others.
   */
  async #ask<Row>(question: Prisma.Sql): Promise<Row[]> {
    try {
      return await this.#database.readWithin(this.#readMsMax, (rows) => rows.$queryRaw<Row[]>(question))
    } catch (error) {
      if (classifyDatabaseError(error)?.kind !== 'timeout') throw error
      return throwRefusal(
        'unavailable',
        `the answer takes longer than ${this.#readMsMax / 1000} s: narrow the time range (filter.from, filter.to), or ask for fewer at once`,
      )
    }
  }
}

const sums = [
  ...(['requestCount', 'refusedCount', 'failedCount', 'fallbackCount', 'unpricedCount', 'tokensIn'] as const),
  ...(['tokensOut', 'tokensInCached', 'tokensInCacheWrite', 'tokensOutReasoning'] as const),
  ...(['costNanoUsd', 'latencyUs'] as const),
]
type TotalRow = { bucketAt?: Date } & { [Group in UsageGroup]?: string } & Record<(typeof sums)[number], bigint>

const equalities = [
  ...(['environmentId', 'apiKeyId', 'teamId', 'userId', 'routeName', 'providerId', 'modelId'] as const),
  ...(['clusterId', 'region', 'status', 'requestId', 'traceId'] as const),
]

function conditions(filter: UsageFilter): Prisma.Sql {
  const parts = equalities.flatMap((column) => {
    const value = filter[column]
    return value == null ? [] : [Prisma.sql`AND ${Prisma.raw(`"${column}"`)} = ${value}`]
  })
  if (filter.from != null) parts.push(Prisma.sql`AND "startedAt" >= ${filter.from}`)
  if (filter.to != null) parts.push(Prisma.sql`AND "startedAt" < ${filter.to}`)
  if (filter.model != null) {
    parts.push(Prisma.sql`AND ("actualModel" = ${filter.model} OR "requestedModel" = ${filter.model})`)
  }
  if (filter.routingOverridden != null) {
    parts.push(Prisma.raw(`AND "routingOverride" IS ${filter.routingOverridden ? 'NOT NULL' : 'NULL'}`))
  }
  return parts.length === 0 ? Prisma.empty : Prisma.join(parts, ' ')
}

function positionOf(key: readonly string[] | null) {
  if (key === null) return null
  const [at = '', agentId = '', bootEpoch, lane, sequence] = key
  const startedAt = new Date(at)
  if (Number.isNaN(startedAt.getTime())) return foreignCursor()
  return { startedAt, agentId, bootEpoch: integerOf(bootEpoch), lane: integerOf(lane), sequence: integerOf(sequence) }
}

/** Text of a whole number, as cursors hold it; checked here because Postgres would answer with a fault. */
function integerOf(text: string | undefined): bigint {
  return text !== undefined && /^\d{1,18}$/.test(text) ? BigInt(text) : foreignCursor()
}

function foreignCursor(): never {
  throwRefusal('bad_input', 'not a cursor of this list; take one from pageInfo.endCursor', { field: 'after' })
}
