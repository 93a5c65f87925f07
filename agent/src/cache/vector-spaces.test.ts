import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import { type Near, VectorSpaces } from './vector-spaces.js'

const keysOf = (found: readonly Near[]) => found.map(({ key }) => key)
const spacesOf = (bytesMax: number) => new VectorSpaces({ bytesMax, clock: new VirtualClock() })

/** Every look at it is later than a slice is long: each look pauses. */
class PausedClock extends VirtualClock {
  #lookCount = 0
  override monotonicUs = () => {
    this.#lookCount += 1
    return this.#lookCount * 10_000
  }
}

/** Reproducible numbers in -1..1. */
function numbers(seed: number, length: number): Float32Array {
  let state = seed * 2_654_435_761 + 1
  return Float32Array.from({ length }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 1_073_741_824 - 1
  })
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, left, right] = [0, 0, 0]
  for (let at = 0; at < a.length; at++) {
    dot += (a[at] ?? 0) * (b[at] ?? 0)
    left += (a[at] ?? 0) ** 2
    right += (b[at] ?? 0) ** 2
  }
  return dot / Math.sqrt(left * right)
}

describe('questions by meaning', () => {
  test('the nearest first, none below the threshold, whatever their lengths', async () => {
    const spaces = spacesOf(1 << 20)
    spaces.add('s', Float32Array.of(10, 0), 'same')
    spaces.add('s', Float32Array.of(1, 1), 'half')
    spaces.add('s', Float32Array.of(1, 0.1), 'near')
    spaces.add('s', Float32Array.of(-1, 0), 'opposite')
    expect(keysOf(await spaces.search('s', Float32Array.of(2, 0), 0.7, 8))).toEqual(['same', 'near', 'half'])
    expect(keysOf(await spaces.search('s', Float32Array.of(2, 0), 0.95, 8))).toEqual(['same', 'near'])
    expect(keysOf(await spaces.search('s', Float32Array.of(2, 0), 0.7, 1))).toEqual(['same'])
    expect(await spaces.search('other', Float32Array.of(2, 0), 0, 8)).toEqual([])
  })

  test('what it leaves out early is never what a look at all of it would find', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1_000),
        fc.constantFrom(3, 192, 193, 400),
        fc.double({ min: 0.5, max: 0.999, noNaN: true }),
        async (seed, length, threshold) => {
          const spaces = spacesOf(1 << 22)
          const asked = numbers(seed, length)
          // From far away to all but the same.
          const vectors = Array.from({ length: 40 }, (_, index) => {
            const noise = numbers(seed + index + 1, length)
            return asked.map((number, at) => number + (noise[at] ?? 0) * (index / 10) ** 2)
          })
          for (const [index, vector] of vectors.entries()) spaces.add('s', vector, `k${index}`)
          const expected = vectors
            .map((vector, index) => ({ key: `k${index}`, similarity: cosine(asked, vector) }))
            .filter(({ similarity }) => similarity >= threshold)
          // Sums in another order differ in their last digits: those at the threshold itself may go either way.
          const clear = expected.filter(({ similarity }) => similarity > threshold + 1e-5).map(({ key }) => key)
          const found = await spaces.search('s', asked, threshold, 40)
          expect(found.map(({ key }) => key)).toEqual(expect.arrayContaining(clear))
          for (const { key, similarity } of found) {
            expect(similarity).toBeCloseTo(cosine(asked, vectors[Number(key.slice(1))] ?? asked), 4)
          }
        },
      ),
      { numRuns: 60 },
    )
  })

  describe('a space to which something is added while it is searched', () => {
    const asked = numbers(1, 64)
    /** 500 vectors, of which number 200 is what is asked for; `change` is made in the first pause of the search. */
    async function search(change: (spaces: VectorSpaces) => void): Promise<readonly Near[]> {
      const spaces = new VectorSpaces({ bytesMax: 1 << 26, clock: new PausedClock() })
      for (let index = 0; index < 500; index++) {
        spaces.add('s', index === 200 ? asked : numbers(index + 2, 64), `k${index}`)
      }
      const found = spaces.search('s', asked, 0.99, 8)
      change(spaces)
      return found
    }
    const addFar = (spaces: VectorSpaces, count: number) => {
      for (let index = 0; index < count; index++) spaces.add('s', numbers(index + 5_000, 64), `n${index}`)
    }

    test('gives what was near when the search began, and nothing that is no number', async () => {
      const found = await search((spaces) => {
        addFar(spaces, 600)
        spaces.add('s', asked, 'late')
      })
      expect(keysOf(found)).toEqual(['k200'])
      expect(found[0]?.similarity).toBeCloseTo(1, 5)
    })

    test('does not give the name of what took the place of another for how near that one was', async () => {
      // Full, and from its oldest on replaced, beyond the one that was near.
      expect(await search((spaces) => addFar(spaces, 1_500 + 300))).toEqual([])
    })
  })

  test('a space holds 2,000 of the usual length, and then replaces its oldest', async () => {
    const spaces = spacesOf(1 << 26)
    for (let index = 0; index < 2_001; index++) spaces.add('s', numbers(index + 1, 8), `k${index}`)
    const keyOf = async (index: number) => (await spaces.search('s', numbers(index + 1, 8), 0.999_99, 1))[0]?.key
    expect([await keyOf(0), await keyOf(1), await keyOf(2_000)]).toEqual([undefined, 'k1', 'k2000'])
  })

  test('of longer ones it holds fewer, so that a search takes no longer', async () => {
    const spaces = spacesOf(1 << 28)
    for (let index = 0; index < 400; index++) spaces.add('s', numbers(index + 1, 8_192), `k${index}`)
    expect(await spaces.search('s', numbers(1, 8_192), 0.99, 1)).toEqual([])
    expect(await spaces.search('s', numbers(400, 8_192), 0.99, 1)).toHaveLength(1)
    expect(spaces.bytes).toBeLessThan(16 * 1024 * 1024)
  })

  test('all spaces together are bounded; the least recently used goes', async () => {
    const spaces = spacesOf(3_000)
    for (const name of ['a', 'b']) spaces.add(name, numbers(1, 32), name)
    await spaces.search('a', numbers(1, 32), 0.9, 1)
    spaces.add('c', numbers(1, 32), 'c')
    const found = await Promise.all(['a', 'b', 'c'].map((name) => spaces.search(name, numbers(1, 32), 0.9, 1)))
    expect(found.flatMap(keysOf)).toEqual(['a', 'c'])
    spaces.add('huge', numbers(1, 4_000), 'x')
    expect(spaces.bytes).toBeLessThanOrEqual(3_000)
  })

  test('vectors of another length begin a space anew', async () => {
    const spaces = spacesOf(1 << 20)
    spaces.add('s', numbers(1, 8), 'old')
    spaces.add('s', numbers(1, 16), 'new')
    expect(await spaces.search('s', numbers(1, 8), 0.5, 1)).toEqual([])
    expect(await spaces.search('s', numbers(1, 16), 0.5, 1)).toMatchObject([{ key: 'new' }])
  })

  test.each([
    ['zeros', new Float32Array(4)],
    ['nothing', new Float32Array(0)],
    ['no number', Float32Array.of(Number.NaN, 1)],
    ['no end', Float32Array.of(Number.POSITIVE_INFINITY, 1)],
    ['too long', new Float32Array(8_193).fill(1)],
  ])('%s is no vector', async (_name, vector) => {
    const spaces = spacesOf(1 << 20)
    spaces.add('s', vector, 'x')
    expect([spaces.size, await spaces.search('s', vector, -1, 1)]).toEqual([0, []])
  })

  test('what was deleted is not found, and is replaced when it is added again', async () => {
    const spaces = spacesOf(1 << 20)
    spaces.add('s', Float32Array.of(1, 0), 'a')
    spaces.add('s', Float32Array.of(1, 0.01), 'a')
    expect(await spaces.search('s', Float32Array.of(1, 0), 0.9, 8)).toHaveLength(1)
    spaces.delete('s', 'a')
    expect(await spaces.search('s', Float32Array.of(1, 0), 0.1, 8)).toEqual([])
  })
})
