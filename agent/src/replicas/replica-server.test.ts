import { describe, expect, it } from 'vitest'
import type { EngineMetrics } from './engine-metrics.js'
import { ReplicaServer, type ReplicaWork } from './replica-server.js'

const place = { origin: 'http://vllm-0:8000', basePath: '/v1' }
const second = 1_000_000

function metrics(more: Partial<EngineMetrics> = {}, counters: Partial<EngineMetrics['counters']> = {}): EngineMetrics {
  return {
    ...{ engine: 'vllm', runningCount: 0, waitingCount: 0, kvUsageRatio: 0, cacheTokensMax: null },
    ...{ gpuUtilisationRatio: null, bornSeconds: null, ...more },
    counters: {
      ...{ promptTokens: null, generationTokens: null, prefixQueriedTokens: null, prefixHitTokens: null },
      ...{ firstTokenSecondsSum: null, firstTokenCount: null, interTokenSecondsSum: null, interTokenCount: null },
      ...{ queueSecondsSum: null, queueCount: null },
      ...counters,
    },
  }
}

const work = (missingTokens: number, isStream = true): ReplicaWork => ({
  ...{ slot: -1, weightTokens: missingTokens + 256, missingTokens, isStream },
})

describe('a server', () => {
  it.each([
    ['http://vllm:8000', '/v1', 'http://vllm:8000/metrics'],
    ['http://vllm:8000', '', 'http://vllm:8000/metrics'],
    ['https://gateway', '/replica-3/v1', 'https://gateway/replica-3/metrics'],
    ['https://gateway', '/v1/pool', 'https://gateway/v1/pool/metrics'],
  ])('at %s%s has its numbers at %s', (origin, basePath, metricsUrl) => {
    expect(new ReplicaServer({ origin, basePath })).toMatchObject({ url: `${origin}${basePath}`, metricsUrl })
  })

  it('counts what runs there, what waits for its first word, and nothing twice', () => {
    const server = new ReplicaServer(place)
    const seen = () => [server.inFlightCount, server.inFlightTokens, server.unansweredTokens]
    const [one, two] = [work(1_000), work(500)]
    server.begin(one)
    server.begin(two)
    expect(seen()).toEqual([2, 2_012, 1_500])
    server.answer(one)
    server.answer(one)
    expect(seen()).toEqual([2, 2_012, 500])
    server.end(one)
    server.end(two)
    expect(seen()).toEqual([0, 0, 0])
  })

  it('finds what is not answered again, in whatever order it is', () => {
    const server = new ReplicaServer(place)
    const works = Array.from({ length: 9 }, (_, i) => work(2 ** i, i % 3 !== 0))
    for (const one of works) server.begin(one)
    server.answer(works[3] as ReplicaWork)
    server.answer(works[8] as ReplicaWork)
    server.end(works[0] as ReplicaWork)
    expect(server.unansweredTokens).toBe(0b0_1111_0110)
    server.hear(metrics({ runningCount: 6 }), 0)
    // The sixth is a whole answer.
    expect(server.unansweredTokens).toBe(0b0_1011_0110)
    for (const one of works.slice(1)) server.end(one)
    expect([server.inFlightCount, server.inFlightTokens, server.unansweredTokens]).toEqual([0, 0, 0])
  })

  it('takes for others’ work what a reading shows beyond ours', () => {
    const server = new ReplicaServer(place)
    const [running, waiting] = [work(10), work(20)]
    server.begin(running)
    server.answer(running)
    server.begin(waiting)
    server.hear(metrics({ runningCount: 4, waitingCount: 3 }), 0)
    expect(server.reading(0, second)).toMatchObject({ othersCount: 5, othersWaitingCount: 2 })
    server.hear(metrics({ runningCount: 1, waitingCount: 0 }), second)
    expect(server.reading(second, second)).toMatchObject({ othersCount: 0, othersWaitingCount: 0 })
  })

  it('takes a whole answer for begun when nobody waits there, and a stream by its first word', () => {
    const server = new ReplicaServer(place)
    server.begin(work(1_000, false))
    server.begin(work(100, true))
    server.hear(metrics({ runningCount: 1, waitingCount: 1 }), 0)
    expect(server.unansweredTokens).toBe(1_100)
    server.hear(metrics({ runningCount: 2, waitingCount: 0 }), 1)
    expect(server.unansweredTokens).toBe(100)
  })

  it('tells no old news', () => {
    const server = new ReplicaServer(place)
    expect(server.reading(0, second)).toBeNull()
    server.hear(metrics(), 5)
    expect(server.reading(second + 5, second)).not.toBeNull()
    expect(server.reading(second + 6, second)).toBeNull()
    expect(server.lastReading).not.toBeNull()
  })

  it('is silent until somebody is there again', () => {
    const server = new ReplicaServer(place)
    server.hearSilence()
    server.hearSilence()
    expect([server.silentCount, server.speech]).toEqual([2, 'silent'])
    server.hearNothing('no_text', 7)
    expect([server.silentCount, server.speech, server.heardUs]).toEqual([0, 'no_text', 7])
    server.hearSilence()
    server.see(8)
    expect([server.silentCount, server.heardUs]).toEqual([0, 8])
  })

  it('that is read no more is not silent any more', () => {
    const server = new ReplicaServer(place)
    for (let i = 0; i < 5; i++) server.hearSilence()
    server.leaveUnread()
    expect([server.silentCount, server.speech]).toEqual([0, 'unread'])
  })

  it('has begun anew when what only rises fell', () => {
    const server = new ReplicaServer(place)
    for (const promptTokens of [100, 200, null, 300, 5, 6]) server.hear(metrics({}, { promptTokens }), 0)
    expect(server.restartCount).toBe(1)
  })

  it('has begun anew when it was born at another time', () => {
    const server = new ReplicaServer(place)
    for (const bornSeconds of [5, 5, null, 7, 7]) server.hear(metrics({ bornSeconds }), 0)
    expect(server.restartCount).toBe(0)
    server.hear(metrics({ bornSeconds: 8 }), 0)
    expect(server.restartCount).toBe(1)
  })

  it('tells how fast its counters rise, and nothing where they are not told or fell', () => {
    const server = new ReplicaServer(place)
    server.hear(metrics({}, { generationTokens: 100, prefixHitTokens: 10, prefixQueriedTokens: 40 }), 0)
    expect(server.ratePerSecond('generationTokens')).toBeNull()
    server.hear(metrics({}, { generationTokens: 300, prefixHitTokens: 40, prefixQueriedTokens: 80 }), 2 * second)
    expect(server.ratePerSecond('generationTokens')).toBe(100)
    expect(server.ratePerSecond('promptTokens')).toBeNull()
    expect(server.riseRatio('prefixHitTokens', 'prefixQueriedTokens')).toBe(0.75)
    server.hear(metrics({}, { generationTokens: 1, prefixHitTokens: 40, prefixQueriedTokens: 80 }), 3 * second)
    expect(server.ratePerSecond('generationTokens')).toBeNull()
    expect(server.riseRatio('prefixHitTokens', 'prefixQueriedTokens')).toBeNull()
  })
})
