import { describe, expect, it } from 'vitest'
import { AssertionFault, assert, must, unreachable } from './assert.js'

describe('an assertion', () => {
  it('is silent while the promise holds, and a fault with its sentence when it does not', () => {
    expect(() => assert(1, 'one is true')).not.toThrow()
    for (const broken of [false, 0, '', null, undefined, Number.NaN]) {
      expect(() => assert(broken, 'the promise')).toThrow(new AssertionFault('the promise'))
    }
  })

  it('lets through every value but null and undefined', () => {
    for (const value of [0, '', false, Number.NaN]) expect(must(value, 'is there')).toBe(value)
    for (const nothing of [null, undefined]) {
      expect(() => must(nothing, 'is there')).toThrow(new AssertionFault('is there'))
    }
  })

  it('names the case that nobody handles', () => {
    expect(() => unreachable('surprise' as never)).toThrow(new AssertionFault('unreachable: surprise'))
  })
})
