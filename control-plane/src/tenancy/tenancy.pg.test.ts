import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import { type Refusal, RefusalError } from '../../../proto/std/refusal.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import type { Actor, Role } from '../access/principal.js'
import { AuditStore } from '../audit/audit-store.js'
import { Database } from '../database/database.js'
import { deniedKeysPerEnvironmentMax } from './api-key.js'
import { ApiKeyService } from './api-key-service.js'
import { ApiKeyStore } from './api-key-store.js'
import { EnvironmentService } from './environment-service.js'
import { EnvironmentStore } from './environment-store.js'
import { MemberService } from './member-service.js'
import { MemberStore } from './member-store.js'
import { StandingReader } from './standing-reader.js'
import { TeamService } from './team-service.js'
import { TeamStore } from './team-store.js'
import { TenantService } from './tenant-service.js'
import { TenantStore } from './tenant-store.js'

let testDb: TestDatabase
let database: Database
const clock = new VirtualClock()
let ringCount = 0

function actorOf(tenantId: string | null, ...roles: Role[]): Actor {
  return { principal: { subject: 'ada', kind: 'token', tenantId, roles: new Set(roles) }, requestId: 'req_test' }
}
const platform = actorOf(null, 'platform-admin')

function makeServices() {
  const shared = { database, audit: new AuditStore(), clock, bell: { ring: () => void ringCount++ } }
  const tenants = new TenantStore(database)
  const environments = new EnvironmentStore(database)
  const teams = new TeamStore(database)
  const apiKeys = new ApiKeyStore(database)
  const unknownRoutes = async (_: string, names: readonly string[]) => names.filter((name) => name !== 'chat')
  return {
    tenants: new TenantService({ ...shared, tenants, environments, apiKeys }),
    environments: new EnvironmentService({ ...shared, tenants, environments, apiKeys }),
    teams: new TeamService({ ...shared, tenants, teams }),
    members: new MemberService({ ...shared, tenants, members: new MemberStore(database) }),
    apiKeys: new ApiKeyService({ ...shared, environments, teams, apiKeys, unknownRoutes }),
  }
}
let services: ReturnType<typeof makeServices>

let tenantCount = 0
async function makeEstate() {
  tenantCount += 1
  const tenant = await services.tenants.create(platform, { slug: `tenant-${tenantCount}`, name: 'Tenant' })
  const admin = actorOf(tenant.id, 'tenant-admin')
  const environment = await services.environments.create(admin, { name: 'production', permittedRegions: ['eu-1'] })
  const key = await services.apiKeys.create(admin, { environmentId: environment.id, name: 'app' })
  return { tenant, admin, environment, key }
}

async function refusalOf(work: Promise<unknown>): Promise<Pick<Refusal, 'code' | 'field'> | null> {
  try {
    await work
    return null
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error
    const { code, field } = error.refusal
    return field === undefined ? { code } : { code, field }
  }
}

async function revisions(environmentId: string) {
  const environment = await database.rows.environment.findUniqueOrThrow({ where: { id: environmentId } })
  const deny = await database.rows.denyRevision.findUnique({ where: { id: 1 } })
  return { intent: environment.intentRevision, deny: deny?.revision ?? 0n }
}

const actionsOf = async (subjectId: string) => {
  const entries = await database.rows.auditEntry.findMany({ where: { subjectId }, orderBy: { id: 'asc' } })
  return entries.map(({ action }) => action)
}

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 8, sqlPoolMax: 2 })
  services = makeServices()
})
afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})

