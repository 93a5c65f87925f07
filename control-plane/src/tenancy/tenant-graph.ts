import { Field, ID, InputType, ObjectType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { DateTime } from '../api/scalars.js'

@Access('tenant.read')
@ObjectType('Tenant', { description: 'The isolation boundary: a customer or a business unit.' })
export class TenantGraph {
  @Field(() => ID)
  id!: string

  @Field(() => String, { description: 'A name that machines use; never changes.' })
  slug!: string

  @Field(() => String)
  name!: string

  @Field(() => DateTime)
  createdAt!: Date

  @Field(() => DateTime, { nullable: true, description: 'Since when it is out of service, with all it owns.' })
  archivedAt!: Date | null
}

export const TenantConnection = connectionType('Tenant', () => TenantGraph, 'tenant.read')

@InputType()
export class CreateTenantInput {
  @Field(() => String, { description: '1 to 63 lower-case letters, digits and dashes.' })
  slug!: string

  @Field(() => String)
  name!: string
}

@InputType()
export class UpdateTenantInput {
  @Field(() => ID)
  tenantId!: string

  @Field(() => String)
  name!: string
}

@Access('tenant.read')
@ObjectType()
export class TenantPayload {
  @Field(() => TenantGraph)
  tenant!: TenantGraph
}
