import { Ctx, FieldResolver, Resolver, Root } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import type { GraphContext } from '../api/context.js'
import { EnvironmentGraph } from '../tenancy/environment-graph.js'
import { EnvironmentDeliveryGraph } from './delivery-graph.js'
import type { DeliveryService } from './delivery-service.js'

/** What fleets add to environments. */
@Resolver(() => EnvironmentGraph)
export class DeliveryResolver {
  readonly #deliveries: DeliveryService

  constructor(deliveries: DeliveryService) {
    this.#deliveries = deliveries
  }

  @Access('environment.read')
  @FieldResolver(() => [EnvironmentDeliveryGraph], {
    description: 'For each cluster that serves it: what its agents should have and have, and what keeps them from it.',
  })
  async delivery(
    @Ctx() context: GraphContext,
    @Root() environment: EnvironmentGraph,
  ): Promise<readonly EnvironmentDeliveryGraph[]> {
    return (await context.loaders.load(this.#deliveries.byEnvironmentId, environment.id)) ?? []
  }
}
