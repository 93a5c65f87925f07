import { refuse } from '../../../proto/std/refusal.js'
import type { HopOutcome } from './record.js'
import type { RequestRefusal } from './request-refusal.js'

/** What the client is told when no target served it: what became of the last one, and when to come again. */

/** Breakers said no of all of them. */
export function leftAloneRefusal(
  { retryUs, allCoolDown }: { readonly retryUs: number; readonly allCoolDown: boolean },
  targetCount: number,
): RequestRefusal {
  const who = targetCount === 1 ? 'The upstream' : `Each of the ${targetCount} upstreams`
  const detail = { retryAfterSeconds: Math.max(1, Math.ceil(retryUs / 1_000_000)) }
  return allCoolDown
    ? refuse('upstream_rate_limited', `${who} has asked not to be called for a while.`, { detail })
    : refuse('upstream_circuit_open', `${who} fails and is left alone for a while.`, { detail })
}

/** `outcome`: of the last one that failed. `retryAfterSeconds`: when it may be asked again, where it refused for its rate limit. */
export function hopRefusal(outcome: HopOutcome, retryAfterSeconds: number, targetCount: number): RequestRefusal {
  const tried = targetCount === 1 ? 'The upstream' : `All ${targetCount} upstreams failed; the last one`
  switch (outcome) {
    case 'not_ready':
      return refuse('upstream_not_ready', `${tried} is not ready: its credential has not reached this agent.`, {
        detail: { retryAfterSeconds: 5 },
      })
    case 'busy':
      return refuse('upstream_busy', `${tried} is full, and no place there came free in time.`, {
        detail: { retryAfterSeconds: 1 },
      })
    case 'connect_error':
      return refuse('upstream_unavailable', `${tried} could not be reached.`)
    case 'timeout_connect':
    case 'timeout_first_token':
    case 'timeout_idle':
    case 'timeout_total':
      return refuse('upstream_timeout', `${tried} did not answer in time (${outcome.slice('timeout_'.length)}).`)
    case 'rate_limited':
      return refuse('upstream_rate_limited', `${tried} refused for its rate limit.`, {
        detail: { retryAfterSeconds },
      })
    case 'upstream_4xx':
      return refuse('upstream_credential_rejected', `${tried} rejected the credential configured for it.`)
    case 'malformed':
    case 'ok':
      return refuse('upstream_malformed', `${tried} answered with something that is not an answer of its kind.`)
    default:
      return refuse('upstream_failed', `${tried} failed.`)
  }
}
