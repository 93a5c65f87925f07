import type { ByteMemory } from './byte-memory.js'
import { type KeptAnswer, sizeOf } from './kept-answer.js'

/** Instants of birth are known to the millisecond: so much earlier is not earlier. */
const clockGrainUs = 2_000

/**
 * Answers in this process, the least recently used of which goes first. Bounded in bytes and in entries; every step costs
 * the same however many there are, and nothing runs by itself.
 *
 * A tenant that floods it loses its own: who holds more than its share (all of it, divided by the tenants that have
 * something in it) pays for its next answer itself; only then does the oldest of all go.
 */
export class MemoryAnswers {
  readonly #bytesMax: number
  readonly #memory: ByteMemory | null
  readonly #entriesMax: number
  readonly #entries = new Map<string, Entry>()
  readonly #tenants = new Map<string, Tenant>()
  readonly #all = new Chain('olderOfAll', 'newerOfAll')
  #bytes = 0
  evictedCount = 0

  /** Both bounds at least one entry's worth; the caller keeps larger answers out. `memory`: where bytes go that nobody looks at any more. */
  constructor(options: { bytesMax: number; entriesMax: number; memory?: ByteMemory }) {
    this.#memory = options.memory ?? null
    this.#bytesMax = options.bytesMax
    this.#entriesMax = options.entriesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#entries.size
  }

  /** Counts as a use of it. `bornUs` is on the monotonic clock. */
  get(key: string): { readonly kept: KeptAnswer; readonly bornUs: number } | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    entry.isLent = true
    this.#all.toNewest(entry)
    entry.tenant.chain.toNewest(entry)
    return entry
  }

  /**
   * Replaces what was there, unless that answers a newer request. Larger than everything: not kept. `isLent`: somebody else
   * has its bytes, too.
   */
  put(key: string, kept: KeptAnswer, bornUs: number, isLent = true): void {
    const before = this.#entries.get(key)
    if (before !== undefined) {
      if (before.bornUs > bornUs + clockGrainUs) return
      // It stays in the map until the new one has its place: taking it out first costs the map more than all the rest.
      this.#unlink(before)
    }
    const bytes = sizeOf(kept) + key.length
    if (bytes > this.#bytesMax) {
      this.#entries.delete(key)
      return
    }
    const tenant = this.#tenantOf(kept.origin.tenantId)
    const entry = new Entry({ key, kept, bornUs, bytes, tenant, isLent })
    this.#entries.set(key, entry)
    this.#all.add(entry)
    tenant.chain.add(entry)
    tenant.bytes += bytes
    this.#bytes += bytes
    while (this.#bytes > this.#bytesMax || this.#entries.size > this.#entriesMax) this.#evict(entry)
  }

  delete(key: string): void {
    const entry = this.#entries.get(key)
    if (entry !== undefined) this.#remove(entry)
  }

  /** Removes those of the oldest that `isGone` says so of: up to `count`, and until `enough` were looked at that are not. */
  sweep(count: number, enough: number, isGone: (kept: KeptAnswer) => boolean): void {
    let entry = this.#all.oldest
    let stays = 0
    for (let left = count; left > 0 && stays < enough && entry !== null; left--) {
      const next: Entry | null = entry.newerOfAll
      if (isGone(entry.kept)) this.#remove(entry)
      else stays += 1
      entry = next
    }
  }

  #evict(newest: Entry): void {
    const share = this.#bytesMax / this.#tenants.size
    const own = newest.tenant
    const isOverShare = own.bytes > share && own.chain.oldest !== newest
    const victim = isOverShare ? own.chain.oldest : this.#all.oldest
    if (victim === null) return
    this.#remove(victim)
    this.evictedCount += 1
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.key)
    this.#unlink(entry)
  }

  #unlink(entry: Entry): void {
    const { tenant } = entry
    this.#all.remove(entry)
    tenant.chain.remove(entry)
    tenant.bytes -= entry.bytes
    this.#bytes -= entry.bytes
    // What was never looked up nobody is being given.
    if (!entry.isLent) this.#memory?.give(entry.kept.bytes)
    if (tenant.chain.oldest === null) this.#tenants.delete(tenant.id)
  }

  #tenantOf(id: string): Tenant {
    const known = this.#tenants.get(id)
    if (known !== undefined) return known
    const tenant = { id, chain: new Chain('olderOfTenant', 'newerOfTenant'), bytes: 0 }
    this.#tenants.set(id, tenant)
    return tenant
  }
}

interface Tenant {
  readonly id: string
  readonly chain: Chain
  bytes: number
}

class Entry {
  readonly key: string
  readonly kept: KeptAnswer
  readonly bornUs: number
  readonly bytes: number
  readonly tenant: Tenant
  /** Somebody may look at its bytes after it has gone. */
  isLent: boolean
  olderOfAll: Entry | null = null
  newerOfAll: Entry | null = null
  olderOfTenant: Entry | null = null
  newerOfTenant: Entry | null = null

  constructor(parts: Pick<Entry, 'key' | 'kept' | 'bornUs' | 'bytes' | 'tenant' | 'isLent'>) {
    this.key = parts.key
    this.kept = parts.kept
    this.bornUs = parts.bornUs
    this.bytes = parts.bytes
    this.tenant = parts.tenant
    this.isLent = parts.isLent
  }
}

/** Entries in order of their last use; each is in one chain of all and one of its tenant. */
class Chain {
  readonly #older: 'olderOfAll' | 'olderOfTenant'
  readonly #newer: 'newerOfAll' | 'newerOfTenant'
  oldest: Entry | null = null
  #newest: Entry | null = null

  constructor(older: 'olderOfAll' | 'olderOfTenant', newer: 'newerOfAll' | 'newerOfTenant') {
    this.#older = older
    this.#newer = newer
  }

  add(entry: Entry): void {
    entry[this.#older] = this.#newest
    entry[this.#newer] = null
    if (this.#newest === null) this.oldest = entry
    else this.#newest[this.#newer] = entry
    this.#newest = entry
  }

  remove(entry: Entry): void {
    const older = entry[this.#older]
    const newer = entry[this.#newer]
    if (older === null) this.oldest = newer
    else older[this.#newer] = newer
    if (newer === null) this.#newest = older
    else newer[this.#older] = older
  }

  toNewest(entry: Entry): void {
    if (this.#newest === entry) return
    this.remove(entry)
    this.add(entry)
  }
}
