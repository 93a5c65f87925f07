import { type FileHandle, open } from 'node:fs/promises'
import {
  decodeDrop,
  frameEnd,
  frameHeaderBytes,
  frameKind,
  frameKindAt,
  frameSequenceAt,
  isWhole,
  shortEnd,
} from './frame.js'
import type { LaneBook } from './lane-book.js'
import { RecordList } from './record-list.js'
import type { SegmentInfo } from './segment.js'

/** A range of sequences that are gone, and why. */
export interface ReadDrop {
  readonly kind: 'drop'
  readonly first: number
  readonly last: number
  readonly reason: string
}

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
  /** Every checksum is looked at, of open frames too: one whose length is damaged may hide whole frames. */
  #isCareful = false
  #number = 0
  #offset = 0
  #handle: { number: number; file: FileHandle } | null = null

  constructor(lane: LaneBook) {
    this.lane = lane
  }

  /** Back to the eldest segment that holds anything at or above the stored watermark. */
  rewind(isCareful = false): void {
    this.#isCareful = isCareful
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
  async read(limits: ReadLimits): Promise<RecordList | ReadDrop> {
    const records = new RecordList()
    this.hasMore = false
    const last = this.lane.segments.at(-1)
    const end = { number: last?.number ?? -1, offset: last?.bytes ?? 0 }
    for (;;) {
      const segment = this.#segment()
      if (!segment) return records
      // What is written while it reads waits for the next time: reading after every single frame would never end.
      if (segment.number > end.number || (segment.number === end.number && this.#offset >= end.offset)) return records
      const chunk = await this.#readChunk(segment, segment.number === end.number ? end.offset : segment.bytes)
      const drop = this.#take(chunk, records, limits)
      if (drop !== null) return drop
      if (this.hasMore) return records
    }
  }

  /**
   * Takes the records of `chunk`, which begins where this stands, and moves on behind what it has taken. Gives a drop that is
   * to be told before anything else; sets `hasMore` where it leaves something that a limit or a drop kept it from taking.
   */
  #take(chunk: Buffer, records: RecordList, limits: ReadLimits): ReadDrop | null {
    const { storedNext, floor } = this.lane
    const least = Math.max(storedNext, floor)
    let offset = 0
    /** Where open frames began whose checksums nobody looked at: they are passed over, and a whole frame behind them is proof. */
    let passedFrom = -1
    while (offset < chunk.length) {
      const endOffset = frameEnd(chunk, offset)
      const kind = endOffset < 0 ? null : frameKindAt(chunk, offset)
      if (kind === frameKind.open && !this.#isCareful) {
        if (passedFrom === -1) passedFrom = offset
        offset = endOffset
        continue
      }
      if (endOffset < 0 || !isWhole(chunk, offset, endOffset)) {
        const damagedFrom = passedFrom === -1 ? -1 : firstDamage(chunk, passedFrom, offset)
        passedFrom = -1
        if (damagedFrom !== -1) offset = damagedFrom
        else if (endOffset === shortEnd && offset > 0) break
        // Damage: go on at the next byte that begins a frame. What it hid will be declared lost.
        offset += 1
        continue
      }
      passedFrom = -1
      const sequence = frameSequenceAt(chunk, offset)
      const bodyOffset = offset + frameHeaderBytes
      if (kind === frameKind.close || kind === frameKind.span) {
        if (sequence >= least) {
          const isFull = records.length >= limits.recordsMax || records.bytes + endOffset - bodyOffset > limits.bytesMax
          if (records.length > 0 && isFull) {
            this.hasMore = true
            break
          }
          records.add(sequence, chunk, bodyOffset, endOffset)
        }
      } else if (kind === frameKind.drop) {
        const drop = decodeDrop(chunk.subarray(bodyOffset, endOffset))
        if (drop && drop.lastSequence >= storedNext) {
          this.hasMore = true
          if (records.length > 0) break
          this.#offset += endOffset
          return { kind: 'drop', first: sequence, last: drop.lastSequence, reason: drop.reason }
        }
      }
      offset = endOffset
    }
    const damagedFrom = passedFrom === -1 ? -1 : firstDamage(chunk, passedFrom, offset)
    this.#offset += damagedFrom === -1 ? offset : damagedFrom + 1
    return null
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
    if (chunk.length >= frameHeaderBytes && frameEnd(chunk, 0) === shortEnd) {
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

/** Where the first frame from `from` on begins whose checksum is wrong; -1: all up to `end` are whole. */
function firstDamage(chunk: Buffer, from: number, end: number): number {
  for (let offset = from; offset < end; ) {
    const endOffset = frameEnd(chunk, offset)
    if (endOffset < 0 || !isWhole(chunk, offset, endOffset)) return offset
    offset = endOffset
  }
  return -1
}

async function readAt(file: FileHandle, offset: number, size: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(size)
  const { bytesRead } = await file.read(buffer, 0, size, offset)
  return buffer.subarray(0, bytesRead)
}
