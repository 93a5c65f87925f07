import { createHash, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import pg from 'pg'
import { throwRefusal } from '../proto/std/refusal.js'
import type { Log } from '../proto/std/service.js'

/**
 * Applies `prisma/migrations` at start, without Prisma's command line (a development dependency of 340 MB) and without a
 * download. It keeps Prisma's own table, checksums and advisory lock, so `prisma migrate status` and `deploy` agree with
 * what it did, and either may run after the other.
 *
 * A migration and its row in the table are one transaction: one that fails or is killed leaves nothing behind, and the
 * next start tries again. What cannot run in a transaction (CREATE INDEX CONCURRENTLY) says so in its first line,
 * `-- outside a transaction`, stands alone in its file, and is written so that it can be repeated.
 */
export interface MigrateOptions {
  url: string
  log: Pick<Log, 'info'>
  /** Of `<name>/migration.sql`, applied in order of name; default: `prisma/migrations` of this source tree. */
  folder?: string
  /** Stop after this one; for data of an older release, which is filled in before the newer ones change it. */
  until?: string
}

/** Same key as Prisma's engine: replicas and people queue behind each other. */
const advisoryLock = 72707369
const outsideTransaction = '-- outside a transaction'

/** `int8multirange`, which the spool's lanes are kept in, came with 14. */
const oldestMajor = 14

/**
 * Brings the database up to the newest migration and returns how many it applied. Refuses (`RefusalError`) when the
 * database cannot be reached or is too old, when an earlier migration failed, or one was edited after it had been
 * applied; the message says what to do.
 */
export async function migrate(options: MigrateOptions): Promise<number> {
  const migrations = await loadMigrations(options.folder ?? findFolder())
  const client = new pg.Client({ connectionString: options.url, application_name: 'switchyard-migrate' })
  // Postgres going away shows up in the query that runs, not as an uncaught event.
  client.on('error', () => {})
  await client.connect().catch((error: unknown) => refuseUnreachable(client, error))
  try {
    await refuseTooOld(client)
    await client.query('SELECT pg_advisory_lock($1)', [advisoryLock])
    return await applyMissing(client, migrations, options, apply)
  } finally {
    await client.end().catch(() => {})
  }
}

/**
 * The same within the transaction that `client` has open: what it does is there when that commits, or not at all. For a
 * database that is filled in the same transaction, hence an empty one: indexes need not be made concurrently there.
 */
export async function migrateWithin(client: pg.Client, options: Omit<MigrateOptions, 'url'>): Promise<number> {
  const migrations = await loadMigrations(options.folder ?? findFolder())
  await refuseTooOld(client)
  await client.query('SELECT pg_advisory_xact_lock($1)', [advisoryLock])
  return applyMissing(client, migrations, options, (_, migration) =>
    applyPart(client, { ...migration, sql: migration.sql.replaceAll(/\bINDEX\s+CONCURRENTLY\b/gi, 'INDEX') }),
  )
}

async function applyMissing(
  client: pg.Client,
  migrations: readonly Migration[],
  options: Omit<MigrateOptions, 'url'>,
  apply: (client: pg.Client, migration: Migration) => Promise<void>,
): Promise<number> {
  await client.query(createTable)
  const applied = await loadApplied(client)
  refuseFailed(applied)
  let count = 0
  for (const migration of migrations) {
    if (options.until !== undefined && migration.name > options.until) break
    const earlier = applied.get(migration.name)
    if (earlier) {
      refuseEdited(migration, earlier.checksum)
      continue
    }
    await apply(client, migration)
    options.log.info({ migration: migration.name }, 'applied a migration')
    count++
  }
  return count
}

/** Name and checksum of every migration of this release, in order. */
export async function listMigrations(folder = findFolder()): Promise<{ name: string; checksum: string }[]> {
  return (await loadMigrations(folder)).map(({ name, checksum }) => ({ name, checksum }))
}

interface Migration {
  name: string
  sql: string
  checksum: string
}

interface Applied {
  checksum: string
  finishedAt: Date | null
  logs: string | null
}

const createTable = `CREATE TABLE IF NOT EXISTS _prisma_migrations (
  id VARCHAR(36) PRIMARY KEY NOT NULL,
  checksum VARCHAR(64) NOT NULL,
  finished_at TIMESTAMPTZ,
  migration_name VARCHAR(255) NOT NULL,
  logs TEXT,
  rolled_back_at TIMESTAMPTZ,
  started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  applied_steps_count INTEGER NOT NULL DEFAULT 0
)`

async function loadMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => existsSync(path.join(folder, name, 'migration.sql'))).sort()
  return Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(path.join(folder, name, 'migration.sql'))
      return { name, sql: bytes.toString('utf8'), checksum: createHash('sha256').update(bytes).digest('hex') }
    }),
  )
}

