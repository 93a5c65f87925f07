import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { type FrameKind, frameHeaderBytes, frameKind, readFrame, writeFrame } from './frame.js'
import type { LaneBook } from './lane-book.js'
import { LaneReader } from './lane-reader.js'
import { RecordList } from './record-list.js'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-reader-'))
afterAll(() => fs.rmSync(folder, { recursive: true }))

interface Sketch {
  readonly kind: FrameKind
  readonly size: number
}

function framesOf(sketches: readonly Sketch[]): Buffer {
  return Buffer.concat(
    sketches.map(({ kind, size }, sequence) => {
      const target = Buffer.alloc(frameHeaderBytes + size)
      writeFrame(target, kind, sequence, Buffer.alloc(size, sequence + 1))
      return target
    }),
  )
}

/** What one reads who looks at every checksum, and after damage at every byte. */
function carefullyRead(bytes: Buffer): number[] {
  const sequences: number[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const read = readFrame(bytes, offset)
    if (read.found === 'frame') {
      if (read.frame.kind === frameKind.close) sequences.push(read.frame.sequence)
      offset = read.frame.endOffset
    } else offset += 1
  }
  return sequences
}

async function readAll(bytes: Buffer, isCareful = false): Promise<number[]> {
  const file = path.join(folder, 'lane.seg')
  fs.writeFileSync(file, bytes)
  const segment = { number: 0, path: file, bytes: bytes.length, complete: true, sequenceMax: 1_000 }
  const lane = { segments: [segment], storedNext: 0, floor: 0 } as unknown as LaneBook
  const reader = new LaneReader(lane)
  reader.rewind(isCareful)
  const sequences: number[] = []
  for (;;) {
    const read = await reader.read({ recordsMax: 4, bytesMax: 600 })
    if (!(read instanceof RecordList) || read.length === 0) break
    sequences.push(...read.sequences)
  }
  await reader.close()
  return sequences
}

const sketches = fc.array(
  fc.record({
    kind: fc.constantFrom(frameKind.open, frameKind.open, frameKind.close),
    size: fc.integer({ min: 0, max: 200 }),
  }),
  { minLength: 1, maxLength: 30 },
)

describe('a reading of a lane', () => {
  it('finds every record that a careful reader finds, whatever byte is damaged, in frames that it passes over too', async () => {
    await fc.assert(
      fc.asyncProperty(
        sketches,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
        async (frames, damage) => {
          const bytes = framesOf(frames)
          for (const [at, value] of damage) bytes[at % bytes.length] = value
          expect(await readAll(bytes)).toEqual(carefullyRead(bytes))
        },
      ),
      { numRuns: 400 },
    )
  })

  it('finds, where it looks at everything, what an open frame hides whose length is damaged', async () => {
    const bytes = framesOf([
      { kind: frameKind.open, size: 100 },
      { kind: frameKind.close, size: 100 },
      { kind: frameKind.close, size: 100 },
    ])
    // It ends where the last frame begins.
    bytes.writeUInt32LE(100 + frameHeaderBytes + 100, 0)
    expect(await readAll(bytes)).toEqual([2])
    expect(await readAll(bytes, true)).toEqual(carefullyRead(bytes))
  })
})
