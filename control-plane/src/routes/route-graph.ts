import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { BigIntString, DateTime } from '../api/scalars.js'
import { deadlineDefaults, type UnsupportedSettings } from './route.js'

export const UnsupportedSettingsGraph = {
  REFUSE: 'refuse',
  DROP: 'drop',
} as const satisfies Record<string, UnsupportedSettings>
registerEnumType(UnsupportedSettingsGraph, {
  name: 'UnsupportedSettings',
  description: `What becomes of a setting (seed, penalties, logprobs, …) that a target's vendor has no word for. REFUSE passes
over that target and, if no other is left, refuses the request naming the field. DROP leaves it out and names it in the response
header x-switchyard-dropped.`,
})

@Access('route.read')
@ObjectType('Target', { description: 'A model at a provider: one hop, if it is tried.' })
export class TargetGraph {
  @Field(() => ID, { description: 'What the hops of usage records name.' })
  id!: string

  @Field(() => ID)
  providerId!: string

  @Field(() => ID)
  modelId!: string

  @Field(() => String, { nullable: true, description: "Sent upstream; null: the model's own name." })
  upstreamModel!: string | null

  @Field(() => Int)
  connectTimeoutMs!: number

  @Field(() => Int)
  firstTokenTimeoutMs!: number

  @Field(() => Int, { description: 'Between two chunks.' })
  idleTimeoutMs!: number

  @Field(() => Int)
  totalTimeoutMs!: number
}

@Access('route.read')
@ObjectType('Route', { description: 'What a client puts into model: ordered targets, the first tried first.' })
export class RouteGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  tenantId!: string

  @Field(() => ID)
  environmentId!: string

  @Field(() => String)
  name!: string

  @Field(() => [TargetGraph])
  targets!: readonly TargetGraph[]

  @Field(() => Int, { description: 'Over all hops.' })
  totalTimeoutMs!: number

  @Field(() => UnsupportedSettingsGraph)
  unsupportedSettings!: UnsupportedSettings

  @Field(() => DateTime)
  createdAt!: Date

  @Field(() => Int, { description: 'Rises with each change; give it to an update that must not overwrite another.' })
  rowVersion!: number
}

export const RouteConnection = connectionType('Route', () => RouteGraph, 'route.read')

@InputType()
export class RouteFilterInput {
  @Field(() => ID, { nullable: true })
  environmentId?: string | null

  @Field(() => String, { nullable: true })
  name?: string | null

  @Field(() => ID, { nullable: true, description: 'With a target at this provider.' })
  providerId?: string | null

  @Field(() => ID, { nullable: true, description: 'With a target that uses this model.' })
  modelId?: string | null
}

@InputType()
export class TargetInput {
  @Field(() => ID)
  providerId!: string

  @Field(() => ID)
  modelId!: string

  @Field(() => String, { nullable: true, description: "Sent upstream instead of the model's own name." })
  upstreamModel?: string | null

  @Field(() => Int, { nullable: true, description: `${deadlineDefaults.connectTimeoutMs} when left out.` })
  connectTimeoutMs?: number | null

  @Field(() => Int, { nullable: true, description: `${deadlineDefaults.firstTokenTimeoutMs} when left out.` })
  firstTokenTimeoutMs?: number | null

  @Field(() => Int, { nullable: true, description: `${deadlineDefaults.idleTimeoutMs} when left out.` })
  idleTimeoutMs?: number | null

  @Field(() => Int, {
    nullable: true,
    description: `${deadlineDefaults.totalTimeoutMs} when left out, or the route's total if that is shorter.`,
  })
  totalTimeoutMs?: number | null
}

@InputType()
export class CreateRouteInput {
  @Field(() => ID)
  environmentId!: string

  @Field(() => String, { description: '1 to 128 letters, digits and . _ : / @ + -; never changes.' })
  name!: string

  @Field(() => [TargetInput], { description: 'In the order they are tried, 1 to 16.' })
  targets!: TargetInput[]

  @Field(() => Int, { nullable: true, description: 'The sum of the targets when left out, at most ten minutes.' })
  totalTimeoutMs?: number | null

  @Field(() => UnsupportedSettingsGraph, { nullable: true, description: 'REFUSE when left out.' })
  unsupportedSettings?: UnsupportedSettings | null
}

@InputType({ description: 'What is left out stays as it is; targets replaces the whole list.' })
export class UpdateRouteInput {
  @Field(() => ID)
  routeId!: string

  @Field(() => Int, { nullable: true, description: 'Refuse with CONFLICT unless the route still has this version.' })
  rowVersion?: number | null

  @Field(() => [TargetInput], { nullable: true })
  targets?: TargetInput[] | null

  @Field(() => Int, { nullable: true })
  totalTimeoutMs?: number | null

  @Field(() => UnsupportedSettingsGraph, { nullable: true })
  unsupportedSettings?: UnsupportedSettings | null
}

@Access('route.read')
@ObjectType()
export class RoutePayload {
  @Field(() => RouteGraph)
  route!: RouteGraph

  @Field(() => BigIntString, { description: 'Agents follow the change where they show at least this revision.' })
  intentRevision!: bigint
}
