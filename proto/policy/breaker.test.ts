import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  advance,
  type BreakerState,
  claimProbe,
  cooldownMsMax,
  defaultBreaker,
  isCoolingDown,
  newBreakerState,
  phaseOf,
  retryInUs,
  type Verdict,
  windowOf,
} from './breaker.js'
import type { BreakerTable } from './tables.js'

const second = 1_000_000
const table: BreakerTable = { failures: 3, openMs: 1_000, failureRatio: 0.5, windowMs: 8_000, requestsMin: 10 }
const rowOnly: BreakerTable = { ...table, failureRatio: 0 }
const shareOnly: BreakerTable = { ...table, failures: 0 }

interface Tried {
  verdict?: Verdict
  startedUs?: number
  leaseUs?: number
  probedUs?: number
  cooldownMs?: number
}

function after(state: BreakerState, nowUs: number, tried: Tried = {}, at = table): BreakerState {
  const event = { verdict: 'failure' as const, startedUs: nowUs, leaseUs: 0, cooldownMs: 0, ...tried }
  return advance(state, event, nowUs, at)
}

/** Opened at `nowUs` by failures in a row. */
function opened(nowUs = 0, at = rowOnly): BreakerState {
  const state = newBreakerState()
  for (let count = 0; count < at.failures; count++) after(state, nowUs, {}, at)
  expect(phaseOf(state, nowUs)).toBe('open')
  return state
}

describe('a closed breaker', () => {
  test('opens at the failures in a row that its table names, not before', () => {
    const state = newBreakerState()
    after(state, 0)
    after(state, 1)
    expect(phaseOf(state, 1)).toBe('closed')
    after(state, 2)
    expect(phaseOf(state, 2)).toBe('open')
    expect(retryInUs(state, 2)).toBe(second)
  })

  test('begins to count anew with each success', () => {
    const state = newBreakerState()
    for (let round = 0; round < 20; round++) {
      after(state, round, {}, rowOnly)
      after(state, round, {}, rowOnly)
      after(state, round, { verdict: 'success' }, rowOnly)
    }
    expect(phaseOf(state, 20)).toBe('closed')
  })

  test('opens at a share of failures in the window, from so many requests on', () => {
    const state = newBreakerState()
    for (let count = 0; count < 5; count++) after(state, count, { verdict: 'success' }, shareOnly)
    for (let count = 0; count < 4; count++) after(state, 10 + count, {}, shareOnly)
    expect(phaseOf(state, 20)).toBe('closed')
    after(state, 20, {}, shareOnly)
    expect(phaseOf(state, 20)).toBe('open')
  })

  test('forgets what is older than the window', () => {
    const state = newBreakerState()
    for (let count = 0; count < 9; count++) after(state, 0, {}, shareOnly)
    expect(windowOf(state, 7 * second)).toEqual({ requestCount: 9, failureCount: 9 })
    after(state, 9 * second, {}, shareOnly)
    expect(phaseOf(state, 9 * second)).toBe('closed')
    expect(windowOf(state, 9 * second)).toEqual({ requestCount: 1, failureCount: 1 })
  })

  test('counts in a window of its new length when its table changes', () => {
    const state = newBreakerState()
    for (let count = 0; count < 9; count++) after(state, 0, {}, shareOnly)
    after(state, 1, { verdict: 'success' }, { ...shareOnly, windowMs: 16_000 })
    expect(windowOf(state, 1)).toEqual({ requestCount: 1, failureCount: 0 })
  })

  test.each<[string, Tried]>([
    ['a client that left', { verdict: 'none' }],
    ['a cooldown', { verdict: 'none', cooldownMs: 1 }],
  ])('hears nothing in %s', (_words, tried) => {
    const state = newBreakerState()
    for (let count = 0; count < 100; count++) after(state, count, tried)
    expect(phaseOf(state, second)).toBe('closed')
    expect(windowOf(state, second)).toEqual({ requestCount: 0, failureCount: 0 })
  })

  test('never opens where every limit is zero', () => {
    const none = { ...table, failures: 0, failureRatio: 0, windowMs: 0 }
    const state = newBreakerState()
    for (let count = 0; count < 1_000; count++) after(state, count, {}, none)
    expect(phaseOf(state, 1_000)).toBe('closed')
  })
})

