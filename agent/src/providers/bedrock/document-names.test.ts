import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { DocumentNames } from './document-names.js'

const cases: [given: string | null, name: string][] = [
  ['report.pdf', 'report'],
  ["John's report (v2) [final].PDF", 'John s report (v2) [final]'],
  ['a_b.c-d', 'a b c-d'],
  ['  many   spaces\t\n', 'many spaces'],
  ['分기보고서.pdf', 'document'],
  ['', 'document'],
  [null, 'document'],
  ['x'.repeat(300), 'x'.repeat(200)],
]
test.each(cases)('%j becomes %j', (given, name) => {
  expect(new DocumentNames().next(given)).toBe(name)
})

test('no two are alike, whatever their case and however long', () => {
  const names = new DocumentNames()
  const long = 'y'.repeat(250)
  expect(['a.pdf', 'A', 'a 2', 'a', null, '?', long, long].map((given) => names.next(given))).toEqual([
    ...['a', 'A 2', 'a 2 2', 'a 3', 'document', 'document 2', 'y'.repeat(200), `${'y'.repeat(198)} 2`],
  ])
})

test('the name of all of many is tried once each, not with every number before it', () => {
  const has = vi.spyOn(Set.prototype, 'has')
  try {
    const names = new DocumentNames()
    for (let count = 1; count < 3_000; count++) names.next('a.pdf')
    // Names that differ only where the number stands are numbered together.
    for (let tail = 0; tail < 1_000; tail++) {
      const long = `${'x'.repeat(196)}${String(tail).padStart(4, '0')}`
      expect([names.next(long), names.next(long)]).toEqual([
        long,
        `${long.slice(0, 199 - String(tail + 2).length)} ${tail + 2}`,
      ])
    }
    expect(names.next('A')).toBe('A 3000')
    expect(has.mock.calls.length).toBeLessThan(15_000)
  } finally {
    has.mockRestore()
  }
})

test('a name that is cut before its number ends in one space', () => {
  const long = `${'x'.repeat(197)} yy`
  const names = new DocumentNames()
  names.next(long)
  expect(names.next(long)).toBe(`${'x'.repeat(197)} 2`)
})

test('whatever is given, Bedrock takes it', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.string({ unit: 'grapheme', maxLength: 250 }))), (given) => {
      const names = new DocumentNames()
      const taken = given.map((one) => names.next(one))
      expect(new Set(taken.map((name) => name.toLowerCase())).size).toBe(taken.length)
      for (const name of taken) expect(name).toMatch(/^(?!.*\s\s)[A-Za-z0-9 \-()[\]]{1,200}$/)
    }),
  )
})
