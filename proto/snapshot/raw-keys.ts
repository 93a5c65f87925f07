import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { assert } from '../std/assert.js'

/**
 * Curve25519 keys travel and rest as 32 raw bytes; node wants ASN.1 around them. RFC 8410 fixes what stands before the 32
 * bytes, so it is a constant.
 */
export type Curve = 'ed25519' | 'x25519'

const publicPrefix = {
  ed25519: Buffer.from('302a300506032b6570032100', 'hex'),
  x25519: Buffer.from('302a300506032b656e032100', 'hex'),
}
const privatePrefix = {
  ed25519: Buffer.from('302e020100300506032b657004220420', 'hex'),
  x25519: Buffer.from('302e020100300506032b656e04220420', 'hex'),
}

/** 32 raw bytes → public key. Faults on another length; whether the point is sound shows when it is used. */
export function publicKeyOf(curve: Curve, raw: Uint8Array): KeyObject {
  assert(raw.length === 32, `a raw ${curve} public key has 32 bytes`)
  return createPublicKey({ key: Buffer.concat([publicPrefix[curve], raw]), format: 'der', type: 'spki' })
}

/** 32 raw bytes (for Ed25519 the seed of RFC 8032) → private key. */
export function privateKeyOf(curve: Curve, raw: Uint8Array): KeyObject {
  assert(raw.length === 32, `a raw ${curve} private key has 32 bytes`)
  return createPrivateKey({ key: Buffer.concat([privatePrefix[curve], raw]), format: 'der', type: 'pkcs8' })
}

/** The raw 32-byte public key that belongs to a raw private key. */
export function rawPublicKeyOf(curve: Curve, rawPrivate: Uint8Array): Buffer {
  const der = createPublicKey(privateKeyOf(curve, rawPrivate)).export({ format: 'der', type: 'spki' })
  return der.subarray(der.length - 32)
}
