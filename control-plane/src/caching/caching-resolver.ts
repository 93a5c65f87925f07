import { Arg, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { RouteGraph } from '../routes/route-graph.js'
import {
  CachePurgeGraph,
  CachePurgePayload,
  CacheStatisticsGraph,
  CacheStatisticsInput,
  cachePurgePayload,
  cacheStatisticsGraph,
  PurgeCacheInput,
  RouteCacheGraph,
  RouteCachePayload,
  routeCacheGraph,
  routeCachePayload,
  SetRouteCacheInput,
} from './caching-graph.js'
import type { CachingService } from './caching-service.js'

@Resolver(() => RouteGraph)
export class CachingResolver {
  readonly #caching: CachingService

  constructor(caching: CachingService) {
    this.#caching = caching
  }

  @Access('cache.read')
  @FieldResolver(() => RouteCacheGraph, { nullable: true, description: 'Null: nothing of its answers is kept.' })
  async cache(@Ctx() context: GraphContext, @Root() route: RouteGraph): Promise<RouteCacheGraph | null> {
    const cache = await context.loaders.load(this.#caching.byRoute, route.id)
    return cache === null ? null : routeCacheGraph(cache)
  }

  @Access('cache.read')
  @Query(() => [CachePurgeGraph], {
    description: 'Purges that agents of the environment still know of, the oldest first; at most 128.',
  })
  async cachePurges(
    @Ctx() context: GraphContext,
    @Arg('environmentId', () => ID) environmentId: string,
  ): Promise<readonly CachePurgeGraph[]> {
    return this.#caching.listPurges(requireActor(context), environmentId)
  }

  @Access('usage.read')
  @Query(() => CacheStatisticsGraph)
  async cacheStatistics(
    @Ctx() context: GraphContext,
    @Arg('input', () => CacheStatisticsInput) input: CacheStatisticsInput,
  ): Promise<CacheStatisticsGraph> {
    return cacheStatisticsGraph(await this.#caching.findStatistics(requireActor(context), input))
  }

  @Access('cache.write')
  @Mutation(() => RouteCachePayload, { description: 'What is kept of a route’s answers, as a whole.' })
  async setRouteCache(
    @Ctx() context: GraphContext,
    @Arg('input', () => SetRouteCacheInput) input: SetRouteCacheInput,
  ): Promise<RouteCachePayload> {
    return routeCachePayload(await this.#caching.set(requireActor(context), input))
  }

  @Access('cache.write')
  @Mutation(() => RouteCachePayload, { description: 'Nothing of the route is kept or given any more.' })
  async removeRouteCache(
    @Ctx() context: GraphContext,
    @Arg('routeId', () => ID) routeId: string,
  ): Promise<RouteCachePayload> {
    return routeCachePayload(await this.#caching.remove(requireActor(context), routeId))
  }

  @Access('cache.purge')
  @Mutation(() => CachePurgePayload, {
    description: 'Kept answers that fit are not given any more, where agents show at least the returned revisions.',
  })
  async purgeCache(
    @Ctx() context: GraphContext,
    @Arg('input', () => PurgeCacheInput) input: PurgeCacheInput,
  ): Promise<CachePurgePayload> {
    return cachePurgePayload(await this.#caching.purge(requireActor(context), input))
  }
}

@Resolver(() => RouteCacheGraph)
export class RouteCacheResolver {
  readonly #caching: CachingService

  constructor(caching: CachingService) {
    this.#caching = caching
  }

  @Access('cache.read')
  @FieldResolver(() => Boolean, {
    description:
      'False: no route for embeddings is named, or it is gone or makes none; only the very same request is answered.',
  })
  async comparesMeaning(@Ctx() context: GraphContext, @Root() cache: RouteCacheGraph): Promise<boolean> {
    return (await context.loaders.load(this.#caching.isComparing, cache.routeId)) === true
  }
}
