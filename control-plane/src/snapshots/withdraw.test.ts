import { describe, expect, test } from 'vitest'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import {
  compileEnvironment,
  decodedResource,
  type EnvironmentIntent,
  type RouteCacheRow,
  type RouteRow,
} from './compile-snapshot.js'
import { withdrawFrom } from './withdraw.js'

const target = (id: string, weight: number, providerId = 'prv_1') => ({
  ...{ id, providerId, modelId: 'mdl_1', upstreamModel: null, connectMs: 1, firstTokenMs: 1, idleMs: 1, totalMs: 1 },
  ...{ weight, tier: null, tasks: [], quality: null, nodePool: null, owner: null, temperature: null },
  ...{ outputTokensMax: null, breakerFailures: null, breakerOpenMs: null, breakerFailurePpm: null },
  ...{ breakerWindowMs: null, breakerRequestsMin: null, warmUpIntervalMs: null },
  ...{ batchSize: null, batchWaitMs: 0 },
})
const route = (id: string, more: Partial<RouteRow> = {}, targets = [target(`tgt_${id}`, 1)]): RouteRow => ({
  ...{ id: `rte_${id}`, name: id, totalTimeoutMs: 9, unsupportedSettings: 'refuse', defaultRouteId: null },
  ...{ lastResortCachedAgeMaxSeconds: null, lastResortApology: null, lastResortSafeAnswer: null },
  ...{ hedgingBudgetPpm: null, hedgingDelayMinMs: null, cache: null },
  ...{ classifierProviderId: null, classifierTimeoutMs: null },
  rules: [
    {
      ...{ id: `rul_${id}`, name: 'rule-1', condition: null, strategy: 'weighted', stickyBy: null },
      ...{ complexityLowPpm: 300_000, complexityHighPpm: 700_000, targets },
    },
  ],
  ...more,
})
const provider = (id: string, region = 'eu') => ({
  ...{ id, rowVersion: 1, name: id, kind: 'vllm', baseUrl: 'http://h:1/v1', region, connectionsMax: 1 },
  ...{ credentialId: null, credentialVersion: null, apiVersion: null, vendorRegion: null, vendorProject: null },
  ...{ external: false, replicaUrls: [], replicaScrapeMs: null },
})
const intent = (...routes: RouteRow[]): EnvironmentIntent => ({
  environment: {
    ...{ id: 'env_1', tenantId: 'ten_1', tenantName: 't', name: 'e', permittedRegions: ['eu'] },
    ...{ routingPreference: 'balanced', intentRevision: 1, archived: false },
  },
  routes,
  providers: [provider('prv_1'), provider('prv_2')],
  models: [
    {
      ...{ id: 'mdl_1', rowVersion: 1, name: 'm', upstreamModel: 'm', capabilities: ['chat'], price: null },
      ...{ contextTokensMax: 0, outputTokensMax: 0 },
    },
  ],
  apiKeys: [],
  cachePurges: [],
})
const section = environmentSection('ten_1', 'env_1')

/** What of `held` is left under `next`, as routes by name. */
function left(held: EnvironmentIntent, next: EnvironmentIntent) {
  const compiled = compileEnvironment(held)
  if ('refusals' in compiled) throw new Error(compiled.refusals[0]?.message)
  const kept = withdrawFrom(section, compiled.section.resources, next)
  const routes = kept.flatMap((resource) => decodedResource(section, resource).resource.route ?? [])
  return new Map(routes.map((one) => [one.name, one]))
}

test('a route whose defaults are taken away goes on with its own rules', () => {
  const held = intent(route('base'), route('above', { defaultRouteId: 'rte_base' }))
  const now = left(held, intent(route('above')))
  expect([...now.keys()]).toEqual(['above'])
  expect(now.get('above')).toMatchObject({ defaultRouteId: '', rules: [{ id: 'rul_above' }] })
  expect(left(held, held).get('above')?.defaultRouteId).toBe('rte_base')
})

test('a rule that could choose nobody any more takes the section with it: closed is the way to fail', () => {
  const held = intent(route('canary', {}, [target('tgt_a', 1), target('tgt_b', 0, 'prv_2')]))
  const withoutFirst = intent(route('canary', {}, [target('tgt_b', 0, 'prv_2')]))
  expect([...left(held, withoutFirst).keys()]).toEqual([])
  const withoutLast = intent(route('canary', {}, [target('tgt_a', 1)]))
  expect(
    left(held, withoutLast)
      .get('canary')
      ?.rules[0]?.targets.map(({ id }) => id),
  ).toEqual(['tgt_a'])
})

test('a purge of kept answers is in effect whatever else of the newest intent is not', () => {
  const held = intent(route('base'))
  const compiled = compileEnvironment(held)
  if ('refusals' in compiled) throw new Error(compiled.refusals[0]?.message)
  const { resources } = compiled.section
  const fits = { routeId: null, promptId: null, promptVersion: null, tag: 'prices', documentId: null }
  const next = { ...held, cachePurges: [{ id: 'pur_1', atMs: 5, ...fits }] }
  const kept = withdrawFrom(section, resources, next)
  const environment = kept.map((one) => decodedResource(section, one).resource.environment).find((one) => one)
  expect(environment?.cachePurges).toEqual([
    { id: 'pur_1', atUnixMs: 5, routeId: '', promptId: '', promptVersion: '', tag: 'prices', documentId: '' },
  ])
  expect(withdrawFrom(section, kept, next)).toBe(kept)
  expect(withdrawFrom(section, resources, held)).toBe(resources)
})

