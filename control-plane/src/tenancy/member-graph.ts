import { Field, ID, InputType, ObjectType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { DateTime } from '../api/scalars.js'

@Access('member.read')
@ObjectType('Member', { description: 'A person or service account of a tenant, by the `sub` of its token.' })
export class MemberGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  tenantId!: string

  @Field(() => String)
  subject!: string

  @Field(() => String, { nullable: true })
  email!: string | null

  @Field(() => String)
  displayName!: string

  @Field(() => [String], { description: 'Count when the token carries no roles: tenant-admin, developer, viewer.' })
  roles!: readonly string[]

  @Field(() => DateTime)
  createdAt!: Date

  @Field(() => DateTime, { nullable: true, description: 'Since when it is refused, whatever its token says.' })
  disabledAt!: Date | null
}

export const MemberConnection = connectionType('Member', () => MemberGraph, 'member.read')

@InputType()
export class CreateMemberInput {
  @Field(() => ID, { nullable: true, description: 'For platform admins; everybody else has one of their own.' })
  tenantId?: string | null

  @Field(() => String, { description: 'The `sub` of its token.' })
  subject!: string

  @Field(() => String, { nullable: true })
  email?: string | null

  @Field(() => String)
  displayName!: string

  @Field(() => [String], { description: 'Of tenant-admin, developer, viewer.' })
  roles!: string[]
}

@InputType()
export class UpdateMemberInput {
  @Field(() => ID)
  memberId!: string

  @Field(() => String, { nullable: true })
  email?: string | null

  @Field(() => String, { nullable: true })
  displayName?: string | null

  @Field(() => [String], { nullable: true })
  roles?: string[] | null

  @Field(() => Boolean, { nullable: true })
  disabled?: boolean | null
}

@Access('member.read')
@ObjectType()
export class MemberPayload {
  @Field(() => MemberGraph)
  member!: MemberGraph
}

@Access('authenticated')
@ObjectType('Viewer', { description: 'Who you are to the control plane, as your token proves it.' })
export class ViewerGraph {
  @Field(() => String)
  subject!: string

  @Field(() => ID, { nullable: true, description: 'Null for platform admins.' })
  tenantId!: string | null

  @Field(() => [String])
  roles!: readonly string[]

  @Field(() => [String], { description: 'What these roles allow, for example route.write.' })
  permissions!: readonly string[]
}
