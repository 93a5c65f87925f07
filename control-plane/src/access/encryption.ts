import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { assert, must } from '../../../proto/std/assert.js'

const algorithm = 'aes-256-gcm'
const nonceBytes = 12
const tagBytes = 16
const keyBytes = 32

export interface Sealed {
  /** nonce (12) · ciphertext · tag (16). */
  readonly ciphertext: Uint8Array<ArrayBuffer>
  readonly wrapKeyId: string
}

/** The keys of the settings are not the ones that the database was sealed under; the sentence is for the operator. */
export class WrongWrapKey extends Error {
  override readonly name = 'WrongWrapKey'
}

/**
 * The keys that secrets at rest are sealed under, by id. The first is active: it seals; the others only open, until
 * `rotate-keys` has re-wrapped everything and the operator takes them out of the settings. `context` (for example
 * `credential/<id>/<version>`) is authenticated with the text, so a ciphertext copied to another row does not open.
 */
export class KeyRing {
  readonly activeKeyId: string
  readonly #keys: ReadonlyMap<string, Buffer>

  private constructor(keys: ReadonlyMap<string, Buffer>) {
    this.activeKeyId = must([...keys.keys()][0], 'a key ring holds at least one key')
    this.#keys = keys
  }

  /** From `id:base64(32 bytes)` texts, the first active. Faults name the position, never the key. */
  static parse(texts: readonly string[]): KeyRing {
    const keys = new Map<string, Buffer>()
    texts.forEach((text, index) => {
      const match = /^([A-Za-z0-9._-]{1,40}):([A-Za-z0-9+/_-]+={0,2})$/.exec(text)
      const key = Buffer.from(match?.[2] ?? '', 'base64')
      assert(match?.[1] !== undefined && key.length === keyBytes, `wrap key ${index + 1} is not id:base64 of 32 bytes`)
      assert(!keys.has(match[1]), `wrap key id ${match[1]} is given twice`)
      keys.set(match[1], key)
    })
    return new KeyRing(keys)
  }

  get keyIds(): readonly string[] {
    return [...this.#keys.keys()]
  }

  seal(plaintext: Uint8Array, context: string): Sealed {
    const nonce = randomBytes(nonceBytes)
    const cipher = createCipheriv(algorithm, must(this.#keys.get(this.activeKeyId), 'the active key'), nonce)
    cipher.setAAD(Buffer.from(context, 'utf8'))
    const sealed = Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
    return { ciphertext: new Uint8Array(sealed), wrapKeyId: this.activeKeyId }
  }

  /** Faults when the key is not in the ring, the bytes were changed, or the context is another. */
  open(ciphertext: Uint8Array, wrapKeyId: string, context: string): Uint8Array<ArrayBuffer> {
    const key = this.#keys.get(wrapKeyId)
    if (key === undefined) {
      throw new WrongWrapKey(
        `${context} is sealed under the wrap key ${wrapKeyId}, which is not among SWITCHYARD_WRAP_KEYS: put it back into the list`,
      )
    }
    assert(ciphertext.length >= nonceBytes + tagBytes, `${context} is too short to be sealed`)
    const decipher = createDecipheriv(algorithm, key, ciphertext.subarray(0, nonceBytes))
    decipher.setAAD(Buffer.from(context, 'utf8'))
    decipher.setAuthTag(ciphertext.subarray(ciphertext.length - tagBytes))
    const opened = decipher.update(ciphertext.subarray(nonceBytes, ciphertext.length - tagBytes))
    try {
      return new Uint8Array(Buffer.concat([opened, decipher.final()]))
    } catch (cause) {
      throw new WrongWrapKey(
        `${context} does not open with the wrap key ${wrapKeyId}: SWITCHYARD_WRAP_KEYS has another key under this name, or the database was changed`,
        { cause },
      )
    }
  }
}
