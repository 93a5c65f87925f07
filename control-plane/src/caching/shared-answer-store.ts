import type pg from 'pg'
import type { Database } from '../database/database.js'
import { answerOverheadBytes, type SharedAnswer } from './shared-answer.js'

/** Rows that one statement deletes at most. One answer always makes room for one: 1 MiB is 2,049 of the shortest. */
const deletedMax = 4_096
/** What making room leaves free, so that not each answer has to. */
const freeShare = 1 / 16

/**
 * Answers that agents share. Whoever writes holds the lock of the cluster's shelf for the length of its transaction, so
 * that what the shelf counts is what lies on it; whoever reads waits for nobody.
 */
export class SharedAnswerStore {
  readonly #database: Pick<Database, 'answersSql' | 'sqlTransaction'>

  constructor(database: Pick<Database, 'answersSql' | 'sqlTransaction'>) {
    this.#database = database
  }

  /** Null: not there, expired at `now`, or longer than `bytesMax`. */
  async find(clusterId: string, name: Buffer, options: { bytesMax: number; now: Date }): Promise<Buffer | null> {
    const { rows } = await this.#database.answersSql.query<{ value: Buffer }>(
      `SELECT value FROM "SharedAnswer"
       WHERE "clusterId" = $1 AND name = $2 AND "expiresAt" > $3 AND octet_length(value) <= $4`,
      [clusterId, name, options.now, options.bytesMax],
    )
    return rows[0]?.value ?? null
  }

  /**
   * Keeps the answer, and makes the room for it by taking those that were put longest ago; the cluster's answers then take
   * at most `bytesMax`, which is at least one answer. False: what is there was born later.
   */
  put(answer: SharedAnswer, options: { bytesMax: number; now: Date }): Promise<boolean> {
    const { clusterId, name, value, bornAt, expiresAt } = answer
    return this.#onShelf(clusterId, async (client) => {
      const { rows } = await client.query<{ bytes: string }>(
        `WITH old AS (
           SELECT octet_length(value) + $7 AS bytes FROM "SharedAnswer" WHERE "clusterId" = $1 AND name = $2),
         kept AS (
           INSERT INTO "SharedAnswer" AS here ("clusterId", name, value, "bornAt", "storedAt", "expiresAt")
           VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT ("clusterId", name) DO UPDATE
             SET value = excluded.value, "bornAt" = excluded."bornAt", "storedAt" = excluded."storedAt",
                 "expiresAt" = excluded."expiresAt"
             WHERE here."bornAt" <= excluded."bornAt" OR here."expiresAt" <= excluded."storedAt"
           RETURNING octet_length(value) + $7 AS bytes)
         INSERT INTO "SharedAnswerShelf" AS shelf ("clusterId", bytes)
         SELECT $1, kept.bytes FROM kept
         ON CONFLICT ("clusterId") DO UPDATE
           SET bytes = shelf.bytes + excluded.bytes - coalesce((SELECT bytes FROM old), 0)
         RETURNING bytes`,
        [clusterId, name, value, bornAt, options.now, expiresAt, answerOverheadBytes],
      )
      const shelf = rows[0]
      if (shelf === undefined) return false
      if (Number(shelf.bytes) > options.bytesMax) await makeRoom(client, clusterId, options.bytesMax)
      return true
    })
  }

  /** Clusters that keep any, or did. */
  async listClusters(): Promise<readonly string[]> {
    const { rows } = await this.#database.answersSql.query<{ clusterId: string }>(
      `SELECT "clusterId" FROM "SharedAnswerShelf" ORDER BY "clusterId"`,
    )
    return rows.map(({ clusterId }) => clusterId)
  }

  /** Takes so many of what is expired at `now`, or beyond `bytesMax`, as one statement may. True: there may be more. */
  sweep(clusterId: string, options: { bytesMax: number; now: Date }): Promise<boolean> {
    return this.#onShelf(clusterId, async (client) => {
      const { rows } = await client.query<{ bytes: string; count: number }>(
        `WITH doomed AS (
           SELECT name FROM "SharedAnswer" WHERE "clusterId" = $1 AND "expiresAt" <= $2
           ORDER BY "expiresAt" LIMIT $3),
         gone AS (
           DELETE FROM "SharedAnswer" a USING doomed WHERE a."clusterId" = $1 AND a.name = doomed.name
           RETURNING octet_length(a.value) + $4 AS bytes)
         UPDATE "SharedAnswerShelf" SET bytes = bytes - coalesce((SELECT sum(bytes) FROM gone), 0)
         WHERE "clusterId" = $1 RETURNING bytes, (SELECT count(*) FROM gone)::int AS count`,
        [clusterId, options.now, deletedMax, answerOverheadBytes],
      )
      const bytes = Number(rows[0]?.bytes ?? 0)
      if (bytes <= options.bytesMax) return rows[0]?.count === deletedMax
      await makeRoom(client, clusterId, options.bytesMax)
      return true
    })
  }

  #onShelf<T>(clusterId: string, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const { answersSql } = this.#database
    return this.#database.sqlTransaction(
      async (client) => {
        // Before the statements that count: each sees what was committed when it began.
        await client.query(`SELECT pg_advisory_xact_lock(hashtextextended('shared-answers ' || $1, 0))`, [clusterId])
        return work(client)
      },
      'read committed',
      answersSql,
    )
  }
}

/** Takes those that were put longest ago, until the rest is a sixteenth below `bytesMax` or one statement's worth is gone. */
async function makeRoom(client: pg.PoolClient, clusterId: string, bytesMax: number): Promise<void> {
  await client.query(
    `WITH aged AS (
       SELECT name, "storedAt", octet_length(value) + $3 AS bytes FROM "SharedAnswer"
       WHERE "clusterId" = $1 ORDER BY "storedAt" LIMIT $4),
     summed AS (
       SELECT name, sum(bytes) OVER (ORDER BY "storedAt", name) - bytes AS before FROM aged),
     doomed AS (
       SELECT name FROM summed
       WHERE before < (SELECT bytes FROM "SharedAnswerShelf" WHERE "clusterId" = $1) - $2),
     gone AS (
       DELETE FROM "SharedAnswer" a USING doomed WHERE a."clusterId" = $1 AND a.name = doomed.name
       RETURNING octet_length(a.value) + $3 AS bytes)
     UPDATE "SharedAnswerShelf" SET bytes = bytes - coalesce((SELECT sum(bytes) FROM gone), 0) WHERE "clusterId" = $1`,
    [clusterId, Math.floor(bytesMax * (1 - freeShare)), answerOverheadBytes, deletedMax],
  )
}
