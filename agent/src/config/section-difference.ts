import { equalHashes } from '../../../proto/snapshot/hash.js'
import type { ManifestResource } from '../../../proto/snapshot/manifest.js'

export interface SectionDifference {
  readonly changed: readonly ManifestResource[]
  /** Names. */
  readonly gone: readonly string[]
}

/**
 * What leads from `before` to `next`, both in name order. What an update did not touch is the very same object in both, so
 * that ten thousand of those cost ten thousand comparisons of a reference and a name.
 */
export function differenceOf(
  before: readonly ManifestResource[],
  next: readonly ManifestResource[],
): SectionDifference {
  const changed: ManifestResource[] = []
  const gone: string[] = []
  let at = 0
  for (const entry of next) {
    let old = before[at]
    if (old === entry) {
      at += 1
      continue
    }
    for (; old !== undefined && old.name < entry.name; old = before[++at]) gone.push(old.name)
    if (old?.name !== entry.name) {
      changed.push(entry)
      continue
    }
    at += 1
    if (old !== entry && !equalHashes(old.hash, entry.hash)) changed.push(entry)
  }
  for (; at < before.length; at++) gone.push(before[at]?.name ?? '')
  return { changed, gone }
}
