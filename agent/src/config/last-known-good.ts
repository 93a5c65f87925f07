import fs from 'node:fs/promises'
import path from 'node:path'
import { denySection } from '../../../proto/snapshot/consistency.js'
import { compareNames, equalHashes, hashContent, hashRoot, hashSection } from '../../../proto/snapshot/hash.js'
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
import { must } from '../../../proto/std/assert.js'
import type { Pause } from '../../../proto/std/pause.js'
import { differenceOf } from './section-difference.js'
import { readIfThere, type StateFolder, syncFolder } from './state-folder.js'

/**
 * The last snapshot in effect, on disk, so that an agent starts and serves while the control plane is away.
 *
 *   current, previous   what a generation is made of: signed proofs, and per section its hash and its file
 *   section-<n>         one section: its resources by name and hash, and in which pack the bytes of each lie; whole, or as
 *                       what changed after another such file
 *   deny-<n>            the same for the deny section, with its proof inside
 *   pack-<n>            resources, each sealed by itself
 *
 * Files but the first two are written once and never changed; a save writes what is new (one pack and one list per changed
 * section, both as small as the change), syncs it, and only then renames `current`. A section that lies in too many files
 * is written afresh.
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
    this.#nextNumber = 1 + Math.max(0, ...names.map(numberOf))
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
    const base =
      before?.whole && before.files.length < filesMax && before.packedBytes <= 2 * section.contentBytes + 65_536
        ? before
        : null
    const { changed, gone } = differenceOf(base?.resources ?? [], section.resources)
    const packs = new Set(base?.packs)
    let packedBytes = base?.packedBytes ?? 0
    const places: PlaceJson[] = []
    if (changed.length > 0) {
      const pack = `pack-${this.#nextNumber++}`
      const blobs: Buffer[] = []
      let offset = 0
      for (const { name, hash, content } of changed) {
        await this.#pause()
        const blob = this.#folder.box.seal(content, blobContext(hash))
        blobs.push(blob)
        places.push([name, hash.toString('base64'), pack, offset, blob.length])
        offset += blob.length
      }
      await this.#writeOnce(pack, Buffer.concat(blobs))
      packs.add(pack)
      packedBytes += offset
    }
    const facts: SectionFactsJson = {
      version: formatVersion,
      name: section.name,
      intentRevision: section.intentRevision,
      removed: section.removed,
      proof: section.name === denySection ? proofToJson(section.proof) : null,
      after: base?.files.at(-1) ?? null,
      gone,
    }
    const file = `${section.name === denySection ? 'deny' : 'section'}-${this.#nextNumber++}`
    const text = await this.#sectionText(facts, places)
    await this.#writeOnce(file, this.#folder.box.seal(text, sectionContext(section.name)))
    const { name, hash, proof, resources } = section
    return { name, hash, proof, resources, whole: true, files: [...(base?.files ?? []), file], packs, packedBytes }
  }

  /** A line of facts, then lines of at most `sliceCount` places: built in slices, so that it never holds the loop. */
  async #sectionText(facts: SectionFactsJson, places: readonly PlaceJson[]): Promise<Buffer> {
    const lines = [JSON.stringify(facts)]
    for (let at = 0; at < places.length; at += sliceCount) {
      lines.push(JSON.stringify(places.slice(at, at + sliceCount)))
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
        file: section.files.at(-1) ?? '',
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

  /**
   * The newest denials on the disk, when `current` does not say which those are: the file with the highest number. One that
   * a crash left unfinished counts as lost too: nobody can tell what it would have denied.
   */
  async #newestDeny(
    names: readonly string[],
    keys: ReadonlyMap<string, Uint8Array>,
    losses: SnapshotRefusal[],
  ): Promise<ReadSection | null | 'lost'> {
    const newest = names
      .filter((name) => /^deny-\d+$/.test(name))
      .sort((a, b) => numberOf(b) - numberOf(a))
      .at(0)
    if (newest === undefined) return null
    const found = await this.#readSection(denySection, newest, losses)
    if (found === 'lost' || found.ownProof === null) return 'lost'
    const proven = found.ownProof.sections.find((section) => section.name === denySection)
    const holds = proven !== undefined && equalHashes(proven.hash, found.listedHash)
    return holds && !('refusal' in verifyProof(found.ownProof, keys)) ? found : 'lost'
  }

  async #readSection(name: string, file: string, losses: SnapshotRefusal[]): Promise<ReadSection | 'lost'> {
    const list = await this.#readList(name, file)
    if (typeof list === 'string') {
      losses.push(snapshotRefusal('disk_failed', `last-known-good/${list}`, { section: name }))
      return 'lost'
    }
    const { facts, places, files } = list
    const packs = new Map<string, Buffer | null>()
    const listed = places.map(([resourceName, hashText]) => ({
      name: resourceName,
      hash: Buffer.from(hashText, 'base64'),
    }))
    const resources: ManifestResource[] = []
    const lostDenials: string[] = []
    let contentBytes = 0
    let packedBytes = 0
    for (const [index, { name: resourceName, hash }] of listed.entries()) {
      await this.#pause()
      const [, , pack, offset, byteCount] = places[index] ?? noPlace
      if (!packs.has(pack)) packs.set(pack, await readIfThere(path.join(this.#path, pack)))
      const blob = packs.get(pack)?.subarray(offset, offset + byteCount)
      const content = blob === undefined ? null : this.#folder.box.open(blob, blobContext(hash))
      packedBytes += byteCount
      if (content === null || !equalHashes(hashContent(content), hash)) {
        const place = { section: name, resource: resourceName }
        losses.push(snapshotRefusal('disk_failed', `last-known-good/${pack}: these bytes are damaged`, place))
        if (name === denySection) lostDenials.push(resourceName)
        continue
      }
      contentBytes += content.length
      resources.push(Object.freeze({ name: resourceName, hash, content }))
    }
    const { intentRevision, removed } = facts
    const listedHash = hashSection({ name, intentRevision, removed, resources: listed })
    const whole = resources.length === listed.length
    const ownProof = facts.proof === null ? null : proofFromJson(facts.proof)
    const section: ManifestSection = Object.freeze({
      name,
      hash: whole ? listedHash : hashSection({ name, intentRevision, removed, resources }),
      intentRevision,
      resources: Object.freeze(resources),
      removed: Object.freeze([...removed]),
      contentBytes,
      proof: ownProof ?? noProof,
    })
    const written: WrittenSection = {
      ...{ name, hash: listedHash, proof: section.proof, resources, whole },
      ...{ files, packs: new Set(packs.keys()), packedBytes },
    }
    return { section, written, listedHash, ownProof, lostDenials }
  }

  /** The list of a section, put together from its file and those before it; or which file does not serve, and why. */
  async #readList(name: string, head: string): Promise<ReadList | string> {
    const chain: { file: string; facts: SectionFactsJson; lines: readonly string[] }[] = []
    for (let file: string | null = head; file !== null; file = chain.at(-1)?.facts.after ?? null) {
      const sealed: Buffer | null = await readIfThere(path.join(this.#path, file))
      if (sealed === null) return `${file}: is not there`
      const text = this.#folder.box.open(sealed, sectionContext(name))
      if (text === null) return `${file}: cannot be opened`
      const [factsLine = '', ...lines] = text.toString('utf8').split('\n')
      const facts = JSON.parse(factsLine) as SectionFactsJson
      if (facts.version !== formatVersion) return `${file}: is of format ${facts.version}`
      if (chain.length >= filesMax) return `${file}: stands after too many others`
      chain.push({ file, facts, lines })
    }
    const places = new Map<string, PlaceJson>()
    for (const { facts, lines } of chain.toReversed()) {
      for (const gone of facts.gone) places.delete(gone)
      for (const line of lines) {
        for (const place of JSON.parse(line) as PlaceJson[]) places.set(place[0], place)
        await this.#pause()
      }
    }
    const facts = must(chain[0], 'a chain has a head').facts
    return {
      facts,
      places: [...places.values()].sort((a, b) => compareNames(a[0], b[0])),
      files: chain.map(({ file }) => file).toReversed(),
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
/** Files of one section before it is written afresh. */
const filesMax = 32

interface WrittenSection {
  readonly name: string
  readonly hash: Buffer
  readonly proof: RootProof
  /** As they lie on the disk. */
  readonly resources: readonly ManifestResource[]
  /** False when some of its bytes could not be read back: it is to be written afresh as soon as they are here. */
  readonly whole: boolean
  /** Each stands after the one before it. */
  readonly files: readonly string[]
  readonly packs: ReadonlySet<string>
  readonly packedBytes: number
}

interface ReadList {
  readonly facts: SectionFactsJson
  readonly places: readonly PlaceJson[]
  readonly files: readonly string[]
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
  /** The file that this one stands after; null: it holds the whole section. */
  after: string | null
  gone: readonly string[]
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

const noPlace: PlaceJson = ['', '', '', 0, 0]
const numberOf = (file: string) => Number(/-(\d+)$/.exec(file)?.[1] ?? 0)
const noProof: RootProof = Object.freeze({
  header: Buffer.alloc(0),
  signature: Buffer.alloc(0),
  sections: [],
  removedSections: [],
})

const blobContext = (hash: Buffer) => `resource/${hash.toString('hex')}`
const sectionContext = (name: string) => `section/${name}`

function filesOf(section: WrittenSection): string[] {
  return [...section.files, ...section.packs]
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
