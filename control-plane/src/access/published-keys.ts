import {
  type CryptoKey,
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JSONWebKeySet,
  type JWKSCacheInput,
  type JWTVerifyGetKey,
  jwksCache,
} from 'jose'
import type { Clock } from '../../../proto/std/clock.js'

export interface PublishedKeysOptions {
  readonly url: string
  /** Least time between two fetches, so that tokens with made-up key ids cannot make us a client of theirs. */
  readonly cooldownMs: number
  readonly timeoutMs: number
  /** How long a fetched set is used before it is fetched again. */
  readonly ageMsMax: number
  /** How long the last set goes on being used while it cannot be fetched again; 0: not at all. */
  readonly outageMsMax: number
  readonly clock: Clock
  /** The last set is used although it should have been fetched again; told at most once a minute. */
  readonly onOutage: (outage: { readonly fault: unknown; readonly fetchedAtMs: number }) => void
}

const tellMsMin = 60_000

type LocalKeys = ReturnType<typeof createLocalJWKSet>

/**
 * The key set that an identity provider publishes. While it cannot be fetched the last good one is used for a bounded time:
 * an identity provider that is away for an afternoon must not lock everybody out. What that set does not know stays an
 * outage, because the key may be a new one.
 */
export class PublishedKeys {
  readonly #options: PublishedKeysOptions
  readonly #cache: JWKSCacheInput = {}
  readonly #remote: ReturnType<typeof createRemoteJWKSet>
  #last: { readonly set: JSONWebKeySet; readonly keys: LocalKeys; readonly fetchedAtMs: number } | null = null
  #failed: { readonly fault: unknown; readonly atUs: number } | null = null
  #toldAtMs = Number.NEGATIVE_INFINITY

  constructor(options: PublishedKeysOptions) {
    this.#options = options
    this.#remote = createRemoteJWKSet(new URL(options.url), {
      cooldownDuration: options.cooldownMs,
      timeoutDuration: options.timeoutMs,
      cacheMaxAge: options.ageMsMax,
      [jwksCache]: this.#cache,
    })
  }

  /** The key that a token names; throws what `jose` throws, and for an outage what the fetch threw. */
  readonly get: JWTVerifyGetKey = async (header, token) => {
    const { clock, cooldownMs } = this.#options
    // While it is away, asking again for each token would make each wait for the fetch to time out.
    if (this.#failed !== null && clock.monotonicUs() - this.#failed.atUs < cooldownMs * 1000) {
      return this.#fromLast(this.#failed.fault, header, token)
    }
    try {
      const key = await this.#remote(header, token)
      this.#remember()
      return key
    } catch (fault) {
      if (!isKeyFetchFault(fault)) {
        this.#remember()
        throw fault
      }
      this.#failed = { fault, atUs: clock.monotonicUs() }
      return this.#fromLast(fault, header, token)
    }
  }

  #remember(): void {
    const set = 'jwks' in this.#cache ? this.#cache.jwks : undefined
    this.#failed = null
    if (set === undefined || this.#last?.set === set) return
    this.#last = { set, keys: createLocalJWKSet(set), fetchedAtMs: this.#options.clock.nowMs() }
  }

  async #fromLast(fault: unknown, ...asked: Parameters<LocalKeys>): Promise<CryptoKey> {
    const { clock, outageMsMax, ageMsMax, onOutage } = this.#options
    const nowMs = clock.nowMs()
    const last = this.#last
    if (last === null || nowMs - last.fetchedAtMs > ageMsMax + outageMsMax) throw fault
    const key = await last.keys(...asked).catch(() => {
      throw fault
    })
    if (this.#toldAtMs + tellMsMin <= nowMs) {
      this.#toldAtMs = nowMs
      onOutage({ fault, fetchedAtMs: last.fetchedAtMs })
    }
    return key
  }
}

/** The fetch of a key set: refused, timed out, not a key set. Neither a token's nor a key's fault. */
export function isKeyFetchFault(error: unknown): boolean {
  if (error instanceof TypeError) return error.message.includes('fetch')
  if (!(error instanceof errors.JOSEError)) return false
  return !(
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  )
}
