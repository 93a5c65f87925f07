import { Field, ID, InputType, ObjectType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { DateTime } from '../api/scalars.js'

@Access('team.read')
@ObjectType('Team', { description: 'A scope for cost inside a tenant; keys belong to it.' })
export class TeamGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  tenantId!: string

  @Field(() => String)
  name!: string

  @Field(() => DateTime)
  createdAt!: Date
}

export const TeamConnection = connectionType('Team', () => TeamGraph, 'team.read')

@InputType()
export class CreateTeamInput {
  @Field(() => ID, { nullable: true, description: 'For platform admins; everybody else has one of their own.' })
  tenantId?: string | null

  @Field(() => String)
  name!: string
}

@InputType()
export class RenameTeamInput {
  @Field(() => ID)
  teamId!: string

  @Field(() => String)
  name!: string
}

@Access('team.read')
@ObjectType()
export class TeamPayload {
  @Field(() => TeamGraph)
  team!: TeamGraph
}
