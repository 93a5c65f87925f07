import { afterAll, beforeAll, expect, test } from 'vitest'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import { must } from '../../../proto/std/assert.js'
import { IntentRows } from '../../../test/harness/intent-rows.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import { Database } from '../database/database.js'
import { compileEnvironment, decodedResource } from './compile-snapshot.js'
import { IntentReader } from './load-intent.js'

let testDb: TestDatabase
let database: Database
let rows: IntentRows

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 2, sqlPoolMax: 2 })
  rows = await IntentRows.make(database)
})
afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})

/** Resources of the environment's section as an agent reads them, by kind. */
async function compiled() {
  const intents = await new IntentReader(database).loadEnvironments(({ id }) => id === rows.environmentId)
  const result = compileEnvironment(must(intents.get(rows.environmentId), 'the environment is in service'))
  if ('refusals' in result) throw new Error(result.refusals[0]?.message)
  const name = environmentSection(rows.tenantId, rows.environmentId)
  const resources = result.section.resources.map((resource) => decodedResource(name, resource).resource)
  return {
    provider: resources.find((resource) => resource.provider)?.provider,
    providerIds: resources.flatMap((resource) => resource.provider?.id ?? []),
    model: resources.find((resource) => resource.model)?.model,
    route: resources.find((resource) => resource.route)?.route,
    routes: resources.flatMap((resource) => resource.route ?? []),
    environment: resources.find((resource) => resource.environment)?.environment,
    key: resources.find((resource) => resource.apiKey)?.apiKey,
  }
}

test('what a vendor needs reaches the agent, from rows to resources', async () => {
  const { providerId, modelId } = rows
  const routeId = await rows.addRoute('chat')
  // Left out: an address is all there is, prices are as they were, and settings are refused.
  const plain = await compiled()
  expect(plain.provider).toMatchObject({ apiVersion: '', vendorRegion: '', vendorProject: '', external: true })
  expect(plain.model).toMatchObject({ outputTokensMax: 0, price: { version: 1, inputNanoUsdPerMillion: 5 } })
  expect(plain.model?.price).not.toHaveProperty('cacheWriteInputNanoUsdPerMillion')
  expect(plain.route).toMatchObject({ unsupportedSettings: 'refuse' })

  await rows.change(async (tables) => {
    await tables.provider.update({
      where: { id: providerId },
      data: {
        ...{ kind: 'vertex', baseUrl: 'https://aiplatform.googleapis.com', external: false },
        ...{ apiVersion: 'v1', vendorRegion: 'global', vendorProject: 'acme-prod-1' },
        ...{ slaAvailabilityPpm: 999_000, slaNote: 'not for agents', vendorRequestsPerMinute: 7 },
      },
    })
    await tables.model.update({ where: { id: modelId }, data: { outputTokensMax: 64_000 } })
    await tables.modelPrice.create({
      data: {
        ...{ modelId, version: 2, inputNanoUsdPerMillion: 3_000_000_000n, outputNanoUsdPerMillion: 15_000_000_000n },
        ...{ cachedInputNanoUsdPerMillion: 300_000_000n, cacheWriteInputNanoUsdPerMillion: 0n },
      },
    })
    await tables.route.update({ where: { id: routeId }, data: { unsupportedSettings: 'drop' } })
  })
  const full = await compiled()
  expect(full.provider).toEqual({
    ...{ id: providerId, name: 'sim', kind: 'vertex', baseUrl: 'https://aiplatform.googleapis.com', region: 'eu' },
    ...{ credentialId: '', credentialVersion: 0, connectionsMax: 256, external: false },
    ...{ apiVersion: 'v1', vendorRegion: 'global', vendorProject: 'acme-prod-1' },
    ...{ replicaUrls: [], replicaScrapeMs: 0 },
  })
  // Free is a price: it is not the same as none.
  expect(full.model).toMatchObject({
    outputTokensMax: 64_000,
    price: {
      ...{ version: 2, inputNanoUsdPerMillion: 3_000_000_000, outputNanoUsdPerMillion: 15_000_000_000 },
      ...{ cachedInputNanoUsdPerMillion: 300_000_000, cacheWriteInputNanoUsdPerMillion: 0 },
    },
  })
  expect(full.route).toMatchObject({ unsupportedSettings: 'drop' })
})

