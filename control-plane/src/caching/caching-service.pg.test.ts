import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { makeGraph } from '../../../test/harness/graph.js'
import { actorOf, type Intent, refusalOf, startIntent } from '../../../test/harness/intent.js'
import { AuditStore } from '../audit/audit-store.js'
import { RouteReader } from '../routes/route-reader.js'
import { RouteResolver } from '../routes/route-resolver.js'
import { compileEnvironment, decodedResource } from '../snapshots/compile-snapshot.js'
import { IntentReader } from '../snapshots/load-intent.js'
import { CachingReader } from './caching-reader.js'
import { CachingResolver, RouteCacheResolver } from './caching-resolver.js'
import { CachingService } from './caching-service.js'
import { CachingStore } from './caching-store.js'

let intent: Intent
let caching: CachingService
let ringCount = 0
let routeId = ''
beforeAll(async () => {
  intent = await startIntent()
  const { database } = intent
  caching = new CachingService({
    ...{ database, caches: new CachingStore(database), reader: new CachingReader(database), routes: intent.routes },
    ...{ environments: new RouteReader(database), audit: new AuditStore(), clock: systemClock },
    bell: { ring: () => void ringCount++ },
  })
  routeId = await makeRoute('answers', 'chat')
  await makeRoute('vectors', 'embeddings')
})
afterAll(() => intent.drop())

const admin = () => intent.tenant.admin
let count = 0

async function makeRoute(name: string, capability: 'chat' | 'embeddings'): Promise<string> {
  const { tenantId, environmentId } = intent.tenant
  const { provider } = await intent.providers.create(admin(), {
    ...{ tenantId, name: `p-${++count}`, kind: 'vllm', baseUrl: 'http://vllm:8000/v1', region: 'local' },
  })
  const { model } = await intent.models.create(admin(), { tenantId, name: `m-${count}`, capabilities: [capability] })
  const targets = [{ providerId: provider.id, modelId: model.id }]
  const { route } = await intent.routes.create(admin(), { environmentId, name, rules: [{ targets }] })
  return route.id
}

async function revisionNow(environmentId = intent.tenant.environmentId): Promise<bigint> {
  return (await intent.database.rows.environment.findUniqueOrThrow({ where: { id: environmentId } })).intentRevision
}

/** What agents are sent of the environment. */
async function compiled(environmentId = intent.tenant.environmentId) {
  const reader = new IntentReader(intent.database)
  const found = (await reader.loadEnvironments(({ id }) => id === environmentId)).get(environmentId)
  if (found === undefined) throw new Error('the environment is placed')
  const result = compileEnvironment(found)
  if ('refusals' in result) throw new Error(result.refusals[0]?.message)
  const resources = result.section.resources.map((one) => decodedResource('x', one).resource)
  return {
    purges: resources.find(({ environment }) => environment)?.environment?.cachePurges ?? [],
    cache: resources.find(({ route }) => route?.id === routeId)?.route?.cache,
  }
}

