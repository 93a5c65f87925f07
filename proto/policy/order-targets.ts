import { unreachable } from '../std/assert.js'
import type { NanoUsd } from '../std/money.js'
import type { TargetHealth } from './health.js'
import type { Readings } from './readings.js'
import { stableDraw } from './stable-draw.js'
import type { RuleTable, TargetTable, Tier } from './tables.js'

/**
 * The strategies: which of a rule's targets is asked first, and in which order the others stand behind it. Pure; every
 * target of `candidates` comes back exactly once. What each strategy goes by is a function of its own here, so that an
 * explanation shows the very numbers that were compared.
 */
export interface Candidate {
  readonly target: TargetTable
  readonly health: TargetHealth
}

export interface OrderContext {
  readonly rule: RuleTable
  readonly readings: Readings
}

/** `candidates` in the order to try them, those that are left alone (`open`) behind the others. */
export function orderTargets(candidates: readonly Candidate[], context: OrderContext): readonly Candidate[] {
  if (!candidates.some(isLeftAlone)) return orderByStrategy(candidates, context)
  const usable = candidates.filter((candidate) => !isLeftAlone(candidate))
  return [...orderByStrategy(usable, context), ...orderByStrategy(candidates.filter(isLeftAlone), context)]
}

/** Those that are left alone are ordered among themselves, behind the others. */
export function isLeftAlone({ health }: Pick<Candidate, 'health'>): boolean {
  return health.state === 'open'
}

function orderByStrategy(candidates: readonly Candidate[], context: OrderContext): readonly Candidate[] {
  const { rule, readings } = context
  if (candidates.length < 2) return candidates
  switch (rule.strategy) {
    case 'ordered':
      return candidates
    case 'weighted':
      return orderByWeight(candidates, context)
    case 'least_latency':
      return orderByLatency(candidates, readings.facts.draw ?? 0)
    case 'cheapest':
      return orderByCost(candidates, readings)
    case 'preference':
      if (readings.preference === 'cheapest') return orderByCost(candidates, readings)
      return readings.preference === 'best' ? orderByQuality(candidates) : orderByBalance(candidates, readings)
    case 'complexity': {
      const ranks = tierRanks[tierFor(rule, readings.complexity)]
      return sortedBy(candidates, ({ target }) => (target.tier === null ? 3 : ranks[target.tier]))
    }
    case 'task':
      return sortedBy(candidates, ({ target }) => taskRank(target, readings.prompt_class))
    default:
      return unreachable(rule.strategy)
  }
}

// -------------------------------------------------------------------------------------------------------------- weighted

/** Who always draws the same; null: each request draws anew. */
export function stickyName({ stickyBy }: RuleTable, readings: Readings): string | null {
  if (stickyBy === null) return null
  return (stickyBy === 'user' ? readings.user : readings.session) || null
}

/**
 * One target first by its share of the weights, the others in their given order behind it; a target of weight 0 is never
 * first. Somebody sticky meets the target whose own draw, spread by its weight, is highest (weighted rendezvous): shares are
 * exact, and a weight that grows or a target that goes moves nobody between the others, so a canary's users stay its users.
 */
function orderByWeight(candidates: readonly Candidate[], { rule, readings }: OrderContext): readonly Candidate[] {
  const sticky = stickyName(rule, readings)
  const first =
    sticky === null
      ? drawByWeight(candidates, readings.facts.draw ?? 0)
      : meetByWeight(candidates, (target) => stableDraw(rule.id, target.id, sticky))
  return broughtToFront(candidates, first)
}

function drawByWeight(candidates: readonly Candidate[], draw: number): number {
  const sum = candidates.reduce((total, { target }) => total + target.weight, 0)
  let left = draw * sum
  let last = 0
  for (const [index, { target }] of candidates.entries()) {
    if (target.weight === 0) continue
    last = index
    if (left < target.weight) return index
    left -= target.weight
  }
  return last
}

function meetByWeight(candidates: readonly Candidate[], drawOf: (target: TargetTable) => number): number {
  let best = 0
  let highest = Number.NEGATIVE_INFINITY
  for (const [index, { target }] of candidates.entries()) {
    if (target.weight === 0) continue
    const height = Math.log(drawOf(target)) / target.weight
    if (height <= highest) continue
    best = index
    highest = height
  }
  return best
}

// --------------------------------------------------------------------------------------------------------- least latency

/** What a request there may wait for, in microseconds: latency × requests that would then run. 0 where it is not known. */
export function loadOf({ latencyUs, inFlightCount }: TargetHealth): number {
  return latencyUs === null ? 0 : latencyUs * (inFlightCount + 1)
}

/**
 * Power of two choices: two are drawn and the less loaded of them is first, so that agents which know the same do not all
 * run to one target; the others follow, least loaded first. A target of which nothing is known counts as the best: it is
 * tried, and then something is known. Equals go to the one that was drawn first.
 */
function orderByLatency(candidates: readonly Candidate[], draw: number): readonly Candidate[] {
  const { length } = candidates
  const place = Math.min(length - 1, Math.floor(draw * length))
  const rest = draw * length - place
  const other = (place + 1 + Math.min(length - 2, Math.floor(rest * (length - 1)))) % length
  const [one, two] = [candidates[place], candidates[other]]
  const first = one && two && compareLoads(two, one) < 0 ? other : place
  const chosen = candidates[first]
  const behind = candidates.filter((candidate) => candidate !== chosen).sort(compareLoads)
  return chosen === undefined ? behind : [chosen, ...behind]
}

