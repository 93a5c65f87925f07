import { Field, Float, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import {
  type Breaker,
  batchSizeMax,
  batchWaitMsDefault,
  batchWaitMsMax,
  breakerDefaults,
  deadlineDefaults,
  type Tier,
  weightDefault,
} from './target.js'

export const TierGraph = { LOW: 'low', MEDIUM: 'medium', HIGH: 'high' } as const satisfies Record<string, Tier>
registerEnumType(TierGraph, {
  name: 'Tier',
  description: 'Of the strategy COMPLEXITY: how hard the prompts are that it is for.',
})

@Access('route.read')
@ObjectType('TargetParameters', { description: 'Sent where the client said nothing.' })
export class TargetParametersGraph {
  @Field(() => Float, { nullable: true })
  temperature!: number | null

  @Field(() => Int, { nullable: true, description: 'Also the most that a client may ask for.' })
  outputTokensMax!: number | null
}

@Access('route.read')
@ObjectType('Breaker', { description: 'When a target is left alone, and when it is tried again.' })
export class BreakerGraph {
  @Field(() => Int, { description: 'Failures in a row that open it.' })
  failures!: number

  @Field(() => Int, {
    description:
      'Milliseconds until one request may try it again; doubled each time that fails, up to sixteen times this.',
  })
  openMs!: number

  @Field(() => Float, { description: 'Share of failures, 0 to 1, in the last windowMs that opens it as well.' })
  failureRatio!: number

  @Field(() => Int)
  windowMs!: number

  @Field(() => Int, { description: 'Requests in the window from which on the share counts.' })
  requestsMin!: number
}

@Access('route.read')
@ObjectType('WarmUp', { description: 'Synthetic requests, so that the first real one does not wait for a cold model.' })
export class WarmUpGraph {
  @Field(() => Int, { description: 'Milliseconds without a request of any kind after which one is sent.' })
  intervalMs!: number
}

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

  @Field(() => Int, { description: 'With WEIGHTED: its share of the sum; 0: never first.' })
  weight!: number

  @Field(() => TierGraph, { nullable: true, description: 'With COMPLEXITY.' })
  tier!: Tier | null

  @Field(() => [String], { description: 'With TASK: the prompt classes that it is for; empty: any.' })
  tasks!: readonly string[]

  @Field(() => Int, { nullable: true, description: 'With PREFERENCE: 1 to 100; null: not known.' })
  quality!: number | null

  @Field(() => String, { nullable: true, description: 'Hardware, node pool: where it runs.' })
  nodePool!: string | null

  @Field(() => String, { nullable: true, description: 'Whom to ask about it.' })
  owner!: string | null

  /** Flat in the domain; the resolver folds them. */
  temperature!: number | null
  outputTokensMax!: number | null

  @Field(() => BreakerGraph, { nullable: true, description: "Null: the agent's defaults." })
  breaker!: Breaker | null

  warmUpIntervalMs!: number | null

  @Field(() => Int, {
    nullable: true,
    description: 'Most requests that run there at once, per request worker of an agent; null: as many as come.',
  })
  batchSize!: number | null

  @Field(() => Int, {
    description: 'Milliseconds that a request waits for a place among batchSize before the next target is asked.',
  })
  batchWaitMs!: number
}

@InputType()
export class TargetParametersInput {
  @Field(() => Float, { nullable: true, description: '0 to 2.' })
  temperature?: number | null

  @Field(() => Int, { nullable: true })
  outputTokensMax?: number | null
}

@InputType()
export class BreakerInput {
  @Field(() => Int, { nullable: true, description: `${breakerDefaults.failures} when left out.` })
  failures?: number | null

  @Field(() => Int, { nullable: true, description: `${breakerDefaults.openMs} when left out.` })
  openMs?: number | null

  @Field(() => Float, { nullable: true, description: `${breakerDefaults.failureRatio} when left out.` })
  failureRatio?: number | null

  @Field(() => Int, { nullable: true, description: `${breakerDefaults.windowMs} when left out.` })
  windowMs?: number | null

  @Field(() => Int, { nullable: true, description: `${breakerDefaults.requestsMin} when left out.` })
  requestsMin?: number | null
}

@InputType()
export class WarmUpInput {
  @Field(() => Int, { description: '1000 to 86400000.' })
  intervalMs!: number
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

  @Field(() => Int, { nullable: true, description: `With WEIGHTED; ${weightDefault} when left out, 0: never first.` })
  weight?: number | null

  @Field(() => TierGraph, { nullable: true, description: 'With COMPLEXITY.' })
  tier?: Tier | null

  @Field(() => [String], {
    nullable: true,
    description: 'With TASK: the prompt classes that it is for, for example code; none: any.',
  })
  tasks?: string[] | null

  @Field(() => Int, { nullable: true, description: 'With PREFERENCE: 1 to 100.' })
  quality?: number | null

  @Field(() => String, { nullable: true })
  nodePool?: string | null

  @Field(() => String, { nullable: true })
  owner?: string | null

  @Field(() => TargetParametersInput, { nullable: true })
  parameters?: TargetParametersInput | null

  @Field(() => BreakerInput, { nullable: true, description: "When left out: the agent's defaults." })
  breaker?: BreakerInput | null

  @Field(() => WarmUpInput, { nullable: true, description: 'When left out: none.' })
  warmUp?: WarmUpInput | null

  @Field(() => Int, {
    nullable: true,
    description: `Most requests that run there at once, per request worker of an agent: 1 to ${batchSizeMax}; when left out: as many as come.`,
  })
  batchSize?: number | null

  @Field(() => Int, {
    nullable: true,
    description: `With batchSize: milliseconds that a request waits for a place before the next target is asked, 0 to ${batchWaitMsMax}; ${batchWaitMsDefault} when left out.`,
  })
  batchWaitMs?: number | null
}