describe('what a route keeps', () => {
  test('is as a new policy has it where nothing is said, and agents are sent it', async () => {
    const before = await revisionNow()
    const { cache, intentRevision } = await caching.set(admin(), { routeId })
    expect(cache).toMatchObject({
      ...{ anyTemperature: false, sharedBy: 'environment', ttlSeconds: 3_600, ageMaxSeconds: 604_800 },
      ...{ staleSeconds: 0, shared: false, semantic: null, detailApiKeyIds: [], tags: [] },
      ttls: [
        { promptClass: 'dynamic', seconds: 3_600 },
        { promptClass: 'factual', seconds: 86_400 },
      ],
    })
    expect(intentRevision).toBe(before + 1n)
    expect((await compiled()).cache).toMatchObject({
      ...{ anyTemperature: false, sharedBy: 'environment', ttlSeconds: 3_600, semantic: null },
      ttls: [
        { promptClass: 'dynamic', seconds: 3_600 },
        { promptClass: 'factual', seconds: 86_400 },
      ],
    })
  })

  test('is set as a whole, and nothing of the policy before stays', async () => {
    const { apiKeyId } = await plantKey()
    const semantic = { embeddingRoute: 'vectors', threshold: 0.97 }
    const more = {
      staleSeconds: 5,
      sharedBy: 'user' as const,
      shared: true,
      tags: ['b', 'a', 'b'],
      anyTemperature: true,
    }
    await caching.set(admin(), { routeId, semantic, detailApiKeyIds: [apiKeyId], ttls: [], ...more })
    expect((await compiled()).cache).toMatchObject({
      ...{ anyTemperature: true, sharedBy: 'user', staleSeconds: 5, shared: true, tags: ['a', 'b'], ttls: [] },
      ...{ semantic: { thresholdPpm: 970_000, embeddingRoute: 'vectors' }, detailApiKeyIds: [apiKeyId] },
    })
    await caching.set(admin(), { routeId, ttlSeconds: 60 })
    expect((await compiled()).cache).toMatchObject({
      ...{
        anyTemperature: false,
        sharedBy: 'environment',
        ttlSeconds: 60,
        semantic: null,
        detailApiKeyIds: [],
        tags: [],
      },
    })
  })

  test('can be taken away, once', async () => {
    await caching.set(admin(), { routeId })
    expect(await caching.remove(admin(), routeId)).toMatchObject({ routeId, cache: null })
    expect((await compiled()).cache).toBeNull()
    expect(await refusalOf(() => caching.remove(admin(), routeId))).toMatchObject({
      code: 'not_found',
      field: 'routeId',
    })
  })

  test('goes with its route', async () => {
    const id = await makeRoute(`gone-${++count}`, 'chat')
    await caching.set(admin(), { routeId: id })
    await intent.routes.delete(admin(), id)
    expect(await intent.database.rows.routeCache.count({ where: { routeId: id } })).toBe(0)
    expect(await refusalOf(() => caching.set(admin(), { routeId: id }))).toMatchObject({ code: 'not_found' })
  })

  test('is told to the audit trail, before and after', async () => {
    const id = await makeRoute(`told-${++count}`, 'chat')
    await caching.set(admin(), { routeId: id, tags: ['one'] })
    await caching.set(admin(), { routeId: id, tags: ['two'] })
    await caching.remove(admin(), id)
    const entries = await intent.database.rows.auditEntry.findMany({
      where: { subjectId: id, action: { startsWith: 'route-cache' } },
      orderBy: { id: 'asc' },
    })
    const tagsOf = (value: unknown) => (value as { tags?: string[] } | null)?.tags ?? null
    expect(entries.map(({ action, before, after }) => [action, tagsOf(before), tagsOf(after)])).toEqual([
      ['route-cache.set', null, ['one']],
      ['route-cache.set', ['one'], ['two']],
      ['route-cache.remove', ['two'], null],
    ])
  })

  test.each<[object, string]>([
    [{ ttlSeconds: -1 }, 'input.ttlSeconds'],
    [{ ageMaxSeconds: 0 }, 'input.ageMaxSeconds'],
    [{ ageMaxSeconds: 31 * 86_400 }, 'input.ageMaxSeconds'],
    [{ staleSeconds: 1.5 }, 'input.staleSeconds'],
    [{ sharedBy: 'everybody' }, 'input.sharedBy'],
    [{ ttls: [{ promptClass: 'Factual', seconds: 1 }] }, 'input.ttls[0].promptClass'],
    [
      {
        ttls: [
          { promptClass: 'a', seconds: 1 },
          { promptClass: 'a', seconds: 2 },
        ],
      },
      'input.ttls',
    ],
    [{ tags: ['no blanks'] }, 'input.tags[0]'],
    [{ tags: Array.from({ length: 17 }, (_, index) => `t${index}`) }, 'input.tags'],
    [{ semantic: { embeddingRoute: 'vectors', threshold: 0 } }, 'input.semantic.threshold'],
    [{ semantic: { embeddingRoute: 'vectors', threshold: 1.1 } }, 'input.semantic.threshold'],
    [{ semantic: { embeddingRoute: 'nowhere' } }, 'input.semantic.embeddingRoute'],
    [{ semantic: { embeddingRoute: 'answers' } }, 'input.semantic.embeddingRoute'],
    [{ detailApiKeyIds: [newId('apiKey', 0)] }, 'input.detailApiKeyIds'],
    [{ semantic: { embeddingRoute: 'vectors' }, detailApiKeyIds: [newId('apiKey', 0)] }, 'input.detailApiKeyIds[0]'],
  ])('is refused by the field that is wrong: %j', async (wrong, field) => {
    expect(await refusalOf(() => caching.set(admin(), { routeId, ...wrong }))).toMatchObject({
      code: 'bad_input',
      field,
    })
  })

  test('is the business of who may, and of nobody else’s tenant', async () => {
    const other = await intent.makeTenant()
    expect(await refusalOf(() => caching.set(other.admin, { routeId }))).toMatchObject({ code: 'not_found' })
    const viewer = actorOf(intent.tenant.tenantId, 'viewer')
    expect(await refusalOf(() => caching.set(viewer, { routeId }))).toMatchObject({ code: 'forbidden' })
    const developer = actorOf(intent.tenant.tenantId, 'developer')
    expect((await caching.set(developer, { routeId })).cache).not.toBeNull()
    expect(await caching.byRoute.load(viewer, [routeId, 'x'])).toMatchObject([{ routeId }, null])
    expect(await caching.byRoute.load(other.admin, [routeId])).toEqual([null])
  })

  test('says whether there is still a route to compare questions by', async () => {
    const embedding = `vectors-${++count}`
    const embeddingId = await makeRoute(embedding, 'embeddings')
    const id = await makeRoute(`compares-${count}`, 'chat')
    await caching.set(admin(), { routeId: id, semantic: { embeddingRoute: embedding } })
    expect(await caching.isComparing.load(admin(), [id, routeId])).toEqual([true, false])
    await intent.routes.delete(admin(), embeddingId)
    expect(await caching.isComparing.load(admin(), [id])).toEqual([false])
  })
})

