import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { VirtualClock } from './clock.js'
import { Deadlines, type Due } from './deadlines.js'

class Waiting implements Due {
  dueUs = 0
  dueSlot = -1
  constructor(readonly onDue: () => void) {}
}

describe('deadlines', () => {
  test('are told once, at their instant, in whatever order they were set', async () => {
    const clock = new VirtualClock()
    const deadlines = new Deadlines(clock)
    const told: string[] = []
    const at = (name: string, ms: number) => {
      const one = new Waiting(() => told.push(`${name} at ${clock.monotonicUs() / 1000}`))
      deadlines.set(one, ms * 1000)
      return one
    }
    at('late', 300)
    at('soon', 100)
    const lifted = at('lifted', 50)
    deadlines.lift(lifted)
    deadlines.lift(lifted)
    const moved = at('moved', 70)
    deadlines.set(moved, 200_000)
    await clock.advance(1_000)
    expect(told).toEqual(['soon at 100', 'moved at 200', 'late at 300'])
    expect(deadlines.size).toBe(0)
  })

  test('may be set and lifted by one that is told', async () => {
    const clock = new VirtualClock()
    const deadlines = new Deadlines(clock)
    const told: string[] = []
    const other = new Waiting(() => told.push('other'))
    const again: Waiting = new Waiting(() => {
      told.push('again')
      if (told.length === 1) {
        deadlines.set(again, 20_000)
        deadlines.lift(other)
      }
    })
    deadlines.set(again, 10_000)
    deadlines.set(other, 15_000)
    await clock.advance(100)
    expect(told).toEqual(['again', 'again'])
  })

  test('are not told once another one that was told at the same instant lifted or moved them', async () => {
    const clock = new VirtualClock()
    const deadlines = new Deadlines(clock)
    const told: string[] = []
    const lifted = new Waiting(() => told.push('lifted'))
    const moved = new Waiting(() => told.push(`moved at ${clock.monotonicUs() / 1000}`))
    const first = new Waiting(() => {
      told.push('first')
      deadlines.lift(lifted)
      deadlines.set(moved, 50_000)
    })
    for (const one of [first, lifted, moved]) deadlines.set(one, 10_000)
    await clock.advance(100)
    expect(told).toEqual(['first', 'moved at 50'])
  })

  test('are told to the others where one throws', async () => {
    const clock = new VirtualClock()
    const deadlines = new Deadlines(clock)
    const told: string[] = []
    const faulty = new Waiting(() => {
      throw new Error('a fault of who waits')
    })
    deadlines.set(faulty, 10_000)
    deadlines.set(new Waiting(() => told.push('other')), 10_000)
    await expect(clock.advance(11)).rejects.toThrow('a fault of who waits')
    await clock.advance(100)
    expect(told).toEqual(['other'])
  })

  test('come together rather than one by one: none early, none later than the spacing', async () => {
    const clock = new VirtualClock()
    const deadlines = new Deadlines(clock)
    const toldAtMs: number[] = []
    for (let ms = 10; ms < 30; ms++) {
      deadlines.set(new Waiting(() => toldAtMs.push(clock.monotonicUs() / 1000 - ms)), ms * 1000)
    }
    await clock.advance(100)
    expect(toldAtMs).toHaveLength(20)
    for (const lateMs of toldAtMs) expect(lateMs >= 0 && lateMs <= 5).toBe(true)
  })

  test('behave like a timer each, but for the spacing', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            of: fc.nat(5),
            ms: fc.option(fc.integer({ min: 20, max: 50 })),
            waitMs: fc.constantFrom(0, 1, 15, 60),
          }),
          { maxLength: 40 },
        ),
        async (steps) => {
          const clock = new VirtualClock()
          const deadlines = new Deadlines(clock)
          const told: string[] = []
          const expected: string[] = []
          const all = Array.from({ length: 6 }, (_, i) => new Waiting(() => told.push(`${i}`)))
          const cancels = all.map(() => () => {})
          for (const { of, ms, waitMs } of steps) {
            cancels[of]?.()
            if (ms === null) deadlines.lift(all[of] as Waiting)
            else {
              deadlines.set(all[of] as Waiting, clock.monotonicUs() + ms * 1000)
              cancels[of] = clock.after(ms, () => expected.push(`${of}`))
            }
            await clock.advance(waitMs)
          }
          await clock.advance(100)
          expect([...told].sort()).toEqual([...expected].sort())
        },
      ),
      { numRuns: 100 },
    )
  })
})
