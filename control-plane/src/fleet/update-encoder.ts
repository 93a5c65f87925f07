import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { snapshotUpdateCodec } from '../../../proto/gen/codec.js'
import type { ControlMessage } from '../../../proto/gen/switchyard/v1/ControlMessage.js'
import { compareNames, equalHashes, type NamedHash } from '../../../proto/snapshot/hash.js'
import { diffSnapshot, type HeldBase } from '../../../proto/snapshot/manifest.js'
import type { StoredSnapshot } from '../snapshots/snapshot.js'
import type { SnapshotStore } from '../snapshots/snapshot-store.js'

/** What an agent holds, as it says: names and hashes, no more. */
export interface HeldHashes {
  readonly rootHash: Buffer
  readonly sections: ReadonlyMap<string, Buffer>
}

export interface UpdateOptions {
  /** The agent must forget what it holds. */
  readonly resync: boolean
  /** The agent can undo gzip. (grpc-js servers do not compress answers, so it is done in the message.) */
  readonly gzip: boolean
}

/**
 * Bytes of updates, encoded and compressed once per (generation, base) and shared by every agent that stands there. In a healthy fleet that
 * is one entry per view; a handful are kept.
 */
export class UpdateEncoder {
  readonly #store: SnapshotStore
  readonly #encode: (message: ControlMessage) => Buffer
  readonly #encoded = new Map<string, Promise<Buffer>>()

  constructor(options: { store: SnapshotStore; encode: (message: ControlMessage) => Buffer }) {
    this.#store = options.store
    this.#encode = options.encode
  }

  /** A whole ControlMessage. `held` null: everything. */
  update(desired: StoredSnapshot, held: HeldHashes | null, options: UpdateOptions): Promise<Buffer> {
    const { view, epoch, generation } = desired
    const key = [
      view,
      epoch,
      generation,
      desired.rootHash.toString('hex'),
      options.resync,
      options.gzip,
      baseName(held),
    ].join(' ')
    const known = this.#encoded.get(key)
    if (known !== undefined) return known
    const made = this.#make(desired, held, options)
    this.#encoded.set(key, made)
    made.catch(() => this.#encoded.delete(key))
    for (const oldest of this.#encoded.keys()) {
      if (this.#encoded.size <= encodedCountMax) break
      this.#encoded.delete(oldest)
    }
    return made
  }

  async #make(desired: StoredSnapshot, held: HeldHashes | null, options: UpdateOptions): Promise<Buffer> {
    const base = held === null ? null : await this.#baseOf(desired, held)
    const update = diffSnapshot(desired, base, options)
    if (!options.gzip) return this.#encode({ update })
    const bytes = snapshotUpdateCodec.encode(update)
    if (bytes.length < compressedBytesMin) return this.#encode({ update })
    return this.#encode({ updateGzip: await gzip(bytes) })
  }

  /** Names inside those sections that differ; a section that nobody remembers is sent whole. */
  async #baseOf(desired: StoredSnapshot, held: HeldHashes): Promise<HeldBase> {
    const sections = new Map<string, { hash: Buffer; resources: readonly NamedHash[] | null }>()
    for (const section of desired.sections) {
      const hash = held.sections.get(section.name)
      if (hash === undefined) continue
      const isSame = equalHashes(hash, section.hash)
      sections.set(section.name, { hash, resources: isSame ? null : await this.#store.findSectionNames(hash) })
    }
    return { rootHash: held.rootHash, sections }
  }
}

/** The base in full and not by its root alone: an agent that lies about its sections spoils nobody else's update. */
function baseName(held: HeldHashes | null): string {
  if (held === null) return 'full'
  const hash = createHash('sha256').update(held.rootHash)
  const sections = [...held.sections].sort(([a], [b]) => compareNames(a, b))
  for (const [name, sectionHash] of sections) hash.update(`${name.length} ${name} `).update(sectionHash)
  return hash.digest('hex')
}

const encodedCountMax = 32
/** Below this an update fits a few packets anyway. */
const compressedBytesMin = 16 * 1024
const gzip = promisify(zlib.gzip)
