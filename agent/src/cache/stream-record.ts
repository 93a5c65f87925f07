/** What a client was sent of a stream, for keeping. Bounded: a longer one is let go of at once, and not kept. */
export class StreamRecord {
  readonly #bytesMax: number
  #pieces: Buffer[] | null = []
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Copies: what is sent on is often a view of memory that is used again. */
  add(piece: Buffer): void {
    if (this.#pieces === null) return
    this.#bytes += piece.length
    if (this.#bytes > this.#bytesMax) {
      this.#pieces = null
      return
    }
    this.#pieces.push(Buffer.from(piece))
  }

  /** All of it and `tail` behind, in memory of its own; null: too long. */
  finish(tail: Buffer): { readonly bytes: Buffer; readonly tailAt: number } | null {
    if (this.#pieces === null || this.#bytes + tail.length > this.#bytesMax) return null
    return { bytes: ownCopy([...this.#pieces, tail], this.#bytes + tail.length), tailAt: this.#bytes }
  }
}

/** Of exactly its length: small buffers are views of a larger page, which would stay with them. */
export function ownCopy(pieces: readonly Buffer[], length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length)
  let at = 0
  for (const piece of pieces) at += piece.copy(copy, at)
  return copy
}
