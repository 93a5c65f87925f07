import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { MetricsClient } from '../../agent/src/replicas/metrics-client.js'
import type { ReplicaPick } from '../../agent/src/replicas/replica-pick.js'
import { newPrefixKey, ReplicaPicker, replicaDefaults } from '../../agent/src/replicas/replica-picker.js'
import { ReplicaScraper } from '../../agent/src/replicas/replica-scraper.js'
import { systemClock } from '../../proto/std/clock.js'
import { randomUnit } from '../../proto/std/ids.js'
import { makeTarget, silentLog, until } from '../harness/agent-door.js'

/** Replicas over real sockets: what is read of them, and what is made of it. */

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

type Answer = (request: IncomingMessage, response: ServerResponse) => void

class Listener {
  readonly received: IncomingMessage[] = []
  readonly #server: Server
  #port = 0

  constructor(answer: Answer) {
    this.#server = createServer((request, response) => {
      this.received.push(request)
      answer(request, response)
    })
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.address() as AddressInfo).port
    return this
  }

  get origin(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }
}

async function listen(answer: Answer): Promise<Listener> {
  const listener = await new Listener(answer).start()
  cleanUps.push(() => listener.stop())
  return listener
}

function client(): MetricsClient {
  const made = new MetricsClient(systemClock)
  cleanUps.push(() => made.stop())
  return made
}

describe('a metrics page', () => {
  const read = async (answer: Answer, timeoutMs = 5_000) => {
    const listener = await listen(answer)
    return { page: await client().read(`${listener.origin}/metrics`, timeoutMs), listener }
  }

  test('is read, and nothing is shown for it', async () => {
    const { page, listener } = await read((_, response) => response.end('vllm:num_requests_running 1\n'))
    expect(page).toEqual({ text: 'vllm:num_requests_running 1\n' })
    const { method, url, headers } = listener.received[0] ?? ({} as IncomingMessage)
    expect([method, url]).toEqual(['GET', '/metrics'])
    expect(Object.keys(headers).sort()).toEqual(['accept', 'connection', 'host'])
  })

  test.each<[string, Answer, string]>([
    ['is not there', (_, response) => response.writeHead(404).end('no'), 'no_text'],
    ['wants to know who asks', (_, response) => response.writeHead(401).end('no'), 'no_text'],
    ['is elsewhere', (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), 'no_text'],
    ['is of a server that is not well', (_, response) => response.writeHead(503).end('loading'), 'silent'],
    ['is cut off', (_, response) => response.writeHead(200, { 'content-length': 100 }).write('vllm:'), 'silent'],
    ['does not end', (_, response) => response.writeHead(200).flushHeaders(), 'silent'],
    ['is larger than any', (_, response) => response.end('x'.repeat(256 * 1024 + 1)), 'too_large'],
    ['is a hang-up', (request) => request.socket.destroy(), 'silent'],
  ])('that %s', async (_, answer, expected) => {
    expect((await read(answer, 300)).page).toBe(expected)
  })

  test('of nobody, and of an address that nobody may be made to call', async () => {
    const gone = await listen(() => {})
    const { origin } = gone
    await gone.stop()
    expect(await client().read(`${origin}/metrics`, 1_000)).toBe('silent')
    expect(await client().read('http://169.254.169.254/metrics', 1_000)).toBe('silent')
    expect(await client().read('http://[fd00:ec2::254]/metrics', 1_000)).toBe('silent')
  })
})

/** A server that remembers beginnings of prompts, as vLLM does, and tells of itself under vLLM's names. */
class FakeVllm {
  readonly listener: Listener
  readonly #cached = new Set<string>()
  promptTokens = 0
  hitTokens = 0
  running = 0
  waiting = 0
  kvUsage = 0

