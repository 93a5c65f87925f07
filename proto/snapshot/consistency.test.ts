import { describe, expect, it } from 'vitest'
import { resourceCodec } from '../gen/codec.js'
import type { Resource } from '../gen/switchyard/v1/Resource.js'
import { checkSection, decodeResource, environmentOfSection, environmentSection } from './consistency.js'

const section = environmentSection('ten_1', 'env_1')

function named(name: string, resource: Resource) {
  const decoded = decodeResource(resourceCodec.encode(resource), { section, resource: name })
  if ('code' in decoded) throw new Error(decoded.message)
  return { name, resource: decoded }
}

const environment = named('environment/env_1', {
  environment: { tenantId: 'ten_1', environmentId: 'env_1', permittedRegions: ['eu'] },
})
const provider = (over = {}) =>
  named('provider/prv_1', { provider: { id: 'prv_1', region: 'eu', kind: 'openai', baseUrl: 'https://h/v1', ...over } })
const model = (id = 'mdl_1', capabilities = ['chat']) => named(`model/${id}`, { model: { id, capabilities } })
const target = (over = {}) => ({
  id: 'tgt_1',
  providerId: 'prv_1',
  modelId: 'mdl_1',
  deadlines: { connectMs: 1, firstTokenMs: 1, idleMs: 1, totalMs: 1 },
  ...over,
})
const route = (targets: object[] = [target()], over = {}) =>
  named('route/rte_1', {
    route: { id: 'rte_1', name: 'fast', totalTimeoutMs: 9, rules: [{ id: 'r', targets }], ...over },
  })
const key = (id: string, hash = Buffer.alloc(32, 1)) => named(`api_key/${id}`, { apiKey: { id, secretHash: hash } })

const found = (...resources: ReturnType<typeof named>[]) =>
  checkSection(section, [environment, ...resources]).map((r) => `${r.resource} ${r.path} ${r.code}`)

