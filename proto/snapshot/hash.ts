import { createHash } from 'node:crypto'
import { assert } from '../std/assert.js'

/**
 * What a snapshot's hashes are taken over, byte for byte. All are SHA-256.
 *
 *   text(t)     u32 byte length · UTF-8 bytes
 *   content     the bytes of a serialized Resource exactly as received, nothing before them
 *   section     text("switchyard/section/1") · text(name) · u64 intentRevision
 *               · u32 count · for each resource by name: text(name) · its 32-byte content hash
 *               · u32 count · for each removed name: text(name)
 *   root        text("switchyard/root/1")
 *               · u32 count · for each section by name: text(name) · its 32-byte section hash
 *               · u32 count · for each removed section: text(name)
 *
 * Integers are big-endian. Every list is sorted by name (byte order; names are printable ASCII, so UTF-16 order is the
 * same) and holds no name twice. Lengths and counts come first and each kind has its own tag, so no two different inputs
 * share bytes. Nothing is ever decoded and encoded again to be hashed: a field that an older agent does not know would be
 * lost on the way.
 */
export const hashBytes = 32

export interface NamedHash {
  readonly name: string
  /** 32 bytes. */
  readonly hash: Uint8Array
}

export interface SectionFacts {
  readonly name: string
  readonly intentRevision: number
  /** In any order, no name twice. */
  readonly resources: readonly NamedHash[]
  /** Names that are gone, in any order, no name twice. */
  readonly removed: readonly string[]
}

export interface RootFacts {
  readonly sections: readonly NamedHash[]
  readonly removedSections: readonly string[]
}

/** SHA-256 of a serialized Resource, as received. */
export function hashContent(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest()
}

/** Hash of a section's manifest: its name, its number, every resource by name and hash, every removed name. */
export function hashSection(section: SectionFacts): Buffer {
  const resources = sortedByName(section.resources)
  const removed = sortedNames(section.removed)
  const writer = new Preimage(
    textBytes(sectionTag) + textBytes(section.name) + 8 + namedHashesBytes(resources) + namesBytes(removed),
  )
  writer.text(sectionTag)
  writer.text(section.name)
  writer.u64(section.intentRevision)
  writer.namedHashes(resources)
  writer.names(removed)
  return writer.digest()
}

/** Hash of a whole snapshot: every section by name and hash, every removed section. This is what the header carries. */
export function hashRoot(root: RootFacts): Buffer {
  const sections = sortedByName(root.sections)
  const removed = sortedNames(root.removedSections)
  const writer = new Preimage(textBytes(rootTag) + namedHashesBytes(sections) + namesBytes(removed))
  writer.text(rootTag)
  writer.namedHashes(sections)
  writer.names(removed)
  return writer.digest()
}

export function equalHashes(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0
}

/** A name that may stand in a snapshot: printable ASCII without blanks, at most 300 characters. */
export function isSnapshotName(name: string): boolean {
  return name.length <= 300 && namePattern.test(name)
}

/** The same list in name order; the list itself when it already is. Faults on a name that occurs twice. */
export function sortedByName<T extends { readonly name: string }>(items: readonly T[]): readonly T[] {
  let ascending = true
  for (let i = 1; i < items.length && ascending; i++) ascending = nameAt(items, i - 1) < nameAt(items, i)
  if (ascending) return items
  const sorted = [...items].sort((a, b) => compareNames(a.name, b.name))
  for (let i = 1; i < sorted.length; i++) {
    assert(nameAt(sorted, i - 1) !== nameAt(sorted, i), `the name ${nameAt(sorted, i)} occurs twice`)
  }
  return sorted
}

/** The same names in order; the list itself when it already is. Faults on a name that occurs twice. */
export function sortedNames(names: readonly string[]): readonly string[] {
  return sortedByName(names.map((name) => ({ name }))).map((item) => item.name)
}

export function compareNames(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

const sectionTag = 'switchyard/section/1'
const rootTag = 'switchyard/root/1'
const namePattern = /^[\x21-\x7e]+$/

const nameAt = (items: readonly { readonly name: string }[], index: number) => items[index]?.name ?? ''
const textBytes = (text: string) => 4 + Buffer.byteLength(text)
const namesBytes = (names: readonly string[]) => names.reduce((sum, name) => sum + textBytes(name), 4)
const namedHashesBytes = (items: readonly NamedHash[]) =>
  items.reduce((sum, item) => sum + textBytes(item.name) + hashBytes, 4)

/** One buffer of the exact size, filled once: ten thousand entries are hashed in one native call. */
class Preimage {
  readonly #bytes: Buffer
  #at = 0

  constructor(byteCount: number) {
    this.#bytes = Buffer.allocUnsafe(byteCount)
  }

  text(text: string): void {
    const written = this.#bytes.write(text, this.#at + 4)
    this.#bytes.writeUInt32BE(written, this.#at)
    this.#at += 4 + written
  }

  u64(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'a number in a snapshot is a non-negative safe integer')
    this.#bytes.writeBigUInt64BE(BigInt(value), this.#at)
    this.#at += 8
  }

  names(names: readonly string[]): void {
    this.#u32(names.length)
    for (const name of names) this.text(name)
  }

  namedHashes(items: readonly NamedHash[]): void {
    this.#u32(items.length)
    for (const { name, hash } of items) {
      assert(hash.length === hashBytes, `the hash of ${name} has ${hash.length} bytes`)
      this.text(name)
      this.#bytes.set(hash, this.#at)
      this.#at += hashBytes
    }
  }

  digest(): Buffer {
    assert(this.#at === this.#bytes.length, 'every byte of the preimage was written')
    return createHash('sha256').update(this.#bytes).digest()
  }

  #u32(value: number): void {
    this.#at = this.#bytes.writeUInt32BE(value, this.#at)
  }
}
