import { z } from 'zod'

import { ratio, type Target, type TargetInput, targetList } from './target.js'

export const strategies = [
  ...(['ordered', 'weighted', 'least_latency', 'cheapest', 'preference', 'complexity', 'task'] as const),
] as const
export type Strategy = (typeof strategies)[number]
export const stickyNames = ['user', 'session'] as const
export type StickyBy = (typeof stickyNames)[number]

/** Where requests go for which its condition is the first to hold. */
export interface Rule {
  readonly id: string
  /** Of no other rule of the route; by it a rule is recognised when the route is written anew, and keeps its id. */
  readonly name: string
  /** A part of CEL (`proto/policy/condition.ts`); null: always. */
  readonly condition: string | null
  readonly strategy: Strategy
  /** With `weighted`: who always draws the same; null: each request draws anew. */
  readonly stickyBy: StickyBy | null
  /** With `complexity`, 0 to 1: below the first the tier is low, below the second medium, otherwise high. */
  readonly complexityLow: number
  readonly complexityHigh: number
  /** In order. */
  readonly targets: readonly Target[]
}

export const rulesMax = 32
export const thresholdDefaults = Object.freeze({ complexityLow: 0.3, complexityHigh: 0.7 })

const ruleName = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$/,
    'expected 1 to 63 lower-case letters, digits, dashes and underscores: it is a label of metrics',
  )

const ruleInput = z
  .object({
    name: ruleName.nullish(),
    condition: z.string().nullish(),
    strategy: z.enum(strategies, `expected one of ${strategies.join(', ')}`).nullish(),
    stickyBy: z.enum(stickyNames, `expected one of ${stickyNames.join(', ')}`).nullish(),
    complexityLow: ratio(0).nullish(),
    complexityHigh: ratio(0).nullish(),
    targets: targetList,
  })
  .refine(({ strategy, stickyBy }) => stickyBy == null || strategy === 'weighted', {
    path: ['stickyBy'],
    message: 'only with the strategy weighted: the others always choose the same for the same request',
  })

export const ruleList = z
  .array(ruleInput)
  .min(1, 'expected at least one rule')
  .max(rulesMax, `expected at most ${rulesMax} rules`)

export type RuleInput = z.output<typeof ruleInput>

/** What a route is that was given targets and no rules: one rule that always applies. */
export function plainRule(targets: readonly TargetInput[]): RuleInput {
  return { targets: [...targets] }
}

/** True where nothing but targets was ever said. */
export function isPlain(rules: readonly Rule[]): boolean {
  const [only] = rules
  return rules.length === 1 && only !== undefined && only.condition === null && only.strategy === 'ordered'
}
