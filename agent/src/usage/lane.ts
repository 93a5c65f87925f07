import fs from 'node:fs'
import { assert } from '../../../proto/std/assert.js'
import {
  decodeCarry,
  decodeDrop,
  encodeCarry,
  encodeDrop,
  encodeSeal,
  type FrameKind,
  frameHeaderBytes,
  frameKind,
  readFrame,
  writeFrame,
} from './frame.js'
import { LaneBook } from './lane-book.js'
import { OpenFrames } from './open-frames.js'
import { RangeSet } from './range-set.js'
import { emptySegment, type LaneKey, noteRecord, readSeal, type SegmentInfo, scanSegment, sealOf } from './segment.js'
import type { SyncedFile, SyncGroup } from './sync-group.js'

/** The one call on the request path that touches the disk; a test puts faults here. Returns the bytes written. */
export type WriteCall = (fd: number, bytes: Buffer, length: number) => number

export interface LaneOptions {
  key: LaneKey
  directory: string
  /** A segment is ended once the next frame would take it beyond this. */
  segmentBytes: number
  sync: SyncGroup
  /** Shared by all lanes: frames are put together here. */
  scratch: Buffer
  write: WriteCall
  /** Frames of requests gather until this calls back, and leave in one write; null writes each at once. */
  afterTurn: ((task: () => void) => void) | null
  /** The lane's files grew or shrank by so many bytes. */
  onBytes: (deltaBytes: number) => void
  onFault: (fault: Error) => void
}

export const writePlainly: WriteCall = (fd, bytes, length) => fs.writeSync(fd, bytes, 0, length)

/** A larger record is cut down before it gets here (`Meter`). */
export const recordBytesMax = 128 << 10
/** Frames kept in memory while the disk refuses them. */
const pendingBytesMax = 64 << 20
/** Frames of one turn of the event loop that leave in one write; more make another. */
const gatherBytesMax = 64 << 10

/**
 * One lane on disk: a run of segments, only the last of which grows. Every segment that a running agent begins repeats
 * the open frames of requests still running, so that elder segments can be deleted and recovery reads the newest alone.
 *
 * A disk that refuses a write stops nothing here: the frame waits in memory, `faulted` is true, and `retry` goes on in a
 * new segment. Sequences that even memory could not hold are written down as a drop.
 */
export class SpoolLane extends LaneBook {
  readonly #options: LaneOptions
  #key: LaneKey
  readonly #open = new OpenFrames()
  #nextSequence = 0
  #file: SyncedFile | null = null
  #pending: { kind: FrameKind; sequence: number; body: Uint8Array }[] = []
  #pendingBytes = 0
  readonly #lost = new RangeSet()
  #faulted = false
  readonly #gathered: Buffer
  #gatheredBytes = 0
  /** Sequences of the close frames in `#gathered`; they count as open until they are in the file. */
  #gatheredCloses: number[] = []
  #written: Promise<void> | null = null
  #settleWritten = () => {}
  /** Elder segments hold open frames whose requests are not known to this process (yet). */
  #unrecovered = false

  constructor(options: LaneOptions) {
    super(options.onBytes)
    this.#options = options
    this.#key = options.key
    const gatherBytes = options.afterTurn === null ? 0 : Math.min(gatherBytesMax, options.segmentBytes >> 1)
    this.#gathered = Buffer.allocUnsafeSlow(gatherBytes)
  }

  get key(): LaneKey {
    return this.#key
  }

  get nextSequence(): number {
    return this.#nextSequence
  }

  get readable(): boolean {
    return true
  }

  get openCount(): number {
    return this.#open.size
  }

  isOpen(sequence: number): boolean {
    return this.#open.has(sequence)
  }

  /** What `open` was given for a running request; good until its close. */
  openBody(sequence: number): Uint8Array {
    const body = this.#open.get(sequence)
    assert(body !== null, 'lane: a request that is closed was opened')
    return body
  }

  firstOpen(sequence: number): number | null {
    return this.#open.firstFrom(sequence)
  }

  get faulted(): boolean {
    return this.#faulted
  }

  // — the request path: plain writes, nothing thrown; a body is the caller's again on return —

