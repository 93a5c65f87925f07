import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Clock, systemClock, VirtualClock } from './clock.js'

describe.each([
  ['the system clock', () => systemClock],
  ['a virtual clock', () => new VirtualClock()],
] as const)('%s', (_, make) => {
  const pass = (clock: Clock, ms: number) => (clock instanceof VirtualClock ? clock.advance(ms) : clock.sleep(ms))

  it('fires a timer once and not before its time, and never one that was cancelled', async () => {
    const clock = make()
    const startedUs = clock.monotonicUs()
    const fired: string[] = []
    const cancel = clock.after(5, () => fired.push('kept'))
    clock.after(5, () => fired.push('cancelled'))()
    await pass(clock, 40)
    await pass(clock, 40)
    cancel()
    cancel()
    expect(fired).toEqual(['kept'])
    // Timers of Node fire up to a millisecond early on this scale.
    expect(clock.monotonicUs() - startedUs).toBeGreaterThanOrEqual(78_000)
  })

  it('ends a sleep at once when its signal aborts, with the reason', async () => {
    const clock = make()
    const leaving = new AbortController()
    const asleep = clock.sleep(3_600_000, leaving.signal)
    leaving.abort('enough')
    await expect(asleep).rejects.toBe('enough')
    await expect(clock.sleep(0, AbortSignal.abort('never'))).rejects.toBe('never')
  })

  it('sleeps to the end when nobody aborts', async () => {
    const clock = make()
    const asleep = clock.sleep(5, new AbortController().signal)
    await pass(clock, 5)
    await expect(asleep).resolves.toBeUndefined()
  })
})

describe('a virtual clock', () => {
  it('stands still until it is told', async () => {
    const clock = new VirtualClock(1_000)
    expect([clock.nowMs(), clock.monotonicUs()]).toEqual([1_000, 0])
    await clock.advance(250)
    expect([clock.nowMs(), clock.monotonicUs()]).toEqual([1_250, 250_000])
  })

  it('fires in order of the instant, then of creation, each at its own instant', async () => {
    const delays = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(delays, fc.integer({ min: 0, max: 25 }), async (delaysMs, advanceMs) => {
        const clock = new VirtualClock(0)
        const fired: [number, number][] = []
        for (const [order, ms] of delaysMs.entries()) clock.after(ms, () => fired.push([clock.nowMs(), order]))
        await clock.advance(advanceMs)
        const expected = delaysMs
          .map((ms, order): [number, number] => [ms, order])
          .filter(([ms]) => ms <= advanceMs)
          .sort(([a, first], [b, second]) => a - b || first - second)
        expect(fired).toEqual(expected)
        expect(clock.nowMs()).toBe(advanceMs)
      }),
      { seed: 1, numRuns: 50 },
    )
  })

  it('lets what a timer began settle, and fires what that sets, before time moves on', async () => {
    const clock = new VirtualClock(0)
    const seen: string[] = []
    const loop = async () => {
      for (let round = 0; round < 3; round++) {
        await clock.sleep(10)
        seen.push(`round ${round} at ${clock.nowMs()}`)
      }
    }
    const over = loop()
    clock.after(25, () => seen.push(`in between at ${clock.nowMs()}`))
    await clock.advance(30)
    await over
    expect(seen).toEqual(['round 0 at 10', 'round 1 at 20', 'in between at 25', 'round 2 at 30'])
  })
})
