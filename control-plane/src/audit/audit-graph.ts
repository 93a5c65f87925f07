import { Field, ID, InputType, ObjectType } from 'type-graphql'
import type { Json } from '../../../proto/std/canonical-json.js'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { DateTime, JsonValue } from '../api/scalars.js'

@Access('audit.read')
@ObjectType('AuditEntry', { description: 'One thing that somebody changed.' })
export class AuditEntryGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID, { nullable: true, description: 'Null: concerns the installation.' })
  tenantId!: string | null

  @Field(() => String, { description: 'Subject of the token that asked.' })
  actor!: string

  @Field(() => String, { description: 'bootstrap, token, system or cli.' })
  actorKind!: string

  @Field(() => String, { description: 'For example api-key.revoke.' })
  action!: string

  @Field(() => String)
  subjectKind!: string

  @Field(() => ID)
  subjectId!: string

  @Field(() => JsonValue, { nullable: true, description: 'The subject as it was, without secrets.' })
  before!: Json

  @Field(() => JsonValue, { nullable: true, description: 'The subject as it is since, without secrets.' })
  after!: Json

  @Field(() => String)
  requestId!: string

  @Field(() => DateTime)
  createdAt!: Date
}

export const AuditEntryConnection = connectionType('AuditEntry', () => AuditEntryGraph, 'audit.read')

@InputType()
export class AuditFilterInput {
  @Field(() => ID, { nullable: true, description: 'Of this tenant; for a tenant admin always the own one.' })
  tenantId?: string | null

  @Field(() => String, { nullable: true })
  action?: string | null

  @Field(() => String, { nullable: true })
  actor?: string | null

  @Field(() => String, { nullable: true })
  subjectKind?: string | null

  @Field(() => ID, { nullable: true })
  subjectId?: string | null

  @Field(() => DateTime, { nullable: true, description: 'At or after.' })
  since?: Date | null

  @Field(() => DateTime, { nullable: true, description: 'Before.' })
  until?: Date | null
}
