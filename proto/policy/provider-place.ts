import type { ApiKeyTable, ProviderTable } from './tables.js'

export type PlaceReason = 'region_not_permitted' | 'external_not_permitted'

/** Why nothing of a request made with `key` may go to `provider`, whoever it serves there; null: it may. */
export function reasonAgainstPlace({ region, external }: ProviderTable, key: ApiKeyTable): PlaceReason | null {
  // An environment without a list of regions is not restricted; with one, data never leaves it whatever a route says.
  const regions = key.environment.permittedRegions
  if (regions.size > 0 && !regions.has(region)) return 'region_not_permitted'
  return external && !key.allowExternal ? 'external_not_permitted' : null
}
