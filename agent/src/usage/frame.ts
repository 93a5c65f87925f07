import { crc32 } from 'node:zlib'
import { assert } from '../../../proto/std/assert.js'

/**
 * One entry of a segment file:
 *
 *     u32 body length | u32 CRC-32 of all that follows | u8 kind | u64 sequence | body        (little-endian)
 *
 * The checksum covers kind, sequence and body; a damaged length makes it fail as well. Zeros, which a file system may
 * leave behind after a power cut, are never a frame: kind 0 does not exist.
 */
export const frameKind = {
  /** First frame of a segment. Sequence: the lane's next one. Body: `encodeCarry`. */
  carry: 1,
  /** A request that is about to reach an upstream. Body: the UsageRecord as far as it is known. */
  open: 2,
  /** Body: a UsageRecord. */
  close: 3,
  /** Gone on purpose or found missing. Sequence: the first one. Body: `encodeDrop`. */
  drop: 4,
  /** Body: a Span. */
  span: 5,
  /** Last frame of a segment that is complete. Sequence: the lane's next one. Body: `encodeSeal`. */
  seal: 6,
} as const

export type FrameKind = (typeof frameKind)[keyof typeof frameKind]

export interface Frame {
  kind: FrameKind
  sequence: number
  body: Buffer
  /** Where the next frame begins, in bytes from the start of the scanned bytes. */
  endOffset: number
}

export const frameHeaderBytes = 17
/** No record comes near; bounds what a damaged length can make a reader believe. */
export const frameBodyBytesMax = 1 << 20

/** Writes one frame at `offset` of `target` and returns its size. `target` must have room. */
export function writeFrame(target: Buffer, kind: FrameKind, sequence: number, body: Uint8Array, offset = 0): number {
  const size = frameHeaderBytes + body.length
  assert(body.length <= frameBodyBytesMax && offset + size <= target.length, 'frame: the body fits')
  writeUInt32(target, body.length, offset)
  target[offset + 8] = kind
  writeUInt32(target, sequence >>> 0, offset + 9)
  writeUInt32(target, Math.floor(sequence / 2 ** 32), offset + 13)
  target.set(body, offset + frameHeaderBytes)
  writeUInt32(target, crc32(target.subarray(offset + 8, offset + size)), offset + 4)
  return size
}

/** `Buffer`'s own checks what is checked above. */
function writeUInt32(target: Buffer, value: number, offset: number): void {
  target[offset] = value
  target[offset + 1] = value >>> 8
  target[offset + 2] = value >>> 16
  target[offset + 3] = value >>> 24
}

/** `frame`: a whole one. `short`: the bytes end inside what may be one. `damaged`: not a frame, whatever follows. */
export type FrameRead = { found: 'frame'; frame: Frame } | { found: 'short' } | { found: 'damaged' }

const short: FrameRead = Object.freeze({ found: 'short' })
const damaged: FrameRead = Object.freeze({ found: 'damaged' })

/** The frame that begins at `offset` of `bytes`; its body is a view of `bytes`. */
export function readFrame(bytes: Buffer, offset: number): FrameRead {
  const endOffset = frameEnd(bytes, offset)
  if (endOffset === shortEnd) return short
  if (endOffset === damagedEnd || !isWhole(bytes, offset, endOffset)) return damaged
  return {
    found: 'frame',
    frame: {
      kind: frameKindAt(bytes, offset),
      sequence: frameSequenceAt(bytes, offset),
      body: bytes.subarray(offset + frameHeaderBytes, endOffset),
      endOffset,
    },
  }
}

export const shortEnd = -1
export const damagedEnd = -2

/**
 * Where the frame ends that begins at `offset` by what its header says: `shortEnd` beyond the end of `bytes`, `damagedEnd` if
 * no frame has such a header. Its checksum is another matter (`isWhole`).
 */
