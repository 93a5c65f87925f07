import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../../proto/std/clock.js'
import { AnswerCache } from './answer-cache.js'
import { answerOf, CacheWorld, chat, limits, policyOf, questionOf, target, told } from './cache-fixture.js'
import type { KeptAnswer } from './kept-answer.js'
import { clockSkewMs } from './purges.js'
import { decodeAnswer, encodeAnswer, SharedAnswers, type SharedStore, sharedDeadlineMs } from './shared-answers.js'

class PlantedStore implements SharedStore {
  valueBytesMax = Number.POSITIVE_INFINITY
  readonly stored = new Map<string, { bytes: Buffer; seconds: number; bornAtMs: number }>()
  isAway = false
  /** Answers only when told. */
  isSlow = false
  readonly waiting: (() => void)[] = []
  putCount = 0

  async get(name: string, bytesMax: number): Promise<Buffer | null> {
    if (this.isAway) throw new Error('away')
    if (this.isSlow) await new Promise<void>((resolve) => this.waiting.push(resolve))
    const bytes = this.stored.get(name)?.bytes ?? null
    return bytes !== null && bytes.length > bytesMax ? null : bytes
  }

  async put(name: string, bytes: Buffer, options: { seconds: number; bornAtMs: number }): Promise<void> {
    if (this.isAway) throw new Error('away')
    this.putCount += 1
    if (this.isSlow) await new Promise<void>((resolve) => this.waiting.push(resolve))
    this.stored.set(name, { bytes, ...options })
  }
}

const secret = Buffer.alloc(32, 1)
const policy = policyOf({ shared: true })

/** Several agents, one store. */
class Fleet {
  readonly clock = new VirtualClock()
  readonly store = new PlantedStore()

  agent(key: Uint8Array = secret, answerBytesMax = limits.answerBytesMax) {
    const shared = new SharedAnswers({ store: this.store, secret: key, clock: this.clock, bytesMax: answerBytesMax })
    const cache = new AnswerCache({
      clock: this.clock,
      shared,
      embedder: null,
      limits: { ...limits, bytesMax: 1 << 28, answerBytesMax },
    })
    const consult = (asked = {}) => {
      const turn = cache.consult(questionOf({ policy, ...asked }, this.clock))
      if (turn === null || 'refused' in turn) throw new Error('not cached')
      return turn
    }
    const make = (said: string, asked = {}) => {
      const turn = consult(asked)
      turn.keepWhole(target(), answerOf(said), told)
      turn.leave(false)
    }
    return { shared, cache, consult, make }
  }
}

