import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ApiKeyTable, EnvironmentTable } from '../../../proto/policy/tables.js'
import { Admission, type Running } from '../request/admit.js'
import { KeyUses, partOf } from './key-uses.js'
import { UseBoard } from './use-board.js'

const makeKey = (inFlightMax: number, requestsPerMinuteMax: number): ApiKeyTable => ({
  ...{ id: 'key', teamId: null, environment: {} as EnvironmentTable, allowedRoutes: null, allowExternal: true },
  ...{ mayPin: false, expiresAtMs: Number.POSITIVE_INFINITY, inFlightMax, requestsPerMinuteMax },
})

/** Workers of one agent with one key, telling each other when `exchange` is called. */
class Workers {
  readonly board: UseBoard
  readonly uses: KeyUses[]
  readonly admissions: Admission[]
  readonly key: ApiKeyTable
  urgentCount = 0

  constructor(count: number, limits: { inFlightMax?: number; requestsPerMinuteMax?: number }) {
    this.board = new UseBoard(count)
    const each = <T>(make: (index: number) => T) => Array.from({ length: count }, (_, index) => make(index))
    this.uses = each((index) => new KeyUses({ index, count }, () => (this.urgentCount += 1)))
    this.admissions = each(() => new Admission())
    this.key = makeKey(limits.inFlightMax ?? 1_000_000, limits.requestsPerMinuteMax ?? 1_000_000)
  }

  /** A request at `worker`; the way to end it, or null when it was refused. */
  ask(worker: number, nowUs: number): (() => void) | null {
    const uses = this.uses[worker] as KeyUses
    const admission = this.admissions[worker] as Admission
    const running: Running = { slot: -1, end: () => {} }
    if (admission.admit(uses.left(this.key), 'hash', running, nowUs) !== null) return null
    const end = uses.open('key')
    return () => {
      end()
      admission.release('hash', running)
    }
  }

  exchange(nowUs: number): void {
    for (const [worker, uses] of this.uses.entries()) {
      this.board.tell(worker, { connections: 0, inFlight: 0, keys: uses.next() }, nowUs)
    }
    for (const [worker, uses] of this.uses.entries()) uses.learn(this.board.newsFor(worker)?.keys ?? [])
  }
}

describe('parts of a limit', () => {
  it.each([
    [10, 2, [5, 5]],
    [10, 3, [4, 3, 3]],
    [1, 3, [1, 0, 0]],
    [0, 2, [0, 0]],
    [Number.POSITIVE_INFINITY, 2, [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]],
  ])('of %s for %i workers are %j', (limit, count, parts) => {
    expect(parts.map((_, index) => partOf(limit, { index, count }))).toEqual(parts)
  })

  it('are the limit together', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.integer({ min: 1, max: 64 }), (limit, count) => {
        let sum = 0
        for (let index = 0; index < count; index++) sum += partOf(limit, { index, count })
        expect(sum).toBe(limit)
      }),
    )
  })
})

