import { createHash } from 'node:crypto'
import { makeApiKeyText } from '../../proto/policy/api-key-text.js'

/** A key of a tenant of the bench: the same in every process. */
export function apiKeyOf(tenant: number, key: number): string {
  return makeApiKeyText('production', createHash('sha256').update(`${tenant}/${key}`).digest('base64url'))
}
