import { afterAll, beforeAll, expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { actorOf, platformAdmin, refusalOf } from '../../../test/harness/intent.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import { Database } from '../database/database.js'
import type { AuditEntry, AuditFilter } from './audit-entry.js'
import { AuditFeed } from './audit-feed.js'
import { AuditReader } from './audit-reader.js'
import { AuditService } from './audit-service.js'
import { AuditStore } from './audit-store.js'

const quiet: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => quiet }
const clock = new VirtualClock()
const [mine, theirs] = ['ten_00000000000000000000000001', 'ten_00000000000000000000000002'] as const
let testDb: TestDatabase
let database: Database
let service: AuditService

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 2, sqlPoolMax: 2 })
  const reader = new AuditReader(database)
  service = new AuditService(reader, new AuditFeed({ reader, clock, log: quiet, pollMs: 100 }))
  const store = new AuditStore()
  for (let i = 0; i < 9; i++) {
    await clock.advance(1_000)
    await database.transaction(new Date(clock.nowMs()), (transaction) =>
      store.append(transaction, {
        actor: actorOf([mine, theirs, null][i % 3] ?? null, 'tenant-admin'),
        tenantId: [mine, theirs, null][i % 3] ?? null,
        action: i < 6 ? 'thing.create' : 'thing.update',
        subjectKind: 'thing',
        subjectId: `thing-${i}`,
        ...(i < 6 ? {} : { before: { count: i - 1 } }),
        after: { count: i, none: null },
      }),
    )
  }
})
afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})

const everything = { first: 100, after: null }
const none: AuditFilter = {}
const subjects = async (actor: ReturnType<typeof actorOf>, filter: AuditFilter) =>
  (await service.list(actor, everything, filter)).items.map(({ item }) => item.subjectId)

test('an admin of a tenant sees what happened in it, newest first; a platform admin sees all', async () => {
  const admin = actorOf(mine, 'tenant-admin')
  expect(await subjects(admin, none)).toEqual(['thing-6', 'thing-3', 'thing-0'])
  expect(await subjects(platformAdmin, none)).toHaveLength(9)
  expect(await subjects(platformAdmin, { tenantId: theirs })).toEqual(['thing-7', 'thing-4', 'thing-1'])
  expect((await refusalOf(() => service.list(admin, everything, { tenantId: theirs }))).code).toBe('not_found')
  const developer = actorOf(mine, 'developer', 'viewer')
  expect((await refusalOf(() => service.list(developer, everything, none))).code).toBe('forbidden')
})

test('filters and pages', async () => {
  const [sixth] = (await service.list(platformAdmin, everything, { subjectId: 'thing-6' })).items
  expect(sixth?.item).toMatchObject({ before: { count: 5 }, after: { count: 6, none: null }, action: 'thing.update' })
  expect(await subjects(platformAdmin, { action: 'thing.update' })).toEqual(['thing-8', 'thing-7', 'thing-6'])
  const since = sixth?.item.createdAt ?? null
  expect(await subjects(platformAdmin, { since })).toEqual(['thing-8', 'thing-7', 'thing-6'])
  expect(await subjects(platformAdmin, { until: since, tenantId: mine })).toEqual(['thing-3', 'thing-0'])
  const seen: string[] = []
  for (let after: string | null = null; ; ) {
    const page = await service.list(platformAdmin, { first: 4, after }, none)
    seen.push(...page.items.map(({ item }) => item.subjectId))
    if (!page.hasNextPage) break
    after = page.items.at(-1)?.cursor ?? null
  }
  expect(seen).toEqual(Array.from({ length: 9 }, (_, i) => `thing-${8 - i}`))
})

test('what was appended since an instant can be paged through, however much is of one instant', async () => {
  const at = new Date(clock.nowMs() + 60_000)
  await database.transaction(at, async (transaction) => {
    for (let i = 0; i < 7; i++) {
      await new AuditStore().append(transaction, {
        ...{ actor: actorOf(mine, 'tenant-admin'), tenantId: mine, action: 'burst.create' },
        ...{ subjectKind: 'burst', subjectId: `burst-${i}` },
      })
    }
  })
  const reader = new AuditReader(database)
  const seen: string[] = []
  for (let afterId: string | null = null; ; ) {
    const entries: readonly AuditEntry[] = await reader.since(new Date(at.getTime() - 1), afterId, 3)
    seen.push(...entries.map(({ subjectId }) => subjectId))
    if (entries.length < 3) break
    afterId = entries.at(-1)?.id ?? null
  }
  expect(seen.toSorted()).toEqual(Array.from({ length: 7 }, (_, i) => `burst-${i}`))
  expect(await reader.since(at, null, 100)).toHaveLength(7)
  expect(await reader.since(new Date(at.getTime() + 1), null, 100)).toHaveLength(0)
})

test('the trail can be added to and nothing else', async () => {
  const row = await database.rows.auditEntry.findFirstOrThrow({ where: { subjectId: 'thing-0' } })
  expect(row.before).toBeNull()
  expect(Object.getOwnPropertyNames(AuditStore.prototype).sort()).toEqual(['append', 'constructor'])
})