describe('API keys', () => {
  test('are stored as a hash; neither row nor audit trail holds the text', async () => {
    const { key, admin } = await makeEstate()
    const row = await database.rows.apiKey.findUniqueOrThrow({ where: { id: key.apiKey.id } })
    expect(Buffer.from(row.secretHash)).toEqual(createHash('sha256').update(key.text).digest())
    const everything = JSON.stringify([
      { ...row, secretHash: null },
      await database.rows.auditEntry.findMany({ where: { tenantId: row.tenantId } }),
      await services.apiKeys.find(admin, row.id),
    ])
    expect(everything).not.toContain(key.text)
    expect(everything).not.toContain(key.text.slice(20, 40))
    expect(everything).not.toContain(Buffer.from(row.secretHash).toString('hex'))
  })

  test('making one moves the intent only; revoking moves the deny revision too, and both ring', async () => {
    const { admin, environment, key } = await makeEstate()
    const before = await revisions(environment.id)
    const rings = ringCount
    const revoked = await services.apiKeys.revoke(admin, { apiKeyId: key.apiKey.id })
    expect(revoked.intentRevision).toBe(before.intent + 1n)
    expect(await revisions(environment.id)).toEqual({ intent: before.intent + 1n, deny: before.deny + 1n })
    expect(ringCount).toBe(rings + 1)
    const other = await services.apiKeys.create(admin, { environmentId: environment.id, name: 'next' })
    expect(await revisions(environment.id)).toEqual({ intent: other.intentRevision, deny: before.deny + 1n })
  })

  test('revoking twice changes nothing, except that abort may follow', async () => {
    const { admin, environment, key } = await makeEstate()
    const apiKeyId = key.apiKey.id
    // The trail is in order of time; entries of one millisecond have none.
    await clock.advance(1_000)
    const first = await services.apiKeys.revoke(admin, { apiKeyId })
    await clock.advance(1_000)
    const again = await services.apiKeys.revoke(admin, { apiKeyId })
    expect(again).toEqual(first)
    await clock.advance(1_000)
    const aborted = await services.apiKeys.revoke(admin, { apiKeyId, abort: true })
    expect(aborted.apiKey).toMatchObject({ abortOnRevoke: true, revokedAt: first.apiKey.revokedAt })
    const settled = await revisions(environment.id)
    await services.apiKeys.revoke(admin, { apiKeyId, abort: true })
    await services.apiKeys.revoke(admin, { apiKeyId, abort: false })
    expect(await revisions(environment.id)).toEqual(settled)
    expect(await actionsOf(apiKeyId)).toEqual(['api-key.create', 'api-key.revoke', 'api-key.revoke'])
  })

  test('rotation keeps everything but the secret, and shortens the old one without lengthening it', async () => {
    const { admin, environment } = await makeEstate()
    const soon = new Date(clock.nowMs() + 5 * 60_000)
    const limits = { allowedRoutes: ['chat'], inFlightMax: 3, requestsPerMinuteMax: 7 }
    const old = await services.apiKeys.create(admin, {
      ...{ environmentId: environment.id, name: 'app', ...limits, expiresAt: soon },
    })
    const rotated = await services.apiKeys.rotate(admin, { apiKeyId: old.apiKey.id, overlapMinutes: 60 })
    expect(rotated.apiKey).toMatchObject({ ...limits, name: 'app', expiresAt: soon, rotatedFromId: old.apiKey.id })
    expect(rotated.text).not.toBe(old.text)
    expect(rotated.previous).toMatchObject({ expiresAt: soon, revokedAt: null, rowVersion: 2 })
    const next = await services.apiKeys.rotate(admin, { apiKeyId: rotated.apiKey.id, overlapMinutes: 1 })
    expect(next.previous.expiresAt).toEqual(new Date(clock.nowMs() + 60_000))
    const denied = (await revisions(environment.id)).deny
    const last = await services.apiKeys.rotate(admin, { apiKeyId: next.apiKey.id, overlapMinutes: 0 })
    expect(last.previous.revokedAt).not.toBeNull()
    expect((await revisions(environment.id)).deny).toBe(denied + 1n)
    const spent = services.apiKeys.rotate(admin, { apiKeyId: next.apiKey.id, overlapMinutes: 0 })
    expect(await refusalOf(spent)).toEqual({ code: 'conflict', field: 'input.apiKeyId' })
  })

  test('an update changes what is named and nothing else; null takes away', async () => {
    const { admin, environment } = await makeEstate()
    const team = await services.teams.create(admin, { name: 'team' })
    const expiresAt = new Date(clock.nowMs() + 60_000)
    const { apiKey } = await services.apiKeys.create(admin, {
      ...{ environmentId: environment.id, name: 'app', teamId: team.id, expiresAt },
    })
    const renamed = await services.apiKeys.update(admin, { apiKeyId: apiKey.id, name: 'new' })
    expect(renamed.apiKey).toEqual({ ...apiKey, name: 'new', rowVersion: 2 })
    const freed = await services.apiKeys.update(admin, { apiKeyId: apiKey.id, teamId: null, expiresAt: null })
    expect(freed.apiKey).toMatchObject({ name: 'new', teamId: null, expiresAt: null })
    await services.apiKeys.revoke(admin, { apiKeyId: apiKey.id })
    const late = services.apiKeys.update(admin, { apiKeyId: apiKey.id, name: 'late' })
    expect(await refusalOf(late)).toEqual({ code: 'conflict', field: 'input.apiKeyId' })
  })

  test("another tenant's key, environment and team do not exist", async () => {
    const [mine, theirs] = [await makeEstate(), await makeEstate()]
    const team = await services.teams.create(theirs.admin, { name: 'theirs' })
    const before = await revisions(theirs.environment.id)
    const { apiKeys } = services
    const environmentId = theirs.environment.id
    const apiKeyId = theirs.key.apiKey.id
    expect(await apiKeys.find(mine.admin, apiKeyId)).toBeNull()
    expect(await apiKeys.byId.load(mine.admin, [mine.key.apiKey.id, apiKeyId, 'nope'])).toMatchObject([{}, null, null])
    for (const work of [
      () => apiKeys.create(mine.admin, { environmentId, name: 'x' }),
      () => apiKeys.create(mine.admin, { environmentId: mine.environment.id, name: 'x', teamId: team.id }),
      () => apiKeys.update(mine.admin, { apiKeyId, name: 'x' }),
      () => apiKeys.revoke(mine.admin, { apiKeyId }),
      () => apiKeys.rotate(mine.admin, { apiKeyId, overlapMinutes: 0 }),
      () => apiKeys.list(mine.admin, { first: 10, after: null }, { environmentId }),
      () => apiKeys.list(mine.admin, { first: 10, after: null }, { tenantId: theirs.tenant.id }),
    ]) {
      expect((await refusalOf(work()))?.code).toBe('not_found')
    }
    expect(await revisions(theirs.environment.id)).toEqual(before)
  })

  test('revoked ones that agents must still deny are bounded, until they expire', async () => {
    const { admin, environment, key } = await makeEstate()
    await services.apiKeys.revoke(admin, { apiKeyId: key.apiKey.id })
    const soon = new Date(clock.nowMs() + 60_000)
    await database.sql.query(
      `INSERT INTO "ApiKey" (id, "tenantId", "environmentId", name, prefix, "secretHash", "inFlightMax",
         "requestsPerMinuteMax", "createdBy", "revokedAt", "expiresAt")
       SELECT $1 || n, $2, $1, 'loop', 'p', sha256(($1 || n)::bytea), 1, 1, 'ada', $3, $3
       FROM generate_series(2, $4::int) n`,
      [environment.id, environment.tenantId, soon.toISOString(), deniedKeysPerEnvironmentMax],
    )
    const create = () => services.apiKeys.create(admin, { environmentId: environment.id, name: 'next' })
    expect(await refusalOf(create())).toEqual({ code: 'limit_exceeded' })
    await database.rows.apiKey.updateMany({
      where: { environmentId: environment.id, expiresAt: soon },
      data: { expiresAt: new Date(clock.nowMs()) },
    })
    const { apiKey } = await create()
    expect((await services.apiKeys.revoke(admin, { apiKeyId: apiKey.id })).apiKey.revokedAt).not.toBeNull()
  })

  test('fifty at once: dense revisions, no deadlock with archiving', async () => {
    const { admin, environment } = await makeEstate()
    const before = await revisions(environment.id)
    const made = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        services.apiKeys.create(admin, { environmentId: environment.id, name: `k${i}` }),
      ),
    )
    const seen = made.map(({ intentRevision }) => Number(intentRevision - before.intent)).sort((a, b) => a - b)
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => i + 1))
    const outcomes = await Promise.all([
      ...made.map(({ apiKey }) => refusalOf(services.apiKeys.revoke(admin, { apiKeyId: apiKey.id }))),
      services.environments.archive(admin, environment.id).then(() => null),
    ])
    expect(outcomes.filter((outcome) => outcome !== null)).toEqual([])
    expect(await database.rows.apiKey.count({ where: { environmentId: environment.id, revokedAt: null } })).toBe(0)
  })
})

