import type { TargetTable } from './tables.js'

/**
 * What an agent knows of a target's health at the instant of a decision: facts, like the request's own. The control plane
 * explains with none known.
 */
export interface TargetHealth {
  /** `open`: left alone. `half_open`: one request may try it, and nobody does yet. */
  readonly state: 'closed' | 'open' | 'half_open'
  /** When it may be tried again, milliseconds from now; 0 unless open. */
  readonly retryInMs: number
  /** Peak-sensitive moving average of the time to its first token, microseconds; null when not known. */
  readonly latencyUs: number | null
  /** Requests that this agent has running there. */
  readonly inFlightCount: number
}

export interface HealthFacts {
  of(target: TargetTable): TargetHealth
  /** True: surely no target is `open`, so who goes by nothing else need not ask for each. */
  readonly calm?: boolean
}

const unknown: TargetHealth = Object.freeze({ state: 'closed', retryInMs: 0, latencyUs: null, inFlightCount: 0 })

/** Nothing is known: every target counts as healthy. */
export const nothingKnown: HealthFacts = Object.freeze({ of: () => unknown, calm: true })
