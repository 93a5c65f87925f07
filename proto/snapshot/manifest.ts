import { snapshotHeaderCodec } from '../gen/codec.js'
import type { SectionUpdate__Output } from '../gen/switchyard/v1/SectionUpdate.js'
import type { SnapshotUpdate, SnapshotUpdate__Output } from '../gen/switchyard/v1/SnapshotUpdate.js'
import { unreachable } from '../std/assert.js'
import { type GenerationOrder, orderOfGeneration } from './generation-order.js'
import {
  compareNames,
  equalHashes,
  hashBytes,
  hashContent,
  hashRoot,
  hashSection,
  isSnapshotName,
  type NamedHash,
} from './hash.js'
import { verifyHeader } from './sign.js'
import {
  type RefusalPlace,
  type SnapshotRefusal,
  type SnapshotRefusalCode,
  snapshotRefusal,
} from './snapshot-refusal.js'

/**
 * A snapshot as somebody holds it, and the two functions that both ends of the wire are built on: `diffSnapshot` makes the
 * update from what is desired to what the agent named, `rebuild` verifies an update and makes the new manifest from the held
 * one. They are inverse: rebuild(held, diff(desired, held)) = desired, or a refusal that says why not.
 *
 * A manifest's `header` is the newest that was accepted. Its `rootHash` is over what is really held: the two differ when
 * some sections were refused and keep their earlier content (`keepSections`), and then each kept section still carries the
 * proof it came with, so that every byte in effect stays under a signature.
 */
export interface Manifest {
  readonly header: HeaderFacts
  /** Over `sections` and `removedSections` as held. */
  readonly rootHash: Buffer
  /** In name order. */
  readonly sections: readonly ManifestSection[]
  readonly removedSections: readonly string[]
  /** Sum of the contents' bytes. */
  readonly contentBytes: number
  readonly resourceCount: number
}

export interface HeaderFacts {
  readonly epoch: number
  readonly view: string
  readonly generation: number
  readonly rootHash: Buffer
  readonly keyId: string
}

export interface ManifestSection {
  readonly name: string
  readonly hash: Buffer
  readonly intentRevision: number
  /** In name order. */
  readonly resources: readonly ManifestResource[]
  readonly removed: readonly string[]
  /** Sum of the contents' bytes. */
  readonly contentBytes: number
  readonly proof: RootProof
}

export interface ManifestResource {
  readonly name: string
  readonly hash: Buffer
  /** A serialized Resource, as received. */
  readonly content: Buffer
}

/** Why a section hash may be believed: the header's signature covers the root, the root covers this list. */
export interface RootProof {
  /** As received. */
  readonly header: Buffer
  readonly signature: Buffer
  readonly sections: readonly NamedHash[]
  readonly removedSections: readonly string[]
}

/** False while some section keeps content older than the header's. */
export function isComplete(manifest: Manifest): boolean {
  return equalHashes(manifest.rootHash, manifest.header.rootHash)
}

// ---------------------------------------------------------------------------------------------------------- rebuild

export interface RebuildOptions {
  readonly held: Manifest | null
  readonly update: SnapshotUpdate__Output
  /** Raw Ed25519 public keys by key id. */
  readonly keys: ReadonlyMap<string, Uint8Array>
  /** The agent's own cluster: the view must be one of it. */
  readonly clusterId: string
  /** The agent's own limits; nobody can raise them from afar. */
  readonly limits: { readonly contentBytesMax: number; readonly resourcesMax: number }
}

export type Rebuilt =
  /** Header, signature and every hash hold. `refusals`: sections that kept their earlier content. */
  | {
      readonly outcome: 'rebuilt'
      readonly manifest: Manifest
      readonly order: GenerationOrder
      /** Names of sections whose hash differs from the held one, in order. */
      readonly changedSections: readonly string[]
      readonly refusals: readonly SnapshotRefusal[]
    }
  /** Exactly what is held, completely. Nothing to do but to acknowledge. */
  | { readonly outcome: 'same'; readonly header: HeaderFacts }
  /** A difference that does not lead from what is held to what is signed: ask for everything. */
  | { readonly outcome: 'resync'; readonly header: HeaderFacts; readonly refusal: SnapshotRefusal }
  /** Keep what is held. `header` is null while unverified. */
  | { readonly outcome: 'refused'; readonly header: HeaderFacts | null; readonly refusal: SnapshotRefusal }

