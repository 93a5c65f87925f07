import type { Probe } from './provider-probe.js'

/** What a test of a provider found out. */
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

/** Sentences for whoever asked; they never repeat what the provider answered. Pure, all of it. */
export type Outcome = Omit<ProviderTest, 'durationMs'>

const modelsMax = 500
export const answerBytesMax = 2 * 1024 * 1024

export function no(step: ProviderTest['step'], sentence: string, httpStatus: number | null = null): Outcome {
  return { ok: false, step, sentence: `The provider ${sentence}`, httpStatus, models: [] }
}

/** What the absence of a call means. */
export function explainSilence({ untested }: Extract<Probe, { asks: 'nothing' }>): Outcome {
  return { ok: false, step: 'credential', sentence: untested, httpStatus: null, models: [] }
}

/** What any HTTP answer means where nothing more was to be found out than whether there is one. */
export function explainReach(status: number, { untested }: Extract<Probe, { asks: 'anything' }>): Outcome {
  const sentence = `The provider can be reached (HTTP ${status}). ${untested}`
  return { ok: true, step: 'done', sentence, httpStatus: status, models: [] }
}

/** What the HTTP answer to the question for models means. */
export function explainList(status: number, body: string, probe: Extract<Probe, { asks: 'models' }>): Outcome {
  if (status === 401 || status === 403) {
    const advice = probe.withSecret
      ? 'check that the secret is complete, not revoked, and belongs to this endpoint, then rotate the credential'
      : 'it wants one: set a credential'
    return no('credential', `did not accept the credential (HTTP ${status}); ${advice}.`, status)
  }
  if (status === 404) {
    return no('answer', `has no list of models under this base URL (HTTP 404); ${probe.notThere}.`, status)
  }
  if (status === 429)
    return no('answer', 'is rate limiting us (HTTP 429); the address and credential look right.', status)
  if (status >= 300 && status < 400) {
    return no('answer', `redirects elsewhere (HTTP ${status}), which is not followed; give its final address.`, status)
  }
  if (status >= 500)
    return no('answer', `failed on its side (HTTP ${status}); look at its own logs or status page.`, status)
  if (status !== 200) return no('answer', `answered HTTP ${status}, which a list of models should not be.`, status)
  const models = modelsOf(body)
  if (models === null) {
    return no(
      'answer',
      'answered, but not with a list of models; does the base URL point to its API (often …/v1)?',
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

/** What a fault below HTTP means, by the closed list of codes that Node and undici use. */
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
