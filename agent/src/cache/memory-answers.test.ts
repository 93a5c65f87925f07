import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { must } from '../../../proto/std/assert.js'
import { ByteMemory } from './byte-memory.js'
import { type KeptAnswer, sizeOf } from './kept-answer.js'
import { MemoryAnswers } from './memory-answers.js'

const kept = (bytes = 1_000, tenantId = 'a'): KeptAnswer => ({
  ...{ stream: false, bytes: Buffer.alloc(bytes), tailAt: bytes, usage: null, model: null, modelId: 'm' },
  ...{ dropped: null, capped: null },
  ...{ bornAtMs: 0, classes: [], keptSeconds: 60, question: null },
  origin: {
    ...{ tenantId, environmentId: 'e', routeId: 'r', promptId: null, promptVersion: null, tags: [], documents: [] },
  },
})
const one = sizeOf(kept()) + 2

describe('answers in memory', () => {
  test('the least recently used goes first', () => {
    const memory = new MemoryAnswers({ bytesMax: one * 3, entriesMax: 100 })
    for (const key of ['k1', 'k2', 'k3']) memory.put(key, kept(), 0)
    memory.get('k1')
    memory.put('k4', kept(), 0)
    expect(['k1', 'k2', 'k3', 'k4'].filter((key) => memory.get(key) !== undefined)).toEqual(['k1', 'k3', 'k4'])
    expect(memory.evictedCount).toBe(1)
  })

  test('are bounded in number as well', () => {
    const memory = new MemoryAnswers({ bytesMax: 1 << 30, entriesMax: 2 })
    for (const key of ['k1', 'k2', 'k3']) memory.put(key, kept(1), 0)
    expect(memory.size).toBe(2)
  })

  test('one larger than everything is not kept, and moves nobody', () => {
    const memory = new MemoryAnswers({ bytesMax: one * 2, entriesMax: 100 })
    memory.put('k1', kept(), 0)
    memory.put('k2', kept(100_000), 0)
    expect([memory.size, memory.get('k2'), memory.evictedCount]).toEqual([1, undefined, 0])
  })

  test('one that is put again takes the place of the first', () => {
    const memory = new MemoryAnswers({ bytesMax: one * 4, entriesMax: 100 })
    memory.put('k1', kept(10), 1)
    memory.put('k1', kept(20), 2)
    expect(memory.get('k1')).toMatchObject({ bornUs: 2, kept: { tailAt: 20 } })
    expect(memory.bytes).toBe(sizeOf(kept(20)) + 2)
  })

  test('one that answers an older request does not take the place of a newer', () => {
    const memory = new MemoryAnswers({ bytesMax: one * 4, entriesMax: 100 })
    memory.put('k1', kept(20), 5_000_000)
    memory.put('k1', kept(10), 4_000_000)
    expect(memory.get('k1')).toMatchObject({ bornUs: 5_000_000, kept: { tailAt: 20 } })
    // Within what a clock that tells milliseconds is sure of, the later one counts.
    memory.put('k1', kept(30), 4_999_000)
    expect(memory.get('k1')).toMatchObject({ kept: { tailAt: 30 } })
    expect(memory.size).toBe(1)
  })

  test('count the texts that are kept beside an answer', () => {
    const bare = kept()
    const text = 'x'.repeat(100)
    const origin = { ...bare.origin, tags: Array(16).fill(text), documents: Array(16).fill(text) }
    for (const more of [
      { origin },
      { question: text.repeat(32) },
      { dropped: text.repeat(32) },
      { model: text.repeat(32) },
    ])
      expect(sizeOf({ ...bare, ...more })).toBeGreaterThanOrEqual(sizeOf(bare) + 6_400)
  })

  test('a tenant that floods it loses its own, not another’s', () => {
    const memory = new MemoryAnswers({ bytesMax: one * 10, entriesMax: 1_000 })
    const countOf = (letter: string, count: number) =>
      Array.from({ length: count }, (_, index) => memory.get(`${letter}${index}`)).filter(
        (entry) => entry !== undefined,
      ).length
    for (let index = 0; index < 4; index++) memory.put(`q${index}`, kept(1_000, 'quiet'), 0)
    for (let index = 0; index < 99; index++) memory.put(`f${index}`, kept(900, 'loud'), 0)
    expect(countOf('q', 4)).toBe(4)
    expect(countOf('f', 99)).toBeGreaterThanOrEqual(5)
    // Up to its share the quiet one grows at the other's expense, beyond it at its own.
    for (let index = 4; index < 30; index++) memory.put(`q${index}`, kept(900, 'quiet'), 0)
    expect(countOf('q', 30)).toBeGreaterThanOrEqual(5)
    expect(countOf('f', 99)).toBeGreaterThanOrEqual(4)
  })

  test('a sweep looks at so many from the oldest on', () => {
    const memory = new MemoryAnswers({ bytesMax: 1 << 30, entriesMax: 100 })
    for (const key of ['k1', 'k2', 'k3', 'k4']) memory.put(key, kept(), 0)
    let looked = 0
    memory.sweep(3, 3, () => {
      looked += 1
      return looked !== 2
    })
    expect([looked, memory.size]).toEqual([3, 2])
    expect(['k1', 'k2', 'k3', 'k4'].filter((key) => memory.get(key) !== undefined)).toEqual(['k2', 'k4'])
  })

  test('never hold more than they may, and count what they hold, whatever is done', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('put' as const), key: fc.nat(30), bytes: fc.nat(4_000), tenant: fc.nat(4) }),
      fc.record({ kind: fc.constantFrom('get' as const, 'delete' as const), key: fc.nat(30) }),
      fc.record({ kind: fc.constant('sweep' as const), key: fc.nat(5) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const memory = new MemoryAnswers({ bytesMax: 16_000, entriesMax: 8 })
        for (const one of steps) {
          const key = `k${one.key}`
          if (one.kind === 'put') memory.put(key, { ...kept(one.bytes, `t${one.tenant}`), bornAtMs: one.bytes }, 0)
          else if (one.kind === 'get') memory.get(key)
          else if (one.kind === 'delete') memory.delete(key)
          else memory.sweep(one.key, one.key, ({ bornAtMs }) => bornAtMs % 2 === 0)
          expect(memory.bytes).toBeLessThanOrEqual(16_000)
          expect(memory.size).toBeLessThanOrEqual(8)
        }
        for (let key = 0; key <= 30; key++) memory.delete(`k${key}`)
        expect([memory.bytes, memory.size]).toEqual([0, 0])
      }),
      { numRuns: 300 },
    )
  })
})

