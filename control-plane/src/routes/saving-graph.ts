import { Field, Float, ID, InputType, Int, ObjectType } from 'type-graphql'
import { formatUsd } from '../../../proto/std/money.js'
import { Access } from '../api/access-rule.js'
import { BigIntString, DateTime } from '../api/scalars.js'
import type { RoutingPreference } from '../tenancy/environment.js'
import { RoutingPreferenceGraph } from '../tenancy/environment-graph.js'
import { type PreferenceSaving, ratioOf, savingDaysDefault, savingDaysMax, type TierReport } from './saving.js'
import type { Tier } from './target.js'
import { TierGraph } from './target-graph.js'

const since = `${savingDaysDefault} days before to when left out; at most ${savingDaysMax} days before it.`

@InputType('TierReportInput')
export class TierReportInputGraph {
  @Field(() => ID, { description: 'Of a route with a rule of strategy COMPLEXITY.' })
  routeId!: string

  @Field(() => DateTime, { nullable: true, description: since })
  from?: Date | null

  @Field(() => DateTime, { nullable: true, description: 'Now when left out.' })
  to?: Date | null
}

@InputType('PreferenceSavingInput')
export class PreferenceSavingInputGraph {
  @Field(() => ID)
  environmentId!: string

  @Field(() => DateTime, { nullable: true, description: since })
  from?: Date | null

  @Field(() => DateTime, { nullable: true, description: 'Now when left out.' })
  to?: Date | null
}

@Access('usage.read')
@ObjectType('TierUsage', { description: 'What the targets of one tier served.' })
export class TierUsageGraph {
  @Field(() => TierGraph)
  tier!: Tier

  @Field(() => BigIntString)
  requestCount!: bigint

  @Field(() => Float, { nullable: true, description: 'Of all requests of the report, 0 to 1; null of none.' })
  share!: number | null

  @Field(() => BigIntString)
  costNanoUsd!: bigint

  @Field(() => String)
  costUsd!: string

  @Field(() => String, { nullable: true, description: 'Of those whose cost is known; null of none.' })
  costUsdPerRequest!: string | null
}

@Access('usage.read')
@ObjectType('TierReport', {
  description:
    'Share and cost by tier, and what is saved against everything at the top model. Computed from usage records.',
})
export class TierReportGraph {
  @Field(() => ID)
  routeId!: string

  @Field(() => DateTime)
  from!: Date

  @Field(() => DateTime)
  to!: Date

  @Field(() => [TierUsageGraph])
  tiers!: readonly TierUsageGraph[]

  @Field(() => BigIntString, { description: "Served by targets of the route's complexity rules." })
  requestCount!: bigint

  @Field(() => BigIntString, { description: 'Of these, without a cost: in no sum of money.' })
  unpricedCount!: bigint

  @Field(() => BigIntString, { description: 'Served by targets of other rules, or that are no more.' })
  otherCount!: bigint

  @Field(() => BigIntString)
  costNanoUsd!: bigint

  @Field(() => String)
  costUsd!: string

  @Field(() => ID, { description: 'The target that would have served all of them: the first of the highest tier.' })
  topTargetId!: string

  @Field(() => String, {
    nullable: true,
    description: 'What that would have cost, at the price in force; null without one.',
  })
  allTopUsd!: string | null

  @Field(() => String, { nullable: true })
  savingUsd!: string | null

  @Field(() => Float, { nullable: true, description: '0 to 1; below 0 it costs more.' })
  savingRatio!: number | null
}

@Access('usage.read')
@ObjectType('PreferenceOption')
export class PreferenceOptionGraph {
  @Field(() => RoutingPreferenceGraph)
  preference!: RoutingPreference

  @Field(() => String)
  costUsd!: string

  @Field(() => Float, { nullable: true, description: 'Against BEST, 0 to 1; null while nothing was served.' })
  savingRatio!: number | null
}

@Access('usage.read')
@ObjectType('PreferenceSaving', {
  description: `What the tokens that were served would have cost at the target that each preference puts first, at prices in force.
Of rules with the strategy PREFERENCE; computed from usage records.`,
})
export class PreferenceSavingGraph {
  @Field(() => ID)
  environmentId!: string

  @Field(() => DateTime)
  from!: Date

  @Field(() => DateTime)
  to!: Date

  @Field(() => RoutingPreferenceGraph, { description: 'In force.' })
  preference!: RoutingPreference

  @Field(() => BigIntString)
  requestCount!: bigint

  @Field(() => String, { description: 'What they did cost.' })
  costUsd!: string

  @Field(() => [PreferenceOptionGraph])
  options!: readonly PreferenceOptionGraph[]

  @Field(() => Int, { description: 'Rules left out because a target that would come first has no price.' })
  unpricedRuleCount!: number
}

export function tierReportGraph(report: TierReport): TierReportGraph {
  const { routeId, period, requestCount, unpricedCount, otherCount, costNanoUsd, topTargetId, allTopNanoUsd } = report
  const saved = allTopNanoUsd === null ? null : allTopNanoUsd - costNanoUsd
  return {
    ...{ routeId, ...period, requestCount, unpricedCount, otherCount, topTargetId },
    ...{ costNanoUsd, costUsd: formatUsd(costNanoUsd) },
    tiers: report.tiers.map((tier) => {
      const priced = tier.requestCount - tier.unpricedCount
      return {
        ...{ tier: tier.tier, requestCount: tier.requestCount, share: ratioOf(tier.requestCount, requestCount) },
        ...{ costNanoUsd: tier.costNanoUsd, costUsd: formatUsd(tier.costNanoUsd) },
        costUsdPerRequest: priced === 0n ? null : formatUsd((tier.costNanoUsd + priced / 2n) / priced),
      }
    }),
    allTopUsd: allTopNanoUsd === null ? null : formatUsd(allTopNanoUsd),
    savingUsd: saved === null ? null : formatUsd(saved),
    savingRatio: saved === null ? null : ratioOf(saved, allTopNanoUsd ?? 0n),
  }
}

export function preferenceSavingGraph(saving: PreferenceSaving): PreferenceSavingGraph {
  const { environmentId, period, preference, requestCount, costNanoUsd, options, unpricedRuleCount } = saving
  const best = options.find((option) => option.preference === 'best')?.costNanoUsd ?? 0n
  return {
    ...{ environmentId, ...period, preference, requestCount, costUsd: formatUsd(costNanoUsd), unpricedRuleCount },
    options: options.map((option) => ({
      ...{ preference: option.preference, costUsd: formatUsd(option.costNanoUsd) },
      savingRatio: ratioOf(best - option.costNanoUsd, best),
    })),
  }
}
