import { Arg, Ctx, Query, Resolver } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { ExplainRouteInputGraph, RouteExplanationGraph, routeExplanationGraph } from './explanation-graph.js'
import type { ExplanationService } from './explanation-service.js'

@Resolver(() => RouteExplanationGraph)
export class ExplanationResolver {
  readonly #explanations: ExplanationService

  constructor(explanations: ExplanationService) {
    this.#explanations = explanations
  }

  @Access('route.read')
  @Query(() => RouteExplanationGraph, { description: 'Where a request would go, and why. Nothing is sent.' })
  async explainRoute(
    @Ctx() context: GraphContext,
    @Arg('input', () => ExplainRouteInputGraph) input: ExplainRouteInputGraph,
  ): Promise<RouteExplanationGraph> {
    return routeExplanationGraph(await this.#explanations.explain(requireActor(context), input))
  }
}
