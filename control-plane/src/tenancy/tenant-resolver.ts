import { Arg, Args, Ctx, ID, Mutation, Query, Resolver } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { CreateTenantInput, TenantConnection, TenantGraph, TenantPayload, UpdateTenantInput } from './tenant-graph.js'
import type { TenantService } from './tenant-service.js'

@Resolver(() => TenantGraph)
export class TenantResolver {
  readonly #tenants: TenantService

  constructor(tenants: TenantService) {
    this.#tenants = tenants
  }

  @Access('tenant.read')
  @Query(() => TenantGraph, { nullable: true, description: 'One tenant; null when there is none or it is not yours.' })
  tenant(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<TenantGraph | null> {
    return this.#tenants.find(requireActor(context), id)
  }

  @Access('tenant.read')
  @Query(() => TenantConnection, { description: 'Every tenant for a platform admin, the own one for everybody else.' })
  async tenants(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
  ): Promise<Connection<TenantGraph>> {
    return toConnection(await this.#tenants.list(requireActor(context), pageArgs(args)), (tenant) => tenant)
  }

  @Access('tenant.write')
  @Mutation(() => TenantPayload)
  async createTenant(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateTenantInput) input: CreateTenantInput,
  ): Promise<TenantPayload> {
    return { tenant: await this.#tenants.create(requireActor(context), input) }
  }

  @Access('tenant.write')
  @Mutation(() => TenantPayload)
  async updateTenant(
    @Ctx() context: GraphContext,
    @Arg('input', () => UpdateTenantInput) input: UpdateTenantInput,
  ): Promise<TenantPayload> {
    return { tenant: await this.#tenants.update(requireActor(context), input) }
  }

  @Access('tenant.write')
  @Mutation(() => TenantPayload, { description: 'Puts a tenant and all it owns out of service, for good.' })
  async archiveTenant(
    @Ctx() context: GraphContext,
    @Arg('tenantId', () => ID) tenantId: string,
  ): Promise<TenantPayload> {
    return { tenant: await this.#tenants.archive(requireActor(context), tenantId) }
  }
}
