import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { priceUsage, type TokenUsage } from './price-usage.js'
import type { PriceTable } from './tables.js'

const price: PriceTable = {
  version: 1,
  inputNanoUsdPerMillion: 150_000_000n,
  cachedInputNanoUsdPerMillion: 75_000_000n,
  outputNanoUsdPerMillion: 600_000_000n,
  cacheWriteInputNanoUsdPerMillion: 187_500_000n,
}
const usage = (
  input: number,
  output: number,
  cachedInput: number | null = null,
  cacheWriteInput: number | null = null,
): TokenUsage => ({
  input,
  output,
  cachedInput,
  cacheWriteInput,
  reasoningOutput: null,
})

describe('price of usage', () => {
  const cases: [string, TokenUsage, bigint | null][] = [
    ['nothing', usage(0, 0), 0n],
    ['a million in', usage(1_000_000, 0), 150_000_000n],
    ['a million out', usage(0, 1_000_000), 600_000_000n],
    ['cached input is part of the input', usage(1_000_000, 0, 400_000), 120_000_000n],
    ['more cached than input counts as all cached', usage(10, 0, 20), 750n],
    ['input written to the cache is part of the input', usage(1_000_000, 0, 400_000, 200_000), 127_500_000n],
    ['more written than is left counts as all that is left', usage(10, 0, 4, 20), 1_425n],
    ['one token', usage(1, 0), 150n],
    ['not a number', usage(Number.NaN, 1), null],
    ['negative', usage(-1, 1), null],
    ['a fraction', usage(1.5, 1), null],
    ['beyond safe integers', usage(2 ** 53, 1), null],
    ['cached that is no count', usage(10, 0, Number.NaN), 1_500n],
  ]
  test.each(cases)('%s', (_name, of, expected) => {
    expect(priceUsage(price, of)).toBe(expected)
  })

  test('no price, no cost', () => {
    expect(priceUsage(null, usage(1, 1))).toBeNull()
  })

  test('rounds half up, once', () => {
    const cheap = { ...price, inputNanoUsdPerMillion: 500_000n, outputNanoUsdPerMillion: 500_000n }
    expect(priceUsage(cheap, usage(1, 0))).toBe(1n)
    expect(priceUsage(cheap, usage(1, 1))).toBe(1n)
  })

  test('never falls with more tokens, never negative, never more for cached at a lower price', () => {
    const count = fc.integer({ min: 0, max: 10_000_000 })
    fc.assert(
      fc.property(count, count, count, (input, output, cached) => {
        const cost = priceUsage(price, usage(input, output)) ?? -1n
        expect(cost).toBeGreaterThanOrEqual(0n)
        expect(priceUsage(price, usage(input + 1, output)) ?? -1n).toBeGreaterThanOrEqual(cost)
        expect(priceUsage(price, usage(input, output, cached)) ?? cost + 1n).toBeLessThanOrEqual(cost)
      }),
    )
  })
})
