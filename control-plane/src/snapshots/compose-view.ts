import { clusterSection, denySection } from '../../../proto/snapshot/consistency.js'
import { compareNames, equalHashes, hashRoot, hashSection } from '../../../proto/snapshot/hash.js'
import type { CompiledSection, StoredSection, StoredSnapshot } from './snapshot.js'

/**
 * What intent compiles to, joined with what the view held until now: the content of the view's next snapshot. Pure. Names
 * that go become tombstones; a section that failed keeps its last good content, less what has been withdrawn.
 *
 * Replicas compile at different moments and, during a release, with different compilers. They converge because a section is
 * replaced only by one that is *ahead*: a higher intent revision; at the same revision a newer compiler; or, at the same
 * revision and compiler, rows that were read afresh (`fresh`). A replica with old rows in memory therefore never undoes what
 * another has done.
 */
export interface ViewIntent {
  readonly cluster: CompiledSection
  readonly deny: CompiledSection
  /** By section name: every environment placed here. `null`: not compiled this time, keep what is there. */
  readonly environments: ReadonlyMap<string, CompiledSection | HeldBack | null>
}

/** Newest intent that cannot be compiled: the section keeps its last good content, less what that intent has taken away. */
export interface HeldBack {
  readonly name: string
  /** Of the intent that failed. */
  readonly intentRevision: number
  /** What may stay of `held`; `held` itself when all of it may. */
  readonly withdrawFrom: (held: CompiledSection['resources']) => CompiledSection['resources']
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

export interface ComposeOptions {
  readonly base: StoredSnapshot | null
  readonly tombstones: Tombstones
  readonly intent: ViewIntent
  readonly compilerVersion: number
  readonly fresh: boolean
}

/** All at once. */
export function composeView(options: ComposeOptions): ComposedView {
  const steps = composeInSteps(options)
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}

/** A step per section, so that whoever composes many large ones can give way between them. */
export function* composeInSteps(options: ComposeOptions): Generator<void, ComposedView, void> {
  const { base, tombstones, intent } = options
  const held = new Map(base?.sections.map((section) => [section.name, section]))
  const wanted = new Map<string, CompiledSection | HeldBack | null>([
    [clusterSection, intent.cluster],
    [denySection, intent.deny],
    ...intent.environments,
  ])
  const sections: StoredSection[] = []
  const buried: Tombstone[] = []
  const revived: Tombstone[] = []
  for (const [name, intended] of wanted) {
    yield
    const before = held.get(name)
    const compiled = intended !== null && 'withdrawFrom' in intended ? withdrawn(intended, before) : intended
    if (compiled === null || (compiled === intended && before !== undefined && !isAhead(compiled, before, options))) {
      if (before !== undefined) sections.push(before)
      continue
    }
    const made = compiled === intended ? options.compilerVersion : (before?.compilerVersion ?? options.compilerVersion)
    const built = buildSection(compiled, before, tombstones.get(name), made)
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

/**
 * What is left of `before`, or null when all of it may stay. Under its old revision and compiler, since the new intent is
 * not in effect: replicas agree on it all the same, for less is never replaced by more of the same revision from memory.
 */
function withdrawn(heldBack: HeldBack, before: StoredSection | undefined): CompiledSection | null {
  // At that revision or beyond another compiler could do it; its word is newer than ours.
  if (before === undefined || before.intentRevision >= heldBack.intentRevision) return null
  const resources = heldBack.withdrawFrom(before.resources)
  if (resources === before.resources) return null
  return { name: before.name, intentRevision: before.intentRevision, resources }
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