describe('tenants and environments', () => {
  test('archiving a tenant takes everything of it out of service, once', async () => {
    const { tenant, environment, admin, key } = await makeEstate()
    const before = await revisions(environment.id)
    await clock.advance(1)
    await services.tenants.archive(platform, tenant.id)
    await services.tenants.archive(platform, tenant.id)
    expect(await revisions(environment.id)).toEqual({ intent: before.intent + 1n, deny: before.deny + 1n })
    expect((await services.apiKeys.find(admin, key.apiKey.id))?.revokedAt).not.toBeNull()
    expect((await services.environments.find(admin, environment.id))?.archivedAt).not.toBeNull()
    const late = services.environments.create(admin, { name: 'late', permittedRegions: ['eu-1'] })
    expect(await refusalOf(late)).toEqual({ code: 'conflict', field: 'input.tenantId' })
    expect(await new StandingReader(database).find(tenant.slug, 'ada')).toMatchObject({ archived: true })
    expect(await actionsOf(tenant.id)).toEqual(['tenant.create', 'tenant.archive'])
  })

  test('only platform admins make tenants; members see their own only', async () => {
    const [mine, theirs] = [await makeEstate(), await makeEstate()]
    expect(await refusalOf(services.tenants.create(mine.admin, { slug: 'x', name: 'X' }))).toEqual({
      code: 'forbidden',
    })
    expect(
      (await services.tenants.list(mine.admin, { first: 10, after: null })).items.map(({ item }) => item.id),
    ).toEqual([mine.tenant.id])
    expect(await services.tenants.find(mine.admin, theirs.tenant.id)).toBeNull()
    const update = services.tenants.update(mine.admin, { tenantId: theirs.tenant.id, name: 'taken over' })
    expect(await refusalOf(update)).toEqual({ code: 'not_found', field: 'input.tenantId' })
    const own = services.tenants.update(mine.admin, { tenantId: mine.tenant.id, name: 'renamed' })
    expect(await refusalOf(own)).toEqual({ code: 'forbidden' })
  })

  test('names are taken once; regions are a set; permitted regions move the intent', async () => {
    const { admin, environment, tenant } = await makeEstate()
    const again = services.environments.create(admin, { name: 'production', permittedRegions: ['eu-1'] })
    expect(await refusalOf(again)).toEqual({ code: 'conflict', field: 'input.name' })
    const changed = await services.environments.update(admin, {
      environmentId: environment.id,
      permittedRegions: ['us-1', 'eu-1', 'us-1'],
    })
    expect(changed.permittedRegions).toEqual(['eu-1', 'us-1'])
    expect(changed.intentRevision).toBe((await revisions(environment.id)).intent)
    const slug = services.tenants.create(platform, { slug: tenant.slug, name: 'x' })
    expect(await refusalOf(slug)).toEqual({ code: 'conflict', field: 'input.slug' })
    const nowhere = services.environments.update(admin, { environmentId: environment.id, permittedRegions: [] })
    expect(await refusalOf(nowhere)).toEqual({ code: 'bad_input', field: 'input.permittedRegions' })
  })

  test('a platform admin must say which tenant is meant', async () => {
    const nowhere = services.environments.create(platform, { name: 'x', permittedRegions: ['eu-1'] })
    expect(await refusalOf(nowhere)).toEqual({ code: 'bad_input', field: 'input.tenantId' })
  })

  test('pages follow each other without gap or repetition, while rows are added', async () => {
    const { admin, tenant } = await makeEstate()
    for (let i = 0; i < 7; i++) await services.teams.create(admin, { name: `team ${i}` })
    const seen: string[] = []
    for (let after: string | null = null; ; ) {
      const page = await services.teams.list(admin, { first: 3, after }, tenant.id)
      seen.push(...page.items.map(({ item }) => item.name))
      if (!page.hasNextPage) break
      after = page.items.at(-1)?.cursor ?? null
      if (seen.length === 3) await services.teams.create(admin, { name: 'added' })
    }
    expect(seen.filter((name) => name !== 'added').sort()).toEqual(Array.from({ length: 7 }, (_, i) => `team ${i}`))
    expect(new Set(seen).size).toBe(seen.length)
  })
})

