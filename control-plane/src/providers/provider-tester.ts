import type { LookupFunction } from 'node:net'
import { Agent, request } from 'undici'
import type { Clock } from '../../../proto/std/clock.js'
import {
  ForbiddenAddressError,
  guardedLookup,
  hostOf,
  isForbiddenAddress,
  isPrivateAddress,
} from '../../../proto/std/upstream-address.js'
import type { ProviderFields } from './provider.js'
import { type OpenCredential, type Probe, probeOf } from './provider-probe.js'
import {
  answerBytesMax,
  explainFault,
  explainList,
  explainReach,
  explainSilence,
  no,
  type Outcome,
  type ProviderTest,
} from './test-outcome.js'

export interface ProviderTesterOptions {
  readonly clock: Clock
  readonly connectTimeoutMs?: number
  readonly totalTimeoutMs?: number
  /** False where strangers are tenants: loopback and private networks are then refused. */
  readonly privateAddresses?: boolean
}

/**
 * One cheap call to a provider (mostly for its list of models), from the control plane, and a sentence for whatever comes of
 * it. The caller is a tenant and the address is the tenant's, so the answer's content is never repeated (only model names of
 * a well-formed list are), redirects are not followed, and names that resolve to forbidden addresses are not called.
 */
export class ProviderTester {
  readonly #options: Required<ProviderTesterOptions>

  constructor(options: ProviderTesterOptions) {
    this.#options = { connectTimeoutMs: 3_000, totalTimeoutMs: 10_000, privateAddresses: true, ...options }
  }

  /** Never throws for what a network does; takes at most `totalTimeoutMs`. `credential` null: shows none. */
  async test(
    provider: Pick<ProviderFields, 'kind' | 'baseUrl' | 'apiVersion'>,
    credential: OpenCredential | null,
  ): Promise<ProviderTest> {
    const probe = probeOf(provider, credential)
    if (probe.asks === 'nothing') return { ...explainSilence(probe), durationMs: 0 }
    const { clock, totalTimeoutMs } = this.#options
    const startedUs = clock.monotonicUs()
    const deadline = new AbortController()
    const cancel = clock.after(totalTimeoutMs, () => deadline.abort())
    const dispatcher = new Agent({
      connect: { timeout: this.#options.connectTimeoutMs, lookup: this.#lookup },
      maxResponseSize: answerBytesMax,
      headersTimeout: totalTimeoutMs,
      bodyTimeout: totalTimeoutMs,
    })
    const { baseUrl } = provider
    try {
      const outcome = this.#forbids(hostOf(baseUrl))
        ? explainFault(new ForbiddenAddressError(), baseUrl)
        : await call(probe, dispatcher, deadline.signal).catch((fault: unknown) =>
            deadline.signal.aborted
              ? no(
                  'request',
                  `gave no complete answer within ${totalTimeoutMs} ms; is it overloaded, or behind a firewall?`,
                )
              : explainFault(fault, baseUrl),
          )
      return { ...outcome, durationMs: Math.round((clock.monotonicUs() - startedUs) / 1000) }
    } finally {
      cancel()
      await dispatcher.destroy()
    }
  }

  #forbids(address: string): boolean {
    return isForbiddenAddress(address) || (!this.#options.privateAddresses && isPrivateAddress(address))
  }

  readonly #lookup: LookupFunction = guardedLookup((address) => this.#forbids(address))
}

async function call(
  probe: Exclude<Probe, { asks: 'nothing' }>,
  dispatcher: Agent,
  signal: AbortSignal,
): Promise<Outcome> {
  const headers = { accept: 'application/json', ...(probe.asks === 'models' && probe.headers) }
  const { statusCode, body } = await request(probe.url, { dispatcher, signal, headers })
  if (probe.asks === 'models') return explainList(statusCode, await body.text(), probe)
  // The head said it all: a body without end, or one cut short, changes nothing.
  body.on('error', () => {}).destroy()
  return explainReach(statusCode, probe)
}
