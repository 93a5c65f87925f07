import { describe, expect, it } from 'vitest'
import { prefixKeyWords } from '../../../proto/policy/prefix-hash.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import { makeTarget } from '../../../test/harness/agent-door.js'
import { ReplicaPicker } from './replica-picker.js'
import { ReplicaTeller } from './replica-telling.js'

const urls = ['http://vllm-0:8000', 'http://vllm-1:8000', 'http://vllm-2:8000', 'http://vllm-3:8000']
const target = makeTarget({ origin: 'http://vllm:8000', replicas: urls })
const alone = makeTarget({ origin: 'http://alone:8000' })

/** A request worker's picker, and what it tells. */
function makeWorker(key = new Uint32Array(prefixKeyWords).fill(7)) {
  const clock = new VirtualClock()
  let newsCount = 0
  const teller = new ReplicaTeller(() => {
    newsCount += 1
  })
  const { onLearned, onLoad } = teller
  const picker = new ReplicaPicker({
    ...{ clock, key, indexBytesMax: 8 * 1024 * 1024, cacheTokensAssumed: 100_000, onLearned, onLoad },
  })
  const servers = picker.retain([target.provider, alone.provider]).map(({ server }) => server)
  return {
    ...{ picker, teller, servers },
    get newsCount() {
      return newsCount
    },
    send: (text: string, of = target) =>
      picker.pick({
        ...{ target: of, environmentId: 'env_1', operation: 'chat_completions', failed: null },
        body: { bytes: { length: text.length }, fields: { messages: [{ role: 'user', content: text }] }, stream: true },
      }),
  }
}

const textOf = (name: string) => `${name} says `.repeat(2_000)

describe('request workers of one agent', () => {
  it('send a prompt where another of them sent its beginning', () => {
    const [one, two, stranger] = [makeWorker(), makeWorker(), makeWorker(new Uint32Array(prefixKeyWords).fill(8))]
    // So that it is not by chance.
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const first = one.send(textOf(name))
      const { prefixes } = structuredClone(one.teller.take())
      expect(prefixes).toHaveLength(1)
      for (const worker of [two, stranger]) for (const learned of prefixes) worker.picker.learn(learned)
      first.end('ok', null)
      const next = two.send(`${textOf(name)} and more`)
      expect(next.url).toBe(first.url)
      expect(next.explain()).toMatch(/chosen \(cached [1-9]/)
      next.end('ok', null)
      // Names are of no use under another key.
      const other = stranger.send(textOf(name))
      expect(other.explain()).toMatch(/chosen \(cached 0/)
      other.end('ok', null)
    }
  })

  it('know what the others have running at a replica, of which a reading then shows less that is others’', () => {
    const [one, two] = [makeWorker(), makeWorker()]
    const running = Array.from({ length: 3 }, (_, i) => one.send(textOf(`${i}`)))
    const busy = new Set(running.map(({ url }) => url))
    expect(busy.size).toBe(3)
    for (const load of structuredClone(one.teller.take().loads)) two.picker.hearPeers(load)
    expect(busy).not.toContain(two.send(textOf('mine')).url)
    const server = two.servers.find(({ url }) => url === running[0]?.url)
    server?.hear(
      {
        ...{ engine: 'vllm', runningCount: 3, waitingCount: 2, kvUsageRatio: 0, cacheTokensMax: null },
        ...{ gpuUtilisationRatio: null, bornSeconds: null },
        counters: {
          ...{ promptTokens: null, generationTokens: null, prefixQueriedTokens: null, prefixHitTokens: null },
          ...{ firstTokenSecondsSum: null, firstTokenCount: null, interTokenSecondsSum: null, interTokenCount: null },
          ...{ queueSecondsSum: null, queueCount: null },
        },
      },
      0,
    )
    expect(server?.lastReading).toMatchObject({ othersCount: 4, othersWaitingCount: 1 })
    for (const pick of running) pick.end('ok', null)
    for (const load of one.teller.take().loads) {
      expect(load.slice(1)).toEqual([0, 0, 0, 0])
      two.picker.hearPeers(load)
    }
    expect(server?.agentTokens).toBe(0)
  })

  it('tell each server once, however much changed, and nothing of one that is nobody’s choice', () => {
    const worker = makeWorker()
    for (let i = 0; i < 40; i++) worker.send('short').end('ok', null)
    expect(worker.teller.take()).toMatchObject({ prefixes: [], loads: { length: 4 } })
    expect([worker.teller.hasNews, worker.teller.take()]).toEqual([false, { prefixes: [], loads: [] }])
    const before = worker.newsCount
    worker.send('short', alone).end('ok', null)
    expect([worker.newsCount, worker.teller.hasNews]).toEqual([before, false])
  })

  it('are told of the end of what they were told of, though the server is one of several no more by then', () => {
    const worker = makeWorker()
    const pick = worker.send(textOf('a'))
    worker.teller.take()
    worker.picker.retain([])
    pick.end('ok', null)
    expect(worker.teller.take().loads).toEqual([[pick.url, 0, 0, 0, 0]])
  })

  it('bear to be told of what is not in effect', () => {
    const { picker } = makeWorker()
    picker.hearPeers(['http://gone/v1', 1, 2, 3, 4])
    picker.learn({ providerId: 'gone', url: 'http://gone/v1', names: new Uint32Array(2), salt: { high: 1, low: 2 } })
    expect(picker.indexBytes).toBe(0)
  })
})