test('what was never looked up is used again, and what somebody was given stays as it is', () => {
  const bytes = new ByteMemory()
  const memory = new MemoryAnswers({ bytesMax: 20_000, entriesMax: 1_000, memory: bytes })
  const given: [held: KeptAnswer, expected: KeptAnswer][] = []
  const seen = new Set<Buffer>()
  let usedAgain = 0
  for (let index = 0; index < 300; index++) {
    const piece = bytes.take(1_000)
    if (seen.has(piece)) usedAgain += 1
    seen.add(piece)
    const answer: KeptAnswer = {
      ...kept(0, `t${index % 3}`),
      bytes: piece.subarray(0, 990 + (index % 7)).fill(index % 251),
      tailAt: index,
      stream: index % 2 === 0,
      usage: index % 5 === 0 ? null : usageOf(index),
      ...{ model: `m${index % 4}`, modelId: `mod_${index % 2}`, dropped: index % 6 === 0 ? `d${index}` : null },
      ...{ capped: index % 8 === 0 ? 'max_tokens' : null, bornAtMs: index * 1_000, keptSeconds: index },
      ...{ classes: index % 9 === 0 ? ['factual'] : [], question: index % 10 === 0 ? `q${index}` : null },
    }
    const expected = { ...answer, bytes: Buffer.from(answer.bytes) }
    memory.put(`k${index}`, answer, index, piece)
    // Some at once, some when others have been put after them.
    if (index % 3 === 0) given.push([must(memory.get(`k${index}`)?.kept, 'just put'), expected])
    if (index % 4 !== 0) continue
    const late = memory.get(`k${index - 3}`)?.kept
    if (late !== undefined) expect(late.tailAt).toBe(index - 3)
  }
  expect(usedAgain).toBeGreaterThan(100)
  for (const [held, expected] of given) expect(held).toEqual(expected)
})