  constructor() {
    this.listener = new Listener((request, response) => {
      if (request.url === '/metrics') response.end(this.#page())
      else response.writeHead(404).end()
    })
  }

  /** Serves a prompt; tells how many of its tokens were cached. Four characters are a token. */
  serve(prompt: string): { readonly input: number; readonly cachedInput: number } {
    const input = Math.ceil(prompt.length / 4)
    let cachedInput = 0
    for (let end = 64; end <= prompt.length; end += 64) {
      const beginning = prompt.slice(0, end)
      if (this.#cached.has(beginning) && cachedInput === (end - 64) / 4) cachedInput = end / 4
      this.#cached.add(beginning)
    }
    this.promptTokens += input
    this.hitTokens += cachedInput
    return { input, cachedInput }
  }

  /** Another process takes its place. */
  beginAnew(): void {
    this.#cached.clear()
    this.promptTokens = 0
    this.hitTokens = 0
  }

  #page(): string {
    return [
      '# TYPE vllm:num_requests_running gauge',
      `vllm:num_requests_running{engine="0"} ${this.running}`,
      `vllm:num_requests_waiting{engine="0"} ${this.waiting}`,
      `vllm:kv_cache_usage_perc{engine="0"} ${this.kvUsage}`,
      `vllm:prompt_tokens_total{engine="0"} ${this.promptTokens}`,
      `vllm:prefix_cache_queries_total{engine="0"} ${this.promptTokens}`,
      `vllm:prefix_cache_hits_total{engine="0"} ${this.hitTokens}`,
      'vllm:cache_config_info{block_size="16",num_gpu_blocks="20000"} 1.0',
      '',
    ].join('\n')
  }
}

interface Pool {
  readonly replicas: readonly FakeVllm[]
  readonly picker: ReplicaPicker
  /** One prompt, served where it is picked for. */
  ask(prompt: string): { readonly at: number; readonly pick: ReplicaPick }
  /** Waits until each replica that is there was read again. */
  readAgain(): Promise<void>
}

async function openPool(count: number): Promise<Pool> {
  const replicas = Array.from({ length: count }, () => new FakeVllm())
  for (const { listener } of replicas) {
    await listener.start()
    cleanUps.push(() => listener.stop())
  }
  const origins = replicas.map(({ listener }) => listener.origin)
  const target = makeTarget({ origin: 'http://pool.invalid', replicas: origins, replicaScrapeMs: 250 })
  const picker = new ReplicaPicker({ clock: systemClock, key: newPrefixKey(), ...replicaDefaults })
  const scraper = new ReplicaScraper({
    ...{
      replicas: picker,
      source: new MetricsClient(systemClock),
      clock: systemClock,
      random: randomUnit,
      log: silentLog,
    },
  })
  scraper.retain([target.provider])
  await scraper.run()
  cleanUps.push(() => scraper.stop())
  return {
    replicas,
    picker,
    ask: (prompt) => {
      const pick = picker.pick({
        ...{ target, environmentId: 'env_1', operation: 'chat_completions', failed: null },
        body: {
          bytes: { length: prompt.length },
          fields: { messages: [{ role: 'user', content: prompt }] },
          stream: true,
        },
      })
      const at = origins.indexOf(pick.target.provider.origin)
      const replica = replicas[at]
      if (replica === undefined) throw new Error('picked for nowhere')
      pick.answered()
      pick.end('ok', replica.serve(prompt))
      return { at, pick }
    },
    readAgain: async () => {
      const counts = replicas.map(({ listener }) => listener.received.length)
      await until(
        () => replicas.every(({ listener }, at) => listener.received.length > (counts[at] ?? 0) + 1),
        'every replica is read again',
      )
    },
  }
}

const textOf = (name: string, length: number) => `${name} says `.repeat(Math.ceil(length / 8)).slice(0, length)

describe('four replicas', () => {
  test('serve conversations where each began, and their readings say so', async () => {
    const pool = await openPool(4)
    await pool.readAgain()
    const conversations = Array.from({ length: 12 }, (_, i) => ({
      said: textOf(`user ${i}`, 8_000),
      homes: new Set<number>(),
    }))
    for (let turn = 0; turn < 5; turn++) {
      for (const conversation of conversations) {
        conversation.homes.add(pool.ask(conversation.said).at)
        conversation.said += textOf(`turn ${turn}`, 2_000)
      }
    }
    expect(conversations.map(({ homes }) => homes.size)).toEqual(conversations.map(() => 1))
    expect(new Set(conversations.flatMap(({ homes }) => [...homes])).size).toBe(4)
    await pool.readAgain()
    const metrics = pool.picker.shown(9).map(({ server }) => server.lastReading?.metrics)
    for (const [at, replica] of pool.replicas.entries()) {
      expect(metrics[at]).toMatchObject({ engine: 'vllm', cacheTokensMax: 320_000 })
      expect(metrics[at]?.counters).toMatchObject({
        promptTokens: replica.promptTokens,
        prefixHitTokens: replica.hitTokens,
      })
      expect(replica.hitTokens / replica.promptTokens).toBeGreaterThan(0.6)
    }
  })

  test('are left when others queue there, and found again', async () => {
    const pool = await openPool(4)
    await pool.readAgain()
    const prompt = textOf('a', 12_000)
    const home = pool.ask(prompt).at
    expect(pool.ask(prompt).at).toBe(home)
    for (const replica of pool.replicas) replica.running = 8
    Object.assign(pool.replicas[home] ?? {}, { running: 64, waiting: 50, kvUsage: 1 })
    await pool.readAgain()
    expect(pool.ask(prompt).at).not.toBe(home)
    for (const replica of pool.replicas) Object.assign(replica, { running: 0, waiting: 0, kvUsage: 0 })
    await pool.readAgain()
    const { pick, at } = pool.ask(textOf('a', 11_000))
    expect(pick.explain().split('; ')[home]).toMatch(/cached [12]\d{3}, queued 0, load 0, memory 0 %/)
    expect(pool.replicas[at]?.hitTokens).toBeGreaterThan(0)
  })

  test('of which one dies go on without it, and with it when it is back, its cache empty', async () => {
    const pool = await openPool(4)
    await pool.readAgain()
    const prompt = textOf('a', 12_000)
    const home = pool.ask(prompt).at
    const dying = pool.replicas[home]
    if (dying === undefined) throw new Error('no home')
    await pool.readAgain()
    await dying.listener.stop()
    await until(() => pool.picker.shown(9)[home]?.isHealthy === false, 'the dead one is left out')
    expect(pool.ask(prompt).at).not.toBe(home)
    dying.beginAnew()
    await dying.listener.start()
    await until(() => pool.picker.shown(9)[home]?.isHealthy === true, 'it is back')
    const { pick } = pool.ask(prompt)
    expect(pick.explain().split('; ')[home]).toContain('cached 0,')
  })
})