describe('an environment section', () => {
  it('that names only what it holds is fit', () => {
    expect(found(provider(), model(), route(), key('key_1'))).toEqual([])
  })

  it.each([
    ['provider', [model(), route()], 'route/rte_1 rules[0].targets[0].providerId target_provider_missing'],
    ['model', [provider(), route()], 'route/rte_1 rules[0].targets[0].modelId target_model_missing'],
  ])('is refused with the path when a target names a missing %s', (_, resources, refusal) => {
    expect(found(...resources)).toEqual([refusal])
  })

  it.each([
    ['a region outside', [provider({ region: 'us' }), model(), route()], 'target_region_not_permitted'],
    ['no target', [provider(), model(), route([])], 'target_missing'],
    ['no rule', [provider(), model(), route([], { rules: [] })], 'rule_missing'],
    ['no deadline', [provider(), model(), route([target({ deadlines: { connectMs: 1 } })])], 'deadline_invalid'],
    ['a target twice', [provider(), model(), route([target(), target()])], 'target_id_taken'],
    ['a base URL with a secret', [provider({ baseUrl: 'https://u:p@h' })], 'url_invalid'],
    ['a base URL that is a file', [provider({ baseUrl: 'file:///etc' })], 'url_invalid'],
    [
      'targets that cannot stand in for each other',
      [
        provider(),
        model(),
        model('mdl_2', ['embeddings']),
        route([target(), target({ id: 'tgt_2', modelId: 'mdl_2' })]),
      ],
      'target_capability_mismatch',
    ],
    ['one key hash twice', [key('key_1'), key('key_2')], 'key_hash_taken'],
    ['a key hash of another length', [key('key_1', Buffer.alloc(3))], 'key_hash_invalid'],
    ['a name that is not its content’s', [{ ...key('key_1'), name: 'api_key/key_9' }], 'name_mismatch'],
    [
      'a deny entry',
      [named('deny/key_1', { deny: { subjectId: 'key_1', secretHash: Buffer.alloc(32) } })],
      'resource_misplaced',
    ],
  ])('with %s is refused', (_, resources, code) => {
    expect(found(...resources).map((text) => text.split(' ').at(-1))).toContain(code)
  })

  it.each([
    ['azure-openai', 'apiVersion', {}],
    ['bedrock', 'vendorRegion', {}],
    ['vertex', 'vendorRegion', { vendorProject: 'acme' }],
    ['vertex', 'vendorProject', { vendorRegion: 'global' }],
  ])('with a provider of %s without %s is refused', (kind, field, more) => {
    expect(found(provider({ kind, ...more }), model(), route())).toEqual([
      `provider/prv_1 ${field} vendor_field_missing`,
    ])
  })

  it('with a provider that has what its vendor needs is fit', () => {
    const whole = provider({ kind: 'vertex', vendorRegion: 'global', vendorProject: 'acme' })
    expect(found(whole, model(), route())).toEqual([])
  })

  it('asks only a classifier about prompts, of a region that is permitted, and nobody else', () => {
    const judge = (over = {}) =>
      named('provider/prv_2', {
        provider: { id: 'prv_2', region: 'eu', kind: 'classifier', baseUrl: 'http://judge', ...over },
      })
    const asking = (over = {}, targets = [target()]) =>
      route(targets, { classifier: { providerId: 'prv_2', timeoutMs: 100, ...over } })
    const all = [provider(), model()]
    expect(found(...all, judge(), asking())).toEqual([])
    const at = 'route/rte_1 classifier'
    expect(found(...all, asking())).toEqual([`${at}.providerId classifier_provider_missing`])
    expect(found(...all, judge({ kind: 'vllm' }), asking())).toEqual([`${at}.providerId classifier_provider_missing`])
    expect(found(...all, judge({ region: 'us' }), asking())).toEqual([
      `${at}.providerId classifier_region_not_permitted`,
    ])
    expect(found(...all, judge(), asking({ timeoutMs: 0 }))).toEqual([`${at}.timeoutMs deadline_invalid`])
    expect(found(...all, judge(), route([target({ providerId: 'prv_2' })]))).toEqual([
      'route/rte_1 rules[0].targets[0].providerId target_provider_missing',
    ])
  })

  it('takes default rules from a route that is there and has none itself', () => {
    const other = (id: string, defaultRouteId = '') =>
      named(`route/${id}`, {
        route: { id, name: id, totalTimeoutMs: 9, defaultRouteId, rules: [{ id: 'r', targets: [target()] }] },
      })
    const all = [provider(), model()]
    expect(found(...all, other('rte_1'), other('rte_2', 'rte_1'))).toEqual([])
    const missing = 'route/rte_2 defaultRouteId default_route_missing'
    expect(found(...all, other('rte_2', 'rte_1'))).toEqual([missing])
    expect(found(...all, other('rte_2', 'rte_2'))).toEqual([missing])
    expect(found(...all, other('rte_1'), other('rte_2', 'rte_1'), other('rte_3', 'rte_2'))).toEqual([
      'route/rte_3 defaultRouteId default_route_missing',
    ])
  })

  it('needs its own environment', () => {
    expect(checkSection(section, []).map((r) => r.code)).toEqual(['environment_missing'])
    expect(checkSection(environmentSection('ten_1', 'env_2'), [environment]).map((r) => r.code)).toEqual([
      'environment_missing',
    ])
  })
})

describe('section names', () => {
  it('lead back to tenant and environment', () => {
    expect(environmentOfSection(section)).toEqual({ tenantId: 'ten_1', environmentId: 'env_1' })
    for (const name of ['deny', 'cluster', 'environment/x', 'environment/a/b/c'])
      expect(environmentOfSection(name)).toBeNull()
  })

  it('are held to their kinds', () => {
    expect(checkSection('deny', [key('key_1')]).map((r) => r.code)).toEqual(['resource_misplaced'])
    expect(checkSection('nonsense', [key('key_1')]).map((r) => r.code)).toEqual(['resource_misplaced'])
    expect(checkSection('cluster', []).map((r) => r.code)).toEqual(['resource_malformed'])
  })
})
