import { Arg, Args, Ctx, ID, Mutation, Query, Resolver } from 'type-graphql'
import { permissionsOf } from '../access/permission.js'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import {
  CreateMemberInput,
  MemberConnection,
  MemberGraph,
  MemberPayload,
  UpdateMemberInput,
  ViewerGraph,
} from './member-graph.js'
import type { MemberService } from './member-service.js'

@Resolver(() => MemberGraph)
export class MemberResolver {
  readonly #members: MemberService

  constructor(members: MemberService) {
    this.#members = members
  }

  @Access('authenticated')
  @Query(() => ViewerGraph)
  viewer(@Ctx() context: GraphContext): ViewerGraph {
    const actor = requireActor(context)
    const { subject, tenantId, roles } = actor.principal
    return { subject, tenantId, roles: [...roles].sort(), permissions: permissionsOf(actor) }
  }

  @Access('member.read')
  @Query(() => MemberGraph, { nullable: true })
  member(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<MemberGraph | null> {
    return this.#members.find(requireActor(context), id)
  }

  @Access('member.read')
  @Query(() => MemberConnection)
  async members(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
  ): Promise<Connection<MemberGraph>> {
    return toConnection(await this.#members.list(requireActor(context), pageArgs(args), tenantId), (member) => member)
  }

  @Access('member.write')
  @Mutation(() => MemberPayload)
  async createMember(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateMemberInput) input: CreateMemberInput,
  ): Promise<MemberPayload> {
    return { member: await this.#members.create(requireActor(context), input) }
  }

  @Access('member.write')
  @Mutation(() => MemberPayload, { description: 'What is left out stays as it is.' })
  async updateMember(
    @Ctx() context: GraphContext,
    @Arg('input', () => UpdateMemberInput) input: UpdateMemberInput,
  ): Promise<MemberPayload> {
    return { member: await this.#members.update(requireActor(context), input) }
  }
}
