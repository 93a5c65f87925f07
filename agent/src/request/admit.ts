import { retryAfterUs, takeRequest } from '../../../proto/policy/admit-request.js'
import type { ApiKeyTable, DecisionTables } from '../../../proto/policy/tables.js'
import { assert } from '../../../proto/std/assert.js'
import { refuse } from '../../../proto/std/refusal.js'
import type { RequestRefusal } from './request-refusal.js'

/** Something that runs on behalf of a key and can be ended from outside. */
export interface Running {
  /** Where it stands among what its key has running; -1 when it holds no slot. Written by `Admission` alone. */
  slot: number
  end(code: 'revoked_api_key' | 'agent_draining'): void
}

interface KeyState {
  /**
   * Not a `Set`: V8 chains a set's outgrown tables, so one of them in old space drags every later one, with all requests
   * in it, through the garbage collector. It cost more than the rest of a request.
   */
  readonly running: Running[]
  /** See `proto/policy/admit-request`. */
  fullAtUs: number
}

/** Keys that were quiet for a minute (their bucket is full again) are forgotten when the number kept reaches a mark. */
const statesMarkMin = 4096

/**
 * What each key has running on this agent and how fast it asks. A slot is a place in a list, not a count: giving it back
 * twice changes nothing, so it cannot leak by arithmetic, and the same list is what a revocation ends.
 */
export class Admission {
  readonly #states = new Map<string, KeyState>()
  #runningCount = 0
  #statesMark = statesMarkMin

  /** Requests running over all keys. */
  get runningCount(): number {
    return this.#runningCount
  }

  /** Keys that something is known about: running or asked lately. */
  get keyCount(): number {
    return this.#states.size
  }

  /** Takes a slot for `running` under the key's limits, or says which limit is reached and when to come again. */
  admit(key: ApiKeyTable, secretHash: string, running: Running, nowUs: number): RequestRefusal | null {
    let state = this.#states.get(secretHash)
    if (state === undefined) {
      if (this.#states.size >= this.#statesMark) this.#forgetQuiet(nowUs)
      state = { running: [], fullAtUs: 0 }
      this.#states.set(secretHash, state)
    }
    if (state.running.length >= key.inFlightMax) {
      return refuse(
        'concurrency_limit_exceeded',
        `This API key may have ${key.inFlightMax} requests running at once.`,
        {
          detail: { retryAfterSeconds: 1 },
        },
      )
    }
    const fullAtUs = takeRequest(state.fullAtUs, nowUs, key.requestsPerMinuteMax)
    if (fullAtUs === -1) {
      const seconds = Math.max(1, Math.ceil(retryAfterUs(state.fullAtUs, nowUs, key.requestsPerMinuteMax) / 1_000_000))
      return refuse('rate_limit_exceeded', `This API key may make ${key.requestsPerMinuteMax} requests per minute.`, {
        detail: { retryAfterSeconds: seconds },
      })
    }
    state.fullAtUs = fullAtUs
    assert(running.slot === -1, 'a request is admitted once')
    running.slot = state.running.length
    state.running.push(running)
    this.#runningCount += 1
    return null
  }

  /** Gives the slot back; harmless when it was never taken. */
  release(secretHash: string, running: Running): void {
    if (running.slot === -1) return
    const state = this.#states.get(secretHash)
    const last = state?.running.pop()
    if (state === undefined || last === undefined) return
    if (last !== running) {
      state.running[running.slot] = last
      last.slot = running.slot
    }
    running.slot = -1
    this.#runningCount -= 1
  }

  /** Ends what runs under keys that are now denied with `abort`. */
  enforce(tables: DecisionTables): void {
    if (this.#runningCount === 0 || tables.denied.size === 0) return
    for (const [secretHash, state] of this.#states) {
      if (state.running.length === 0 || tables.denied.get(secretHash)?.abort !== true) continue
      for (const running of [...state.running]) running.end('revoked_api_key')
    }
  }

  /** Ends everything that still runs. */
  endAll(): void {
    for (const state of this.#states.values()) for (const running of [...state.running]) running.end('agent_draining')
  }

  #forgetQuiet(nowUs: number): void {
    for (const [secretHash, state] of this.#states) {
      if (state.running.length === 0 && state.fullAtUs <= nowUs) this.#states.delete(secretHash)
    }
    // Twice what is in use, so that the walk costs a constant per new key.
    this.#statesMark = Math.max(statesMarkMin, this.#states.size * 2)
  }
}
