import { Arg, Args, Ctx, ID, Mutation, Query, Resolver } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { type Connection, ConnectionArgs, pageArgs, toConnection } from '../api/connection.js'
import { type GraphContext, requireActor } from '../api/context.js'
import { CreateTeamInput, RenameTeamInput, TeamConnection, TeamGraph, TeamPayload } from './team-graph.js'
import type { TeamService } from './team-service.js'

@Resolver(() => TeamGraph)
export class TeamResolver {
  readonly #teams: TeamService

  constructor(teams: TeamService) {
    this.#teams = teams
  }

  @Access('team.read')
  @Query(() => TeamGraph, { nullable: true })
  team(@Ctx() context: GraphContext, @Arg('id', () => ID) id: string): Promise<TeamGraph | null> {
    return this.#teams.find(requireActor(context), id)
  }

  @Access('team.read')
  @Query(() => TeamConnection)
  async teams(
    @Ctx() context: GraphContext,
    @Args(() => ConnectionArgs) args: ConnectionArgs,
    @Arg('tenantId', () => ID, { nullable: true }) tenantId?: string | null,
  ): Promise<Connection<TeamGraph>> {
    return toConnection(await this.#teams.list(requireActor(context), pageArgs(args), tenantId), (team) => team)
  }

  @Access('team.write')
  @Mutation(() => TeamPayload)
  async createTeam(
    @Ctx() context: GraphContext,
    @Arg('input', () => CreateTeamInput) input: CreateTeamInput,
  ): Promise<TeamPayload> {
    return { team: await this.#teams.create(requireActor(context), input) }
  }

  @Access('team.write')
  @Mutation(() => TeamPayload)
  async renameTeam(
    @Ctx() context: GraphContext,
    @Arg('input', () => RenameTeamInput) input: RenameTeamInput,
  ): Promise<TeamPayload> {
    return { team: await this.#teams.rename(requireActor(context), input) }
  }
}
