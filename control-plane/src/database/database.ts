import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import { Prisma, PrismaClient } from './generated/client.js'

export interface DatabaseOptions {
  url: string
  /** Connections of the Prisma client. */
  poolMax: number
  /** Connections for set-based SQL (ingest, rollups, snapshots); apart, so that a flood of usage cannot starve GraphQL. */
  sqlPoolMax: number
}

/** One unit of work: its rows, and one `now` for everything in it. */
export interface Transaction {
  readonly rows: Prisma.TransactionClient
  readonly now: Date
}

/**
 * The way to Postgres. Prisma for rows that people edit; `sql` (node-postgres) where one set-based statement replaces a
 * thousand round trips. Only stores and readers hold one.
 */
export class Database {
  readonly rows: PrismaClient
  readonly sql: pg.Pool

  constructor(options: DatabaseOptions) {
    this.rows = new PrismaClient({
      adapter: new PrismaPg({ connectionString: options.url, max: options.poolMax }),
      transactionOptions: { maxWait: 5_000, timeout: 15_000 },
    })
    this.sql = new pg.Pool({ connectionString: options.url, max: options.sqlPoolMax })
    // A pooled connection that dies while idle (Postgres restarted) must not end the process; the next query reports it.
    this.sql.on('error', () => {})
  }

  /** Runs `work` in one transaction at `now`; any throw rolls back whole. */
  transaction<T>(now: Date, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.rows.$transaction((rows) => work({ rows, now }), {
      isolationLevel: Prisma.TransactionIsolationLevel.ReadCommitted,
    })
  }

  async close(): Promise<void> {
    await this.rows.$disconnect()
    await this.sql.end()
  }
}
