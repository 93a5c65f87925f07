import type { ByteMemory } from './byte-memory.js'

/** Where records take their memory, and how much most of them need. */
export class RecordSource {
  readonly memory: ByteMemory
  #usualBytes = usualBytesMin

  constructor(memory: ByteMemory) {
    this.memory = memory
  }

  /** What a record begins with: a little more than streams were long of late, so that most never move to more. */
  get usualBytes(): number {
    return this.#usualBytes
  }

  /** A stream was `length` bytes long. */
  learn(length: number): void {
    const wanted = Math.min(usualBytesMax, Math.max(usualBytesMin, length * 1.25))
    this.#usualBytes = Math.round(this.#usualBytes + (wanted - this.#usualBytes) / 16)
  }
}

const usualBytesMin = 4_096
const usualBytesMax = 64 * 1024

export interface RecordedStream {
  readonly bytes: Buffer
  /** Where the last bytes begin. */
  readonly tailAt: number
  /** The memory in which they stand, which may be given back. */
  readonly piece: Buffer
  /** All but pieces that were said to be like those before them: what has to be looked at to know what it is. */
  readonly telling: Buffer
}

/** So many pieces that are like one before are looked at all the same: the first of them may have had no text. */
const alikeShownCount = 2

/**
 * What a client was sent of a stream, for keeping. Bounded: a longer one is let go of at once, and not kept. One that is never
 * finished just keeps its memory from being used again.
 */
export class StreamRecord {
  readonly #source: RecordSource
  readonly #bytesMax: number
  /** Memory for what came and for some of what may; null: too long, or over. */
  #memory: Buffer | null = noBytes
  #length = 0
  /** Where what is telling begins and ends, again and again. */
  readonly #telling: number[] = []
  #alikeCount = 0

  constructor(source: RecordSource, bytesMax: number) {
    this.#source = source
    this.#bytesMax = bytesMax
  }

  /** Copies: what is sent on is often a view of memory that is used again. `isAlike`: as its reader says (`StreamReader.alike`). */
  add(piece: Buffer, isAlike = false) {
    const memory = this.#memory
    if (memory === null) return
    const length = this.#length + piece.length
    if (length > this.#bytesMax) return this.#end()
    if (length <= memory.length) piece.copy(memory, this.#length)
    else {
      const { memory: pieces, usualBytes } = this.#source
      const larger = pieces.take(Math.max(usualBytes, length * 2))
      memory.copy(larger, 0, 0, this.#length)
      piece.copy(larger, this.#length)
      pieces.give(memory)
      this.#memory = larger
    }
    if (isAlike) this.#alikeCount += 1
    if (!isAlike || this.#alikeCount <= alikeShownCount) this.#show(this.#length, length)
    this.#length = length
  }

  #show(from: number, to: number): void {
    const telling = this.#telling
    if (telling.at(-1) === from) telling[telling.length - 1] = to
    else telling.push(from, to)
  }

  /** All of it and `tail` behind, at the beginning of a piece of its own; null: too long. To be called once. */
  finish(tail: Buffer): RecordedStream | null {
    const memory = this.#memory
    const length = this.#length
    const isFit = memory !== null && length + tail.length <= this.#bytesMax
    const piece = isFit ? this.#copy(memory, tail) : null
    this.#source.learn(length)
    this.#end()
    if (piece === null) return null
    const bytes = piece.subarray(0, length + tail.length)
    this.#show(length, bytes.length)
    return { piece, bytes, tailAt: length, telling: this.#tellingOf(bytes) }
  }

  #tellingOf(bytes: Buffer): Buffer {
    const telling = this.#telling
    if (telling.length === 2) return bytes
    const parts: Buffer[] = []
    for (let at = 0; at < telling.length; at += 2) parts.push(bytes.subarray(telling[at], telling[at + 1]))
    return Buffer.concat(parts)
  }

  /** Of its own size: what is kept long is not to hold room for more. */
  #copy(memory: Buffer, tail: Buffer): Buffer {
    const piece = this.#source.memory.take(this.#length + tail.length)
    memory.copy(piece, 0, 0, this.#length)
    tail.copy(piece, this.#length)
    return piece
  }

  #end() {
    if (this.#memory !== null) this.#source.memory.give(this.#memory)
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
