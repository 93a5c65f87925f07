import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssertionFault } from './assert.js'
import { BoundedQueue } from './bounded-queue.js'

describe('a bounded queue', () => {
  it('is an array that says no when it is full, whatever is offered and taken', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.integer() },
      { weight: 2, arbitrary: fc.constant('poll' as const) },
    )
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.array(step, { maxLength: 500 }), (countMax, steps) => {
        const queue = new BoundedQueue<number>(countMax)
        const model: number[] = []
        for (const next of steps) {
          if (next === 'poll') expect(queue.poll()).toBe(model.shift())
          else {
            const fits = model.length < countMax
            expect(queue.offer(next)).toBe(fits)
            if (fits) model.push(next)
          }
          expect(queue.count).toBe(model.length)
          expect(queue.peek()).toBe(model[0])
        }
        for (const rest of model) expect(queue.poll()).toBe(rest)
        expect(queue.poll()).toBeUndefined()
      }),
      { seed: 1, numRuns: 100 },
    )
  })

  it('keeps its order when it grows after it went around', () => {
    const queue = new BoundedQueue<number>(64)
    for (let n = 0; n < 16; n++) queue.offer(n)
    for (let n = 0; n < 10; n++) queue.poll()
    for (let n = 16; n < 74; n++) expect(queue.offer(n)).toBe(true)
    expect(queue.offer(74)).toBe(false)
    expect(Array.from({ length: 64 }, () => queue.poll())).toEqual(Array.from({ length: 64 }, (_, n) => n + 10))
  })

  it('has room for at least one, and for a whole number', () => {
    for (const countMax of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => new BoundedQueue(countMax)).toThrow(AssertionFault)
    }
  })
})
