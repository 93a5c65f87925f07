import { createHash } from 'node:crypto'
import { rawPublicKeyOf } from '../../../proto/snapshot/raw-keys.js'
import { signHeader } from '../../../proto/snapshot/sign.js'
import type { Clock } from '../../../proto/std/clock.js'
import { randomSecret } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
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
  readonly #options: { database: Database; keyRing: KeyRing; clock: Clock }
  #opened: { readonly keyId: string; readonly seed: Uint8Array } | null = null
  #current: { readonly keyId: string; readonly loadedAtMs: number } | null = null

  constructor(options: { database: Database; keyRing: KeyRing; clock: Clock }) {
    this.#options = options
  }

  /** The key that signs now; at most a second old. Refuses `unavailable` while the installation has none. */
  async currentKey(): Promise<{ readonly keyId: string; sign(header: Uint8Array): Buffer }> {
    const { database, keyRing, clock } = this.#options
    const nowMs = clock.nowMs()
    if (this.#current === null || this.#current.loadedAtMs + currentMsMax < nowMs) {
      const row = await database.rows.signingKey.findFirst({
        where: { retiredAt: null },
        orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
      })
      if (row === null) return throwRefusal('unavailable', 'this installation has no signing key')
      if (this.#opened?.keyId !== row.id) {
        this.#opened = { keyId: row.id, seed: keyRing.open(row.privateKey, row.wrapKeyId, signingKeyContext(row.id)) }
      }
      this.#current = { keyId: row.id, loadedAtMs: nowMs }
    }
    const { keyId, seed } = this.#opened ?? throwRefusal('unavailable', 'this installation has no signing key')
    return { keyId, sign: (header) => signHeader(header, seed) }
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

/** A retired key must stop to sign soon, and a lookup per view and pass would be too many. */
const currentMsMax = 1000
