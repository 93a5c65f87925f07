import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { retryAfterUs, takeRequest } from './admit-request.js'

const secondUs = 1_000_000

describe('requests per minute', () => {
  test('a minute’s worth at once, then one per share of a minute', () => {
    let full = 0
    for (let i = 0; i < 3; i++) {
      full = takeRequest(full, 0, 3)
      expect(full).not.toBe(-1)
    }
    expect(takeRequest(full, 0, 3)).toBe(-1)
    expect(retryAfterUs(full, 0, 3)).toBe(20 * secondUs)
    expect(takeRequest(full, 20 * secondUs - 1, 3)).toBe(-1)
    expect(takeRequest(full, 20 * secondUs, 3)).not.toBe(-1)
  })

  test('none when the cap is zero or less, all when it is infinite', () => {
    expect(takeRequest(0, 5, 0)).toBe(-1)
    expect(takeRequest(0, 5, -1)).toBe(-1)
    expect(retryAfterUs(0, 5, 0)).toBe(60 * secondUs)
    expect(takeRequest(0, 5, Number.POSITIVE_INFINITY)).toBe(0)
  })

  test('never more than a minute’s worth plus what came back, whatever the pattern', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.array(fc.integer({ min: 0, max: 3 * secondUs }), { maxLength: 300 }),
        (cap, waits) => {
          let nowUs = 0
          let full = 0
          let taken = 0
          for (const wait of waits) {
            nowUs += wait
            const next = takeRequest(full, nowUs, cap)
            if (next === -1) {
              const again = retryAfterUs(full, nowUs, cap)
              expect(again).toBeGreaterThan(0)
              expect(takeRequest(full, nowUs + again + 1, cap)).not.toBe(-1)
              continue
            }
            full = next
            taken += 1
          }
          expect(taken).toBeLessThanOrEqual(cap + (nowUs * cap) / (60 * secondUs) + 1)
        },
      ),
    )
  })
})
