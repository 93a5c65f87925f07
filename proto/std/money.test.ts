import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AssertionFault } from './assert.js'
import { costOfTokens, formatUsd, formatUsdNumber, nanoPerUsd, parseUsd } from './money.js'

const tokens = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const price = fc.bigInt({ min: 0n, max: 10n ** 15n })

describe('money', () => {
  it('costs the product, rounded half up to a whole nano-dollar', () => {
    fc.assert(
      fc.property(tokens, price, (count, perMillion) => {
        const off = costOfTokens(count, perMillion) * 1_000_000n - BigInt(count) * perMillion
        expect(off > -500_000n && off <= 500_000n).toBe(true)
      }),
      { seed: 1 },
    )
    // 0.15 USD per million tokens, and the half that goes up.
    expect(costOfTokens(1, 150_000_000n)).toBe(150n)
    expect([costOfTokens(1, 499_999n), costOfTokens(1, 500_000n)]).toEqual([0n, 1n])
  })

  it('is never less for more tokens, and never off by more than one for a split request', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), price, (a, b, perMillion) => {
        const whole = costOfTokens(a + b, perMillion)
        expect(whole >= costOfTokens(a, perMillion)).toBe(true)
        const parts = costOfTokens(a, perMillion) + costOfTokens(b, perMillion)
        expect(parts - whole >= -1n && parts - whole <= 1n).toBe(true)
      }),
      { seed: 1 },
    )
  })

  it('is not computed from what is no count of tokens', () => {
    for (const count of [-1, 0.5, Number.NaN, 2 ** 53]) expect(() => costOfTokens(count, 1n)).toThrow(AssertionFault)
  })

  it('is written the same from either kind of integer', () => {
    fc.assert(
      fc.property(tokens, (amount) => {
        expect(formatUsdNumber(amount)).toBe(formatUsd(BigInt(amount)))
      }),
      { seed: 1 },
    )
    for (const amount of [-1, 0.5, 2 ** 53]) expect(() => formatUsdNumber(amount)).toThrow(AssertionFault)
  })

  it('is written exactly, and read back as it was', () => {
    const limit = 10n ** 9n * nanoPerUsd - 1n
    fc.assert(
      fc.property(fc.bigInt({ min: -limit, max: limit }), (amount) => {
        expect(formatUsd(amount)).toMatch(/^-?\d+\.\d{9}$/)
        expect(parseUsd(formatUsd(amount))).toBe(amount)
      }),
      { seed: 1 },
    )
    expect(formatUsd(12_500n)).toBe('0.000012500')
    expect(formatUsd(-1n)).toBe('-0.000000001')
  })

  it.each([
    ['1', nanoPerUsd],
    ['0.6', 600_000_000n],
    [' 10.00 ', 10n * nanoPerUsd],
    ['-0', 0n],
    ['0.000000001', 1n],
    ['0.0000000001', null],
    ['1000000000', null],
    ['', null],
    ['.5', null],
    ['1.', null],
    ['1e3', null],
    ['1,5', null],
    ['+1', null],
    ['0x10', null],
    ['NaN', null],
  ])('reads %o as %o', (text, amount) => {
    expect(parseUsd(text)).toBe(amount)
  })
})