  open(body: Uint8Array): number {
    const sequence = this.#nextSequence++
    this.#open.set(sequence, body)
    if (!this.#gather(frameKind.open, sequence, body)) this.#append(frameKind.open, sequence, body)
    return sequence
  }

  close(sequence: number, body: Uint8Array): void {
    assert(this.#open.has(sequence), 'lane: a request is closed once')
    if (this.#gather(frameKind.close, sequence, body)) {
      this.#gatheredCloses.push(sequence)
      return
    }
    this.#open.delete(sequence)
    this.#append(frameKind.close, sequence, body)
  }

  /** Resolves when every frame up to now is in the file (or waits for the disk to recover); null when it already is. */
  written(): Promise<void> | null {
    return this.#written
  }

  /** Writes what has gathered in this turn. */
  flush(): void {
    const size = this.#gatheredBytes
    if (size === 0) return
    const closes = this.#gatheredCloses
    this.#gatheredBytes = 0
    this.#gatheredCloses = []
    try {
      if (this.#faulted) throw new Error('the disk has not recovered')
      const { file, segment } = this.#roomFor(size)
      this.#writeBytes(file, segment, this.#gathered, size)
      for (const sequence of closes) {
        noteRecord(segment, sequence, sequence)
        this.#open.delete(sequence)
      }
    } catch (fault) {
      if (!this.#faulted) this.#fail(fault as Error)
      for (const sequence of closes) this.#open.delete(sequence)
      for (let offset = 0; offset < size; ) {
        const read = readFrame(this.#gathered, offset)
        assert(read.found === 'frame', 'lane: what was gathered is frames')
        const { kind, sequence, body, endOffset } = read.frame
        this.#append(kind, sequence, body)
        offset = endOffset
      }
    }
  }

  /** A record without an open frame, or a span. */
  add(body: Uint8Array): number {
    // Frames go to the file in the order of their sequences: a kill then takes a tail, and never leaves a gap to explain.
    this.flush()
    const sequence = this.#nextSequence++
    this.#append(this.key.class === 'usage' ? frameKind.close : frameKind.span, sequence, body)
    return sequence
  }

  // — upkeep —

  drop(first: number, last: number, reason: string): void {
    this.#append(frameKind.drop, first, encodeDrop(last, reason))
  }

  endSegment(final = false): void {
    this.flush()
    const file = this.#file
    const segment = this.segments.at(-1)
    if (!file || !segment) return
    try {
      this.#writeFrame(file, segment, frameKind.seal, this.#nextSequence, encodeSeal(sealOf(segment, final)))
    } catch (fault) {
      this.#options.onFault(fault as Error)
    }
    segment.complete = true
    segment.final = final
    this.#file = null
    this.#options.sync.retire(file)
  }

  finish(): void {
    this.flush()
    if (!this.retry()) return
    this.#unrecovered = false
    this.endSegment(this.#open.size === 0)
  }

  /** Into a new segment. */
  retry(): boolean {
    if (!this.#faulted) return true
    try {
      if (!this.#file) this.#beginSegment()
      const waiting = this.#pending
      while (waiting.length > 0) {
        const next = waiting[0] as (typeof waiting)[number]
        this.#write(next.kind, next.sequence, next.body)
        this.#pendingBytes -= next.body.length
        waiting.shift()
      }
      for (const { start, end } of this.#lost.ranges()) {
        this.#write(frameKind.drop, start, encodeDrop(end - 1, 'disk_fault'))
        this.#lost.forgetBelow(end)
      }
      this.#faulted = false
      return true
    } catch (fault) {
      this.#fail(fault as Error)
      return false
    }
  }

  /** Whoever follows this lane removed the file of a complete segment. */
  forget(number: number): void {
    const at = this.segments.findIndex((segment) => segment.number === number)
    if (at === -1) return
    // The last one stays, empty: its number is what the next one's is made of.
    if (at < this.segments.length - 1) this.segments.splice(at, 1)
    else this.segments[at] = { ...emptySegment(this.#options.directory, this.key, number), complete: true }
  }

  /** Throws when a rename fails. */
  rekey(bootEpoch: number): void {
    this.#key = { ...this.#key, bootEpoch }
    for (const [index, segment] of this.segments.entries()) {
      const path = emptySegment(this.#options.directory, this.#key, segment.number).path
      if (fs.existsSync(segment.path)) fs.renameSync(segment.path, path)
      this.segments[index] = { ...segment, path }
    }
    this.#options.sync.syncFolder(this.#options.directory)
  }

  // — start-up —

  /** Learns the segments that an earlier life left behind. `files` in ascending order of number. Blocks. */
  load(files: readonly { number: number; path: string }[]): { damagedBytes: number } {
    let damagedBytes = 0
    for (const file of files) {
      const segment = emptySegment(this.#options.directory, this.key, file.number)
      const seal = readSeal(file.path)
      segment.complete = true
      if (seal) {
        segment.bytes = fs.statSync(file.path).size
        segment.sequenceMin = seal.sequenceMin
        segment.sequenceMax = seal.sequenceMax
        segment.recordCount = seal.recordCount
        segment.final = seal.final
        if (seal.sequenceMax >= this.#nextSequence) this.#nextSequence = seal.sequenceMax + 1
      } else damagedBytes += this.#scanUnsealed(segment)
      this.segments.push(segment)
      this.onBytes(segment.bytes)
    }
    return { damagedBytes }
  }

  #scanUnsealed(segment: SegmentInfo): number {
    const scan = scanSegment(segment.path, (frame) => {
      const next = frame.kind === frameKind.carry || frame.kind === frameKind.seal ? frame.sequence : frame.sequence + 1
      if (next > this.#nextSequence) this.#nextSequence = next
      if (frame.kind === frameKind.close || frame.kind === frameKind.span) {
        noteRecord(segment, frame.sequence, frame.sequence)
      } else if (frame.kind === frameKind.drop) {
        noteDrop(segment, frame.sequence, decodeDrop(frame.body)?.lastSequence ?? frame.sequence)
      }
    })
    segment.bytes = scan.validBytes
    return scan.damagedBytes
  }

  /**
   * Finishes what a killed agent left: the torn tail is cut off, every open frame without its close becomes the record
   * that `interrupt` makes of it, under its own sequence, and the lane is sealed. May be cut short anywhere and run again.
   */
  recover(interrupt: (open: Uint8Array) => Uint8Array): { interruptedCount: number } {
    const last = this.segments.at(-1)
    if (!last || last.final) return { interruptedCount: 0 }
    this.#unrecovered = true
    const open = this.#findOpen()
    if (fs.statSync(last.path).size > last.bytes) fs.truncateSync(last.path, last.bytes)
    try {
      this.#file = { fd: fs.openSync(last.path, 'a', 0o600), dirty: false }
      last.complete = false
    } catch (fault) {
      this.#fail(fault as Error)
    }
    for (const [sequence, body] of open) this.#append(frameKind.close, sequence, interrupt(body))
    this.finish()
    return { interruptedCount: open.size }
  }

  /** Open frames without a close, newest segment first, back to one that can be understood without its elders. */
  #findOpen(): Map<number, Uint8Array> {
    const open = new Map<number, Uint8Array>()
    const closed = new Set<number>()
    for (const segment of [...this.segments].reverse()) {
      if (segment.final) break
      let carriedMissing = Number.POSITIVE_INFINITY
      scanSegment(segment.path, (frame) => {
        if (frame.kind === frameKind.carry) {
          const carry = decodeCarry(frame.body)
          if (carry?.selfContained) carriedMissing = carry.openCount
        } else if (frame.kind === frameKind.open) {
          carriedMissing -= 1
          if (!closed.has(frame.sequence)) open.set(frame.sequence, Buffer.from(frame.body))
        } else if (frame.kind === frameKind.close) {
          closed.add(frame.sequence)
          open.delete(frame.sequence)
        }
      })
      if (carriedMissing <= 0) break
    }
    return new Map([...open].sort(([a], [b]) => a - b))
  }

  // — writing —

  /** False when the frame has to be written by itself. */
  #gather(kind: FrameKind, sequence: number, body: Uint8Array): boolean {
    const { afterTurn } = this.#options
    const size = frameHeaderBytes + body.length
    if (afterTurn === null || this.#faulted || size > this.#gathered.length) return false
    if (this.#gatheredBytes + size > this.#gathered.length) this.flush()
    writeFrame(this.#gathered, kind, sequence, body, this.#gatheredBytes)
    this.#gatheredBytes += size
    if (this.#written === null) {
      this.#written = new Promise((resolve) => {
        this.#settleWritten = resolve
      })
      afterTurn(this.#endTurn)
    }
    return true
  }

  readonly #endTurn = (): void => {
    this.flush()
    this.#written = null
    this.#settleWritten()
  }

  /** The growing segment, or a new one when that has no room for `size` bytes more. */
  #roomFor(size: number): { file: SyncedFile; segment: SegmentInfo } {
    const segment = this.segments.at(-1)
    const file = this.#file
    if (file && segment && segment.bytes + size <= this.#options.segmentBytes) return { file, segment }
    this.endSegment()
    return this.#beginSegment()
  }

  #append(kind: FrameKind, sequence: number, body: Uint8Array): void {
    if (!this.#faulted) {
      try {
        this.#write(kind, sequence, body)
        return
      } catch (fault) {
        this.#fail(fault as Error)
      }
    }
    // The new segment that `retry` begins repeats the open frames of running requests, so they need not wait.
    if (kind === frameKind.open) return
    if (this.#pendingBytes + body.length > pendingBytesMax) this.#lost.add(sequence, sequence + 1)
    else {
      this.#pending.push({ kind, sequence, body: Buffer.from(body) })
      this.#pendingBytes += body.length
    }
  }

  #write(kind: FrameKind, sequence: number, body: Uint8Array): void {
    const { file, segment } = this.#roomFor(frameHeaderBytes + body.length)
    this.#writeFrame(file, segment, kind, sequence, body)
    if (kind === frameKind.close || kind === frameKind.span) noteRecord(segment, sequence, sequence)
    else if (kind === frameKind.drop)
      noteDrop(segment, sequence, decodeDrop(Buffer.from(body))?.lastSequence ?? sequence)
  }

  #writeFrame(file: SyncedFile, segment: SegmentInfo, kind: FrameKind, sequence: number, body: Uint8Array): void {
    const size = writeFrame(this.#options.scratch, kind, sequence, body)
    this.#writeBytes(file, segment, this.#options.scratch, size)
  }

  #writeBytes(file: SyncedFile, segment: SegmentInfo, bytes: Buffer, size: number): void {
    const written = this.#options.write(file.fd, bytes, size)
    if (written !== size) throw new Error(`the disk took ${written} of ${size} bytes`)
    segment.bytes += size
    this.onBytes(size)
    this.#options.sync.touch(file)
  }

  #beginSegment(): { file: SyncedFile; segment: SegmentInfo } {
    const number = (this.segments.at(-1)?.number ?? -1) + 1
    const segment = emptySegment(this.#options.directory, this.key, number)
    // A close that waits in memory, or a recovery cut short, leaves an open frame that only an elder segment holds.
    const selfContained = this.#pending.length === 0 && !this.#unrecovered
    const carry = encodeCarry({ openCount: this.#open.size, selfContained })
    let size = frameHeaderBytes + carry.length
    for (const [, body] of this.#open.entries()) size += frameHeaderBytes + body.length
    const block = Buffer.allocUnsafe(size)
    let offset = writeFrame(block, frameKind.carry, this.#nextSequence, carry)
    for (const [sequence, body] of this.#open.entries()) {
      offset += writeFrame(block.subarray(offset), frameKind.open, sequence, body)
    }
    const file: SyncedFile = { fd: fs.openSync(segment.path, 'ax', 0o600), dirty: false }
    // Known from here on even if the write fails: its number is taken.
    this.segments.push(segment)
    this.#file = file
    this.#writeBytes(file, segment, block, size)
    this.#options.sync.syncFolder(this.#options.directory)
    return { file, segment }
  }

  /** The growing segment may end in half a frame; it is left so, readers know where its whole frames end. */
  #fail(fault: Error): void {
    this.#faulted = true
    if (this.#file) {
      this.#options.sync.retire(this.#file)
      this.#file = null
      const segment = this.segments.at(-1) as SegmentInfo
      segment.complete = true
      if (segment.bytes === 0) this.remove(segment)
    }
    this.#options.onFault(fault)
  }
}

function noteDrop(segment: SegmentInfo, first: number, last: number): void {
  noteRecord(segment, first, last)
  segment.recordCount -= 1
}