describe('an open breaker', () => {
  test('lets one request probe after its time, and nobody beside it', () => {
    const state = opened()
    expect(phaseOf(state, second - 1)).toBe('open')
    expect(phaseOf(state, second)).toBe('half_open')
    claimProbe(state, second, second + 500)
    expect(phaseOf(state, second)).toBe('open')
    expect(() => claimProbe(state, second, second + 500)).toThrow('only a half-open target is probed')
    expect(retryInUs(state, second)).toBe(500)
  })

  test('closes when the probe succeeds, and begins at zero', () => {
    const state = opened()
    const leaseUs = claimProbe(state, second, 2 * second)
    after(state, second + 10, { verdict: 'success', leaseUs, startedUs: second })
    expect(phaseOf(state, second + 10)).toBe('closed')
    expect(windowOf(state, second + 10)).toEqual({ requestCount: 0, failureCount: 0 })
    after(state, second + 20)
    expect(phaseOf(state, second + 20)).toBe('closed')
  })

  test('stays open twice as long for each probe that fails, up to sixteen times', () => {
    const state = opened()
    let nowUs = 0
    for (const times of [2, 4, 8, 16, 16, 16]) {
      nowUs += retryInUs(state, nowUs)
      const leaseUs = claimProbe(state, nowUs, nowUs + 1)
      after(state, nowUs, { leaseUs })
      expect(retryInUs(state, nowUs)).toBe(times * second)
    }
  })

  test('begins at its shortest again once it was closed', () => {
    const state = opened()
    after(state, second, { leaseUs: claimProbe(state, second, second + 1) })
    const nowUs = 4 * second
    after(state, nowUs, { verdict: 'success', leaseUs: claimProbe(state, nowUs, nowUs + 1) })
    for (let count = 0; count < 3; count++) after(state, nowUs + 1, {}, rowOnly)
    expect(retryInUs(state, nowUs + 1)).toBe(second)
  })

  test('is open longer each time while streams begin there and break, and at its shortest again once one came to its end', () => {
    const state = opened()
    let nowUs = 0
    for (const times of [2, 4, 8, 16, 16]) {
      nowUs += retryInUs(state, nowUs)
      const leaseUs = claimProbe(state, nowUs, nowUs + 1)
      after(state, nowUs, { verdict: 'success', leaseUs, probedUs: nowUs }, rowOnly)
      expect(phaseOf(state, nowUs)).toBe('closed')
      // The probe's own stream breaks too: one of the failures.
      after(state, nowUs + 10, { startedUs: nowUs - 5, probedUs: nowUs }, rowOnly)
      for (let count = 0; count < 2; count++) after(state, nowUs + 10, { startedUs: nowUs + 1 }, rowOnly)
      nowUs += 10
      expect(retryInUs(state, nowUs)).toBe(times * second)
    }
    nowUs += retryInUs(state, nowUs)
    const leaseUs = claimProbe(state, nowUs, nowUs + 1)
    after(state, nowUs, { verdict: 'success', leaseUs, probedUs: nowUs }, rowOnly)
    after(state, nowUs + 10, { verdict: 'success', startedUs: nowUs - 5, probedUs: nowUs }, rowOnly)
    for (let count = 0; count < 3; count++) after(state, nowUs + 20, {}, rowOnly)
    expect(retryInUs(state, nowUs + 20)).toBe(second)
  })

  test('does not hear the end of an older probe while a newer one is on trial', () => {
    const state = opened()
    after(
      state,
      second,
      { verdict: 'success', leaseUs: claimProbe(state, second, second + 1), probedUs: second },
      rowOnly,
    )
    for (let count = 0; count < 3; count++) after(state, second + 1, { startedUs: second }, rowOnly)
    const nowUs = second + 1 + retryInUs(state, second + 1)
    after(state, nowUs, { verdict: 'success', leaseUs: claimProbe(state, nowUs, nowUs + 1), probedUs: nowUs }, rowOnly)
    after(state, nowUs + 1, { verdict: 'success', startedUs: second, probedUs: second }, rowOnly)
    for (let count = 0; count < 3; count++) after(state, nowUs + 2, {}, rowOnly)
    expect(retryInUs(state, nowUs + 2)).toBe(4 * second)
  })

  test('does not hear the end of a probe that was trusted before it opened again', () => {
    const state = opened()
    const leaseUs = claimProbe(state, second, second + 1)
    after(state, second, { verdict: 'success', leaseUs, probedUs: second }, rowOnly)
    for (let count = 0; count < 3; count++) after(state, second + 1, {}, rowOnly)
    after(state, second + 2, { verdict: 'success', startedUs: second, probedUs: second }, rowOnly)
    expect(phaseOf(state, second + 2)).toBe('open')
  })

  test('is not locked by a probe that is never heard of: its lease ends with its deadline', () => {
    const state = opened()
    const first = claimProbe(state, second, 3 * second)
    expect(phaseOf(state, 3 * second - 1)).toBe('open')
    expect(phaseOf(state, 3 * second)).toBe('half_open')
    const next = claimProbe(state, 3 * second, 5 * second)
    // The first one after all: it is not the probe any more and takes nothing from the one that is.
    after(state, 4 * second, { leaseUs: first, startedUs: second })
    expect(phaseOf(state, 4 * second)).toBe('open')
    expect(retryInUs(state, 4 * second)).toBe(second)
    after(state, 4 * second, { verdict: 'success', leaseUs: next, startedUs: 3 * second })
    expect(phaseOf(state, 4 * second)).toBe('closed')
  })

  test('lets the next one probe where the probe’s client left', () => {
    const state = opened()
    const leaseUs = claimProbe(state, second, 9 * second)
    after(state, second + 5, { verdict: 'none', leaseUs })
    expect(phaseOf(state, second + 5)).toBe('half_open')
  })

  test('is closed by whatever began after it opened and succeeds, by nothing that began before', () => {
    const state = opened(100)
    after(state, 200, { verdict: 'success', startedUs: 50 })
    expect(phaseOf(state, 200)).toBe('open')
    after(state, 300, { verdict: 'success', startedUs: 150 })
    expect(phaseOf(state, 300)).toBe('closed')
  })

  test('is not opened anew by what hung since before it closed', () => {
    const state = opened()
    const leaseUs = claimProbe(state, second, 2 * second)
    after(state, second + 10, { verdict: 'success', leaseUs, startedUs: second })
    for (let count = 0; count < 50; count++) after(state, 2 * second, { startedUs: 0 })
    expect(phaseOf(state, 2 * second)).toBe('closed')
  })

  test('is not kept open by failures of those who tried all the same', () => {
    const state = opened()
    for (let count = 0; count < 50; count++) after(state, second / 2, { startedUs: second / 2 })
    expect(phaseOf(state, second)).toBe('half_open')
  })
})