/** Verifies `update` and makes the new manifest. Pure and whole: whatever it answers, `held` is untouched. */
export function rebuild(options: RebuildOptions): Rebuilt {
  const { held, update } = options
  const header = decodeHeader(update.header)
  if (header === null) return refused(null, 'malformed', 'the header does not decode')
  const key = options.keys.get(header.keyId)
  if (key === undefined) {
    return refused(
      header,
      'key_unknown',
      `signed with ${header.keyId || 'an unnamed key'}, which this agent does not know`,
    )
  }
  if (!verifyHeader(update.header, update.signature, key)) {
    return refused(header, 'signature_invalid', `the signature does not hold under key ${header.keyId}`)
  }
  if (!header.view.startsWith(`${options.clusterId}/`)) {
    return refused(header, 'view_foreign', `view ${header.view} is not of cluster ${options.clusterId}`)
  }

  const order = orderOfGeneration(held?.header ?? null, header)
  switch (order) {
    case 'older_epoch':
      return refused(header, 'epoch_older', `epoch ${header.epoch} is before the held ${held?.header.epoch}`)
    case 'older':
      return refused(
        header,
        'generation_older',
        `generation ${header.generation} is before the held ${held?.header.generation}`,
      )
    case 'same_number_other_hash':
      return refused(header, 'generation_reused', `generation ${header.generation} is held with another root`)
    case 'same_and_equal':
      if (held !== null && isComplete(held)) return { outcome: 'same', header }
      break
    case 'first':
    case 'newer':
    case 'newer_epoch':
    case 'other_view':
      break
    default:
      return unreachable(order)
  }

  const full = update.baseRootHash.length === 0
  if (!full && (held === null || !equalHashes(update.baseRootHash, held.rootHash))) {
    return resync(header, 'root_mismatch', 'the update is a difference against something that is not held')
  }
  return rebuildSections(options, header, order, full)
}

function rebuildSections(options: RebuildOptions, header: HeaderFacts, order: GenerationOrder, full: boolean): Rebuilt {
  const { held, update, limits } = options
  const formFault = updateFormFault(update)
  if (formFault !== null) return { outcome: 'refused', header, refusal: formFault }
  // A difference that does not fit may be repaired by asking for all; all that does not fit may not.
  const mismatch = full ? refused : resync

  const heldByName = new Map(held?.sections.map((section) => [section.name, section]))
  const next = new Map<string, Unproven>()
  if (!full) {
    const removed = new Set(update.removedSections)
    for (const section of heldByName.values()) if (!removed.has(section.name)) next.set(section.name, section)
  }
  for (const section of update.sections) {
    const built = rebuildSection(section, full ? undefined : heldByName.get(section.name))
    if ('code' in built) return mismatch(header, built.code, built.message, built)
    next.set(section.name, built)
  }
  const sections = [...next.values()].sort((a, b) => compareNames(a.name, b.name))
  const root = { sections, removedSections: update.removedSections }
  if (!equalHashes(hashRoot(root), header.rootHash)) {
    return mismatch(header, 'root_mismatch', 'the rebuilt root is not the signed one')
  }

  const proof: RootProof = Object.freeze({
    header: update.header,
    signature: update.signature,
    sections: Object.freeze(sections.map(({ name, hash }) => Object.freeze({ name, hash }))),
    removedSections: Object.freeze([...update.removedSections]),
  })
  const rebuiltWhole = manifestOf(
    header,
    sections.map((section) => Object.freeze({ ...section, proof })),
    proof.removedSections,
  )

  // Absence is not deletion, and a section never goes back within an epoch: such sections keep what they have.
  const refusals = held === null ? [] : sectionRefusals(held, rebuiltWhole, { order, resync: update.resync })
  const manifest =
    held === null || refusals.length === 0
      ? rebuiltWhole
      : keepSections(rebuiltWhole, held, new Set(refusals.map((refusal) => refusal.section)))
  if (manifest.contentBytes > limits.contentBytesMax) {
    return refused(
      header,
      'too_large',
      `${manifest.contentBytes} bytes of content; this agent takes ${limits.contentBytesMax}`,
    )
  }
  if (manifest.resourceCount > limits.resourcesMax) {
    return refused(
      header,
      'too_many_resources',
      `${manifest.resourceCount} resources; this agent takes ${limits.resourcesMax}`,
    )
  }
  const changedSections = manifest.sections
    .filter(({ name, hash }) => {
      const before = heldByName.get(name)
      return before === undefined || !equalHashes(before.hash, hash)
    })
    .map((section) => section.name)
  return { outcome: 'rebuilt', manifest, order, changedSections: Object.freeze(changedSections), refusals }
}

