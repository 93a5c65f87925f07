import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssertionFault } from './assert.js'
import { Backoff } from './backoff.js'

const highest = 1 - Number.EPSILON / 2

describe('a backoff', () => {
  it('doubles up to its ceiling, and jitters in the upper half', () => {
    const most = new Backoff({ minMs: 100, maxMs: 1_000 }, () => highest)
    expect(Array.from({ length: 6 }, () => most.nextMs())).toEqual([100, 200, 400, 800, 1_000, 1_000])
    const least = new Backoff({ minMs: 100, maxMs: 1_000 }, () => 0)
    expect(Array.from({ length: 6 }, () => least.nextMs())).toEqual([50, 100, 200, 400, 500, 500])
  })

  it('never leaves its bounds, however often it fails, and begins anew after a success', () => {
    const options = fc
      .tuple(fc.integer({ min: 2, max: 10_000 }), fc.integer({ min: 0, max: 1_000_000 }))
      .map(([minMs, more]) => ({ minMs, maxMs: minMs + more }))
    const draws = fc.array(fc.double({ min: 0, max: highest, noNaN: true }), { minLength: 1, maxLength: 100 })
    fc.assert(
      fc.property(options, draws, ({ minMs, maxMs }, random) => {
        let drawn = 0
        const backoff = new Backoff({ minMs, maxMs }, () => random[drawn++ % random.length] ?? 0)
        for (let attempt = 0; attempt < 100; attempt++) {
          expect(backoff.attempt).toBe(attempt)
          const delayMs = backoff.nextMs()
          const ceilingMs = Math.min(maxMs, minMs * 2 ** attempt)
          expect(delayMs).toBeGreaterThanOrEqual(Math.floor(ceilingMs / 2))
          expect(delayMs).toBeLessThanOrEqual(ceilingMs)
        }
        backoff.reset()
        expect(backoff.attempt).toBe(0)
        expect(backoff.nextMs()).toBeLessThanOrEqual(minMs)
      }),
      { seed: 1, numRuns: 25 },
    )
  })

  it('grows louder with the wait, and is quiet again after a success', () => {
    const backoff = new Backoff({ minMs: 100, maxMs: 1_600 }, () => 0)
    const levels = Array.from({ length: 6 }, () => {
      backoff.nextMs()
      return backoff.logLevel
    })
    expect(levels).toEqual(['debug', 'debug', 'info', 'warn', 'warn', 'warn'])
    backoff.reset()
    expect(backoff.logLevel).toBe('debug')
  })

  it('is not made with bounds that make no sense', () => {
    for (const [minMs, maxMs] of [
      [0, 10],
      [-1, 10],
      [11, 10],
    ] as const) {
      expect(() => new Backoff({ minMs, maxMs }, () => 0)).toThrow(AssertionFault)
    }
  })
})
