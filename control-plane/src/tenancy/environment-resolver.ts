import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import type { Environment } from './environment.js'
import {
  CreateEnvironmentInput,
  EnvironmentConnection,
  EnvironmentGraph,
  EnvironmentPayload,
  UpdateEnvironmentInput,
} from './environment-graph.js'
import type { EnvironmentService } from './environment-service.js'
import { TenantGraph } from './tenant-graph.js'
import type { TenantService } from './tenant-service.js'

@Resolver(() => EnvironmentGraph)
export class EnvironmentResolver {
  readonly #environments: EnvironmentService
  readonly #tenants: TenantService

  constructor(environments: EnvironmentService, tenants: TenantService) {
    this.#environments = environments
    this.#tenants = tenants
  }

  @Access('environment.read')
  @Query(() => EnvironmentGraph, { nullable: true })
  environment(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<EnvironmentGraph | null> {
    return this.#environments.find(requireActor(context), id)
  }

  @Access('environment.read')
  @Query(() => EnvironmentConnection, { description: 'Of one tenant: your own, or the one a platform admin names.' })
  async environments(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
  ): Promise<Connection<EnvironmentGraph>> {
    const page = await this.#environments.list(requireActor(context), pageArgs(args), tenantId)
    return toConnection(page, (environment) => environment)
  }

  @Access('tenant.read')
  @FieldResolver(() => TenantGraph, { nullable: true })
  tenant(@Ctx() context: GraphContext, @Root() environment: Environment): Promise<TenantGraph | null> {
    return context.loaders.load(this.#tenants.byId, environment.tenantId)
  }

  @Access('environment.write')
  @Mutation(() => EnvironmentPayload)
  async createEnvironment(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateEnvironmentInput) input: CreateEnvironmentInput,
  ): Promise<EnvironmentPayload> {
    return payload(await this.#environments.create(requireActor(context), input))
  }

  @Access('environment.write')
  @Mutation(() => EnvironmentPayload)
  async updateEnvironment(
    @Ctx() context: GraphContext,
    @Arg('input', () => UpdateEnvironmentInput) input: UpdateEnvironmentInput,
  ): Promise<EnvironmentPayload> {
    return payload(await this.#environments.update(requireActor(context), input))
  }

  @Access('environment.write')
  @Mutation(() => EnvironmentPayload, { description: 'Out of service for good, with its keys revoked.' })
  async archiveEnvironment(
    @Ctx() context: GraphContext,
    @Arg('environmentId', () => ID) environmentId: string,
  ): Promise<EnvironmentPayload> {
    return payload(await this.#environments.archive(requireActor(context), environmentId))
  }
}

function payload(environment: Environment): EnvironmentPayload {
  return { environment, intentRevision: environment.intentRevision }
}
