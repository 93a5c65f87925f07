import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { resourceCodec } from '../gen/codec.js'
import type { Resource } from '../gen/switchyard/v1/Resource.js'
import {
  type CompiledSnapshot,
  compileSection,
  compileTables,
  finish,
  isCompiled,
  joinTables,
  type SectionChange,
} from './compile-tables.js'

const env = 'environment/ten_1/env_1'
const hash = (text: string) => createHash('sha256').update(text).digest()
const hex = (text: string) => hash(text).toString('hex')
const header = (generation: number) => ({ epoch: 1, generation, rootHash: `root${generation}` })

const named = (name: string, resource: Resource) => ({
  name,
  resource: resourceCodec.decode(resourceCodec.encode(resource)),
})
const key = (id: string, secret = id, over = {}) =>
  named(`api_key/${id}`, { apiKey: { id, secretHash: hash(secret), ...over } })
const deny = (id: string, over = {}) =>
  named(`deny/${id}`, { deny: { subjectKind: 'api_key', subjectId: id, secretHash: hash(id), ...over } })
const environment = named('environment/env_1', {
  environment: { tenantId: 'ten_1', environmentId: 'env_1', permittedRegions: ['eu'] },
})
const provider = (baseUrl = 'https://h.example:8443/v1') =>
  named('provider/prv_1', { provider: { id: 'prv_1', kind: 'vllm', region: 'eu', baseUrl } })
const model = (over = {}) => named('model/mdl_1', { model: { id: 'mdl_1', upstreamModel: 'llama', ...over } })
const route = (over = {}) =>
  named('route/rte_1', {
    route: {
      id: 'rte_1',
      name: 'fast',
      totalTimeoutMs: 9,
      rules: [{ id: 'r', targets: [{ id: 't', providerId: 'prv_1', modelId: 'mdl_1', ...over }] }],
    },
  })

function start(...sections: { name: string; changed: SectionChange['changed'] }[]): CompiledSnapshot {
  const compiled = compileTables(header(1), sections)
  if (!isCompiled(compiled)) throw new Error(JSON.stringify(compiled))
  return compiled
}

function next(before: CompiledSnapshot, change: Partial<SectionChange> & { name: string }, gone: string[] = []) {
  const old = before.sections.get(change.name) ?? null
  const compiled = finish(compileSection(old, { changed: [], gone: [], ...change }))
  if (!isCompiled(compiled)) throw new Error(JSON.stringify(compiled))
  const joined = finish(joinTables({ header: header(2), before, compilations: [compiled], gone }))
  if (!isCompiled(joined)) throw new Error(JSON.stringify(joined))
  return joined
}

