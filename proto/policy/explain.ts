import { unreachable } from '../std/assert.js'
import { formatUsd } from '../std/money.js'
import { isRefusal, type Refusal } from '../std/refusal.js'
import { type Choice, type ChoiceRefusalCode, type Decision, decide, testRule } from './choose-target.js'
import { type Classified, type ClassifiedMeasure, measuresWanted } from './classifier.js'
import type { ExclusionReason } from './exclude-targets.js'
import { type HealthFacts, nothingKnown, type TargetHealth } from './health.js'
import {
  expectedCost,
  fits,
  isLeftAlone,
  loadOf,
  medianQuality,
  stickyName,
  taskRank,
  tierFor,
} from './order-targets.js'
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

/**
 * A choice in words, one sentence per line, for a person who asks why. Agents ask for each request whose trace is kept, so
 * it is written straight from the choice: none of what `explainDecision` gives besides is made.
 */
export function explainChoice(choice: Choice | Refusal<ChoiceRefusalCode>): readonly string[] {
  return isRefusal(choice) ? [choice.message] : sentencesOf(choice, null)
}

export function explainDecision(decision: Decision): Explanation {
  const { route, rule, readings, refusal } = decision
  return {
    routeName: route?.name ?? null,
    rules: rulesLookedAt(route, rule, readings),
    ruleId: rule?.id ?? null,
    strategy: rule?.strategy ?? null,
    strategyReason: rule === null || refusal !== null ? '' : reasonOfStrategy(rule, decision),
    targets: decision.targets.map((target) => {
      const seen = healthSeen(target, decision)
      const reason = rule === null ? '' : reasonOfTarget(target, rule, decision, seen)
      return { target, health: seen ?? nothingKnown.of(target), reason }
    }),
    excluded: decision.excluded.map(({ target, reason }) => ({
      target,
      reason,
      words: wordsOfExclusion(target, reason, readings),
    })),
    refusal,
    sentences: sentencesOf(decision, refusal),
  }
}

/** What a choice and a refused decision have in common. */
type Decided = Omit<Decision, 'refusal' | 'ruleId'>

function sentencesOf(decided: Decided, refusal: Refusal<ChoiceRefusalCode> | null): readonly string[] {
  decided.readings.restartWork()
  const { route, rule, readings, targets } = decided
  const sentences: string[] = []
  if (route !== null) {
    if (rule !== null) sentences.push(`route ${route.name}: rule ${rule.name || rule.id} applies`)
    let index = 0
    for (const looked of route.rules) {
      sentences.push(sentenceOfRule(looked, index >= route.ownRuleCount, readings))
      if (looked === rule) break
      index += 1
    }
  }
  if (route !== null) {
    const sentence = sentenceOfClassifier(route, readings)
    if (sentence !== null) sentences.push(sentence)
  }
  if (rule !== null && refusal === null) {
    const reason = reasonOfStrategy(rule, decided)
    if (reason !== '') sentences.push(`strategy ${rule.strategy}: ${reason}`)
  }
  for (const { target, reason } of decided.excluded) {
    sentences.push(`target ${target.id} is left out: ${wordsOfExclusion(target, reason, readings)}`)
  }
  let hop = 0
  for (const target of targets) {
    hop += 1
    const seen = healthSeen(target, decided)
    const reason = rule === null ? '' : reasonOfTarget(target, rule, decided, seen)
    sentences.push(sentenceOfTarget(target, seen ?? nothingKnown.of(target), reason, hop))
  }
  if (refusal !== null) sentences.push(refusal.message)
  else if (route !== null) sentences.push(`all hops together: ${route.totalTimeoutMs} ms`)
  return sentences
}

