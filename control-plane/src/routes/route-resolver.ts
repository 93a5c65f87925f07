import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { ModelGraph, modelGraph } from '../models/model-graph.js'
import type { ModelService } from '../models/model-service.js'
import { ProviderGraph } from '../providers/provider-graph.js'
import type { ProviderService } from '../providers/provider-service.js'
import { EnvironmentGraph } from '../tenancy/environment-graph.js'
import type { EnvironmentService } from '../tenancy/environment-service.js'
import {
  CreateRouteInput,
  RouteConnection,
  RouteFilterInput,
  RouteGraph,
  RoutePayload,
  UpdateRouteInput,
} from './route-graph.js'
import type { RouteService } from './route-service.js'
import { TargetGraph, TargetParametersGraph, WarmUpGraph } from './target-graph.js'

@Resolver(() => RouteGraph)
export class RouteResolver {
  readonly #routes: RouteService
  readonly #environments: EnvironmentService

  constructor(routes: RouteService, environments: EnvironmentService) {
    this.#routes = routes
    this.#environments = environments
  }

  @Access('route.read')
  @Query(() => RouteGraph, { nullable: true })
  route(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<RouteGraph | null> {
    return this.#routes.find(requireActor(context), id)
  }

  @Access('route.read')
  @Query(() => RouteConnection, { description: 'Of one tenant: your own, or the one a platform admin names.' })
  async routes(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
    @Arg('filter', () => RouteFilterInput, { nullable: true }) filter?: RouteFilterInput | null,
  ): Promise<Connection<RouteGraph>> {
    const page = await this.#routes.list(requireActor(context), tenantId, filter ?? {}, pageArgs(args))
    return toConnection(page, (route) => route)
  }

  @Access('route.read')
  @FieldResolver(() => [TargetGraph], { description: 'Of all its rules, in order.' })
  targets(@Root() route: RouteGraph): readonly TargetGraph[] {
    return route.rules.flatMap((rule) => rule.targets)
  }

  @Access('route.read')
  @FieldResolver(() => RouteGraph, { nullable: true, description: 'The route that it takes its default rules from.' })
  defaultRoute(@Ctx() context: GraphContext, @Root() route: RouteGraph): Promise<RouteGraph | null> | null {
    return route.defaultRouteId === null ? null : context.loaders.load(this.#routes.byId, route.defaultRouteId)
  }

  @Access('environment.read')
  @FieldResolver(() => EnvironmentGraph, { nullable: true })
  environment(@Ctx() context: GraphContext, @Root() route: RouteGraph): Promise<EnvironmentGraph | null> {
    return context.loaders.load(this.#environments.byId, route.environmentId)
  }

  @Access('route.write')
  @Mutation(() => RoutePayload, { description: 'Refused with the path of what is wrong if it could not work.' })
  createRoute(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateRouteInput) input: CreateRouteInput,
  ): Promise<RoutePayload> {
    return this.#routes.create(requireActor(context), input)
  }

  @Access('route.write')
  @Mutation(() => RoutePayload)
  updateRoute(
    @Ctx() context: GraphContext,
    @Arg('input', () => UpdateRouteInput) input: UpdateRouteInput,
  ): Promise<RoutePayload> {
    return this.#routes.update(requireActor(context), input)
  }

  @Access('route.write')
  @Mutation(() => RoutePayload, { description: 'Answers with the route as it was.' })
  deleteRoute(@Ctx() context: GraphContext, @Arg('routeId', () => ID) routeId: string): Promise<RoutePayload> {
    return this.#routes.delete(requireActor(context), routeId)
  }
}

@Resolver(() => TargetGraph)
export class TargetResolver {
  readonly #providers: ProviderService
  readonly #models: ModelService

  constructor(providers: ProviderService, models: ModelService) {
    this.#providers = providers
    this.#models = models
  }

  @Access('route.read')
  @FieldResolver(() => TargetParametersGraph)
  parameters(@Root() { temperature, outputTokensMax }: TargetGraph): TargetParametersGraph {
    return { temperature, outputTokensMax }
  }

  @Access('route.read')
  @FieldResolver(() => WarmUpGraph, { nullable: true, description: 'Null: none.' })
  warmUp(@Root() { warmUpIntervalMs }: TargetGraph): WarmUpGraph | null {
    return warmUpIntervalMs === null ? null : { intervalMs: warmUpIntervalMs }
  }

  @Access('provider.read')
  @FieldResolver(() => ProviderGraph, { nullable: true })
  provider(@Ctx() context: GraphContext, @Root() target: TargetGraph): Promise<ProviderGraph | null> {
    return context.loaders.load(this.#providers.byId, target.providerId)
  }

  @Access('model.read')
  @FieldResolver(() => ModelGraph, { nullable: true })
  async model(@Ctx() context: GraphContext, @Root() target: TargetGraph): Promise<ModelGraph | null> {
    const model = await context.loaders.load(this.#models.byId, target.modelId)
    return model === null ? null : modelGraph(model)
  }
}