describe('a purge', () => {
  test('of everything of one environment reaches its agents, with the others in order', async () => {
    const { environmentId } = intent.tenant
    const first = await caching.purge(admin(), { environmentId, tag: 'prices' })
    const second = await caching.purge(admin(), {
      environmentId,
      documentIds: ['d2', 'd1'],
      routeId,
    })
    expect(second.intentRevisions.get(environmentId)).toBe(await revisionNow())
    const { purges } = await compiled()
    // Those of one instant in any order.
    expect(purges[0]?.id).toBe(first.purges[0]?.id)
    expect(
      purges
        .slice(1)
        .map(({ documentId }) => documentId)
        .sort(),
    ).toEqual(['d1', 'd2'])
    expect(purges[1]).toMatchObject({ promptId: '', promptVersion: '', tag: '', routeId })
    expect(purges.at(-1)?.atUnixMs).toBe(second.purges[1]?.at.getTime())
    const listed = await caching.listPurges(admin(), environmentId)
    expect(listed.map(({ id }) => id)).toEqual(purges.map(({ id }) => id))
    const all = await caching.purge(admin(), { environmentId })
    expect((await compiled()).purges.map(({ id }) => id)).toEqual([all.purges[0]?.id])
  })

  test('of a route is of its environment', async () => {
    const { purges } = await caching.purge(admin(), { routeId })
    expect(purges).toMatchObject([{ routeId, environmentId: intent.tenant.environmentId }])
    const wrong = { routeId, environmentId: intent.tenant.otherEnvironmentId }
    expect(await refusalOf(() => caching.purge(admin(), wrong))).toMatchObject({
      code: 'not_found',
      field: 'input.routeId',
    })
  })

  test('of a tenant is of all its environments that are in service, and of nobody else’s', async () => {
    const other = await intent.makeTenant()
    const before = await revisionNow()
    const { purges, intentRevisions } = await caching.purge(other.admin, { tag: 'x' })
    const ids = [other.environmentId, other.otherEnvironmentId].sort()
    expect(purges.map(({ environmentId }) => environmentId)).toEqual(ids)
    expect([...intentRevisions.keys()].sort()).toEqual(ids)
    expect(await revisionNow()).toBe(before)
    expect(await refusalOf(() => caching.purge(other.admin, { tenantId: intent.tenant.tenantId }))).toMatchObject({
      ...{ code: 'not_found', field: 'input.tenantId' },
    })
    const { environmentId } = intent.tenant
    expect(await refusalOf(() => caching.purge(other.admin, { environmentId }))).toMatchObject({ code: 'not_found' })
    expect(await refusalOf(() => caching.listPurges(other.admin, environmentId))).toMatchObject({ code: 'not_found' })
  })

  test('of what is archived is a conflict', async () => {
    const other = await intent.makeTenant()
    const { environmentId } = other
    await intent.database.rows.environment.update({ where: { id: environmentId }, data: { archivedAt: new Date() } })
    expect(await refusalOf(() => caching.purge(other.admin, { environmentId }))).toMatchObject({ code: 'conflict' })
    expect((await caching.purge(other.admin, {})).purges).toHaveLength(1)
  })

  test('beyond what a section holds makes the older ones one', async () => {
    const { admin: actor, environmentId } = await intent.makeTenant()
    for (let index = 0; index < 10; index++) {
      const documentIds = Array.from({ length: 16 }, (_, number) => `d${index}-${number}`)
      await caching.purge(actor, { environmentId, documentIds })
    }
    const { purges } = await compiled(environmentId)
    expect(purges.length).toBeLessThanOrEqual(128)
    expect(purges[0]).toMatchObject({ routeId: '', promptId: '', tag: '', documentId: '' })
    expect(purges.at(-1)?.documentId).toMatch(/^d9-/)
    expect(await intent.database.rows.cachePurge.count({ where: { environmentId } })).toBe(purges.length)
  })

  test.each<[object, string]>([
    [{ promptId: 'p' }, 'input.promptId'],
    [{ promptVersion: '1.0.0' }, 'input.promptVersion'],
    [{ tag: 'a b' }, 'input.tag'],
    [{ documentIds: [] }, 'input.documentIds'],
    [{ documentIds: Array.from({ length: 17 }, (_, index) => `d${index}`) }, 'input.documentIds'],
    [{ environmentId: 'env' }, 'input.environmentId'],
  ])('is refused by the field that is wrong: %j', async (wrong, field) => {
    expect(await refusalOf(() => caching.purge(admin(), wrong))).toMatchObject({ code: 'bad_input', field })
  })

  test('by a prompt says that there are none, and purges nothing', async () => {
    const before = await revisionNow()
    expect(await refusalOf(() => caching.purge(admin(), { promptId: 'p', tag: 't' }))).toMatchObject({
      ...{ code: 'bad_input', message: 'input.promptId: there are no prompts yet: purge by route, tag or document' },
    })
    expect(await revisionNow()).toBe(before)
  })

  test('wakes the reconciler', async () => {
    const before = ringCount
    await caching.purge(admin(), {})
    expect(ringCount).toBe(before + 1)
  })
})

