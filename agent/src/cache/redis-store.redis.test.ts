import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock, VirtualClock } from '../../../proto/std/clock.js'
import { type TestRedis, testRedis } from '../../../test/harness/redis.js'
import { KeptLog } from '../config/config-fixture.js'
import { AnswerCache } from './answer-cache.js'
import { answerOf, limits, policyOf, questionOf, target, told } from './cache-fixture.js'
import { RedisStore } from './redis-store.js'
import { SharedAnswers } from './shared-answers.js'

let redis: TestRedis
const log = new KeptLog()
let store: RedisStore

beforeAll(async () => {
  redis = await testRedis()
  store = new RedisStore({ url: redis.url, log })
  await store.run()
  await untilReady()
})
afterAll(async () => {
  await store?.stop()
  await redis?.stop()
})

/** A state, not a time: it answers. */
async function untilReady(): Promise<void> {
  for (;;) {
    try {
      await store.get('x')
      return
    } catch {
      await systemClock.sleep(10)
    }
  }
}

test('what was put is got, with a time to live, and nothing else is', async () => {
  const bytes = Buffer.from([0, 255, 10, 13])
  await store.put('a', bytes, 60)
  expect(await store.get('a')).toEqual(bytes)
  expect(await store.get('b')).toBeNull()
  await store.put('short', bytes, 0.4)
  expect(await store.get('short')).toEqual(bytes)
})

test('two agents share through it', async () => {
  const clock = new VirtualClock()
  const policy = policyOf({ shared: true })
  const agent = () => {
    const shared = new SharedAnswers({ store, secret: Buffer.alloc(32, 7), clock, bytesMax: 64 * 1024 })
    const turn = new AnswerCache({ clock, shared, embedder: null, limits }).consult(questionOf({ policy }, clock))
    if (turn === null || 'refused' in turn) throw new Error('not cached')
    return turn
  }
  agent().keepWhole(target(), answerOf('Paris.'), told)
  // It is put in the background: until it is there.
  for (;;) {
    const hit = await agent().look()
    if (hit === null) continue
    expect(hit).toMatchObject({ kind: 'exact', kept: { usage: told.usage } })
    return
  }
})

test('while it is away every call fails at once; it is said once, and it comes back', async () => {
  await redis.kill()
  await expect(async () => {
    for (;;) await store.get('a')
  }).rejects.toThrow()
  for (let count = 0; count < 5; count++) {
    await expect(store.get('a')).rejects.toThrow()
    await expect(store.put('a', Buffer.from('x'), 1)).rejects.toThrow()
  }
  await redis.restart()
  await untilReady()
  expect(await store.get('b')).toBeNull()
  expect(log.at('warn')).toEqual(['the shared cache is away; answers are looked for here alone'])
  expect(log.at('info')).toEqual(['the shared cache is back'])
  expect(log.at('error')).toEqual([])
})
