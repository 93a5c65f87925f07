import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../proto/std/clock.js'
import { emptyDatabase, startTestPostgres, type TestDatabase, testDatabase } from '../../test/harness/postgres.js'
import { backUp } from './backup.js'
import { type Manifest, manifestName, readBackup, type TableFile } from './backup-folder.js'
import { runDatabaseCommand } from './command.js'
import { restoreLocally } from './local-restore.js'
import { restore } from './restore.js'

/** Values that a text format could spoil. */
const awkward = `
  INSERT INTO "Tenant" (id, slug, name, "createdAt") VALUES
    ('ten_a', 'a', E'tab\\there, line\\nthere, back\\\\slash, \\\\N, ünï😀', '2026-01-01 00:00:00.123+00'), ('ten_b', 'b', '', now());
  INSERT INTO "Environment" (id, "tenantId", name, "permittedRegions", "intentRevision") VALUES
    ('env_a', 'ten_a', 'production', '{"eu-west","a,b","\\"q\\"",""}', 9007199254740993), ('env_b', 'ten_a', 'none', '{}', 0);
  INSERT INTO "Installation" (id, epoch, "caKey", "caKeyWrapId", "caCertificate")
    VALUES ('ins_a', 4, '\\x00ff0a5c', 'k', decode(repeat('0a5c00', 1000), 'hex'));
  INSERT INTO "AuditEntry" (id, actor, "actorKind", action, "subjectKind", "subjectId", before, "requestId")
    VALUES ('aud_a', 'x', 'token', 'a', 'b', 'c', '{"a": [1, null, "\\\\"], "ü": 1.10}', 'r');
  INSERT INTO "SpoolLane" ("agentId", "bootEpoch", lane, class, "nextSequence", ranges)
    VALUES ('agt_a', 1, 0, 'usage', 3, '{[0,3),[5,9)}');
  INSERT INTO "DeadLetter" ("agentId", "bootEpoch", lane, class, sequence, code, message, payload)
    SELECT 'agt_a', 1, 0, 'usage', n, 'malformed', 'm', '\\x00' FROM generate_series(1, 3) n;
  UPDATE "DenyRevision" SET revision = 7`

async function run(url: string, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await client.query(sql)
  } finally {
    await client.end()
  }
}

/** A digest of every row of every table. */
async function contentOf(url: string): Promise<Record<string, string>> {
  const { rows } = await run(
    url,
    `SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
     AND relname NOT IN ('_prisma_migrations', 'Installation') ORDER BY 1`,
  )
  const content: Record<string, string> = {}
  for (const { name } of rows) {
    const sum = await run(
      url,
      `SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') AS all FROM "${name}" t`,
    )
    content[name] = sum.rows[0].all
  }
  return content
}

