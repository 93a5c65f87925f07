import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { RefusalError } from '../../../proto/std/refusal.js'
import {
  startTestPostgres,
  type TestDatabase,
  type TestPostgres,
  testDatabase,
} from '../../../test/harness/postgres.js'
import { Database } from './database.js'
import { classifyDatabaseError } from './database-error.js'
import { isUniqueViolation } from './unique-violation.js'

const now = new Date('2026-01-01T00:00:00Z')
const tenant = { id: 'ten_a', slug: 'a', name: 'A' }

async function errorOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => {
      throw new Error('it did not fail')
    },
    (error: unknown) => error,
  )
}

/** Resolves for everybody once `count` have arrived. */
function meetingOf(count: number): () => Promise<void> {
  let arrive: () => void = () => {}
  const all = new Promise<void>((resolve) => {
    arrive = resolve
  })
  return () => {
    if (--count === 0) arrive()
    return all
  }
}

describe('Database', () => {
  let own: TestDatabase
  let database: Database

  beforeEach(async () => {
    own = await testDatabase()
    database = new Database({ url: own.url, poolMax: 4, sqlPoolMax: 4 })
    await database.rows.tenant.create({ data: tenant })
  })
  afterEach(async () => {
    await database.close()
    await own.drop()
  })

  test('names the constraint that said no, however the row was written', async () => {
    const again = { ...tenant, id: 'ten_b' }
    const insert = `INSERT INTO "Tenant" (id, slug, name) VALUES ('ten_b', 'a', 'A')`
    const faults = [
      await errorOf(database.rows.tenant.create({ data: again })),
      await errorOf(database.rows.$executeRawUnsafe(insert)),
      await errorOf(database.sql.query(insert)),
      await errorOf(database.transaction(now, ({ rows }) => rows.tenant.create({ data: again }))),
      await errorOf(database.sqlTransaction((client) => client.query(insert))),
    ]
    for (const error of faults) {
      expect(classifyDatabaseError(error)).toEqual({ kind: 'unique', constraint: 'Tenant_slug_key' })
      expect(isUniqueViolation(error)).toBe(true)
      expect(isUniqueViolation(error, 'Tenant_slug_key')).toBe(true)
      expect(isUniqueViolation(error, 'Tenant_pkey')).toBe(false)
    }
  })

  test('tells foreign keys, checks and missing rows apart', async () => {
    const team = { id: 'team_a', tenantId: 'ten_none', name: 'T' }
    expect(classifyDatabaseError(await errorOf(database.rows.team.create({ data: team })))).toEqual({
      kind: 'foreign-key',
      constraint: 'Team_tenantId_fkey',
    })
    const member = { id: 'mem_a', tenantId: tenant.id, subject: 's', displayName: 'S', roles: ['king'] }
    expect(classifyDatabaseError(await errorOf(database.rows.member.create({ data: member })))).toEqual({
      kind: 'check',
      constraint: 'Member_roles_exist',
    })
    const gone = database.rows.tenant.update({ where: { id: 'ten_none' }, data: { name: 'B' } })
    expect(classifyDatabaseError(await errorOf(gone))).toEqual({ kind: 'missing' })
    expect(classifyDatabaseError(new Error('other'))).toBeNull()
    expect(classifyDatabaseError(await errorOf(database.sql.query('SELECT nonsense')))).toBeNull()
  })

  test('rolls a transaction back whole', async () => {
    const work = database.transaction(now, async ({ rows }) => {
      await rows.team.create({ data: { id: 'team_a', tenantId: tenant.id, name: 'T' } })
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    const sqlWork = database.sqlTransaction(async (client) => {
      await client.query(`UPDATE "Tenant" SET name = 'B'`)
      throw new Error('no')
    })
    await expect(sqlWork).rejects.toThrow('no')
    expect(await database.rows.team.count()).toBe(0)
    expect((await database.rows.tenant.findFirstOrThrow()).name).toBe('A')
  })

  test('tries the loser of a deadlock again', async () => {
    await database.rows.tenant.create({ data: { id: 'ten_b', slug: 'b', name: 'B' } })
    for (const run of [viaPrisma, viaSql]) {
      let tries = 0
      const meet = meetingOf(2)
      const cross = (first: string, second: string) =>
        run(database, first, second, async () => {
          tries++
          // Only the first tries meet: the one that Postgres gave up comes back alone.
          if (tries <= 2) await meet()
        })
      await Promise.all([cross('ten_a', 'ten_b'), cross('ten_b', 'ten_a')])
      // Three, unless the loser is back at its row before the winner woke up, and loses once more.
      expect(tries).toBeGreaterThanOrEqual(3)
      expect(tries).toBeLessThanOrEqual(6)
    }
  })

  test('gives up on a conflict that stays', async () => {
    let tries = 0
    const work = database.sqlTransaction(async (client) => {
      tries++
      await client.query(`DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$`)
    })
    expect(classifyDatabaseError(await errorOf(work))).toEqual({ kind: 'conflict' })
    expect(tries).toBe(5)
  })
})

async function viaPrisma(database: Database, first: string, second: string, between: () => Promise<void>) {
  await database.transaction(now, async ({ rows }) => {
    await rows.tenant.update({ where: { id: first }, data: { name: 'N' } })
    await between()
    await rows.tenant.update({ where: { id: second }, data: { name: 'N' } })
  })
}

async function viaSql(database: Database, first: string, second: string, between: () => Promise<void>) {
  const lock = (client: pg.PoolClient, id: string) =>
    client.query('SELECT 1 FROM "Tenant" WHERE id = $1 FOR UPDATE', [id])
  await database.sqlTransaction(async (client) => {
    await lock(client, first)
    await between()
    await lock(client, second)
  })
}

describe('Database when Postgres dies', () => {
  let server: TestPostgres
  let database: Database

  beforeAll(async () => {
    server = await startTestPostgres({ durable: true })
    database = new Database({ url: (await server.database()).url, poolMax: 4, sqlPoolMax: 4 })
  })
  afterAll(async () => {
    await database?.close()
    await server?.stop()
  })

  test('refuses as unavailable, from every position, and works again without a restart', async () => {
    const meet = meetingOf(4)
    const killed = meet().then(() => server.kill())
    const refusals = [
      database.transaction(now, async ({ rows }) => {
        await rows.tenant.count()
        await meet()
        await killed
        return rows.tenant.count()
      }),
      database.sqlTransaction(async (client) => {
        await client.query('SELECT 1')
        await meet()
        await killed
        return client.query('SELECT 1')
      }),
      database.sqlTransaction(async (client) => {
        const sleeping = client.query('SELECT pg_sleep(60)')
        await meet()
        return sleeping
      }),
    ]
    await Promise.all(refusals.map(expectUnavailable))
    await expectUnavailable(database.transaction(now, ({ rows }) => rows.tenant.count()))
    await expectUnavailable(database.sqlTransaction((client) => client.query('SELECT 1')))
    expect(classifyDatabaseError(await errorOf(database.rows.tenant.count()))).toEqual({ kind: 'unavailable' })
    expect(classifyDatabaseError(await errorOf(database.sql.query('SELECT 1')))).toEqual({ kind: 'unavailable' })

    await server.restart()
    expect(await database.transaction(now, ({ rows }) => rows.tenant.count())).toBe(0)
    expect((await database.sqlTransaction((client) => client.query('SELECT 1 AS n'))).rows).toEqual([{ n: 1 }])
  })
})

async function expectUnavailable(work: Promise<unknown>): Promise<void> {
  const error = await errorOf(work)
  expect(error).toBeInstanceOf(RefusalError)
  expect(error).toMatchObject({ refusal: { code: 'unavailable' } })
}
