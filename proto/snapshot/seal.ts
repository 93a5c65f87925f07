import { createCipheriv, createDecipheriv, diffieHellman, hkdfSync } from 'node:crypto'
import { privateKeyOf, publicKeyOf, rawPublicKeyOf } from './raw-keys.js'

/**
 * A provider credential for one agent: X25519 with an ephemeral key, HKDF-SHA256, AES-256-GCM.
 *
 *   sealed    u8 1 · ephemeral public key (32) · ciphertext (as long as the secret) · tag (16)
 *   context   text("switchyard/seal/1") · text(agentId) · text(credentialId) · u32 version, where text = u32 length · UTF-8
 *   key·nonce HKDF(ikm = X25519(ephemeral, recipient), salt = ephemeral public · recipient public, info = context): 32 · 12
 *   AAD       context
 *
 * The nonce is derived, not sent: an ephemeral key seals exactly once, so key and nonce never meet another plaintext. The
 * context is in both info and AAD: an envelope for another agent, credential or version does not open.
 */
export interface SealContext {
  readonly agentId: string
  readonly credentialId: string
  readonly version: number
}

/** Seals `secret` to `recipientPublicKey` (raw 32 bytes). `ephemeralPrivateKey`: 32 fresh random bytes, used once. */
export function sealSecret(options: {
  secret: Uint8Array
  recipientPublicKey: Uint8Array
  ephemeralPrivateKey: Uint8Array
  context: SealContext
}): Buffer {
  const ephemeralPublic = rawPublicKeyOf('x25519', options.ephemeralPrivateKey)
  const context = contextBytes(options.context)
  const { key, nonce } = deriveKey(options.ephemeralPrivateKey, options.recipientPublicKey, {
    salt: Buffer.concat([ephemeralPublic, options.recipientPublicKey]),
    context,
  })
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(context)
  const ciphertext = Buffer.concat([cipher.update(options.secret), cipher.final()])
  return Buffer.concat([Buffer.of(layoutVersion), ephemeralPublic, ciphertext, cipher.getAuthTag()])
}

/** The secret, or null when the envelope is not for this key and context or was touched. Never throws. */
export function openSealed(options: {
  sealed: Uint8Array
  recipientPrivateKey: Uint8Array
  context: SealContext
}): Buffer | null {
  const { sealed } = options
  if (sealed.length < overheadBytes || sealed[0] !== layoutVersion) return null
  const ephemeralPublic = sealed.subarray(1, 33)
  const context = contextBytes(options.context)
  try {
    const recipientPublic = rawPublicKeyOf('x25519', options.recipientPrivateKey)
    const { key, nonce } = deriveKey(options.recipientPrivateKey, ephemeralPublic, {
      salt: Buffer.concat([ephemeralPublic, recipientPublic]),
      context,
    })
    const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAAD(context)
    decipher.setAuthTag(sealed.subarray(sealed.length - 16))
    return Buffer.concat([decipher.update(sealed.subarray(33, sealed.length - 16)), decipher.final()])
  } catch {
    return null
  }
}

/** False for a public key that nothing may be sealed to (wrong length, low order). */
export function isSealingKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== 32) return false
  try {
    // Any private key tells: node refuses the all-zero shared secret that a low-order point gives.
    diffieHellman({
      privateKey: privateKeyOf('x25519', Buffer.alloc(32, 0x77)),
      publicKey: publicKeyOf('x25519', publicKey),
    })
    return true
  } catch {
    return false
  }
}

const layoutVersion = 1
const overheadBytes = 1 + 32 + 16

function deriveKey(
  ownPrivate: Uint8Array,
  otherPublic: Uint8Array,
  options: { salt: Uint8Array; context: Uint8Array },
): { key: Buffer; nonce: Buffer } {
  const shared = diffieHellman({
    privateKey: privateKeyOf('x25519', ownPrivate),
    publicKey: publicKeyOf('x25519', otherPublic),
  })
  const derived = Buffer.from(hkdfSync('sha256', shared, options.salt, options.context, 44))
  return { key: derived.subarray(0, 32), nonce: derived.subarray(32) }
}

function contextBytes(context: SealContext): Buffer {
  const version = Buffer.alloc(4)
  version.writeUInt32BE(context.version)
  return Buffer.concat([
    ...['switchyard/seal/1', context.agentId, context.credentialId].flatMap((text) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(Buffer.byteLength(text))
      return [length, Buffer.from(text)]
    }),
    version,
  ])
}
