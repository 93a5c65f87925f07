import { describe, expect, test } from 'vitest'
import { sketchRoute, sketchTarget } from '../../../proto/policy/table-fixture.js'
import type { EnvironmentTable, RouteTable } from '../../../proto/policy/tables.js'
import type { TargetUsage } from '../usage/target-usage-reader.js'
import { costAt, estimatePreferences, periodOf, ratioOf, reportTiers } from './saving.js'
import { tierReportGraph } from './saving-graph.js'

const period = { from: new Date(0), to: new Date(1) }
const usd = 1_000_000_000n
/** The seeds' example: 1,000 tokens in and none out make 0.001, 0.01 and 0.10 USD per query. */
const prices = { low: usd, medium: 10n * usd, high: 100n * usd }
const target = (tier: 'low' | 'medium' | 'high', more: object = {}) =>
  sketchTarget(tier, { tier, price: [prices[tier], 0n], ...more })

function used(
  targetId: string,
  requestCount: bigint,
  costNanoUsd: bigint,
  more: Partial<TargetUsage> = {},
): TargetUsage {
  return {
    ...{ routeId: 'rte_r', targetId, requestCount, unpricedCount: 0n, tokensIn: requestCount * 1_000n, tokensOut: 0n },
    ...{ tokensInCached: 0n, tokensInCacheWrite: 0n, costNanoUsd, ...more },
  }
}

describe('the report of tiers', () => {
  const route = sketchRoute(
    'r',
    { condition: 'team == "x"', targets: [sketchTarget('other')] },
    { strategy: 'complexity', targets: [target('low'), target('medium'), target('high')] },
  )
  const usage = [
    used('low', 800n, 800n * 1_000_000n),
    used('medium', 150n, 150n * 10_000_000n),
    used('high', 50n, 50n * 100_000_000n),
    used('other', 7n, 7n),
    used('gone', 3n, 3n),
  ]

  test('has share and cost per query by tier, and the saving against everything at the top', () => {
    const report = reportTiers(route, usage, period)
    expect(report).toMatchObject({
      requestCount: 1_000n,
      otherCount: 10n,
      topTargetId: 'high',
      allTopNanoUsd: 100n * usd,
    })
    if (report === null) throw new Error('there is a rule')
    const graph = tierReportGraph(report)
    expect(graph.tiers.map(({ tier, share, costUsdPerRequest }) => [tier, share, costUsdPerRequest])).toEqual([
      ['low', 0.8, '0.001000000'],
      ['medium', 0.15, '0.010000000'],
      ['high', 0.05, '0.100000000'],
    ])
    expect(graph).toMatchObject({ costUsd: '7.300000000', allTopUsd: '100.000000000', savingRatio: 0.927 })
  })

  test('leaves out of the money what had no price, and says how much that was', () => {
    const report = reportTiers(route, [used('low', 10n, 0n, { unpricedCount: 10n, tokensIn: 0n })], period)
    if (report === null) throw new Error('there is a rule')
    expect(tierReportGraph(report)).toMatchObject({
      ...{ requestCount: 10n, unpricedCount: 10n, costUsd: '0.000000000', savingRatio: null },
      tiers: [{ costUsdPerRequest: null, share: 1 }, { share: 0 }, { share: 0 }],
    })
  })

  test('there is none without a complexity rule; without a price at the top there is no saving', () => {
    expect(reportTiers(sketchRoute('r', { targets: [target('low')] }), usage, period)).toBeNull()
    const free = sketchRoute('r', { strategy: 'complexity', targets: [sketchTarget('low', { tier: 'low' })] })
    const report = reportTiers(free, usage, period)
    expect(report?.allTopNanoUsd).toBeNull()
    expect(report && tierReportGraph(report).savingRatio).toBeNull()
  })
})

describe('the estimate of preferences', () => {
  const environment = (...routes: RouteTable[]): EnvironmentTable => ({
    ...{
      tenantId: 't',
      tenantName: 't',
      environmentId: 'e',
      environmentName: 'e',
      permittedRegions: new Set<string>(),
    },
    ...{ routingPreference: 'balanced', cachePurges: [], routes: new Map(routes.map((route) => [route.name, route])) },
  })
  const targets = [
    sketchTarget('weak', { quality: 20, price: [usd, 0n] }),
    sketchTarget('good', { quality: 70, price: [20n * usd, 0n] }),
    sketchTarget('best', { quality: 90, price: [100n * usd, 0n] }),
  ]
  const costs = (saving: ReturnType<typeof estimatePreferences>) =>
    saving.options.map(({ preference, costNanoUsd }) => `${preference} ${costNanoUsd}`)

  test('prices what was served at the target that each one puts first', () => {
    const route = sketchRoute('r', { strategy: 'preference', targets }, { targets: [sketchTarget('fixed')] })
    const saving = estimatePreferences(
      environment(route),
      [used('good', 10n, 200_000_000n), used('fixed', 9n, 9n)],
      period,
    )
    expect(saving).toMatchObject({ preference: 'balanced', requestCount: 10n, costNanoUsd: 200_000_000n })
    expect(costs(saving)).toEqual(['cheapest 10000000', 'balanced 200000000', 'best 1000000000'])
  })

  test('counts a rule that routes share once, and says which rules it could not price', () => {
    const shared = { id: 'rul_1', strategy: 'preference', targets } as const
    const base = sketchRoute('base', shared)
    const above: RouteTable = { ...sketchRoute('above', { condition: 'stream', targets: [] }), rules: base.rules }
    expect(costs(estimatePreferences(environment(base, above), [used('weak', 1n, 1n)], period))[0]).toBe(
      'cheapest 1000000',
    )
    const blind = sketchRoute('b', {
      strategy: 'preference',
      targets: [...targets.slice(0, 2), sketchTarget('x', { quality: 99 })],
    })
    expect(estimatePreferences(environment(blind), [used('weak', 1n, 1n)], period)).toMatchObject({
      ...{ unpricedRuleCount: 1, requestCount: 0n },
    })
  })
})

test('a cost is that of each class of tokens, rounded once', () => {
  const [only] = [sketchTarget('t', { price: [1n, 3n] }).model.price]
  if (only == null) throw new Error('it has one')
  const price = { ...only, cachedInputNanoUsdPerMillion: 0n, cacheWriteInputNanoUsdPerMillion: 2n }
  const tokens = { tokensIn: 1_000_000n, tokensInCached: 400_000n, tokensInCacheWrite: 100_000n, tokensOut: 200_000n }
  expect(costAt(price, tokens)).toBe(1n)
  expect(costAt(only, { ...tokens, tokensOut: 1_000_000n })).toBe(4n)
})

test('a period is the last week unless somebody says otherwise, and at most a month', () => {
  const nowMs = Date.UTC(2026, 10, 27)
  expect(periodOf({}, nowMs)).toEqual({ from: new Date(nowMs - 7 * 86_400_000), to: new Date(nowMs) })
  expect(periodOf({ from: new Date(nowMs) }, nowMs)).toBe('expected an instant after from')
  expect(periodOf({ from: new Date(nowMs - 32 * 86_400_000) }, nowMs)).toBe('at most 31 days at once')
  expect(ratioOf(-1n, 2n)).toBe(-0.5)
})
