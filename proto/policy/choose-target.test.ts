import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRefusal } from '../std/refusal.js'
import { chooseTarget, findRoute, hopDueUs, listRoutes } from './choose-target.js'
import { explainChoice } from './explain.js'
import type { ApiKeyTable, EnvironmentTable, RouteTable, TargetTable } from './tables.js'

const target = (id: string, options: { region?: string; capabilities?: string[] } = {}): TargetTable => ({
  id,
  provider: {
    id: `prv_${id}`,
    name: `provider ${id}`,
    kind: 'vllm',
    origin: 'http://localhost:1',
    basePath: '/v1',
    region: options.region ?? 'eu',
    credential: null,
    connectionsMax: 1,
    ...{ apiVersion: '', vendorRegion: '', vendorProject: '', external: false },
  },
  model: {
    id: `mdl_${id}`,
    name: 'm',
    upstreamModel: 'm',
    capabilities: new Set(options.capabilities ?? ['chat']),
    price: null,
    outputTokensMax: null,
  },
  upstreamModel: 'llama',
  deadlines: { connectMs: 1, firstTokenMs: 2, idleMs: 3, totalMs: 4 },
  ...{ weight: 0, tier: null, tasks: new Set<string>(), quality: null, nodePool: '', owner: '' },
  ...{ parameters: { temperature: null, outputTokensMax: null }, breaker: null, warmUpIntervalMs: null },
})

const route = (name: string, ...rules: { condition?: string | null; targets: TargetTable[] }[]): RouteTable => ({
  id: `rte_${name}`,
  name,
  totalTimeoutMs: 10,
  ...{ dropsUnsupported: false, lastResort: null, hedging: null },
  rules: rules.map((rule, index) => ({
    id: `rule-${index}`,
    condition: rule.condition ?? null,
    ...{ name: '', strategy: 'ordered', stickyBy: null, complexityLow: 0.3, complexityHigh: 0.7 },
    targets: rule.targets,
  })),
})

const key = (routes: RouteTable[], options: { regions?: string[]; allowed?: string[] } = {}): ApiKeyTable => {
  const environment: EnvironmentTable = {
    tenantId: 't',
    tenantName: 't',
    environmentId: 'e',
    environmentName: 'e',
    permittedRegions: new Set(options.regions ?? []),
    routingPreference: 'balanced',
    routes: new Map(routes.map((one) => [one.name, one])),
  }
  return {
    id: 'k',
    teamId: null,
    environment,
    allowedRoutes: options.allowed ? new Set(options.allowed) : null,
    expiresAtMs: Number.POSITIVE_INFINITY,
    inFlightMax: 1,
    requestsPerMinuteMax: 1,
  }
}

const chat = (model: string) => ({ operation: 'chat_completions', model }) as const

