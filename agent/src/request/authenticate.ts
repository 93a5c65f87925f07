import { hash } from 'node:crypto'
import { apiKeyLengthMax, isApiKeyText } from '../../../proto/policy/api-key-text.js'
import type { ApiKeyTable, DecisionTables } from '../../../proto/policy/tables.js'
import { refuse } from '../../../proto/std/refusal.js'
import type { ClientCall } from './ports.js'
import type { RequestRefusal } from './request-refusal.js'

export interface Authenticated {
  readonly key: ApiKeyTable
  /** SHA-256 of the key, lower-case hexadecimal: what tables are keyed by. */
  readonly secretHash: string
}

const missing = refuse(
  'missing_api_key',
  "You didn't provide an API key. Send it as `Authorization: Bearer …`, or in the `x-api-key` or `api-key` header.",
)
const invalid = refuse('invalid_api_key', 'Incorrect API key provided.')
const mistyped = refuse(
  'invalid_api_key',
  'Incorrect API key provided: it is mistyped or cut (its checksum does not fit).',
)
const revoked = refuse('revoked_api_key', 'This API key was revoked.')
const expired = refuse('expired_api_key', 'This API key has expired.')

/**
 * Whose request this is. Denied keys are looked at first, so that a revocation holds even where the key's own section is
 * stale. The key itself is hashed and forgotten; it is never compared, stored or logged.
 */
export function authenticate(call: ClientCall, tables: DecisionTables, nowMs: number): Authenticated | RequestRefusal {
  const text = apiKeyOf(call)
  if (text === null) return missing
  if (text.length > apiKeyLengthMax) return mistyped
  const secretHash = hash('sha256', text, 'hex')
  if (tables.denied.size > 0 && tables.denied.get(secretHash) !== undefined) return revoked
  const key = tables.keys.get(secretHash)
  if (key === undefined) return isApiKeyText(text) ? invalid : mistyped
  if (nowMs >= key.expiresAtMs) return expired
  return { key, secretHash }
}

const bearer = /^bearer /i

function apiKeyOf(call: ClientCall): string | null {
  const authorization = call.header('authorization')
  if (authorization === undefined) return call.header('x-api-key') ?? call.header('api-key') ?? null
  return authorization.startsWith('Bearer ') || bearer.test(authorization) ? authorization.slice(7).trim() : null
}