describe('a cooldown', () => {
  const cool = (state: BreakerState, nowUs: number, cooldownMs: number) =>
    after(state, nowUs, { verdict: 'none', cooldownMs })

  test('is kept to the microsecond and then over', () => {
    const state = cool(newBreakerState(), 0, 7_000)
    expect(phaseOf(state, 7 * second - 1)).toBe('open')
    expect(isCoolingDown(state, 7 * second - 1)).toBe(true)
    expect(phaseOf(state, 7 * second)).toBe('closed')
    expect(retryInUs(state, 7 * second)).toBe(0)
  })

  test('is never shortened by a later shorter one', () => {
    const state = cool(newBreakerState(), 0, 60_000)
    cool(state, second, 1_000)
    after(state, 2 * second, { verdict: 'success' })
    expect(retryInUs(state, 2 * second)).toBe(58 * second)
  })

  test('is lengthened by a later longer one', () => {
    const state = cool(newBreakerState(), 0, 2_000)
    cool(state, second, 5_000)
    expect(retryInUs(state, second)).toBe(5 * second)
  })

  test('of an open breaker: the longer of the two counts', () => {
    const longer = opened()
    cool(longer, 0, 3_000)
    expect([phaseOf(longer, second), phaseOf(longer, 3 * second)]).toEqual(['open', 'half_open'])
    const shorter = opened()
    cool(shorter, 0, 300)
    expect([retryInUs(shorter, 0), phaseOf(shorter, second)]).toEqual([second, 'half_open'])
  })

  test('comes with a failure and counts as one, too', () => {
    const state = newBreakerState()
    for (let count = 0; count < 3; count++) after(state, 0, { cooldownMs: 100 })
    expect(retryInUs(state, 0)).toBe(second)
  })

  test('of a day is asked about after five minutes', () => {
    const state = cool(newBreakerState(), 0, 86_400_000)
    expect(retryInUs(state, 0)).toBe(cooldownMsMax * 1000)
  })
})