export function frameEnd(bytes: Buffer, offset: number): number {
  if (bytes.length - offset < frameHeaderBytes) return shortEnd
  const bodyLength = readUInt32(bytes, offset)
  const kind = bytes[offset + 8] as number
  if (bodyLength > frameBodyBytesMax || kind < frameKind.carry || kind > frameKind.seal) return damagedEnd
  if (readUInt32(bytes, offset + 13) >= 2 ** 21) return damagedEnd
  const endOffset = offset + frameHeaderBytes + bodyLength
  return bytes.length < endOffset ? shortEnd : endOffset
}

/** Whether the checksum of the frame from `offset` to `endOffset` is that of its bytes. */
export function isWhole(bytes: Buffer, offset: number, endOffset: number): boolean {
  return crc32(bytes.subarray(offset + 8, endOffset)) === readUInt32(bytes, offset + 4)
}

export function frameKindAt(bytes: Buffer, offset: number): FrameKind {
  return bytes[offset + 8] as FrameKind
}

export function frameSequenceAt(bytes: Buffer, offset: number): number {
  return readUInt32(bytes, offset + 13) * 2 ** 32 + readUInt32(bytes, offset + 9)
}

/** `Buffer`'s own checks what is checked above. */
function readUInt32(bytes: Buffer, offset: number): number {
  const low = (bytes[offset] as number) | ((bytes[offset + 1] as number) << 8)
  return (low | ((bytes[offset + 2] as number) << 16) | ((bytes[offset + 3] as number) << 24)) >>> 0
}

const magic = 0x50535753 // "SWSP"
const version = 1

/** How many open frames of requests still running follow, so that the segment can be understood without its elders. */
export interface Carry {
  openCount: number
  /** False: the segment only adds to its elders (records made after a crash); a reader that looks for open requests goes on to them. */
  selfContained: boolean
}

export function encodeCarry(carry: Carry): Buffer {
  const body = Buffer.alloc(12)
  body.writeUInt32LE(magic, 0)
  body.writeUInt16LE(version, 4)
  body.writeUInt16LE(carry.selfContained ? 1 : 0, 6)
  body.writeUInt32LE(carry.openCount, 8)
  return body
}

/** Null when the bytes are not a carry of a version we read. */
export function decodeCarry(body: Buffer): Carry | null {
  if (body.length < 12 || body.readUInt32LE(0) !== magic || body.readUInt16LE(4) !== version) return null
  return { selfContained: body.readUInt16LE(6) === 1, openCount: body.readUInt32LE(8) }
}

export function encodeDrop(lastSequence: number, reason: string): Buffer {
  const text = Buffer.from(reason)
  const body = Buffer.alloc(8 + text.length)
  body.writeBigUInt64LE(BigInt(lastSequence), 0)
  text.copy(body, 8)
  return body
}

export function decodeDrop(body: Buffer): { lastSequence: number; reason: string } | null {
  if (body.length < 8) return null
  return { lastSequence: Number(body.readBigUInt64LE(0)), reason: body.toString('utf8', 8) }
}

/** What a reader needs to know of a complete segment without reading it. */
export interface Seal {
  /** Smallest and largest sequence of a record or drop in it; -1 when there is none. */
  sequenceMin: number
  sequenceMax: number
  recordCount: number
  /** The lane ended here with no request open: nothing to recover. */
  final: boolean
}

const sealBodyBytes = 21
export const sealFrameBytes = frameHeaderBytes + sealBodyBytes

export function encodeSeal(seal: Seal): Buffer {
  const body = Buffer.alloc(sealBodyBytes)
  body.writeBigInt64LE(BigInt(seal.sequenceMin), 0)
  body.writeBigInt64LE(BigInt(seal.sequenceMax), 8)
  body.writeUInt32LE(seal.recordCount, 16)
  body[20] = seal.final ? 1 : 0
  return body
}

export function decodeSeal(body: Buffer): Seal | null {
  if (body.length !== sealBodyBytes) return null
  return {
    sequenceMin: Number(body.readBigInt64LE(0)),
    sequenceMax: Number(body.readBigInt64LE(8)),
    recordCount: body.readUInt32LE(16),
    final: body[20] === 1,
  }
}
