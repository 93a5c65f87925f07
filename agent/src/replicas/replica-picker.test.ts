import { describe, expect, it } from 'vitest'
import { prefixKeyWords } from '../../../proto/policy/prefix-hash.js'
import type { TargetTable } from '../../../proto/policy/tables.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import { makeTarget } from '../../../test/harness/agent-door.js'
import type { EngineMetrics } from './engine-metrics.js'
import { replicaGauges } from './replica-gauges.js'
import type { ReplicaPick } from './replica-pick.js'
import { type PromptBody, ReplicaPicker, silentReadingsMax } from './replica-picker.js'

const key = Uint32Array.from({ length: prefixKeyWords }, (_, i) => i * 0x1357_9bdf + 3)
const urls = ['http://vllm-0:8000', 'http://vllm-1:8000', 'http://vllm-2:8000', 'http://vllm-3:8000']

interface World {
  readonly clock: VirtualClock
  readonly picker: ReplicaPicker
  readonly target: TargetTable
  /** Of a text, to the replica's number. */
  send(text: string, more?: Partial<Sent>): ReplicaPick & { readonly at: number }
  hear(at: number, more: Partial<EngineMetrics>): void
}

interface Sent {
  readonly environmentId: string
  readonly operation: string
  readonly target: TargetTable
  readonly failed: ReplicaPick | null
  readonly body: PromptBody
}

function makeWorld(options: { indexBytesMax?: number; replicas?: string[] } = {}): World {
  const clock = new VirtualClock()
  const picker = new ReplicaPicker({
    ...{ clock, key, indexBytesMax: options.indexBytesMax ?? 8 * 1024 * 1024, cacheTokensAssumed: 100_000 },
  })
  const target = makeTarget({ origin: 'http://vllm:8000', replicas: options.replicas ?? urls })
  const watched = picker.retain([target.provider])
  return {
    ...{ clock, picker, target },
    send: (text, more = {}) => {
      const pick = picker.pick({
        ...{ target, environmentId: 'env_1', operation: 'chat_completions', failed: null, body: bodyOf(text), ...more },
      })
      const at = urls.findIndex((url) => pick.url === `${url}/v1`)
      return Object.assign(pick, { at })
    },
    hear: (at, more) => {
      watched[at]?.server.hear(
        {
          ...{ engine: 'vllm', runningCount: 0, waitingCount: 0, kvUsageRatio: 0, cacheTokensMax: null },
          ...{ gpuUtilisationRatio: null, bornSeconds: null, counters: nothingTold, ...more },
        },
        clock.monotonicUs(),
      )
    },
  }
}

const nothingTold = {
  ...{ promptTokens: null, generationTokens: null, prefixQueriedTokens: null, prefixHitTokens: null },
  ...{ firstTokenSecondsSum: null, firstTokenCount: null, interTokenSecondsSum: null, interTokenCount: null },
  ...{ queueSecondsSum: null, queueCount: null },
}

function bodyOf(text: string): PromptBody {
  return { bytes: { length: text.length }, fields: { messages: [{ role: 'user', content: text }] }, stream: true }
}

/** A text of its own for each name, some 25,000 characters. */
const textOf = (name: string) => `${name} says `.repeat(5_000).slice(0, 25_000)
const over = (pick: ReplicaPick) => pick.end('ok', null)

