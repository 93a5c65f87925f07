import type { Verdict } from '../../../proto/policy/breaker.js'
import type { TargetCall } from './call-target.js'
import type { HopOutcome } from './record.js'
import type { Upstream } from './upstreams.js'

/**
 * What the end of a try says about its target. A failure is what another target might have done better: no connection, no
 * answer in time, a 5xx, something that is no answer. Never what the client asked for or did, and never that it was asked
 * too often: that is a time to wait (`cooldownOf`), not a fault.
 *
 * `hadItsTime`: what came before in the same request had left it enough.
 */
export function verdictOf(outcome: HopOutcome, upstream: Upstream, hadItsTime: boolean): Verdict {
  switch (outcome) {
    case 'ok':
    // It answers: what it refuses is the client's request or our credential.
    case 'upstream_4xx':
      return 'success'
    case 'connect_error':
    case 'timeout_first_token':
    case 'timeout_idle':
    case 'upstream_5xx':
    case 'malformed':
      return 'failure'
    case 'timeout_connect':
      // Who waits for one of our own connections to come free learns nothing about the target.
      return upstream.full ? 'none' : 'failure'
    case 'timeout_total':
      return hadItsTime ? 'failure' : 'none'
    default:
      return 'none'
  }
}

/** A 429 that names no time. */
const cooldownMsDefault = 1_000

/** How long a target asks to be left alone, milliseconds; 0: it does not. */
export function cooldownOf(call: TargetCall | null): number {
  if (call === null) return 0
  const { httpStatus, retryAfterSeconds } = call
  if (httpStatus === 429) return retryAfterSeconds === null ? cooldownMsDefault : retryAfterSeconds * 1000
  return httpStatus === 503 && retryAfterSeconds !== null ? retryAfterSeconds * 1000 : 0
}
