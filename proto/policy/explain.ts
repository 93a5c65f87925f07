import { unreachable } from '../std/assert.js'
import { formatUsd } from '../std/money.js'
import { isRefusal, type Refusal } from '../std/refusal.js'
import { type Choice, type ChoiceRefusalCode, type Decision, decide, testRule } from './choose-target.js'
import type { ExclusionReason } from './exclude-targets.js'
import { type HealthFacts, nothingKnown, type TargetHealth } from './health.js'
import { expectedCost, fits, loadOf, medianQuality, stickyName, taskRank, tierFor } from './order-targets.js'
import type { Readings } from './readings.js'
import { capabilityOf, type RequestFacts } from './request-facts.js'
import type { ApiKeyTable, RouteTable, RuleTable, TargetTable } from './tables.js'

/**
 * Why a request goes where it goes: which rules were looked at, what they read, what was left out, who comes first and by
 * which number. Computed from the decision itself, so it cannot tell of another one. Same input, same words.
 */
export interface Explanation {
  readonly routeName: string | null
  /** In the order they were looked at, the one that decided last; those behind it were not looked at. */
  readonly rules: readonly RuleStep[]
  /** The rule that decided. */
  readonly ruleId: string | null
  readonly strategy: RuleTable['strategy'] | null
  /** What the strategy went by, in words; empty where nothing was compared. */
  readonly strategyReason: string
  /** Hops in order. */
  readonly targets: readonly TargetStep[]
  readonly excluded: readonly ExcludedStep[]
  readonly refusal: Refusal<ChoiceRefusalCode> | null
  /** All of it, one sentence per line, for a person. */
  readonly sentences: readonly string[]
}

export interface RuleStep {
  readonly ruleId: string
  readonly name: string
  /** Of the route that it takes its defaults from. */
  readonly isDefault: boolean
  /** Null: always. */
  readonly condition: string | null
  /** `failed`: nobody could say whether it holds, so it does not. */
  readonly outcome: 'held' | 'not_held' | 'failed'
  /** Why it failed; empty otherwise. */
  readonly failure: string
  /** What the condition may read, as it was. */
  readonly seen: readonly SeenValue[]
}

export interface SeenValue {
  readonly name: string
  readonly value: string
}

export interface TargetStep {
  readonly target: TargetTable
  readonly health: TargetHealth
  /** What the strategy knows of it, in words; empty where it compares nothing. */
  readonly reason: string
}

export interface ExcludedStep {
  readonly target: TargetTable
  readonly reason: ExclusionReason
  readonly words: string
}

/** Explains what `chooseTarget` would answer. */
export function explainRequest(facts: RequestFacts, key: ApiKeyTable, health: HealthFacts = nothingKnown): Explanation {
  return explainDecision(decide(facts, key, health))
}

/** A choice in words, one sentence per line, for a person who asks why. */
export function explainChoice(choice: Choice | Refusal<ChoiceRefusalCode>): readonly string[] {
  if (isRefusal(choice)) return [choice.message]
  return explainDecision({ ...choice, refusal: null }).sentences
}

export function explainDecision(decision: Decision): Explanation {
  const { route, rule, readings, refusal } = decision
  const rules = rulesLookedAt(route, rule, readings)
  const strategyReason = rule === null || refusal !== null ? '' : reasonOfStrategy(rule, decision)
  const targets = decision.targets.map((target) => ({
    target,
    health: healthSeen(target, decision) ?? nothingKnown.of(target),
    reason: rule === null ? '' : reasonOfTarget(target, rule, decision),
  }))
  const excluded = decision.excluded.map(({ target, reason }) => ({
    ...{ target, reason, words: wordsOfExclusion(target, reason, readings) },
  }))
  const told = {
    ...{ routeName: route?.name ?? null, rules, ruleId: rule?.id ?? null, strategy: rule?.strategy ?? null },
    ...{ strategyReason, targets, excluded, refusal },
  }
  return { ...told, sentences: [...sentencesOf(told, route, rule)] }
}