describe('members', () => {
  test('nobody inside a tenant can be made a platform admin, nor disable themselves', async () => {
    const { admin } = await makeEstate()
    const facts = { subject: 'eve', displayName: 'Eve', roles: ['platform-admin'] }
    expect(await refusalOf(services.members.create(admin, facts))).toEqual({
      code: 'bad_input',
      field: 'input.roles[0]',
    })
    const self = await services.members.create(admin, { subject: 'ada', displayName: 'Ada', roles: ['tenant-admin'] })
    const disable = services.members.update(admin, { memberId: self.id, disabled: true })
    expect(await refusalOf(disable)).toEqual({ code: 'conflict', field: 'input.disabled' })
  })

  test('what a token is judged by follows the row', async () => {
    const { admin, tenant } = await makeEstate()
    const reader = new StandingReader(database)
    const member = await services.members.create(admin, {
      ...{ subject: 'bob', displayName: 'Bob', email: 'bob@example.com', roles: ['viewer', 'developer', 'viewer'] },
    })
    expect(await reader.find(tenant.id, 'bob')).toEqual({
      ...{ tenantId: tenant.id, archived: false, member: { roles: ['developer', 'viewer'], disabled: false } },
    })
    await clock.advance(1)
    await services.members.update(admin, { memberId: member.id, disabled: true })
    expect((await reader.find(tenant.slug, 'bob'))?.member?.disabled).toBe(true)
    await clock.advance(1)
    await services.members.update(admin, { memberId: member.id, disabled: false, roles: ['viewer'], email: null })
    expect((await reader.find(tenant.slug, 'bob'))?.member).toEqual({ roles: ['viewer'], disabled: false })
    expect(await services.members.find(admin, member.id)).toMatchObject({ displayName: 'Bob', email: null })
    expect(await reader.find(tenant.slug, 'nobody')).toMatchObject({ member: null })
    expect(await reader.find('nowhere', 'bob')).toBeNull()
    expect(await actionsOf(member.id)).toEqual(['member.create', 'member.update', 'member.update'])
    const twice = services.members.create(admin, { subject: 'bob', displayName: 'B', roles: ['viewer'] })
    expect(await refusalOf(twice)).toEqual({ code: 'conflict', field: 'input.subject' })
  })

  test('only admins of the tenant see them', async () => {
    const { tenant } = await makeEstate()
    const list = services.members.list(actorOf(tenant.id, 'developer', 'viewer'), { first: 1, after: null })
    expect(await refusalOf(list)).toEqual({ code: 'forbidden' })
  })
})

