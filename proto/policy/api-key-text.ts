import { assert } from '../std/assert.js'

/**
 * The text of an API key: `sy_<hint>_<43 characters secret><6 characters checksum>`. The secret is 256 random bits as
 * base64url. The checksum (CRC-32 of all that stands before it, as base64url) is no secret and proves nothing; it lets
 * an agent, a scanner of leaked secrets or a person tell a mistyped or cut key from an unknown one.
 */
const pattern = /^sy_[a-z0-9]{1,12}_[A-Za-z0-9_-]{49}$/
const checksumLength = 6
const secretLength = 43
const recognisableLength = 6
/** Characters; nothing longer is a key. */
export const apiKeyLengthMax = 70

/** The whole key from an environment's name (its first letters and digits become the hint) and 43 characters of secret. */
export function makeApiKeyText(environmentName: string, secretBase64Url: string): string {
  assert(
    secretBase64Url.length === secretLength && /^[A-Za-z0-9_-]+$/.test(secretBase64Url),
    'the secret of an API key is 256 bits as base64url',
  )
  const hint =
    environmentName
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/g, '')
      .slice(0, 12) || 'key'
  const body = `sy_${hint}_${secretBase64Url}`
  return body + checksumOf(body, body.length)
}

/** True when `text` has the shape and its checksum fits: an unknown key, then, and no mistyped one. */
export function isApiKeyText(text: string): boolean {
  if (text.length > apiKeyLengthMax || !pattern.test(text)) return false
  const bodyLength = text.length - checksumLength
  return text.endsWith(checksumOf(text, bodyLength))
}

/** What may be kept and shown to recognise a key by: everything up to the first six characters of its secret. */
export function apiKeyPrefix(text: string): string {
  return text.slice(0, text.length - checksumLength - secretLength + recognisableLength)
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

function checksumOf(text: string, length: number): string {
  let rest = crc32(text, length)
  let checksum = ''
  for (let i = 0; i < checksumLength; i++) {
    checksum = alphabet.charAt(rest & 63) + checksum
    rest >>>= 6
  }
  return checksum
}

const crcTable = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  return crc
})

/** CRC-32 (IEEE) of the first `length` characters, all of them ASCII. */
function crc32(text: string, length: number): number {
  let crc = -1
  for (let i = 0; i < length; i++) crc = (crc >>> 8) ^ (crcTable[(crc ^ text.charCodeAt(i)) & 255] ?? 0)
  return ~crc >>> 0
}
