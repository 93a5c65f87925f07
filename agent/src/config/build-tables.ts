import {
  type CompiledSection,
  type CompiledSnapshot,
  type CompileRefusal,
  isCompiled,
  joinTables,
  type SectionChange,
  type SectionCompilation,
} from '../../../proto/policy/compile-tables.js'
import {
  checkSection,
  clusterSection,
  decodeResource,
  environmentOfSection,
  type NamedResource,
} from '../../../proto/snapshot/consistency.js'
import { equalHashes } from '../../../proto/snapshot/hash.js'
import { keepSections, type Manifest, type ManifestSection } from '../../../proto/snapshot/manifest.js'
import { type SnapshotRefusal, snapshotRefusal } from '../../../proto/snapshot/snapshot-refusal.js'
import type { Pause } from '../../../proto/std/pause.js'
import { differenceOf } from './section-difference.js'
import { compileThin, decodeStructure, isSingle, type Structure } from './thin-section.js'

/** What is in effect: the verified bytes, and the tables made of exactly those. */
export interface Effect {
  readonly manifest: Manifest
  readonly compiled: CompiledSnapshot
}

export interface Built {
  /** `next`, but for sections that were refused: those are as `before` has them, or absent. */
  readonly effect: Effect
  /** All of one section if any of it: a section takes effect whole or not at all. */
  readonly refusals: readonly SnapshotRefusal[]
}

/**
 * Tables for `next`, from those of `before` by difference: only resources whose bytes changed are decoded and checked, and
 * the rest is shared. Sections named in `skip` keep what they have without being looked at. Nothing is in effect until the
 * caller swaps; `pause` is awaited between slices so that requests go on meanwhile.
 */
export async function buildTables(options: {
  next: Manifest
  before: Effect | null
  skip: ReadonlySet<string>
  pause: Pause
}): Promise<Built> {
  const { next, before, pause } = options
  const kept = new Set(options.skip)
  const refusals: SnapshotRefusal[] = []
  const compilations = new Map<string, SectionCompilation>()
  const heldSections = new Map(before?.manifest.sections.map((section) => [section.name, section]))

  for (const section of next.sections) {
    if (kept.has(section.name)) continue
    const held = heldSections.get(section.name)
    if (held !== undefined && equalHashes(held.hash, section.hash)) continue
    const compiledBefore = before?.compiled.sections.get(section.name) ?? null
    const result = await compileOne(section, held, compiledBefore, pause)
    if (Array.isArray(result)) {
      refusals.push(...result)
      kept.add(section.name)
    } else {
      compilations.set(section.name, result as SectionCompilation)
    }
  }

  for (;;) {
    const manifest = keepSections(next, before?.manifest ?? null, kept)
    const present = new Set(manifest.sections.map((section) => section.name))
    const joined = await run(
      joinTables({
        header: {
          epoch: manifest.header.epoch,
          generation: manifest.header.generation,
          rootHash: manifest.rootHash.toString('hex'),
        },
        before: before?.compiled ?? null,
        compilations: [...compilations.values()],
        gone: [...heldSections.keys()].filter((name) => !present.has(name)),
      }),
      pause,
    )
    if (isCompiled(joined)) return { effect: Object.freeze({ manifest, compiled: joined }), refusals }
    // Two sections claim one key: the ones that came with it stay as they were, and the rest is joined again.
    for (const refusal of joined) {
      refusals.push(wireRefusal(refusal))
      kept.add(refusal.section)
      compilations.delete(refusal.section)
    }
  }
}

async function compileOne(
  section: ManifestSection,
  held: ManifestSection | undefined,
  before: CompiledSection | null,
  pause: Pause,
): Promise<SectionCompilation | SnapshotRefusal[]> {
  const difference = differenceOf(held?.resources ?? [], section.resources)
  const structure = await decodeStructure(section.name, held?.resources ?? [], pause)
  const changed: NamedResource[] = []
  for (const [index, entry] of difference.changed.entries()) {
    if (index % sliceCount === sliceCount - 1) await pause()
    const resource = decodeResource(entry.content, { section: section.name, resource: entry.name })
    if ('code' in resource) return [resource]
    changed.push({ name: entry.name, resource })
  }
  const change: SectionChange = { name: section.name, changed, gone: difference.gone }
  const refusals = await check(change, structure, pause)
  if (refusals.length > 0) return refusals
  const compiled = await compileThin(before, structure, change, pause)
  return isCompiled(compiled) ? compiled : compiled.map(wireRefusal)
}

/**
 * The section's own consistency. Keys and denials stand each for itself, so only changed ones are looked at, in slices; what
 * refers to each other (environment, providers, models, routes) is looked at as a whole. That no hash is claimed twice in the
 * section or between sections is found when the tables are joined.
 */
async function check(change: SectionChange, before: Structure, pause: Pause): Promise<SnapshotRefusal[]> {
  const structural = new Map(before)
  for (const name of change.gone) structural.delete(name)
  const single: NamedResource[] = []
  for (const changed of change.changed) {
    if (isSingle(changed)) single.push(changed)
    else structural.set(changed.name, changed.resource)
  }
  const whole = [...structural].map(([name, resource]) => ({ name, resource }))
  const refusals = [...checkSection(change.name, [...whole, ...single.slice(0, sliceCount)])]
  // What the section is about, so that a slice of it looks like a section.
  const frame =
    environmentOfSection(change.name) !== null
      ? whole.filter(({ resource }) => resource.environment)
      : change.name === clusterSection
        ? whole
        : []
  for (let at = sliceCount; at < single.length && refusals.length === 0; at += sliceCount) {
    await pause()
    refusals.push(...checkSection(change.name, [...frame, ...single.slice(at, at + sliceCount)]))
  }
  return refusals
}

function wireRefusal(refusal: CompileRefusal): SnapshotRefusal {
  return snapshotRefusal(refusal.code, refusal.message, refusal)
}

async function run<T>(steps: Generator<void, T, void>, pause: Pause): Promise<T> {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    await pause()
  }
}

const sliceCount = 256
