import { must } from '../../../proto/std/assert.js'
import type { ByteMemory } from './byte-memory.js'
import { type KeptAnswer, type KeptOrigin, sizeOf } from './kept-answer.js'

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
  readonly #spare: Entry[] = []
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
    this.#all.toNewest(entry)
    entry.tenant.chain.toNewest(entry)
    return { kept: entry.give(), bornUs: entry.bornUs }
  }

  /**
   * Replaces what was there, unless that answers a newer request. Larger than everything: not kept. `piece`: memory of
   * `ByteMemory` that the answer's bytes begin in and that nobody else looks at, which is used again once the answer has gone;
   * null: somebody else has its bytes, too.
   */
  put(key: string, kept: KeptAnswer, bornUs: number, piece: Buffer | null = null): void {
    const before = this.#entries.get(key)
    if (before !== undefined) {
      if (before.bornUs > bornUs + clockGrainUs) {
        if (piece !== null) this.#memory?.give(piece)
        return
      }
      // It stays in the map until the new one has its place: taking it out first costs the map more than all the rest.
      this.#unlink(before)
    }
    const bytes = sizeOf(kept, piece?.length) + key.length
    if (bytes > this.#bytesMax) {
      this.#entries.delete(key)
      if (piece !== null) this.#memory?.give(piece)
      return
    }
    const tenant = this.#tenantOf(kept.origin.tenantId)
    const entry = this.#spare.pop() ?? new Entry(tenant)
    entry.fill({ key, kept, bornUs, bytes, tenant, piece })
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
  sweep(count: number, enough: number, isGone: (kept: DatedAnswer) => boolean): void {
    let entry = this.#all.oldest
    let stays = 0
    for (let left = count; left > 0 && stays < enough && entry !== null; left--) {
      const next: Entry | null = entry.newerOfAll
      if (isGone(entry)) this.#remove(entry)
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
    const piece = entry.leave()
    if (piece !== null) this.#memory?.give(piece)
    if (this.#spare.length < spareMax) this.#spare.push(entry)
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

/** What a sweep looks at. */
export type DatedAnswer = Pick<KeptAnswer, 'bornAtMs' | 'keptSeconds' | 'origin'>

interface EntryParts {
  readonly key: string
  readonly kept: KeptAnswer
  readonly bornUs: number
  readonly bytes: number
  readonly tenant: Tenant
  readonly piece: Buffer | null
}

/**
 * A place in the cache, used again for the next answer. Most answers are never asked for again: as long as nobody was given
 * one, it is here member by member, in an object and a piece of memory that are old already, and of what was made for it
 * nothing lives on. Objects that live as long as a cache keeps them are what a collector of young ones works hardest for:
 * measured, a twelfth of what a request costs.
 */
class Entry implements DatedAnswer {
  key = ''
  // Begun with a fraction, instants are held in place; as whole numbers each new one would be an object of its own.
  bornUs = 0.5
  bytes = 0
  tenant: Tenant
  bornAtMs = 0.5
  keptSeconds = 0
  origin: KeptOrigin = nowhere
  olderOfAll: Entry | null = null
  newerOfAll: Entry | null = null
  olderOfTenant: Entry | null = null
  newerOfTenant: Entry | null = null
  /** Once somebody has it; what follows is of before. */
  #kept: KeptAnswer | null = null
  #piece: Buffer | null = null
  #length = 0
  #stream = false
  #tailAt = 0
  #isUsageKnown = false
  #input = 0
  #output = 0
  #cachedInput: number | null = null
  #cacheWriteInput: number | null = null
  #reasoningOutput: number | null = null
  #model: string | null = null
  #modelId = ''
  #dropped: string | null = null
  #capped: string | null = null
  #classes: readonly string[] = nothing
  #question: string | null = null

  constructor(tenant: Tenant) {
    this.tenant = tenant
  }

  fill({ key, kept, bornUs, bytes, tenant, piece }: EntryParts): void {
    this.key = key
    this.bornUs = bornUs
    this.bytes = bytes
    this.tenant = tenant
    this.bornAtMs = kept.bornAtMs
    this.keptSeconds = kept.keptSeconds
    this.origin = kept.origin
    this.#piece = piece
    this.#kept = piece === null ? kept : null
    if (piece === null) return
    const { usage } = kept
    this.#length = kept.bytes.length
    this.#stream = kept.stream
    this.#tailAt = kept.tailAt
    this.#isUsageKnown = usage !== null
    if (usage !== null) {
      this.#input = usage.input
      this.#output = usage.output
      this.#cachedInput = usage.cachedInput
      this.#cacheWriteInput = usage.cacheWriteInput
      this.#reasoningOutput = usage.reasoningOutput
    }
    // Mostly the same text as before, which then need not live on a second time.
    if (this.#model !== kept.model) this.#model = kept.model
    if (this.#modelId !== kept.modelId) this.#modelId = kept.modelId
    if (this.#dropped !== kept.dropped) this.#dropped = kept.dropped
    if (this.#capped !== kept.capped) this.#capped = kept.capped
    this.#classes = kept.classes
    this.#question = kept.question
  }

  /** For whoever asked: it is then in other hands for as long as they like. */
  give(): KeptAnswer {
    const piece = this.#piece
    if (this.#kept !== null || piece === null) return must(this.#kept, 'an entry holds an answer')
    this.#piece = null
    this.#kept = {
      stream: this.#stream,
      bytes: piece.subarray(0, this.#length),
      tailAt: this.#tailAt,
      usage: this.#isUsageKnown
        ? {
            input: this.#input,
            output: this.#output,
            cachedInput: this.#cachedInput,
            cacheWriteInput: this.#cacheWriteInput,
            reasoningOutput: this.#reasoningOutput,
          }
        : null,
      model: this.#model,
      modelId: this.#modelId,
      dropped: this.#dropped,
      capped: this.#capped,
      bornAtMs: this.bornAtMs,
      classes: this.#classes,
      keptSeconds: this.keptSeconds,
      origin: this.origin,
      question: this.#question,
    }
    return this.#kept
  }

  /** Lets go of all that is worth memory. Gives the piece that can be used again, if there is one. */
  leave(): Buffer | null {
    const piece = this.#piece
    this.key = ''
    this.#piece = null
    this.#kept = null
    this.#question = null
    this.#dropped = null
    this.#classes = nothing
    this.origin = nowhere
    return piece
  }
}

/** Entries that wait to be used again. */
const spareMax = 256
const nothing: readonly string[] = Object.freeze([])
const nowhere: KeptOrigin = Object.freeze({
  tenantId: '',
  environmentId: '',
  routeId: '',
  promptId: null,
  promptVersion: null,
  tags: nothing,
  documents: nothing,
})

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
    // An entry that waits to be used again must not keep its old neighbours.
    entry[this.#older] = null
    entry[this.#newer] = null
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
