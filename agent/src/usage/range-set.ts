import { assert } from '../../../proto/std/assert.js'

/**
 * A set of whole numbers held as disjoint half-open ranges in ascending order. Sequences are dense, so it stays as small
 * as the number of requests that are overtaken by their successors.
 */
export class RangeSet {
  /** [start, end, start, end, …), strictly ascending. */
  #bounds: number[] = []

  get rangeCount(): number {
    return this.#bounds.length / 2
  }

  has(value: number): boolean {
    return this.#position(value) % 2 === 1
  }

  /** Adds [start, end). */
  add(start: number, end: number): void {
    assert(start < end, 'range set: start < end')
    const bounds = this.#bounds
    const last = bounds.length - 1
    if (last < 0 || start > (bounds[last] as number)) {
      bounds.push(start, end)
      return
    }
    if (start === bounds[last]) {
      bounds[last] = end
      return
    }
    // Ranges that touch [start, end) are replaced by one that spans them all.
    let from = this.#firstEndingAtOrAfter(start)
    let to = from
    let low = start
    let high = end
    while (to < bounds.length && (bounds[to] as number) <= end) {
      low = Math.min(low, bounds[to] as number)
      high = Math.max(high, bounds[to + 1] as number)
      to += 2
    }
    if (from > bounds.length) from = bounds.length
    bounds.splice(from, to - from, low, high)
  }

  /** Forgets everything below `value`. */
  forgetBelow(value: number): void {
    const bounds = this.#bounds
    let drop = 0
    while (drop < bounds.length && (bounds[drop + 1] as number) <= value) drop += 2
    if (drop > 0) bounds.splice(0, drop)
    if (bounds.length > 0 && (bounds[0] as number) < value) bounds[0] = value
  }

  clear(): void {
    this.#bounds = []
  }

  /** The smallest member that is at least `value`, or null. */
  firstFrom(value: number): number | null {
    const position = this.#position(value)
    if (position % 2 === 1) return value
    return this.#bounds[position] ?? null
  }

  ranges(): { start: number; end: number }[] {
    const ranges = []
    for (let i = 0; i < this.#bounds.length; i += 2) {
      ranges.push({ start: this.#bounds[i] as number, end: this.#bounds[i + 1] as number })
    }
    return ranges
  }

  /** How many bounds are at or below `value`: odd when it lies inside a range. */
  #position(value: number): number {
    let low = 0
    let high = this.#bounds.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#bounds[middle] as number) <= value) low = middle + 1
      else high = middle
    }
    return low
  }

  #firstEndingAtOrAfter(value: number): number {
    let low = 0
    let high = this.#bounds.length / 2
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#bounds[middle * 2 + 1] as number) < value) low = middle + 1
      else high = middle
    }
    return low * 2
  }
}