test('the defaults are limits that can be reached', () => {
  const { failures, openMs, failureRatio, windowMs, requestsMin } = defaultBreaker
  expect(failures).toBeGreaterThan(0)
  expect(failureRatio).toBeGreaterThan(0)
  expect(failureRatio).toBeLessThanOrEqual(1)
  expect(requestsMin).toBeGreaterThan(failures)
  expect(openMs).toBeLessThan(windowMs)
})

// ------------------------------------------------------------------------------------------------------------ a model

/** The same rules, written down for reading: events in a list, nothing counted as it goes. */
class Model {
  events: { bucket: number; failed: boolean }[] = []
  row = 0
  openUntilUs: number | null = null
  doublings = 0
  changedUs = Number.NEGATIVE_INFINITY
  cooldownUs = 0
  probeUs = 0
  readonly at: BreakerTable

  constructor(at: BreakerTable) {
    this.at = at
  }

  phase(nowUs: number): string {
    if (nowUs < this.cooldownUs) return 'open'
    if (this.openUntilUs === null) return 'closed'
    return nowUs < Math.max(this.openUntilUs, this.probeUs) ? 'open' : 'half_open'
  }

  take(nowUs: number, { verdict, startedUs, leaseUs, cooldownMs }: Required<Omit<Tried, 'probedUs'>>): void {
    if (cooldownMs > 0) this.cooldownUs = Math.max(this.cooldownUs, nowUs + Math.min(cooldownMs, 300_000) * 1000)
    const isProbe = leaseUs !== 0 && leaseUs === this.probeUs
    if (isProbe) this.probeUs = 0
    if (verdict === 'none' || (startedUs < this.changedUs && !isProbe)) return
    if (this.openUntilUs !== null) {
      if (verdict === 'success') this.#close(nowUs)
      else if (isProbe) this.#open(nowUs, Math.min(4, this.doublings + 1))
      return
    }
    const bucket = Math.floor(nowUs / ((this.at.windowMs * 1000) / 8))
    this.events = [...this.events.filter((one) => one.bucket > bucket - 8), { bucket, failed: verdict === 'failure' }]
    this.row = verdict === 'failure' ? this.row + 1 : 0
    const failed = this.events.filter((one) => one.failed).length
    const isShare = this.events.length >= this.at.requestsMin && failed >= this.at.failureRatio * this.events.length
    if (verdict === 'failure' && (this.row >= this.at.failures || isShare)) this.#open(nowUs, 0)
  }

  #open(nowUs: number, doublings: number): void {
    this.openUntilUs = nowUs + this.at.openMs * 1000 * 2 ** doublings
    this.doublings = doublings
    this.changedUs = nowUs
    this.probeUs = 0
  }

  #close(nowUs: number): void {
    this.openUntilUs = null
    this.changedUs = nowUs
    this.probeUs = 0
    this.row = 0
    this.events = []
  }
}

