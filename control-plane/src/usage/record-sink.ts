import type pg from 'pg'
import type { ReportClass, ReportLane } from './report-lane.js'

/** Where the records of one class end up. The batch service holds the lane's lock around every call with a client. */
export interface RecordSink<Row> {
  readonly class: ReportClass
  /** Pure. The row of a payload, or in words why it is malformed. */
  read(payload: Uint8Array): Row | string
  /** Whom a row is about; checked against what the agent's cluster may serve. Null: nobody, needs no check. */
  subjectOf(
    row: Row,
  ): { readonly tenantId: string; readonly environmentId: string; readonly clusterId: string | null } | null
  /** Inserts with one statement and leaves existing keys alone; the sequences that were new. */
  insert(client: pg.PoolClient, lane: ReportLane, rows: readonly SinkRow<Row>[]): Promise<ReadonlySet<number>>
  /** SHA-256 of what is stored under those keys, for telling a repetition from a contradiction; empty when not kept. */
  loadHashes(
    client: pg.PoolClient,
    lane: ReportLane,
    sequences: readonly number[],
  ): Promise<ReadonlyMap<number, string>>
}

export interface SinkRow<Row> {
  readonly sequence: number
  /** SHA-256 of the payload, lower-case hexadecimal. */
  readonly hash: string
  readonly row: Row
}
