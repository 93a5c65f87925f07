import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { must } from '../../proto/std/assert.js'
import type { Clock } from '../../proto/std/clock.js'
import { throwRefusal } from '../../proto/std/refusal.js'
import { flush, type Manifest, manifestName, quoted, type TableFile } from './backup-folder.js'

export interface BackupOptions {
  url: string
  /** Must not exist; its parent must. */
  folder: string
  clock: Clock
  say?: (line: string) => void
}

/**
 * Writes everything Switchyard keeps in Postgres into `folder`, as of one instant, while the control plane goes on: one
 * repeatable-read transaction reads every table. Needs no program of Postgres (the npm package ships no pg_dump) and no
 * superuser.
 *
 * Not in it: queues (`bullmq`), which are transport and forget by design, answers that agents share, and the keys of SWITCHYARD_WRAP_KEYS, without
 * which the credentials in a backup are noise. That is on purpose: keep them apart.
 */
export async function backUp(options: BackupOptions): Promise<Manifest> {
  const { folder, clock, say = () => {} } = options
  if (await stat(folder).catch(() => null)) throwRefusal('bad_input', `${folder} exists; a backup is a new folder`)
  const half = `${folder}.partial`
  await rm(half, { recursive: true, force: true })
  await mkdir(path.join(half, 'tables'), { recursive: true, mode: 0o700 })
  const client = new pg.Client({ connectionString: options.url, application_name: 'switchyard-backup', ...textForms })
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    const migrations = await loadMigrations(client)
    const tables: TableFile[] = []
    for (const { name, columns } of await loadTables(client)) {
      const written = await writeTable(client, name, columns, half)
      tables.push(written)
      say(`${name}: ${written.rowCount} rows`)
    }
    const manifest: Manifest = {
      format: 1,
      createdAt: new Date(clock.nowMs()).toISOString(),
      postgresVersion:
        (await client.query<{ server_version: string }>('SHOW server_version')).rows[0]?.server_version ?? '',
      migrations,
      tables,
      // Read last: numbers handed out meanwhile are then at worst skipped, never given twice.
      sequences: await loadSequences(client),
    }
    await client.query('COMMIT')
    const file = path.join(half, manifestName)
    await writeFile(file, `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 })
    for (const each of [file, path.join(half, 'tables'), half]) await flush(each)
    await rename(half, folder)
    await flush(path.dirname(path.resolve(folder)))
    return manifest
  } catch (error) {
    await rm(half, { recursive: true, force: true })
    throw error
  } finally {
    await client.end().catch(() => {})
  }
}

/** Values must read the same whatever a server or a role has set. */
const textForms = {
  client_encoding: 'UTF8',
  options: '-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex -c extra_float_digits=1',
}

async function loadMigrations(client: pg.Client): Promise<Manifest['migrations']> {
  const known = await client.query<{ known: boolean }>(
    `SELECT to_regclass('public._prisma_migrations') IS NOT NULL AS known`,
  )
  if (!known.rows[0]?.known)
    throwRefusal('bad_input', 'this database holds no Switchyard: it has no table of migrations')
  const { rows } = await client.query<{ name: string; checksum: string; finished: boolean }>(
    `SELECT migration_name AS name, checksum, finished_at IS NOT NULL AS finished FROM _prisma_migrations
     WHERE rolled_back_at IS NULL ORDER BY migration_name`,
  )
  const unfinished = rows.find((row) => !row.finished)
  if (unfinished) throwRefusal('conflict', `migration ${unfinished.name} has not finished; back up when it has`)
  return rows.map(({ name, checksum }) => ({ name, checksum }))
}

interface Table {
  name: string
  columns: string[]
}

/** Every table of ours but the unlogged, parents first. What a crash of Postgres may empty (kept answers) is no record. */
async function loadTables(client: pg.Client): Promise<Table[]> {
  const { rows: tables } = await client.query<Table>(
    `SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relpersistence = 'p'
       AND c.relname <> '_prisma_migrations'
     GROUP BY c.relname ORDER BY c.relname`,
  )
  const { rows: references } = await client.query<{ child: string; parent: string }>(
    `SELECT child.relname AS child, parent.relname AS parent
     FROM pg_constraint k JOIN pg_class child ON child.oid = k.conrelid JOIN pg_class parent ON parent.oid = k.confrelid
     WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace AND child.oid <> parent.oid`,
  )
  return parentsFirst(tables, references)
}

function parentsFirst(tables: readonly Table[], references: readonly { child: string; parent: string }[]): Table[] {
  const sorted: Table[] = []
  const placed = new Set<string>()
  while (sorted.length < tables.length) {
    const next = tables.find(
      ({ name }) => !placed.has(name) && references.every((r) => r.child !== name || placed.has(r.parent)),
    )
    const table = must(next, 'the foreign keys of the schema form no circle')
    placed.add(table.name)
    sorted.push(table)
  }
  return sorted
}

async function writeTable(
  client: pg.Client,
  name: string,
  columns: readonly string[],
  folder: string,
): Promise<TableFile> {
  const file = path.join('tables', `${name}.copy.gz`)
  const rows = client.query(copyTo(`COPY ${quoted(name)} (${columns.map(quoted).join(', ')}) TO STDOUT`))
  const hash = createHash('sha256')
  let bytes = 0
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      bytes += chunk.length
      done(null, chunk)
    },
  })
  const target = path.join(folder, file)
  await pipeline(rows, createGzip({ level: 3 }), measure, createWriteStream(target, { mode: 0o600 }))
  await flush(target)
  return { name, columns, file, rowCount: rows.rowCount, bytes, sha256: hash.digest('hex') }
}

async function loadSequences(client: pg.Client): Promise<Manifest['sequences']> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace ORDER BY relname`,
  )
  const sequences = []
  for (const { name } of rows) {
    const found = await client.query<{ value: string; called: boolean }>(
      `SELECT last_value::text AS value, is_called AS called FROM ${quoted(name)}`,
    )
    sequences.push({ name, ...must(found.rows[0], 'a sequence has one row') })
  }
  return sequences
}
