/**
 * Memory that streams are taken down in, used again. Allocated anew for each stream it would be freed by nobody but the
 * collector, which then runs for its sake: measured, a fifth of what streaming costs.
 */
export class RecordMemory {
  /** Free pieces of each size, the smallest first. */
  readonly #free: Buffer[][] = sizes.map(() => [])
  #freeBytes = 0

  get freeBytes(): number {
    return this.#freeBytes
  }

  /** At least `length` bytes with anything in them. */
  take(length: number): Buffer {
    const at = sizes.findIndex((size) => size >= length)
    if (at === -1) return Buffer.allocUnsafeSlow(length)
    const used = this.#free[at]?.pop()
    if (used === undefined) return Buffer.allocUnsafeSlow(sizes[at] as number)
    this.#freeBytes -= used.length
    return used
  }

  /** Nobody looks at `memory` any more. */
  give(memory: Buffer): void {
    const free = this.#free[sizes.indexOf(memory.length)]
    if (free === undefined || this.#freeBytes + memory.length > freeBytesMax) return
    free.push(memory)
    this.#freeBytes += memory.length
  }
}

const sizes: readonly number[] = [4_096, 16_384, 65_536, 262_144]
/** For 64 streams of 64 KiB. */
const freeBytesMax = 4 * 1024 * 1024

/**
 * What a client was sent of a stream, for keeping. Bounded: a longer one is let go of at once, and not kept. One that is never
 * finished just keeps its memory from being used again.
 */
export class StreamRecord {
  readonly #source: RecordMemory
  readonly #bytesMax: number
  /** Memory for what came and for some of what may; null: too long, or over. */
  #memory: Buffer | null = noBytes
  #length = 0

  constructor(source: RecordMemory, bytesMax: number) {
    this.#source = source
    this.#bytesMax = bytesMax
  }

  /** Copies: what is sent on is often a view of memory that is used again. */
  add(piece: Buffer) {
    const memory = this.#memory
    if (memory === null) return
    const length = this.#length + piece.length
    if (length > this.#bytesMax) return this.#end()
    if (length <= memory.length) piece.copy(memory, this.#length)
    else {
      const larger = this.#source.take(length)
      memory.copy(larger, 0, 0, this.#length)
      piece.copy(larger, this.#length)
      this.#source.give(memory)
      this.#memory = larger
    }
    this.#length = length
  }

  /** All of it and `tail` behind, in memory of its own; null: too long. To be called once. */
  finish(tail: Buffer): { readonly bytes: Buffer; readonly tailAt: number } | null {
    const memory = this.#memory
    const length = this.#length
    const isFit = memory !== null && length + tail.length <= this.#bytesMax
    const bytes = isFit ? ownCopy([memory.subarray(0, length), tail], length + tail.length) : null
    this.#end()
    return bytes && { bytes, tailAt: length }
  }

  #end() {
    if (this.#memory !== null) this.#source.give(this.#memory)
    this.#memory = null
  }
}

const noBytes = Buffer.alloc(0)

/** Of exactly its length: small buffers are views of a larger page, which would stay with them. */
export function ownCopy(pieces: readonly Buffer[], length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length)
  let at = 0
  for (const piece of pieces) at += piece.copy(copy, at)
  return copy
}
