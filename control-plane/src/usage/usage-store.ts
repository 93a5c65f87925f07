import type pg from 'pg'
import type { RecordSink, SinkRow } from './record-sink.js'
import type { ReportLane } from './report-lane.js'
import { readUsageRecord, type UsageRow } from './usage-record.js'

/** Column → type, in the order of the insert. The lane's own columns come before them. */
const columns: Readonly<Record<keyof UsageRow, string>> = {
  requestId: 'text',
  traceId: 'text',
  spanId: 'text',
  startedAt: 'timestamptz',
  tenantId: 'text',
  environmentId: 'text',
  apiKeyId: 'text',
  teamId: 'text',
  userId: 'text',
  operation: 'text',
  routeId: 'text',
  routeName: 'text',
  providerId: 'text',
  modelId: 'text',
  requestedModel: 'text',
  actualModel: 'text',
  clusterId: 'text',
  region: 'text',
  tokensIn: 'bigint',
  tokensOut: 'bigint',
  tokensInCached: 'bigint',
  tokensInCacheWrite: 'bigint',
  tokensOutReasoning: 'bigint',
  usageSource: 'text',
  costNanoUsd: 'bigint',
  priceVersion: 'integer',
  latencyUs: 'bigint',
  providerLatencyUs: 'bigint',
  guardrailLatencyUs: 'bigint',
  firstTokenUs: 'bigint',
  status: 'text',
  code: 'text',
  httpStatus: 'integer',
  fallbackUsed: 'boolean',
  hops: 'jsonb',
  stream: 'boolean',
  temperature: 'double precision',
  promptId: 'text',
  promptVersion: 'text',
  guardrailResult: 'text',
  groundingScore: 'double precision',
  cacheHit: 'text',
  savedNanoUsd: 'bigint',
  savedTokensIn: 'bigint',
  savedTokensOut: 'bigint',
  routingOverride: 'text',
  snapshotGeneration: 'bigint',
}

const names = Object.keys(columns).map((name) => `"${name}"`)
const types = Object.entries(columns).map(([name, type]) => `"${name}" ${type}`)

/** Rows and the marks of the minutes that they touch, in one statement. */
const insertStatement = `
  WITH incoming AS (
    SELECT * FROM json_to_recordset($4::json) AS r("sequence" bigint, "hash" text, ${types.join(', ')})
  ), inserted AS (
    INSERT INTO "UsageRecord" ("agentId", "bootEpoch", lane, sequence, "contentHash", ${names.join(', ')})
    SELECT $1, $2::bigint, $3::integer, sequence, decode(hash, 'hex'), ${names.join(', ')} FROM incoming
    ON CONFLICT ("agentId", "bootEpoch", lane, sequence) DO NOTHING
    RETURNING sequence, "startedAt", "tenantId"
  ), marked AS (
    INSERT INTO "RollupMark" (granularity, "bucketAt", "tenantId")
    SELECT DISTINCT 'minute', date_trunc('minute', "startedAt", 'UTC'), "tenantId" FROM inserted
  )
  SELECT sequence FROM inserted`

/** Usage records in Postgres. Set-based: one statement for a batch. */
export class UsageStore implements RecordSink<UsageRow> {
  readonly class = 'usage'

  read(payload: Uint8Array): UsageRow | string {
    return readUsageRecord(payload)
  }

  subjectOf(row: UsageRow) {
    return row
  }

  async insert(
    client: pg.PoolClient,
    lane: ReportLane,
    rows: readonly SinkRow<UsageRow>[],
  ): Promise<ReadonlySet<number>> {
    const incoming = rows.map(({ sequence, hash, row }) => ({ sequence, hash, ...row }))
    const result = await client.query<{ sequence: string }>({
      name: 'insert-usage',
      text: insertStatement,
      values: [lane.agentId, lane.bootEpoch, lane.lane, JSON.stringify(incoming)],
    })
    return new Set(result.rows.map((row) => Number(row.sequence)))
  }

  async loadHashes(
    client: pg.PoolClient,
    lane: ReportLane,
    sequences: readonly number[],
  ): Promise<ReadonlyMap<number, string>> {
    const result = await client.query<{ sequence: string; hash: string }>(
      `SELECT sequence, encode("contentHash", 'hex') AS hash FROM "UsageRecord"
       WHERE "agentId" = $1 AND "bootEpoch" = $2 AND lane = $3 AND sequence = ANY($4::bigint[])`,
      [lane.agentId, lane.bootEpoch, lane.lane, sequences],
    )
    return new Map(result.rows.map((row) => [Number(row.sequence), row.hash]))
  }
}
