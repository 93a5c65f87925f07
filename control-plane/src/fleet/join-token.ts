import { createHash } from 'node:crypto'

/**
 * `sjt_<id>.<secret>.<SHA-256 of the CA certificate>`, the last two base64url. The agent learns from the third part whom to
 * trust before it says anything; the second is the proof, of which only a hash is stored.
 */
export interface JoinTokenParts {
  readonly id: string
  /** 32 bytes. */
  readonly secret: Buffer
  readonly certificateSha256: Buffer
}

const shape = /^sjt_([0-9a-z_]{1,64})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})$/

export function formatJoinToken({ id, secret, certificateSha256 }: JoinTokenParts): string {
  return `sjt_${id}.${secret.toString('base64url')}.${certificateSha256.toString('base64url')}`
}

/** Null when `text` is not one. */
export function parseJoinToken(text: string): JoinTokenParts | null {
  const match = shape.exec(text)
  if (match === null) return null
  const [, id = '', secret = '', pin = ''] = match
  return { id, secret: Buffer.from(secret, 'base64url'), certificateSha256: Buffer.from(pin, 'base64url') }
}

export function hashJoinSecret(secret: Uint8Array): Buffer {
  return createHash('sha256').update(secret).digest()
}
