import { open } from 'node:fs/promises'
import { Agent, request } from 'undici'
import {
  ForbiddenAddressError,
  guardedLookup,
  hostOf,
  isForbiddenAddress,
} from '../../../proto/std/upstream-address.js'

/**
 * Asks token endpoints: small calls outside the request path's pools, without redirects, bounded in time and bytes. Where
 * a credential names the endpoint, addresses at which clouds serve machine identities are refused, as for upstreams; only
 * `ambient` calls, which an operator permitted on this machine, may go there.
 */
export interface TokenCall {
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | null
  readonly timeoutMs: number
  /** The agent's own machine is asked, or an endpoint that an operator set. */
  readonly ambient: boolean
}

export interface TokenAnswer {
  readonly status: number
  readonly body: string
}

const answerBytesMax = 256 * 1024
const fileBytesMax = 64 * 1024

export class TokenClient {
  readonly #guarded = new Agent({
    connect: { lookup: guardedLookup(isForbiddenAddress) },
    maxResponseSize: answerBytesMax,
  })
  readonly #ambient = new Agent({ maxResponseSize: answerBytesMax })

  /** Rejects with an error whose message may be logged: it never holds what was sent. */
  async call({ method, url, headers, body, timeoutMs, ambient }: TokenCall): Promise<TokenAnswer> {
    if (!ambient && isForbiddenAddress(hostOf(url))) throw new ForbiddenAddressError()
    const response = await request(url, {
      method,
      headers,
      body,
      dispatcher: ambient ? this.#ambient : this.#guarded,
      signal: AbortSignal.timeout(timeoutMs),
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    })
    return { status: response.statusCode, body: await response.body.text() }
  }

  /** A token file that a platform keeps fresh: read each time it is needed, never kept; rejects where it holds none. */
  async readTokenFile(path: string): Promise<string> {
    const file = await open(path)
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(fileBytesMax + 1))
      if (bytesRead > fileBytesMax) throw new Error(`${path} is larger than ${fileBytesMax} bytes`)
      const text = buffer.toString('utf8', 0, bytesRead).trim()
      if (text === '') throw new Error(`${path} is empty`)
      return text
    } finally {
      await file.close()
    }
  }

  async stop(): Promise<void> {
    await Promise.all([this.#guarded.destroy(), this.#ambient.destroy()])
  }
}