function compareLoads(a: Candidate, b: Candidate): number {
  return loadOf(a.health) - loadOf(b.health) || a.health.inFlightCount - b.health.inFlightCount
}

// -------------------------------------------------------------------------------------------------------------- cheapest

/** Tokens that an answer is taken to have where the client asks for no fewer. */
export const expectedOutputTokens = 512
/** Tokens that a prompt is taken to have when nothing is known of it. */
export const expectedInputTokens = 1_000

/**
 * What a request there is expected to cost, in nano-dollars × 10⁶ (no rounding); null without a price. Never throws: the
 * counts are estimates and what clients write, so any number may come, also half a token or none at all.
 */
export function expectedCost({ model: { price } }: TargetTable, readings: Readings): NanoUsd | null {
  if (price === null) return null
  const input = wholeTokens(readings.tokens_in, expectedInputTokens, Number.MAX_SAFE_INTEGER)
  const output = wholeTokens(readings.facts.outputTokensMax, expectedOutputTokens, expectedOutputTokens)
  return BigInt(input) * price.inputNanoUsdPerMillion + BigInt(output) * price.outputNanoUsdPerMillion
}

/** `tokens` from 0 to `most`, the next whole number; `otherwise` where nobody knows. */
function wholeTokens(tokens: number | null | undefined, otherwise: number, most: number): number {
  if (tokens === null || tokens === undefined || Number.isNaN(tokens)) return otherwise
  return tokens <= 0 ? 0 : tokens >= most ? most : Math.ceil(tokens)
}

/** Whether the prompt, and the answer that the client asks for, have room there; what is not known has. */
export function fits({ model }: TargetTable, readings: Readings): boolean {
  const asked = readings.facts.outputTokensMax ?? 0
  if (model.outputTokensMax !== null && asked > model.outputTokensMax) return false
  return model.contextTokensMax === null || (readings.tokens_in ?? 0) + asked <= model.contextTokensMax
}

/** What fits before what does not, priced before unpriced, then by expected cost. */
function orderByCost(candidates: readonly Candidate[], readings: Readings): readonly Candidate[] {
  const priced = candidates.map((candidate) => {
    const cost = expectedCost(candidate.target, readings)
    return { candidate, cost, rank: (fits(candidate.target, readings) ? 0 : 2) + (cost === null ? 1 : 0) }
  })
  priced.sort((a, b) => a.rank - b.rank || compareCosts(a.cost, b.cost))
  return priced.map(({ candidate }) => candidate)
}

function compareCosts(a: NanoUsd | null, b: NanoUsd | null): number {
  if (a === null || b === null || a === b) return 0
  return a < b ? -1 : 1
}

// ------------------------------------------------------------------------------------------------------------ preference

/** Highest quality first, unknown last, equals in their given order. */
function orderByQuality(candidates: readonly Candidate[]): readonly Candidate[] {
  return sortedBy(candidates, ({ target }) => -(target.quality ?? -1))
}

/** The quality that `balanced` asks for: the median of those known; null: none is. */
export function medianQuality(targets: readonly TargetTable[]): number | null {
  const known: number[] = []
  for (const { quality } of targets) if (quality !== null) known.push(quality)
  known.sort((a, b) => a - b)
  const [low, high] = [known[(known.length - 1) >> 1], known[known.length >> 1]]
  return low === undefined || high === undefined ? null : (low + high) / 2
}

/** The cheapest of those of median quality or better, then the others by quality. Without any quality: the cheapest. */
function orderByBalance(candidates: readonly Candidate[], readings: Readings): readonly Candidate[] {
  const median = medianQuality(candidates.map(({ target }) => target))
  if (median === null) return orderByCost(candidates, readings)
  const isGood = ({ target }: Candidate) => target.quality !== null && target.quality >= median
  return [
    ...orderByCost(candidates.filter(isGood), readings),
    ...orderByQuality(candidates.filter((candidate) => !isGood(candidate))),
  ]
}

// ------------------------------------------------------------------------------------------------------ complexity, task

/** `score` below the rule's first threshold: low, below the second: medium, otherwise, and when it is not known: high. */
export function tierFor({ complexityLow, complexityHigh }: RuleTable, score: number | null): Tier {
  if (score === null) return 'high'
  if (score < complexityLow) return 'low'
  return score < complexityHigh ? 'medium' : 'high'
}

/** A tier that is missing, or fails, is stood in for by the next higher one, then by lower ones, the nearest first. */
const tierRanks: Readonly<Record<Tier, Readonly<Record<Tier, number>>>> = {
  low: { low: 0, medium: 1, high: 2 },
  medium: { medium: 0, high: 1, low: 2 },
  high: { high: 0, medium: 1, low: 2 },
}

/** Made for it, made for anything, made for something else. */
export function taskRank({ tasks }: TargetTable, promptClass: string | null): 0 | 1 | 2 {
  if (tasks.size === 0) return 1
  return promptClass !== null && tasks.has(promptClass) ? 0 : 2
}

// ---------------------------------------------------------------------------------------------------------------- orders

/** Sorting is stable: equals keep their given order. */
function sortedBy(candidates: readonly Candidate[], rank: (candidate: Candidate) => number): readonly Candidate[] {
  return [...candidates].sort((a, b) => rank(a) - rank(b))
}

function broughtToFront(candidates: readonly Candidate[], index: number): readonly Candidate[] {
  const first = candidates[index]
  if (index === 0 || first === undefined) return candidates
  return [first, ...candidates.slice(0, index), ...candidates.slice(index + 1)]
}