test('rules, targets, last resorts, hedging, defaults, preference and what a key may reach the agent', async () => {
  const { providerId, modelId, environmentId, tenantId } = rows
  const target = (position: number, ruleId: string | null, more: object = {}) => ({
    ...{ id: `tgt_${position}`, position, ruleId, providerId, modelId },
    ...{ connectTimeoutMs: 1, firstTokenTimeoutMs: 2, idleTimeoutMs: 3, totalTimeoutMs: 4, ...more },
  })
  const judge = 'prv_judge'
  await rows.addKeys(1)
  await rows.change(async (tables) => {
    await tables.routeTarget.deleteMany({})
    await tables.route.deleteMany({})
    await tables.environment.update({ where: { id: environmentId }, data: { routingPreference: 'best' } })
    await tables.provider.create({
      data: { id: judge, tenantId, name: judge, kind: 'classifier', baseUrl: 'http://judge', region: 'eu' },
    })
    await tables.apiKey.updateMany({ data: { internalOnly: true, mayPin: true, rowVersion: 2 } })
    const route = { tenantId, environmentId, totalTimeoutMs: 60_000 }
    // As a release without rules writes it: targets of no rule.
    await tables.route.create({ data: { ...route, id: 'rte_old', name: 'old', targets: { create: target(0, null) } } })
    await tables.route.create({
      data: {
        ...{ ...route, id: 'rte_new', name: 'new', defaultRouteId: 'rte_old' },
        ...{ lastResortCachedAgeMaxSeconds: 60, lastResortApology: 'sorry', lastResortSafeAnswer: '' },
        ...{ hedgingBudgetPpm: 50_000, hedgingDelayMinMs: 7 },
        ...{ classifierProviderId: judge, classifierTimeoutMs: 55 },
      },
    })
    await tables.routeRule.createMany({
      data: [
        {
          id: 'rul_b',
          routeId: 'rte_new',
          position: 1,
          name: 'rest',
          strategy: 'complexity',
          complexityLowPpm: 200_000,
        },
        { id: 'rul_a', routeId: 'rte_new', position: 0, name: 'law', condition: 'team == "t"', strategy: 'weighted' },
      ],
    })
    const breaker = {
      ...{ breakerFailures: 5, breakerOpenMs: 6, breakerFailurePpm: 7, breakerWindowMs: 8, breakerRequestsMin: 9 },
    }
    await tables.routeTarget.createMany({
      data: [
        {
          ...target(11, 'rul_a', { weight: 3, tasks: ['code', 'chat'], temperature: 0, ...breaker }),
          routeId: 'rte_new',
        },
        {
          ...target(12, 'rul_b', { tier: 'low', quality: 80, nodePool: 'a100', owner: 'ml', outputTokensMax: 100 }),
          ...{ routeId: 'rte_new', warmUpIntervalMs: 5_000, batchSize: 32, batchWaitMs: 250 },
        },
      ],
    })
  })
  const { environment, key, routes, providerIds } = await compiled()
  expect(environment?.routingPreference).toBe('best')
  expect(key).toMatchObject({ internalOnly: true, mayPin: true })
  const [modern, old] = routes
  expect(old?.rules).toMatchObject([
    { id: 'rul_old', condition: '', strategy: 'ordered', targets: [{ id: 'tgt_0', weight: 1, tier: '', tasks: [] }] },
  ])
  expect(old).toMatchObject({ lastResort: null, hedging: null, classifier: null, defaultRouteId: '' })
  expect([...providerIds].sort()).toEqual([judge, providerId].sort())
  expect(modern).toMatchObject({
    defaultRouteId: 'rte_old',
    lastResort: { cachedAgeMaxSeconds: 60, apology: 'sorry', safeAnswer: '' },
    hedging: { budgetPpm: 50_000, delayMinMs: 7 },
    classifier: { providerId: judge, timeoutMs: 55 },
    rules: [
      {
        ...{ id: 'rul_a', name: 'law', condition: 'team == "t"', strategy: 'weighted', complexityLowPpm: 0 },
        targets: [
          {
            ...{ id: 'tgt_11', weight: 3, tasks: ['chat', 'code'], parameters: { temperature: 0 }, warmUp: null },
            breaker: { failures: 5, openMs: 6, failurePpm: 7, windowMs: 8, requestsMin: 9 },
            ...{ batchSize: 0, batchWaitMs: 0 },
          },
        ],
      },
      {
        ...{ id: 'rul_b', strategy: 'complexity', complexityLowPpm: 200_000, complexityHighPpm: 700_000 },
        targets: [
          {
            ...{ id: 'tgt_12', tier: 'low', quality: 80, nodePool: 'a100', owner: 'ml', breaker: null },
            ...{ parameters: { outputTokensMax: 100 }, warmUp: { intervalMs: 5_000 } },
            ...{ batchSize: 32, batchWaitMs: 250 },
          },
        ],
      },
    ],
  })
})

test('replicas reach the agent in their order', async () => {
  const replicaUrls = ['http://vllm-1:8000/v1', 'http://vllm-0:8000/v1']
  await rows.change(async (tables) => {
    await tables.provider.update({ where: { id: rows.providerId }, data: { replicaUrls, replicaScrapeMs: 500 } })
  })
  expect((await compiled()).provider).toMatchObject({ replicaUrls, replicaScrapeMs: 500 })
})