function rulesLookedAt(route: RouteTable | null, decided: RuleTable | null, readings: Readings): readonly RuleStep[] {
  readings.restartWork()
  const steps: RuleStep[] = []
  if (route === null) return steps
  for (const rule of route.rules) {
    const held = testRule(rule, readings)
    steps.push({
      ruleId: rule.id,
      name: rule.name,
      isDefault: steps.length >= route.ownRuleCount,
      condition: rule.condition,
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
  const seen: SeenValue[] = []
  if (program === null) return seen
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

function reasonOfStrategy(rule: RuleTable, decided: Decided): string {
  const { readings } = decided
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
      return `the environment prefers balanced${balanceWords(rule, decided)}${costBasis(readings)}`
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

/** Those that are left alone have a median of their own. */
function balanceWords(rule: RuleTable, decided: Decided): string {
  const usable = comparedIn(rule, decided, false)
  const alone = comparedIn(rule, decided, true)
  const median = medianQuality(usable.length === 0 ? alone : usable)
  const behind =
    usable.length === 0 || alone.length < 2 ? '' : ` (of those left alone ${medianQuality(alone) ?? 'any'})`
  return median === null
    ? `, and no quality is known${behind}: `
    : `: the cheapest of quality ${median} or better${behind}, `
}

/** The targets that were held against each other: those of `rule` that may serve, left alone or not. */
function comparedIn(rule: RuleTable, decided: Decided, leftAlone: boolean): readonly TargetTable[] {
  if (decided.seen === null && leftAlone) return nobody
  const compared: TargetTable[] = []
  for (const target of rule.targets) {
    if (isExcluded(target, decided)) continue
    const health = healthSeen(target, decided)
    if ((health !== undefined && isLeftAlone({ health })) === leftAlone) compared.push(target)
  }
  return compared
}

const nobody: readonly TargetTable[] = Object.freeze([])

function isExcluded(target: TargetTable, { excluded }: Decided): boolean {
  for (const exclusion of excluded) if (exclusion.target === target) return true
  return false
}

function weightWords(target: TargetTable, rule: RuleTable, decided: Decided, health: TargetHealth | undefined): string {
  let sum = 0
  for (const { weight } of comparedIn(rule, decided, health !== undefined && isLeftAlone({ health }))) sum += weight
  return `weight ${target.weight} of ${sum}`
}

function costBasis(readings: Readings): string {
  const tokensIn = readings.tokens_in
  return `expected cost of ${tokensIn ?? 'unknown'} tokens in`
}

/** Left out: nobody asked. */
function healthSeen(target: TargetTable, { seen }: Decided): TargetHealth | undefined {
  if (seen === null) return undefined
  for (const candidate of seen) if (candidate.target === target) return candidate.health
  return undefined
}

function reasonOfTarget(
  target: TargetTable,
  rule: RuleTable,
  decided: Decided,
  known: TargetHealth | undefined,
): string {
  const { readings } = decided
  switch (rule.strategy) {
    case 'ordered':
      return ''
    case 'weighted':
      return weightWords(target, rule, decided, known)
    case 'least_latency':
      if (known === undefined || known.latencyUs === null) return 'latency not known'
      return `${(known.latencyUs / 1000).toFixed(1)} ms × ${known.inFlightCount + 1} = ${(loadOf(known) / 1000).toFixed(1)} ms`
    case 'cheapest':
      return costWords(target, readings)
    case 'preference':
      return `quality ${target.quality ?? 'not known'}, ${costWords(target, readings)}`
    case 'complexity':
      return target.tier === null ? 'no tier' : `tier ${target.tier}`
    case 'task': {
      const rank = taskRank(target, readings.prompt_class)
      return rank === 0 ? 'made for it' : rank === 1 ? 'made for any' : `made for ${[...target.tasks].join(', ')}`
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

function sentenceOfRule(rule: RuleTable, isDefault: boolean, readings: Readings): string {
  const { condition } = rule
  const called = `rule ${rule.name || rule.id}${isDefault ? ' of the defaults' : ''}`
  if (condition === null) return `${called} has no condition`
  const held = testRule(rule, readings)
  let read = ''
  for (const { name, value } of seenBy(rule, readings)) read += `${read === '' ? ' (' : ', '}${name} = ${value}`
  if (read !== '') read += ')'
  if (typeof held === 'string') return `${called}: ${condition} counts as false, ${held}${read}`
  return `${called}: ${condition} ${held ? 'holds' : 'does not hold'}${read}`
}

/** Who measured what rules read of the prompt; null where nobody but the built-in estimates, or whoever said it, could. */
function sentenceOfClassifier(route: RouteTable, readings: Readings): string | null {
  const { classifier } = route
  const { prompt } = readings.facts
  if (classifier === null || prompt === undefined) return null
  const wanted = measuresWanted(route, (measure) => prompt.isSaid?.(measure) === true)
  if (wanted.length === 0) return null
  const { provider, timeoutMs } = classifier
  const called = `classifier ${provider.name}`
  const { classified } = prompt
  const reason = readings.reasonAgainst(provider)
  if (reason !== null) {
    const why = reason === 'external_not_permitted' ? 'it is external' : 'its region is not permitted'
    return `${called} may not be asked, ${why}: ${estimated(wanted)}`
  }
  if (classified === undefined) {
    return `${called} would be asked for ${wanted.join(' and ')}, for at most ${timeoutMs} ms: until then ${estimated(wanted)}`
  }
  const measured = wanted.filter((measure) => isMeasured(classified, measure))
  if (measured.length === 0) return `${called} measured nothing (${classified.outcome}): ${estimated(wanted)}`
  const label = classified.label === '' ? '' : ` (${classified.label})`
  const left = wanted.filter((measure) => !measured.includes(measure))
  return `${called}${label} measured ${measured.join(' and ')}${left.length === 0 ? '' : `: ${estimated(left)}`}`
}

function isMeasured({ complexity, promptClass }: Classified, measure: ClassifiedMeasure): boolean {
  return (measure === 'complexity' ? complexity : promptClass) !== null
}

function estimated(measures: readonly ClassifiedMeasure[]): string {
  return `the built-in estimate of ${measures.join(' and ')} counts`
}

function sentenceOfTarget(target: TargetTable, health: TargetHealth, reason: string, hop: number): string {
  const { connectMs, firstTokenMs, idleMs, totalMs } = target.deadlines
  const deadlines = `connect ${connectMs} ms, first token ${firstTokenMs} ms, idle ${idleMs} ms, total ${totalMs} ms`
  const state = healthWords(health)
  const why = reason === '' && state === '' ? '' : `: ${reason}${reason === '' || state === '' ? '' : ', '}${state}`
  return `hop ${hop}: ${target.upstreamModel} at ${target.provider.name} (${deadlines})${why}`
}

function healthWords({ state, retryInMs }: TargetHealth): string {
  if (state === 'open') return `left alone for ${retryInMs} ms more`
  return state === 'half_open' ? 'may be tried by one request' : ''
}
