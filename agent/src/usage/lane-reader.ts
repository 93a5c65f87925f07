import { type FileHandle, open } from 'node:fs/promises'
import { decodeDrop, frameHeaderBytes, frameKind, readFrame } from './frame.js'
import type { LaneBook } from './lane-book.js'
import type { SegmentInfo } from './segment.js'

export type LaneEntry =
  | { readonly kind: 'record'; readonly sequence: number; readonly payload: Uint8Array }
  | { readonly kind: 'drop'; readonly first: number; readonly last: number; readonly reason: string }

export interface ReadLimits {
  recordsMax: number
  bytesMax: number
}

const chunkBytes = 256 << 10

/**
 * Reads a lane's records in the order in which they were written, from where it stands to the last whole frame, a chunk
 * at a time; a backlog of any size costs one chunk of memory. Segments may disappear or grow under it.
 */
export class LaneReader {
  readonly lane: LaneBook
  /** The last reading ended at a limit or a drop, so that there is more to read at once. */
  hasMore = false
  #number = 0
  #offset = 0
  #handle: { number: number; file: FileHandle } | null = null

  constructor(lane: LaneBook) {
    this.lane = lane
  }

  /** Back to the eldest segment that holds anything at or above the stored watermark. */
  rewind(): void {
    const eldest = this.lane.segments.find(
      (segment) => !segment.complete || segment.sequenceMax >= this.lane.storedNext,
    )
    this.#number = eldest?.number ?? (this.lane.segments.at(-1)?.number ?? -1) + 1
    this.#offset = 0
  }

  /** Nothing is written beyond where it stands. */
  get atEnd(): boolean {
    const last = this.lane.segments.at(-1)
    return !last || this.#number > last.number || (this.#number === last.number && this.#offset >= last.bytes)
  }

  /**
   * Records at or above the stored watermark until a limit is reached or nothing is left of what was written when it was
   * called; at least one if there is one. A drop ends the reading: it is a message of its own. Empty when nothing was left
   * then; `atEnd` says whether something came since.
   */
  async read(limits: ReadLimits): Promise<LaneEntry[]> {
    const entries: LaneEntry[] = []
    let bytes = 0
    this.hasMore = false
    const last = this.lane.segments.at(-1)
    const end = { number: last?.number ?? -1, offset: last?.bytes ?? 0 }
    for (;;) {
      const segment = this.#segment()
      if (!segment) return entries
      // What is written while it reads waits for the next time: reading after every single frame would never end.
      if (segment.number > end.number || (segment.number === end.number && this.#offset >= end.offset)) return entries
      const chunk = await this.#readChunk(segment, segment.number === end.number ? end.offset : segment.bytes)
      let offset = 0
      while (offset < chunk.length) {
        const read = readFrame(chunk, offset)
        if (read.found !== 'frame') {
          // Damage: go on at the next byte that begins a frame. What it hid will be declared lost.
          if (read.found === 'short' && offset > 0) break
          offset += 1
          continue
        }
        const { kind, sequence, body, endOffset } = read.frame
        if (kind === frameKind.close || kind === frameKind.span) {
          if (sequence >= this.lane.storedNext && sequence >= this.lane.floor) {
            if (entries.length > 0 && (entries.length >= limits.recordsMax || bytes + body.length > limits.bytesMax)) {
              this.#offset += offset
              this.hasMore = true
              return entries
            }
            entries.push({ kind: 'record', sequence, payload: body })
            bytes += body.length
          }
        } else if (kind === frameKind.drop) {
          const drop = decodeDrop(body)
          if (drop && drop.lastSequence >= this.lane.storedNext) {
            this.hasMore = true
            if (entries.length > 0) {
              this.#offset += offset
              return entries
            }
            this.#offset += endOffset
            return [{ kind: 'drop', first: sequence, last: drop.lastSequence, reason: drop.reason }]
          }
        }
        offset = endOffset
      }
      this.#offset += offset
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = null
    await handle?.file.close()
  }

  /** The segment to read next, or null when nothing is left. */
  #segment(): SegmentInfo | null {
    for (const segment of this.lane.segments) {
      if (segment.number < this.#number) continue
      if (segment.number > this.#number) {
        this.#number = segment.number
        this.#offset = 0
      }
      if (this.#offset < segment.bytes) return segment
      if (!segment.complete) return null
    }
    return null
  }

  /** Bytes from the current offset to `end` at most; at least one whole frame unless they are damaged or the segment is gone. */
  async #readChunk(segment: SegmentInfo, end: number): Promise<Buffer> {
    const file = await this.#open(segment)
    if (!file) {
      this.#offset = segment.bytes
      return Buffer.alloc(0)
    }
    let size = Math.min(chunkBytes, end - this.#offset)
    let chunk = await readAt(file, this.#offset, size)
    if (chunk.length >= frameHeaderBytes && readFrame(chunk, 0).found === 'short') {
      size = Math.min(frameHeaderBytes + chunk.readUInt32LE(0), end - this.#offset)
      if (size > chunk.length) chunk = await readAt(file, this.#offset, size)
    }
    if (chunk.length === 0) this.#offset = segment.bytes
    return chunk
  }

  async #open(segment: SegmentInfo): Promise<FileHandle | null> {
    if (this.#handle?.number === segment.number) return this.#handle.file
    await this.close()
    try {
      const file = await open(segment.path, 'r')
      this.#handle = { number: segment.number, file }
      return file
    } catch (fault) {
      if ((fault as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw fault
    }
  }
}

async function readAt(file: FileHandle, offset: number, size: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(size)
  const { bytesRead } = await file.read(buffer, 0, size, offset)
  return buffer.subarray(0, bytesRead)
}
