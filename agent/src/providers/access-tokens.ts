import type { Clock } from '../../../proto/std/clock.js'
import type { AuthorizationFault } from './provider-dialect.js'

/**
 * What vendors give for a credential for a while: OAuth access tokens, temporary AWS keys. One request asks, all others
 * that need the same one wait for it; it is renewed in the background before it ends; a vendor that said no, or could not
 * be asked, is not asked again at once.
 */
export interface Expiring {
  /** UTC; asked anew before that. */
  readonly expiresAtMs: number
}

/** Entries beyond this many: the one used longest ago is forgotten. */
const entriesMax = 1_000
/** Renewed when no more than this is left, but not before half of its life; vendors' tokens live for an hour. */
const renewBeforeMs = 300_000
/** One that ends sooner is not used any more: the call it is for takes its time too. */
const unusableBeforeMs = 10_000
const forgetAfterMs = 60_000
const retryFirstMs = 1_000
const retryMostMs = 60_000

interface Entry {
  value: Expiring | null
  /** When the value came. */
  askedAtMs: number
  /** From when on a new value is asked for while this one still serves. */
  renewAtMs: number
  asking: Promise<Expiring | AuthorizationFault> | null
  fault: AuthorizationFault | null
  faultCount: number
  /** Nobody asks before that. */
  retryAtMs: number
}

export class AccessTokens {
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * The value under `key`, at once where there is one. `ask` gets one from the vendor; it never rejects. Nobody waits longer
   * than the `timeoutMs` of their own, whoever asks. A key names the credential and its version, so that another tenant's
   * or another version's value is never given.
   */
  get<T extends Expiring>(
    key: string,
    timeoutMs: number,
    ask: () => Promise<T | AuthorizationFault>,
  ): T | AuthorizationFault | Promise<T | AuthorizationFault> {
    const nowMs = this.#clock.nowMs()
    const entry = this.#entryOf(key)
    const isUsable = entry.value !== null && entry.value.expiresAtMs - nowMs > unusableBeforeMs
    const isWanted = !isUsable || nowMs >= entry.renewAtMs
    if (isWanted && entry.asking === null && nowMs >= entry.retryAtMs) entry.asking = this.#ask(entry, timeoutMs, ask)
    if (isUsable) return entry.value as T
    if (entry.asking !== null) return this.#inTime(entry.asking as Promise<T | AuthorizationFault>, timeoutMs)
    return entry.fault ?? { fault: 'unavailable', message: 'no access token yet' }
  }

  /**
   * The vendor refused a call made with it: it is not given again, and asked anew. Not one that is younger than a minute: a
   * new one would be refused as well, and each refused call would ask.
   */
  forget(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.value === null || this.#clock.nowMs() - entry.askedAtMs < forgetAfterMs) return
    this.#entries.delete(key)
  }

  async #ask<T extends Expiring>(
    entry: Entry,
    timeoutMs: number,
    ask: () => Promise<T | AuthorizationFault>,
  ): Promise<T | AuthorizationFault> {
    // A promise broken by us must not stay the credential's end: the next one asks anew.
    // Nor may one who never hears (a file on a share that hangs) keep everybody else waiting.
    const outcome = await this.#inTime(ask().catch(brokenPromise), timeoutMs)
    entry.asking = null
    const nowMs = this.#clock.nowMs()
    if (!('fault' in outcome)) {
      entry.value = outcome
      entry.askedAtMs = nowMs
      // One that lives hardly longer than that is not asked for anew with each call.
      const lifeMs = outcome.expiresAtMs - nowMs
      entry.renewAtMs = nowMs + Math.max(lifeMs - renewBeforeMs, lifeMs / 2)
      entry.fault = null
      entry.faultCount = 0
      entry.retryAtMs = 0
      return outcome
    }
    entry.fault = outcome
    entry.retryAtMs = nowMs + Math.min(retryMostMs, retryFirstMs * 2 ** entry.faultCount)
    entry.faultCount += 1
    return outcome
  }

  /** What `asking`, which never rejects, gives within `timeoutMs`. */
  #inTime<T>(asking: Promise<T | AuthorizationFault>, timeoutMs: number): Promise<T | AuthorizationFault> {
    return new Promise((resolve) => {
      const message = `no access token came within ${timeoutMs} ms`
      const cancel = this.#clock.after(timeoutMs, () => resolve({ fault: 'unavailable', message }))
      void asking.then((outcome) => {
        cancel()
        resolve(outcome)
      })
    })
  }

  /** Moved to the end: the first one is the one used longest ago. */
  #entryOf(key: string): Entry {
    const known = this.#entries.get(key)
    const entry = known ?? {
      value: null,
      askedAtMs: 0,
      renewAtMs: 0,
      asking: null,
      fault: null,
      faultCount: 0,
      retryAtMs: 0,
    }
    if (known !== undefined) this.#entries.delete(key)
    else if (this.#entries.size >= entriesMax) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest)
        break
      }
    }
    this.#entries.set(key, entry)
    return entry
  }
}

/** Names the fault of ours and nothing of what was at hand, which is secret. */
function brokenPromise(thrown: unknown): AuthorizationFault {
  return { fault: 'unavailable', message: `asking failed: ${thrown instanceof Error ? thrown.name : typeof thrown}` }
}
