import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ByteMemory, heldBytesOf } from './byte-memory.js'

describe('memory that is used again', () => {
  test('is as long as was asked for, not much longer, and in nobody’s hands twice', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1_200_000), fc.boolean()), { maxLength: 60 }), (steps) => {
        const memory = new ByteMemory()
        const held = new Map<ArrayBufferLike, Buffer>()
        for (const [length, gives] of steps) {
          const [first] = held.values()
          if (gives && first !== undefined) {
            held.delete(first.buffer)
            memory.give(first)
          }
          const piece = memory.take(length)
          expect(piece.length).toBeGreaterThanOrEqual(length)
          expect(piece.length).toBeLessThanOrEqual(Math.max(256, length * 1.25 + 64))
          expect(held.has(piece.buffer)).toBe(false)
          held.set(piece.buffer, piece.subarray(0, length))
          expect(memory.freeBytes).toBeLessThanOrEqual(4 * 1024 * 1024)
        }
      }),
    )
  })

  test('comes back, also through a view of its beginning', () => {
    const memory = new ByteMemory()
    const piece = memory.take(1_000)
    memory.give(piece.subarray(0, 900))
    expect(memory.take(1_000).buffer).toBe(piece.buffer)
    expect(memory.freeBytes).toBe(0)
  })

  test.each<[string, Buffer]>([
    ['a view that begins later', new ByteMemory().take(1_000).subarray(8)],
    ['a small buffer, which is part of a page', Buffer.from('text')],
    ['a buffer of another size', Buffer.allocUnsafeSlow(1_001)],
    ['a buffer that is too large', Buffer.allocUnsafeSlow(2_000_000)],
  ])('is not taken back of %s', (_what, bytes) => {
    const memory = new ByteMemory()
    memory.give(bytes)
    expect(memory.freeBytes).toBe(0)
  })

  test('is counted whole', () => {
    const piece = new ByteMemory().take(1_000)
    expect(heldBytesOf(piece.subarray(0, 1_000))).toBe(piece.length)
    expect(heldBytesOf(Buffer.from('text'))).toBe(4)
    expect(heldBytesOf(Buffer.allocUnsafeSlow(1_001))).toBe(1_001)
  })
})
