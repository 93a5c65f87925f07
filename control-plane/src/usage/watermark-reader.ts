import type { Database } from '../database/database.js'
import { laneKey, multirangeText, type Range, type ReportLane } from './report-lane.js'

/** What of a queued batch to look for. */
export interface Awaited {
  readonly lane: ReportLane
  readonly ranges: readonly Range[]
}

/** Reads from Postgres, and nowhere else, what is stored. */
export class WatermarkReader {
  readonly #database: Pick<Database, 'sql'>

  constructor(database: Pick<Database, 'sql'>) {
    this.#database = database
  }

  /** The watermark of each lane, in order; 0 for one that is not known. */
  async loadWatermarks(lanes: readonly ReportLane[]): Promise<number[]> {
    if (lanes.length === 0) return []
    const { rows } = await this.#database.sql.query<{ nextSequence: string }>(
      `SELECT coalesce(l."nextSequence", 0) AS "nextSequence"
       FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::text[]) WITH ORDINALITY
            AS a("agentId", "bootEpoch", lane, class, position)
       LEFT JOIN "SpoolLane" l USING ("agentId", "bootEpoch", lane, class) ORDER BY position`,
      keysOf(lanes),
    )
    return rows.map((row) => Number(row.nextSequence))
  }

  /** For each batch, in order, whether all of it is stored; and the watermark of every lane among them, by `laneKey`. */
  async loadStored(
    awaited: readonly Awaited[],
  ): Promise<{ stored: readonly boolean[]; watermarks: ReadonlyMap<string, number> }> {
    const lanes = awaited.map((batch) => batch.lane)
    const { rows } = await this.#database.sql.query<{ nextSequence: string; stored: boolean }>({
      name: 'load-stored',
      text: `SELECT coalesce(l."nextSequence", 0) AS "nextSequence", coalesce(l.ranges @> a.wanted, false) AS stored
             FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::text[], $5::int8multirange[]) WITH ORDINALITY
                  AS a("agentId", "bootEpoch", lane, class, wanted, position)
             LEFT JOIN "SpoolLane" l USING ("agentId", "bootEpoch", lane, class) ORDER BY position`,
      values: [...keysOf(lanes), awaited.map((batch) => multirangeText(batch.ranges))],
    })
    return {
      stored: rows.map((row) => row.stored),
      watermarks: new Map(rows.map((row, index) => [laneKey(lanes[index] as ReportLane), Number(row.nextSequence)])),
    }
  }
}

function keysOf(lanes: readonly ReportLane[]): [string[], number[], number[], string[]] {
  return [
    lanes.map((lane) => lane.agentId),
    lanes.map((lane) => lane.bootEpoch),
    lanes.map((lane) => lane.lane),
    lanes.map((lane) => lane.class),
  ]
}
