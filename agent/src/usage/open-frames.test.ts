import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OpenFrames } from './open-frames.js'

test('open frames are what a map of copies would be', () => {
  const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(30), fc.uint8Array({ maxLength: 2_000 })), { maxLength: 200 })
  fc.assert(
    fc.property(steps, (sequence) => {
      const frames = new OpenFrames()
      const model = new Map<number, string>()
      let next = 0
      for (const [isOpen, choice, body] of sequence) {
        if (isOpen) {
          frames.set(next, body)
          model.set(next, Buffer.from(body).toString('hex'))
          body.fill(0)
          next += 1
        } else {
          const at = [...model.keys()][choice % Math.max(1, model.size)] ?? choice
          expect(frames.delete(at)).toBe(model.delete(at))
        }
        expect(frames.size).toBe(model.size)
        const from = choice
        expect(frames.firstFrom(from)).toBe([...model.keys()].find((key) => key >= from) ?? null)
        expect(frames.has(from)).toBe(model.has(from))
        const kept = frames.get(from)
        expect(kept === null ? undefined : Buffer.from(kept).toString('hex')).toBe(model.get(from))
      }
      expect([...frames.entries()].map(([key, body]) => [key, Buffer.from(body).toString('hex')])).toEqual([...model])
    }),
  )
})
