import type pg from 'pg'
import type { RecordSink, SinkRow } from '../usage/record-sink.js'
import type { ReportLane } from '../usage/report-lane.js'
import { readSpan, type SpanRow } from './span-record.js'

/** Spans in Postgres; one statement for a batch. A span sent twice is one, and no hash is kept to compare them. */
export class SpanStore implements RecordSink<SpanRow> {
  readonly class = 'spans'

  read(payload: Uint8Array): SpanRow | string {
    return readSpan(payload)
  }

  /** A span of the agent's own work names nobody. */
  subjectOf(row: SpanRow) {
    if (row.tenantId === '' && row.environmentId === '') return null
    return { tenantId: row.tenantId, environmentId: row.environmentId, clusterId: null }
  }

  async insert(
    client: pg.PoolClient,
    lane: ReportLane,
    rows: readonly SinkRow<SpanRow>[],
  ): Promise<ReadonlySet<number>> {
    const incoming = rows.map(({ sequence, row }) => ({ sequence, ...row }))
    const result = await client.query<{ sequence: string }>({
      name: 'insert-spans',
      text: `INSERT INTO "TraceSpan" ("agentId", "bootEpoch", lane, sequence, "traceId", "spanId", "parentSpanId", name,
               kind, "startedAt", "endedAt", status, attributes, "tenantId", "environmentId")
             SELECT $1, $2::bigint, $3::integer, r.* FROM json_to_recordset($4::json) AS r(sequence bigint, "traceId" text,
               "spanId" text, "parentSpanId" text, name text, kind integer, "startedAt" timestamptz,
               "endedAt" timestamptz, status text, attributes jsonb, "tenantId" text, "environmentId" text)
             ON CONFLICT ("agentId", "bootEpoch", lane, sequence) DO NOTHING
             RETURNING sequence`,
      values: [lane.agentId, lane.bootEpoch, lane.lane, JSON.stringify(incoming)],
    })
    return new Set(result.rows.map((row) => Number(row.sequence)))
  }

  async loadHashes(): Promise<ReadonlyMap<number, string>> {
    return new Map()
  }
}
