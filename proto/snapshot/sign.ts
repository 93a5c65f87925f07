import { sign, verify } from 'node:crypto'
import { privateKeyOf, publicKeyOf } from './raw-keys.js'

/**
 * Ed25519 over the header's bytes exactly as they travel. The header names the root, the root covers every section and
 * every removed name, each section covers every resource: one signature for all of it.
 */

/** Signature (64 bytes) of a serialized SnapshotHeader under a raw 32-byte private key. */
export function signHeader(header: Uint8Array, privateKey: Uint8Array): Buffer {
  return sign(null, header, privateKeyOf('ed25519', privateKey))
}

/** False for a wrong signature, a wrong key, or bytes that are neither. Never throws. */
export function verifyHeader(header: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean {
  if (signature.length !== 64 || publicKey.length !== 32) return false
  try {
    return verify(null, header, publicKeyOf('ed25519', publicKey), signature)
  } catch {
    return false
  }
}
