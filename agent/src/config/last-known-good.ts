import fs from 'node:fs/promises'
import path from 'node:path'
import { denySection } from '../../../proto/snapshot/consistency.js'
import { equalHashes, hashContent, hashRoot, hashSection } from '../../../proto/snapshot/hash.js'
import {
  type HeaderFacts,
  type Manifest,
  type ManifestResource,
  type ManifestSection,
  manifestOf,
  type RootProof,
  verifyProof,
} from '../../../proto/snapshot/manifest.js'
import { type SnapshotRefusal, snapshotRefusal } from '../../../proto/snapshot/snapshot-refusal.js'
import type { Pause } from '../../../proto/std/pause.js'
import { ShardedMap } from '../../../proto/std/sharded-map.js'
import { readIfThere, type StateFolder, syncFolder } from './state-folder.js'

/**
 * The last snapshot in effect, on disk, so that an agent starts and serves while the control plane is away.
 *
 *   current, previous   what a generation is made of: signed proofs, and per section its hash and its file
 *   section-<n>         one section: every resource by name and hash, and in which pack its bytes lie
 *   deny-<n>            the same for the deny section, with its proof inside
 *   pack-<n>            resources, each sealed by itself
 *
 * Files but the first two are written once and never changed; a save writes what is new (one pack and one list per changed
 * section), syncs it, and only then renames `current`. A section whose bytes lie in too many packs is written afresh.
 *
 * What is read back is trusted for nothing: the signature of each proof, the root over its sections, each section's hash
 * over its list and each resource's hash over its bytes are checked again. What does not hold costs as little as can be:
 * one resource; else one section, which then comes from the generation before; else the generation. Only revocations are
 * different. A lost denial would be an accidental allow, so: a denial whose bytes are lost still takes its key away by
 * name, and when the list of denials is lost nothing is loaded at all; the agent waits for the control plane.
 */
export class LastKnownGood {
  readonly #folder: StateFolder
  readonly #path: string
  readonly #pause: Pause
  #nextNumber = 1
  #written: ReadonlyMap<string, WrittenSection> = new Map()
  #previousFiles: ReadonlySet<string> = new Set()
  #currentIsGood = true

  constructor(folder: StateFolder, pause: Pause) {
    this.#folder = folder
    this.#path = folder.at('last-known-good')
    this.#pause = pause
  }

