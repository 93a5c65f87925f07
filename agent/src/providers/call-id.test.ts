import fc from 'fast-check'
import { expect, test } from 'vitest'
import { callIdFor } from './call-id.js'

const taken = /^[a-zA-Z0-9_-]{1,64}$/

test('an id that is taken stays, any other becomes one that is', () => {
  expect(callIdFor('toolu_01-a', taken)).toBe('toolu_01-a')
  for (const id of ['', 'functions.f:0', 'é', 'x'.repeat(65)])
    expect(callIdFor(id, taken)).toMatch(/^call_[0-9a-f]{40}$/)
})

test('no two become the same, and the same always becomes the same', () => {
  expect(callIdFor('functions.f:0', taken)).not.toBe(callIdFor('functions:f.0', taken))
  const id = fc.string({ unit: fc.constantFrom('a', '.', ':', '_', '-'), maxLength: 6 })
  fc.assert(fc.property(id, id, (a, b) => (callIdFor(a, taken) === callIdFor(b, taken)) === (a === b)))
})
