import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CreditPool, CreditWindow } from './credit.js'

const mib = 1 << 20

describe('credit', () => {
  it('starts small and grows with use', () => {
    const window = new CreditWindow(new CreditPool(64 * mib), 8 * mib)
    const grants: number[] = []
    for (let i = 0; i < 12; i++) {
      const granted = window.topUp()
      grants.push(granted)
      expect(window.topUp()).toBe(0)
      expect(window.use(granted)).toBe(true)
      window.release(granted)
    }
    expect(grants[0]).toBe(64 << 10)
    expect(grants.at(-1)).toBe(8 * mib)
  })

  it('has no room for a batch without credit', () => {
    const window = new CreditWindow(new CreditPool(64 * mib), 8 * mib)
    expect(window.use(1)).toBe(false)
    window.topUp()
    // One record may go beyond; then nothing more.
    expect(window.use((64 << 10) + 5_000)).toBe(true)
    expect(window.use(1)).toBe(false)
  })

  it('keeps something for a newcomer while everybody else is stuck', () => {
    const pool = new CreditPool(4 * mib)
    const stuck = Array.from({ length: 20 }, () => new CreditWindow(pool, 8 * mib))
    for (let round = 0; round < 10; round++) for (const window of stuck) window.use(window.topUp())
    const newcomer = new CreditWindow(pool, 8 * mib)
    expect(newcomer.topUp()).toBeGreaterThan(0)
    expect(pool.heldBytes).toBeLessThanOrEqual(pool.totalBytes)
  })

  it('never lends more than the pool, and gets everything back', () => {
    const action = fc.record({
      window: fc.nat(5),
      kind: fc.constantFrom('topUp', 'use', 'release', 'reopen'),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
        const pool = new CreditPool(mib)
        const make = () => ({ window: new CreditWindow(pool, mib), unused: 0, underWay: [] as number[] })
        const streams = Array.from({ length: 6 }, make)
        const over: { window: CreditWindow; underWay: number[] }[] = []
        for (const { window: index, kind, part } of actions) {
          const stream = streams[index] as ReturnType<typeof make>
          if (kind === 'topUp') stream.unused += stream.window.topUp()
          else if (kind === 'use' && stream.unused > 0) {
            const bytes = Math.ceil(stream.unused * part)
            expect(stream.window.use(bytes)).toBe(true)
            stream.unused -= bytes
            stream.underWay.push(bytes)
          } else if (kind === 'release') {
            const bytes = stream.underWay.shift()
            if (bytes !== undefined) stream.window.release(bytes)
          } else if (kind === 'reopen') {
            stream.window.close()
            over.push(stream)
            streams[index] = make()
          }
          expect(pool.heldBytes).toBeLessThanOrEqual(pool.totalBytes)
        }
        for (const { window, underWay } of [...over, ...streams]) {
          window.close()
          for (const bytes of underWay) window.release(bytes)
        }
        expect(pool.heldBytes).toBe(0)
      }),
    )
  })
})
