import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Watch } from './watch.js'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Reads until the end; what was seen is visible while it goes on. */
function follow<T>(watch: Watch<T>, signal?: AbortSignal, each: () => Promise<void> = async () => {}) {
  const seen: T[] = []
  const over = (async () => {
    for await (const value of watch.changes(signal)) {
      seen.push(value)
      await each()
    }
  })()
  return { seen, over }
}

describe('a watch', () => {
  it('shows every reader the value now and then each change, also one that is set to the same', async () => {
    const watch = new Watch('a')
    const readers = [follow(watch), follow(watch)]
    await turn()
    for (const value of ['b', 'b', 'c']) {
      watch.set(value)
      await turn()
    }
    watch.close()
    await Promise.all(readers.map(({ over }) => over))
    for (const { seen } of readers) expect(seen).toEqual(['a', 'b', 'b', 'c'])
    expect(watch.version).toBe(3)
  })

  it('lets a slow reader skip to the newest, in order, however writes and turns fall', async () => {
    const steps = fc.array(fc.oneof(fc.constant('set' as const), fc.constant('turn' as const)), { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(steps, fc.nat({ max: 3 }), async (plan, slowness) => {
        const watch = new Watch(0)
        const { seen, over } = follow(watch, undefined, async () => {
          for (let n = 0; n < slowness; n++) await turn()
        })
        let written = 0
        for (const step of plan) {
          if (step === 'set') watch.set(++written)
          else await turn()
        }
        watch.close()
        await over
        expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b))
        expect(seen.at(-1)).toBe(written)
      }),
      { seed: 1, numRuns: 50 },
    )
  })

  it('ends its loops when it is closed or their signal aborts, and takes nothing after that', async () => {
    const watch = new Watch(1)
    const leaving = new AbortController()
    const [left, stayed] = [follow(watch, leaving.signal), follow(watch)]
    await turn()
    leaving.abort()
    await left.over
    watch.set(2)
    await turn()
    watch.close()
    watch.set(3)
    await stayed.over
    expect([left.seen, stayed.seen]).toEqual([[1], [1, 2]])
    expect([watch.value, watch.version, watch.closed]).toEqual([2, 1, true])
    const late = follow(watch)
    await late.over
    expect(late.seen).toEqual([2])
  })

  it('waits until something holds: at once, later, or never', async () => {
    const watch = new Watch(1)
    expect(await watch.until((value) => value === 1)).toBe(1)
    const later = watch.until((value) => value > 2)
    for (const value of [2, 3]) watch.set(value)
    expect(await later).toBe(3)
    const leaving = new AbortController()
    const left = watch.until((value) => value > 9, leaving.signal)
    leaving.abort('enough')
    await expect(left).rejects.toBe('enough')
    const never = watch.until((value) => value > 9)
    watch.close()
    await expect(never).rejects.toThrow('watch closed')
  })

  it('forgets a reader that left', async () => {
    const watch = new Watch(0)
    const signal = new AbortController().signal
    let listening = 0
    const counted = Object.create(signal, {
      aborted: { get: () => false },
      addEventListener: { value: () => (listening += 1) },
      removeEventListener: { value: () => (listening -= 1) },
    }) as AbortSignal
    const { over } = follow(watch, counted)
    for (let n = 1; n <= 5; n++) {
      await turn()
      watch.set(n)
    }
    watch.close()
    await over
    expect(listening).toBe(0)
  })
})