const tables = fc.record({
  failures: fc.integer({ min: 1, max: 6 }),
  openMs: fc.integer({ min: 1, max: 3_000 }),
  failureRatio: fc.constantFrom(0.1, 0.5, 1),
  windowMs: fc.constantFrom(8, 1_000, 30_000),
  requestsMin: fc.integer({ min: 1, max: 12 }),
})
const steps = fc.array(
  fc.record({
    waitUs: fc.oneof(fc.constant(0), fc.nat(2_000), fc.nat(3_000_000)),
    verdict: fc.constantFrom<Verdict>('success', 'failure', 'failure', 'none'),
    agoUs: fc.oneof(fc.constant(0), fc.nat(2_000_000)),
    cooldownMs: fc.oneof(fc.constant(0), fc.constant(0), fc.nat(4_000)),
    /** Probes where it may, and answers as this step says; or never does. */
    probes: fc.constantFrom('answers', 'never', 'no'),
  }),
  { maxLength: 120 },
)

describe('whatever happens', () => {
  test('it does what the rules say', () => {
    fc.assert(
      fc.property(tables, steps, (at, sequence) => {
        const state = newBreakerState()
        const model = new Model(at)
        let nowUs = 0
        for (const { waitUs, verdict, agoUs, cooldownMs, probes } of sequence) {
          nowUs += waitUs
          let leaseUs = 0
          if (phaseOf(state, nowUs) === 'half_open' && probes !== 'no') {
            leaseUs = claimProbe(state, nowUs, nowUs + 1_000_000)
            model.probeUs = leaseUs
            if (probes === 'never') continue
          }
          const event = { verdict, startedUs: nowUs - agoUs, leaseUs, cooldownMs }
          advance(state, event, nowUs, at)
          model.take(nowUs, event)
          expect(phaseOf(state, nowUs)).toBe(model.phase(nowUs))
        }
      }),
      { numRuns: 500 },
    )
  })

  test('at most one probe runs at any instant, and an open one is asked again in bounded time', () => {
    fc.assert(
      fc.property(tables, steps, (at, sequence) => {
        const state = newBreakerState()
        let nowUs = 0
        let probeEndsUs = 0
        for (const { waitUs, verdict, cooldownMs, probes } of sequence) {
          nowUs += waitUs
          if (phaseOf(state, nowUs) === 'half_open') {
            expect(nowUs).toBeGreaterThanOrEqual(probeEndsUs)
            const leaseUs = claimProbe(state, nowUs, nowUs + 500_000)
            probeEndsUs = probes === 'never' ? leaseUs : 0
            if (probes !== 'never') advance(state, { verdict, startedUs: nowUs, leaseUs, cooldownMs: 0 }, nowUs, at)
          } else advance(state, { verdict, startedUs: nowUs, leaseUs: 0, cooldownMs }, nowUs, at)
          const longestUs = Math.max(at.openMs * 16_000, cooldownMsMax * 1000, 500_000)
          expect(retryInUs(state, nowUs)).toBeLessThanOrEqual(longestUs)
          expect(phaseOf(state, nowUs + retryInUs(state, nowUs))).not.toBe('open')
        }
      }),
      { numRuns: 300 },
    )
  })

  test('a cooldown that was asked for is never cut short', () => {
    fc.assert(
      fc.property(tables, steps, (at, sequence) => {
        const state = newBreakerState()
        let nowUs = 0
        let notBeforeUs = 0
        for (const { waitUs, verdict, agoUs, cooldownMs } of sequence) {
          nowUs += waitUs
          advance(state, { verdict, startedUs: nowUs - agoUs, leaseUs: 0, cooldownMs }, nowUs, at)
          if (cooldownMs > 0) notBeforeUs = Math.max(notBeforeUs, nowUs + cooldownMs * 1000)
          if (nowUs < notBeforeUs) expect(phaseOf(state, nowUs)).toBe('open')
        }
      }),
      { numRuns: 300 },
    )
  })
})
