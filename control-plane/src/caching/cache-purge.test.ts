import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ageSecondsMax, purgesMax } from '../../../proto/policy/cache-policy.js'
import { afterPurge, type CachePurge, type PurgeScope, purgeCacheInput, scopesOf } from './cache-purge.js'

const now = new Date('2026-06-01T00:00:00Z')
const nothing: PurgeScope = { routeId: null, promptId: null, promptVersion: null, tag: null, documentId: null }
const purge = (id: string, agoSeconds: number, scope: Partial<PurgeScope> = { tag: id }): CachePurge => ({
  ...{ id, environmentId: 'env', at: new Date(now.getTime() - agoSeconds * 1_000), createdBy: 'x', ...nothing },
  ...scope,
})
const idsOf = (purges: readonly CachePurge[]) => purges.map(({ id }) => id)

describe('the purges that an environment has after one more', () => {
  test('are all of them, in order', () => {
    expect(idsOf(afterPurge([purge('b', 5), purge('a', 9)], [purge('c', 0)], now))).toEqual(['a', 'b', 'c'])
  })

  test('but not those older than any answer', () => {
    const before = [purge('old', ageSecondsMax + 61), purge('young', ageSecondsMax + 59)]
    expect(idsOf(afterPurge(before, [purge('c', 0)], now))).toEqual(['young', 'c'])
  })

  test('nor those before one that fits everything', () => {
    expect(idsOf(afterPurge([purge('a', 9), purge('b', 3)], [purge('all', 5, {})], now))).toEqual(['all', 'b'])
  })

  test('beyond the bound the older half is one that fits everything, as of its newest', () => {
    const before = Array.from({ length: purgesMax }, (_, index) =>
      purge(`p${String(index).padStart(3, '0')}`, 500 - index),
    )
    const after = afterPurge(before, [purge('new', 0)], now)
    expect(after).toHaveLength(purgesMax / 2 + 1)
    expect(after[0]).toEqual({ ...before[purgesMax / 2], ...nothing })
    expect(after.at(-1)?.id).toBe('new')
  })

  test('never purge less than was asked, and never are too many, whatever was asked before', () => {
    const scope = fc.record({
      routeId: fc.constantFrom(null, 'r1', 'r2'),
      promptId: fc.constant(null),
      promptVersion: fc.constant(null),
      tag: fc.constantFrom(null, 't1', 't2'),
      documentId: fc.constantFrom(null, 'd1'),
    })
    const asked = fc.array(fc.tuple(fc.nat({ max: 2 * ageSecondsMax }), scope), { maxLength: 400 })
    /** Whether an answer of that age and labels may still be given. */
    const isGiven = (purges: readonly CachePurge[], bornMs: number, labels: PurgeScope) =>
      !purges.some(
        (one) =>
          bornMs <= one.at.getTime() &&
          (one.routeId === null || one.routeId === labels.routeId) &&
          (one.tag === null || one.tag === labels.tag) &&
          (one.documentId === null || one.documentId === labels.documentId),
      )
    fc.assert(
      fc.property(asked, fc.nat({ max: ageSecondsMax }), scope, (given, ageSeconds, labels) => {
        const all = given
          .map(([ago, one], index) => purge(`p${String(index).padStart(3, '0')}`, ago, one))
          .sort((a, b) => a.at.getTime() - b.at.getTime())
        let purges: readonly CachePurge[] = []
        for (const one of all) purges = afterPurge(purges, [one], one.at)
        purges = afterPurge(purges, [], now)
        expect(purges.length).toBeLessThanOrEqual(purgesMax)
        const bornMs = now.getTime() - ageSeconds * 1_000
        if (isGiven(purges, bornMs, labels)) expect(isGiven(all, bornMs, labels)).toBe(true)
      }),
      { numRuns: 300 },
    )
  })
})

test('an input names one scope for each document', () => {
  const of = (input: object) => scopesOf(purgeCacheInput.parse(input))
  expect(of({})).toEqual([nothing])
  expect(of({ documentIds: ['b', 'a', 'b'], tag: 't' })).toEqual([
    { ...nothing, tag: 't', documentId: 'a' },
    { ...nothing, tag: 't', documentId: 'b' },
  ])
})
