import net from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock, VirtualClock } from '../../../proto/std/clock.js'
import { type TestRedis, testRedis } from '../../../test/harness/redis.js'
import { describeSharedStore } from '../../../test/harness/shared-store-contract.js'
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
      await store.get('x', 1)
      return
    } catch {
      await systemClock.sleep(10)
    }
  }
}

describeSharedStore(() => store)

test('of what somebody else put there no more is read than an answer may be, and it is none', async () => {
  await store.put('long', Buffer.alloc(5_000_000, 1), { seconds: 60, bornAtMs: 1 })
  expect(await store.get('long', 1_000)).toBeNull()
  const stranger = new Redis(redis.url)
  await stranger.set('switchyard:cache:short', 'x')
  await stranger.lpush('switchyard:cache:list', 'x')
  // Whatever it is, an answer may take its place.
  await stranger.set('switchyard:cache:words', 'sixteen letters.')
  stranger.disconnect()
  expect([await store.get('short', 1_000), await store.get('words', 1_000)]).toEqual([null, null])
  await expect(store.get('list', 1_000)).rejects.toThrow()
  await store.put('words', Buffer.from('ours'), { seconds: 60, bornAtMs: 1 })
  expect((await store.get('words', 1_000))?.toString()).toBe('ours')
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
    for (;;) await store.get('a', 4)
  }).rejects.toThrow()
  for (let count = 0; count < 5; count++) {
    await expect(store.get('a', 4)).rejects.toThrow()
    await expect(store.put('a', Buffer.from('x'), { seconds: 1, bornAtMs: 1 })).rejects.toThrow()
  }
  await redis.restart()
  await untilReady()
  expect(await store.get('b', 4)).toBeNull()
  expect(log.at('warn')).toEqual(['the shared cache is away; answers are looked for here alone'])
  expect(log.at('info')).toEqual(['the shared cache is back'])
  expect(log.at('error')).toEqual([])
})

test('one that takes commands and answers none is given up after two seconds', async () => {
  // It answers what a client says to greet it, and then nothing any more.
  const mute = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      for (const command of bytes.toString('latin1').split(/(?=\*\d+\r\n\$\d+\r\n)/)) {
        if (/\r\n(?:getrange|eval)\r\n/i.test(command)) continue
        socket.write(/\r\ninfo\r\n/i.test(command) ? '$9\r\nloading:0\r\n' : '+OK\r\n')
      }
    })
  })
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  const { port } = mute.address() as net.AddressInfo
  const other = new RedisStore({ url: `redis://127.0.0.1:${port}`, log: new KeptLog() })
  await other.run()
  for (;;) {
    const startedUs = systemClock.monotonicUs()
    const fault = await other.get('x', 1).then(() => null, String)
    if (fault === 'Error: the shared cache is away') {
      await systemClock.sleep(10)
      continue
    }
    expect(fault).toMatch(/timed out|timeout/i)
    expect(systemClock.monotonicUs() - startedUs).toBeLessThan(4_000_000)
    break
  }
  await other.stop()
  mute.close()
}, 15_000)
