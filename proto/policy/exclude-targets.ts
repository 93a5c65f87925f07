import { type PlaceReason, reasonAgainstPlace } from './provider-place.js'
import type { Readings } from './readings.js'
import { capabilityOf } from './request-facts.js'
import type { ApiKeyTable, TargetTable } from './tables.js'

export type ExclusionReason = PlaceReason | 'capability_missing' | 'context_too_long'

export interface Exclusion {
  readonly target: TargetTable
  readonly reason: ExclusionReason
}

const nothing: readonly Exclusion[] = Object.freeze([])

/**
 * The targets of a rule that may not serve a request, each with the first reason. `context_too_long` rests on an estimate,
 * and an estimate refuses nobody: when it is all that keeps the last targets out, the roomiest of them stays, and the
 * vendor's own count decides.
 */
export function findExclusions(
  targets: readonly TargetTable[],
  readings: Readings,
  key: ApiKeyTable,
): readonly Exclusion[] {
  let excluded: Exclusion[] | null = null
  for (const target of targets) {
    const reason = reasonAgainst(target, readings, key)
    if (reason === null) continue
    excluded ??= []
    excluded.push({ target, reason })
  }
  if (excluded === null) return nothing
  return excluded.length === targets.length ? keepRoomiest(excluded) : excluded
}

function reasonAgainst(target: TargetTable, readings: Readings, key: ApiKeyTable): ExclusionReason | null {
  if (!target.model.capabilities.has(capabilityOf(readings.facts))) return 'capability_missing'
  const place = reasonAgainstPlace(target.provider, key)
  if (place !== null) return place
  return isTooLong(target, readings) ? 'context_too_long' : null
}

/**
 * No text has more tokens than bytes. The most that a body's byte can stand for is an image behind a URL: its part takes
 * some 60 bytes and counts as 765 tokens.
 */
const tokensPerBodyByteMax = 13

function isTooLong({ model: { contextTokensMax } }: TargetTable, readings: Readings): boolean {
  if (contextTokensMax === null) return false
  const { bodyBytes } = readings.facts
  if (bodyBytes !== undefined && bodyBytes * tokensPerBodyByteMax <= contextTokensMax) return false
  const tokensIn = readings.tokens_in
  return tokensIn !== null && tokensIn > contextTokensMax
}

function keepRoomiest(excluded: readonly Exclusion[]): readonly Exclusion[] {
  const roomiest = excluded
    .filter(({ reason }) => reason === 'context_too_long')
    .reduce<Exclusion | null>((best, one) => (best === null || roomOf(one) > roomOf(best) ? one : best), null)
  return roomiest === null ? excluded : excluded.filter((one) => one !== roomiest)
}

function roomOf({ target }: Exclusion): number {
  return target.model.contextTokensMax ?? Number.POSITIVE_INFINITY
}
