import { Field, Float, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { connectionType } from '../api/connection.js'
import { BigIntString, DateTime } from '../api/scalars.js'
import {
  apologyCharactersMax,
  classifierTimeoutMsDefault,
  classifierTimeoutMsMax,
  classifierTimeoutMsMin,
  hedgingDefaults,
  safeAnswerCharactersMax,
  type UnsupportedSettings,
} from './route.js'
import { RuleGraph, RuleInput, rulesDescription } from './rule-graph.js'
import { TargetInput } from './target-graph.js'

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
@ObjectType('LastResort', { description: 'What a client gets when every target failed.' })
export class LastResortGraph {
  @Field(() => Int, {
    description: 'An answer to the same request that the cache keeps may be given up to this age; 0: none.',
  })
  cachedAgeMaxSeconds!: number

  @Field(() => String, { description: 'Said before it; empty: nothing.' })
  apology!: string

  @Field(() => String, { description: 'Given when there is no kept one; empty: the error.' })
  safeAnswer!: string
}

@Access('route.read')
@ObjectType('Hedging', {
  description: 'A second target is asked when the first has not said a word for longer than its 95th percentile.',
})
export class HedgingGraph {
  @Field(() => Float, { description: 'Share of requests, 0 to 1, that may be asked twice.' })
  budgetRatio!: number

  @Field(() => Int, { description: 'Never sooner than this.' })
  delayMinMs!: number
}

@Access('route.read')
@ObjectType('Classifier', {
  description: 'Who is asked how hard a prompt is and what it asks for. Agents estimate it while no answer comes.',
})
export class ClassifierGraph {
  @Field(() => ID, { description: 'Of kind CLASSIFIER.' })
  providerId!: string

  @Field(() => Int, { description: 'Longest that a request waits for it.' })
  timeoutMs!: number
}

@Access('route.read')
@ObjectType('Route', {
  description:
    'What a client puts into model: ordered rules, of which the first whose condition holds names the targets.',
})
export class RouteGraph {
  @Field(() => ID)
  id!: string

  @Field(() => ID)
  tenantId!: string

  @Field(() => ID)
  environmentId!: string

  @Field(() => String)
  name!: string

  @Field(() => [RuleGraph])
  rules!: readonly RuleGraph[]

  @Field(() => ID, {
    nullable: true,
    description: 'A route of the same environment whose rules are looked at when none of its own applies.',
  })
  defaultRouteId!: string | null

  @Field(() => Int, { description: 'Over all hops.' })
  totalTimeoutMs!: number

  @Field(() => UnsupportedSettingsGraph)
  unsupportedSettings!: UnsupportedSettings

  @Field(() => LastResortGraph, { nullable: true, description: 'Null: the error.' })
  lastResort!: LastResortGraph | null

  @Field(() => HedgingGraph, { nullable: true, description: 'Null: never.' })
  hedging!: HedgingGraph | null

  @Field(() => ClassifierGraph, { nullable: true, description: 'Null: nobody, agents estimate.' })
  classifier!: ClassifierGraph | null

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

  @Field(() => ID, { nullable: true, description: 'With a target at this provider, or with it as classifier.' })
  providerId?: string | null

  @Field(() => ID, { nullable: true, description: 'With a target that uses this model.' })
  modelId?: string | null
}

@InputType()
export class LastResortInput {
  @Field(() => Int, { nullable: true, description: '0 when left out.' })
  cachedAgeMaxSeconds?: number | null

  @Field(() => String, { nullable: true, description: `At most ${apologyCharactersMax} characters.` })
  apology?: string | null

  @Field(() => String, { nullable: true, description: `At most ${safeAnswerCharactersMax} characters.` })
  safeAnswer?: string | null
}

@InputType()
export class HedgingInput {
  @Field(() => Float, { nullable: true, description: `${hedgingDefaults.budgetRatio} when left out.` })
  budgetRatio?: number | null

  @Field(() => Int, { nullable: true, description: `${hedgingDefaults.delayMinMs} when left out.` })
  delayMinMs?: number | null
}

@InputType()
export class ClassifierInput {
  @Field(() => ID, { description: 'Of kind CLASSIFIER, in a region that the environment permits.' })
  providerId!: string

  @Field(() => Int, {
    nullable: true,
    description: `${classifierTimeoutMsMin} to ${classifierTimeoutMsMax}, less than the route's total; ${classifierTimeoutMsDefault} when left out.`,
  })
  timeoutMs?: number | null
}

@InputType()
export class CreateRouteInput {
  @Field(() => ID)
  environmentId!: string

  @Field(() => String, { description: '1 to 128 letters, digits and . _ : / @ + -; never changes.' })
  name!: string

  @Field(() => [TargetInput], {
    nullable: true,
    description: 'In the order they are tried, 1 to 16: one rule that always applies. Either this or rules.',
  })
  targets?: TargetInput[] | null

  @Field(() => [RuleInput], { nullable: true, description: rulesDescription })
  rules?: RuleInput[] | null

  @Field(() => ID, { nullable: true, description: 'A route of the same environment that has none itself.' })
  defaultRouteId?: string | null

  @Field(() => Int, {
    nullable: true,
    description:
      'When left out, the sum of the totals and waits of the targets of the longest rule, at most ten minutes.',
  })
  totalTimeoutMs?: number | null

  @Field(() => UnsupportedSettingsGraph, { nullable: true, description: 'REFUSE when left out.' })
  unsupportedSettings?: UnsupportedSettings | null

  @Field(() => LastResortInput, { nullable: true, description: 'When left out: the error.' })
  lastResort?: LastResortInput | null

  @Field(() => HedgingInput, { nullable: true, description: 'When left out: never.' })
  hedging?: HedgingInput | null

  @Field(() => ClassifierInput, { nullable: true, description: 'When left out: nobody, agents estimate.' })
  classifier?: ClassifierInput | null
}

@InputType({
  description:
    'What is left out stays as it is; rules (or targets) replaces the whole list; null takes away defaultRouteId, lastResort, hedging and classifier.',
})
export class UpdateRouteInput {
  @Field(() => ID)
  routeId!: string

  @Field(() => Int, { nullable: true, description: 'Refuse with CONFLICT unless the route still has this version.' })
  rowVersion?: number | null

  @Field(() => [TargetInput], { nullable: true, description: 'Of a route whose only rule always applies.' })
  targets?: TargetInput[] | null

  @Field(() => [RuleInput], { nullable: true })
  rules?: RuleInput[] | null

  @Field(() => ID, { nullable: true })
  defaultRouteId?: string | null

  @Field(() => Int, { nullable: true })
  totalTimeoutMs?: number | null

  @Field(() => UnsupportedSettingsGraph, { nullable: true })
  unsupportedSettings?: UnsupportedSettings | null

  @Field(() => LastResortInput, { nullable: true })
  lastResort?: LastResortInput | null

  @Field(() => HedgingInput, { nullable: true })
  hedging?: HedgingInput | null

  @Field(() => ClassifierInput, { nullable: true })
  classifier?: ClassifierInput | null
}

@Access('route.read')
@ObjectType()
export class RoutePayload {
  @Field(() => RouteGraph)
  route!: RouteGraph

  @Field(() => BigIntString, { description: 'Agents follow the change where they show at least this revision.' })
  intentRevision!: bigint
}