describe('what was saved', () => {
  const from = new Date('2026-03-01T00:00:00Z')
  const to = new Date('2026-03-02T00:00:00Z')

  test('is summed by route from records, of one tenant and time', async () => {
    const { admin: actor, tenantId, environmentId } = await intent.makeTenant()
    const plant = (cacheHit: string | null, more: object = {}) =>
      plantRecord({ tenantId, environmentId, cacheHit, ...more })
    await plant('exact', { savedNanoUsd: 100n, savedTokensIn: 10n, savedTokensOut: 5n })
    await plant('exact', { savedNanoUsd: null })
    await plant('semantic', { savedNanoUsd: 50n, savedTokensIn: 1n, savedTokensOut: 2n })
    await plant('miss', { costNanoUsd: 70n })
    await plant('miss', { costNanoUsd: null })
    await plant(null, { costNanoUsd: 999n })
    await plant('exact', { routeId: 'rte_b', routeName: 'b', savedNanoUsd: 7n })
    await plant('exact', { startedAt: to, savedNanoUsd: 1_000n })
    await plantRecord({ tenantId: 'ten_other', environmentId, cacheHit: 'exact', savedNanoUsd: 1_000n })
    const found = await caching.findStatistics(actor, { from, to })
    expect(found).toMatchObject({
      ...{ exactCount: 3n, semanticCount: 1n, missCount: 2n, savedNanoUsd: 157n, missedNanoUsd: 70n },
      ...{ savedTokensIn: 11n, savedTokensOut: 7n, unpricedCount: 1n },
    })
    expect(found.routes.map(({ routeName, exactCount }) => [routeName, exactCount])).toEqual([
      ['a', 2n],
      ['b', 1n],
    ])
    const one = await caching.findStatistics(actor, { from, to, routeId: 'rte_b', environmentId })
    expect(one).toMatchObject({ exactCount: 1n, missCount: 0n, savedNanoUsd: 7n })
  })

  test('is asked in the graph, with its ratios and dollars', async () => {
    const { admin: actor, tenantId, environmentId } = await intent.makeTenant()
    for (let index = 0; index < 3; index++)
      await plantRecord({ tenantId, environmentId, cacheHit: 'exact', savedNanoUsd: 1_500_000_000n })
    await plantRecord({ tenantId, environmentId, cacheHit: 'miss', costNanoUsd: 2_000_000_000n })
    const ask = await makeGraph([
      new CachingResolver(caching),
      new RouteCacheResolver(caching),
      new RouteResolver(intent.routes, intent.environments),
    ])
    const query = `query ($input: CacheStatisticsInput!) { cacheStatistics(input: $input) {
      hitRatio missRatio savedUsd missedUsd exactCount routes { routeName hitRatio savedUsd } } }`
    expect(await ask(actor, query, { input: { from, to } })).toEqual({
      refusals: [],
      data: {
        cacheStatistics: {
          ...{ hitRatio: 0.75, missRatio: 0.25, savedUsd: '4.500000000', missedUsd: '2.000000000', exactCount: '3' },
          routes: [{ routeName: 'a', hitRatio: 0.75, savedUsd: '4.500000000' }],
        },
      },
    })
    const empty = { from: new Date('2020-01-01T00:00:00Z'), to: new Date('2020-01-02T00:00:00Z') }
    expect((await ask(actor, query, { input: empty })).data).toMatchObject({
      cacheStatistics: { hitRatio: null, routes: [] },
    })
    const route = `query ($id: ID!) { route(id: $id) { cache { sharedBy comparesMeaning ttls { promptClass seconds } } } }`
    await caching.set(admin(), { routeId, sharedBy: 'api_key' })
    expect((await ask(admin(), route, { id: routeId })).data).toMatchObject({
      route: { cache: { sharedBy: 'API_KEY', comparesMeaning: false } },
    })
  })

  test('is not asked of more than a month, nor by who may not', async () => {
    const late = new Date(from.getTime() + 32 * 86_400_000)
    expect(await refusalOf(() => caching.findStatistics(admin(), { from, to: late }))).toMatchObject({
      ...{ code: 'bad_input', field: 'input.from' },
    })
    expect(await refusalOf(() => caching.findStatistics(admin(), { from: to, to: from }))).toMatchObject({
      ...{ code: 'bad_input', field: 'input.to' },
    })
    const other = await intent.makeTenant()
    const question = { from, to, tenantId: intent.tenant.tenantId }
    expect(await refusalOf(() => caching.findStatistics(other.admin, question))).toMatchObject({ code: 'not_found' })
  })
})

