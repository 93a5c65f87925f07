import fc from 'fast-check'
import { expect, it } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import { LineOutput } from './line-output.js'

function makeOutput() {
  const clock = new VirtualClock()
  const written: string[] = []
  const output = new LineOutput(clock, {
    write: (bytes) => written.push(Buffer.from(bytes).toString()) > 0,
    flushSync: () => {},
  })
  return { clock, output, text: () => written.join(''), written }
}

it('passes on whole lines of several processes, wherever their chunks are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.tuple(fc.nat(2), fc.string({ minLength: 1, maxLength: 40, unit: fc.constantFrom('a', 'é', '\n', '{') })),
      ),
      async (chunks) => {
        const { clock, output, text } = makeOutput()
        const joins = [output.join(), output.join(), output.join()]
        const whole = ['', '', '']
        for (const [process, chunk] of chunks) {
          whole[process] += chunk
          // Cut within characters, too.
          const bytes = Buffer.from(chunk)
          joins[process]?.(bytes.subarray(0, 1))
          output.write('own\n')
          joins[process]?.(bytes.subarray(1))
        }
        await clock.advance(200)
        const expected = whole.flatMap((all) => all.split('\n').slice(0, -1))
        const found = text().split('\n').slice(0, -1)
        expect(found.filter((line) => line !== 'own').sort()).toEqual(expected.sort())
      },
    ),
  )
})

it('writes in pages: when one is full, after a while, and at once when asked', async () => {
  const { clock, output, written } = makeOutput()
  output.write('a\n')
  expect(written).toEqual([])
  await clock.advance(200)
  expect(written).toEqual(['a\n'])
  output.write('b\n')
  output.flush()
  expect(written).toEqual(['a\n', 'b\n'])
  for (let i = 0; i < 70; i++) output.write(`${'x'.repeat(1_000)}\n`)
  expect(written).toHaveLength(3)
})

it('does not hold what never becomes a line', () => {
  const { output, text } = makeOutput()
  const join = output.join()
  for (let i = 0; i < 3; i++) join(Buffer.alloc(512 * 1024, 'x'))
  output.flush()
  expect(text().length).toBeGreaterThan(1024 * 1024)
})
