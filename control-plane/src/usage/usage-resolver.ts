import { Arg, Args, Ctx, FieldResolver, ID, Query, Resolver, Root } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { ProviderGraph } from '../providers/provider-graph.js'
import type { ProviderService } from '../providers/provider-service.js'
import { EnvironmentGraph } from '../tenancy/environment-graph.js'
import type { EnvironmentService } from '../tenancy/environment-service.js'
import {
  UsageFilterInput,
  UsageGranularityGraph,
  UsageGroupGraph,
  UsageLaneConnection,
  type UsageLaneGraph,
  UsageRecordConnection,
  UsageRecordGraph,
  UsageTotalGraph,
  UsageTotalsFilterInput,
  usageLaneGraph,
  usageRecordGraph,
  usageTotalGraph,
} from './usage-graph.js'
import type { UsageGroup } from './usage-question.js'
import type { UsageService } from './usage-service.js'

@Resolver(() => UsageRecordGraph)
export class UsageResolver {
  readonly #usage: UsageService
  readonly #environments: EnvironmentService
  readonly #providers: ProviderService

  constructor(usage: UsageService, environments: EnvironmentService, providers: ProviderService) {
    this.#usage = usage
    this.#environments = environments
    this.#providers = providers
  }

  @Access('usage.read')
  @Query(() => UsageRecordConnection, {
    description: 'Newest first. Of one tenant: your own, or the one a platform admin names.',
  })
  async usage(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
    @Arg('filter', () => UsageFilterInput, { nullable: true }) filter?: UsageFilterInput | null,
  ): Promise<Connection<UsageRecordGraph>> {
    const page = await this.#usage.list(requireActor(context), tenantId, filter ?? {}, pageArgs(args))
    return toConnection(page, usageRecordGraph)
  }

  @Access('usage.read')
  @Query(() => UsageRecordGraph, {
    nullable: true,
    description: 'By the x-request-id of the answer; the newest, since clients may choose ids.',
  })
  async usageRecord(
    @Ctx() context: GraphContext,
    @Arg('requestId', () => String) requestId: string,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
  ): Promise<UsageRecordGraph | null> {
    const row = await this.#usage.findByRequestId(requireActor(context), tenantId, requestId)
    return row === null ? null : usageRecordGraph(row)
  }

  @Access('usage.read')
  @Query(() => [UsageTotalGraph], {
    description: 'Sums by bucket and group, at most 1000. The bucket that is still open lags by a few seconds.',
  })
  async usageTotals(
    @Ctx() context: GraphContext,
    @Arg('filter', () => UsageTotalsFilterInput) filter: UsageTotalsFilterInput,
    @Arg('granularity', () => UsageGranularityGraph, { defaultValue: 'hour' }) granularity: 'minute' | 'hour',
    @Arg('groupBy', () => [UsageGroupGraph], { defaultValue: [] }) groupBy: UsageGroup[],
    @Arg('byBucket', () => Boolean, { defaultValue: true, description: 'False: one sum over the whole time.' })
    byBucket: boolean,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
  ): Promise<UsageTotalGraph[]> {
    const { model, ...rest } = filter
    const question = { filter: { ...rest, actualModel: model }, granularity, groupBy, byBucket }
    return (await this.#usage.totals(requireActor(context), tenantId, question)).map(usageTotalGraph)
  }

  @Access('fleet.read')
  @Query(() => UsageLaneConnection, {
    description: 'Coverage: for each lane of the agents, whether anything it numbered is missing. For platform admins.',
  })
  async usageLanes(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('agentId', () => ID, { nullable: true }) agentId?: string | null,
  ): Promise<Connection<UsageLaneGraph>> {
    const page = await this.#usage.coverage(requireActor(context), agentId ?? null, pageArgs(args))
    return toConnection(page, usageLaneGraph)
  }

  @Access('environment.read')
  @FieldResolver(() => EnvironmentGraph, { nullable: true })
  environment(@Ctx() context: GraphContext, @Root() record: UsageRecordGraph): Promise<EnvironmentGraph | null> {
    return context.loaders.load(this.#environments.byId, record.environmentId)
  }

  @Access('provider.read')
  @FieldResolver(() => ProviderGraph, { nullable: true, description: 'That answered, or was tried last.' })
  async provider(@Ctx() context: GraphContext, @Root() record: UsageRecordGraph): Promise<ProviderGraph | null> {
    return record.providerId === null ? null : context.loaders.load(this.#providers.byId, record.providerId)
  }
}