describe('compiled tables', () => {
  it('hold a key with its environment, and a target with its provider and model', () => {
    const price = { version: 3, inputNanoUsdPerMillion: 150_000_000, outputNanoUsdPerMillion: 600_000_000 }
    const { tables } = start({
      name: env,
      changed: [environment, provider(), model({ price }), route(), key('key_1', 'key_1', { teamId: 'team_1' })],
    })
    const found = tables.keys.get(hex('key_1'))
    expect(found).toMatchObject({ id: 'key_1', teamId: 'team_1', allowedRoutes: null, expiresAtMs: Infinity })
    const target = found?.environment.routes.get('fast')?.rules[0]?.targets[0]
    expect(target).toMatchObject({
      upstreamModel: 'llama',
      provider: { origin: 'https://h.example:8443', basePath: '/v1' },
    })
    expect(target?.model.price?.inputNanoUsdPerMillion).toBe(150_000_000n)
    expect(Object.isFrozen(tables) && Object.isFrozen(found) && Object.isFrozen(target)).toBe(true)
    expect(tables.keys.get(hex('nobody'))).toBeUndefined()
  })

  it('hold the replicas of a provider, and the provider itself where it has none', () => {
    const providerOf = (more: object) => {
      const own = named('provider/prv_1', { provider: { id: 'prv_1', kind: 'vllm', baseUrl: 'http://a/v1', ...more } })
      const { tables } = start({ name: env, changed: [environment, own, model(), route(), key('key_1')] })
      return tables.keys.get(hex('key_1'))?.environment.routes.get('fast')?.rules[0]?.targets[0]?.provider
    }
    expect(providerOf({})).toMatchObject({
      replicas: [{ origin: 'http://a', basePath: '/v1' }],
      replicaScrapeMs: null,
    })
    expect(providerOf({ replicaUrls: ['http://b:8000/v1', 'https://c/x/v1/'], replicaScrapeMs: 500 })).toMatchObject({
      ...{ origin: 'http://a', basePath: '/v1', replicaScrapeMs: 500 },
      replicas: [
        { origin: 'http://b:8000', basePath: '/v1' },
        { origin: 'https://c', basePath: '/x/v1' },
      ],
    })
  })

  it('hold how many may run at a target and how long one waits, and no limit where a release before names none', () => {
    const targetOf = (over: object) => {
      const { tables } = start({ name: env, changed: [environment, provider(), model(), route(over), key('key_1')] })
      return tables.keys.get(hex('key_1'))?.environment.routes.get('fast')?.rules[0]?.targets[0]
    }
    expect(targetOf({ batchSize: 64, batchWaitMs: 2_000 })).toMatchObject({ batchSize: 64, batchWaitMs: 2_000 })
    expect(targetOf({ batchSize: 1 })).toMatchObject({ batchSize: 1, batchWaitMs: 0 })
    expect(targetOf({})).toMatchObject({ batchSize: null, batchWaitMs: 0 })
  })

  it('refuse a replica that is no address, by where it stands', () => {
    const wrong = named('provider/prv_1', {
      provider: { id: 'prv_1', kind: 'vllm', baseUrl: 'http://a', replicaUrls: ['http://b', 'ftp://c'] },
    })
    const compiled = compileTables(header(1), [{ name: env, changed: [environment, wrong] }])
    expect(compiled).toMatchObject([{ code: 'url_invalid', resource: 'provider/prv_1', path: 'replicaUrls[1]' }])
  })

  it.each([
    [
      'a missing provider',
      [environment, model(), route()],
      'target_provider_missing',
      'rules[0].targets[0].providerId',
    ],
    ['a missing model', [environment, provider(), route()], 'target_model_missing', 'rules[0].targets[0].modelId'],
    ['no environment', [key('key_1')], 'environment_missing', ''],
    ['a base URL that is none', [environment, provider('nowhere')], 'url_invalid', 'baseUrl'],
    [
      'a short key hash',
      [environment, named('api_key/k', { apiKey: { id: 'k', secretHash: Buffer.alloc(4) } })],
      'key_hash_invalid',
      'secretHash',
    ],
    [
      'one hash for two keys',
      [environment, key('key_1', 'same'), key('key_2', 'same')],
      'key_hash_taken',
      'secretHash',
    ],
  ])('refuse %s', (_, changed, code, path) => {
    const compiled = compileTables(header(1), [{ name: env, changed }])
    expect(isCompiled(compiled)).toBe(false)
    expect(compiled).toMatchObject([{ code, section: env, path }])
  })

  it('hold who measures the prompts of a route', () => {
    const judge = named('provider/prv_2', { provider: { id: 'prv_2', kind: 'classifier', baseUrl: 'http://judge/x' } })
    const asking = named('route/rte_1', {
      route: { ...route().resource.route, classifier: { providerId: 'prv_2', timeoutMs: 50 } },
    })
    const of = (...more: ReturnType<typeof named>[]) =>
      compileTables(header(1), [{ name: env, changed: [environment, provider(), model(), ...more] }])
    const compiled = of(judge, asking)
    if (!isCompiled(compiled)) throw new Error(JSON.stringify(compiled))
    expect(compiled.tables.environments.get(env)?.routes.get('fast')?.classifier).toMatchObject({
      provider: { id: 'prv_2', origin: 'http://judge', basePath: '/x' },
      timeoutMs: 50,
    })
    const plain = of(route())
    if (!isCompiled(plain)) throw new Error(JSON.stringify(plain))
    expect(plain.tables.environments.get(env)?.routes.get('fast')?.classifier).toBeNull()
    expect(of(asking)).toMatchObject([{ code: 'classifier_provider_missing', path: 'classifier.providerId' }])
  })

  it('share every key and environment when a key is denied', () => {
    const before = start(
      { name: env, changed: [environment, provider(), model(), route(), key('key_1'), key('key_2')] },
      { name: 'deny', changed: [] },
    )
    const after = next(before, { name: 'deny', changed: [deny('key_1', { abort: true })] })
    expect(after.tables.keys).toBe(before.tables.keys)
    expect(after.sections.get(env)).toBe(before.sections.get(env))
    expect(after.tables.denied.get(hex('key_1'))).toEqual({ subjectId: 'key_1', abort: true, expiresAtMs: Infinity })
    expect(before.tables.denied.get(hex('key_1'))).toBeUndefined()
    expect(after.tables).toMatchObject({ generation: 2, rootHash: 'root2' })
  })

  it('share the environment when only keys change, and the rows of keys when only a route changes', () => {
    const before = start({ name: env, changed: [environment, provider(), model(), route(), key('key_1')] })
    const withKey = next(before, { name: env, changed: [key('key_2')] })
    expect(withKey.sections.get(env)?.environment).toBe(before.sections.get(env)?.environment)
    expect(withKey.tables.keys.get(hex('key_2'))?.environment).toBe(before.sections.get(env)?.environment)
    const withRoute = next(withKey, { name: env, changed: [route({ upstreamModel: 'other' })] })
    expect(withRoute.keys).toBe(withKey.keys)
    const target = (of: CompiledSnapshot) =>
      of.tables.keys.get(hex('key_1'))?.environment.routes.get('fast')?.rules[0]?.targets[0]?.upstreamModel
    expect([target(before), target(withRoute)]).toEqual(['llama', 'other'])
  })

  it('lose a key that is gone, take a key that came back, follow a changed secret', () => {
    const before = start({ name: env, changed: [environment, key('key_1'), key('key_2')] })
    const gone = next(before, { name: env, gone: ['api_key/key_1'] })
    expect([gone.tables.keys.size, gone.tables.keys.get(hex('key_1'))]).toEqual([1, undefined])
    const back = next(gone, { name: env, changed: [key('key_1', 'rotated')] })
    expect(back.tables.keys.get(hex('rotated'))?.id).toBe('key_1')
    const swapped = next(back, { name: env, changed: [key('key_1', 'key_2'), key('key_2', 'rotated')] })
    expect(swapped.tables.keys.get(hex('rotated'))?.id).toBe('key_2')
    expect(swapped.tables.keys.get(hex('key_2'))?.id).toBe('key_1')
    expect(swapped.tables.keys.size).toBe(2)
  })

  it('forget all of a section that is gone', () => {
    const before = start(
      { name: env, changed: [environment, key('key_1')] },
      { name: 'deny', changed: [deny('key_1')] },
    )
    const joined = finish(joinTables({ header: header(2), before, compilations: [], gone: [env, 'deny'] }))
    if (!isCompiled(joined)) throw new Error('refused')
    expect([joined.tables.keys.size, joined.tables.denied.size, joined.sections.size]).toEqual([0, 0, 0])
    expect(joined.tables.keys.get(hex('key_1'))).toBeUndefined()
  })

  it('refuse a key whose hash another environment has', () => {
    const other = 'environment/ten_2/env_2'
    const before = start({ name: env, changed: [environment, key('key_1')] })
    const thief = finish(
      compileSection(null, {
        name: other,
        changed: [
          named('environment/env_2', { environment: { tenantId: 'ten_2', environmentId: 'env_2' } }),
          key('key_9', 'key_1'),
        ],
        gone: [],
      }),
    )
    if (!isCompiled(thief)) throw new Error('refused')
    const joined = finish(joinTables({ header: header(2), before, compilations: [thief], gone: [] }))
    expect(joined).toMatchObject([{ code: 'key_hash_taken', section: other, resource: 'api_key/key_9' }])
  })

  it('cost the same work for one denied key among ten thousand as among ten', () => {
    const many = Array.from({ length: 10_000 }, (_, index) => key(`key_${index}`))
    const before = start({ name: env, changed: [environment, ...many] }, { name: 'deny', changed: [] })
    let yields = 0
    const steps = compileSection(before.sections.get('deny') ?? null, {
      name: 'deny',
      changed: [deny('key_77')],
      gone: [],
    })
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done) break
      yields += 1
    }
    expect(yields).toBe(1)
    const after = next(before, { name: 'deny', changed: [deny('key_77')] })
    expect(after.keys).toBe(before.keys)
  })
})

