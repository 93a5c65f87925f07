import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LineBytes } from './line-bytes.js'

const written = (write: (line: LineBytes) => void, size = 4_096) => {
  const line = new LineBytes(Buffer.alloc(size, '#'))
  write(line)
  return line.overflown ? null : line.bytes.toString('utf8', 0, line.at)
}

test('any text is written as JSON writes it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      expect(written((line) => line.json(text))).toBe(JSON.stringify(text))
    }),
    { numRuns: 2_000 },
  )
})

test('any number is written as JSON writes it', () => {
  const numbers = fc.oneof(fc.nat(), fc.integer(), fc.maxSafeNat(), fc.double({ noNaN: true, noDefaultInfinity: true }))
  fc.assert(
    fc.property(numbers, (value) => {
      expect(written((line) => line.number(value))).toBe(String(value))
    }),
    { numRuns: 2_000 },
  )
})

test('what does not fit is not written beyond the end, and said', () => {
  const everything = (line: LineBytes) => {
    line.plain('abc')
    line.json('de"f')
    line.json('ghi')
    line.number(1_234_567)
    line.number(0.25)
  }
  const whole = written(everything) ?? ''
  for (let size = 0; size < whole.length; size++) {
    const memory = Buffer.alloc(size + 16, '#')
    const line = new LineBytes(memory.subarray(0, size))
    everything(line)
    expect([line.overflown, memory.toString('utf8', size)]).toEqual([true, '#'.repeat(16)])
  }
  expect(written(everything, whole.length)).toBe(whole)
})
