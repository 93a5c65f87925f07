import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lanesCount, PrefixHash, prefixKeyWords } from './prefix-hash.js'

const keyOf = (seed: number) => Uint32Array.from({ length: prefixKeyWords }, (_, i) => Math.imul(seed + i, 0x9e37_79b1))
const key = keyOf(7)

function nameOf(words: readonly number[], by = key): string {
  const hash = new PrefixHash(by)
  hash.mix(Uint32Array.from(words))
  const names = new Uint32Array(2)
  hash.read(names, 0)
  return names.join(' ')
}

const words = fc.array(fc.nat(0xffff_ffff), { minLength: lanesCount, maxLength: 64 }).map((all) => {
  return all.slice(0, all.length - (all.length % lanesCount))
})

describe('a name of a beginning', () => {
  it('is the same for the same words, however they were cut, and another one for one word changed', () => {
    fc.assert(
      fc.property(words, fc.nat(), fc.integer({ min: 1, max: 0xffff_ffff }), (all, at, change) => {
        const hash = new PrefixHash(key)
        for (let start = 0; start < all.length; start += lanesCount) {
          hash.mix(Uint32Array.from(all.slice(start, start + lanesCount)))
        }
        const names = new Uint32Array(2)
        hash.read(names, 0)
        expect(names.join(' ')).toBe(nameOf(all))
        const other = all.with(at % all.length, ((all[at % all.length] ?? 0) ^ change) >>> 0)
        expect(nameOf(other)).not.toBe(nameOf(all))
      }),
    )
  })

  it('is another one under another key', () => {
    fc.assert(fc.property(words, (all) => nameOf(all) !== nameOf(all, keyOf(8))))
  })

  it('can be read on the way without changing what follows', () => {
    const hash = new PrefixHash(key)
    const names = new Uint32Array(4)
    hash.mix(Uint32Array.of(1, 2, 3, 4))
    hash.read(names, 0)
    hash.mix(Uint32Array.of(5, 6, 7, 8))
    hash.read(names, 2)
    expect(names.slice(0, 2).join(' ')).toBe(nameOf([1, 2, 3, 4]))
    expect(names.slice(2).join(' ')).toBe(nameOf([1, 2, 3, 4, 5, 6, 7, 8]))
    hash.reset()
    hash.mix(Uint32Array.of(1, 2, 3, 4))
    hash.read(names, 2)
    expect(names.slice(2)).toEqual(names.slice(0, 2))
  })

  it('is one of its own for each of 200,000 texts that differ in a counter, in either half', () => {
    const hash = new PrefixHash(key)
    const names = new Uint32Array(2)
    const seen = new Set<string>()
    const halves = [new Set<number>(), new Set<number>()] as const
    const count = 200_000
    for (let i = 0; i < count; i++) {
      hash.reset()
      hash.mix(Uint32Array.of(i, 0, 0, 0))
      hash.mix(Uint32Array.of(0, 0, 0, i & 255))
      hash.read(names, 0)
      seen.add(names.join(' '))
      halves[0].add(names[0] ?? 0)
      halves[1].add(names[1] ?? 0)
    }
    expect(seen.size).toBe(count)
    // Of 2^32 names drawn by chance, 200,000 draws repeat some five.
    for (const half of halves) expect(half.size).toBeGreaterThan(count - 40)
  })

  it('changes half of its bits for one bit of the text, wherever it stands', () => {
    const flips: number[] = []
    for (let bit = 0; bit < 32 * 16; bit++) {
      const plain = Array.from({ length: 16 }, (_, i) => i * 77)
      const flipped = plain.with(bit >> 5, ((plain[bit >> 5] ?? 0) ^ (1 << (bit & 31))) >>> 0)
      const [one, other] = [nameOf(plain).split(' ').map(Number), nameOf(flipped).split(' ').map(Number)]
      const bits = [0, 1].reduce((sum, half) => sum + bitsOf((one[half] ?? 0) ^ (other[half] ?? 0)), 0)
      flips.push(bits)
    }
    const mean = flips.reduce((sum, one) => sum + one, 0) / flips.length
    expect(mean).toBeGreaterThan(28)
    expect(mean).toBeLessThan(36)
    expect(Math.min(...flips)).toBeGreaterThan(8)
  })
})

function bitsOf(word: number): number {
  let count = 0
  for (let rest = word >>> 0; rest !== 0; rest &= rest - 1) count += 1
  return count
}
