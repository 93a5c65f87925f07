import { Agent, errors, request } from 'undici'
import type { Clock } from '../../../proto/std/clock.js'
import {
  ForbiddenAddressError,
  guardedLookup,
  hostOf,
  isForbiddenAddress,
} from '../../../proto/std/upstream-address.js'

/**
 * Reads a server's metrics page. The address is a tenant's, as an upstream's is, so the same addresses are refused; nothing is
 * shown that would say who asks, redirects are not followed, and time and bytes are bounded.
 */
export interface MetricsSource {
  /** Never rejects. */
  read(url: string, timeoutMs: number): Promise<MetricsPage>
  stop(): Promise<void>
}

/** `silent`: nobody there, or nobody well. `no_text`: somebody is, and has no such page. */
export type MetricsPage = { readonly text: string } | 'silent' | 'no_text'

/** vLLM's page has some 60 kB, and a few more per adapter that it serves. */
const pageBytesMax = 1024 * 1024

export class MetricsClient implements MetricsSource {
  readonly #clock: Clock
  readonly #dispatcher = new Agent({
    connect: { lookup: guardedLookup(isForbiddenAddress) },
    connections: 1,
    maxResponseSize: pageBytesMax,
    maxHeaderSize: 16 * 1024,
  })

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async read(url: string, timeoutMs: number): Promise<MetricsPage> {
    const deadline = new AbortController()
    const cancel = this.#clock.after(timeoutMs, () => deadline.abort())
    try {
      // One written as an address never passes through a lookup.
      if (isForbiddenAddress(hostOf(url))) throw new ForbiddenAddressError()
      const { statusCode, body } = await request(url, {
        ...{ dispatcher: this.#dispatcher, signal: deadline.signal },
        headers: { accept: 'text/plain;version=0.0.4' },
      })
      if (statusCode === 200) return { text: await body.text() }
      await body.dump()
      return statusCode >= 500 ? 'silent' : 'no_text'
    } catch (fault) {
      return fault instanceof errors.ResponseExceededMaxSizeError ? 'no_text' : 'silent'
    } finally {
      cancel()
    }
  }

  async stop(): Promise<void> {
    await this.#dispatcher.destroy()
  }
}
