import { Field, ID, Int, ObjectType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { BigIntString, DateTime } from '../api/scalars.js'

@Access('environment.read')
@ObjectType('DeliveryFailure', {
  description: 'Why the newest intent is not delivered; the last good one stays in effect.',
})
export class DeliveryFailureGraph {
  @Field(() => BigIntString, { description: 'The intent that could not be delivered.' })
  intentRevision!: bigint

  @Field(() => String)
  code!: string

  @Field(() => String, { description: 'Resource and field, for example route/rte_… rules[0].targets[1].modelId.' })
  path!: string

  @Field(() => String)
  message!: string

  @Field(() => DateTime)
  since!: Date
}

@Access('environment.read')
@ObjectType('EnvironmentDelivery', { description: 'How far the intent of an environment has come in one cluster.' })
export class EnvironmentDeliveryGraph {
  @Field(() => ID)
  clusterId!: string

  @Field(() => String)
  clusterName!: string

  @Field(() => String)
  region!: string

  @Field(() => BigIntString, { nullable: true, description: 'On offer to its agents; null: nothing yet.' })
  desiredRevision!: bigint | null

  @Field(() => BigIntString, {
    nullable: true,
    description:
      'In effect at every agent of the cluster. A change is in effect where this is at least the revision its mutation returned. Null: at some agent nothing is, or there is none.',
  })
  appliedRevision!: bigint | null

  @Field(() => Int)
  agentCount!: number

  @Field(() => Int, { description: 'Agents that have the newest intent of the environment.' })
  upToDateCount!: number

  @Field(() => DeliveryFailureGraph, { nullable: true })
  failure!: DeliveryFailureGraph | null
}
