import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type IdKind, idPrefixes, newId, newSpanId, newTraceId, randomSecret, randomUnit } from './ids.js'

const kinds = Object.keys(idPrefixes) as IdKind[]
const nowMs = Date.UTC(2026, 0, 1)
const yearTenThousandMs = Date.UTC(10_000, 0, 1)

describe('an id', () => {
  it('says what it names, and nothing else says the same', () => {
    for (const kind of kinds) expect(newId(kind, nowMs)).toMatch(/^[a-z]{3,4}_[0-9a-hjkmnp-tv-z]{26}$/)
    expect(new Set(Object.values(idPrefixes)).size).toBe(kinds.length)
  })

  it('sorts by creation', () => {
    const instants = fc.tuple(fc.nat({ max: yearTenThousandMs }), fc.nat({ max: yearTenThousandMs }))
    fc.assert(
      fc.property(fc.constantFrom(...kinds), instants, (kind, [a, b]) => {
        fc.pre(a !== b)
        const [earlier, later] = a < b ? [a, b] : [b, a]
        expect(newId(kind, earlier) < newId(kind, later)).toBe(true)
      }),
      { seed: 1, numRuns: 300 },
    )
  })

  it('has 80 random bits: every letter at every place', () => {
    const seen = Array.from({ length: 16 }, () => new Set<string>())
    const ids = new Set<string>()
    for (let n = 0; n < 5_000; n++) {
      const id = newId('request', nowMs)
      ids.add(id)
      for (const [place, letter] of [...id.slice(-16)].entries()) seen[place]?.add(letter)
    }
    expect(ids.size).toBe(5_000)
    expect(seen.map(({ size }) => size)).toEqual(new Array(16).fill(32))
  })
})

describe('randomness', () => {
  it('makes W3C trace and span ids, no two alike', () => {
    const traces = Array.from({ length: 2_000 }, newTraceId)
    const spans = Array.from({ length: 2_000 }, newSpanId)
    expect(traces.filter((id) => !/^[0-9a-f]{32}$/.test(id) || /^0+$/.test(id))).toEqual([])
    expect(spans.filter((id) => !/^[0-9a-f]{16}$/.test(id) || /^0+$/.test(id))).toEqual([])
    expect([new Set(traces).size, new Set(spans).size]).toEqual([2_000, 2_000])
  })

  it('makes secrets of the wanted length, and units below one', () => {
    expect(randomSecret(32)).toHaveLength(32)
    expect(randomSecret(32)).not.toEqual(randomSecret(32))
    for (let n = 0; n < 1_000; n++) {
      const unit = randomUnit()
      expect(unit >= 0 && unit < 1).toBe(true)
    }
  })
})
