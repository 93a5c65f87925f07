import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ApiKeyTable, DecisionTables, DenyTable } from '../../../proto/policy/tables.js'
import { Admission, type Running } from './admit.js'

const key = (inFlightMax: number, requestsPerMinuteMax = 1_000_000) =>
  ({ inFlightMax, requestsPerMinuteMax }) as ApiKeyTable
const running = (): Running & { ended: string[] } => {
  const ended: string[] = []
  return { slot: -1, ended, end: (code) => void ended.push(code) }
}
const denying = (entries: [string, boolean][]): DecisionTables =>
  ({
    denied: new Map(
      entries.map(([hash, abort]) => [hash, { subjectId: hash, abort, expiresAtMs: 0 } satisfies DenyTable]),
    ),
  }) as unknown as DecisionTables

describe('admission', () => {
  test('slots never leak and never go below zero, whatever the order', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('a', 'b'), fc.nat(5), fc.boolean()), { maxLength: 200 })
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 4 }), (sequence, max) => {
        const admission = new Admission()
        const held = new Map<string, Running>()
        const pools = { a: Array.from({ length: 6 }, running), b: Array.from({ length: 6 }, running) }
        for (const [hash, index, isRelease] of sequence) {
          const one = pools[hash as 'a' | 'b'][index] as Running
          const name = `${hash}${index}`
          if (isRelease) {
            admission.release(hash, one)
            held.delete(name)
          } else if (!held.has(name)) {
            const count = [...held.keys()].filter((other) => other.startsWith(hash)).length
            const refusal = admission.admit(key(max), hash, one, 0)
            expect(refusal === null).toBe(count < max)
            if (refusal === null) held.set(name, one)
          }
          expect(admission.runningCount).toBe(held.size)
        }
        for (const [name, one] of held) admission.release(name.slice(0, 1), one)
        expect(admission.runningCount).toBe(0)
      }),
    )
  })

  test('a refused request takes neither slot nor token', () => {
    const admission = new Admission()
    expect(admission.admit(key(1, 2), 'a', running(), 0)).toBeNull()
    for (let i = 0; i < 10; i++)
      expect(admission.admit(key(1, 2), 'a', running(), 0)?.code).toBe('concurrency_limit_exceeded')
    expect(admission.admit(key(9, 2), 'a', running(), 0)).toBeNull()
    const refusal = admission.admit(key(9, 2), 'a', running(), 0)
    expect(refusal).toMatchObject({ code: 'rate_limit_exceeded', detail: { retryAfterSeconds: 30 } })
    expect(admission.runningCount).toBe(2)
  })

  test('ends what runs under keys that are denied with abort, and only that', () => {
    const admission = new Admission()
    const [a, b, c] = [running(), running(), running()]
    for (const [hash, one] of [
      ['a', a],
      ['b', b],
      ['c', c],
    ] as const)
      admission.admit(key(9), hash, one, 0)
    admission.enforce(
      denying([
        ['a', true],
        ['b', false],
      ]),
    )
    expect([a.ended, b.ended, c.ended]).toEqual([['revoked_api_key'], [], []])
    admission.endAll()
    expect(c.ended).toEqual(['agent_draining'])
  })

  test('keys that went quiet are forgotten', () => {
    const admission = new Admission()
    for (let i = 0; i < 50_000; i++) {
      const one = running()
      admission.admit(key(1, 60), `k${i}`, one, i * 1_000_000)
      admission.release(`k${i}`, one)
    }
    expect(admission.keyCount).toBeLessThan(10_000)
  })
})