describe('the audit trail', () => {
  test('says who, what, before and after, in which request; and is rolled back with its mutation', async () => {
    const { admin, environment } = await makeEstate()
    await services.environments.update(admin, { environmentId: environment.id, permittedRegions: ['us-1'] })
    const [entry] = await database.rows.auditEntry.findMany({
      where: { subjectId: environment.id, action: 'environment.update' },
    })
    expect(entry).toMatchObject({
      ...{ actor: 'ada', actorKind: 'token', tenantId: environment.tenantId, requestId: 'req_test' },
      ...{ before: { permittedRegions: ['eu-1'] }, after: { permittedRegions: ['us-1'] } },
    })
    const count = await database.rows.auditEntry.count()
    await refusalOf(services.environments.create(admin, { name: 'production', permittedRegions: ['eu-1'] }))
    expect(await database.rows.auditEntry.count()).toBe(count)
  })
})

describe('what routing goes by', () => {
  test('an environment prefers balanced until somebody says otherwise, and regions stay as they are', async () => {
    const { admin, environment } = await makeEstate()
    expect(environment.routingPreference).toBe('balanced')
    const { id } = environment
    const changed = await services.environments.update(admin, { environmentId: id, routingPreference: 'cheapest' })
    expect(changed).toMatchObject({
      ...{ routingPreference: 'cheapest', permittedRegions: ['eu-1'], intentRevision: environment.intentRevision + 2n },
    })
    const moved = await services.environments.update(admin, { environmentId: id, permittedRegions: ['eu-2'] })
    expect(moved).toMatchObject({ routingPreference: 'cheapest', permittedRegions: ['eu-2'] })
    expect(await services.environments.find(admin, id)).toEqual(moved)
    const odd = services.environments.update(admin, { environmentId: id, routingPreference: 'fast' as 'best' })
    expect(await refusalOf(odd)).toEqual({ code: 'bad_input', field: 'input.routingPreference' })
    const entries = await database.rows.auditEntry.findMany({ where: { subjectId: id, action: 'environment.update' } })
    expect(entries.map(({ after }) => after)).toContainEqual(
      expect.objectContaining({ routingPreference: 'cheapest', permittedRegions: ['eu-1'] }),
    )
  })

  test('a key may be kept inside, by creation, change and rotation, and the trail says so', async () => {
    const { admin, environment, key } = await makeEstate()
    expect(key.apiKey.internalOnly).toBe(false)
    const made = await services.apiKeys.create(admin, {
      ...{ environmentId: environment.id, name: 'inside', internalOnly: true },
    })
    expect(made.apiKey.internalOnly).toBe(true)
    const rotated = await services.apiKeys.rotate(admin, { apiKeyId: made.apiKey.id, overlapMinutes: 5 })
    expect(rotated.apiKey.internalOnly).toBe(true)
    const apiKeyId = rotated.apiKey.id
    const named = await services.apiKeys.update(admin, { apiKeyId, name: 'still inside' })
    expect(named.apiKey.internalOnly).toBe(true)
    const opened = await services.apiKeys.update(admin, { apiKeyId, internalOnly: false })
    expect(opened.apiKey).toMatchObject({ internalOnly: false, rowVersion: named.apiKey.rowVersion + 1 })
    expect(opened.intentRevision).toBe(named.intentRevision + 1n)
    const entries = await database.rows.auditEntry.findMany({
      where: { subjectId: apiKeyId, action: 'api-key.update' },
    })
    expect(entries.map(({ before, after }) => [before, after])).toContainEqual([
      expect.objectContaining({ internalOnly: true }),
      expect.objectContaining({ internalOnly: false }),
    ])
  })

  test('a key may pin only where somebody said so, by creation, change and rotation, and the trail says so', async () => {
    const { admin, environment, key } = await makeEstate()
    expect(key.apiKey.mayPin).toBe(false)
    const unasked = await services.apiKeys.update(admin, { apiKeyId: key.apiKey.id, internalOnly: true, mayPin: null })
    expect(unasked.apiKey).toMatchObject({ internalOnly: true, mayPin: false })
    const made = await services.apiKeys.create(admin, {
      ...{ environmentId: environment.id, name: 'pins', mayPin: true },
    })
    expect(made.apiKey).toMatchObject({ internalOnly: false, mayPin: true })
    const rotated = await services.apiKeys.rotate(admin, { apiKeyId: made.apiKey.id, overlapMinutes: 5 })
    expect(rotated.apiKey.mayPin).toBe(true)
    expect(rotated.previous.mayPin).toBe(true)
    const apiKeyId = rotated.apiKey.id
    const named = await services.apiKeys.update(admin, { apiKeyId, name: 'still pins' })
    expect(named.apiKey.mayPin).toBe(true)
    const ended = await services.apiKeys.update(admin, { apiKeyId, mayPin: false })
    expect(ended.apiKey).toMatchObject({ mayPin: false, rowVersion: named.apiKey.rowVersion + 1 })
    expect(ended.intentRevision).toBe(named.intentRevision + 1n)
    const odd = services.apiKeys.update(admin, { apiKeyId, mayPin: 'yes' as never })
    expect(await refusalOf(odd)).toEqual({ code: 'bad_input', field: 'input.mayPin' })
    const entries = await database.rows.auditEntry.findMany({ where: { subjectId: apiKeyId } })
    expect(entries.map(({ action, before, after }) => [action, before, after])).toEqual(
      expect.arrayContaining([
        ['api-key.create', null, expect.objectContaining({ mayPin: true })],
        ['api-key.update', expect.objectContaining({ mayPin: true }), expect.objectContaining({ mayPin: false })],
      ]),
    )
  })
})
