import { assert } from '../../../proto/std/assert.js'

/**
 * Names of blocks that one replica is believed to hold, the least recently used one forgotten first: what a prefix cache
 * does, without the content. In typed arrays, because a map of a hundred thousand objects costs four times the memory and
 * the collector's time. Grows by doubling, so a replica that sees little costs little.
 */
export const bytesPerBlock = 28

/** Memory may be for so many times the blocks that a set may hold, where it may hold fewer than before. */
export const limitSlack = 1.25

const none = -1
const firstCount = 256

export class BlockSet {
  #countMax: number
  #size = 0
  /** Places ever used; those of them that hold nothing now are chained, by `#next`, from `#free`. */
  #usedCount = 0
  #free = none
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

  /** At most `bytesPerBlock` for each that it may hold, `limitSlack` times that where it was limited, or a first handful's. */
  get bytes(): number {
    return this.#next.length * 20 + this.#buckets.length * 4
  }

  /** Holds at most so many from now on; what is too much is forgotten, oldest first. Costs as much as is forgotten. */
  limit(countMax: number): void {
    assert(countMax >= 1, 'a set of blocks holds at least one')
    this.#countMax = countMax
    while (this.#size > countMax) {
      const at = this.#forgetOldest()
      this.#next[at] = this.#free
      this.#free = at
      this.#size -= 1
    }
    // Memory follows, but not each small step: that costs a pass over what is held.
    const placeCount = this.#next.length
    if (placeCount > firstCount && placeCount > countMax * limitSlack) this.#resize(countMax)
  }

  clear(): void {
    this.#size = 0
    this.#usedCount = 0
    this.#free = none
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
    this.#size += 1
    const at = this.#free
    if (at !== none) {
      this.#free = this.#next[at] ?? none
      return at
    }
    if (this.#usedCount === this.#next.length) {
      this.#resize(Math.min(this.#countMax, Math.max(firstCount, this.#next.length * 2)))
    }
    return this.#usedCount++
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

  /** Moves what is held into arrays of so many places, the oldest in the first. */
  #resize(placeCount: number): void {
    const [high, low] = [new Uint32Array(placeCount), new Uint32Array(placeCount)]
    let count = 0
    for (let at = this.#oldest; at !== none; at = this.#newer[at] ?? none) {
      high[count] = this.#high[at] ?? 0
      low[count] = this.#low[at] ?? 0
      count += 1
    }
    this.#high = high
    this.#low = low
    this.#usedCount = count
    this.#free = none
    this.#next = new Int32Array(placeCount)
    this.#newer = new Int32Array(placeCount)
    this.#older = new Int32Array(placeCount)
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(placeCount))).fill(none)
    this.#newest = none
    this.#oldest = none
    for (let at = 0; at < count; at++) {
      const bucket = this.#bucketOf(high[at] ?? 0, low[at] ?? 0)
      this.#next[at] = this.#buckets[bucket] ?? none
      this.#buckets[bucket] = at
      this.#linkNewest(at)
    }
  }
}
