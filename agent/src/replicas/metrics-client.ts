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

/** `silent`: nobody there, or nobody well. `no_text`: somebody is, and has no such page. `too_large`: more than is read. */
export type MetricsPage = { readonly text: string } | 'silent' | 'no_text' | 'too_large'

/** vLLM's page has some 60 kB, and a few more per adapter that it serves. A page is parsed in one turn of the event loop. */
const pageBytesMax = 256 * 1024
/** Replicas may be behind one origin, told apart by path: so many of them are read at once. */
const connectionsPerOriginMax = 8

export class MetricsClient implements MetricsSource {
  readonly #clock: Clock
  readonly #dispatcher = new Agent({
    connect: { lookup: guardedLookup(isForbiddenAddress) },
    connections: connectionsPerOriginMax,
    maxResponseSize: pageBytesMax,
    maxHeaderSize: 16 * 1024,
  })
  readonly #origins = new Map<string, OriginTurns>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** `timeoutMs` counts from when it is sent: a server is not silent because another one behind the same origin is. */
  async read(url: string, timeoutMs: number): Promise<MetricsPage> {
    if (!URL.canParse(url)) return 'silent'
    const { origin } = new URL(url)
    const turns = this.#origins.get(origin) ?? new OriginTurns(connectionsPerOriginMax)
    this.#origins.set(origin, turns)
    await turns.take()
    try {
      return await this.#read(url, timeoutMs)
    } finally {
      if (turns.giveBack()) this.#origins.delete(origin)
    }
  }

  async stop(): Promise<void> {
    await this.#dispatcher.destroy()
  }

  async #read(url: string, timeoutMs: number): Promise<MetricsPage> {
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
      return fault instanceof errors.ResponseExceededMaxSizeError ? 'too_large' : 'silent'
    } finally {
      cancel()
    }
  }
}

/** Turns at one origin, in the order in which they are asked for. Whoever waits has one reading under way, so that is bounded. */
class OriginTurns {
  #leftCount: number
  readonly #countMax: number
  readonly #waiting: (() => void)[] = []

  constructor(countMax: number) {
    this.#leftCount = countMax
    this.#countMax = countMax
  }

  async take(): Promise<void> {
    if (this.#leftCount > 0) this.#leftCount -= 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** True when nobody has a turn any more. */
  giveBack(): boolean {
    const next = this.#waiting.shift()
    if (next !== undefined) next()
    else this.#leftCount += 1
    return this.#leftCount === this.#countMax
  }
}
