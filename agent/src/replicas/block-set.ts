import { assert } from '../../../proto/std/assert.js'

/**
 * Names of blocks that one replica is believed to hold, the least recently used one forgotten first: what a prefix cache
 * does, without the content. In typed arrays, because a map of a hundred thousand objects costs four times the memory and
 * the collector's time. Grows by doubling, so a replica that sees little costs little.
 */
export const bytesPerBlock = 28

const none = -1
const firstCount = 256

export class BlockSet {
  #countMax: number
  #size = 0
  /** Chains of equal buckets; a power of two, less than twice as many as places. */
  #buckets = new Int32Array(0)
  #next = new Int32Array(0)
  #high = new Uint32Array(0)
  #low = new Uint32Array(0)
  /** Towards the more and the less recently used. */
  #newer = new Int32Array(0)
  #older = new Int32Array(0)
  #newest = none
  #oldest = none

  /** `countMax`: blocks held at most, at least one. */
  constructor(countMax: number) {
    assert(countMax >= 1, 'a set of blocks holds at least one')
    this.#countMax = countMax
  }

  get size(): number {
    return this.#size
  }

  get countMax(): number {
    return this.#countMax
  }

  /** At most `bytesPerBlock` for each that it may hold, or what a first handful takes. */
  get bytes(): number {
    return this.#next.length * 20 + this.#buckets.length * 4
  }

  /** Holds at most so many from now on; what is too much is forgotten, oldest first. */
  limit(countMax: number): void {
    assert(countMax >= 1, 'a set of blocks holds at least one')
    this.#countMax = countMax
    if (this.#size <= countMax) return
    const kept: [high: number, low: number][] = []
    for (let at = this.#newest; at !== none && kept.length < countMax; at = this.#older[at] ?? none) {
      kept.push([this.#high[at] ?? 0, this.#low[at] ?? 0])
    }
    this.clear()
    for (const [high, low] of kept.reverse()) this.touch(high, low)
  }

  clear(): void {
    this.#size = 0
    this.#newest = none
    this.#oldest = none
    this.#buckets = new Int32Array(0)
    this.#next = new Int32Array(0)
    this.#high = new Uint32Array(0)
    this.#low = new Uint32Array(0)
    this.#newer = new Int32Array(0)
    this.#older = new Int32Array(0)
  }

  has(high: number, low: number): boolean {
    return this.#find(high, low) !== none
  }

  /** Makes it the most recently used; beyond the limit the least recently used one is forgotten. */
  touch(high: number, low: number) {
    const found = this.#find(high, low)
    if (found !== none) {
      if (found === this.#newest) return
      this.#unlink(found)
      return this.#linkNewest(found)
    }
    const at = this.#size < this.#countMax ? this.#fresh() : this.#forgetOldest()
    this.#high[at] = high
    this.#low[at] = low
    const bucket = this.#bucketOf(high, low)
    this.#next[at] = this.#buckets[bucket] ?? none
    this.#buckets[bucket] = at
    this.#linkNewest(at)
  }

  #bucketOf(high: number, low: number): number {
    return (high ^ low) & (this.#buckets.length - 1)
  }

  #find(high: number, low: number): number {
    if (this.#size === 0) return none
    let at = this.#buckets[this.#bucketOf(high, low)] ?? none
    while (at !== none && (this.#low[at] !== low || this.#high[at] !== high)) at = this.#next[at] ?? none
    return at
  }

  #fresh(): number {
    if (this.#size === this.#next.length) this.#grow()
    return this.#size++
  }

  /** The place that is free then. */
  #forgetOldest(): number {
    const at = this.#oldest
    this.#unlink(at)
    const bucket = this.#bucketOf(this.#high[at] ?? 0, this.#low[at] ?? 0)
    let before = none
    let here = this.#buckets[bucket] ?? none
    while (here !== at) {
      before = here
      here = this.#next[here] ?? none
    }
    const after = this.#next[at] ?? none
    if (before === none) this.#buckets[bucket] = after
    else this.#next[before] = after
    return at
  }

  #linkNewest(at: number): void {
    this.#newer[at] = none
    this.#older[at] = this.#newest
    if (this.#newest !== none) this.#newer[this.#newest] = at
    else this.#oldest = at
    this.#newest = at
  }

  #unlink(at: number): void {
    const newer = this.#newer[at] ?? none
    const older = this.#older[at] ?? none
    if (newer === none) this.#newest = older
    else this.#older[newer] = older
    if (older === none) this.#oldest = newer
    else this.#newer[older] = newer
  }

  #grow(): void {
    const count = Math.min(this.#countMax, Math.max(firstCount, this.#next.length * 2))
    const larger = <T extends Int32Array | Uint32Array>(made: T, old: T): T => {
      made.set(old)
      return made
    }
    this.#next = larger(new Int32Array(count), this.#next)
    this.#high = larger(new Uint32Array(count), this.#high)
    this.#low = larger(new Uint32Array(count), this.#low)
    this.#newer = larger(new Int32Array(count), this.#newer)
    this.#older = larger(new Int32Array(count), this.#older)
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(count))).fill(none)
    for (let at = 0; at < this.#size; at++) {
      const bucket = this.#bucketOf(this.#high[at] ?? 0, this.#low[at] ?? 0)
      this.#next[at] = this.#buckets[bucket] ?? none
      this.#buckets[bucket] = at
    }
  }
}
