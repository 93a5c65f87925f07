import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql'
import type { Clock } from '../../../proto/std/clock.js'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { type ApiKey, apiKeyState } from './api-key.js'
import {
  ApiKeyConnection,
  ApiKeyGraph,
  ApiKeyMadePayload,
  ApiKeyPayload,
  ApiKeyStateGraph,
  CreateApiKeyInput,
  RevokeApiKeyInput,
  RotateApiKeyInput,
  UpdateApiKeyInput,
} from './api-key-graph.js'
import type { ApiKeyService } from './api-key-service.js'
import { EnvironmentGraph } from './environment-graph.js'
import type { EnvironmentService } from './environment-service.js'
import { TeamGraph } from './team-graph.js'
import type { TeamService } from './team-service.js'

const stateGraph = {
  active: ApiKeyStateGraph.ACTIVE,
  expired: ApiKeyStateGraph.EXPIRED,
  revoked: ApiKeyStateGraph.REVOKED,
} as const

export interface ApiKeyResolverOptions {
  readonly apiKeys: ApiKeyService
  readonly environments: EnvironmentService
  readonly teams: TeamService
  readonly clock: Clock
}

@Resolver(() => ApiKeyGraph)
export class ApiKeyResolver {
  readonly #options: ApiKeyResolverOptions

  constructor(options: ApiKeyResolverOptions) {
    this.#options = options
  }

  @Access('api-key.read')
  @Query(() => ApiKeyGraph, { nullable: true })
  apiKey(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<ApiKeyGraph | null> {
    return this.#options.apiKeys.find(requireActor(context), id)
  }

  @Access('api-key.read')
  @Query(() => ApiKeyConnection, { description: 'Newest first; of one environment or of the whole tenant.' })
  async apiKeys(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('environmentId', () => ID, { nullable: true }) environmentId?: string | null,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
  ): Promise<Connection<ApiKeyGraph>> {
    const of = { environmentId, tenantId }
    return toConnection(await this.#options.apiKeys.list(requireActor(context), pageArgs(args), of), (key) => key)
  }

  @Access('api-key.read')
  @FieldResolver(() => ApiKeyStateGraph)
  state(@Root() key: ApiKey): ApiKeyStateGraph {
    return stateGraph[apiKeyState(key, new Date(this.#options.clock.nowMs()))]
  }

  @Access('environment.read')
  @FieldResolver(() => EnvironmentGraph, { nullable: true })
  environment(@Ctx() context: GraphContext, @Root() key: ApiKey): Promise<EnvironmentGraph | null> {
    return context.loaders.load(this.#options.environments.byId, key.environmentId)
  }

  @Access('team.read')
  @FieldResolver(() => TeamGraph, { nullable: true })
  async team(@Ctx() context: GraphContext, @Root() key: ApiKey): Promise<TeamGraph | null> {
    return key.teamId === null ? null : context.loaders.load(this.#options.teams.byId, key.teamId)
  }

  @Access('api-key.write')
  @Mutation(() => ApiKeyMadePayload)
  async createApiKey(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateApiKeyInput) input: CreateApiKeyInput,
  ): Promise<ApiKeyMadePayload> {
    const { apiKey, text, intentRevision } = await this.#options.apiKeys.create(requireActor(context), input)
    return { apiKey, secret: text, previous: null, intentRevision }
  }

  @Access('api-key.write')
  @Mutation(() => ApiKeyPayload)
  updateApiKey(
    @Ctx() context: GraphContext,
    @Arg('input', () => UpdateApiKeyInput) input: UpdateApiKeyInput,
  ): Promise<ApiKeyPayload> {
    return this.#options.apiKeys.update(requireActor(context), input)
  }

  @Access('api-key.write')
  @Mutation(() => ApiKeyPayload, { description: 'For good. Agents refuse the key within their delivery time.' })
  revokeApiKey(
    @Ctx() context: GraphContext,
    @Arg('input', () => RevokeApiKeyInput) input: RevokeApiKeyInput,
  ): Promise<ApiKeyPayload> {
    return this.#options.apiKeys.revoke(requireActor(context), input)
  }

  @Access('api-key.write')
  @Mutation(() => ApiKeyMadePayload, { description: 'A new key like the old one, which keeps working for a while.' })
  async rotateApiKey(
    @Ctx() context: GraphContext,
    @Arg('input', () => RotateApiKeyInput) input: RotateApiKeyInput,
  ): Promise<ApiKeyMadePayload> {
    const { apiKey, text, previous, intentRevision } = await this.#options.apiKeys.rotate(requireActor(context), input)
    return { apiKey, secret: text, previous, intentRevision }
  }
}
