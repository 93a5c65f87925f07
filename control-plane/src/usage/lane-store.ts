import type pg from 'pg'
import { must } from '../../../proto/std/assert.js'
import { multirangeText, parseMultirange, type Range, type ReportLane } from './report-lane.js'

/** Why a record is not a row. `rejected`: Postgres would not take it, or storing it failed again and again. */
export type DeadLetterCode = 'malformed' | 'conflict' | 'placement' | 'rejected'

export interface DeadLetter {
  readonly sequence: number
  readonly code: DeadLetterCode
  readonly message: string
  readonly payload: Uint8Array
}

/** Rows of `SpoolLane`, `SpoolDrop` and `DeadLetter`: what of a lane is accounted for, one way or another. */
export class LaneStore {
  /** Locks the lane until the transaction ends, making it first if need be, and tells what of it is stored. */
  async lock(client: pg.PoolClient, lane: ReportLane): Promise<readonly Range[]> {
    const select = () =>
      client.query<{ ranges: string }>({
        name: 'lock-lane',
        text: `SELECT ranges::text AS ranges FROM "SpoolLane"
               WHERE "agentId" = $1 AND "bootEpoch" = $2 AND lane = $3 AND class = $4 FOR UPDATE`,
        values: keyOf(lane),
      })
    let found = await select()
    if (found.rows.length === 0) {
      await client.query(
        `INSERT INTO "SpoolLane" ("agentId", "bootEpoch", lane, class) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
        keyOf(lane),
      )
      found = await select()
    }
    return parseMultirange(must(found.rows[0], 'a lane that was just inserted is there').ranges)
  }

  /** Adds to what is stored; the watermark follows: the end of the range that begins at 0. */
  async addRanges(client: pg.PoolClient, lane: ReportLane, ranges: readonly Range[]): Promise<void> {
    if (ranges.length === 0) return
    await client.query({
      name: 'add-ranges',
      text: `UPDATE "SpoolLane" AS l SET ranges = total.ranges, "updatedAt" = now(),
               "nextSequence" = coalesce((SELECT upper(r) FROM unnest(total.ranges) AS r WHERE lower(r) = 0), 0)
             FROM (SELECT ranges + $5::int8multirange AS ranges FROM "SpoolLane"
                   WHERE "agentId" = $1 AND "bootEpoch" = $2 AND lane = $3 AND class = $4) AS total
             WHERE "agentId" = $1 AND "bootEpoch" = $2 AND lane = $3 AND class = $4`,
      values: [...keyOf(lane), multirangeText(ranges)],
    })
  }

  /** The same letter twice is one. */
  async addDeadLetters(client: pg.PoolClient, lane: ReportLane, letters: readonly DeadLetter[]): Promise<void> {
    if (letters.length === 0) return
    await client.query(
      `INSERT INTO "DeadLetter" ("agentId", "bootEpoch", lane, class, sequence, code, message, payload)
       SELECT $1, $2::bigint, $3::integer, $4, * FROM unnest($5::bigint[], $6::text[], $7::text[], $8::bytea[])
       ON CONFLICT ("agentId", "bootEpoch", lane, class, sequence, code) DO NOTHING`,
      [
        ...keyOf(lane),
        letters.map((letter) => letter.sequence),
        letters.map((letter) => letter.code),
        letters.map((letter) => letter.message),
        letters.map((letter) => Buffer.from(letter.payload)),
      ],
    )
  }

  /** Notes a declared drop; returns how many of its sequences are really gone (not stored before). */
  async addDrop(client: pg.PoolClient, lane: ReportLane, range: Range, reason: string): Promise<number> {
    const { rows } = await client.query<{ missingCount: string }>(
      `WITH missing AS (
         SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint AS count
         FROM "SpoolLane", unnest(int8multirange(int8range($5::bigint, $6::bigint)) - ranges) AS r
         WHERE "agentId" = $1 AND "bootEpoch" = $2 AND lane = $3 AND class = $4
       ), noted AS (
         INSERT INTO "SpoolDrop" ("agentId", "bootEpoch", lane, class, "firstSequence", "lastSequence", "missingCount", reason)
         SELECT $1, $2, $3, $4, $5::bigint, $6::bigint - 1, count, $7 FROM missing
         ON CONFLICT ("agentId", "bootEpoch", lane, class, "firstSequence") DO UPDATE
         SET "lastSequence" = greatest("SpoolDrop"."lastSequence", excluded."lastSequence"),
             "missingCount" = "SpoolDrop"."missingCount" + excluded."missingCount"
       )
       SELECT count AS "missingCount" FROM missing`,
      [...keyOf(lane), range.start, range.end, reason.slice(0, 200)],
    )
    return Number(rows[0]?.missingCount ?? 0)
  }
}

function keyOf(lane: ReportLane): [string, number, number, string] {
  return [lane.agentId, lane.bootEpoch, lane.lane, lane.class]
}
