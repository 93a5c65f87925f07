import { Arg, Ctx, Query, Resolver } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type GraphContext, requireActor } from '../api/context.js'
import {
  PreferenceSavingGraph,
  PreferenceSavingInputGraph,
  preferenceSavingGraph,
  TierReportGraph,
  TierReportInputGraph,
  tierReportGraph,
} from './saving-graph.js'
import type { SavingService } from './saving-service.js'

@Resolver(() => TierReportGraph)
export class SavingResolver {
  readonly #savings: SavingService

  constructor(savings: SavingService) {
    this.#savings = savings
  }

  @Access('usage.read')
  @Query(() => TierReportGraph, {
    description: 'Who served the prompts of a route with tiers, what it cost, and what it saved.',
  })
  async tierReport(
    @Ctx() context: GraphContext,
    @Arg('input', () => TierReportInputGraph) input: TierReportInputGraph,
  ): Promise<TierReportGraph> {
    return tierReportGraph(await this.#savings.reportTiers(requireActor(context), input))
  }

  @Access('usage.read')
  @Query(() => PreferenceSavingGraph, {
    description: 'What cheapest, balanced and best would cost, by what was served.',
  })
  async preferenceSaving(
    @Ctx() context: GraphContext,
    @Arg('input', () => PreferenceSavingInputGraph) input: PreferenceSavingInputGraph,
  ): Promise<PreferenceSavingGraph> {
    return preferenceSavingGraph(await this.#savings.estimatePreferences(requireActor(context), input))
  }
}
