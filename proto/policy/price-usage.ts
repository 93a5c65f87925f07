import type { NanoUsd } from '../std/money.js'
import type { PriceTable } from './tables.js'

/** What a provider served, in tokens. Subsets are part of their whole, never added to it. */
export interface TokenUsage {
  readonly input: number
  readonly output: number
  /** Subset of `input` read from the provider's prompt cache; null when the provider did not say. */
  readonly cachedInput: number | null
  /** Subset of `input`, apart from `cachedInput`, written into the provider's prompt cache; null when it did not say. */
  readonly cacheWriteInput: number | null
  /** Subset of `output`; priced as output. */
  readonly reasoningOutput: number | null
}

/**
 * Cost of `usage`, rounded half up once over the sum, so that it does not depend on how tokens are split over classes.
 * Null when there is no price or a count is not a non-negative safe integer: an unknown cost is never written as zero.
 */
export function priceUsage(price: PriceTable | null, usage: TokenUsage): NanoUsd | null {
  if (price === null || !isCount(usage.input) || !isCount(usage.output)) return null
  const cached = subsetOf(usage.cachedInput, usage.input)
  const written = subsetOf(usage.cacheWriteInput, usage.input - cached)
  const scaled =
    BigInt(usage.input - cached - written) * price.inputNanoUsdPerMillion +
    BigInt(cached) * price.cachedInputNanoUsdPerMillion +
    BigInt(written) * (price.cacheWriteInputNanoUsdPerMillion ?? price.inputNanoUsdPerMillion) +
    BigInt(usage.output) * price.outputNanoUsdPerMillion
  return (scaled + 500_000n) / 1_000_000n
}

function subsetOf(count: number | null, whole: number): number {
  return count === null || !isCount(count) ? 0 : Math.min(count, whole)
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
