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

/**
 * One cheap call to a provider (`GET <base URL>/models`), from the control plane, and a sentence for whatever comes of it.
 * The caller is a tenant and the address is the tenant's, so the answer's content is never repeated (only model names of a
 * well-formed list are), redirects are not followed, and names that resolve to forbidden addresses are not called.
 */
export interface ProviderTest {
  readonly ok: boolean
  /** How far it came: the step that failed, or `done`. */
  readonly step: 'credential' | 'resolve' | 'connect' | 'tls' | 'request' | 'answer' | 'done'
  /** What happened and what to do next. */
  readonly sentence: string
  readonly httpStatus: number | null
  readonly durationMs: number
  /** Names the provider lists, at most `modelsMax`. */
  readonly models: readonly string[]
}

export interface ProviderTesterOptions {
  readonly clock: Clock
  readonly connectTimeoutMs?: number
  readonly totalTimeoutMs?: number
  /** False where strangers are tenants: loopback and private networks are then refused. */
  readonly privateAddresses?: boolean
}

const modelsMax = 500
const answerBytesMax = 2 * 1024 * 1024

type Outcome = Omit<ProviderTest, 'durationMs'>

export class ProviderTester {
  readonly #options: Required<ProviderTesterOptions>

  constructor(options: ProviderTesterOptions) {
    this.#options = { connectTimeoutMs: 3_000, totalTimeoutMs: 10_000, privateAddresses: true, ...options }
  }

  /** Never throws for what a network does; takes at most `totalTimeoutMs`. `secret` null: sends no credential. */
  async test(baseUrl: string, secret: string | null): Promise<ProviderTest> {
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
    try {
      const outcome = this.#forbids(hostOf(baseUrl))
        ? explainFault(new ForbiddenAddressError(), baseUrl)
        : await this.#call(`${baseUrl}/models`, secret, dispatcher, deadline.signal).catch((fault: unknown) =>
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

  async #call(url: string, secret: string | null, dispatcher: Agent, signal: AbortSignal): Promise<Outcome> {
    const response = await request(url, {
      dispatcher,
      signal,
      headers: { accept: 'application/json', ...(secret === null ? {} : { authorization: `Bearer ${secret}` }) },
    })
    return explainAnswer(response.statusCode, await response.body.text(), secret !== null)
  }

  #forbids(address: string): boolean {
    return isForbiddenAddress(address) || (!this.#options.privateAddresses && isPrivateAddress(address))
  }

  readonly #lookup: LookupFunction = guardedLookup((address) => this.#forbids(address))
}

function no(step: ProviderTest['step'], sentence: string, httpStatus: number | null = null): Outcome {
  return { ok: false, step, sentence: `The provider ${sentence}`, httpStatus, models: [] }
}

/** What an HTTP answer means. Pure. */
export function explainAnswer(status: number, body: string, withSecret: boolean): Outcome {
  if (status === 401 || status === 403) {
    const advice = withSecret
      ? 'check that the secret is complete, not revoked, and belongs to this endpoint, then rotate the credential'
      : 'it wants one: set a credential'
    return no('credential', `did not accept the credential (HTTP ${status}); ${advice}.`, status)
  }
  if (status === 404) {
    return no(
      'answer',
      'has no /models under this base URL (HTTP 404); most servers want a base URL that ends in /v1.',
      status,
    )
  }
  if (status === 429)
    return no('answer', 'is rate limiting us (HTTP 429); the address and credential look right.', status)
  if (status >= 300 && status < 400) {
    return no('answer', `redirects elsewhere (HTTP ${status}), which is not followed; give its final address.`, status)
  }
  if (status >= 500)
    return no('answer', `failed on its side (HTTP ${status}); look at its own logs or status page.`, status)
  if (status !== 200) return no('answer', `answered HTTP ${status}, which /models should not.`, status)
  const models = modelsOf(body)
  if (models === null) {
    return no(
      'answer',
      'answered, but not with an OpenAI model list; does the base URL point to its API (often …/v1)?',
      status,
    )
  }
  const sentence = `The provider answered and lists ${models.length === 1 ? '1 model' : `${models.length} models`}.`
  return { ok: true, step: 'done', sentence, httpStatus: status, models: models.slice(0, modelsMax) }
}

/** Ids of `{"data":[{"id":…}]}`, or null when the text is nothing of the kind. */
function modelsOf(body: string): string[] | null {
  try {
    const parsed: unknown = JSON.parse(body)
    const data = typeof parsed === 'object' && parsed !== null ? (parsed as { data?: unknown }).data : undefined
    if (!Array.isArray(data)) return null
    return data.flatMap((entry: unknown) => {
      const id = typeof entry === 'object' && entry !== null ? (entry as { id?: unknown }).id : undefined
      return typeof id === 'string' && id.length <= 256 ? [id] : []
    })
  } catch {
    return null
  }
}

/** What a fault below HTTP means, by the closed list of codes that Node and undici use. Pure. */
export function explainFault(fault: unknown, baseUrl: string): Outcome {
  const { host, hostname } = new URL(baseUrl)
  const code = codeOf(fault)
  switch (code) {
    case 'FORBIDDEN_ADDRESS':
      return no('resolve', `name ${hostname} leads to an address that this installation does not call.`)
    case 'ENOTFOUND':
    case 'EAI_NONAME':
      return no('resolve', `name ${hostname} is not in the DNS that the control plane sees; check the spelling.`)
    case 'EAI_AGAIN':
      return no('resolve', `name ${hostname} could not be looked up just now; is the control plane's DNS working?`)
    case 'ECONNREFUSED':
      return no('connect', `refused the connection: nothing listens at ${host}; is it running, and is the port right?`)
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return no('connect', `could not be reached at ${host}; is a firewall between it and the control plane?`)
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return no('tls', 'does not speak TLS on this port; should the base URL begin with http://?')
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return no('tls', `shows a certificate for another name than ${hostname}; use the name that it was issued for.`)
    case 'CERT_HAS_EXPIRED':
      return no('tls', 'shows an expired certificate; renew it.')
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
      return no(
        'tls',
        'shows a certificate of an authority that the control plane does not know; add that authority with NODE_EXTRA_CA_CERTS.',
      )
    case 'UND_ERR_SOCKET':
    case 'ECONNRESET':
    case 'EPIPE':
      return no('request', 'closed the connection without an answer; does this port want https:// instead of http://?')
    case 'UND_ERR_RES_EXCEEDED_MAX_SIZE':
      return no(
        'answer',
        `answered more than ${answerBytesMax} bytes, which no model list needs; is it the right address?`,
      )
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return no('request', 'took the request but did not answer in time; is it overloaded?')
  }
  if (code === 'HTTPParserError' || code.startsWith('HPE_')) {
    return no('request', 'did not answer with HTTP; does this port want https:// instead of http://?')
  }
  return no('connect', `could not be called (${code}).`)
}

/** The first known code among the fault, what it wraps and what it gathered. */
function codeOf(fault: unknown): string {
  if (!(fault instanceof Error)) return 'unknown'
  const { code } = fault as { code?: unknown }
  if (fault instanceof AggregateError && fault.errors.length > 0) return codeOf(fault.errors[0])
  if (typeof code === 'string' && code !== '') return code
  return fault.cause === undefined ? fault.name : codeOf(fault.cause)
}
