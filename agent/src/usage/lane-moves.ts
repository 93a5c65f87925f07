import fs from 'node:fs'
import path from 'node:path'
import { writeFileDurably } from './boot-epoch.js'
import { parseLaneName } from './segment.js'

/** Files named after `from` belong to the lane `to`. */
export interface LaneMove {
  readonly to: string
  /** More than one where it moved again before it had. */
  readonly from: readonly string[]
}

/**
 * Lanes whose files are being renamed, on the disk: whoever renames them may end midway, and what kept its earlier name would
 * be taken for another lane, of which the control plane has everything.
 */
export class LaneMoves {
  readonly #file: string
  #fromOf: ReadonlyMap<string, readonly string[]> = new Map()
  #isSaved = true

  constructor(directory: string) {
    this.#file = path.join(directory, 'moves.json')
  }

  /** What an earlier life had not ended, which is then taken for ended. A damaged file names nothing: it is written whole. */
  load(): readonly LaneMove[] {
    if (!fs.existsSync(this.#file)) return []
    this.#isSaved = false
    try {
      const value: unknown = JSON.parse(fs.readFileSync(this.#file, 'utf8'))
      return Array.isArray(value) ? value.filter(isMove) : []
    } catch {
      return []
    }
  }

  /** On the disk when it returns. Throws when the disk refuses, and then nothing moves. */
  begin(moves: readonly { readonly from: string; readonly to: string }[]): void {
    const before = this.#fromOf
    const next = new Map(before)
    for (const { from, to } of moves) {
      next.set(to, [...(before.get(from) ?? []), from])
      next.delete(from)
    }
    this.#fromOf = next
    this.#isSaved = false
    try {
      this.save()
    } catch (fault) {
      this.#fromOf = before
      throw fault
    }
  }

  /** To be saved: until it is, the next start looks for files that are not there. */
  end(to: string): void {
    const left = new Map(this.#fromOf)
    if (left.delete(to)) this.#isSaved = false
    this.#fromOf = left
  }

  /** Throws when the disk refuses. */
  save(): void {
    if (this.#isSaved) return
    if (this.#fromOf.size === 0) fs.rmSync(this.#file, { force: true })
    else writeFileDurably(this.#file, JSON.stringify([...this.#fromOf].map(([to, from]): LaneMove => ({ to, from }))))
    this.#isSaved = true
  }
}

function isMove(value: unknown): value is LaneMove {
  const { to, from } = (value ?? {}) as Partial<LaneMove>
  const isName = (text: unknown) => typeof text === 'string' && parseLaneName(text) !== null
  return isName(to) && Array.isArray(from) && from.every(isName)
}