describe('backup and restore', () => {
  let source: TestDatabase
  let target: TestDatabase
  let parent: string
  let folder: string

  beforeEach(async () => {
    source = await testDatabase()
    target = await emptyDatabase()
    parent = mkdtempSync(path.join(os.tmpdir(), 'switchyard-backup-'))
    folder = path.join(parent, 'backup')
    await run(source.url, awkward)
  })
  afterEach(async () => {
    await source.drop()
    await target.drop()
    rmSync(parent, { recursive: true })
  })

  const save = () => backUp({ url: source.url, folder, clock: systemClock })

  test('give back every row exactly, and numbers that go on', async () => {
    const manifest = await save()
    expect(manifest.tables.find((table) => table.name === 'DeadLetter')?.rowCount).toBe(3)
    await restore({ url: target.url, folder })
    expect(await contentOf(target.url)).toEqual(await contentOf(source.url))
    const again = `INSERT INTO "DeadLetter" ("agentId", "bootEpoch", lane, class, sequence, code, message, payload)
      VALUES ('agt_a', 1, 0, 'usage', 9, 'malformed', 'm', '') RETURNING id`
    expect((await run(target.url, again)).rows[0].id).toBe('4')
  })

  test('leave out what agents may lose: answers that they share', async () => {
    const answer = `INSERT INTO "SharedAnswer" VALUES ('clu_a', sha256('a'), 'sealed', now(), now(), now() + interval '1 day');
      INSERT INTO "SharedAnswerShelf" VALUES ('clu_a', 518)`
    await run(source.url, answer)
    const manifest = await save()
    expect(manifest.tables.filter((table) => table.name.startsWith('SharedAnswer'))).toEqual([])
    await restore({ url: target.url, folder })
    expect((await run(target.url, 'SELECT FROM "SharedAnswer"')).rowCount).toBe(0)
    await run(target.url, answer)
  })

  test('raise the epoch, unless told that nothing ran since', async () => {
    await save()
    const epoch = `SELECT epoch, "caKey", octet_length("caCertificate") AS size FROM "Installation"`
    await restore({ url: target.url, folder })
    const found = (await run(target.url, epoch)).rows[0]
    expect(found).toEqual({ epoch: '5', caKey: Buffer.from('00ff0a5c', 'hex'), size: 3000 })
    const other = await emptyDatabase()
    await restore({ url: other.url, folder, keepEpoch: true })
    expect((await run(other.url, epoch)).rows[0].epoch).toBe('4')
    await other.drop()
  })

  test('see one instant, whatever is written meanwhile', async () => {
    let writing = true
    const writer = (async () => {
      for (let n = 0; writing; n++) {
        await run(
          source.url,
          `BEGIN; INSERT INTO "Tenant" (id, slug, name) VALUES ('ten_${n}', 's${n}', 'n');
           INSERT INTO "Team" (id, "tenantId", name) VALUES ('team_${n}', 'ten_${n}', 'n'); COMMIT`,
        )
      }
    })()
    await save()
    writing = false
    await writer
    await restore({ url: target.url, folder })
    const torn = `SELECT (SELECT count(*) FROM "Tenant" WHERE slug ~ '^s\\d') - (SELECT count(*) FROM "Team") AS torn`
    expect((await run(target.url, torn)).rows[0].torn).toBe('0')
  })

  test('refuse a broken or foreign backup before anything is touched', async () => {
    await expect(readBackup(folder)).rejects.toThrow(/is no backup/)
    await save()
    const file = path.join(folder, manifestName)
    const whole = readFileSync(file, 'utf8')
    const manifest = JSON.parse(whole) as Manifest
    const spoilt = path.join(folder, manifest.tables[0]?.file ?? '')
    const bytes = readFileSync(spoilt)

    appendFileSync(spoilt, 'x')
    await expect(restore({ url: target.url, folder })).rejects.toThrow(/is not what was written/)
    rmSync(spoilt)
    await expect(restore({ url: target.url, folder })).rejects.toThrow(/is missing/)
    writeFileSync(spoilt, bytes)
    writeFileSync(file, JSON.stringify({ ...manifest, format: 2 }))
    await expect(restore({ url: target.url, folder })).rejects.toThrow(/format 2/)
    writeFileSync(file, JSON.stringify({ ...manifest, migrations: [{ name: '9999_newer', checksum: 'x' }] }))
    await expect(restore({ url: target.url, folder })).rejects.toThrow(/knows migration 9999_newer/)
    expect(Object.keys(await contentOf(target.url))).toEqual([])

    writeFileSync(file, whole)
    await restore({ url: target.url, folder })
    await expect(restore({ url: target.url, folder })).rejects.toThrow(/not empty/)
  })

  test('leave the database as empty as it was when they fail on the way, and work when run again', async () => {
    const manifest = await save()
    const file = path.join(folder, manifestName)
    // All of it is there and untouched; what the database will make of it is another matter.
    const rowCount = (table: TableFile) => (table.name === 'DeadLetter' ? table.rowCount + 1 : table.rowCount)
    const tables = manifest.tables.map((table) => ({ ...table, rowCount: rowCount(table) }))
    writeFileSync(file, JSON.stringify({ ...manifest, tables }))
    await expect(restore({ url: target.url, folder })).rejects.toThrow(/3 rows came in where the backup says 4/)
    const left = `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace`
    expect((await run(target.url, left)).rows).toEqual([])
    writeFileSync(file, JSON.stringify(manifest))
    await restore({ url: target.url, folder })
    expect(await contentOf(target.url)).toEqual(await contentOf(source.url))
  })

  test('replace the local database when they are whole, and leave it alone when they are not', async () => {
    const manifest = await save()
    const local = path.join(parent, 'local')
    mkdirSync(path.join(local, 'postgres'), { recursive: true })
    writeFileSync(path.join(local, 'postgres', 'old'), 'the database that was there')
    const said: string[] = []
    const restoreHere = () =>
      restoreLocally({
        ...{ folder: local, backup: folder, keepEpoch: true, clock: systemClock },
        say: (line) => said.push(line),
      })
    const file = path.join(folder, manifestName)
    const [last] = manifest.tables.slice(-1)
    const tables = manifest.tables.map((table) => (table === last ? { ...table, rowCount: 99 } : table))
    writeFileSync(file, JSON.stringify({ ...manifest, tables }))
    await expect(restoreHere()).rejects.toThrow(/says 99/)
    expect(readdirSync(local).filter((name) => name.startsWith('postgres'))).toEqual(['postgres'])
    expect(existsSync(path.join(local, 'postgres', 'old'))).toBe(true)

    writeFileSync(file, JSON.stringify(manifest))
    await restoreHere()
    expect(said.at(-1)).toMatch(/is kept in .*postgres-before-/)
    const [aside] = readdirSync(local).filter((name) => name.startsWith('postgres-'))
    expect(existsSync(path.join(local, aside ?? '', 'old'))).toBe(true)
    expect(existsSync(path.join(local, 'postgres', 'old'))).toBe(false)
  })

  test('leave no half backup behind, and never write over one', async () => {
    await expect(backUp({ url: target.url, folder, clock: systemClock })).rejects.toThrow(/holds no Switchyard/)
    expect(existsSync(folder)).toBe(false)
    expect(existsSync(`${folder}.partial`)).toBe(false)
    await save()
    await expect(save()).rejects.toThrow(/exists/)
  })

  test('are a command with an exit code and a next step', async () => {
    const lines: string[] = []
    const command = (url: string | undefined, ...args: string[]) =>
      runDatabaseCommand(args, {
        environment: { DATABASE_URL: url },
        folder: parent,
        clock: systemClock,
        out: (line) => lines.push(line),
        complain: (line) => lines.push(line),
      })
    expect(await command(source.url, 'backup', '--to', 'backup')).toBe(0)
    expect(await command(undefined, 'verify', '--from', 'backup')).toBe(0)
    expect(await command(target.url, 'restore', '--from', 'backup')).toBe(0)
    expect(await command(target.url, 'restore', '--from', 'backup')).toBe(1)
    expect(lines.at(-1)).toMatch(/not empty.*restore into a new one/)
    expect(await command(undefined, 'backup', '--to', 'other')).toBe(1)
    expect(lines.at(-1)).toMatch(/set DATABASE_URL, or run "npm start"/)
    expect(await command(undefined, 'backup', '--too', 'other')).toBe(2)
    expect(await command(undefined, 'destroy')).toBe(2)
    expect(await command(undefined, '--help')).toBe(0)
  })
})

test('a database of PostgreSQL 15 moves to 18 by backup and restore', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'switchyard-upgrade-'))
  const old = await startTestPostgres({ major: 15 })
  try {
    const source = await old.database()
    await run(source.url, awkward)
    const manifest = await backUp({ url: source.url, folder: path.join(folder, 'backup'), clock: systemClock })
    expect(manifest.postgresVersion).toMatch(/^15\./)
    const target = await emptyDatabase()
    await restore({ url: target.url, folder: path.join(folder, 'backup'), keepEpoch: true })
    expect(await contentOf(target.url)).toEqual(await contentOf(source.url))
    await target.drop()
  } finally {
    await old.stop()
    rmSync(folder, { recursive: true })
  }
})
