import type { Resource__Output } from '../../../proto/gen/switchyard/v1/Resource.js'
import { decodeResource } from '../../../proto/snapshot/consistency.js'
import { equalHashes } from '../../../proto/snapshot/hash.js'
import type { Manifest, ManifestSection } from '../../../proto/snapshot/manifest.js'

/**
 * Those of the sections `names`, which keep what they have because their successor cannot be used, that must not keep it:
 * the successor, signed and verified, takes away a place where the held one still sends data: a region that one of its
 * providers is in, or a provider. Nothing signed says what is left without it, so such a section goes whole until one can be
 * used. A withdrawn route sends data nowhere new and is no reason to stop an environment; withdrawn keys are refused by
 * denials.
 */
export function withdrawnSections(
  next: Manifest,
  held: Manifest | null,
  names: ReadonlySet<string>,
): ReadonlySet<string> {
  const heldByName = new Map(held?.sections.map((section) => [section.name, section]))
  const withdrawn = next.sections.filter((section) => {
    const before = heldByName.get(section.name)
    if (before === undefined || !names.has(section.name) || equalHashes(before.hash, section.hash)) return false
    return takesAway(section, before)
  })
  return new Set(withdrawn.map(({ name }) => name))
}

function takesAway(section: ManifestSection, before: ManifestSection): boolean {
  const names = new Set(section.resources.map(({ name }) => name))
  if (before.resources.some(({ name }) => name.startsWith('provider/') && !names.has(name))) return true
  const environment = structureOf(section, 'environment/').find((resource) => resource.environment)?.environment
  if (!environment) return false
  const regions = new Set(environment.permittedRegions)
  return structureOf(before, 'provider/').some(({ provider }) => provider && !regions.has(provider.region))
}

function structureOf(section: ManifestSection, prefix: string): Resource__Output[] {
  return section.resources.flatMap(({ name, content }) => {
    if (!name.startsWith(prefix)) return []
    const resource = decodeResource(content, { section: section.name, resource: name })
    return 'code' in resource ? [] : [resource]
  })
}
