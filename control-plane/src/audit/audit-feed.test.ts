import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import type { AuditEntry } from './audit-entry.js'
import { AuditFeed } from './audit-feed.js'
import { Subscriber } from './subscriber.js'

const quiet: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => quiet }

/** A trail in memory; `visible` entries are the committed ones. */
function makeFeed(clock: VirtualClock) {
  const visible: AuditEntry[] = []
  let lookCount = 0
  let broken = false
  const feed = new AuditFeed({
    reader: {
      since: async (since, afterId, countMax) => {
        lookCount += 1
        if (broken) throw new Error('away')
        return visible
          .filter((entry) => entry.createdAt >= since && (afterId === null || entry.id > afterId))
          .sort((a, b) => (a.id < b.id ? -1 : 1))
          .slice(0, countMax)
      },
    },
    clock,
    log: quiet,
    pollMs: 500,
  })
  const append = (id: string, tenantId = 't', atMs = clock.nowMs()) =>
    visible.push({
      ...{ id, tenantId, actor: 'a', actorKind: 'token', action: 'x.y', subjectKind: 'x', subjectId: '1' },
      ...{ before: null, after: null, requestId: 'r', createdAt: new Date(atMs) },
    })
  return { feed, append, looks: () => lookCount, breakIt: (is: boolean) => (broken = is) }
}

describe('the audit feed', () => {
  test('tells each subscriber what concerns it, once, and polls only while somebody listens', async () => {
    const clock = new VirtualClock()
    const { feed, append, looks } = makeFeed(clock)
    append('a0')
    await clock.advance(5_000)
    expect(looks()).toBe(0)
    const mine = feed.subscribe((entry) => entry.tenantId === 't')
    append('a1')
    append('b1', 'other')
    await clock.advance(500)
    append('a2')
    await clock.advance(2_000)
    expect([(await mine.next()).value.id, (await mine.next()).value.id]).toEqual(['a1', 'a2'])
    await mine.return?.()
    await clock.advance(500)
    const after = looks()
    await clock.advance(10_000)
    expect(looks()).toBe(after)
  })

  test('tells an entry that became visible late', async () => {
    const clock = new VirtualClock()
    const { feed, append } = makeFeed(clock)
    const all = feed.subscribe(() => true)
    const beganMs = clock.nowMs()
    await clock.advance(1_000)
    append('b')
    await clock.advance(1_000)
    append('a', 't', beganMs)
    await clock.advance(1_000)
    expect([(await all.next()).value.id, (await all.next()).value.id]).toEqual(['b', 'a'])
    await feed.stop()
  })

  test('tells everything of a burst, also when it is of one instant', async () => {
    const clock = new VirtualClock()
    const { feed, append } = makeFeed(clock)
    const told: string[] = []
    const last = feed.subscribe((entry) => {
      told.push(entry.id)
      return entry.id === 'b4500'
    })
    for (let index = 1; index <= 4_500; index++) append(`b${String(index).padStart(4, '0')}`)
    await clock.advance(500)
    expect((await last.next()).value.id).toBe('b4500')
    append('c')
    await clock.advance(5_000)
    expect([told.length, new Set(told).size, told.at(-1)]).toEqual([4_501, 4_501, 'c'])
    await feed.stop()
  })

  test('goes on after a fault of the reader, and ends its subscribers when it stops', async () => {
    const clock = new VirtualClock()
    const { feed, append, breakIt } = makeFeed(clock)
    const all = feed.subscribe(() => true)
    breakIt(true)
    append('a')
    await clock.advance(1_000)
    breakIt(false)
    await clock.advance(1_000)
    expect((await all.next()).value.id).toBe('a')
    const waiting = all.next()
    await feed.stop()
    expect(await waiting).toEqual({ done: true, value: undefined })
    expect(await feed.subscribe(() => true).next()).toEqual({ done: true, value: undefined })
  })
})

describe('a subscriber', () => {
  test('that reads too slowly is told so and ended', async () => {
    let ended = 0
    const slow = new Subscriber<number>(2, () => {
      ended += 1
    })
    for (const item of [1, 2, 3, 4]) slow.push(item)
    expect(ended).toBe(1)
    expect([(await slow.next()).value, (await slow.next()).value]).toEqual([1, 2])
    await expect(slow.next()).rejects.toThrow('too slowly')
    expect(await slow.next()).toEqual({ done: true, value: undefined })
  })
})
