import fc from 'fast-check'
import { expect, it } from 'vitest'
import { RangeSet } from './range-set.js'

const operation = fc.oneof(
  { weight: 5, arbitrary: fc.record({ add: fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 9 })) }) },
  { weight: 1, arbitrary: fc.record({ forgetBelow: fc.nat(60) }) },
)

it('behaves like a set of numbers, in as few ranges as possible', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const set = new RangeSet()
      let model = new Set<number>()
      for (const step of operations) {
        if ('add' in step) {
          const [start, length] = step.add
          set.add(start, start + length)
          for (let i = start; i < start + length; i++) model.add(i)
        } else {
          set.forgetBelow(step.forgetBelow)
          model = new Set([...model].filter((value) => value >= step.forgetBelow))
        }
        for (let value = 0; value <= 72; value++) {
          expect(set.has(value)).toBe(model.has(value))
          const next = [...model].filter((member) => member >= value).sort((a, b) => a - b)[0] ?? null
          expect(set.firstFrom(value)).toBe(next)
        }
        const starts = [...model].filter((value) => !model.has(value - 1)).length
        expect(set.rangeCount).toBe(starts)
      }
    }),
  )
})