describe('who measures the prompts of a route', () => {
  const asking = { classifierProviderId: 'prv_3', classifierTimeoutMs: 100 }
  const withJudge = (more: Partial<RouteRow> = asking, judge = { ...provider('prv_3'), kind: 'classifier' }) => {
    const one = intent(route('base', more))
    return { ...one, providers: [...one.providers, judge] }
  }
  const leftOf = (next: EnvironmentIntent) => {
    const compiled = compileEnvironment(withJudge())
    if ('refusals' in compiled) throw new Error(compiled.refusals[0]?.message)
    const kept = withdrawFrom(section, compiled.section.resources, next)
    const resources = kept.map((one) => decodedResource(section, one).resource)
    return {
      providerIds: resources.flatMap(({ provider: one }) => (one ? [one.id] : [])),
      classifier: resources.flatMap(({ route: one }) => (one ? [one.classifier] : []))[0],
    }
  }

  test('goes on while the newest intent names and permits it', () => {
    expect(leftOf(withJudge())).toEqual({
      providerIds: ['prv_1', 'prv_3'],
      classifier: { providerId: 'prv_3', timeoutMs: 100 },
    })
  })

  test.each<[string, EnvironmentIntent]>([
    ['it is named no more', withJudge({})],
    ['another one is', withJudge({ ...asking, classifierProviderId: 'prv_2' })],
    ['it is archived', { ...withJudge(), providers: intent().providers }],
    ['its region is permitted no more', withJudge(asking, { ...provider('prv_3', 'us'), kind: 'classifier' })],
  ])('is asked no more, and known no more, where %s', (_words, next) => {
    expect(leftOf(next)).toEqual({ providerIds: ['prv_1'], classifier: null })
  })
})

describe('what a route keeps of its answers', () => {
  const cache: RouteCacheRow = {
    ...{ anyTemperature: true, sharedBy: 'team', ttls: { factual: 60, dynamic: 5 }, ttlSeconds: 9, ageMaxSeconds: 99 },
    ...{ staleSeconds: 3, shared: true, semanticThresholdPpm: 950_000, semanticEmbeddingRoute: 'embed' },
    ...{ detailApiKeyIds: ['key_1', 'key_2'], tags: ['a', 'b'] },
  }
  const held = intent(route('base', { cache }))
  const cacheUnder = (next: RouteRow['cache']) => left(held, intent(route('base', { cache: next }))).get('base')?.cache

  test('goes on as long as its newest intent says the same', () => {
    const turned = {
      ...cache,
      ttls: { dynamic: 5, factual: 60 },
      detailApiKeyIds: ['key_2', 'key_1'],
      tags: ['b', 'a'],
    }
    expect(cacheUnder(turned)).toMatchObject({ sharedBy: 'team', tags: ['a', 'b'] })
    const compiled = compileEnvironment(held)
    if ('refusals' in compiled) throw new Error(compiled.refusals[0]?.message)
    expect(withdrawFrom(section, compiled.section.resources, held)).toBe(compiled.section.resources)
  })

  test.each<[string, RouteRow['cache']]>([
    ['nothing is to be kept', null],
    ['fewer share it', { ...cache, sharedBy: 'api_key' }],
    ['only repeatable answers are kept', { ...cache, anyTemperature: false }],
    ['one class is fresh for less', { ...cache, ttls: { factual: 60, dynamic: 4 } }],
    ['one class is not named any more', { ...cache, ttls: { factual: 60 } }],
    ['other classes are', { ...cache, ttlSeconds: 8 }],
    ['nothing so old is given', { ...cache, ageMaxSeconds: 98 }],
    ['nothing stale is', { ...cache, staleSeconds: 0 }],
    ['it stays in the agent', { ...cache, shared: false }],
    ['meaning is not compared', { ...cache, semanticThresholdPpm: null, semanticEmbeddingRoute: null }],
    ['meaning is compared more strictly', { ...cache, semanticThresholdPpm: 990_000 }],
    ['meaning is compared elsewhere', { ...cache, semanticEmbeddingRoute: 'other' }],
    ['fewer keys are told details', { ...cache, detailApiKeyIds: ['key_1'] }],
    ['it has another tag', { ...cache, tags: ['a', 'c'] }],
  ])('ends where %s', (_name, next) => {
    expect(cacheUnder(next)).toBeNull()
    expect(left(held, intent(route('base', { cache: next }))).get('base')?.rules).toHaveLength(1)
  })

  test('does not begin by it', () => {
    const bare = intent(route('base'))
    expect(left(bare, held).get('base')?.cache).toBeNull()
  })
})
