import { assert } from '../std/assert.js'
import type { BreakerTable } from './tables.js'

/**
 * The circuit breaker of one target: when it is left alone and when one request may try it again.
 *
 *     closed ──(failures in a row, or a share of failures in the window)──► open
 *     open ──(openMs, doubled for each probe that failed, at most sixteen times)──► half open: one probe
 *     half open ──(the probe succeeds)──► closed          ──(it fails)──► open, twice as long
 *
 * The first token of a stream is enough for a probe to close it, but not to be trusted again: a target whose streams begin and
 * then break is left alone longer each time, until one try has come to its end.
 *
 * Apart from that a target that names a time (`retry-after`) is left alone until then; whichever of the two is longer
 * counts, and a later shorter one shortens nothing (LiteLLM's issue 40130 is what happens otherwise).
 *
 * Only what began since the last change says something about now: requests that hung before a target was given up still
 * end long after, and must neither close it again nor, once it is back, open it anew.
 *
 * A probe holds a lease that ends with its own deadline, so one that is never heard of again locks nothing.
 *
 * Nothing here reads a clock: same states, events and instants, same result. The state is written in place, because it
 * changes with every request and the request path allocates nothing for it.
 */
export type BreakerPhase = 'closed' | 'open' | 'half_open'

/** What a try says about its target; `none`: nothing, for example because the client left. */
export type Verdict = 'success' | 'failure' | 'none'

/** One try of the target that is over, or has shown that the target lives. */
export interface BreakerEvent {
  readonly verdict: Verdict
  readonly startedUs: number
  /** What `claimProbe` gave; 0 for a try that was no probe, or whose lease was given back at its first token. */
  readonly leaseUs: number
  /**
   * Of a probe that is told twice, at its first token, with its lease, and at its end: the instant of the first. Its end
   * counts, whenever it began, unless the breaker has changed since.
   */
  readonly probedUs?: number
  /** The target asked not to be called for so long; 0: it did not ask. */
  readonly cooldownMs: number
}

/** Where a table names none: for every target. */
export const defaultBreaker: BreakerTable = Object.freeze({
  failures: 5,
  openMs: 5_000,
  failureRatio: 0.5,
  windowMs: 30_000,
  requestsMin: 20,
})

/** Longest that a target's own word keeps it alone: after that one request asks whether it still holds. */
export const cooldownMsMax = 300_000
/** 2⁴: sixteen times `openMs`. */
const doublingsMax = 4
/** The window moves on by an eighth of itself. */
const bucketCount = 8

export interface BreakerState {
  open: boolean
  /** When it last opened or closed; what began before says nothing. */
  changedUs: number
  /** While open: when a probe may try. */
  retryUs: number
  /** How often `openMs` is doubled now. */
  doublings: number
  /** The first token of a probe has closed it, and nothing has come to its end since. */
  onTrial: boolean
  /** End of the lease of the probe that runs; 0: none runs. */
  probeDueUs: number
  /** Not to be called before, by its own word. */
  cooldownUs: number
  failuresInRow: number
  /** Length of a bucket; the counts below are of buckets of this length. */
  bucketUs: number
  /** Instants divided by `bucketUs`: the newest bucket that something was counted in. */
  bucket: number
  readonly requestCounts: Uint32Array
  readonly failureCounts: Uint32Array
}

/** Of a target that nothing is known of. */
export function newBreakerState(): BreakerState {
  return {
    open: false,
    changedUs: Number.NEGATIVE_INFINITY,
    retryUs: 0,
    doublings: 0,
    onTrial: false,
    probeDueUs: 0,
    cooldownUs: 0,
    failuresInRow: 0,
    bucketUs: 0,
    bucket: 0,
    requestCounts: new Uint32Array(bucketCount),
    failureCounts: new Uint32Array(bucketCount),
  }
}

/** `half_open` only where nobody probes. */
export function phaseOf(state: BreakerState, nowUs: number): BreakerPhase {
  if (nowUs < state.cooldownUs) return 'open'
  if (!state.open) return 'closed'
  return nowUs < state.retryUs || nowUs < state.probeDueUs ? 'open' : 'half_open'
}

/** It is open by its own word alone or among other reasons: a try could only be refused. */
export function isCoolingDown(state: BreakerState, nowUs: number): boolean {
  return nowUs < state.cooldownUs
}

/** Microseconds until it may be tried again; 0 unless open. */
export function retryInUs(state: BreakerState, nowUs: number): number {
  const retryUs = state.open ? Math.max(state.cooldownUs, state.retryUs, state.probeDueUs) : state.cooldownUs
  return Math.max(0, retryUs - nowUs)
}

