import { Field, ID, InputType, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { BigIntString, DateTime } from '../api/scalars.js'
import type { RoutingPreference } from './environment.js'

export const RoutingPreferenceGraph = {
  CHEAPEST: 'cheapest',
  BALANCED: 'balanced',
  BEST: 'best',
} as const satisfies Record<string, RoutingPreference>
registerEnumType(RoutingPreferenceGraph, {
  name: 'RoutingPreference',
  description:
    'CHEAPEST: by expected cost. BEST: by quality. BALANCED: the cheapest of those whose quality is the median or better.',
})

@Access('environment.read')
@ObjectType('Environment', { description: 'Where routes, keys and policies of a tenant live.' })
export class EnvironmentGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  tenantId!: string

  @Field(() => String)
  name!: string

  @Field(() => [String], { description: 'Clusters in these regions serve it, and no others.' })
  permittedRegions!: readonly string[]

  @Field(() => RoutingPreferenceGraph, { description: 'Of rules with the strategy PREFERENCE.' })
  routingPreference!: RoutingPreference

  @Field(() => BigIntString, {
    description:
      'Rises with every change of what agents should do; an agent has applied a change where it shows at least the number the mutation returned.',
  })
  intentRevision!: bigint

  @Field(() => DateTime)
  createdAt!: Date

  @Field(() => DateTime, { nullable: true })
  archivedAt!: Date | null
}

export const EnvironmentConnection = connectionType('Environment', () => EnvironmentGraph, 'environment.read')

@InputType()
export class CreateEnvironmentInput {
  @Field(() => ID, { nullable: true, description: 'For platform admins; everybody else has one of their own.' })
  tenantId?: string | null

  @Field(() => String, { description: 'For example production: 1 to 63 lower-case letters, digits and dashes.' })
  name!: string

  @Field(() => [String], { description: '1 to 50 regions, for example eu-central-1.' })
  permittedRegions!: string[]

  @Field(() => RoutingPreferenceGraph, { nullable: true, description: 'BALANCED when left out.' })
  routingPreference?: RoutingPreference | null
}

@InputType({ description: 'What is left out stays as it is.' })
export class UpdateEnvironmentInput {
  @Field(() => ID)
  environmentId!: string

  @Field(() => [String], { nullable: true })
  permittedRegions?: string[] | null

  @Field(() => RoutingPreferenceGraph, { nullable: true })
  routingPreference?: RoutingPreference | null
}

@Access('environment.read')
@ObjectType()
export class EnvironmentPayload {
  @Field(() => EnvironmentGraph)
  environment!: EnvironmentGraph

  @Field(() => BigIntString)
  intentRevision!: bigint
}
