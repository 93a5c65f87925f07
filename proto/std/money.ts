import { assert } from './assert.js'

/** Money is an integer of nano-dollars. A float never holds it; text is made only at the door. */
export type NanoUsd = bigint

export const nanoPerUsd = 1_000_000_000n

/** Price of `tokenCount` tokens at `nanoUsdPerMillion`, rounded half up to a whole nano-dollar. */
export function costOfTokens(tokenCount: number, nanoUsdPerMillion: bigint): NanoUsd {
  assert(Number.isSafeInteger(tokenCount) && tokenCount >= 0, 'token count is a non-negative safe integer')
  return (BigInt(tokenCount) * nanoUsdPerMillion + 500_000n) / 1_000_000n
}

/** Decimal dollars with nine places, for example `0.000012500`. Exact. */
export function formatUsd(amount: NanoUsd): string {
  const sign = amount < 0n ? '-' : ''
  const absolute = amount < 0n ? -amount : amount
  return `${sign}${absolute / nanoPerUsd}.${(absolute % nanoPerUsd).toString().padStart(9, '0')}`
}

/** As `formatUsd`, of a non-negative safe integer: for the request path. */
export function formatUsdNumber(amount: number): string {
  assert(Number.isSafeInteger(amount) && amount >= 0, 'an amount is a non-negative safe integer')
  const fraction = amount % 1_000_000_000
  return `${(amount - fraction) / 1_000_000_000}.${String(fraction).padStart(9, '0')}`
}

/** Nano-dollars of a decimal text with at most nine places, or null when it is not one. */
export function parseUsd(text: string): NanoUsd | null {
  const match = /^(-?)(\d{1,9})(?:\.(\d{1,9}))?$/.exec(text.trim())
  if (!match) return null
  const amount = BigInt(match[2] ?? '0') * nanoPerUsd + BigInt((match[3] ?? '').padEnd(9, '0'))
  return match[1] === '-' ? -amount : amount
}
