import type { Clock } from '../../../../proto/std/clock.js'
import type { AccessTokens } from '../access-tokens.js'
import type { AwsAmbient } from '../ambient.js'
import type { AuthorizationFault } from '../provider-dialect.js'
import type { TokenAnswer, TokenClient } from '../token-client.js'
import type { TemporaryCredentials } from './aws-credentials.js'
import { readStsCredentials, readStsError } from './sts-answer.js'

/**
 * Temporary keys for a token that the platform keeps fresh in a file, as clusters on AWS give it to workloads (IRSA). Source:
 * AWS's Security Token Service API reference, "AssumeRoleWithWebIdentity".
 */
/** A region of AWS, of which a name in its domain is made: a provider's record must not lead the token elsewhere. */
const regionPattern = /^[a-z]{2,4}(?:-[a-z]{2,16}){1,2}-\d{1,2}$/
/** Codes that come with a status of the 400s and are no refusal of who asks. */
const passing: ReadonlySet<string> = new Set([
  'IDPCommunicationError',
  'Throttling',
  'ThrottlingException',
  'RequestLimitExceeded',
])
const messageLengthMax = 300

export class WebIdentity {
  readonly #source: AwsAmbient
  readonly #tokens: AccessTokens
  readonly #client: TokenClient
  readonly #clock: Clock

  constructor(source: AwsAmbient, tools: { tokens: AccessTokens; client: TokenClient; clock: Clock }) {
    this.#source = source
    this.#tokens = tools.tokens
    this.#client = tools.client
    this.#clock = tools.clock
  }

  get(
    region: string,
    timeoutMs: number,
  ): TemporaryCredentials | AuthorizationFault | Promise<TemporaryCredentials | AuthorizationFault> {
    const url = this.#urlFor(region)
    if (url === null)
      return { fault: 'unavailable', message: `no STS is known for region ${region}: set AWS_ENDPOINT_URL_STS` }
    const key = `aws-web-identity ${this.#source.roleArn} ${url}`
    return this.#tokens.get(key, timeoutMs, () => this.#ask(url, timeoutMs))
  }

  /** The region's own STS, or the one that an operator set; null for regions of which the domain is not known. */
  #urlFor(region: string): string | null {
    const { stsEndpoint } = this.#source
    if (stsEndpoint !== '') return `${stsEndpoint.replace(/\/+$/, '')}/`
    // In its sovereign and secret partitions AWS has other domains, one each.
    if (!regionPattern.test(region) || /^(?:eusc|[a-z]{2}-iso[a-z]?)-/.test(region)) return null
    return `https://sts.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}/`
  }

  async #ask(url: string, timeoutMs: number): Promise<TemporaryCredentials | AuthorizationFault> {
    const { webIdentityTokenFile, roleArn, roleSessionName, stsEndpoint } = this.#source
    try {
      const token = await this.#client.readTokenFile(webIdentityTokenFile)
      const answer = await this.#client.call({
        method: 'POST',
        url,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({
          Action: 'AssumeRoleWithWebIdentity',
          Version: '2011-06-15',
          RoleArn: roleArn,
          RoleSessionName: roleSessionName,
          WebIdentityToken: token,
        }).toString(),
        timeoutMs,
        ambient: stsEndpoint !== '',
      })
      return this.#read(answer)
    } catch (fault) {
      return { fault: 'unavailable', message: `STS could not be asked: ${String(fault).slice(0, messageLengthMax)}` }
    }
  }

  #read({ status, body }: TokenAnswer): TemporaryCredentials | AuthorizationFault {
    if (status === 200) {
      const credentials = readStsCredentials(body)
      if (credentials === null) return { fault: 'unavailable', message: 'what STS answered holds no credentials' }
      if (credentials.expiresAtMs > this.#clock.nowMs()) return credentials
      return { fault: 'unavailable', message: 'STS gave credentials that have expired; is the clock right?' }
    }
    const error = readStsError(body)
    const said = error === null ? '' : `: ${error.code}: ${error.message}`.slice(0, messageLengthMax)
    const isRefusal = status >= 400 && status < 500 && status !== 429 && error !== null && !passing.has(error.code)
    return { fault: isRefusal ? 'rejected' : 'unavailable', message: `STS answered HTTP ${status}${said}` }
  }
}
