import {
  isSnapshotRefusalCode,
  type SnapshotRefusal,
  snapshotRefusal,
} from '../../../proto/snapshot/snapshot-refusal.js'
import type { StateFolder } from './state-folder.js'

/**
 * Content that this version of the agent cannot use, by root hash, so that offering it again costs nothing and answers the
 * same. Only refusals that are a function of verified content are kept. Another agent version starts empty: it may be able.
 */
export class Quarantine {
  readonly #folder: StateFolder
  readonly #agentVersion: string
  readonly #entries = new Map<string, readonly SnapshotRefusal[]>()

  constructor(folder: StateFolder, agentVersion: string) {
    this.#folder = folder
    this.#agentVersion = agentVersion
  }

  async load(): Promise<void> {
    const bytes = await this.#folder.readSealed(fileName)
    // Lost: the same content will be refused again, which is only work.
    if (bytes === null || bytes === 'unreadable') return
    const stored = JSON.parse(bytes.toString('utf8')) as StoredJson
    if (stored.agentVersion !== this.#agentVersion) return
    for (const { rootHash, refusals } of stored.entries) {
      const known = refusals.flatMap(({ code, message, ...place }) =>
        isSnapshotRefusalCode(code) ? [snapshotRefusal(code, message, place)] : [],
      )
      if (known.length > 0) this.#entries.set(rootHash, known)
    }
  }

  /** Why sections of this root are not to be tried; empty when nothing is known against it. */
  get(rootHash: Uint8Array): readonly SnapshotRefusal[] {
    return this.#entries.get(hex(rootHash)) ?? []
  }

  /** Remembers what of `refusals` may not be tried again. Writes only when that is news. */
  async add(rootHash: Uint8Array, refusals: readonly SnapshotRefusal[]): Promise<void> {
    const lasting = refusals.filter((refusal) => !refusal.retryable)
    if (lasting.length === 0 || this.#entries.has(hex(rootHash))) return
    this.#entries.set(hex(rootHash), lasting)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= entriesMax) break
      this.#entries.delete(oldest)
    }
    await this.#write()
  }

  /** An operator said to try again. */
  async lift(rootHash: Uint8Array): Promise<void> {
    if (this.#entries.delete(hex(rootHash))) await this.#write()
  }

  async #write(): Promise<void> {
    const stored: StoredJson = {
      agentVersion: this.#agentVersion,
      entries: [...this.#entries].map(([rootHash, refusals]) => ({ rootHash, refusals })),
    }
    await this.#folder.writeSealed(fileName, Buffer.from(JSON.stringify(stored)))
  }
}

const fileName = 'quarantine'
const entriesMax = 64
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

interface StoredJson {
  agentVersion: string
  entries: {
    rootHash: string
    refusals: readonly { code: string; section: string; resource: string; path: string; message: string }[]
  }[]
}