describe('choose target', () => {
  const a = target('a')
  const b = target('b', { region: 'us' })
  const e = target('e', { capabilities: ['embeddings'] })

  const cases: [string, ApiKeyTable, Parameters<typeof chooseTarget>[0], string[] | string][] = [
    ['all targets in order', key([route('r', { targets: [a, b] })]), chat('r'), ['a', 'b']],
    ['a route that is not there', key([]), chat('r'), 'model_not_found'],
    [
      'a route that the key may not use',
      key([route('r', { targets: [a] })], { allowed: ['s'] }),
      chat('r'),
      'model_not_found',
    ],
    ['a route that the key may use', key([route('r', { targets: [a] })], { allowed: ['r'] }), chat('r'), ['a']],
    [
      'no region listed permits every region',
      key([route('r', { targets: [a, b] })], { regions: [] }),
      chat('r'),
      ['a', 'b'],
    ],
    ['a region that is not permitted', key([route('r', { targets: [b, a] })], { regions: ['eu'] }), chat('r'), ['a']],
    [
      'no permitted region left',
      key([route('r', { targets: [b] })], { regions: ['eu'] }),
      chat('r'),
      'no_eligible_target',
    ],
    ['a model without the capability', key([route('r', { targets: [e, a] })]), chat('r'), ['a']],
    ['no model with the capability', key([route('r', { targets: [e] })]), chat('r'), 'operation_not_supported'],
    ['embeddings', key([route('r', { targets: [a, e] })]), { operation: 'embeddings', model: 'r' }, ['e']],
    ['the first rule that applies decides', key([route('r', { targets: [a] }, { targets: [b] })]), chat('r'), ['a']],
    [
      'a condition that nobody compiled does not apply',
      key([route('r', { condition: 'true', targets: [b] }, { targets: [a] })]),
      chat('r'),
      ['a'],
    ],
    ['no rule applies', key([route('r', { condition: 'true', targets: [b] })]), chat('r'), 'no_eligible_target'],
    ['a rule without targets', key([route('r', { targets: [] })]), chat('r'), 'no_eligible_target'],
    ['names that objects have', key([route('r', { targets: [a] })]), chat('__proto__'), 'model_not_found'],
  ]
  test.each(cases)('%s', (_name, of, facts, expected) => {
    const choice = chooseTarget(facts, of)
    if (typeof expected === 'string') expect(choice).toMatchObject({ refused: true, code: expected, field: 'model' })
    else expect(isRefusal(choice) ? choice.code : choice.targets.map((one) => one.id)).toEqual(expected)
    expect(explainChoice(choice).length).toBeGreaterThan(0)
  })

  test('a hidden route is answered like one that does not exist', () => {
    const hidden = chooseTarget(chat('r'), key([route('r', { targets: [a] })], { allowed: [] }))
    const missing = chooseTarget(chat('r'), key([]))
    expect(hidden).toEqual(missing)
  })

  test('gives the rule’s own list when nothing is left out', () => {
    const targets = [a, b]
    const choice = chooseTarget(chat('r'), key([route('r', { targets })]))
    expect(isRefusal(choice) ? null : choice.targets).toBe(targets)
  })

  test('explains in words what it left out and why', () => {
    const choice = chooseTarget(chat('r'), key([route('r', { targets: [b, e, a] })], { regions: ['eu'] }))
    expect(explainChoice(choice)).toEqual([
      'route r: rule rule-0 applies',
      "target b is left out: its provider's region is not permitted in this environment",
      'target e is left out: its model does not serve this operation',
      'hop 1: llama at provider a (connect 1 ms, first token 2 ms, idle 3 ms, total 4 ms)',
      'all hops together: 10 ms',
    ])
  })

  test('never gives a target outside the permitted regions, keeps the order, and says the same twice', () => {
    const regions = fc.subarray(['eu', 'us', 'ap'])
    const targets = fc.array(
      fc.record({ region: fc.constantFrom('eu', 'us', 'ap', ''), capabilities: fc.subarray(['chat', 'embeddings']) }),
      { maxLength: 6 },
    )
    fc.assert(
      fc.property(
        regions,
        targets,
        fc.constantFrom('chat_completions', 'embeddings' as const),
        (permitted, specs, operation) => {
          const made = specs.map((spec, index) => target(String(index), spec))
          const of = key([route('r', { targets: made })], { regions: permitted })
          const facts = { operation, model: 'r' }
          const choice = chooseTarget(facts, of)
          expect(chooseTarget(facts, of)).toEqual(choice)
          if (isRefusal(choice)) return
          const ids = choice.targets.map((one) => Number(one.id))
          expect(ids).toEqual([...ids].sort((x, y) => x - y))
          for (const one of choice.targets) {
            if (permitted.length > 0) expect(permitted).toContain(one.provider.region)
            expect(one.model.capabilities.has(operation === 'embeddings' ? 'embeddings' : 'chat')).toBe(true)
          }
          expect(choice.targets.length + choice.excluded.length).toBe(made.length)
        },
      ),
    )
  })

  test('routes of a key', () => {
    const routes = [route('x', { targets: [a] }), route('y', { targets: [a] })]
    expect(listRoutes(key(routes)).map((one) => one.name)).toEqual(['x', 'y'])
    expect(listRoutes(key(routes, { allowed: ['y', 'z'] })).map((one) => one.name)).toEqual(['y'])
    expect(findRoute('x', key(routes, { allowed: ['y'] }))).toBeNull()
  })

  test('a hop is due when its own time or the route’s is over', () => {
    expect(hopDueUs(a, 1_000, 100_000)).toBe(5_000)
    expect(hopDueUs(a, 1_000, 3_000)).toBe(3_000)
  })
})
