import fc from 'fast-check'
import { expect, it } from 'vitest'
import { covers, multirangeText, parseMultirange, rangesOf } from './report-lane.js'

it('ranges hold exactly the sequences they were made of, through PostgreSQL’s text and back', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(80), { maxLength: 60 }), (members) => {
      const sorted = [...members].sort((a, b) => a - b)
      const ranges = parseMultirange(multirangeText(rangesOf(sorted)))
      for (let value = 0; value <= 82; value++) expect(covers(ranges, value)).toBe(members.includes(value))
      for (const [index, range] of ranges.entries()) expect(range.start).toBeGreaterThan(ranges[index - 1]?.end ?? -1)
    }),
  )
})