  /** Writes `manifest` durably. Throws when the disk does not take it; what was there before then still is. */
  async save(manifest: Manifest): Promise<void> {
    await fs.mkdir(this.#path, { recursive: true, mode: 0o700 })
    const written = new Map<string, WrittenSection>()
    for (const section of manifest.sections) {
      const before = this.#written.get(section.name)
      if (before?.whole && equalHashes(before.hash, section.hash)) {
        written.set(section.name, { ...before, proof: section.proof })
      } else if (isProven(section)) {
        written.set(section.name, await this.#writeSection(section, before))
      } else if (before !== undefined) {
        // Read back with losses and not replaced yet: what lies on the disk is still the better copy.
        written.set(section.name, before)
      }
    }
    await syncFolder(this.#path)
    const currentFiles = new Set([...this.#written.values()].flatMap(filesOf))
    await this.#writeTop(manifest, written)
    this.#written = written
    this.#previousFiles = currentFiles
    await this.#removeUnused()
  }

  /**
   * What lies on the disk, every part of it verified with `keys`. `manifest` is null when there is nothing, or nothing that
   * may be served. `losses` says what could not be read, and a loss is never silent.
   */
  async load(keys: ReadonlyMap<string, Uint8Array>, clusterId: string): Promise<LoadedSnapshot> {
    const names = await fs.readdir(this.#path).catch(() => [])
    this.#nextNumber = 1 + Math.max(0, ...names.map((name) => Number(/-(\d+)$/.exec(name)?.[1] ?? 0)))
    const losses: SnapshotRefusal[] = []
    const current = await this.#readTop('current', keys, losses)
    const previous = await this.#readTop('previous', keys, losses)
    const top = current ?? previous
    if (top === null) return { manifest: null, losses }
    if (current === null && losses.length === 0) {
      losses.push(snapshotRefusal('disk_failed', 'last-known-good/current: is not there; the generation before serves'))
    }
    if (!top.header.view.startsWith(`${clusterId}/`)) {
      const message = `what lies on the disk is of view ${top.header.view}; this agent now belongs to cluster ${clusterId}`
      return { manifest: null, losses: [...losses, snapshotRefusal('view_foreign', message)] }
    }

    this.#currentIsGood = current !== null
    const deny =
      current === null
        ? await this.#newestDeny(names, keys, losses)
        : await this.#readNamed(current, denySection, losses)
    if (deny === 'lost' || (deny === null && top.sections.has(denySection))) {
      const message = 'the revocations on the disk cannot be read; without them nothing is served'
      return { manifest: null, losses: [...losses, snapshotRefusal('disk_failed', message, { section: denySection })] }
    }
    const read: ReadSection[] = deny === null ? [] : [deny]
    for (const name of top.sections.keys()) {
      if (name === denySection) continue
      const found = await this.#readNamed(top, name, losses)
      const section =
        found === 'lost' && top === current && previous ? await this.#readNamed(previous, name, losses) : found
      if (section !== null && section !== 'lost') read.push(section)
      await this.#pause()
    }
    this.#written = new Map(read.map(({ section, written }) => [section.name, written]))
    const manifest = manifestOf(
      top.header,
      withoutKeys(
        read.map(({ section }) => section),
        new Set(read.flatMap(({ lostDenials }) => lostDenials)),
      ),
      top.removedSections,
    )
    return { manifest, losses }
  }

  // ------------------------------------------------------------------------------------------------------------- write

  async #writeSection(section: ManifestSection, before: WrittenSection | undefined): Promise<WrittenSection> {
    const afresh =
      before === undefined || before.packs.size >= packsMax || before.packedBytes > 2 * section.contentBytes + 65_536
    const places = afresh ? ShardedMap.empty<Place>() : before.places
    const changed = section.resources.filter((resource) => {
      const place = places.get(resource.name)
      return place === undefined || !equalHashes(place.hash, resource.hash)
    })
    const packs = new Set(afresh ? [] : before.packs)
    let packedBytes = afresh ? 0 : before.packedBytes
    const additions: [string, Place][] = []
    if (changed.length > 0) {
      const pack = `pack-${this.#nextNumber++}`
      const blobs: Buffer[] = []
      let offset = 0
      for (const [index, resource] of changed.entries()) {
        if (index % sliceCount === sliceCount - 1) await this.#pause()
        const blob = this.#folder.box.seal(resource.content, blobContext(resource.hash))
        blobs.push(blob)
        additions.push([resource.name, { hash: resource.hash, pack, offset, byteCount: blob.length }])
        offset += blob.length
      }
      await this.#writeOnce(pack, Buffer.concat(blobs))
      packs.add(pack)
      packedBytes += offset
    }
    const present = new Set(section.resources.map((resource) => resource.name))
    const gone = afresh ? [] : [...places.entries()].flatMap(([name]) => (present.has(name) ? [] : [name]))
    const nextPlaces = places.with(additions, gone)
    const file = `${section.name === denySection ? 'deny' : 'section'}-${this.#nextNumber++}`
    await this.#writeOnce(
      file,
      this.#folder.box.seal(await this.#sectionText(section, nextPlaces), sectionContext(section.name)),
    )
    return {
      name: section.name,
      hash: section.hash,
      whole: true,
      proof: section.proof,
      file,
      packs,
      packedBytes,
      places: nextPlaces,
    }
  }

  /** A line of facts, then lines of at most `sliceCount` resources: built in slices, so that it never holds the loop. */
  async #sectionText(section: ManifestSection, places: ShardedMap<Place>): Promise<Buffer> {
    const facts: SectionFactsJson = {
      version: formatVersion,
      name: section.name,
      intentRevision: section.intentRevision,
      removed: section.removed,
      proof: section.name === denySection ? proofToJson(section.proof) : null,
    }
    const lines = [JSON.stringify(facts)]
    for (let at = 0; at < section.resources.length; at += sliceCount) {
      const slice: PlaceJson[] = section.resources.slice(at, at + sliceCount).flatMap(({ name }) => {
        const place = places.get(name)
        return place ? [[name, place.hash.toString('base64'), place.pack, place.offset, place.byteCount]] : []
      })
      lines.push(JSON.stringify(slice))
      await this.#pause()
    }
    return Buffer.from(lines.join('\n'))
  }

  async #writeTop(manifest: Manifest, written: ReadonlyMap<string, WrittenSection>): Promise<void> {
    const newest = [...written.values()].find((section) => isProofOf(section.proof, manifest.header))?.proof
    const proofs = [...new Set([...(newest ? [newest] : []), ...[...written.values()].map((section) => section.proof)])]
    const top: TopJson = {
      version: formatVersion,
      proofs: proofs.map(proofToJson),
      removedSections: manifest.removedSections,
      sections: [...written.values()].map((section) => ({
        name: section.name,
        hash: section.hash.toString('base64'),
        file: section.file,
        proof: proofs.indexOf(section.proof),
      })),
    }
    const temporary = path.join(this.#path, 'current.new')
    await this.#writeOnce('current.new', this.#folder.box.seal(Buffer.from(JSON.stringify(top)), topContext))
    const current = path.join(this.#path, 'current')
    // A damaged `current` must not push out the generation that was read in its place.
    if (this.#currentIsGood) await fs.rename(current, path.join(this.#path, 'previous')).catch(ignoreMissing)
    this.#currentIsGood = true
    await fs.rename(temporary, current)
    await syncFolder(this.#path)
  }

  async #writeOnce(name: string, bytes: Uint8Array): Promise<void> {
    const handle = await fs.open(path.join(this.#path, name), 'w', 0o600)
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  async #removeUnused(): Promise<void> {
    const used = new Set([...[...this.#written.values()].flatMap(filesOf), ...this.#previousFiles])
    for (const name of await fs.readdir(this.#path)) {
      if (/^(section|deny|pack)-\d+$/.test(name) && !used.has(name))
        await fs.rm(path.join(this.#path, name), { force: true })
    }
  }

  // -------------------------------------------------------------------------------------------------------------- read

  async #readTop(
    name: 'current' | 'previous',
    keys: ReadonlyMap<string, Uint8Array>,
    losses: SnapshotRefusal[],
  ): Promise<ReadTop | null> {
    const sealed = await readIfThere(path.join(this.#path, name))
    if (sealed === null) return null
    const lose = (message: string) => {
      losses.push(snapshotRefusal('disk_failed', `last-known-good/${name}: ${message}`))
      return null
    }
    const top = parsed<TopJson>(this.#folder.box.open(sealed, topContext))
    if (top === null || top.version !== formatVersion) return lose('cannot be opened')
    const proofs = top.proofs.map(proofFromJson)
    const headers: HeaderFacts[] = []
    for (const proof of proofs) {
      const verified = verifyProof(proof, keys)
      if ('refusal' in verified) return lose(verified.refusal.message)
      headers.push(verified.header)
    }
    const header = headers[0]
    if (header === undefined) return lose('names no proof')
    const sections = new Map<string, TopSection>()
    for (const entry of top.sections) {
      const proof = proofs[entry.proof]
      const hash = Buffer.from(entry.hash, 'base64')
      const proven = proof?.sections.find((section) => section.name === entry.name)
      if (proof === undefined || proven === undefined || !equalHashes(proven.hash, hash)) {
        return lose(`section ${entry.name} is not in the proof it names`)
      }
      sections.set(entry.name, { file: entry.file, hash, proof })
    }
    return { header, sections, removedSections: top.removedSections }
  }

  /** Null when `top` has no such section; `'lost'` when it has and the section cannot be read. */
  async #readNamed(top: ReadTop, name: string, losses: SnapshotRefusal[]): Promise<ReadSection | null | 'lost'> {
    const entry = top.sections.get(name)
    if (entry === undefined) return null
    const section = await this.#readSection(name, entry.file, losses)
    if (section === 'lost') return 'lost'
    if (equalHashes(section.listedHash, entry.hash)) {
      return {
        ...section,
        section: { ...section.section, proof: entry.proof },
        written: { ...section.written, proof: entry.proof },
      }
    }
    losses.push(
      snapshotRefusal('section_hash_mismatch', `${entry.file} is not the section that was signed`, { section: name }),
    )
    return 'lost'
  }

  /** Of all denials on the disk the newest, when `current` does not say which that is. One unreadable file: lost. */
  async #newestDeny(
    names: readonly string[],
    keys: ReadonlyMap<string, Uint8Array>,
    losses: SnapshotRefusal[],
  ): Promise<ReadSection | null | 'lost'> {
    let newest: ReadSection | null = null
    for (const file of names.filter((name) => /^deny-\d+$/.test(name))) {
      const found = await this.#readSection(denySection, file, losses)
      if (found === 'lost' || found.ownProof === null) return 'lost'
      const proven = found.ownProof.sections.find((section) => section.name === denySection)
      if ('refusal' in verifyProof(found.ownProof, keys) || !proven || !equalHashes(proven.hash, found.listedHash))
        return 'lost'
      if (newest === null || found.section.intentRevision > newest.section.intentRevision) newest = found
    }
    return newest
  }

  async #readSection(name: string, file: string, losses: SnapshotRefusal[]): Promise<ReadSection | 'lost'> {
    const lose = (message: string, resource = '') =>
      losses.push(snapshotRefusal('disk_failed', `last-known-good/${file}: ${message}`, { section: name, resource }))
    const sealed = await readIfThere(path.join(this.#path, file))
    const text = sealed === null ? null : this.#folder.box.open(sealed, sectionContext(name))
    if (text === null) {
      lose(sealed === null ? 'is not there' : 'cannot be opened')
      return 'lost'
    }
    const [factsLine = '', ...sliceLines] = text.toString('utf8').split('\n')
    const facts = JSON.parse(factsLine) as SectionFactsJson
    if (facts.version !== formatVersion) {
      lose(`is of format ${facts.version}`)
      return 'lost'
    }
    const listed = sliceLines.flatMap((line) => JSON.parse(line) as PlaceJson[])
    const packs = new Map<string, Buffer | null>()
    const resources: ManifestResource[] = []
    const places: [string, Place][] = []
    const lostDenials: string[] = []
    let contentBytes = 0
    let packedBytes = 0
    for (const [index, [resourceName, hashText, pack, offset, byteCount]] of listed.entries()) {
      if (index % sliceCount === sliceCount - 1) await this.#pause()
      if (!packs.has(pack)) packs.set(pack, await readIfThere(path.join(this.#path, pack)))
      const hash = Buffer.from(hashText, 'base64')
      const blob = packs.get(pack)?.subarray(offset, offset + byteCount)
      const content = blob === undefined ? null : this.#folder.box.open(blob, blobContext(hash))
      packedBytes += byteCount
      if (content === null || !equalHashes(hashContent(content), hash)) {
        lose(`the bytes in ${pack} are damaged`, resourceName)
        if (name === denySection) lostDenials.push(resourceName)
        continue
      }
      contentBytes += content.length
      resources.push(Object.freeze({ name: resourceName, hash, content }))
      places.push([resourceName, { hash, pack, offset, byteCount }])
    }
    const listedHash = hashSection({
      name,
      intentRevision: facts.intentRevision,
      resources: listed.map(([resourceName, hashText]) => ({
        name: resourceName,
        hash: Buffer.from(hashText, 'base64'),
      })),
      removed: facts.removed,
    })
    const whole = resources.length === listed.length
    const hash = whole ? listedHash : hashOf(facts, resources)
    const ownProof = facts.proof === null ? null : proofFromJson(facts.proof)
    const proof = ownProof ?? noProof
    return {
      section: Object.freeze({
        name,
        hash,
        intentRevision: facts.intentRevision,
        resources: Object.freeze(resources),
        removed: Object.freeze([...facts.removed]),
        contentBytes,
        proof,
      }),
      written: {
        name,
        hash: listedHash,
        whole,
        proof,
        file,
        packs: new Set(packs.keys()),
        packedBytes,
        places: ShardedMap.empty<Place>().with(places),
      },
      listedHash,
      ownProof,
      lostDenials,
    }
  }
}

export interface LoadedSnapshot {
  readonly manifest: Manifest | null
  readonly losses: readonly SnapshotRefusal[]
}

const formatVersion = 1
const topContext = 'last-known-good'
/** Resources between two pauses: about a millisecond of sealing. */
const sliceCount = 128
/** Packs of one section before it is written afresh. */
const packsMax = 32

interface Place {
  readonly hash: Buffer
  readonly pack: string
  readonly offset: number
  readonly byteCount: number
}

interface WrittenSection {
  readonly name: string
  readonly hash: Buffer
  /** False when some of its bytes could not be read back: it is to be written again as soon as they are here. */
  readonly whole: boolean
  readonly proof: RootProof
  readonly file: string
  readonly packs: ReadonlySet<string>
  readonly packedBytes: number
  readonly places: ShardedMap<Place>
}

interface ReadTop {
  readonly header: HeaderFacts
  readonly sections: ReadonlyMap<string, TopSection>
  readonly removedSections: readonly string[]
}

interface TopSection {
  readonly file: string
  readonly hash: Buffer
  readonly proof: RootProof
}

interface ReadSection {
  readonly section: ManifestSection
  readonly written: WrittenSection
  /** Over the list as it lies there, lost resources included: what the proof speaks of. */
  readonly listedHash: Buffer
  readonly ownProof: RootProof | null
  /** Names of denials whose bytes are lost. */
  readonly lostDenials: readonly string[]
}

type PlaceJson = [name: string, hash: string, pack: string, offset: number, byteCount: number]

interface SectionFactsJson {
  version: number
  name: string
  intentRevision: number
  removed: readonly string[]
  proof: ProofJson | null
}

interface TopJson {
  version: number
  /** The newest first. */
  proofs: ProofJson[]
  removedSections: readonly string[]
  sections: { name: string; hash: string; file: string; proof: number }[]
}

interface ProofJson {
  header: string
  signature: string
  sections: [name: string, hash: string][]
  removedSections: readonly string[]
}

const noProof: RootProof = Object.freeze({
  header: Buffer.alloc(0),
  signature: Buffer.alloc(0),
  sections: [],
  removedSections: [],
})

const blobContext = (hash: Buffer) => `resource/${hash.toString('hex')}`
const sectionContext = (name: string) => `section/${name}`

function filesOf(section: WrittenSection): string[] {
  return [section.file, ...section.packs]
}

function hashOf(facts: SectionFactsJson, resources: readonly ManifestResource[]): Buffer {
  return hashSection({ name: facts.name, intentRevision: facts.intentRevision, resources, removed: facts.removed })
}

function isProven(section: ManifestSection): boolean {
  const proven = section.proof.sections.find(({ name }) => name === section.name)
  return proven !== undefined && equalHashes(proven.hash, section.hash)
}

/** Sections without the keys whose denial was lost; their hash then is that of what is left. */
function withoutKeys(
  sections: readonly ManifestSection[],
  lostDenials: ReadonlySet<string>,
): readonly ManifestSection[] {
  if (lostDenials.size === 0) return sections
  const keys = new Set([...lostDenials].map((name) => name.replace(/^deny\//, 'api_key/')))
  return sections.map((section) => {
    const resources = section.resources.filter(({ name }) => !keys.has(name))
    if (resources.length === section.resources.length) return section
    return Object.freeze({
      ...section,
      resources: Object.freeze(resources),
      hash: hashSection({ ...section, resources }),
      contentBytes: resources.reduce((sum, { content }) => sum + content.length, 0),
    })
  })
}

function isProofOf(proof: RootProof, header: HeaderFacts): boolean {
  return equalHashes(header.rootHash, hashRoot(proof))
}

function proofToJson(proof: RootProof): ProofJson {
  return {
    header: proof.header.toString('base64'),
    signature: proof.signature.toString('base64'),
    sections: proof.sections.map(({ name, hash }) => [name, Buffer.from(hash).toString('base64')]),
    removedSections: proof.removedSections,
  }
}

function proofFromJson(json: ProofJson): RootProof {
  return Object.freeze({
    header: Buffer.from(json.header, 'base64'),
    signature: Buffer.from(json.signature, 'base64'),
    sections: json.sections.map(([name, hash]) => ({ name, hash: Buffer.from(hash, 'base64') })),
    removedSections: json.removedSections,
  })
}

function parsed<T>(bytes: Buffer | null): T | null {
  if (bytes === null) return null
  try {
    return JSON.parse(bytes.toString('utf8')) as T
  } catch {
    return null
  }
}

function ignoreMissing(fault: NodeJS.ErrnoException): void {
  if (fault.code !== 'ENOENT') throw fault
}
