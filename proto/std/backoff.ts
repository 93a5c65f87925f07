import { assert } from './assert.js'

export interface BackoffOptions {
  /** First delay. */
  minMs: number
  /** Ceiling of a delay. */
  maxMs: number
}

/**
 * Delays for something that retries: doubling, full jitter in the upper half, a ceiling; `reset` after success. The log
 * level rises with the wait, so that a blip is quiet and an outage is not.
 */
export class Backoff {
  #attempt = 0
  readonly #options: BackoffOptions
  readonly #random: () => number

  constructor(options: BackoffOptions, random: () => number) {
    assert(options.minMs > 0 && options.minMs <= options.maxMs, 'backoff: 0 < minMs <= maxMs')
    this.#options = options
    this.#random = random
  }

  /** Failures since the last reset. */
  get attempt(): number {
    return this.#attempt
  }

  /** The next delay in milliseconds; counts an attempt. */
  nextMs(): number {
    const ceiling = Math.min(this.#options.maxMs, this.#options.minMs * 2 ** Math.min(this.#attempt, 30))
    this.#attempt += 1
    return Math.round(ceiling / 2 + (ceiling / 2) * this.#random())
  }

  reset(): void {
    this.#attempt = 0
  }

  /** `debug` for the first tries, `info` while doubling, `warn` once the ceiling is reached. */
  get logLevel(): 'debug' | 'info' | 'warn' {
    const reached = this.#options.minMs * 2 ** Math.min(this.#attempt, 30) >= this.#options.maxMs
    return reached ? 'warn' : this.#attempt <= 2 ? 'debug' : 'info'
  }
}