test('memory comes back where an answer is not kept after all', () => {
  const bytes = new ByteMemory()
  const memory = new MemoryAnswers({ bytesMax: 4_000, entriesMax: 10, memory: bytes })
  const give = (key: string, bornUs: number, length: number) => {
    const piece = bytes.take(length)
    memory.put(key, { ...kept(0), bytes: piece.subarray(0, length) }, bornUs, piece)
    return piece
  }
  const large = give('k1', 0, 8_000)
  expect(bytes.take(8_000)).toBe(large)
  give('k1', 9_000_000, 500)
  const older = give('k1', 1_000_000, 1_000)
  expect(bytes.take(1_000)).toBe(older)
})

function usageOf(index: number): NonNullable<KeptAnswer['usage']> {
  const maybe = (of: number) => (index % of === 0 ? null : index + of)
  return {
    ...{ input: index, output: index * 2 },
    ...{ cachedInput: maybe(2), cacheWriteInput: maybe(3), reasoningOutput: maybe(4) },
  }
}

test('whatever is done, nobody’s bytes change, none are given twice, and what is held is what is counted', () => {
  const step = fc.record({
    kind: fc.constantFrom(
      'put' as const,
      'put' as const,
      'put' as const,
      'lent' as const,
      'get' as const,
      'delete' as const,
      'sweep' as const,
    ),
    key: fc.nat(12),
    length: fc.integer({ min: 1, max: 3_000 }),
    tenant: fc.nat(2),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const bytes = new ByteMemory()
      const memory = new MemoryAnswers({ bytesMax: 14_000, entriesMax: 6, memory: bytes })
      const expected = new Map<string, { fill: number; length: number; size: number }>()
      const held: { answer: KeptAnswer; fill: number; length: number }[] = []
      const inUse = () => new Set(held.map(({ answer }) => answer.bytes.buffer))
      for (const [index, { kind, key: number, length, tenant }] of steps.entries()) {
        const key = `k${number}`
        const fill = index % 251
        if (kind === 'put' || kind === 'lent') {
          const piece = kind === 'put' ? bytes.take(length) : Buffer.allocUnsafeSlow(length)
          expect(inUse().has(piece.buffer)).toBe(false)
          const answer = { ...kept(0, `t${tenant}`), bytes: piece.subarray(0, length).fill(fill), tailAt: index }
          memory.put(key, answer, index * 10_000, kind === 'put' ? piece : null)
          expected.set(key, { fill, length, size: sizeOf(answer, piece.length) + key.length })
          if (kind === 'lent') held.push({ answer, fill, length })
        } else if (kind === 'get') {
          const answer = memory.get(key)?.kept
          const known = expected.get(key)
          if (answer !== undefined && known !== undefined) held.push({ answer, fill: known.fill, length: known.length })
        } else if (kind === 'delete') memory.delete(key)
        else memory.sweep(number, number, ({ origin }) => origin.tenantId === `t${tenant}`)
        for (const { answer, fill: was, length: long } of held) {
          expect(answer.bytes.length).toBe(long)
          expect(answer.bytes.every((byte) => byte === was)).toBe(true)
        }
      }
      let counted = 0
      for (const [key, { fill, length, size }] of expected) {
        const answer = memory.get(key)?.kept
        if (answer === undefined) continue
        counted += size
        expect([answer.bytes.length, answer.bytes.every((byte) => byte === fill)]).toEqual([length, true])
      }
      expect(memory.bytes).toBe(counted)
    }),
    { numRuns: 200 },
  )
})
