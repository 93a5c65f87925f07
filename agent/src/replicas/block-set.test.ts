import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BlockSet, bytesPerBlock, limitSlack } from './block-set.js'

/** What it has to do, in the simplest way: a map forgets in the order of insertion. */
class PlainSet {
  readonly #names = new Map<string, true>()
  countMax: number
  constructor(countMax: number) {
    this.countMax = countMax
  }
  touch(high: number, low: number): void {
    const name = `${high} ${low}`
    this.#names.delete(name)
    this.#names.set(name, true)
    this.limit(this.countMax)
  }
  limit(countMax: number): void {
    this.countMax = countMax
    for (const name of this.#names.keys()) if (this.#names.size > countMax) this.#names.delete(name)
  }
  has(high: number, low: number): boolean {
    return this.#names.has(`${high} ${low}`)
  }
  get size(): number {
    return this.#names.size
  }
}

// Few names and equal halves, so that they meet in buckets and return.
const word = fc.constantFrom(0, 1, 2, 3, 0xffff_fffe, 0xffff_ffff)
const step = fc.oneof(
  { weight: 20, arbitrary: fc.record({ touch: fc.tuple(word, word) }) },
  { weight: 1, arbitrary: fc.record({ limit: fc.integer({ min: 1, max: 40 }) }) },
)

describe('a set of blocks', () => {
  it('remembers and forgets like a list in order of use', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.array(step, { maxLength: 300 }), (countMax, steps) => {
        const set = new BlockSet(countMax)
        const plain = new PlainSet(countMax)
        for (const one of steps) {
          if ('touch' in one) {
            set.touch(...one.touch)
            plain.touch(...one.touch)
          } else {
            set.limit(one.limit)
            plain.limit(one.limit)
          }
          expect(set.size).toBe(plain.size)
        }
        for (const high of [0, 1, 2, 3, 0xffff_fffe, 0xffff_ffff]) {
          for (const low of [0, 1, 2, 3, 0xffff_fffe, 0xffff_ffff]) {
            expect(set.has(high, low)).toBe(plain.has(high, low))
          }
        }
      }),
    )
  })

  it('grows with what it holds, and never beyond what a block costs', () => {
    const set = new BlockSet(10_000)
    expect(set.bytes).toBe(0)
    for (let name = 0; name < 300; name++) set.touch(name, ~name >>> 0)
    expect(set.bytes).toBeLessThanOrEqual(512 * bytesPerBlock)
    for (let name = 0; name < 50_000; name++) set.touch(name, Math.imul(name, 0x9e37_79b1) >>> 0)
    expect(set.size).toBe(10_000)
    expect(set.bytes).toBeLessThanOrEqual(10_000 * bytesPerBlock)
    expect([set.has(49_999, Math.imul(49_999, 0x9e37_79b1) >>> 0), set.has(0, 0)]).toEqual([true, false])
    set.clear()
    expect([set.size, set.bytes, set.has(49_999, 0)]).toEqual([0, 0, false])
    set.touch(1, 2)
    expect(set.has(1, 2)).toBe(true)
  })
  it('limited by a little forgets the oldest alone and moves nothing, by much gives memory back', () => {
    const set = new BlockSet(16_384)
    const low = (name: number) => Math.imul(name, 0x9e37_79b1) >>> 0
    for (let name = 0; name < 16_384; name++) set.touch(name, low(name))
    const held = set.bytes
    set.limit(15_000)
    expect([set.size, set.bytes]).toEqual([15_000, held])
    expect([set.has(1_383, low(1_383)), set.has(1_384, low(1_384))]).toEqual([false, true])
    // Free places are taken before memory grows again.
    set.limit(16_384)
    for (let name = 20_000; name < 21_384; name++) set.touch(name, low(name))
    expect([set.size, set.bytes]).toEqual([16_384, held])
    expect(set.has(1_384, low(1_384))).toBe(true)
    set.limit(1_000)
    expect(set.size).toBe(1_000)
    expect(set.bytes).toBeLessThanOrEqual(1_000 * bytesPerBlock * limitSlack)
    expect([set.has(21_383, low(21_383)), set.has(20_383, low(20_383))]).toEqual([true, false])
  })
})
