import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  decodeCarry,
  decodeDrop,
  decodeSeal,
  encodeCarry,
  encodeDrop,
  encodeSeal,
  frameBodyBytesMax,
  frameHeaderBytes,
  frameKind,
  readFrame,
  writeFrame,
} from './frame.js'
import { scanSegment } from './segment.js'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-frame-'))
afterAll(() => fs.rmSync(folder, { recursive: true }))

function frames(...bodies: string[]): Buffer {
  return Buffer.concat(
    bodies.map((body, sequence) => {
      const target = Buffer.alloc(frameHeaderBytes + body.length)
      writeFrame(target, frameKind.close, sequence, Buffer.from(body))
      return target
    }),
  )
}

function scan(bytes: Buffer): { bodies: string[]; validBytes: number; damagedBytes: number } {
  const file = path.join(folder, 'scan.seg')
  fs.writeFileSync(file, bytes)
  const bodies: string[] = []
  const result = scanSegment(file, (frame) => bodies.push(frame.body.toString()))
  return { bodies, ...result }
}

describe('a frame', () => {
  it('reads back what was written, sequences beyond 32 bits included', () => {
    for (const sequence of [0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      const target = Buffer.alloc(64)
      const size = writeFrame(target, frameKind.span, sequence, Buffer.from('body'))
      const read = readFrame(target.subarray(0, size), 0)
      expect(read).toMatchObject({ found: 'frame', frame: { kind: frameKind.span, sequence, endOffset: size } })
    }
  })

  it('is not made of zeros, of an unknown kind, or of an absurd length', () => {
    expect(readFrame(Buffer.alloc(64), 0).found).toBe('damaged')
    const unknown = frames('x')
    unknown[8] = 9
    expect(readFrame(unknown, 0).found).toBe('damaged')
    const absurd = frames('x')
    absurd.writeUInt32LE(frameBodyBytesMax + 1, 0)
    expect(readFrame(absurd, 0).found).toBe('damaged')
  })

  it('is refused when any single bit of it flips', () => {
    const whole = frames('some body')
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const flipped = Buffer.from(whole)
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(readFrame(flipped, 0).found, `bit ${bit}`).not.toBe('frame')
    }
  })

  it('carries its inner bodies', () => {
    expect(decodeCarry(encodeCarry({ openCount: 7, selfContained: true }))).toEqual({
      openCount: 7,
      selfContained: true,
    })
    expect(decodeCarry(Buffer.alloc(12))).toBeNull()
    expect(decodeDrop(encodeDrop(2 ** 40, 'over_budget'))).toEqual({ lastSequence: 2 ** 40, reason: 'over_budget' })
    const seal = { sequenceMin: -1, sequenceMax: 2 ** 40, recordCount: 3, final: true }
    expect(decodeSeal(encodeSeal(seal))).toEqual(seal)
  })
})

describe('a segment scan', () => {
  const whole = frames('one', '', 'three', 'four and more')

  it('gives every whole frame before a tail torn at any byte', () => {
    const ends = [0, 20, 37, 59, 89]
    for (let cut = 0; cut <= whole.length; cut++) {
      const count = ends.filter((end) => end > 0 && end <= cut).length
      const result = scan(whole.subarray(0, cut))
      expect(result.bodies, `cut at ${cut}`).toHaveLength(count)
      expect(result.validBytes).toBe(ends[count])
    }
  })

  it('steps over damage and finds what follows', () => {
    for (let at = 20; at < 37; at++) {
      const damaged = Buffer.from(whole)
      damaged[at] = (damaged[at] as number) ^ 0xff
      const result = scan(damaged)
      expect(result.bodies, `damage at ${at}`).toEqual(['one', 'three', 'four and more'])
      expect(result).toMatchObject({ validBytes: whole.length, damagedBytes: 17 })
    }
  })

  it('steps over a hole of zeros and reads frames longer than its chunk', () => {
    const long = 'x'.repeat(frameBodyBytesMax - 1)
    const result = scan(Buffer.concat([frames('a'), Buffer.alloc(100), frames(long), frames('b'), Buffer.alloc(9)]))
    expect(result.bodies).toEqual(['a', long, 'b'])
    expect(result.damagedBytes).toBe(100)
  })
})