type Unproven = Omit<ManifestSection, 'proof'>

/** The section that `update` leads to from `base` (undefined: from nothing), or what does not hold in it. */
function rebuildSection(update: SectionUpdate__Output, base: ManifestSection | undefined): Unproven | SnapshotRefusal {
  const changed: ManifestResource[] = []
  for (const { name, hash, content } of update.changed) {
    if (!equalHashes(hashContent(content), hash)) {
      return snapshotRefusal('resource_hash_mismatch', 'the content is not what its hash says', {
        section: update.name,
        resource: name,
      })
    }
    changed.push(Object.freeze({ name, hash, content }))
  }
  changed.sort((a, b) => compareNames(a.name, b.name))
  const resources = base === undefined ? changed : mergeResources(base.resources, changed, new Set(update.removed))
  const facts = { name: update.name, intentRevision: update.intentRevision, resources, removed: update.removed }
  const hash = hashSection(facts)
  if (!equalHashes(hash, update.hash)) {
    return snapshotRefusal('section_hash_mismatch', 'the rebuilt section is not the signed one', {
      section: update.name,
    })
  }
  return {
    name: update.name,
    hash,
    intentRevision: update.intentRevision,
    resources: Object.freeze(resources),
    removed: Object.freeze([...update.removed]),
    contentBytes: resources.reduce((sum, resource) => sum + resource.content.length, 0),
  }
}

/** Two lists in name order into one: a changed entry replaces the held one of its name; removed names go. */
function mergeResources(
  held: readonly ManifestResource[],
  changed: readonly ManifestResource[],
  removed: ReadonlySet<string>,
): ManifestResource[] {
  const merged: ManifestResource[] = []
  let at = 0
  for (const entry of held) {
    for (let next = changed[at]; next !== undefined && next.name < entry.name; next = changed[++at]) merged.push(next)
    if (changed[at]?.name === entry.name) continue
    if (!removed.has(entry.name)) merged.push(entry)
  }
  for (let next = changed[at]; next !== undefined; next = changed[++at]) merged.push(next)
  return merged
}

function sectionRefusals(
  held: Manifest,
  next: Manifest,
  update: { order: GenerationOrder; resync: boolean },
): SnapshotRefusal[] {
  const refusals: SnapshotRefusal[] = []
  const nextByName = new Map(next.sections.map((section) => [section.name, section]))
  const removedSections = new Set(next.removedSections)
  for (const before of held.sections) {
    const after = nextByName.get(before.name)
    if (after === undefined) {
      if (update.resync || removedSections.has(before.name)) continue
      refusals.push(
        snapshotRefusal('names_missing', 'the section is gone and nobody said that it was removed', {
          section: before.name,
        }),
      )
      continue
    }
    if (equalHashes(after.hash, before.hash)) continue
    const comparable = update.order === 'newer' || update.order === 'same_and_equal'
    if (comparable && after.intentRevision < before.intentRevision) {
      refusals.push(
        snapshotRefusal(
          'section_older',
          `intent revision ${after.intentRevision} is before the held ${before.intentRevision}`,
          { section: before.name },
        ),
      )
      continue
    }
    if (update.resync) continue
    const missing = firstMissingName(before, after)
    if (missing === null) continue
    refusals.push(
      snapshotRefusal('names_missing', `${missing} is gone and nobody said that it was removed`, {
        section: before.name,
        resource: missing,
      }),
    )
  }
  return refusals
}

