import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { emptyDatabase, type TestDatabase } from '../test/harness/postgres.js'
import { runPrisma } from '../test/harness/prisma.js'
import { migrate } from './migrate.js'

/** What Prisma's command line must still be able to do through the stand-in engine; run on every upgrade of Prisma. */
let database: TestDatabase

beforeEach(async () => {
  database = await emptyDatabase()
})
afterEach(() => database.drop())

async function ask(sql: string): Promise<string> {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  try {
    return String(Object.values((await client.query(sql)).rows[0] ?? {})[0])
  } finally {
    await client.end()
  }
}

test('`migrate deploy` and the runner of the product agree on what is applied', async () => {
  const { code, stdout, stderr } = await runPrisma(database.url, ['migrate', 'deploy'])
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('0002_invariants')
  expect(await migrate({ url: database.url, log: { info: () => {} } })).toBe(0)
  // Function bodies and statements after them arrived whole.
  expect(await ask('SELECT count(*) FROM "DenyRevision"')).toBe('1')
})

test('a shadow database is made, filled and dropped, and is never the real one', async () => {
  await ask('CREATE TABLE precious (n int)')
  const args = ['migrate', 'diff', '--from-migrations', 'migrations', '--to-config-datasource', '--script']
  const { code, stdout } = await runPrisma(database.url, args)
  expect(code).toBe(0)
  expect(stdout).toMatch(/CREATE TABLE .*"precious"/)
  expect(stdout).toMatch(/DROP TABLE .*"Tenant"/)
  expect(await ask(`SELECT count(*) FROM pg_class WHERE relname IN ('precious', 'Tenant')`)).toBe('1')
  expect(await ask(`SELECT count(*) FROM pg_database WHERE datname LIKE 'prisma_migrate_shadow%'`)).toBe('0')
})