describe('a key at several workers', () => {
  it('is the very same key while nobody else uses it', () => {
    const { uses, key } = new Workers(2, {})
    expect(uses[0]?.left(key)).toBe(key)
  })

  it('may be used to its limit on one connection', () => {
    const workers = new Workers(4, { inFlightMax: 3 })
    expect(Array.from({ length: 5 }, () => workers.ask(2, 0)).filter((end) => end !== null)).toHaveLength(3)
  })

  it('runs no more at once than its limit, wherever it is asked next, once they have told each other', () => {
    const workers = new Workers(3, { inFlightMax: 3 })
    const ends = [workers.ask(0, 0), workers.ask(0, 0), workers.ask(1, 0)]
    workers.exchange(0)
    expect([0, 1, 2].map((worker) => workers.ask(worker, 0))).toEqual([null, null, null])
    ends[0]?.()
    workers.exchange(0)
    expect(workers.ask(2, 0)).not.toBeNull()
    workers.exchange(0)
    expect(workers.ask(0, 0)).toBeNull()
  })

  it('is known to a worker that never met it before', () => {
    const workers = new Workers(2, { inFlightMax: 1 })
    workers.ask(0, 0)
    workers.exchange(0)
    expect(workers.ask(1, 0)).toBeNull()
  })

  it('takes its new limits at once, less what the others use', () => {
    const workers = new Workers(2, { inFlightMax: 4 })
    workers.ask(0, 0)
    workers.exchange(0)
    const uses = workers.uses[1] as KeyUses
    expect(uses.left(workers.key).inFlightMax).toBe(3)
    expect(uses.left(makeKey(9, 60)).inFlightMax).toBe(8)
  })

  it('is urgent to tell of from half of its limit on, and when it moved by a good part of its minute', () => {
    const workers = new Workers(2, { inFlightMax: 10, requestsPerMinuteMax: 80 })
    const ends = Array.from({ length: 4 }, () => workers.ask(0, 0))
    expect(workers.urgentCount).toBe(0)
    ends.push(workers.ask(0, 0))
    expect(workers.urgentCount).toBe(1)
    for (const end of ends) end?.()
    workers.exchange(0)
    workers.urgentCount = 0
    for (let i = 0; i < 9; i++) workers.ask(0, 0)?.()
    expect(workers.urgentCount).toBe(0)
    workers.ask(0, 0)?.()
    expect(workers.urgentCount).toBeGreaterThan(0)
  })

  it('is as urgent to tell of when it gives back as when it took', () => {
    const workers = new Workers(2, { inFlightMax: 1 })
    const end = workers.ask(0, 0)
    workers.exchange(0)
    workers.urgentCount = 0
    end?.()
    expect(workers.urgentCount).toBe(1)
    workers.exchange(0)
    expect(workers.ask(1, 0)).not.toBeNull()
  })

  it('is kept as numbers: tables that are in effect no more can go', async () => {
    const uses = new KeyUses({ index: 0, count: 2 }, () => {})
    const environments = Array.from({ length: 4 }, (_, i) => {
      const key = {
        ...makeKey(4, 60),
        id: `key_${i}`,
        environment: { name: 'of old tables' } as unknown as EnvironmentTable,
      }
      uses.learn([[key.id, 1, 1]])
      expect(uses.left(key).inFlightMax).toBe(3)
      uses.open(key.id)
      return new WeakRef(key.environment)
    })
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    await new Promise((resolve) => setImmediate(resolve))
    collect()
    expect(environments.map((environment) => environment.deref())).toEqual([undefined, undefined, undefined, undefined])
    expect(uses.size).toBe(4)
  })

  it('counts an end once, however often it is said', () => {
    const { uses } = new Workers(2, {})
    const use = uses[0] as KeyUses
    use.left(makeKey(4, 60))
    const end = use.open('key')
    end()
    end()
    expect(use.next()).toEqual([['key', 0, 1]])
  })

  it('is forgotten once it was quiet, with all that it cost', () => {
    const uses = new KeyUses({ index: 0, count: 2 }, () => {})
    for (let i = 0; i < 10_000; i++) uses.left({ ...makeKey(4, 60), id: `key_${i}` })
    expect(uses.size).toBeLessThanOrEqual(4_096)
  })

  /** With tellings between any two requests nothing is ever too much, and nothing refused that one worker would not refuse. */
  it('holds its limit at once exactly where tellings are in time', () => {
    const step = fc.record({ worker: fc.nat(3), ends: fc.boolean() })
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6 }), fc.array(step, { maxLength: 120 }), (inFlightMax, steps) => {
        const workers = new Workers(4, { inFlightMax })
        const running: (() => void)[] = []
        for (const { worker, ends } of steps) {
          if (ends) running.shift()?.()
          else {
            const end = workers.ask(worker, 0)
            expect(end !== null).toBe(running.length < inFlightMax)
            if (end !== null) running.push(end)
          }
          workers.exchange(0)
        }
      }),
    )
  })

  /** What the decision record promises, with every worker asked as often as it can bear. */
  describe.each([
    [60, 2],
    [60, 4],
    [600, 3],
  ])('with %i per minute and %i workers', (limit, count) => {
    const simulate = (isAsked: (worker: number, nowMs: number) => boolean, minutes: number) => {
      const workers = new Workers(count, { requestsPerMinuteMax: limit })
      const perMinute: number[] = new Array(minutes).fill(0)
      for (let nowMs = 0; nowMs < minutes * 60_000; nowMs += 20) {
        for (let worker = 0; worker < count; worker++) {
          while (isAsked(worker, nowMs)) {
            const end = workers.ask(worker, nowMs * 1000)
            if (end === null) break
            end()
            perMinute[Math.floor(nowMs / 60_000)] = (perMinute[Math.floor(nowMs / 60_000)] ?? 0) + 1
          }
        }
        if (nowMs % 100 === 0) workers.exchange(nowMs * 1000)
      }
      return perMinute
    }

    it('one connection gets the whole limit', () => {
      const [, ...later] = simulate((worker) => worker === count - 1, 4)
      expect(later).toEqual([limit, limit, limit])
    })

    it('all together get the limit, over time', () => {
      const [first = 0, ...later] = simulate(() => true, 5)
      // A quiet key may send its minute at once, and here each worker's in the same moment.
      expect(first).toBeLessThanOrEqual((count + 1) * limit)
      for (const taken of later) expect(taken).toBe(limit)
    })

    it('load that comes to further workers gets less than twice the limit in one minute, and then the limit', () => {
      const later = simulate((worker, nowMs) => worker === 0 || nowMs >= 150_000, 6).slice(1)
      expect(Math.max(...later)).toBeLessThanOrEqual(Math.ceil((2 - 1 / count) * limit))
      expect(later.slice(2)).toEqual([limit, limit, limit])
    })

    it('load that wanders from worker to worker gets the limit, within a twentieth', () => {
      const [, ...later] = simulate((worker, nowMs) => Math.floor(nowMs / 20_000) % count === worker, 6)
      for (const taken of later) expect(taken).toBeLessThanOrEqual(limit * 1.05)
    })
  })
})