function firstMissingName(before: ManifestSection, after: ManifestSection): string | null {
  const removed = new Set(after.removed)
  let at = 0
  for (const { name } of before.resources) {
    for (let next = after.resources[at]; next !== undefined && next.name < name; next = after.resources[++at]);
    if (after.resources[at]?.name !== name && !removed.has(name)) return name
  }
  return null
}

/** What is wrong with the form of an update, before anything is computed from it. */
function updateFormFault(update: SnapshotUpdate__Output): SnapshotRefusal | null {
  const fault = (message: string, place: RefusalPlace = {}) => snapshotRefusal('malformed', message, place)
  if (!areStrictlyAscendingNames(update.removedSections)) return fault('removed sections: names in order, none twice')
  const removedSections = new Set(update.removedSections)
  const names = new Set<string>()
  for (const section of update.sections) {
    const place = { section: section.name.slice(0, 300) }
    if (!isSnapshotName(section.name)) return fault('a section name that is not printable ASCII', place)
    if (names.has(section.name)) return fault('a section occurs twice', place)
    if (removedSections.has(section.name)) return fault('a section is both sent and removed', place)
    if (section.hash.length !== hashBytes) return fault('a section hash that has not 32 bytes', place)
    if (!areStrictlyAscendingNames(section.removed)) return fault('removed names: in order, none twice', place)
    names.add(section.name)
    const removed = new Set(section.removed)
    const resources = new Set<string>()
    for (const { name, hash } of section.changed) {
      const resource = name.slice(0, 300)
      if (!isSnapshotName(name)) return fault('a resource name that is not printable ASCII', { ...place, resource })
      if (resources.has(name)) return fault('a resource occurs twice', { ...place, resource })
      if (removed.has(name)) return fault('a resource is both sent and removed', { ...place, resource })
      if (hash.length !== hashBytes) return fault('a resource hash that has not 32 bytes', { ...place, resource })
      resources.add(name)
    }
  }
  return null
}

function areStrictlyAscendingNames(names: readonly string[]): boolean {
  return names.every((name, index) => isSnapshotName(name) && (index === 0 || (names[index - 1] ?? '') < name))
}

function decodeHeader(bytes: Buffer): HeaderFacts | null {
  try {
    const { epoch, view, generation, rootHash, keyId } = snapshotHeaderCodec.decode(bytes)
    const sound = [epoch, generation].every(Number.isSafeInteger) && epoch > 0 && generation > 0
    if (!sound || rootHash.length !== hashBytes || !isSnapshotName(view)) return null
    return Object.freeze({ epoch, view, generation, rootHash, keyId })
  } catch {
    return null
  }
}

function refused(
  header: HeaderFacts | null,
  code: SnapshotRefusalCode,
  message: string,
  place?: RefusalPlace,
): Rebuilt {
  return { outcome: 'refused', header, refusal: snapshotRefusal(code, message, place) }
}

function resync(header: HeaderFacts, code: SnapshotRefusalCode, message: string, place?: RefusalPlace): Rebuilt {
  return { outcome: 'resync', header, refusal: snapshotRefusal(code, message, place) }
}

// ------------------------------------------------------------------------------------- parts kept, proofs checked again

/**
 * `next`, except that each section named in `names` is as `held` has it (or not there, if it was not held). Both ends use
 * it, so both compute the same root for an agent that took an update in part.
 */
export function keepSections(next: Manifest, held: Manifest | null, names: ReadonlySet<string>): Manifest {
  if (names.size === 0) return next
  const kept = held?.sections.filter((section) => names.has(section.name)) ?? []
  const sections = [...next.sections.filter((section) => !names.has(section.name)), ...kept]
  return manifestOf(next.header, sections, next.removedSections)
}

/** Root of what an agent holds that took `next` except for the sections in `names`; see `keepSections`. */
export function keptHashes(
  next: readonly NamedHash[],
  held: ReadonlyMap<string, Uint8Array>,
  names: ReadonlySet<string>,
): readonly NamedHash[] {
  const kept = [...names].flatMap((name) => {
    const hash = held.get(name)
    return hash === undefined ? [] : [{ name, hash }]
  })
  return [...next.filter((section) => !names.has(section.name)), ...kept].sort((a, b) => compareNames(a.name, b.name))
}

