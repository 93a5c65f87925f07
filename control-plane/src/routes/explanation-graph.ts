import { Field, Float, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql'
import type { PromptClass } from '../../../proto/policy/classify-prompt.js'
import type { ExclusionReason } from '../../../proto/policy/exclude-targets.js'
import type { RuleStep } from '../../../proto/policy/explain.js'
import type { TargetHealth } from '../../../proto/policy/health.js'
import { Access } from '../api/access-rule.js'
import { BigIntString, DateTime } from '../api/scalars.js'
import type { Operation, RouteExplanation } from './explanation.js'
import type { Strategy } from './rule.js'
import { StrategyGraph } from './rule-graph.js'
import type { Tier } from './target.js'
import { TierGraph } from './target-graph.js'

export const OperationGraph = {
  CHAT_COMPLETIONS: 'chat_completions',
  COMPLETIONS: 'completions',
  RESPONSES: 'responses',
  MESSAGES: 'messages',
  COUNT_TOKENS: 'count_tokens',
  EMBEDDINGS: 'embeddings',
} as const satisfies Record<string, Operation>
registerEnumType(OperationGraph, { name: 'Operation', description: 'The door at which a request comes in.' })

export const PromptClassGraph = {
  SUMMARISATION: 'summarisation',
  EXTRACTION: 'extraction',
  TRANSLATION: 'translation',
  CODE: 'code',
  REASONING: 'reasoning',
  CHAT: 'chat',
  OTHER: 'other',
} as const satisfies Record<string, PromptClass>
registerEnumType(PromptClassGraph, { name: 'PromptClass' })

export const HealthStateGraph = {
  CLOSED: 'closed',
  OPEN: 'open',
  HALF_OPEN: 'half_open',
} as const satisfies Record<string, TargetHealth['state']>
registerEnumType(HealthStateGraph, {
  name: 'HealthState',
  description: 'CLOSED: well. OPEN: left alone. HALF_OPEN: one request may try it.',
})

export const RuleOutcomeGraph = {
  HELD: 'held',
  NOT_HELD: 'not_held',
  FAILED: 'failed',
} as const satisfies Record<string, RuleStep['outcome']>
registerEnumType(RuleOutcomeGraph, {
  name: 'RuleOutcome',
  description:
    'FAILED: nobody could say whether the condition holds, for example because a header is not there; so it does not.',
})

export const ExclusionReasonGraph = {
  CAPABILITY_MISSING: 'capability_missing',
  REGION_NOT_PERMITTED: 'region_not_permitted',
  EXTERNAL_NOT_PERMITTED: 'external_not_permitted',
  CONTEXT_TOO_LONG: 'context_too_long',
} as const satisfies Record<string, ExclusionReason>
registerEnumType(ExclusionReasonGraph, { name: 'ExclusionReason' })

@InputType()
export class HeaderInput {
  @Field(() => String)
  name!: string

  @Field(() => String)
  value!: string
}

@InputType({ description: 'What is to be supposed of a target; the others are well.' })
export class SupposedHealthInput {
  @Field(() => ID)
  targetId!: string

  @Field(() => HealthStateGraph, { nullable: true, description: 'CLOSED when left out.' })
  state?: TargetHealth['state'] | null

  @Field(() => Float, { nullable: true, description: 'To the first token; not known when left out.' })
  latencyMs?: number | null

  @Field(() => Int, { nullable: true })
  inFlightCount?: number | null
}

@InputType('ExplainRouteInput', {
  description: 'A request that nobody sends. What is left out is not known, as it may be for an agent.',
})
export class ExplainRouteInputGraph {
  @Field(() => ID)
  environmentId!: string

  @Field(() => String, { description: 'What a client would put into model.' })
  model!: string

  @Field(() => ID, { nullable: true, description: 'Whose team, routes and permissions count; needs api-key.read.' })
  apiKeyId?: string | null

  @Field(() => ID, { nullable: true, description: 'Without an API key: the team of one.' })
  teamId?: string | null

  @Field(() => Boolean, {
    nullable: true,
    description: 'Without an API key: of one that may not call external models.',
  })
  internalOnly?: boolean | null

  @Field(() => OperationGraph, { nullable: true, description: 'CHAT_COMPLETIONS when left out.' })
  operation?: Operation | null

  @Field(() => String, { nullable: true })
  userId?: string | null

  @Field(() => String, { nullable: true })
  sessionId?: string | null

  @Field(() => [HeaderInput], { nullable: true })
  headers?: HeaderInput[] | null

  @Field(() => String, {
    nullable: true,
    description: "The user's newest turns: complexity, class and tokens are estimated from it.",
  })
  prompt?: string | null

  @Field(() => Int, { nullable: true, description: '1 when left out.' })
  turnCount?: number | null

  @Field(() => Int, { nullable: true, description: '0 when left out.' })
  toolCount?: number | null

  @Field(() => Float, { nullable: true, description: 'Instead of the estimate: 0 to 1.' })
  complexity?: number | null

  @Field(() => PromptClassGraph, { nullable: true, description: 'Instead of the estimate.' })
  promptClass?: PromptClass | null

  @Field(() => Int, { nullable: true, description: 'Instead of the estimate.' })
  tokensIn?: number | null

  @Field(() => Int, { nullable: true, description: 'What the client asks for as max_tokens.' })
  outputTokensMax?: number | null

  @Field(() => Boolean, { nullable: true })
  stream?: boolean | null

  @Field(() => String, { nullable: true, description: 'Of the cluster whose agent would decide.' })
  region?: string | null

  @Field(() => DateTime, { nullable: true, description: 'Now when left out.' })
  at?: Date | null

  @Field(() => Float, {
    nullable: true,
    description: 'What is drawn for WEIGHTED and LEAST_LATENCY: from 0, below 1. 0 when left out.',
  })
  draw?: number | null

  @Field(() => [SupposedHealthInput], { nullable: true })
  health?: SupposedHealthInput[] | null
}

@Access('route.read')
@ObjectType('SeenValue', { description: 'What a condition read.' })
export class SeenValueGraph {
  @Field(() => String)
  name!: string

  @Field(() => String, { description: 'Texts in quotation marks; not known where nobody knew.' })
  value!: string
}

@Access('route.read')
@ObjectType('RuleStep', { description: 'A rule that was looked at.' })
export class RuleStepGraph {
  @Field(() => ID)
  ruleId!: string

  @Field(() => String)
  name!: string

  @Field(() => Boolean, { description: 'Of the route that this one takes its defaults from.' })
  isDefault!: boolean

  @Field(() => String, { description: 'Empty: always.' })
  condition!: string

  @Field(() => RuleOutcomeGraph)
  outcome!: RuleStep['outcome']

  @Field(() => String, { description: 'Why nobody could say; empty otherwise.' })
  failure!: string

  @Field(() => [SeenValueGraph])
  seen!: readonly SeenValueGraph[]
}

@Access('route.read')
@ObjectType('TargetStep', { description: 'A hop, in the order they would be tried.' })
export class TargetStepGraph {
  @Field(() => ID)
  targetId!: string

  @Field(() => ID)
  providerId!: string

  @Field(() => String)
  providerName!: string

  @Field(() => ID)
  modelId!: string

  @Field(() => String)
  upstreamModel!: string

  @Field(() => TierGraph, { nullable: true, description: 'How dear and able it is, for COMPLEXITY.' })
  tier!: Tier | null

  @Field(() => String, { description: 'What the strategy goes by, in words; empty for ORDERED.' })
  reason!: string

  @Field(() => HealthStateGraph)
  state!: TargetHealth['state']
}

@Access('route.read')
@ObjectType('ExcludedTarget', { description: 'A target that may not serve the request.' })
export class ExcludedTargetGraph {
  @Field(() => ID)
  targetId!: string

  @Field(() => ExclusionReasonGraph)
  reason!: ExclusionReason

  @Field(() => String)
  words!: string
}

@Access('route.read')
@ObjectType('RouteExplanation', {
  description: 'Where a request would go, and why. Computed by the function that agents decide with.',
})
export class RouteExplanationGraph {
  @Field(() => BigIntString, {
    description: 'Of the intent it was computed from; agents that show less decide by older intent.',
  })
  intentRevision!: bigint

  @Field(() => String, { description: 'chosen, or the code that a client would be refused with.' })
  outcome!: string

  @Field(() => String, { nullable: true })
  routeName!: string | null

  @Field(() => [RuleStepGraph], {
    description: 'In the order they were looked at; those behind the one that decided were not.',
  })
  rules!: readonly RuleStepGraph[]

  @Field(() => ID, { nullable: true, description: 'The rule that decided.' })
  ruleId!: string | null

  @Field(() => String, { nullable: true })
  ruleName!: string | null

  @Field(() => StrategyGraph, { nullable: true })
  strategy!: Strategy | null

  @Field(() => String, { description: 'What the strategy went by, in words.' })
  strategyReason!: string

  @Field(() => [TargetStepGraph])
  targets!: readonly TargetStepGraph[]

  @Field(() => [ExcludedTargetGraph])
  excluded!: readonly ExcludedTargetGraph[]

  @Field(() => Float, { nullable: true, description: 'As it was measured or supposed.' })
  complexity!: number | null

  @Field(() => PromptClassGraph, { nullable: true })
  promptClass!: PromptClass | null

  @Field(() => Int, { nullable: true })
  tokensIn!: number | null

  @Field(() => [String], { description: 'All of it, for people.' })
  sentences!: readonly string[]
}

export function routeExplanationGraph(found: RouteExplanation): RouteExplanationGraph {
  const { explanation, intentRevision, complexity, promptClass, tokensIn } = found
  const { routeName, ruleId, strategy, strategyReason, refusal, sentences } = explanation
  return {
    ...{ intentRevision, outcome: refusal?.code ?? 'chosen', routeName, ruleId, strategy, strategyReason, sentences },
    ruleName: explanation.rules.find((rule) => rule.ruleId === ruleId)?.name ?? null,
    rules: explanation.rules.map((rule) => ({ ...rule, condition: rule.condition ?? '' })),
    targets: explanation.targets.map(({ target, health, reason }) => ({
      ...{ targetId: target.id, providerId: target.provider.id, providerName: target.provider.name },
      ...{
        modelId: target.model.id,
        upstreamModel: target.upstreamModel,
        tier: target.tier,
        reason,
        state: health.state,
      },
    })),
    excluded: explanation.excluded.map(({ target, reason, words }) => ({ targetId: target.id, reason, words })),
    ...{ complexity, promptClass, tokensIn },
  }
}
