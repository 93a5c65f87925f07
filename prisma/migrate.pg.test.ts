import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type TestDatabase, testDatabase } from '../test/harness/postgres.js'
import { runPrisma } from '../test/harness/prisma.js'
import { migrate } from './migrate.js'

const silent = { info: () => {} }

describe('the migrations of the product', () => {
  let database: TestDatabase
  beforeEach(async () => {
    database = await testDatabase()
  })
  afterEach(() => database.drop())

  test('lead to prisma/schema exactly', async () => {
    const args = ['migrate', 'diff', '--from-config-datasource', '--to-schema', 'schema', '--exit-code', '--script']
    const { code, stdout, stderr } = await runPrisma(database.url, args)
    expect({ code, stdout, stderr: code === 1 ? stderr : '' }, 'run "npm run migration"').toEqual({
      code: 0,
      stdout: expect.stringContaining('empty migration'),
      stderr: '',
    })
  })

  test('are up to date in the eyes of Prisma itself', async () => {
    const { code, stdout, stderr } = await runPrisma(database.url, ['migrate', 'status'])
    expect(stdout + stderr).toContain('Database schema is up to date')
    expect(code).toBe(0)
  })

  test('tell of providers that were there before vendors were told apart which are external', async () => {
    const client = new pg.Client({ connectionString: database.url })
    const folder = mkdtempSync(path.join(os.tmpdir(), 'switchyard-migrations-'))
    const product = path.join(import.meta.dirname, 'migrations')
    for (const name of ['0001_init', '0002_invariants', '0003_section_base'])
      cpSync(path.join(product, name), path.join(folder, name), { recursive: true })
    await client.connect()
    try {
      await client.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public')
      await migrate({ url: database.url, log: silent, folder })
      await client.query(`INSERT INTO "Tenant" (id, slug, name) VALUES ('ten_1', 'one', 'One')`)
      const insert = (kind: string) =>
        client.query(
          `INSERT INTO "Provider" (id, "tenantId", name, kind, "baseUrl", region) VALUES ($1, 'ten_1', $1, $1, 'http://h', 'eu')`,
          [kind],
        )
      for (const kind of ['openai', 'vllm', 'ollama', 'openai-compatible']) await insert(kind)
      await migrate({ url: database.url, log: silent })
      // A replica of the release before goes on writing, and leaves the new columns out.
      await insert('of-the-old')
      const { rows } = await client.query(`SELECT kind FROM "Provider" WHERE external ORDER BY kind`)
      expect(rows.map(({ kind }) => kind)).toEqual(['of-the-old', 'openai'])
    } finally {
      await client.end()
      rmSync(folder, { recursive: true })
    }
  })

  test('find nothing to do a second time', async () => {
    expect(await migrate({ url: database.url, log: silent })).toBe(0)
  })
})

describe('migrate', () => {
  let database: TestDatabase
  let client: pg.Client
  let folder: string

  const write = (name: string, sql: string) => {
    mkdirSync(path.join(folder, name), { recursive: true })
    writeFileSync(path.join(folder, name, 'migration.sql'), sql)
  }
  const run = () => migrate({ url: database.url, log: silent, folder })

  beforeEach(async () => {
    database = await testDatabase()
    folder = mkdtempSync(path.join(os.tmpdir(), 'switchyard-migrations-'))
    client = new pg.Client({ connectionString: database.url })
    await client.connect()
    await client.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public')
  })
  afterEach(async () => {
    await client.end()
    await database.drop()
    rmSync(folder, { recursive: true })
  })

  test('applies in order of name, each once, and only what is new', async () => {
    write('0002_second', 'INSERT INTO a VALUES (2)')
    write('0001_first', 'CREATE TABLE a (n int); INSERT INTO a VALUES (1)')
    expect(await run()).toBe(2)
    write('0003_third', 'INSERT INTO a VALUES (3)')
    expect(await run()).toBe(1)
    expect((await client.query('SELECT n FROM a ORDER BY n')).rows.map((row) => row.n)).toEqual([1, 2, 3])
  })

  test('lets one of four replicas apply while the others wait and find nothing', async () => {
    write('0001_first', 'CREATE TABLE a (n int); SELECT pg_sleep(0.3)')
    expect((await Promise.all([run(), run(), run(), run()])).sort()).toEqual([0, 0, 0, 1])
  })

  test('leaves nothing of a migration that fails, names its line, and tries again', async () => {
    write('0001_first', 'CREATE TABLE a (n int);\nCREATE TABLE a (n int);')
    await expect(run()).rejects.toThrow(/0001_first failed: relation "a" already exists/)
    expect((await client.query(`SELECT to_regclass('a') AS a`)).rows[0].a).toBeNull()
    write('0001_first', 'CREATE TABLE a (n int);')
    expect(await run()).toBe(1)
  })

  test('names the line of a mistake in the SQL', async () => {
    write('0001_first', 'CREATE TABLE a (n int);\n\nCREATE TABEL b (n int);')
    await expect(run()).rejects.toThrow(/syntax error.*\(line 3\)/)
  })

  test('refuses when an applied migration was edited', async () => {
    write('0001_first', 'CREATE TABLE a (n int)')
    await run()
    write('0001_first', 'CREATE TABLE a (n bigint)')
    await expect(run()).rejects.toMatchObject({ refusal: { code: 'migration_edited' } })
  })

  test('refuses after a failure outside a transaction, with the way out, and goes on once resolved', async () => {
    write('0001_first', 'CREATE TABLE a (n int); INSERT INTO a VALUES (1), (1)')
    write('0002_index', '-- outside a transaction\nCREATE UNIQUE INDEX CONCURRENTLY a_n ON a (n)')
    await expect(run()).rejects.toThrow(/0002_index failed: could not create unique index/)
    await expect(run()).rejects.toThrow(/migrate resolve --rolled-back 0002_index/)
    await client.query('DROP INDEX a_n; DELETE FROM a')
    await client.query(`UPDATE _prisma_migrations SET rolled_back_at = now() WHERE migration_name = '0002_index'`)
    expect(await run()).toBe(1)
  })

  test('says which database it cannot use and why, without its password', async () => {
    const cases: [string, (url: URL) => void, RegExp][] = [
      [
        'no such database',
        (url) => Object.assign(url, { pathname: '/nowhere' }),
        /"nowhere" at 127.*does not exist: make it/,
      ],
      ['wrong password', (url) => Object.assign(url, { password: 'hunter2' }), /refuses the user "postgres"/],
      [
        'nobody there',
        (url) => Object.assign(url, { port: '1' }),
        /at 127\.0\.0\.1:1 cannot be reached \(.*ECONNREFUSED/,
      ],
    ]
    for (const [name, change, expected] of cases) {
      const url = new URL(database.url)
      change(url)
      const error = await migrate({ url: url.href, log: silent }).catch((fault: unknown) => fault)
      expect(error, name).toMatchObject({ refusal: { code: 'unavailable', message: expect.stringMatching(expected) } })
      expect(String(error)).not.toContain('hunter2')
    }
  })

  test('does not mind migrations of a newer release', async () => {
    write('0001_first', 'CREATE TABLE a (n int)')
    write('0002_newer', 'CREATE TABLE b (n int)')
    await run()
    rmSync(path.join(folder, '0002_newer'), { recursive: true })
    expect(await run()).toBe(0)
  })
})
