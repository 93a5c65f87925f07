import { ForbiddenAddressError } from '../../../../proto/std/upstream-address.js'
import { parseJsonObject, textOf } from '../../conversation/json-object.js'
import type { Expiring } from '../access-tokens.js'
import type { AuthorizationFault } from '../provider-dialect.js'
import type { TokenAnswer } from '../token-client.js'

/** An OAuth access token of Google's, and until when. */
export interface AccessToken extends Expiring {
  /** Fit for a header. */
  readonly token: string
}

/**
 * What a token endpoint or the metadata server answered to a question asked at `askedAtMs`. A 400, 401, 403 or 404 is a
 * "no" to the credential; anything else that is no token may be better next time. Source: RFC 6749, sections 5.1 and 5.2;
 * Google Cloud's documentation, "About VM metadata".
 */
export function readAccessToken(
  { status, body }: TokenAnswer,
  askedAtMs: number,
  who: string,
): AccessToken | AuthorizationFault {
  const fields = parseJsonObject(body)
  if (status !== 200) {
    // The endpoint may be of a tenant's choosing: nothing but a code goes into the operator's log.
    const code = /^[a-z_]{1,64}$/.exec(textOf(fields?.['error']) ?? '')?.[0]
    const message = `${who} answered HTTP ${status}${code === undefined ? '' : `: ${code}`}`
    return { fault: refusals.has(status) ? 'rejected' : 'unavailable', message }
  }
  const token = textOf(fields?.['access_token']) ?? ''
  const seconds = fields?.['expires_in']
  if (!/^[\x21-\x7e]+$/.test(token) || typeof seconds !== 'number' || !(seconds > 0)) {
    return { fault: 'unavailable', message: `${who} answered with something that is no access token` }
  }
  return { token, expiresAtMs: askedAtMs + seconds * 1000 }
}

const refusals: ReadonlySet<number> = new Set([400, 401, 403, 404])

/** An address that nobody may be made to call will not become another one. */
export function unreachable(who: string, fault: unknown): AuthorizationFault {
  const message = `${who} could not be asked: ${fault instanceof Error ? fault.message : String(fault)}`
  return { fault: fault instanceof ForbiddenAddressError ? 'rejected' : 'unavailable', message }
}
