import { hash } from 'node:crypto'
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import type { Clock } from '../../../../proto/std/clock.js'
import type { Authorization, OutgoingCall } from '../provider-dialect.js'
import type { AwsCredentials } from './aws-credentials.js'

/**
 * Signs calls (AWS's documentation, "Signature Version 4 for API requests"). What is signed is what AWS must see unchanged:
 * the method, the path, the body, `host`, `content-type` and every `x-amz-` header; our own `x-request-id` and `traceparent`
 * are not, so that a proxy may touch them.
 *
 * The body is hashed natively and handed over as the header that AWS has for it: the library's own hash takes 60 ms for a
 * request with 5 MB of pictures, during which the worker would serve nobody.
 */
const service = 'bedrock'

export class RequestSigner {
  readonly #clock: Clock
  /** One per credential and no longer than it lives; regions share it. */
  readonly #byCredentials = new WeakMap<AwsCredentials, SignatureV4>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The headers to add. Never rejects. */
  async sign({ provider, path, headers, body }: OutgoingCall, credentials: AwsCredentials): Promise<Authorization> {
    try {
      const { protocol, host, hostname } = new URL(provider.origin)
      const signed = await this.#of(credentials).sign(
        {
          method: 'POST',
          protocol,
          hostname,
          path,
          query: {},
          headers: { ...signable(headers), host, 'x-amz-content-sha256': hash('sha256', body, 'hex') },
        },
        { signingDate: new Date(this.#clock.nowMs()), signingRegion: provider.vendorRegion },
      )
      return Object.entries(signed.headers).flatMap(([name, value]) =>
        name === 'authorization' || name.startsWith('x-amz-') ? [name, value] : [],
      )
    } catch (fault) {
      return { fault: 'unavailable', message: `the call could not be signed: ${String(fault)}` }
    }
  }

  #of(credentials: AwsCredentials): SignatureV4 {
    const known = this.#byCredentials.get(credentials)
    if (known !== undefined) return known
    const { accessKeyId, secretAccessKey, sessionToken } = credentials
    const signer = new SignatureV4({
      service,
      // Said with each call.
      region: '',
      credentials: { accessKeyId, secretAccessKey, ...(sessionToken === null ? {} : { sessionToken }) },
      sha256: Sha256,
    })
    this.#byCredentials.set(credentials, signer)
    return signer
  }
}

/** Of a flat list of headers, those that are signed as they go out. */
function signable(headers: readonly string[]): Record<string, string> {
  const chosen: Record<string, string> = {}
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at]?.toLowerCase() ?? ''
    if (name === 'content-type' || name.startsWith('x-amz-')) chosen[name] = headers[at + 1] ?? ''
  }
  return chosen
}