describe('rules', () => {
  const rules = (...list: object[]) =>
    named('route/rte_1', { route: { id: 'rte_1', name: 'fast', totalTimeoutMs: 9, rules: list } })
  const rule = (over: object = {}, target: object = {}) => ({
    ...{ id: 'r', targets: [{ id: 't', providerId: 'prv_1', modelId: 'mdl_1', ...target }] },
    ...over,
  })
  const compile = (...routes: ReturnType<typeof named>[]) =>
    compileTables(header(1), [{ name: env, changed: [environment, provider(), model(), ...routes] }])

  it.each([
    ['a strategy', rule({ strategy: 'fastest' }), 'word_unknown', 'rules[0].strategy'],
    ['whom it sticks to', rule({ stickyBy: 'team' }), 'word_unknown', 'rules[0].stickyBy'],
    ['a tier', rule({}, { tier: 'huge' }), 'word_unknown', 'rules[0].targets[0].tier'],
    ['a condition', rule({ condition: 'team = "a"' }), 'condition_invalid', 'rules[0].condition'],
    ['weights that are all 0', rule({ strategy: 'weighted' }), 'weights_missing', 'rules[0].targets'],
    ['complexity without tiers', rule({ strategy: 'complexity' }), 'tiers_missing', 'rules[0].targets'],
    [
      'thresholds out of order',
      rule({ strategy: 'complexity', complexityLowPpm: 7, complexityHighPpm: 3 }, { tier: 'low' }),
      'thresholds_invalid',
      'rules[0].complexityLowPpm',
    ],
    [
      'a threshold beyond 1',
      rule({ strategy: 'complexity', complexityHighPpm: 1_000_001 }, { tier: 'low' }),
      'thresholds_invalid',
      'rules[0].complexityHighPpm',
    ],
    [
      'a breaker that never opens',
      rule({}, { breaker: { failures: 0, openMs: 1, failurePpm: 1, windowMs: 1, requestsMin: 1 } }),
      'breaker_invalid',
      'rules[0].targets[0].breaker',
    ],
  ])('are refused for %s', (_, bad, code, path) => {
    expect(compile(rules(bad))).toMatchObject([{ code, resource: 'route/rte_1', path }])
  })

  it('say where a condition goes wrong', () => {
    expect(compile(rules(rule({ condition: 'team = "a"' })))).toMatchObject([
      { message: 'at character 6: a single = compares nothing; write ==' },
    ])
  })

  it('are refused for a conduct and a preference that nobody knows', () => {
    const odd = named('route/rte_1', {
      route: { id: 'rte_1', name: 'f', unsupportedSettings: 'warn', rules: [rule()] },
    })
    expect(compile(odd)).toMatchObject([{ code: 'word_unknown', path: 'unsupportedSettings' }])
    const fond = named('environment/env_1', { environment: { environmentId: 'env_1', routingPreference: 'fast' } })
    expect(compileTables(header(1), [{ name: env, changed: [fond] }])).toMatchObject([
      { code: 'word_unknown', resource: 'environment/env_1', path: 'routingPreference' },
    ])
  })

  it('compile their conditions, and say what must be measured', () => {
    const compiled = compile(
      rules(
        rule({ condition: 'complexity > 0.5 && team != ""' }),
        rule({ id: 'r2', strategy: 'cheapest' }),
        rule({ id: 'r3', strategy: 'task' }, { tasks: ['code'] }),
      ),
    )
    if (!isCompiled(compiled)) throw new Error(JSON.stringify(compiled))
    const route = compiled.tables.environments.get(env)?.routes.get('fast')
    expect([...(route?.measures ?? [])].sort()).toEqual(['complexity', 'prompt_class', 'tokens_in'])
    expect(route?.rules.map(({ program }) => program?.text ?? null)).toEqual([
      'complexity > 0.5 && team != ""',
      null,
      null,
    ])
    expect(route?.ownRuleCount).toBe(3)
  })

  it('are followed by those of the route that a route takes its defaults from', () => {
    const own = (id: string, name: string, ruleId: string, defaultRouteId = '') =>
      named(`route/${id}`, { route: { id, name, defaultRouteId, rules: [rule({ id: ruleId })] } })
    const compiled = compile(own('rte_2', 'law', 'own', 'rte_1'), own('rte_1', 'chat', 'default'))
    if (!isCompiled(compiled)) throw new Error(JSON.stringify(compiled))
    const routes = compiled.tables.environments.get(env)?.routes
    expect(routes?.get('law')).toMatchObject({ ownRuleCount: 1, rules: [{ id: 'own' }, { id: 'default' }] })
    expect(routes?.get('chat')).toMatchObject({ ownRuleCount: 1, rules: [{ id: 'default' }] })
    expect(compile(own('rte_2', 'law', 'own', 'rte_9'))).toMatchObject([
      { code: 'default_route_missing', path: 'defaultRouteId' },
    ])
  })

  it('tell a key that may not go outside', () => {
    const { tables } = start({ name: env, changed: [environment, key('a'), key('b', 'b', { internalOnly: true })] })
    expect([tables.keys.get(hex('a'))?.allowExternal, tables.keys.get(hex('b'))?.allowExternal]).toEqual([true, false])
  })
})
