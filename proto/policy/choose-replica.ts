/**
 * Which of a provider's replicas gets a request: the one where it is likely to be answered first, counted in tokens that have
 * to be computed before its first word. That is what the replica's prefix cache does not hold of the prompt, plus shares
 * of what waits and runs there already, plus a surcharge where key-value memory is short (what is cached is then thrown out
 * before it is used, and requests wait for memory).
 *
 * A cache that everybody wants must not become a queue that everybody stands in, so there is a bound that no saving buys off:
 * a replica gets nothing that would take it above 1.5 times the mean load (consistent choice with bounded loads). Two things
 * are exempt because nothing better can be done: the replica with the least load, and one that has next to nothing to do:
 * where hardly anything runs, half of nothing is no imbalance, and moving a long conversation because of one short request
 * would cost what the cache was for.
 *
 * Pure: the same facts, the same choice; who is asked is said with the numbers that were seen.
 */
export interface ReplicaFacts {
  /** False: left out while any other is healthy. */
  readonly healthy: boolean
  /** Of this prompt, believed to be in its prefix cache. */
  readonly cachedTokens: number
  /** Weight of all requests there, ours and others': prompts, and something for each request. */
  readonly loadTokens: number
  /** Of those, what has to be computed before a new request's turn. */
  readonly queuedTokens: number
  /** Key-value memory in use by running requests, 0..1; null when it does not tell. */
  readonly kvUsageRatio: number | null
}

export interface ReplicaQuestion {
  readonly promptTokens: number
  readonly replicas: readonly ReplicaFacts[]
  /** A whole number that is another one the next time: whose turn it is among equals. */
  readonly turn: number
}

/** `costlier`: may be asked and would take longer. `overloaded`: above the bound. `unhealthy`: left out. */
export type ReplicaVerdict = 'chosen' | 'costlier' | 'overloaded' | 'unhealthy'

export interface ReplicaView {
  readonly verdict: ReplicaVerdict
  /** Tokens to be computed before the first word. */
  readonly costTokens: number
}

export interface ReplicaChoice {
  readonly index: number
  /** The most that a replica may have with this request, apart from the exemptions. */
  readonly loadTokensMax: number
  /** In the order of the question. */
  readonly views: readonly ReplicaView[]
}

/** No replica is taken above so many times the mean load. */
export const loadRatioMax = 1.5
/** Weight of a request besides its prompt: it is worked on once per token of its answer, however short it came. */
export const requestWeightTokens = 256
/** A replica with at most this load has next to nothing to do: a handful of short requests, or one of some length. */
export const idleLoadTokens = 4_096
/**
 * What waits before a request costs that request alone; what is computed again costs everybody behind it as well, and pushes
 * out of a cache what was there for others. So a token that waits counts a twentieth. In the simulation (`test/simulation`)
 * the time to the first word hardly changes from a fiftieth to a half, and what is found cached falls from a tenth on.
 */
const queueShare = 0.05
/** Between replicas of which none is much better the lighter one is taken: near its bound what is cached is of no use. */
const loadShare = 0.02
/** Share of key-value memory from which it is called short. */
const pressureRatio = 0.8

/** Refuses nobody: of at least one replica, one is chosen. */
export function chooseReplica({ promptTokens, replicas, turn }: ReplicaQuestion): ReplicaChoice {
  const someHealthy = replicas.some((replica) => replica.healthy)
  const isCandidate = (replica: ReplicaFacts) => replica.healthy || !someHealthy
  let count = 0
  let sumTokens = 0
  let leastTokens = Number.POSITIVE_INFINITY
  for (const replica of replicas) {
    if (!isCandidate(replica)) continue
    count += 1
    sumTokens += replica.loadTokens
    leastTokens = Math.min(leastTokens, replica.loadTokens)
  }
  const weightTokens = promptTokens + requestWeightTokens
  const loadTokensMax = (loadRatioMax * (sumTokens + weightTokens)) / Math.max(1, count)
  const isPermitted = ({ loadTokens }: ReplicaFacts) =>
    loadTokens + weightTokens <= loadTokensMax || loadTokens <= Math.max(leastTokens, idleLoadTokens)
  const costs = replicas.map((replica) => costOf(replica, promptTokens))
  let best = -1
  for (let step = 0; step < replicas.length; step++) {
    const index = (turn + step) % replicas.length
    const replica = replicas[index]
    if (replica === undefined || !isCandidate(replica) || !isPermitted(replica)) continue
    if (best === -1 || isBetter(index, best)) best = index
  }
  const views = replicas.map((replica, index): ReplicaView => {
    const costTokens = costs[index] ?? 0
    if (index === best) return { verdict: 'chosen', costTokens }
    if (!isCandidate(replica)) return { verdict: 'unhealthy', costTokens }
    return { verdict: isPermitted(replica) ? 'costlier' : 'overloaded', costTokens }
  })
  return { index: best, loadTokensMax, views }

  /** Cheaper, or as cheap with less to do; between equals the one whose turn it is stays. */
  function isBetter(index: number, than: number): boolean {
    const difference = (costs[index] ?? 0) - (costs[than] ?? 0)
    if (Math.abs(difference) >= 1) return difference < 0
    return (replicas[index]?.loadTokens ?? 0) < (replicas[than]?.loadTokens ?? 0)
  }
}

function costOf({ cachedTokens, queuedTokens, loadTokens, kvUsageRatio }: ReplicaFacts, promptTokens: number): number {
  const missingTokens = Math.max(0, promptTokens - cachedTokens)
  const shortRatio = Math.min(1, Math.max(0, ((kvUsageRatio ?? 0) - pressureRatio) / (1 - pressureRatio)))
  // With no memory left, nothing that is cached is worth going there for.
  const pressureTokens = shortRatio * (promptTokens + requestWeightTokens)
  return missingTokens + pressureTokens + queueShare * queuedTokens + loadShare * loadTokens
}

/** A choice in one sentence, with the numbers it saw. `names` are those of the replicas, in the order of the question. */
export function explainReplica(question: ReplicaQuestion, choice: ReplicaChoice, names: readonly string[]): string {
  const told = question.replicas.map((replica, index) => {
    const view = choice.views[index]
    const kv = replica.kvUsageRatio === null ? 'memory unknown' : `memory ${Math.round(replica.kvUsageRatio * 100)} %`
    const numbers = `cached ${rounded(replica.cachedTokens)}, queued ${rounded(replica.queuedTokens)}, load ${rounded(replica.loadTokens)}, ${kv}, cost ${rounded(view?.costTokens ?? 0)}`
    return `${names[index] ?? index} ${view?.verdict} (${numbers})`
  })
  return `prompt of ${rounded(question.promptTokens)} tokens, load at most ${rounded(choice.loadTokensMax)}: ${told.join('; ')}`
}

function rounded(tokens: number): string {
  return String(Math.round(tokens))
}
