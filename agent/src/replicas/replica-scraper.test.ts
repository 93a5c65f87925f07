import { describe, expect, it } from 'vitest'
import { prefixKeyWords } from '../../../proto/policy/prefix-hash.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { makeTables, makeTarget } from '../../../test/harness/agent-door.js'
import type { MetricsPage, MetricsSource } from './metrics-client.js'
import { ReplicaPicker } from './replica-picker.js'
import { ReplicaScraper } from './replica-scraper.js'

const told = 'vllm:num_requests_running 2\nvllm:num_requests_waiting 1\nvllm:kv_cache_usage_perc 0.5\n'
const renamed = told.replace('kv_cache_usage_perc', 'kv_memory')

/** Pages by URL, and when each was asked for. */
class PlannedPages implements MetricsSource {
  readonly pages = new Map<string, MetricsPage | Promise<MetricsPage>>()
  readonly reads: { readonly url: string; readonly atMs: number }[] = []
  isStopped = false
  readonly #clock: VirtualClock
  constructor(clock: VirtualClock) {
    this.#clock = clock
  }
  async read(url: string): Promise<MetricsPage> {
    this.reads.push({ url, atMs: this.#clock.monotonicUs() / 1000 })
    return this.pages.get(url) ?? { text: told }
  }
  async stop(): Promise<void> {
    this.isStopped = true
  }
}

function makeWorld(random = () => 0.5) {
  const clock = new VirtualClock()
  const source = new PlannedPages(clock)
  const lines: string[] = []
  const log = {
    ...{ debug: () => {}, error: () => {}, child: () => log },
    info: (_: unknown, message: string) => lines.push(`info ${message}`),
    warn: (_: unknown, message: string) => lines.push(`warn ${message}`),
  } as unknown as Log
  const key = new Uint32Array(prefixKeyWords)
  const picker = new ReplicaPicker({ ...{ clock, key, indexBytesMax: 1024 * 1024, cacheTokensAssumed: 1_000 } })
  const scraper = new ReplicaScraper({ replicas: picker, source, clock, random, log })
  const provider = (names: readonly string[], replicaScrapeMs?: number) =>
    makeTarget({
      ...{ origin: 'http://pool', replicas: names.map((name) => `http://${name}`) },
      ...(replicaScrapeMs === undefined ? {} : { replicaScrapeMs }),
    }).provider
  return { clock, source, lines, picker, scraper, provider }
}

const urlOf = (name: string) => `http://${name}/metrics`

describe('readings', () => {
  it('come once a second from each replica in effect, spread, and are known to the picker', async () => {
    const { clock, source, picker, scraper, provider } = makeWorld()
    scraper.retain([provider(['a', 'b'])])
    expect(source.reads).toEqual([])
    await scraper.run()
    await clock.advance(10_000)
    expect(source.reads.filter(({ url }) => url === urlOf('a')).map(({ atMs }) => atMs)).toEqual([
      ...[500, 1_500, 2_500, 3_500, 4_500, 5_500, 6_500, 7_500, 8_500, 9_500],
    ])
    expect(source.reads).toHaveLength(20)
    expect(picker.shown(9).map(({ server }) => server.lastReading?.metrics.runningCount)).toEqual([2, 2])
    await scraper.stop()
    await clock.advance(10_000)
    expect([source.reads.length, source.isStopped]).toEqual([20, true])
  })

  it('are spread by chance: no two agents and no two replicas in step', async () => {
    let state = 1
    const { clock, source, scraper, provider } = makeWorld(() => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff
      return state / 0x8000_0000
    })
    await scraper.run()
    scraper.retain([provider(['a', 'b', 'c', 'd'])])
    await clock.advance(20_000)
    const gaps = new Set<number>()
    for (const name of ['a', 'b', 'c', 'd']) {
      const times = source.reads.filter(({ url }) => url === urlOf(name)).map(({ atMs }) => atMs)
      for (const [i, atMs] of times.slice(1).entries()) {
        const gap = atMs - (times[i] ?? 0)
        gaps.add(Math.round(gap))
        expect(gap).toBeGreaterThanOrEqual(899)
        expect(gap).toBeLessThanOrEqual(1_101)
      }
    }
    expect(gaps.size).toBeGreaterThan(20)
    await scraper.stop()
  })

  it('follow what is in effect: others stop, an interval changes', async () => {
    const { clock, source, scraper, provider } = makeWorld()
    await scraper.run()
    const pool = provider(['a', 'b'])
    scraper.retain([pool])
    await clock.advance(5_000)
    scraper.retain([{ ...pool, replicas: pool.replicas.slice(0, 1), replicaScrapeMs: 250 }])
    expect(scraper.serverCount).toBe(1)
    source.reads.length = 0
    await clock.advance(5_000)
    expect(source.reads.every(({ url }) => url === urlOf('a'))).toBe(true)
    expect(source.reads.length).toBeGreaterThanOrEqual(16)
    scraper.retain([])
    source.reads.length = 0
    await clock.advance(5_000)
    expect([source.reads.length, scraper.serverCount]).toEqual([0, 0])
    await scraper.stop()
  })

  it('follow the tables in effect, where a route leads', async () => {
    const { scraper } = makeWorld()
    await scraper.run()
    const pool = makeTarget({ origin: 'http://pool', replicas: ['http://a', 'http://b'] })
    const alone = makeTarget({ origin: 'http://alone', kind: 'openai' })
    const { tables } = makeTables({ routes: { fast: [alone, pool], slow: [pool] } })
    scraper.follow(tables)
    expect(scraper.serverCount).toBe(2)
    scraper.follow({ ...tables, generation: 8 })
    expect(scraper.serverCount).toBe(2)
    scraper.follow(makeTables({ routes: { fast: [alone] } }).tables)
    expect(scraper.serverCount).toBe(0)
    await scraper.stop()
  })

  it('of a slow server wait for each other, and hold up nobody', async () => {
    const { clock, source, scraper, provider } = makeWorld()
    let answer: (page: MetricsPage) => void = () => {}
    source.pages.set(
      urlOf('a'),
      new Promise((resolve) => {
        answer = resolve
      }),
    )
    scraper.retain([provider(['a', 'b'])])
    await scraper.run()
    await clock.advance(5_000)
    expect(source.reads.filter(({ url }) => url === urlOf('a'))).toHaveLength(1)
    expect(source.reads.filter(({ url }) => url === urlOf('b'))).toHaveLength(5)
    const stopped = scraper.stop()
    answer('silent')
    await stopped
  })

  it('of nobody count until a replica is left out, and are said once', async () => {
    const { clock, source, scraper, provider, picker, lines } = makeWorld()
    scraper.retain([provider(['a', 'b'])])
    await scraper.run()
    source.pages.set(urlOf('a'), 'silent')
    await clock.advance(2_600)
    expect(picker.shown(9).map(({ isHealthy }) => isHealthy)).toEqual([false, true])
    await clock.advance(20_000)
    expect(lines).toEqual(['warn a replica cannot be reached'])
    source.pages.set(urlOf('a'), { text: told })
    await clock.advance(1_100)
    expect(picker.shown(9).map(({ isHealthy }) => isHealthy)).toEqual([true, true])
    expect(lines.at(-1)).toBe('info a replica tells its queue and memory again')
    await scraper.stop()
  })

  it('under names that nobody knows are an alarm, once, and leave the replica in', async () => {
    const { clock, source, scraper, provider, picker, lines } = makeWorld()
    source.pages.set(urlOf('a'), { text: renamed })
    source.pages.set(urlOf('b'), 'no_text')
    scraper.retain([provider(['a', 'b'])])
    await scraper.run()
    await clock.advance(20_000)
    expect(lines).toHaveLength(2)
    expect(lines.find((line) => line.startsWith('warn'))).toContain('none of the names we know')
    expect(picker.shown(9).map(({ isHealthy, server }) => [isHealthy, server.speech])).toEqual([
      [true, 'unknown_names'],
      [true, 'no_text'],
    ])
    await scraper.stop()
  })

  it('are bounded in number, which is said', async () => {
    const { scraper, provider, lines } = makeWorld()
    await scraper.run()
    scraper.retain(Array.from({ length: 20 }, (_, i) => provider(Array.from({ length: 64 }, (_, j) => `r${i}-${j}`))))
    expect(scraper.serverCount).toBe(1_024)
    expect(lines).toEqual(['warn more replicas than are read; nothing is known of the rest'])
    await scraper.stop()
  })
  it('are shared among environments where there are too many: a small one is read whole', async () => {
    const { scraper, picker, provider } = makeWorld()
    await scraper.run()
    const targetOf = (names: readonly string[]) => {
      const made = makeTarget({ origin: 'http://pool' })
      return { ...made, provider: provider(names) }
    }
    const many = Array.from({ length: 20 }, (_, i) => targetOf(Array.from({ length: 64 }, (_, j) => `r${i}-${j}`)))
    const few = targetOf(['s0', 's1', 'r0-0'])
    const large = makeTables({ routes: { fast: many } }).tables
    const small = makeTables({ routes: { fast: [few] } }).tables
    const [first, second] = [[...large.environments.values()][0], [...small.environments.values()][0]]
    if (first === undefined || second === undefined) throw new Error('each has one environment')
    scraper.follow({
      ...large,
      environments: new Map([
        ['env_large', first],
        ['env_small', second],
      ]),
    })
    expect(scraper.serverCount).toBe(1_024)
    const read = new Set(picker.shown(9_999).flatMap(({ server }) => (scraper.reads(server) ? [server.url] : [])))
    for (const name of ['s0', 's1', 'r0-0']) expect(read).toContain(`http://${name}/v1`)
    await scraper.stop()
  })

  it('that end leave no silence behind: the replica is asked again', async () => {
    const { clock, source, scraper, provider, picker } = makeWorld()
    const pool = provider(['a', 'b'])
    scraper.retain([pool])
    await scraper.run()
    source.pages.set(urlOf('a'), 'silent')
    await clock.advance(5_000)
    expect(picker.shown(9).map(({ isHealthy }) => isHealthy)).toEqual([false, true])
    // Still in effect, and read no more.
    await scraper.stop()
    expect(picker.shown(9).map(({ isHealthy, server }) => [isHealthy, server.speech])).toEqual([
      [true, 'unread'],
      [true, 'unread'],
    ])
  })

  it('of pages that are too large come ever less often, and as before once they are not', async () => {
    const { clock, source, scraper, provider, lines, picker } = makeWorld()
    source.pages.set(urlOf('a'), 'too_large')
    scraper.retain([provider(['a', 'b'])])
    await scraper.run()
    await clock.advance(300_000)
    const readsOf = (name: string) => source.reads.filter(({ url }) => url === urlOf(name))
    expect(readsOf('b').length).toBeGreaterThan(290)
    expect(readsOf('a').length).toBeLessThan(12)
    expect(lines).toEqual(["warn a replica's metrics are more than is read: it is chosen without them"])
    expect(picker.shown(9)[0]).toMatchObject({ isHealthy: true })
    source.pages.set(urlOf('a'), { text: told })
    await clock.advance(60_000)
    source.reads.length = 0
    await clock.advance(10_000)
    expect(readsOf('a').length).toBeGreaterThanOrEqual(9)
    await scraper.stop()
  })
})
