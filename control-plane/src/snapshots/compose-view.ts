import { clusterSection, denySection } from '../../../proto/snapshot/consistency.js'
import { compareNames, equalHashes, hashRoot, hashSection } from '../../../proto/snapshot/hash.js'
import type { CompiledSection, StoredSection, StoredSnapshot } from './snapshot.js'

/**
 * What intent compiles to, joined with what the view held until now: the content of the view's next snapshot. Pure. Names
 * that go become tombstones; a section that failed keeps its last good content.
 *
 * Replicas compile at different moments and, during a release, with different compilers. They converge because a section is
 * replaced only by one that is *ahead*: a higher intent revision; at the same revision a newer compiler; or, at the same
 * revision and compiler, rows that were read afresh (`fresh`). A replica with old rows in memory therefore never undoes what
 * another has done.
 */
export interface ViewIntent {
  readonly cluster: CompiledSection
  readonly deny: CompiledSection
  /** By section name: every environment placed here. `null`: not compiled this time or failed, keep the last good. */
  readonly environments: ReadonlyMap<string, CompiledSection | null>
}

export interface ComposedView {
  readonly sections: readonly StoredSection[]
  readonly removedSections: readonly string[]
  readonly rootHash: Buffer
  /** Names that went with this composition; `resourceName` '' is the section itself. */
  readonly buried: readonly Tombstone[]
  /** Names that came back. */
  readonly revived: readonly Tombstone[]
}

export interface Tombstone {
  readonly sectionName: string
  readonly resourceName: string
}

/** Section name → names gone within the tombstone time, '' for the section itself. */
export type Tombstones = ReadonlyMap<string, ReadonlySet<string>>

export function composeView(options: {
  base: StoredSnapshot | null
  tombstones: Tombstones
  intent: ViewIntent
  compilerVersion: number
  fresh: boolean
}): ComposedView {
  const { base, tombstones, intent } = options
  const held = new Map(base?.sections.map((section) => [section.name, section]))
  const wanted = new Map<string, CompiledSection | null>([
    [clusterSection, intent.cluster],
    [denySection, intent.deny],
    ...intent.environments,
  ])
  const sections: StoredSection[] = []
  const buried: Tombstone[] = []
  const revived: Tombstone[] = []
  for (const [name, compiled] of wanted) {
    const before = held.get(name)
    if (compiled === null || (before !== undefined && !isAhead(compiled, before, options))) {
      if (before !== undefined) sections.push(before)
      continue
    }
    const built = buildSection(compiled, before, tombstones.get(name), options.compilerVersion)
    sections.push(built.section)
    buried.push(...built.buried)
    revived.push(...built.revived)
    if (tombstones.get(name)?.has('')) revived.push({ sectionName: name, resourceName: '' })
  }
  sections.sort((a, b) => compareNames(a.name, b.name))

  const present = new Set(sections.map((section) => section.name))
  const removedSections = new Set([...tombstones].filter(([, names]) => names.has('')).map(([name]) => name))
  for (const section of held.values()) {
    if (present.has(section.name)) continue
    removedSections.add(section.name)
    // Its resources too: should the section come back, an agent that slept through both must learn which did not.
    for (const resourceName of ['', ...section.resources.map((resource) => resource.name)]) {
      buried.push({ sectionName: section.name, resourceName })
    }
  }
  const removed = [...removedSections].filter((name) => !present.has(name)).sort()
  return {
    sections,
    removedSections: removed,
    rootHash: hashRoot({ sections, removedSections: removed }),
    buried,
    revived,
  }
}

function isAhead(
  compiled: CompiledSection,
  before: StoredSection,
  options: { compilerVersion: number; fresh: boolean },
): boolean {
  if (compiled.intentRevision !== before.intentRevision) return compiled.intentRevision > before.intentRevision
  if (sameResources(compiled.resources, before.resources)) return false
  if (options.compilerVersion !== before.compilerVersion) return options.compilerVersion > before.compilerVersion
  return options.fresh
}

function sameResources(left: CompiledSection['resources'], right: CompiledSection['resources']): boolean {
  if (left === right) return true
  if (left.length !== right.length) return false
  return left.every((resource, index) => {
    const other = right[index]
    return resource === other || (resource.name === other?.name && equalHashes(resource.hash, other.hash))
  })
}

function buildSection(
  compiled: CompiledSection,
  before: StoredSection | undefined,
  tombstones: ReadonlySet<string> | undefined,
  compilerVersion: number,
): { section: StoredSection; buried: Tombstone[]; revived: Tombstone[] } {
  const present = new Set(compiled.resources.map((resource) => resource.name))
  const gone =
    before?.resources.filter((resource) => !present.has(resource.name)).map((resource) => resource.name) ?? []
  const known = [...(tombstones ?? [])].filter((name) => name !== '')
  const removed = [...new Set([...known, ...gone])].filter((name) => !present.has(name)).sort()
  const { name, intentRevision, resources } = compiled
  const hash = hashSection({ name, intentRevision, resources, removed })
  const place = (resourceName: string): Tombstone => ({ sectionName: name, resourceName })
  return {
    section: Object.freeze({ name, hash, intentRevision, resources, removed, compilerVersion }),
    buried: gone.map(place),
    revived: known.filter((resourceName) => present.has(resourceName)).map(place),
  }
}
