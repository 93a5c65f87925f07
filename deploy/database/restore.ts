import { createReadStream } from 'node:fs'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { listMigrations, migrate, migrateWithin } from '../../prisma/migrate.js'
import { throwRefusal } from '../../proto/std/refusal.js'
import { type Manifest, quoted, readBackup, type TableFile } from './backup-folder.js'

export interface RestoreOptions {
  /** An empty database. */
  url: string
  folder: string
  /**
   * False raises the installation's epoch, so that agents follow the restored state although they have applied newer
   * generations than it knows. True only when nothing ran since the backup (a move, an upgrade of Postgres).
   */
  keepEpoch?: boolean
  say?: (line: string) => void
}

/**
 * Fills an empty database from a backup: applies the migrations the backup was made with and copies every row in one
 * transaction, then applies the migrations that came since. Reads and checks the whole backup before it touches the
 * database, and refuses a database that has any table. One that fails or is killed on the way leaves the database as
 * empty as it was: nobody starts on tables without rows, and the same command may be run again.
 */
export async function restore(options: RestoreOptions): Promise<Manifest> {
  const { url, folder, say = () => {} } = options
  const manifest = await readBackup(folder)
  await refuseUnknownMigrations(manifest)
  const log = { info: () => {} }
  const client = new pg.Client({ connectionString: url, application_name: 'switchyard-restore', options: textForms })
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query('BEGIN')
    await refuseNotEmpty(client)
    const last = manifest.migrations.at(-1)
    if (last) await migrateWithin(client, { log, until: last.name })
    // What migrations themselves put in (the one row of a counter) is in the backup too.
    const names = manifest.tables.map((table) => quoted(table.name)).join(', ')
    if (names !== '') await client.query(`TRUNCATE ${names}`)
    for (const table of manifest.tables) {
      await readTable(client, table, folder)
      say(`${table.name}: ${table.rowCount} rows`)
    }
    for (const { name, value, called } of manifest.sequences) {
      await client.query('SELECT setval($1::regclass, $2::bigint, $3)', [`public.${quoted(name)}`, value, called])
    }
    if (!options.keepEpoch) await client.query(`UPDATE "Installation" SET epoch = epoch + 1`)
    await client.query('COMMIT')
    const newer = await migrate({ url, log })
    if (newer > 0) say(`applied ${newer} newer migrations`)
    await client.query('ANALYZE')
    return manifest
  } finally {
    await client.end().catch(() => {})
  }
}

const textForms = '-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC'

async function refuseUnknownMigrations(manifest: Manifest): Promise<void> {
  const known = new Map((await listMigrations()).map((migration) => [migration.name, migration.checksum]))
  const unknown = manifest.migrations.find(({ name, checksum }) => known.get(name) !== checksum)
  if (!unknown) return
  throwRefusal(
    'bad_input',
    `the backup was made by a release that knows migration ${unknown.name} and this one does not: restore with that release, or a newer one`,
  )
}

async function refuseNotEmpty(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm') AND relnamespace = 'public'::regnamespace
     ORDER BY relname LIMIT 1`,
  )
  const found = rows[0]
  if (!found) return
  throwRefusal(
    'conflict',
    `the database is not empty (it has ${quoted(found.name)}): restore into a new one, then point DATABASE_URL at it`,
  )
}

async function readTable(client: pg.Client, table: TableFile, folder: string): Promise<void> {
  const columns = table.columns.map(quoted).join(', ')
  const rows = client.query(copyFrom(`COPY ${quoted(table.name)} (${columns}) FROM STDIN WITH (ENCODING 'UTF8')`))
  await pipeline(createReadStream(path.join(folder, table.file)), createGunzip(), rows)
  if (rows.rowCount === table.rowCount) return
  throwRefusal('bad_input', `${table.name}: ${rows.rowCount} rows came in where the backup says ${table.rowCount}`)
}
