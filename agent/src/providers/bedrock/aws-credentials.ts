import { parseJsonObject } from '../../conversation/json-object.js'
import type { Expiring } from '../access-tokens.js'

/** What a call is signed with. One object per credential: signers are kept by it. */
export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Null for keys that do not expire. */
  readonly sessionToken: string | null
}

/** Given by AWS for a while. */
export interface TemporaryCredentials extends AwsCredentials, Expiring {}

/** Headers carry two of them, and the third is never empty. */
const printable = /^[\x21-\x7e]+$/

export function awsCredentials(
  accessKeyId: unknown,
  secretAccessKey: unknown,
  sessionToken: unknown,
): AwsCredentials | null {
  const token = sessionToken ?? null
  if (!isPrintable(accessKeyId) || !isPrintable(secretAccessKey) || (token !== null && !isPrintable(token))) return null
  return Object.freeze({ accessKeyId, secretAccessKey, sessionToken: token })
}

/** A provider's secret, which is a JSON object of the three; null for anything else. */
export function credentialsInSecret(secret: string): AwsCredentials | null {
  const fields = parseJsonObject(secret)
  return fields && awsCredentials(fields['accessKeyId'], fields['secretAccessKey'], fields['sessionToken'])
}

function isPrintable(value: unknown): value is string {
  return typeof value === 'string' && printable.test(value)
}
