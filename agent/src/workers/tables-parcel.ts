import type { CompileHeader } from '../../../proto/policy/compile-tables.js'
import { equalHashes } from '../../../proto/snapshot/hash.js'
import type { ManifestResource } from '../../../proto/snapshot/manifest.js'
import type { Pause } from '../../../proto/std/pause.js'
import type { Effect } from '../config/build-tables.js'
import { differenceOf } from '../config/section-difference.js'

/**
 * What a request worker is told of a configuration: the bytes of the resources that changed and the names of those that are
 * gone, in pieces of a bounded size. The primary has verified, checked and compiled the very same bytes, so there is no
 * proof and no hash in it: the worker believes its parent or nobody.
 */
export interface TablesParcel {
  /** Of the change that it is a piece of. */
  readonly number: number
  /** Only the last piece has it: with it the change takes effect. */
  readonly header: CompileHeader | null
  readonly sections: readonly SectionParcel[]
  readonly goneSections: readonly string[]
}

export interface SectionParcel {
  readonly name: string
  readonly changed: readonly string[]
  /** Bytes of each of `changed` in `content`. */
  readonly lengths: readonly number[]
  readonly content: Uint8Array
  readonly gone: readonly string[]
}

/** Bytes of content in one piece, but for a single larger resource. */
const pieceBytesMax = 256 * 1024
const pieceNamesMax = 2_000

/**
 * The pieces of what leads from `before` (null: from nothing) to `next`, made one by one; `pause` is awaited between them.
 * Sections that are the same in both cost the comparison of a hash.
 */
export async function* parcelsOf(
  before: Effect | null,
  next: Effect,
  number: number,
  pause: Pause,
): AsyncGenerator<TablesParcel, void> {
  const held = new Map(before?.manifest.sections.map((section) => [section.name, section]))
  const { manifest } = next
  const piece = new Piece(number)
  for (const section of manifest.sections) {
    const old = held.get(section.name)
    held.delete(section.name)
    if (old !== undefined && equalHashes(old.hash, section.hash)) continue
    const { changed, gone } = differenceOf(old?.resources ?? [], section.resources)
    for (const name of gone) {
      if (piece.isFull) yield piece.take(null)
      piece.of(section.name).gone.push(name)
    }
    for (const resource of changed) {
      if (piece.isFull) {
        yield piece.take(null)
        await pause()
      }
      piece.add(section.name, resource)
    }
    // One that is new is said to be there, also without anything in it.
    if (old === undefined && changed.length === 0) piece.of(section.name)
  }
  for (const name of held.keys()) piece.goneSections.push(name)
  yield piece.take({
    epoch: manifest.header.epoch,
    generation: manifest.header.generation,
    rootHash: manifest.rootHash.toString('hex'),
  })
}

/**
 * A change on its way to the workers: those that hold the same are sent the same pieces, made once. What leads from nothing
 * is as large as the whole configuration, and is made anew for each worker that begins instead of being kept.
 */
export class TablesChange {
  readonly effect: Effect
  readonly #pause: Pause
  readonly #pieces = new Map<Effect, Promise<readonly TablesParcel[]>>()

  constructor(effect: Effect, pause: Pause) {
    this.effect = effect
    this.#pause = pause
  }

  async *from(before: Effect | null, number: number): AsyncGenerator<TablesParcel, void> {
    if (before === null) return yield* parcelsOf(null, this.effect, number, this.#pause)
    let pieces = this.#pieces.get(before)
    if (pieces === undefined) {
      pieces = this.#make(before)
      this.#pieces.set(before, pieces)
    }
    for (const piece of await pieces) yield { ...piece, number }
  }

  async #make(before: Effect): Promise<readonly TablesParcel[]> {
    const pieces: TablesParcel[] = []
    for await (const piece of parcelsOf(before, this.effect, 0, this.#pause)) pieces.push(piece)
    return pieces
  }
}

class Piece {
  readonly #number: number
  #sections = new Map<string, { gone: string[]; changed: ManifestResource[] }>()
  #bytes = 0
  #names = 0
  goneSections: string[] = []

  constructor(number: number) {
    this.#number = number
  }

  get isFull(): boolean {
    return this.#bytes >= pieceBytesMax || this.#names >= pieceNamesMax
  }

  of(name: string): { gone: string[]; changed: ManifestResource[] } {
    this.#names += 1
    let section = this.#sections.get(name)
    if (section === undefined) {
      section = { gone: [], changed: [] }
      this.#sections.set(name, section)
    }
    return section
  }

  add(section: string, resource: ManifestResource): void {
    this.of(section).changed.push(resource)
    this.#bytes += resource.content.length
  }

  take(header: CompileHeader | null): TablesParcel {
    const sections = [...this.#sections].map(([name, { gone, changed }]) => ({
      name,
      changed: changed.map((resource) => resource.name),
      lengths: changed.map((resource) => resource.content.length),
      content: Buffer.concat(changed.map((resource) => resource.content)),
      gone,
    }))
    const parcel = { number: this.#number, header, sections, goneSections: this.goneSections }
    this.#sections = new Map()
    this.goneSections = []
    this.#bytes = 0
    this.#names = 0
    return parcel
  }
}
