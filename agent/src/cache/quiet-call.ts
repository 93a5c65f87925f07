import { cacheHeader } from '../../../proto/policy/cache-policy.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { RequestBody } from '../providers/provider-dialect.js'

/** What of a client's call makes another one like it. */
export interface RepeatableCall<Door> {
  readonly door: Door
  readonly parameter: string | null
  header(name: string): string | undefined
}

/**
 * The same request once more, for nobody: a stale answer was given, and this call has a new one made and kept. It goes the
 * whole way of a request (key, limits, targets, a record of its own), and what comes goes into the cache and nowhere else.
 */
export class QuietCall<Door> {
  readonly door: Door
  readonly parameter: string | null
  readonly startedUs: number
  readonly startedAtMs: number
  readonly gone = false
  readonly #original: RepeatableCall<Door>
  readonly #body: RequestBody

  constructor(original: RepeatableCall<Door>, body: RequestBody, clock: Clock) {
    this.#original = original
    this.#body = body
    this.door = original.door
    this.parameter = original.parameter
    this.startedUs = clock.monotonicUs()
    this.startedAtMs = clock.nowMs()
  }

  header(name: string): string | undefined {
    if (name === cacheHeader) return 'refresh'
    // A request of its own.
    return name === 'x-request-id' ? undefined : this.#original.header(name)
  }

  readBody(): Promise<RequestBody> {
    return Promise.resolve(this.#body)
  }

  write(): boolean {
    return true
  }

  onGone(): void {}
  refuse(): void {}
  answer(): void {}
  startStream(): void {}
  onDrain(): void {}
  endStream(): void {}
  destroy(): void {}
}