function rulesLookedAt(route: RouteTable | null, decided: RuleTable | null, readings: Readings): readonly RuleStep[] {
  const steps: RuleStep[] = []
  for (const [index, rule] of (route?.rules ?? []).entries()) {
    const held = testRule(rule, readings)
    steps.push({
      ...{
        ruleId: rule.id,
        name: rule.name,
        isDefault: index >= (route?.ownRuleCount ?? 0),
        condition: rule.condition,
      },
      outcome: typeof held === 'string' ? 'failed' : held ? 'held' : 'not_held',
      failure: typeof held === 'string' ? held : '',
      seen: seenBy(rule, readings),
    })
    if (rule === decided) break
  }
  return steps
}

/** A header can be as long as a client likes. */
const valueCharactersMax = 100

function seenBy({ program }: RuleTable, readings: Readings): readonly SeenValue[] {
  if (program === null) return []
  const seen: SeenValue[] = []
  for (const name of program.reads) {
    if (name !== 'headers') seen.push({ name, value: shown(name === 'now' ? instantOf(readings.now) : readings[name]) })
  }
  for (const name of program.headers) {
    seen.push({ name: `headers["${name}"]`, value: shown(readings.header(name) ?? null) })
  }
  return seen
}

function instantOf(ms: number | null): string | null {
  return ms === null || !(Math.abs(ms) <= 8.64e15) ? null : new Date(ms).toISOString()
}

function shown(value: string | number | boolean | null): string {
  if (value === null) return 'not known'
  if (typeof value === 'number') return Number.isInteger(value) ? `${value}` : value.toFixed(3)
  if (typeof value === 'boolean') return `${value}`
  return value.length > valueCharactersMax ? `"${value.slice(0, valueCharactersMax)}…"` : `"${value}"`
}

function reasonOfStrategy(rule: RuleTable, { readings, targets }: Decision): string {
  switch (rule.strategy) {
    case 'ordered':
      return ''
    case 'weighted': {
      const sticky = stickyName(rule, readings)
      if (sticky !== null) return `the ${rule.stickyBy} ${shown(sticky)} always draws the same`
      return `drawn ${(readings.facts.draw ?? 0).toFixed(3)}`
    }
    case 'least_latency':
      return 'the less loaded of two that were drawn, then by load'
    case 'cheapest':
      return costBasis(readings)
    case 'preference': {
      const { preference } = readings
      if (preference === 'best') return 'the environment prefers best: by quality'
      if (preference === 'cheapest') return `the environment prefers cheapest: ${costBasis(readings)}`
      const median = medianQuality(targets)
      if (median === null) return `the environment prefers balanced, and no quality is known: ${costBasis(readings)}`
      return `the environment prefers balanced: the cheapest of quality ${median} or better, ${costBasis(readings)}`
    }
    case 'complexity': {
      const score = readings.complexity
      const { complexityLow, complexityHigh } = rule
      const bounds = `below ${complexityLow} low, below ${complexityHigh} medium, else high`
      return `complexity ${shown(score)} is ${tierFor(rule, score)} (${bounds})`
    }
    case 'task':
      return `the prompt is of class ${shown(readings.prompt_class)}`
    default:
      return unreachable(rule.strategy)
  }
}

function costBasis(readings: Readings): string {
  const tokensIn = readings.tokens_in
  return `expected cost of ${tokensIn ?? 'unknown'} tokens in`
}

function healthSeen(target: TargetTable, { seen }: Decision): TargetHealth | undefined {
  return seen?.find((candidate) => candidate.target === target)?.health
}