async function plantKey(): Promise<{ apiKeyId: string }> {
  const { tenantId, environmentId } = intent.tenant
  const id = newId('apiKey', systemClock.nowMs())
  await intent.database.rows.apiKey.create({
    data: {
      ...{
        id,
        tenantId,
        environmentId,
        name: id,
        prefix: 'sk',
        secretHash: new Uint8Array(Buffer.from(id.padEnd(32).slice(-32))),
      },
      ...{ allowedRoutes: [], inFlightMax: 1, requestsPerMinuteMax: 1, createdBy: 'x' },
    },
  })
  return { apiKeyId: id }
}

async function plantRecord(more: object): Promise<void> {
  await intent.database.rows.usageRecord.create({
    data: {
      ...{ agentId: 'agt', bootEpoch: 1n, lane: 0, sequence: BigInt(++count), requestId: `r-${count}`, traceId: 't' },
      ...{ startedAt: new Date('2026-03-01T12:00:00Z'), tenantId: '', environmentId: '', apiKeyId: 'k', userId: 'u' },
      ...{ operation: 'chat_completions', requestedModel: 'a', clusterId: 'c', region: 'local', usageSource: 'none' },
      ...{ latencyUs: 1n, providerLatencyUs: 0n, guardrailLatencyUs: 0n, status: 'ok', httpStatus: 200, hops: [] },
      ...{ fallbackUsed: false, stream: false, snapshotGeneration: 1n, contentHash: new Uint8Array(32) },
      ...{ routeId: 'rte_a', routeName: 'a', ...more },
    },
  })
}
