import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { ProviderGraph } from '../providers/provider-graph.js'
import type { ProviderService } from '../providers/provider-service.js'
import {
  AgentConnection,
  AgentFilterInput,
  AgentGraph,
  AgentPayload,
  AgentTargetGraph,
  agentGraph,
  ClusterConnection,
  ClusterGraph,
  ClusterPayload,
  CreateClusterInput,
  CreateJoinTokenInput,
  JoinTokenPayload,
  LiftQuarantineInput,
  NewEpochPayload,
  QuarantineGraph,
  QuarantinePayload,
  quarantineGraph,
  SigningKeyPayload,
} from './fleet-graph.js'
import type { FleetService } from './fleet-service.js'

@Resolver()
export class FleetResolver {
  readonly #fleet: FleetService

  constructor(fleet: FleetService) {
    this.#fleet = fleet
  }

  @Access('fleet.read')
  @Query(() => ClusterGraph, { nullable: true })
  cluster(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<ClusterGraph | null> {
    return this.#fleet.findCluster(requireActor(context), id)
  }

  @Access('fleet.read')
  @Query(() => ClusterConnection)
  async clusters(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
  ): Promise<Connection<ClusterGraph>> {
    const page = await this.#fleet.listClusters(requireActor(context), pageArgs(args))
    return toConnection(page, (cluster) => cluster)
  }

  @Access('fleet.read')
  @Query(() => AgentGraph, { nullable: true })
  async agent(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<AgentGraph | null> {
    const agent = await this.#fleet.findAgent(requireActor(context), id)
    return agent === null ? null : agentGraph(agent)
  }

  @Access('fleet.read')
  @Query(() => AgentConnection)
  async agents(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('filter', () => AgentFilterInput, { nullable: true }) filter?: AgentFilterInput | null,
  ): Promise<Connection<AgentGraph>> {
    const page = await this.#fleet.listAgents(requireActor(context), pageArgs(args), {
      ...{ clusterId: filter?.clusterId ?? null, revoked: filter?.includeRevoked ?? false },
    })
    return toConnection(page, agentGraph)
  }

  @Access('fleet.read')
  @Query(() => [QuarantineGraph], { description: 'Newest first, at most 100.' })
  async quarantines(
    @Ctx() context: GraphContext,
    @Arg('includeLifted', () => Boolean, { defaultValue: false }) lifted: boolean,
  ): Promise<QuarantineGraph[]> {
    return (await this.#fleet.listQuarantines(requireActor(context), { lifted })).map(quarantineGraph)
  }

  @Access('fleet.write')
  @Mutation(() => ClusterPayload)
  async createCluster(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateClusterInput) input: CreateClusterInput,
  ): Promise<ClusterPayload> {
    return { cluster: await this.#fleet.createCluster(requireActor(context), input) }
  }

  @Access('fleet.write')
  @Mutation(() => JoinTokenPayload, { description: 'An invitation for one agent to join the cluster.' })
  async createJoinToken(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateJoinTokenInput) input: CreateJoinTokenInput,
  ): Promise<JoinTokenPayload> {
    const { text, ...token } = await this.#fleet.createJoinToken(requireActor(context), input)
    return { ...token, secret: text }
  }

  @Access('fleet.write')
  @Mutation(() => AgentPayload, { description: 'Its certificates are worth nothing from now on, for good.' })
  async revokeAgent(@Ctx() context: GraphContext, @Arg('agentId', () => ID) agentId: string): Promise<AgentPayload> {
    return { agent: agentGraph(await this.#fleet.revokeAgent(requireActor(context), agentId)) }
  }

  @Access('fleet.write')
  @Mutation(() => QuarantinePayload, { description: 'Offers refused content once more to agents of that version.' })
  async liftQuarantine(
    @Ctx() context: GraphContext,
    @Arg('input', () => LiftQuarantineInput) input: LiftQuarantineInput,
  ): Promise<QuarantinePayload> {
    return { quarantine: quarantineGraph(await this.#fleet.liftQuarantine(requireActor(context), input)) }
  }

  @Access('fleet.write')
  @Mutation(() => NewEpochPayload, {
    description:
      'After a restore from a backup: lets agents follow, which may hold higher generations than the record.',
  })
  async newEpoch(@Ctx() context: GraphContext): Promise<NewEpochPayload> {
    return { epoch: await this.#fleet.newEpoch(requireActor(context)) }
  }

  @Access('fleet.write')
  @Mutation(() => SigningKeyPayload, { description: 'A new key signs from now on; the earlier ones stay trusted.' })
  async addSigningKey(@Ctx() context: GraphContext): Promise<SigningKeyPayload> {
    return { keyId: await this.#fleet.addSigningKey(requireActor(context)) }
  }

  @Access('fleet.write')
  @Mutation(() => SigningKeyPayload, { description: 'Agents stop trusting the key. Refused for the last one.' })
  async retireSigningKey(
    @Ctx() context: GraphContext,
    @Arg('keyId', () => ID) keyId: string,
  ): Promise<SigningKeyPayload> {
    await this.#fleet.retireSigningKey(requireActor(context), keyId)
    return { keyId }
  }
}

@Resolver(() => AgentGraph)
export class AgentResolver {
  readonly #fleet: FleetService

  constructor(fleet: FleetService) {
    this.#fleet = fleet
  }

  @Access('fleet.read')
  @FieldResolver(() => ClusterGraph, { nullable: true })
  cluster(@Ctx() context: GraphContext, @Root() agent: AgentGraph): Promise<ClusterGraph | null> {
    return context.loaders.load(this.#fleet.clusterById, agent.clusterId)
  }
}

@Resolver(() => AgentTargetGraph)
export class AgentTargetResolver {
  readonly #providers: ProviderService

  constructor(providers: ProviderService) {
    this.#providers = providers
  }

  @Access('fleet.read')
  @FieldResolver(() => ProviderGraph, { nullable: true })
  provider(@Ctx() context: GraphContext, @Root() target: AgentTargetGraph): Promise<ProviderGraph | null> {
    return context.loaders.load(this.#providers.byId, target.providerId)
  }
}