/** The one request that tries a half-open target; it must be over by `dueUs`. Gives what its event names as lease. */
export function claimProbe(state: BreakerState, nowUs: number, dueUs: number): number {
  assert(phaseOf(state, nowUs) === 'half_open', 'only a half-open target is probed, by one')
  state.probeDueUs = Math.max(dueUs, nowUs + 1)
  return state.probeDueUs
}

/** The state after `event`: the same object. */
export function advance(state: BreakerState, event: BreakerEvent, nowUs: number, table: BreakerTable): BreakerState {
  if (event.cooldownMs > 0) {
    const untilUs = nowUs + Math.min(event.cooldownMs, cooldownMsMax) * 1000
    if (untilUs > state.cooldownUs) state.cooldownUs = untilUs
  }
  const isProbe = event.leaseUs !== 0 && event.leaseUs === state.probeDueUs
  if (isProbe) state.probeDueUs = 0
  const isProbed = event.probedUs === state.changedUs && !state.open
  if (event.verdict === 'none' || (!isProbe && !isProbed && event.startedUs < state.changedUs)) return state
  const isSuccess = event.verdict === 'success'
  if (state.open) {
    if (isSuccess) close(state, nowUs, event.probedUs === nowUs)
    else if (isProbe) open(state, nowUs, table, Math.min(doublingsMax, state.doublings + 1))
    return state
  }
  count(state, isSuccess, nowUs, table)
  if (isSuccess) {
    state.failuresInRow = 0
    state.onTrial = false
  } else {
    state.failuresInRow += 1
    if (isTooMuch(state, table))
      open(state, nowUs, table, state.onTrial ? Math.min(doublingsMax, state.doublings + 1) : 0)
  }
  return state
}

/** Requests and failures in the window that ends now. */
export function windowOf(state: BreakerState, nowUs: number): { requestCount: number; failureCount: number } {
  if (state.bucketUs > 0) turnTo(state, nowUs)
  return { requestCount: sum(state.requestCounts), failureCount: sum(state.failureCounts) }
}

/** Forgets what was counted; for a target that is to be looked at anew. */
export function clearWindow(state: BreakerState): void {
  state.failuresInRow = 0
  state.requestCounts.fill(0)
  state.failureCounts.fill(0)
}

function open(state: BreakerState, nowUs: number, table: BreakerTable, doublings: number): void {
  state.open = true
  state.onTrial = false
  state.changedUs = nowUs
  state.doublings = doublings
  state.probeDueUs = 0
  state.retryUs = nowUs + table.openMs * 1000 * 2 ** doublings
}

function close(state: BreakerState, nowUs: number, onTrial: boolean): void {
  state.open = false
  state.onTrial = onTrial
  state.changedUs = nowUs
  state.probeDueUs = 0
  clearWindow(state)
}

/** A limit of zero is none. */
function isTooMuch(state: BreakerState, { failures, failureRatio, requestsMin }: BreakerTable): boolean {
  if (failures > 0 && state.failuresInRow >= failures) return true
  if (failureRatio <= 0) return false
  const requestCount = sum(state.requestCounts)
  return requestCount > 0 && requestCount >= requestsMin && sum(state.failureCounts) >= failureRatio * requestCount
}

function count(state: BreakerState, isSuccess: boolean, nowUs: number, table: BreakerTable): void {
  const bucketUs = (table.windowMs * 1000) / bucketCount
  if (bucketUs <= 0) return
  if (bucketUs !== state.bucketUs) {
    state.bucketUs = bucketUs
    state.requestCounts.fill(0)
    state.failureCounts.fill(0)
  }
  const slot = turnTo(state, nowUs)
  state.requestCounts[slot] = (state.requestCounts[slot] ?? 0) + 1
  if (!isSuccess) state.failureCounts[slot] = (state.failureCounts[slot] ?? 0) + 1
}

/** Forgets the buckets that the window has left; gives the place of the newest. */
function turnTo(state: BreakerState, nowUs: number): number {
  const bucket = Math.floor(nowUs / state.bucketUs)
  const steps = Math.min(bucketCount, bucket - state.bucket)
  for (let step = 0; step < steps; step++) {
    const slot = (bucket - step) % bucketCount
    state.requestCounts[slot] = 0
    state.failureCounts[slot] = 0
  }
  state.bucket = Math.max(state.bucket, bucket)
  return state.bucket % bucketCount
}

function sum(counts: Uint32Array): number {
  let total = 0
  for (let slot = 0; slot < bucketCount; slot++) total += counts[slot] ?? 0
  return total
}