/** A frozen manifest of `sections` (any order) under `header`, its root and sums computed. */
export function manifestOf(
  header: HeaderFacts,
  sections: readonly ManifestSection[],
  removedSections: readonly string[],
): Manifest {
  const sorted = Object.freeze([...sections].sort((a, b) => compareNames(a.name, b.name)))
  return Object.freeze({
    header,
    rootHash: hashRoot({ sections: sorted, removedSections }),
    sections: sorted,
    removedSections,
    contentBytes: sorted.reduce((sum, section) => sum + section.contentBytes, 0),
    resourceCount: sorted.reduce((sum, section) => sum + section.resources.length, 0),
  })
}

/**
 * Whether a proof read back from disk holds: the signature over the header, and the header's root over the proof's list.
 * The header it proves, or why it does not.
 */
export function verifyProof(
  proof: RootProof,
  keys: ReadonlyMap<string, Uint8Array>,
): { readonly header: HeaderFacts } | { readonly refusal: SnapshotRefusal } {
  const header = decodeHeader(proof.header)
  if (header === null) return { refusal: snapshotRefusal('malformed', 'the header does not decode') }
  const key = keys.get(header.keyId)
  if (key === undefined) return { refusal: snapshotRefusal('key_unknown', `signed with ${header.keyId}`) }
  if (!verifyHeader(proof.header, proof.signature, key)) {
    return { refusal: snapshotRefusal('signature_invalid', `the signature does not hold under key ${header.keyId}`) }
  }
  if (!equalHashes(hashRoot(proof), header.rootHash)) {
    return { refusal: snapshotRefusal('root_mismatch', 'the list of sections is not the signed one') }
  }
  return { header }
}

// ------------------------------------------------------------------------------------------------------------- diff

export interface DesiredSnapshot {
  /** Serialized SnapshotHeader and its signature. */
  readonly header: Uint8Array
  readonly signature: Uint8Array
  readonly sections: readonly DesiredSection[]
  readonly removedSections: readonly string[]
}

export interface DesiredSection {
  readonly name: string
  readonly hash: Uint8Array
  readonly intentRevision: number
  /** In name order. */
  readonly resources: readonly { readonly name: string; readonly hash: Uint8Array; readonly content: Uint8Array }[]
  readonly removed: readonly string[]
}

export interface HeldBase {
  readonly rootHash: Uint8Array
  /** `resources` (in name order) null: a hash that nobody here remembers; then all of the section is sent. */
  readonly sections: ReadonlyMap<string, { readonly hash: Uint8Array; readonly resources: readonly NamedHash[] | null }>
}

/**
 * What leads from `base` to `desired`: the sections whose hash differs, in each the resources whose hash differs, and every
 * removed name. `base` null: everything (`resync`: and the agent must forget what is not in it).
 */
export function diffSnapshot(
  desired: DesiredSnapshot,
  base: HeldBase | null,
  options: { resync: boolean },
): SnapshotUpdate {
  const sections = desired.sections.flatMap((section) => {
    const held = base?.sections.get(section.name)
    if (held !== undefined && equalHashes(held.hash, section.hash)) return []
    const changed = held?.resources ? changedResources(section.resources, held.resources) : section.resources
    return [
      {
        name: section.name,
        hash: section.hash,
        intentRevision: section.intentRevision,
        changed: changed.map(({ name, hash, content }) => ({ name, hash, content })),
        removed: [...section.removed],
      },
    ]
  })
  return {
    header: desired.header,
    signature: desired.signature,
    baseRootHash: base === null ? new Uint8Array(0) : base.rootHash,
    resync: base === null && options.resync,
    sections,
    removedSections: [...desired.removedSections],
  }
}

/** Entries of `desired` that `held` has not, or has with another hash. Both in name order. */
export function changedResources<T extends NamedHash>(desired: readonly T[], held: readonly NamedHash[]): readonly T[] {
  const changed: T[] = []
  let at = 0
  for (const entry of desired) {
    for (let next = held[at]; next !== undefined && next.name < entry.name; next = held[++at]);
    const before = held[at]
    if (before?.name !== entry.name || !equalHashes(before.hash, entry.hash)) changed.push(entry)
  }
  return changed
}
