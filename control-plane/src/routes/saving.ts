import { z } from 'zod'
import { nothingKnown } from '../../../proto/policy/health.js'
import { orderTargets } from '../../../proto/policy/order-targets.js'
import { Readings } from '../../../proto/policy/readings.js'
import type {
  EnvironmentTable,
  PriceTable,
  RouteTable,
  RuleTable,
  TargetTable,
  Tier,
} from '../../../proto/policy/tables.js'
import type { NanoUsd } from '../../../proto/std/money.js'
import { shapes } from '../access/check-input.js'
import { type RoutingPreference, routingPreferences } from '../tenancy/environment.js'
import type { TargetUsage } from '../usage/target-usage-reader.js'
import { keyTable } from './explanation.js'
import { tiers } from './target.js'

/**
 * What routing saves, computed from what was served: pure, of tables and sums. Prices are those in force now, for what was
 * and for what would have been, except for the cost itself, which is what was recorded.
 */
export const savingDaysMax = 31
const dayMs = 86_400_000
export const savingDaysDefault = 7

const time = { from: z.date().nullish(), to: z.date().nullish() }
export const tierReportInput = z.object({ routeId: shapes.id, ...time })
export const preferenceSavingInput = z.object({ environmentId: shapes.id, ...time })

export interface Period {
  readonly from: Date
  readonly to: Date
}

/** The time asked for, else the last week; in words why it is none. */
export function periodOf(
  { from, to }: { readonly from?: Date | null | undefined; readonly to?: Date | null | undefined },
  nowMs: number,
): Period | string {
  const end = to ?? new Date(nowMs)
  const start = from ?? new Date(end.getTime() - savingDaysDefault * dayMs)
  if (start >= end) return 'expected an instant after from'
  return end.getTime() - start.getTime() > savingDaysMax * dayMs
    ? `at most ${savingDaysMax} days at once`
    : { from: start, to: end }
}

interface Tokens {
  readonly tokensIn: bigint
  readonly tokensOut: bigint
  readonly tokensInCached: bigint
  readonly tokensInCacheWrite: bigint
}

/** What these tokens cost at `price`; the vendor's prompt cache is taken to help as much as it did. */
export function costAt(
  price: PriceTable,
  { tokensIn, tokensOut, tokensInCached, tokensInCacheWrite }: Tokens,
): NanoUsd {
  const scaled =
    (tokensIn - tokensInCached - tokensInCacheWrite) * price.inputNanoUsdPerMillion +
    tokensInCached * price.cachedInputNanoUsdPerMillion +
    tokensInCacheWrite * (price.cacheWriteInputNanoUsdPerMillion ?? price.inputNanoUsdPerMillion) +
    tokensOut * price.outputNanoUsdPerMillion
  return (scaled + 500_000n) / 1_000_000n
}

/** The part of `whole` that `saved` is, 0 to 1 (below 0: it costs more); null of nothing. */
export function ratioOf(saved: NanoUsd, whole: NanoUsd): number | null {
  return whole === 0n ? null : Number((saved * 1_000_000n) / whole) / 1_000_000
}

// ----------------------------------------------------------------------------------------------------------------- tiers

export interface TierReport {
  readonly routeId: string
  readonly period: Period
  readonly tiers: readonly TierUsage[]
  /** Served by targets of the route's complexity rules. */
  readonly requestCount: bigint
  /** Of these, without a cost; they are in no sum of money. */
  readonly unpricedCount: bigint
  /** Served by targets of other rules, or that are no more. */
  readonly otherCount: bigint
  readonly costNanoUsd: NanoUsd
  /** The target that would have served all of them. */
  readonly topTargetId: string
  /** What that would have cost; null where it has no price. */
  readonly allTopNanoUsd: NanoUsd | null
}

export interface TierUsage {
  readonly tier: Tier
  readonly requestCount: bigint
  readonly unpricedCount: bigint
  readonly costNanoUsd: NanoUsd
}

/** Share and cost by tier, against everything at the top model; null when the route has no complexity rule. */
export function reportTiers(route: RouteTable, usage: readonly TargetUsage[], period: Period): TierReport | null {
  const targets = route.rules.filter(({ strategy }) => strategy === 'complexity').flatMap((rule) => rule.targets)
  const top = topOf(targets)
  if (top === null) return null
  const tierOfTarget = new Map(targets.map(({ id, tier }) => [id, tier]))
  const within = usage.filter(({ targetId }) => tierOfTarget.get(targetId) != null)
  const { price } = top.model
  return {
    ...{ routeId: route.id, period, topTargetId: top.id },
    tiers: tiers.map((tier) => ({
      tier,
      ...sumOf(within.filter(({ targetId }) => tierOfTarget.get(targetId) === tier)),
    })),
    ...sumOf(within),
    otherCount: sumOf(usage).requestCount - sumOf(within).requestCount,
    allTopNanoUsd: price === null ? null : within.reduce((sum, one) => sum + costAt(price, one), 0n),
  }
}

