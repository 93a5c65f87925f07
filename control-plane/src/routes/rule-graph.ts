import { Field, Float, ID, InputType, ObjectType, registerEnumType } from 'type-graphql'
import { Access } from '../api/access-rule.js'
import { rulesMax, type StickyBy, type Strategy, thresholdDefaults } from './rule.js'
import { TargetGraph, TargetInput } from './target-graph.js'

export const StrategyGraph = {
  ORDERED: 'ordered',
  WEIGHTED: 'weighted',
  LEAST_LATENCY: 'least_latency',
  CHEAPEST: 'cheapest',
  PREFERENCE: 'preference',
  COMPLEXITY: 'complexity',
  TASK: 'task',
} as const satisfies Record<string, Strategy>
registerEnumType(StrategyGraph, {
  name: 'Strategy',
  description: `Which of a rule's targets is tried first. ORDERED: as given. WEIGHTED: by share. LEAST_LATENCY: the less loaded of two
that are drawn. CHEAPEST: by expected cost, if the prompt fits. PREFERENCE: as the environment prefers. COMPLEXITY: by tier.
TASK: by class of the prompt. The others stand behind it, and what is unhealthy behind them.`,
})

export const StickyByGraph = { USER: 'user', SESSION: 'session' } as const satisfies Record<string, StickyBy>
registerEnumType(StickyByGraph, { name: 'StickyBy' })

@Access('route.read')
@ObjectType('Rule', { description: 'Where requests go for which its condition is the first to hold.' })
export class RuleGraph {
  @Field(() => ID, { description: 'What traces and metrics name.' })
  id!: string

  @Field(() => String)
  name!: string

  @Field(() => String, { nullable: true, description: 'A part of CEL; null: always.' })
  condition!: string | null

  @Field(() => StrategyGraph)
  strategy!: Strategy

  @Field(() => StickyByGraph, { nullable: true, description: 'With WEIGHTED: who always draws the same.' })
  stickyBy!: StickyBy | null

  @Field(() => Float, { description: 'With COMPLEXITY: below it the tier is LOW.' })
  complexityLow!: number

  @Field(() => Float, { description: 'With COMPLEXITY: below it the tier is MEDIUM, otherwise HIGH.' })
  complexityHigh!: number

  @Field(() => [TargetGraph])
  targets!: readonly TargetGraph[]
}

@InputType()
export class RuleInput {
  @Field(() => String, {
    nullable: true,
    description:
      '1 to 63 lower-case letters, digits, dashes and underscores, once per route; rule-N when left out. A rule keeps its id by it.',
  })
  name?: string | null

  @Field(() => String, {
    nullable: true,
    description: 'For example: team == "team_01…" && complexity >= 0.7. Left out: always.',
  })
  condition?: string | null

  @Field(() => StrategyGraph, { nullable: true, description: 'ORDERED when left out.' })
  strategy?: Strategy | null

  @Field(() => StickyByGraph, { nullable: true, description: 'With WEIGHTED only.' })
  stickyBy?: StickyBy | null

  @Field(() => Float, { nullable: true, description: `${thresholdDefaults.complexityLow} when left out.` })
  complexityLow?: number | null

  @Field(() => Float, { nullable: true, description: `${thresholdDefaults.complexityHigh} when left out.` })
  complexityHigh?: number | null

  @Field(() => [TargetInput], { description: '1 to 16.' })
  targets!: TargetInput[]
}

export const rulesDescription = `In the order they are looked at, 1 to ${rulesMax}.`
