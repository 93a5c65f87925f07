import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import { assert } from '../../../proto/std/assert.js'
import { Backoff } from '../../../proto/std/backoff.js'
import { type Clock, systemClock } from '../../../proto/std/clock.js'
import { randomUnit } from '../../../proto/std/ids.js'
import { RefusalError } from '../../../proto/std/refusal.js'
import { classifyDatabaseError, unavailableRefusal } from './database-error.js'
import { Prisma, PrismaClient } from './generated/client.js'

export interface DatabaseOptions {
  url: string
  /** Connections of the Prisma client. */
  poolMax: number
  /** Connections for set-based SQL (ingest, rollups, snapshots); apart, so that a flood of usage cannot starve GraphQL. */
  sqlPoolMax: number
  /** Connections for answers that agents share; apart, so that neither they nor usage wait for the other. Default 4. */
  answersPoolMax?: number
  /** For the waits between tries; default: the system's. */
  clock?: Clock
}

/** One unit of work: its rows, and one `now` for everything in it. */
export interface Transaction {
  readonly rows: Prisma.TransactionClient
  readonly now: Date
}

/** How often a unit of work is tried that Postgres gave up for another one's sake (deadlock, serialization failure). */
const triesMax = 5
/** A transaction of `rows` that takes longer is rolled back. */
const transactionMs = 15_000
/** A connection that hangs in a transaction holds its row locks; Postgres ends it after this. Longer than `transactionMs`. */
const idleInTransactionMs = 30_000
/** To connect, or to be lent a connection while all are busy: a burst of mutations queues here before it is refused. */
const connectMs = 15_000
const answersPoolMaxDefault = 4
/** Of shared answers: what comes later than this is a miss to whoever asked, long since. */
const answersConnectMs = 1_000
const answersStatementMs = 2_000

/**
 * The way to Postgres. Prisma for rows that people edit; `sql` (node-postgres) where one set-based statement replaces a
 * thousand round trips. Only stores and readers hold one.
 */
export class Database {
  readonly rows: PrismaClient
  readonly sql: pg.Pool
  /** For shared answers alone. Connects when there are any. */
  readonly answersSql: pg.Pool
  readonly #clock: Clock

  constructor(options: DatabaseOptions) {
    this.#clock = options.clock ?? systemClock
    const connection = {
      connectionString: options.url,
      application_name: 'switchyard',
      connectionTimeoutMillis: connectMs,
      idle_in_transaction_session_timeout: idleInTransactionMs,
    }
    this.rows = new PrismaClient({
      adapter: new PrismaPg({ ...connection, max: options.poolMax }),
      transactionOptions: { maxWait: connectMs, timeout: transactionMs },
      // The other formats put a piece of our source into the message.
      errorFormat: 'minimal',
    })
    this.sql = new pg.Pool({ ...connection, max: options.sqlPoolMax })
    this.answersSql = new pg.Pool({
      ...{ ...connection, max: options.answersPoolMax ?? answersPoolMaxDefault },
      ...{ connectionTimeoutMillis: answersConnectMs, statement_timeout: answersStatementMs },
    })
    // A connection that dies while nothing runs on it (Postgres restarted) must not end the process; the next query
    // reports it. The pool listens to those that lie idle in it, the second line to those that are lent out.
    for (const pool of [this.sql, this.answersSql]) {
      pool.on('error', () => {})
      pool.on('connect', (client) => client.on('error', () => {}))
    }
  }

  /**
   * Runs `work` in one transaction at `now`; any throw rolls back whole. A deadlock or serialization failure is tried
   * again, up to five times, so `work` changes nothing but rows. Refuses `unavailable` when Postgres is away; after a
   * connection that was lost in the commit itself nobody knows the outcome, so that is never tried again here.
   */
  transaction<T>(now: Date, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#retried(() =>
      this.rows.$transaction((rows) => work({ rows, now }), {
        isolationLevel: Prisma.TransactionIsolationLevel.ReadCommitted,
      }),
    )
  }

  /**
   * Reads at one instant; Postgres ends any statement in it that takes longer than `ms` (below `transactionMs`), which
   * throws an error of kind `timeout`. For questions whose cost the asker decides.
   */
  readWithin<T>(ms: number, work: (rows: Prisma.TransactionClient) => Promise<T>): Promise<T> {
    assert(Number.isInteger(ms) && ms > 0 && ms < transactionMs, 'a read ends before its transaction does')
    return this.#retried(() =>
      this.rows.$transaction(
        async (rows) => {
          await rows.$executeRawUnsafe(`SET LOCAL statement_timeout = ${ms}`)
          return work(rows)
        },
        { isolationLevel: Prisma.TransactionIsolationLevel.RepeatableRead },
      ),
    )
  }

  /**
   * The same promise for set-based SQL: one transaction on one connection of `sql`, or of another pool of this. The
   * connection is given back, or thrown away when it is in doubt.
   */
  sqlTransaction<T>(
    work: (client: pg.PoolClient) => Promise<T>,
    isolation: 'read committed' | 'repeatable read' = 'read committed',
    pool: pg.Pool = this.sql,
  ): Promise<T> {
    return this.#retried(async () => {
      const client = await pool.connect()
      let doubtful = true
      try {
        await client.query(`BEGIN ISOLATION LEVEL ${isolation}`)
        const result = await work(client).catch(async (error: unknown) => {
          // A dead connection rolls back by itself; what matters is the first error.
          await client.query('ROLLBACK').then(
            () => {
              doubtful = false
            },
            () => {},
          )
          throw error
        })
        await client.query('COMMIT')
        doubtful = false
        return result
      } finally {
        client.release(doubtful)
      }
    })
  }

  async close(): Promise<void> {
    await this.rows.$disconnect()
    await Promise.all([this.sql.end(), this.answersSql.end()])
  }

  async #retried<T>(attempt: () => Promise<T>): Promise<T> {
    const backoff = new Backoff({ minMs: 10, maxMs: 200 }, randomUnit)
    for (;;) {
      try {
        return await attempt()
      } catch (error) {
        const refusal = unavailableRefusal(error)
        if (refusal) throw Object.assign(new RefusalError(refusal), { cause: error })
        if (classifyDatabaseError(error)?.kind !== 'conflict' || backoff.attempt + 1 >= triesMax) throw error
        await this.#clock.sleep(backoff.nextMs())
      }
    }
  }
}