/** The first of the highest tier that there is. */
function topOf(targets: readonly TargetTable[]): TargetTable | null {
  for (const tier of [...tiers].reverse()) {
    const found = targets.find((target) => target.tier === tier)
    if (found !== undefined) return found
  }
  return null
}

function sumOf(usage: readonly TargetUsage[]) {
  const total = { requestCount: 0n, unpricedCount: 0n, costNanoUsd: 0n }
  for (const { requestCount, unpricedCount, costNanoUsd } of usage) {
    total.requestCount += requestCount
    total.unpricedCount += unpricedCount
    total.costNanoUsd += costNanoUsd
  }
  return total
}

// ----------------------------------------------------------------------------------------------------------- preferences

export interface PreferenceSaving {
  readonly environmentId: string
  readonly period: Period
  readonly preference: RoutingPreference
  /** Served by targets of rules that go by preference. */
  readonly requestCount: bigint
  /** What they cost. */
  readonly costNanoUsd: NanoUsd
  /** What their tokens would have cost at the target that each preference puts first. */
  readonly options: readonly { readonly preference: RoutingPreference; readonly costNanoUsd: NanoUsd }[]
  /** Rules left out because a target that would come first has no price. */
  readonly unpricedRuleCount: number
}

/** By rule: the target that a request of average size would meet first, for each preference, and its price. */
export function estimatePreferences(
  environment: EnvironmentTable,
  usage: readonly TargetUsage[],
  period: Period,
): PreferenceSaving {
  const options = new Map(routingPreferences.map((preference) => [preference, 0n]))
  const total = { requestCount: 0n, costNanoUsd: 0n }
  let unpricedRuleCount = 0
  // Rules that several routes take as their defaults are one table: its targets are counted once.
  const rules = new Set([...environment.routes.values()].flatMap((route) => route.rules))
  for (const rule of rules) {
    if (rule.strategy !== 'preference') continue
    const ids = new Set(rule.targets.map(({ id }) => id))
    const served = usage.filter(({ targetId }) => ids.has(targetId))
    const { requestCount, unpricedCount, costNanoUsd } = sumOf(served)
    if (requestCount === unpricedCount) continue
    const tokens = tokensOf(served)
    const costs = routingPreferences.map((preference) => {
      const price = firstFor(rule, preference, environment, tokens, requestCount - unpricedCount)?.model.price
      return { preference, cost: price == null ? null : costAt(price, tokens) }
    })
    if (costs.some(({ cost }) => cost === null)) {
      unpricedRuleCount += 1
      continue
    }
    for (const { preference, cost } of costs) options.set(preference, (options.get(preference) ?? 0n) + (cost ?? 0n))
    total.requestCount += requestCount
    total.costNanoUsd += costNanoUsd
  }
  return {
    ...{
      environmentId: environment.environmentId,
      period,
      preference: environment.routingPreference,
      unpricedRuleCount,
    },
    ...total,
    options: [...options].map(([preference, costNanoUsd]) => ({ preference, costNanoUsd })),
  }
}

function tokensOf(usage: readonly TargetUsage[]): Tokens {
  const sum = (member: keyof Tokens) => usage.reduce((total, one) => total + one[member], 0n)
  return {
    ...{ tokensIn: sum('tokensIn'), tokensOut: sum('tokensOut') },
    ...{ tokensInCached: sum('tokensInCached'), tokensInCacheWrite: sum('tokensInCacheWrite') },
  }
}

function firstFor(
  rule: RuleTable,
  preference: RoutingPreference,
  environment: EnvironmentTable,
  tokens: Tokens,
  count: bigint,
): TargetTable | null {
  const [tokensIn, tokensOut] = [Number(tokens.tokensIn / count), Number(tokens.tokensOut / count)]
  const nobody = { id: '', teamId: null, allowedRoutes: null, allowExternal: true }
  const readings = new Readings(
    {
      ...{ operation: 'chat_completions', model: '', outputTokensMax: tokensOut },
      prompt: { complexity: () => null, promptClass: () => null, tokensIn: () => tokensIn },
    },
    keyTable(nobody, { ...environment, routingPreference: preference }),
  )
  const candidates = rule.targets.map((target) => ({ target, health: nothingKnown.of(target) }))
  return orderTargets(candidates, { rule, readings })[0]?.target ?? null
}