function reasonOfTarget(target: TargetTable, rule: RuleTable, decision: Decision): string {
  const { readings } = decision
  switch (rule.strategy) {
    case 'ordered':
      return ''
    case 'weighted':
      return `weight ${target.weight} of ${rule.targets.reduce((sum, { weight }) => sum + weight, 0)}`
    case 'least_latency': {
      const known = healthSeen(target, decision)
      if (known === undefined || known.latencyUs === null) return 'latency not known'
      return `${(known.latencyUs / 1000).toFixed(1)} ms × ${known.inFlightCount + 1} = ${(loadOf(known) / 1000).toFixed(1)} ms`
    }
    case 'cheapest':
      return costWords(target, readings)
    case 'preference':
      return `quality ${target.quality ?? 'not known'}, ${costWords(target, readings)}`
    case 'complexity':
      return target.tier === null ? 'no tier' : `tier ${target.tier}`
    case 'task': {
      const words = ['made for it', 'made for any', `made for ${[...target.tasks].join(', ')}`]
      return words[taskRank(target, readings.prompt_class)] ?? ''
    }
    default:
      return unreachable(rule.strategy)
  }
}

function costWords(target: TargetTable, readings: Readings): string {
  const cost = expectedCost(target, readings)
  const words = cost === null ? 'no price' : `expected ${formatUsd((cost + 500_000n) / 1_000_000n)} USD`
  return fits(target, readings) ? words : `${words}, has no room for it`
}

function wordsOfExclusion(target: TargetTable, reason: ExclusionReason, readings: Readings): string {
  switch (reason) {
    case 'capability_missing':
      return `its model does not serve ${capabilityOf(readings.facts) === 'embeddings' ? 'embeddings' : 'chat'}`
    case 'region_not_permitted':
      return "its provider's region is not permitted in this environment"
    case 'external_not_permitted':
      return `its provider ${target.provider.name} is external, and this key may not call external models`
    case 'context_too_long':
      return `some ${readings.tokens_in ?? 0} tokens are more than its ${target.model.contextTokensMax ?? 0}`
    default:
      return unreachable(reason)
  }
}

function* sentencesOf(
  told: Omit<Explanation, 'sentences'>,
  route: RouteTable | null,
  rule: RuleTable | null,
): Generator<string> {
  if (route !== null && rule !== null) yield `route ${route.name}: rule ${ruleName(rule)} applies`
  for (const step of told.rules) yield sentenceOfRule(step)
  if (told.strategyReason !== '') yield `strategy ${told.strategy}: ${told.strategyReason}`
  for (const { target, words } of told.excluded) yield `target ${target.id} is left out: ${words}`
  for (const [index, step] of told.targets.entries()) yield sentenceOfTarget(step, index)
  if (told.refusal !== null) yield told.refusal.message
  else if (route !== null) yield `all hops together: ${route.totalTimeoutMs} ms`
}

function ruleName({ name, id }: { readonly name: string; readonly id: string }): string {
  return name || id
}

function sentenceOfRule({ ruleId, name, isDefault, condition, outcome, failure, seen }: RuleStep): string {
  const rule = `rule ${ruleName({ name, id: ruleId })}${isDefault ? ' of the defaults' : ''}`
  if (condition === null) return `${rule} has no condition`
  const values = seen.map((one) => `${one.name} = ${one.value}`).join(', ')
  const read = values === '' ? '' : ` (${values})`
  if (outcome === 'failed') return `${rule}: ${condition} counts as false, ${failure}${read}`
  return `${rule}: ${condition} ${outcome === 'held' ? 'holds' : 'does not hold'}${read}`
}

function sentenceOfTarget({ target, health, reason }: TargetStep, index: number): string {
  const { connectMs, firstTokenMs, idleMs, totalMs } = target.deadlines
  const deadlines = `connect ${connectMs} ms, first token ${firstTokenMs} ms, idle ${idleMs} ms, total ${totalMs} ms`
  const words = [reason, healthWords(health)].filter((text) => text !== '').join(', ')
  const why = words === '' ? '' : `: ${words}`
  return `hop ${index + 1}: ${target.upstreamModel} at ${target.provider.name} (${deadlines})${why}`
}

function healthWords({ state, retryInMs }: TargetHealth): string {
  if (state === 'open') return `left alone for ${retryInMs} ms more`
  return state === 'half_open' ? 'may be tried by one request' : ''
}
