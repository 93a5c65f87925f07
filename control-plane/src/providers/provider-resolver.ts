import { Arg, Args, Ctx, ID, Mutation, Query, Resolver } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { environmentRevisions } from '../tenancy/intent-revision-graph.js'
import { RotateProviderCredentialInput } from './credential-graph.js'
import {
  CreateProviderInput,
  ProviderConnection,
  ProviderFilterInput,
  ProviderGraph,
  ProviderPayload,
  ProviderTestPayload,
  UpdateProviderInput,
} from './provider-graph.js'
import type { ProviderChange, ProviderService } from './provider-service.js'

@Resolver(() => ProviderGraph)
export class ProviderResolver {
  readonly #providers: ProviderService

  constructor(providers: ProviderService) {
    this.#providers = providers
  }

  @Access('provider.read')
  @Query(() => ProviderGraph, { nullable: true })
  provider(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<ProviderGraph | null> {
    return this.#providers.find(requireActor(context), id)
  }

  @Access('provider.read')
  @Query(() => ProviderConnection, { description: 'Of one tenant: your own, or the one a platform admin names.' })
  async providers(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
    @Arg('filter', () => ProviderFilterInput, { nullable: true }) filter?: ProviderFilterInput | null,
  ): Promise<Connection<ProviderGraph>> {
    const page = await this.#providers.list(requireActor(context), tenantId, filter ?? {}, pageArgs(args))
    return toConnection(page, (provider) => provider)
  }

  @Access('provider.write')
  @Mutation(() => ProviderPayload)
  async createProvider(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateProviderInput) input: CreateProviderInput,
  ): Promise<ProviderPayload> {
    return payload(await this.#providers.create(requireActor(context), input))
  }

  @Access('provider.write')
  @Mutation(() => ProviderPayload)
  async updateProvider(
    @Ctx() context: GraphContext,
    @Arg('input', () => UpdateProviderInput) input: UpdateProviderInput,
  ): Promise<ProviderPayload> {
    return payload(await this.#providers.update(requireActor(context), input))
  }

  @Access('provider.write')
  @Mutation(() => ProviderPayload, { description: 'Puts a new version of the credential in force.' })
  async rotateProviderCredential(
    @Ctx() context: GraphContext,
    @Arg('input', () => RotateProviderCredentialInput) input: RotateProviderCredentialInput,
  ): Promise<ProviderPayload> {
    return payload(await this.#providers.rotateCredential(requireActor(context), input))
  }

  @Access('provider.write')
  @Mutation(() => ProviderPayload)
  async removeProviderCredential(
    @Ctx() context: GraphContext,
    @Arg('providerId', () => ID) providerId: string,
  ): Promise<ProviderPayload> {
    return payload(await this.#providers.removeCredential(requireActor(context), providerId))
  }

  @Access('provider.write')
  @Mutation(() => ProviderPayload, { description: 'Out of service for good. Refused while a route has a target here.' })
  async archiveProvider(
    @Ctx() context: GraphContext,
    @Arg('providerId', () => ID) providerId: string,
  ): Promise<ProviderPayload> {
    return payload(await this.#providers.archive(requireActor(context), providerId))
  }

  @Access('provider.write')
  @Mutation(() => ProviderTestPayload, {
    description: `Makes one cheap call and explains the outcome. A secret that goes into a header as it is, is shown to the
provider; one that an agent has to sign with or to get tokens for is not, and then ok says that the provider can be reached.`,
  })
  async testProvider(
    @Ctx() context: GraphContext,
    @Arg('providerId', () => ID) providerId: string,
  ): Promise<ProviderTestPayload> {
    const { provider, test } = await this.#providers.test(requireActor(context), providerId)
    return { provider, ...test }
  }
}

function payload({ provider, intentRevisions }: ProviderChange): ProviderPayload {
  return { provider, intentRevisions: environmentRevisions(intentRevisions) }
}
