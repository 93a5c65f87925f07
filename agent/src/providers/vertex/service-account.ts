import { importPKCS8, SignJWT } from 'jose'
import type { Clock } from '../../../../proto/std/clock.js'
import { parseJsonObject, textOf } from '../../conversation/json-object.js'
import type { AuthorizationFault } from '../provider-dialect.js'
import type { TokenClient } from '../token-client.js'
import { type AccessToken, readAccessToken, unreachable } from './access-token.js'

/**
 * A service account proves itself with a token that it signs with its private key, and gets an access token for it. Source:
 * Google Identity's documentation, "Using OAuth 2.0 for Server to Server Applications", HTTP/REST.
 */
const scope = 'https://www.googleapis.com/auth/cloud-platform'
/** The longest that Google takes. */
const assertionSeconds = 3_600

interface ServiceAccount {
  readonly clientEmail: string
  readonly privateKey: string
  readonly privateKeyId: string | null
  readonly tokenUri: string
}

export interface ExchangeOptions {
  readonly clock: Clock
  readonly client: TokenClient
  readonly timeoutMs: number
}

/** Importing the key and signing with it cost milliseconds: once per exchange. Never rejects; no message shows the key. */
export async function exchangeServiceAccount(
  secret: string,
  { clock, client, timeoutMs }: ExchangeOptions,
): Promise<AccessToken | AuthorizationFault> {
  const account = readServiceAccount(secret)
  if (account === null) return rejected('the credential is not the JSON of a service account’s key')
  const nowMs = clock.nowMs()
  const assertion = await signAssertion(account, nowMs)
  if (assertion === null) return rejected('the service account’s private key is no RSA key in PKCS #8')
  try {
    const answer = await client.call({
      method: 'POST',
      url: account.tokenUri,
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
        assertion,
      }).toString(),
      timeoutMs,
      ambient: false,
    })
    return readAccessToken(answer, nowMs, 'the token endpoint')
  } catch (fault) {
    return unreachable('the token endpoint', fault)
  }
}

function readServiceAccount(secret: string): ServiceAccount | null {
  const account = parseJsonObject(secret)
  const clientEmail = textOf(account?.['client_email'])
  const privateKey = textOf(account?.['private_key'])
  const tokenUri = textOf(account?.['token_uri'])
  if (clientEmail === null || privateKey === null || tokenUri === null || !URL.canParse(tokenUri)) return null
  return { clientEmail, privateKey, privateKeyId: textOf(account?.['private_key_id']), tokenUri }
}

/** Null when the key cannot sign. */
async function signAssertion(account: ServiceAccount, nowMs: number): Promise<string | null> {
  const { clientEmail, privateKey, privateKeyId, tokenUri } = account
  const issuedAt = Math.floor(nowMs / 1000)
  try {
    const key = await importPKCS8(privateKey, 'RS256')
    return await new SignJWT({ scope })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', ...(privateKeyId === null ? {} : { kid: privateKeyId }) })
      .setIssuer(clientEmail)
      .setAudience(tokenUri)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + assertionSeconds)
      .sign(key)
  } catch {
    return null
  }
}

function rejected(message: string): AuthorizationFault {
  return { fault: 'rejected', message }
}