describe('a request', () => {
  it('goes where the beginning of its prompt went, and a new one where least is known to run', () => {
    const { send } = makeWorld()
    const first = send(textOf('a'))
    over(first)
    for (let i = 0; i < 8; i++) over(send(textOf(`other ${i}`)))
    const next = send(`${textOf('a')} and more`)
    expect(next.at).toBe(first.at)
    const crowd = new Set([0, 1, 2].map((i) => send(textOf(`new ${i}`)).at))
    expect(crowd.size).toBe(3)
    expect(crowd.has(next.at)).toBe(false)
  })

  it('goes right behind another with the same beginning, not only when that one is answered', () => {
    const { send } = makeWorld()
    const first = send(textOf('a').slice(0, 3_000))
    expect(send(textOf('a').slice(0, 3_500)).at).toBe(first.at)
  })

  it('shares nothing with other environments and models', () => {
    const { send, target } = makeWorld()
    over(send(textOf('a')))
    const cachedOf = (pick: ReplicaPick) => /chosen \(cached (\d+)/.exec(pick.explain())?.[1]
    expect(Number(cachedOf(send(textOf('a'))))).toBeGreaterThan(5_000)
    expect(cachedOf(send(textOf('a'), { environmentId: 'env_2' }))).toBe('0')
    expect(cachedOf(send(textOf('a'), { target: { ...target, upstreamModel: 'another' } }))).toBe('0')
  })

  it('is sent to the replica by the very target that was chosen, with its address', () => {
    const { send, target } = makeWorld({ replicas: ['http://vllm-0:8000', 'http://vllm-1:8000'] })
    const [one, two] = [send('a'), send('b')]
    expect(one.target).toEqual({ ...target, provider: { ...target.provider, origin: urls[one.at] } })
    expect(two.target.provider.origin).toBe(urls[two.at])
    over(one)
    over(two)
    // Made once: what others keep by target and provider is found again.
    expect([send('c'), send('d')].map((pick) => pick.target)).toEqual(expect.arrayContaining([one.target, two.target]))
    expect([one, two].map(({ hasOthers }) => hasOthers)).toEqual([true, true])
  })

  it('goes to the provider itself where that is all there is, which costs nothing and counts nothing', () => {
    const { picker, clock } = makeWorld()
    const target = makeTarget({ origin: 'http://alone', kind: 'openai' })
    picker.retain([target.provider])
    const request = { target, environmentId: 'env_1', operation: 'chat_completions', failed: null }
    let readCount = 0
    clock.monotonicUs = () => {
      readCount += 1
      return 0
    }
    const pick = picker.pick({ ...request, body: bodyOf('hello') })
    expect(pick.target).toBe(target)
    expect([pick.hasOthers, pick.explain()]).toEqual([false, 'http://alone/v1 is the only one'])
    expect([Object.isFrozen(pick), picker.pick({ ...request, body: bodyOf('again') }) === pick]).toEqual([true, true])
    pick.answered()
    over(pick)
    expect(readCount).toBe(0)
    expect(picker.shown(9)).toEqual([])
  })

  it('to the only server of a provider is counted there where it is read, or another provider has it among others', () => {
    const { picker, target: pool } = makeWorld()
    const alone = makeTarget({ origin: 'http://alone' })
    const shared = makeTarget({ origin: 'http://vllm-0:8000', kind: 'openai' })
    picker.retain([pool.provider, alone.provider, shared.provider])
    const shownOf = (url: string) => picker.shown(9).find(({ server }) => server.url === `${url}/v1`)?.server
    for (const [target, url] of [
      [alone, 'http://alone'],
      [shared, 'http://vllm-0:8000'],
    ] as const) {
      const pick = picker.pick({
        ...{
          target,
          environmentId: 'env_1',
          operation: 'chat_completions',
          failed: null,
          body: bodyOf('x'.repeat(400)),
        },
      })
      expect(pick.target).toBe(target)
      expect(shownOf(url)).toMatchObject({ inFlightCount: 1, unansweredTokens: 100 })
      pick.answered()
      expect(shownOf(url)).toMatchObject({ inFlightCount: 1, unansweredTokens: 0 })
      over(pick)
      over(pick)
      expect(shownOf(url)).toMatchObject({ inFlightCount: 0, inFlightTokens: 0 })
    }
    // Once nobody has it among others, nobody pays for the count.
    picker.retain([alone.provider, shared.provider])
    expect(shownOf('http://vllm-0:8000')).toBeUndefined()
  })

  it('to one that cannot be reached is tried at another, which is not asked again until it is heard', async () => {
    const { send, hear, clock } = makeWorld()
    const body = bodyOf(textOf('a'))
    over(send('', { body }))
    const first = send('', { body })
    first.end('connect_error', null)
    const second = send('', { body, failed: first })
    expect(second.at).not.toBe(first.at)
    over(second)
    const others = Array.from({ length: 12 }, (_, i) => send(textOf(`other ${i}`)))
    expect(new Set(others.map(({ at }) => at)).size).toBe(3)
    for (const other of others) {
      expect(other.at).not.toBe(first.at)
      over(other)
    }
    await clock.advance(1)
    hear(first.at, {})
    const again = Array.from({ length: 4 }, (_, i) => send(textOf(`later ${i}`)).at)
    expect(again).toContain(first.at)
  })

  it('that tries one again lets others in with its first word, however long its stream is', async () => {
    const { send, clock, picker } = makeWorld()
    const body = bodyOf(textOf('a'))
    const first = send('', { body })
    first.end('connect_error', null)
    await clock.advance(1_000)
    const trial = send('', { body })
    expect(trial.at).toBe(first.at)
    const isAsked = () => picker.shown(9)[trial.at]?.isHealthy
    expect(isAsked()).toBe(false)
    trial.answered()
    expect(isAsked()).toBe(true)
  })

  it('goes somewhere even when nobody can be reached', () => {
    const { send, picker, target } = makeWorld()
    for (const { server } of picker.retain([target.provider])) for (let i = 0; i < 9; i++) server.hearSilence()
    for (let i = 0; i < 8; i++) send(textOf(`t${i}`)).end('connect_error', null)
    const last = send(textOf('last'))
    expect(urls).toContain(urls[last.at])
    expect(last.explain()).not.toContain('unhealthy')
  })
})

describe('readings', () => {
  it('move requests away from a queue of others', () => {
    const { send, hear } = makeWorld()
    const home = send(textOf('a'))
    over(home)
    expect(send(textOf('a')).at).toBe(home.at)
    for (const at of [0, 1, 2, 3])
      hear(at, at === home.at ? { runningCount: 60, waitingCount: 40 } : { runningCount: 10 })
    expect(send(textOf('a')).at).not.toBe(home.at)
  })

  it('move requests away from memory that is full', () => {
    const { send, hear } = makeWorld()
    const home = send(textOf('a'))
    over(home)
    for (const at of [0, 1, 2, 3]) hear(at, { kvUsageRatio: at === home.at ? 1 : 0.3 })
    expect(send(textOf('a')).at).not.toBe(home.at)
  })

  it('that are old count for nothing', async () => {
    const { send, hear, clock } = makeWorld()
    const home = send(textOf('a'))
    over(home)
    hear(home.at, { runningCount: 60, waitingCount: 40 })
    const away = send(textOf('a'))
    expect(away.at).not.toBe(home.at)
    over(away)
    await clock.advance(5_000)
    const back = send(textOf('a')).explain().split('; ')
    expect(back[home.at]).toContain('load 0, memory unknown')
  })

  it('of a server that began anew empty what is believed of its cache', () => {
    const { send, hear } = makeWorld()
    const home = send(textOf('a'))
    over(home)
    hear(home.at, { counters: { ...nothingTold, promptTokens: 1_000 } })
    expect(send(textOf('a')).explain()).toMatch(/chosen \(cached [1-9]/)
    hear(home.at, { counters: { ...nothingTold, promptTokens: 5 } })
    const told = send(textOf('a')).explain().split('; ')[home.at]
    expect(told).toContain('(cached 0,')
  })

  it('of a cache size bound what is believed to be in it', () => {
    const { send, hear, picker } = makeWorld()
    const blocksOf = (at: number) => picker.shown(9)[at]?.blockCount ?? 0
    for (const at of [0, 1, 2, 3]) hear(at, { cacheTokensMax: 20_000 })
    for (let i = 0; i < 200; i++) over(send(textOf(`text ${i}`)))
    for (const at of [0, 1, 2, 3]) expect(blocksOf(at)).toBeLessThanOrEqual(85)
    for (const at of [0, 1, 2, 3]) hear(at, { cacheTokensMax: 200_000 })
    for (let i = 0; i < 200; i++) over(send(textOf(`text ${i}`)))
    for (const at of [0, 1, 2, 3]) expect(blocksOf(at)).toBeGreaterThan(300)
  })

  it('that find nobody leave a replica out, and answers bring it back', () => {
    const { send, picker, target } = makeWorld()
    const home = send(textOf('a'))
    over(home)
    const server = picker.retain([target.provider])[home.at]?.server
    for (let i = 0; i < silentReadingsMax - 1; i++) server?.hearSilence()
    const still = send(textOf('a'))
    expect(still.at).toBe(home.at)
    server?.hearSilence()
    expect(send(textOf('a')).at).not.toBe(home.at)
    over(still)
    expect(picker.shown(9)[home.at]?.isHealthy).toBe(true)
  })
})

describe('what providers tell of usage', () => {
  it('is where the number of characters of a token is learned from', () => {
    const { send } = makeWorld()
    const promptOf = (pick: ReplicaPick) => Number(/prompt of (\d+)/.exec(pick.explain())?.[1])
    const before = send(textOf('a'))
    before.end('ok', { input: 12_500, cachedInput: null })
    expect(promptOf(before)).toBeCloseTo(6_250, -2)
    for (let i = 0; i < 300; i++) send(textOf('a')).end('ok', { input: 12_500, cachedInput: null })
    expect(promptOf(send(textOf('a')))).toBeCloseTo(12_500, -2)
  })

  it('ends belief in caches that keep nothing', () => {
    const { send } = makeWorld()
    for (let i = 0; i < 100; i++) send(textOf('a')).end('ok', { input: 6_250, cachedInput: 0 })
    const told = send(textOf('a'))
    const cached = [...told.explain().matchAll(/cached (\d+)/g)].map(([, tokens]) => Number(tokens))
    expect(Math.max(...cached)).toBeLessThan(3_200)
  })

  it('leaves belief alone where it is kept by and large', () => {
    const { send } = makeWorld()
    for (let i = 0; i < 100; i++) send(textOf('a')).end('ok', { input: 6_250, cachedInput: 4_500 })
    expect(send(textOf('a')).explain()).toMatch(/chosen \(cached 6[01]/)
  })
})

describe('what is kept', () => {
  it('is given back on every way out, once', () => {
    const { send, picker } = makeWorld()
    const picks = Array.from({ length: 40 }, (_, i) => send(textOf(`t${i % 3}`)))
    for (const [i, pick] of picks.entries()) {
      if (i % 2 === 0) pick.answered()
      pick.end(['ok', 'aborted', 'upstream_5xx', 'connect_error'][i % 4] ?? 'ok', null)
      pick.end('ok', null)
    }
    for (const { server } of picker.shown(9)) {
      expect([server.inFlightCount, server.inFlightTokens, server.unansweredTokens]).toEqual([0, 0, 0])
    }
  })

  it('is what providers in effect name, and no more', () => {
    const { send, picker, target } = makeWorld()
    over(send(textOf('a')))
    expect(picker.indexBytes).toBeGreaterThan(0)
    const fewer = { ...target.provider, replicas: target.provider.replicas.slice(0, 2), replicaScrapeMs: 250 }
    expect(picker.retain([fewer]).map(({ server, intervalMs }) => [server.url, intervalMs])).toEqual([
      ['http://vllm-0:8000/v1', 250],
      ['http://vllm-1:8000/v1', 250],
    ])
    expect(picker.shown(9)).toHaveLength(2)
    picker.retain([])
    expect([picker.shown(9), picker.indexBytes]).toEqual([[], 0])
    // A request that began before still goes somewhere, and leaves nothing behind.
    over(send(textOf('late')))
    picker.retain([])
    expect(picker.indexBytes).toBe(0)
  })

  it('of a server is one for all providers that name it, of its cache and health one for each', () => {
    const { picker, target, send } = makeWorld()
    const other = makeTarget({ origin: 'http://other', replicas: urls })
    expect(picker.retain([target.provider, other.provider])).toHaveLength(4)
    const mine = send(textOf('a'))
    expect(picker.shown(9).filter(({ server }) => server.inFlightCount === 1)).toHaveLength(2)
    mine.end('connect_error', null)
    expect(picker.shown(9).filter(({ isHealthy }) => !isHealthy)).toHaveLength(1)
    expect(picker.shown(9).filter(({ blockCount }) => blockCount > 0)).toHaveLength(1)
  })

  it.each([
    ['several replicas', { replicas: urls, kind: 'ollama' }, 4],
    ['vLLM alone', { kind: 'vllm' }, 1],
    ['another alone', { kind: 'openai-compatible' }, 0],
    ['another with an interval', { kind: 'openai-compatible', replicaScrapeMs: 5_000 }, 1],
  ])('is read of %s', (_, spec, count) => {
    const { picker } = makeWorld()
    expect(picker.retain([makeTarget({ origin: 'http://p', ...spec }).provider])).toHaveLength(count)
  })

  it('stays within its bytes: providers asked long ago are forgotten first', async () => {
    const { picker, clock } = makeWorld({ indexBytesMax: 64 * 1024 })
    const targets = Array.from({ length: 6 }, (_, i) =>
      makeTarget({ origin: `http://p${i}`, replicas: [`http://p${i}-0`, `http://p${i}-1`] }),
    )
    picker.retain(targets.map(({ provider }) => provider))
    for (let round = 0; round < 300; round++) {
      const target = targets[Math.min(5, Math.floor(round / 50))]
      if (target === undefined) continue
      await clock.advance(1)
      over(
        picker.pick({
          ...{ target, environmentId: 'env_1', operation: 'chat_completions', failed: null },
          body: bodyOf(textOf(`text ${round}`)),
        }),
      )
      expect(picker.indexBytes).toBeLessThanOrEqual(64 * 1024)
    }
    const held = (i: number) =>
      picker
        .shown(99)
        .filter(({ providerId }) => providerId === targets[i]?.provider.id)
        .reduce((sum, { blockCount }) => sum + blockCount, 0)
    expect(held(0)).toBe(0)
    expect(held(5)).toBeGreaterThan(0)
  })
})

describe('numbers for the operator', () => {
  it('are those of each replica, and none where nothing is told', async () => {
    const { picker, hear, send, target, clock } = makeWorld()
    send(textOf('a'))
    hear(0, { runningCount: 3, waitingCount: 1, kvUsageRatio: 0.5, counters: { ...nothingTold, generationTokens: 10 } })
    await clock.advance(1_000)
    hear(0, { runningCount: 4, gpuUtilisationRatio: 0.9, counters: { ...nothingTold, generationTokens: 60 } })
    const read = Object.fromEntries(replicaGauges(picker).map((gauge) => [gauge.name, gauge.read()]))
    const labels = { provider_id: target.provider.id, replica: 'http://vllm-0:8000/v1' }
    expect(read['replica_healthy']).toHaveLength(4)
    expect(read['replica_running_requests']).toEqual([{ labels, value: 4 }])
    expect(read['replica_gpu_utilisation_ratio']).toEqual([{ labels, value: 0.9 }])
    expect(read['replica_generation_tokens_per_second']).toEqual([{ labels, value: 50 }])
    expect(read['replica_prompt_tokens_per_second']).toEqual([])
    expect(read['replica_in_flight_requests']?.reduce((sum, { value }) => sum + value, 0)).toBe(1)
    expect(read['replica_metrics_understood']).toEqual([{ labels, value: 1 }])
  })
})
