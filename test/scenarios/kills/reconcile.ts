import type pg from 'pg'
import type { AcceptedRequest } from '../../../deploy/local/simulator-ledger.js'
import type { ClientView } from './load.js'

/** What the books say after everything settled. Lists hold request ids; all must be empty but the counts. */
export interface Reconciliation {
  readonly acceptedCount: number
  readonly recordCount: number
  readonly wholeCount: number
  /** Accepted by the simulator, and no record. */
  readonly missing: readonly string[]
  /** More than one record for one request. */
  readonly duplicated: readonly string[]
  /** The client got the whole answer and the record's tokens are not what the simulator served. */
  readonly wrongTokens: readonly string[]
  /** An interrupted or aborted request whose record claims more than the simulator served. */
  readonly overcounted: readonly string[]
  /** Records of requests that no upstream accepted and that are not refusals or failures. */
  readonly invented: readonly string[]
  readonly deadLetterCount: number
  /** Tokens out that the simulator served and no record claims: only of interrupted and aborted requests. */
  readonly unclaimedTokens: number
  /** Sum over minutes equals sum over records. */
  readonly rollupsAgree: boolean
  readonly statuses: Readonly<Record<string, number>>
}

interface Row {
  requestId: string
  count: string
  tokensIn: string | null
  tokensOut: string | null
  status: string
}

/** Compares the three books: what clients saw, what the simulator accepted and served, what Postgres holds. */
export async function reconcile(
  database: pg.Pool,
  accepted: readonly AcceptedRequest[],
  views: readonly ClientView[],
): Promise<Reconciliation> {
  const { rows } = await database.query<Row>(
    `SELECT "requestId", count(*) AS count, max("tokensIn") AS "tokensIn", max("tokensOut") AS "tokensOut",
            max(status) AS status
       FROM "UsageRecord" WHERE "requestId" LIKE 'load-%' GROUP BY "requestId"`,
  )
  const records = new Map(rows.map((row) => [row.requestId, row]))
  const served = new Map(accepted.filter((a) => a.id.startsWith('load-')).map((a) => [a.id, a]))
  const whole = views.filter((view) => view.whole)
  const wholeIds = new Set(whole.map((view) => view.id))
  const partial = [...served.values()].filter((a) => !wholeIds.has(a.id))
  const tokensOutOf = (id: string) => Number(records.get(id)?.tokensOut ?? 0)
  const statuses: Record<string, number> = {}
  for (const row of rows) statuses[row.status] = (statuses[row.status] ?? 0) + 1
  return {
    acceptedCount: served.size,
    recordCount: rows.length,
    wholeCount: whole.length,
    missing: [...served.keys()].filter((id) => !records.has(id)),
    duplicated: rows.filter((row) => Number(row.count) !== 1).map((row) => row.requestId),
    wrongTokens: whole
      .filter((view) => {
        const record = records.get(view.id)
        const truth = served.get(view.id)
        return (
          !record ||
          !truth ||
          Number(record.tokensIn) !== truth.promptTokens ||
          Number(record.tokensOut ?? 0) !== truth.completionTokens ||
          view.promptTokens !== truth.promptTokens ||
          view.completionTokens !== truth.completionTokens
        )
      })
      .map((view) => view.id),
    overcounted: partial.filter((a) => tokensOutOf(a.id) > a.completionTokens).map((a) => a.id),
    invented: rows.filter((row) => !served.has(row.requestId) && row.status === 'ok').map((row) => row.requestId),
    deadLetterCount: Number((await database.query('SELECT count(*) FROM "DeadLetter"')).rows[0].count),
    unclaimedTokens: partial.reduce((sum, a) => sum + a.completionTokens - tokensOutOf(a.id), 0),
    rollupsAgree: await rollupsAgree(database),
    statuses,
  }
}

async function rollupsAgree(database: pg.Pool): Promise<boolean> {
  const { rows } = await database.query<{ agree: boolean }>(`
    WITH records AS (
      SELECT count(*) AS n, coalesce(sum("tokensIn"), 0) AS "in", coalesce(sum("tokensOut"), 0) AS "out",
             coalesce(sum("costNanoUsd"), 0) AS cost FROM "UsageRecord"),
    rollups AS (
      SELECT granularity, sum("requestCount") AS n, sum("tokensIn") AS "in", sum("tokensOut") AS "out",
             sum("costNanoUsd") AS cost FROM "UsageRollup" GROUP BY granularity)
    SELECT count(*) = 2 AND bool_and((records.n, records."in", records."out", records.cost)
      = (rollups.n, rollups."in", rollups."out", rollups.cost)) AS agree FROM records, rollups`)
  return rows[0]?.agree === true
}