/** The SQL stays in the source tree: compiled code finds it by walking up out of `.build`. */
function findFolder(): string {
  for (let here = import.meta.dirname; ; here = path.dirname(here)) {
    const folder = path.join(here, 'prisma', 'migrations')
    if (existsSync(folder)) return folder
    if (here === path.dirname(here)) {
      return throwRefusal(
        'unavailable',
        `no prisma/migrations above ${import.meta.dirname}; the installation is incomplete`,
      )
    }
  }
}

/** Says which database, never its password. */
function refuseUnreachable(client: pg.Client, error: unknown): never {
  const place = `the database "${client.database}" at ${client.host}:${client.port}`
  const { code, message } = error as { code?: string; message?: string }
  const reasons: Readonly<Record<string, string>> = {
    '3D000': `${place} does not exist: make it ("createdb ${client.database}"), or correct DATABASE_URL`,
    '28P01': `${place} refuses the user "${client.user}": correct the name or password in DATABASE_URL`,
    '28000': `${place} refuses the user "${client.user}" (${message}): correct DATABASE_URL, or the server's pg_hba.conf`,
  }
  const known = reasons[code ?? '']
  throwRefusal(
    'unavailable',
    known ?? `${place} cannot be reached (${message || code}): is it running, and is DATABASE_URL right?`,
  )
}

async function refuseTooOld(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ version: string; major: number }>(
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major`,
  )
  const found = rows[0]
  if (found && found.major >= oldestMajor) return
  throwRefusal(
    'unavailable',
    `PostgreSQL ${found?.version} is too old: Switchyard needs ${oldestMajor} or newer (tested with 15 and 18)`,
  )
}

async function loadApplied(client: pg.Client): Promise<Map<string, Applied>> {
  const { rows } = await client.query<{ migration_name: string } & Applied>(
    `SELECT migration_name, checksum, finished_at AS "finishedAt", logs FROM _prisma_migrations WHERE rolled_back_at IS NULL`,
  )
  return new Map(rows.map((row) => [row.migration_name, row]))
}

function refuseFailed(applied: ReadonlyMap<string, Applied>): void {
  const failed = [...applied].find(([, row]) => row.finishedAt === null)
  if (!failed) return
  const [name, { logs }] = failed
  throwRefusal(
    'migration_failed',
    `migration ${name} failed earlier (${logs?.trim().split('\n')[0] || 'no reason recorded'}): repair its cause, then mark it with "npm run prisma -- migrate resolve --rolled-back ${name}" and start again`,
  )
}

function refuseEdited(migration: Migration, checksum: string): void {
  if (checksum === migration.checksum) return
  throwRefusal(
    'migration_edited',
    `migration ${migration.name} is not the one this database was made with: run the version of Switchyard that made it, or begin with an empty database ("npm start -- --fresh" for the local one)`,
  )
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  if (migration.sql.startsWith(outsideTransaction)) {
    return applyPart(client, migration, async (id, error) => {
      await client.query(`UPDATE _prisma_migrations SET logs = $2 WHERE id = $1`, [id, String(error)])
    })
  }
  await client.query('BEGIN')
  await applyPart(client, migration)
  await client.query('COMMIT')
}

/** In whatever transaction there is. */
async function applyPart(
  client: pg.Client,
  migration: Migration,
  onFault: (id: string, error: unknown) => Promise<void> = async () => {},
): Promise<void> {
  const id = randomUUID()
  const insert = `INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ($1, $2, $3)`
  await client.query(insert, [id, migration.checksum, migration.name])
  try {
    await client.query(migration.sql)
  } catch (error) {
    await onFault(id, error)
    throw new Error(`migration ${migration.name} failed${describePlace(error, migration.sql)}`, { cause: error })
  }
  await client.query(`UPDATE _prisma_migrations SET finished_at = now(), applied_steps_count = 1 WHERE id = $1`, [id])
}

/** Message and line of a Postgres error inside `sql`. */
function describePlace(error: unknown, sql: string): string {
  const { message, position } = error as { message?: string; position?: string }
  const line = position ? ` (line ${sql.slice(0, Number(position)).split('\n').length})` : ''
  return `: ${message ?? String(error)}${line}`
}
