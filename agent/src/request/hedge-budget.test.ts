import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { RouteTable } from '../../../proto/policy/tables.js'
import { HedgeBudgets } from './hedge-budget.js'

const newRoute = () => ({}) as RouteTable

/** Every request would hedge if it may. */
function hedgesOf(requestCount: number, budgetRatio: number, wants: (request: number) => boolean = () => true): number {
  const budgets = new HedgeBudgets()
  const route = newRoute()
  let hedges = 0
  for (let request = 0; request < requestCount; request++) {
    budgets.count(route, budgetRatio)
    if (!wants(request) || !budgets.has(route)) continue
    budgets.take(route)
    hedges += 1
  }
  return hedges
}

test.each([
  [100, 0.1, 10],
  [99, 0.1, 9],
  [1_000, 0.05, 50],
  [10, 1, 10],
  [1_000_000, 0.000_001, 1],
  [9, 0.1, 0],
])('of %i requests a share of %d may be asked twice: %i', (requestCount, ratio, hedges) => {
  expect(hedgesOf(requestCount, ratio)).toBe(hedges)
})

test('a quiet time saves up ten at most', () => {
  expect(hedgesOf(10_100, 0.5, (request) => request >= 10_000)).toBeLessThanOrEqual(10 + 50 + 1)
})

test('never more than their share, whoever wants one when', () => {
  const wants = fc.array(fc.boolean(), { maxLength: 500 })
  fc.assert(
    fc.property(wants, fc.double({ min: 0, max: 1, noNaN: true }), (wanted, ratio) => {
      const hedges = hedgesOf(wanted.length, ratio, (request) => wanted[request] === true)
      expect(hedges).toBeLessThanOrEqual(wanted.length * ratio + 1e-6)
    }),
  )
})

test('routes share nothing', () => {
  const budgets = new HedgeBudgets()
  const [one, other] = [newRoute(), newRoute()]
  budgets.count(one, 1)
  expect([budgets.has(one), budgets.has(other)]).toEqual([true, false])
})
