/** What a client was sent of a stream, for keeping. Bounded: a longer one is let go of at once, and not kept. */
export class StreamRecord {
  readonly #bytesMax: number
  /** Memory for what came and for some of what may; null: too long. */
  #memory: Buffer | null = noBytes
  #length = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Copies: what is sent on is often a view of memory that is used again. */
  add(piece: Buffer): void {
    if (this.#memory === null) return
    const length = this.#length + piece.length
    if (length > this.#bytesMax) {
      this.#memory = null
      return
    }
    if (length > this.#memory.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(this.#bytesMax, Math.max(firstBytes, length * 2)))
      this.#memory.copy(larger, 0, 0, this.#length)
      this.#memory = larger
    }
    piece.copy(this.#memory, this.#length)
    this.#length = length
  }

  /** All of it and `tail` behind, in memory of its own; null: too long. */
  finish(tail: Buffer): { readonly bytes: Buffer; readonly tailAt: number } | null {
    const length = this.#length
    if (this.#memory === null || length + tail.length > this.#bytesMax) return null
    return { bytes: ownCopy([this.#memory.subarray(0, length), tail], length + tail.length), tailAt: length }
  }
}

const firstBytes = 4_096
const noBytes = Buffer.alloc(0)

/** Of exactly its length: small buffers are views of a larger page, which would stay with them. */
export function ownCopy(pieces: readonly Buffer[], length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length)
  let at = 0
  for (const piece of pieces) at += piece.copy(copy, at)
  return copy
}
