import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { reportMessageCodec } from '../../../proto/gen/codec.js'
import { RecordList } from './record-list.js'

const sequences = fc.uniqueArray(fc.oneof(fc.nat(300), fc.maxSafeNat()), { maxLength: 60 })
const lanes = fc.record({
  bootEpoch: fc.maxSafeNat(),
  lane: fc.nat(40),
  class: fc.constantFrom(1 as const, 2 as const),
})

/** Records in two chunks, some of whose bytes belong to none. */
function listOf(wanted: readonly number[]): RecordList {
  const list = new RecordList()
  const chunks = [Buffer.alloc(4_000, 1), Buffer.alloc(4_000, 2)]
  for (const [index, sequence] of wanted.entries()) {
    const chunk = chunks[index * 2 < wanted.length ? 0 : 1] as Buffer
    const start = 5 + (index % 30) * 130
    list.add(sequence, chunk, start, start + (sequence % 3 === 0 ? 0 : (sequence % 128) + 1))
  }
  return list
}

describe('a list of records', () => {
  it('puts on the wire what the generated encoder would', () => {
    fc.assert(
      fc.property(sequences, lanes, (wanted, lane) => {
        const list = listOf(wanted)
        list.sort()
        const records = [...list].map(({ sequence, payload }) => ({ sequence, payload }))
        expect(records.map(({ sequence }) => sequence)).toEqual([...wanted].sort((a, b) => a - b))
        const expected = Buffer.from(reportMessageCodec.encode({ batch: { lane, records } }))
        const message = reportMessageCodec.decode(list.encodeBatch(lane))
        expect(message).toEqual(reportMessageCodec.decode(expected))
        expect(list.encodeBatch(lane).length).toBeLessThanOrEqual(expected.length + wanted.length * 2 + 4)
        expect(list.bytes).toBe(records.reduce((sum, { payload }) => sum + payload.length, 0))
      }),
    )
  })

  it('says which sequences follow on each other', () => {
    const list = listOf([9, 4, 5, 6, 12, 11, 1])
    list.sort()
    expect([...list.runs()]).toEqual([
      [1, 2],
      [4, 7],
      [9, 10],
      [11, 13],
    ])
    expect([...new RecordList().runs()]).toEqual([])
  })
})
