import fs from 'node:fs'
import path from 'node:path'
import { decodeSeal, type Frame, frameHeaderBytes, frameKind, readFrame, type Seal, sealFrameBytes } from './frame.js'

/** Usage is billing grade and never dropped by itself; spans are sampled and drop oldest first. */
export type SpoolClass = 'usage' | 'spans'

/** One request worker's stream of one class in one life of the agent; sequences are dense in it. */
export interface LaneKey {
  readonly bootEpoch: number
  readonly lane: number
  readonly class: SpoolClass
}

export function laneName(key: LaneKey): string {
  return `${key.class}-${key.bootEpoch}-${key.lane}`
}

/** Null when the text is not a lane's name. */
export function parseLaneName(text: string): LaneKey | null {
  const match = /^(usage|spans)-(\d{1,15})-(\d{1,6})$/.exec(text)
  if (!match) return null
  return { class: match[1] as SpoolClass, bootEpoch: Number(match[2]), lane: Number(match[3]) }
}

export function segmentFileName(key: LaneKey, number: number): string {
  return `${laneName(key)}-${number}.seg`
}

/** Null when the file is not a segment. */
export function parseSegmentFileName(name: string): { key: LaneKey; number: number } | null {
  const match = /^(.+)-(\d{1,12})\.seg$/.exec(name)
  const key = match && parseLaneName(match[1] ?? '')
  return match && key ? { key, number: Number(match[2]) } : null
}

/** What the spool remembers of a segment file; the file itself is never held in memory. */
export interface SegmentInfo {
  readonly number: number
  readonly path: string
  /** Up to here the file holds whole frames. */
  bytes: number
  sequenceMin: number
  sequenceMax: number
  recordCount: number
  /** No more frames will be added. */
  complete: boolean
  final: boolean
  /** When every sequence in it was first known to be stored; null before. */
  storedAtMs: number | null
}

export function emptySegment(directory: string, key: LaneKey, number: number): SegmentInfo {
  return {
    number,
    path: path.join(directory, segmentFileName(key, number)),
    bytes: 0,
    sequenceMin: -1,
    sequenceMax: -1,
    recordCount: 0,
    complete: false,
    final: false,
    storedAtMs: null,
  }
}

/** Widens what is remembered of a segment by one record or drop that covers [first, last]. */
export function noteRecord(segment: SegmentInfo, first: number, last: number): void {
  if (segment.sequenceMin === -1 || first < segment.sequenceMin) segment.sequenceMin = first
  if (last > segment.sequenceMax) segment.sequenceMax = last
  segment.recordCount += 1
}

export function sealOf(segment: SegmentInfo, final: boolean): Seal {
  return {
    sequenceMin: segment.sequenceMin,
    sequenceMax: segment.sequenceMax,
    recordCount: segment.recordCount,
    final,
  }
}

/** The seal at the end of a segment file, or null when it has none. Two small reads. */
export function readSeal(file: string): Seal | null {
  const fd = fs.openSync(file, 'r')
  try {
    const size = fs.fstatSync(fd).size
    if (size < sealFrameBytes) return null
    const tail = Buffer.alloc(sealFrameBytes)
    fs.readSync(fd, tail, 0, sealFrameBytes, size - sealFrameBytes)
    const read = readFrame(tail, 0)
    return read.found === 'frame' && read.frame.kind === frameKind.seal ? decodeSeal(read.frame.body) : null
  } finally {
    fs.closeSync(fd)
  }
}

const scanChunkBytes = 1 << 20

export interface ScanResult {
  /** End of the last whole frame. */
  validBytes: number
  /** Bytes before it that belong to no frame. */
  damagedBytes: number
}

/**
 * Visits every whole frame of a segment file in order, a chunk at a time. Damaged bytes are stepped over one by one
 * until a frame begins again: what a checksum proves is never thrown away because of its neighbour. The frame's body is
 * valid only during the visit. For start-up; it blocks.
 */
export function scanSegment(file: string, visit: (frame: Frame) => void): ScanResult {
  const fd = fs.openSync(file, 'r')
  try {
    let buffer = Buffer.alloc(scanChunkBytes)
    let held = 0 // bytes of `buffer` that are filled
    let at = 0 // file offset of buffer[0]
    const result = { validBytes: 0, damagedBytes: 0 }
    for (let ended = false; !ended; ) {
      if (held === buffer.length) buffer = Buffer.concat([buffer, Buffer.alloc(buffer.length)])
      const readBytes = fs.readSync(fd, buffer, held, buffer.length - held, at + held)
      held += readBytes
      ended = readBytes === 0
      let offset = 0
      const filled = buffer.subarray(0, held)
      while (offset < held) {
        const read = readFrame(filled, offset)
        if (read.found === 'frame') {
          const start = at + offset
          visit(read.frame)
          result.damagedBytes += start - Math.max(result.validBytes, 0)
          offset = read.frame.endOffset
          result.validBytes = at + offset
        } else if (read.found === 'damaged' || (ended && held - offset > frameHeaderBytes)) {
          offset += 1
        } else break
      }
      buffer.copyWithin(0, offset, held)
      held -= offset
      at += offset
    }
    return result
  } finally {
    fs.closeSync(fd)
  }
}
