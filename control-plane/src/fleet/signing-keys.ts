import { createHash } from 'node:crypto'
import { rawPublicKeyOf } from '../../../proto/snapshot/raw-keys.js'
import { signHeader } from '../../../proto/snapshot/sign.js'
import { must } from '../../../proto/std/assert.js'
import { randomSecret } from '../../../proto/std/ids.js'
import type { KeyRing } from '../access/encryption.js'
import type { Database, Transaction } from '../database/database.js'
import type { SnapshotSigner } from '../snapshots/reconciler.js'

export interface PublicSigningKey {
  readonly keyId: string
  /** Ed25519, 32 bytes raw. */
  readonly publicKey: Buffer
}

/** Ed25519 keys that sign snapshots. The newest that is not retired signs; agents trust all that are not retired. */
export class SigningKeys implements SnapshotSigner {
  readonly #options: { database: Database; keyRing: KeyRing }
  #opened: { readonly keyId: string; readonly seed: Uint8Array } | null = null

  constructor(options: { database: Database; keyRing: KeyRing }) {
    this.#options = options
  }

  /** How the key signs; the last one opened is kept. Faults when there is no such key. */
  async open(keyId: string): Promise<(header: Uint8Array) => Buffer> {
    const { database, keyRing } = this.#options
    if (this.#opened?.keyId !== keyId) {
      const row = must(
        await database.rows.signingKey.findUnique({ where: { id: keyId } }),
        `signing key ${keyId} is in the record`,
      )
      this.#opened = { keyId, seed: keyRing.open(row.privateKey, row.wrapKeyId, signingKeyContext(keyId)) }
    }
    const { seed } = this.#opened
    return (header) => signHeader(header, seed)
  }

  /** All that agents may trust, newest first. */
  async loadTrusted(): Promise<readonly PublicSigningKey[]> {
    const rows = await this.#options.database.rows.signingKey.findMany({
      where: { retiredAt: null },
      orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
      select: { id: true, publicKey: true },
    })
    return rows.map(({ id, publicKey }) => ({ keyId: id, publicKey: Buffer.from(publicKey) }))
  }

  /** Adds a key, which signs from now on; the others stay trusted until they are retired. Returns its id. */
  async add(transaction: Transaction): Promise<string> {
    const key = newSigningKey(transaction.now.getTime())
    await transaction.rows.signingKey.create({
      data: {
        ...key.row(this.#options.keyRing),
        publicKey: new Uint8Array(rawPublicKeyOf('ed25519', key.seed)),
        createdAt: transaction.now,
      },
    })
    return key.keyId
  }
}

/** A new key: its id tells it from others in logs, no more. */
export function newSigningKey(nowMs: number): {
  readonly keyId: string
  readonly seed: Uint8Array
  row(keyRing: KeyRing): { id: string; privateKey: Uint8Array<ArrayBuffer>; wrapKeyId: string }
} {
  const seed = randomSecret(32)
  const fingerprint = createHash('sha256').update(rawPublicKeyOf('ed25519', seed)).digest('hex').slice(0, 16)
  const keyId = `sig_${nowMs.toString(36)}_${fingerprint}`
  return {
    keyId,
    seed,
    row: (keyRing) => {
      const sealed = keyRing.seal(seed, signingKeyContext(keyId))
      return { id: keyId, privateKey: sealed.ciphertext, wrapKeyId: sealed.wrapKeyId }
    },
  }
}

/** Associated data of a sealed signing key. */
export function signingKeyContext(keyId: string): string {
  return `signing-key/${keyId}`
}
