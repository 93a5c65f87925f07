import { createHash, createHmac } from 'node:crypto'
import type { VendorRequest } from './vendor-fake.js'

/**
 * Verifies AWS's Signature Version 4 from a raw request, as AWS's documentation "Create a signed AWS API request" specifies
 * it and with nothing but HMACs, so that it shares no code and no mistake with whoever signed.
 */
export interface AwsKeys {
  readonly secretAccessKey: string
  /** Null for keys that do not expire. */
  readonly sessionToken: string | null
}

export interface SignatureRules {
  readonly region: string
  readonly service: string
  readonly nowMs: number
  keysOf(accessKeyId: string): AwsKeys | null
}

const skewMsMax = 300_000
const authorizationPattern =
  /^AWS4-HMAC-SHA256 Credential=([^/\s]+)\/(\d{8})\/([^/\s]+)\/([^/\s]+)\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/

/** `unknown` where the key is not AWS's, otherwise what is wrong; empty for nothing. */
export function verifySignature(request: VendorRequest, rules: SignatureRules): readonly string[] | 'unknown' {
  const header = (name: string) => String(request.headers[name] ?? '')
  const match = authorizationPattern.exec(header('authorization'))
  if (match === null) return [`authorization is not a signature: ${header('authorization').slice(0, 80)}.`]
  const [, accessKeyId = '', date = '', region = '', service = '', signedList = '', signature = ''] = match
  const keys = rules.keysOf(accessKeyId)
  if (keys === null) return 'unknown'
  const problems: string[] = []
  if (region !== rules.region) problems.push(`Credential should be scoped to a valid region: ${region}.`)
  if (service !== rules.service) problems.push(`Credential should be scoped to correct service: ${service}.`)
  const longDate = header('x-amz-date')
  const sentAtMs = Date.parse(longDate.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  if (!/^\d{8}T\d{6}Z$/.test(longDate) || longDate.slice(0, 8) !== date) problems.push(`x-amz-date is ${longDate}.`)
  if (!(Math.abs(sentAtMs - rules.nowMs) <= skewMsMax)) problems.push(`Signature expired: ${longDate}.`)
  if (header('x-amz-security-token') !== (keys.sessionToken ?? '')) problems.push('the security token is invalid.')

  const signed = signedList.split(';')
  if (signed.join(';') !== [...signed].sort().join(';')) problems.push('SignedHeaders are not sorted.')
  const owed = Object.keys(request.headers).filter(
    (name) => name === 'host' || name === 'content-type' || name.startsWith('x-amz-'),
  )
  for (const name of owed) if (!signed.includes(name)) problems.push(`${name} has to be signed.`)
  for (const name of ['x-request-id', 'traceparent', 'tracestate', 'user-agent', 'connection']) {
    if (signed.includes(name)) problems.push(`${name} may change on its way and must not be signed.`)
  }
  const bodyHash = sha256(request.bytes)
  const statedHash = header('x-amz-content-sha256')
  if (statedHash !== '' && statedHash !== bodyHash) problems.push('x-amz-content-sha256 is not the hash of the body.')

  const canonical = [
    request.method,
    ...canonicalTarget(request.path),
    ...signed.map((name) => `${name}:${header(name).trim().replace(/\s+/g, ' ')}`),
    '',
    signedList,
    bodyHash,
  ].join('\n')
  const scope = `${date}/${region}/${service}/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', longDate, scope, sha256(canonical)].join('\n')
  const key = [date, region, service, 'aws4_request'].reduce<Buffer | string>(hmac, `AWS4${keys.secretAccessKey}`)
  if (hmac(key, toSign).toString('hex') !== signature) {
    problems.push('The request signature we calculated does not match the signature you provided.')
  }
  return problems
}

/** Path and query. The path's segments are encoded once more than they were sent: twice for all services but S3. */
function canonicalTarget(target: string): [path: string, query: string] {
  const [path = '', query = ''] = target.split('?')
  const pairs = query === '' ? [] : query.split('&').map((pair) => (pair.includes('=') ? pair : `${pair}=`))
  return [path.split('/').map(uriEncode).join('/'), pairs.sort().join('&')]
}

/** `UriEncode` of the documentation: all bytes but A–Z a–z 0–9 - . _ ~ as %XX. */
function uriEncode(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte)
      return /[A-Za-z0-9\-._~]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    })
    .join('')
}

function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
