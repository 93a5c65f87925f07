import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ByteMemory } from './byte-memory.js'
import { RecordSource, StreamRecord } from './stream-record.js'

const pieceOf = (length: number, value: number) => Buffer.alloc(length, value)

describe('what a client was sent of a stream', () => {
  test('is kept byte for byte, whatever ran beside it and before it in the same memory', () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 9_000 }), { maxLength: 12 })
    fc.assert(
      fc.property(fc.array(lengths, { minLength: 1, maxLength: 6 }), (streams) => {
        const memory = new RecordSource(new ByteMemory())
        for (let round = 0; round < 2; round++) {
          const records = streams.map(() => new StreamRecord(memory, 50_000))
          // A piece of each in turn.
          for (let at = 0; at < 12; at++)
            for (const [index, pieces] of streams.entries()) {
              const length = pieces[at]
              if (length !== undefined) records[index]?.add(pieceOf(length, index * 20 + at + round))
            }
          for (const [index, pieces] of streams.entries()) {
            const sent = Buffer.concat(pieces.map((length, at) => pieceOf(length, index * 20 + at + round)))
            const kept = records[index]?.finish(Buffer.from('tail')) ?? null
            if (sent.length + 4 > 50_000) expect(kept).toBeNull()
            else {
              expect(kept?.bytes.equals(Buffer.concat([sent, Buffer.from('tail')]))).toBe(true)
              expect([kept?.tailAt, kept?.bytes.byteOffset]).toEqual([sent.length, 0])
              expect(kept?.piece.buffer).toBe(kept?.bytes.buffer)
            }
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  test('is judged by what is not like the rest, the first pieces like another, and the end', () => {
    const record = new StreamRecord(new RecordSource(new ByteMemory()), 1_000)
    for (const text of ['role ', 'a fox ']) record.add(Buffer.from(text))
    for (const text of ['jumps ', 'over ', 'the ', 'dog ']) record.add(Buffer.from(text), true)
    record.add(Buffer.from('stop '))
    record.add(Buffer.from('more '), true)
    const kept = record.finish(Buffer.from('done'))
    expect(kept?.bytes.toString()).toBe('role a fox jumps over the dog stop more done')
    expect(kept?.telling.toString()).toBe('role a fox jumps over stop done')
  })

  test('is judged whole where nobody says that anything is alike, and where there is nothing', () => {
    for (const texts of [[], ['a'], ['a', 'b', 'c']]) {
      const record = new StreamRecord(new RecordSource(new ByteMemory()), 1_000)
      for (const text of texts) record.add(Buffer.from(text))
      const kept = record.finish(Buffer.from('done'))
      expect(kept?.telling.toString()).toBe(`${texts.join('')}done`)
    }
  })
})
