import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findOutlier, type TargetSample } from './find-outlier.js'

const healthy: TargetSample = { modelId: 'm', away: false, requestCount: 100, failureCount: 0, medianUs: 400_000 }
const slow = { ...healthy, medianUs: 4_000_000 }
const failing = { ...healthy, failureCount: 40 }
const away = { ...healthy, away: true }

describe('an outlier', () => {
  const cases: [string, TargetSample[], number][] = [
    ['nobody, where all do alike', [healthy, healthy, healthy], -1],
    ['who answers ten times slower with the same model', [healthy, slow, healthy], 1],
    ['nobody, where the slow one has another model', [healthy, { ...slow, modelId: 'large' }], -1],
    [
      'nobody, where slow is still quick',
      [
        { ...healthy, medianUs: 20_000 },
        { ...healthy, medianUs: 200_000 },
      ],
      -1,
    ],
    ['nobody, where twice as slow', [healthy, { ...healthy, medianUs: 900_000 }], -1],
    ['who fails where others do not, whatever its model', [healthy, { ...failing, modelId: 'large' }], 1],
    ['who fails most, before who is slow', [slow, failing, healthy], 1],
    ['nobody, where all fail alike', [failing, failing, { ...failing, failureCount: 45 }], -1],
    ['nobody, where too little was seen', [healthy, { ...failing, requestCount: 15, failureCount: 15 }], -1],
    ['nobody, where too little was seen of the others', [{ ...healthy, requestCount: 5 }, failing], -1],
    ['nobody, where nobody knows how fast it is', [healthy, { ...slow, medianUs: null }], -1],
    ['not the last one', [away, slow], -1],
    ['not more than half', [away, healthy, slow], -1],
    ['one of four while one is away', [away, healthy, healthy, slow], 3],
    ['nobody among one', [failing], -1],
    ['nobody among none', [], -1],
  ]
  test.each(cases)('is %s', (_words, samples, index) => {
    expect(findOutlier(samples)).toBe(index)
  })

  test('is never the last one, never away already, and leaves at least half of them', () => {
    const sample = fc.record({
      modelId: fc.constantFrom('a', 'b'),
      away: fc.boolean(),
      requestCount: fc.nat(200),
      failureCount: fc.nat(200),
      medianUs: fc.option(fc.nat(20_000_000)),
    })
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 8 }), (given) => {
        const samples = given.map((one) => ({ ...one, failureCount: Math.min(one.failureCount, one.requestCount) }))
        // Ejected one after the other, as long as one is found.
        for (let found = findOutlier(samples); found !== -1; found = findOutlier(samples)) {
          const outlier = samples[found]
          expect(outlier?.away).toBe(false)
          samples[found] = { ...(outlier as TargetSample), away: true } as (typeof samples)[number]
          const left = samples.filter((one) => !one.away).length
          expect(left).toBeGreaterThanOrEqual(1)
          expect(left * 2).toBeGreaterThanOrEqual(samples.length)
        }
      }),
    )
  })
})
