import {
  advance,
  type BreakerState,
  claimProbe,
  defaultBreaker,
  newBreakerState,
  phaseOf,
  type Verdict,
} from '../../../proto/policy/breaker.js'
import type { TargetTable } from '../../../proto/policy/tables.js'

/** Targets that something is known of; beyond it the one that was known first is forgotten. */
const targetsMax = 1_000
/** A target that says "too often" and names no time. */
const cooldownMsDefault = 1_000

/** How a try ends; `not_asked`: it could not be. */
export type EmbeddingOutcome =
  | 'ok'
  | 'connect_error'
  | 'timeout_total'
  | 'upstream_4xx'
  | 'upstream_5xx'
  | 'rate_limited'
  | 'malformed'
  | 'not_asked'

/** One try of a target, to be ended once. */
export interface EmbeddingTry {
  readonly startedUs: number
  readonly leaseUs: number
}

/**
 * Which targets make vectors in time, as the cache sees it. A breaker of its own beside the one of `target-health`: half a
 * second is all that a question waits, and what takes longer than that may serve those well who ask for embeddings
 * themselves. While it is open nobody waits; a server that hangs costs each of its first few questions that long, and then
 * one in several seconds.
 */
export class EmbeddingBreakers {
  readonly #states = new Map<string, BreakerState>()

  isOpen({ id }: TargetTable, nowUs: number): boolean {
    const state = this.#states.get(id)
    return state !== undefined && phaseOf(state, nowUs) === 'open'
  }

  /** To be called only of one that is not open; it is over by `dueUs`. */
  begin({ id }: TargetTable, nowUs: number, dueUs: number): EmbeddingTry {
    const state = this.#states.get(id)
    const isProbe = state !== undefined && phaseOf(state, nowUs) === 'half_open'
    return { startedUs: nowUs, leaseUs: isProbe ? claimProbe(state, nowUs, dueUs) : 0 }
  }

  /** `retryAfterSeconds`: as the target named it; null: it did not. */
  end(
    { id, breaker }: TargetTable,
    { startedUs, leaseUs }: EmbeddingTry,
    outcome: EmbeddingOutcome,
    nowUs: number,
    retryAfterSeconds: number | null = null,
  ): void {
    const cooldownMs =
      outcome !== 'rate_limited' ? 0 : retryAfterSeconds === null ? cooldownMsDefault : retryAfterSeconds * 1_000
    advance(
      this.#stateOf(id),
      { verdict: verdictOf(outcome), startedUs, leaseUs, cooldownMs },
      nowUs,
      breaker ?? defaultBreaker,
    )
  }

  #stateOf(id: string): BreakerState {
    const known = this.#states.get(id)
    if (known !== undefined) return known
    const [first] = this.#states.size < targetsMax ? [] : this.#states.keys()
    if (first !== undefined) this.#states.delete(first)
    const state = newBreakerState()
    this.#states.set(id, state)
    return state
  }
}

function verdictOf(outcome: EmbeddingOutcome): Verdict {
  switch (outcome) {
    case 'ok':
    // It answers: what it refuses is the text, or our credential.
    case 'upstream_4xx':
      return 'success'
    case 'not_asked':
    case 'rate_limited':
      return 'none'
    default:
      return 'failure'
  }
}