describe('an answer that one agent made', () => {
  test('is given by another, with its age, and then from its own memory', async () => {
    const fleet = new Fleet()
    const [one, two] = [fleet.agent(), fleet.agent()]
    one.make('Paris.')
    await fleet.clock.advance(7_000)
    const turn = two.consult()
    expect(await turn.look()).toMatchObject({
      kind: 'exact',
      ageSeconds: 7,
      kept: { usage: told.usage, modelId: 'mdl_a' },
    })
    turn.leave(false)
    expect(two.consult().look()).toMatchObject({ kind: 'exact', ageSeconds: 7 })
    expect([...fleet.store.stored.values()][0]?.seconds).toBe(86_400)
  })

  test('not where the policy keeps it to the agent', async () => {
    const fleet = new Fleet()
    fleet.agent().make('Paris.', { policy: policyOf() })
    expect(fleet.store.stored.size).toBe(0)
    fleet.agent().make('Paris.')
    expect(fleet.agent().consult({ policy: policyOf() }).look()).toBeNull()
  })

  test('says nothing to who reads the store: neither names nor texts', () => {
    const fleet = new Fleet()
    fleet.agent().make('A secret answer', { body: chat('A secret question'), tenantId: 'ten_secret' })
    const all = [...fleet.store.stored].map(([name, { bytes }]) => name + bytes.toString('latin1')).join()
    for (const name of fleet.store.stored.keys()) expect(name).toMatch(/^[A-Za-z0-9_-]{43}$/)
    for (const word of ['secret', 'ten_', 'env_', 'rte_', 'Paris', 'content']) expect(all).not.toContain(word)
  })

  test('does not open under another name, nor with another secret, nor when it was touched', async () => {
    const fleet = new Fleet()
    const one = fleet.agent()
    one.make('mine')
    one.make('yours', { tenantId: 'ten_2' })
    type Stored = [string, { bytes: Buffer; seconds: number; bornAtMs: number }]
    const [[mine, first], [yours, second]] = [...fleet.store.stored] as [Stored, Stored]
    fleet.store.stored.set(mine, second).set(yours, first)
    const thief = fleet.agent()
    for (const tenantId of ['ten_1', 'ten_2']) expect(await thief.consult({ tenantId }).look()).toBeNull()
    expect(thief.shared.unreadableCount).toBe(2)
    fleet.store.stored.set(mine, first)
    expect(await fleet.agent(Buffer.alloc(32, 2)).consult().look()).toBeNull()
    first.bytes[20] = (first.bytes[20] ?? 0) ^ 1
    expect(await fleet.agent().consult().look()).toBeNull()
  })

  test('is not given once it was purged; the clocks of agents may differ by a little', async () => {
    const fleet = new Fleet()
    await fleet.clock.advance(60_000)
    fleet.agent().make('old')
    const nowMs = fleet.clock.nowMs()
    const all = { id: 'p', ...{ routeId: null, promptId: null, promptVersion: null, tag: null, documentId: null } }
    const purged = (atMs: number) =>
      fleet
        .agent()
        .consult({ purges: [{ ...all, atMs }] })
        .look()
    expect(await purged(nowMs)).toBeNull()
    expect(await purged(nowMs - clockSkewMs)).toBeNull()
    expect(await purged(nowMs - clockSkewMs - 1)).toMatchObject({ kind: 'exact' })
  })

  test('is a last resort for all of them', async () => {
    const fleet = new Fleet()
    fleet.agent().make('Sun.', { body: chat('Weather now?'), lastResortSeconds: 86_400 })
    await fleet.clock.advance(7_200_000)
    const turn = fleet.agent().consult({ body: chat('Weather now?'), lastResortSeconds: 86_400 })
    expect(await turn.look()).toBeNull()
    expect(await turn.find({ ageMaxSeconds: 86_400, conversation: null })).toMatchObject({ ageSeconds: 7_200 })
  })
})

describe('a store in trouble', () => {
  test('that takes longer than its deadline counts as a miss', async () => {
    const fleet = new Fleet()
    fleet.agent().make('Paris.')
    fleet.store.isSlow = true
    const agent = fleet.agent()
    let hit: unknown = 'waiting'
    const look = Promise.resolve(agent.consult().look()).then((found) => {
      hit = found
    })
    await fleet.clock.advance(sharedDeadlineMs - 1)
    expect(hit).toBe('waiting')
    await fleet.clock.advance(1)
    await look
    expect(hit).toBeNull()
    expect(agent.shared.lateCount).toBe(1)
    for (const answer of fleet.store.waiting) answer()
  })

  test('that is away is a miss, and takes nothing', async () => {
    const fleet = new Fleet()
    const agent = fleet.agent()
    fleet.store.isAway = true
    agent.make('Paris.')
    expect(agent.consult().look()).toMatchObject({ kind: 'exact' })
    expect(await fleet.agent().consult().look()).toBeNull()
    await new Promise((resolve) => setImmediate(resolve))
    expect(agent.shared.failedCount).toBe(1)
  })

  test('holds up no more than so many calls', async () => {
    const fleet = new Fleet()
    fleet.store.isSlow = true
    const agent = fleet.agent()
    const looks = Array.from({ length: 300 }, (_, index) => agent.consult({ body: chat(`q${index}`) }).look())
    expect(agent.shared.skippedCount).toBe(44)
    await fleet.clock.advance(sharedDeadlineMs)
    expect(new Set(await Promise.all(looks))).toEqual(new Set([null]))
    // Those that never came back still count until they do.
    for (const answer of fleet.store.waiting) answer()
    await new Promise((resolve) => setImmediate(resolve))
    fleet.store.isSlow = false
    agent.consult({ body: chat('one more') }).look()
    expect(agent.shared.skippedCount).toBe(44)
  })
})

