import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto'
import { assert } from '../../../proto/std/assert.js'

const nonceBytes = 12
const tagBytes = 16

/**
 * AES-256-GCM under the agent's state key, for everything it keeps on disk. The context (what the bytes are and where they
 * belong) is authenticated, so that a file cannot be passed off as another. Layout: nonce, ciphertext, tag.
 */
export class StateBox {
  readonly #key: Uint8Array

  /** `key` is 32 bytes. */
  constructor(key: Uint8Array) {
    assert(key.length === 32, 'a state key is 32 bytes')
    this.#key = key
  }

  seal(plaintext: Uint8Array, context: string): Buffer {
    const nonce = randomFillSync(Buffer.alloc(nonceBytes))
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce)
    cipher.setAAD(Buffer.from(context))
    return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  }

  /** Null when the bytes were not sealed by this key for this context, or were changed since. */
  open(sealed: Uint8Array, context: string): Buffer | null {
    if (sealed.length < nonceBytes + tagBytes) return null
    const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(0, nonceBytes))
    decipher.setAAD(Buffer.from(context))
    decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
    try {
      const opened = decipher.update(sealed.subarray(nonceBytes, sealed.length - tagBytes))
      return Buffer.concat([opened, decipher.final()])
    } catch {
      return null
    }
  }
}