describe('what is on its way to a store that takes it slowly', () => {
  const said = 'x'.repeat(900_000)
  const ask = (index: number) => ({ body: chat(`q${index}`) })

  test('is bounded in bytes, and looks are not held up by it', async () => {
    const fleet = new Fleet()
    const agent = fleet.agent(secret, 1 << 20)
    fleet.store.isSlow = true
    for (let index = 0; index < 100; index++) agent.make(said, ask(index))
    expect(fleet.store.putCount).toBeGreaterThan(10)
    expect(agent.shared.putBytes).toBeLessThanOrEqual(16 * 1024 * 1024)
    expect(agent.shared.skippedCount).toBe(100 - fleet.store.putCount)
    fleet.store.isSlow = false
    fleet.agent(secret, 1 << 20).make('Paris.', ask(1_000))
    await new Promise((resolve) => setImmediate(resolve))
    expect(await agent.consult(ask(1_000)).look()).toMatchObject({ kind: 'exact' })
    for (const answer of fleet.store.waiting) answer()
    await new Promise((resolve) => setImmediate(resolve))
    expect(agent.shared.putBytes).toBe(0)
  })

  test('is bounded in number; looks have a bound of their own', () => {
    const fleet = new Fleet()
    const agent = fleet.agent()
    fleet.store.isSlow = true
    for (let index = 0; index < 300; index++) agent.make('Paris.', ask(index))
    expect([fleet.store.putCount, agent.shared.skippedCount]).toEqual([64, 236])
    agent.consult(ask(1_000)).look()
    expect(agent.shared.skippedCount).toBe(236)
  })

  test('one larger than all of that goes alone', () => {
    const fleet = new Fleet()
    const agent = fleet.agent(secret, 1 << 25)
    fleet.store.isSlow = true
    for (let index = 0; index < 2; index++) agent.make('x'.repeat(20_000_000), ask(index))
    expect(fleet.store.putCount).toBe(1)
  })
})

test('an answer that is longer than its store takes is not given to it', () => {
  const fleet = new Fleet()
  const agent = fleet.agent(secret, 1 << 25)
  fleet.store.valueBytesMax = 1 << 20
  agent.make('x'.repeat(1 << 20))
  expect([fleet.store.stored.size, agent.shared.skippedCount]).toEqual([0, 1])
  agent.make('x'.repeat(900_000), { body: chat('shorter') })
  expect(fleet.store.stored.size).toBe(1)
})

test('an answer that is longer than any of ours is none', async () => {
  const fleet = new Fleet()
  fleet.agent().make('Paris.')
  const [name] = [...fleet.store.stored.keys()]
  fleet.store.stored.set(name ?? '', { bytes: Buffer.alloc(1 << 20), seconds: 9, bornAtMs: 0 })
  expect(await fleet.agent().consult().look()).toBeNull()
})

test('the store is told when an answer was born, so that an older one never takes its place', async () => {
  const fleet = new Fleet()
  const slow = fleet.agent().consult()
  const bornAtMs = fleet.clock.nowMs()
  await fleet.clock.advance(5_000)
  slow.keepWhole(target(), answerOf('old'), told)
  expect([...fleet.store.stored.values()]).toMatchObject([{ bornAtMs }])
})

describe('an answer outside the process', () => {
  const kept: KeptAnswer = {
    ...{ stream: true, bytes: Buffer.from('data: é\n\n'), tailAt: 3, usage: told.usage, model: 'm', modelId: 'mdl' },
    ...{ dropped: 'seed', capped: 'max_tokens', bornAtMs: 12, classes: ['factual'], keptSeconds: 9, question: 'Why?' },
    origin: {
      ...{ tenantId: 't', environmentId: 'e', routeId: 'r', promptId: null, promptVersion: null },
      ...{ tags: ['a'], documents: ['d'] },
    },
  }

  test('comes back as it was', () => expect(decodeAnswer(encodeAnswer(kept))).toEqual(kept))

  test('has bytes of its own, and holds on to nothing else', () => {
    const encoded = encodeAnswer(kept)
    const bytes = decodeAnswer(encoded)?.bytes
    encoded.fill(0)
    expect([bytes?.toString(), bytes?.buffer.byteLength]).toEqual(['data: é\n\n', kept.bytes.length])
  })

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a length beyond it', Buffer.from([255, 0, 0, 0, 1])],
    ['no JSON', Buffer.from([1, 0, 0, 0, 65])],
    ['another form', Buffer.concat([Buffer.from([2, 0, 0, 0]), Buffer.from('{}')])],
    ['a tail beyond its bytes', encodeAnswer({ ...kept, tailAt: 99 })],
    ['a tail before its bytes', encodeAnswer({ ...kept, tailAt: -1 })],
    ['no origin', encodeAnswer({ ...kept, origin: null as never })],
  ])('%s is none', (_name, bytes) => expect(decodeAnswer(bytes)).toBeNull())
})

test('an agent without a store never waits', () => {
  expect(new CacheWorld().consult({ policy })?.look()).toBeNull()
})
