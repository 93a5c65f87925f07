import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import net from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { AnswerCache } from '../../agent/src/cache/answer-cache.js'
import { RouteEmbedder } from '../../agent/src/cache/embedder.js'
import { openaiDialect } from '../../agent/src/providers/openai/dialect.js'
import { Upstreams } from '../../agent/src/request/upstreams.js'
import type { ApiKeyTable, CacheTable } from '../../proto/policy/tables.js'
import { type Clock, systemClock } from '../../proto/std/clock.js'
import {
  answerJson,
  chatAnswer,
  type Door,
  makeTables,
  makeTarget,
  openDoor,
  type Received,
  ScriptedUpstream,
  until,
} from '../harness/agent-door.js'

/** The cache on the way of real requests: clients, upstream and records as they are. */
const policy: CacheTable = {
  ...{
    anyTemperature: false,
    sharedBy: 'environment',
    otherTtlSeconds: 3_600,
    ageMaxSeconds: 604_800,
    staleSeconds: 0,
  },
  ttlSeconds: new Map([
    ['factual', 86_400],
    ['dynamic', 3_600],
  ]),
  ...{ shared: false, semantic: null, detailApiKeys: new Set<string>(), tags: [] },
}

/** The system's, ahead by what a test says: for ages only. */
class AheadClock implements Clock {
  aheadMs = 0
  nowMs = () => systemClock.nowMs() + this.aheadMs
  monotonicUs = () => systemClock.monotonicUs() + this.aheadMs * 1_000
  sleep = systemClock.sleep
  after = systemClock.after
}

interface Setting {
  readonly door: Door
  readonly upstream: ScriptedUpstream
  readonly cache: AnswerCache
  readonly clock: AheadClock
  readonly apiKey: string
  post(
    body: object,
    options?: { path?: string; headers?: Record<string, string>; signal?: AbortSignal },
  ): Promise<Response>
}

let open: { stop(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of open.reverse()) await one.stop()
  open = []
})

async function start(
  script: ScriptedUpstream['script'],
  options: {
    policy?: Partial<CacheTable>
    lastResortSeconds?: number
    apology?: string
    outputTokensMax?: number
    key?: Partial<ApiKeyTable>
  } = {},
): Promise<Setting> {
  const upstream = await new ScriptedUpstream(script).start()
  const { outputTokensMax = null } = options
  const routing = { parameters: { temperature: null, outputTokensMax } }
  const target = makeTarget({ origin: upstream.origin, kind: 'vllm', routing })
  const embedding = makeTarget({ origin: upstream.origin, kind: 'vllm', upstreamModel: 'embedder' })
  const { lastResortSeconds = 0, apology = '' } = options
  const lastResort = lastResortSeconds > 0 ? { cachedAgeMaxSeconds: lastResortSeconds, apology, safeAnswer: '' } : null
  const { tables, apiKey } = makeTables({
    routes: { fast: [target], embed: [embedding] },
    route: { cache: { ...policy, ...options.policy }, lastResort },
    key: options.key ?? {},
  })
  const clock = new AheadClock()
  const upstreams = new Upstreams(systemClock)
  const cache = new AnswerCache({
    ...{ clock, shared: null },
    embedder: new RouteEmbedder({
      ...{ dialects: { find: () => openaiDialect }, vault: { get: () => null }, upstreams, clock: systemClock },
    }),
    limits: { bytesMax: 1 << 22, answerBytesMax: 1 << 18, entriesMax: 1_000, vectorBytesMax: 1 << 20 },
  })
  const door = await openDoor({ tables, cache })
  open.push({ stop: () => upstreams.stop() }, upstream, door)
  const post: Setting['post'] = (body, { path = '/v1/chat/completions', headers = {}, signal } = {}) =>
    fetch(door.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    })
  return { door, upstream, cache, clock, apiKey, post }
}

const ask = (content: string, more = {}) => ({
  ...{ model: 'fast', temperature: 0, messages: [{ role: 'user', content }], ...more },
})
const answers = (_received: Received, response: ServerResponse) => answerJson(response, 200, chatAnswer)

const chunk = (delta: object, finish: string | null = null, more = {}) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm-1', choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`
const usageChunk = `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm-1', choices: [], usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 } })}\n\n`
const streams = (_received: Received, response: ServerResponse) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(chunk({ role: 'assistant', content: '' }) + chunk({ content: 'hel' }))
  response.end(`${chunk({ content: 'lo' })}${chunk({}, 'stop')}${usageChunk}data: [DONE]\n\n`)
}

/** Nothing is left running, and nobody waits. */
async function settled({ door, cache }: Setting): Promise<void> {
  await until(() => door.handler.runningCount === 0, 'every slot is given back')
  expect([cache.flightCount, cache.followerCount]).toEqual([0, 0])
}

describe('a kept answer', () => {
  test('is none where a stream was asked for and a whole one came', async () => {
    const setting = await start(answers)
    for (let request = 0; request < 2; request++) {
      const response = await setting.post(ask('Why?', { stream: true }))
      expect(response.headers.get('content-type')).toContain('application/json')
      expect([
        response.headers.get('x-switchyard-cache'),
        ((await response.json()) as { object: string }).object,
      ]).toEqual(['miss', 'chat.completion'])
    }
    expect([setting.upstream.received.length, setting.cache.size]).toEqual([2, 0])
    await settled(setting)
  })

  test('is given without asking anybody, and the record says what it saved', async () => {
    const setting = await start(answers)
    const first = await setting.post(ask('Why?', { user: 'ada' }))
    expect(first.headers.get('x-switchyard-cache')).toBe('miss')
    const body = await first.text()
    setting.clock.aheadMs = 90_000
    const second = await setting.post(ask('Why?', { user: 'somebody else' }))
    expect(await second.text()).toBe(body)
    expect([second.headers.get('x-switchyard-cache'), second.headers.get('age')]).toEqual(['exact', '90'])
    expect(setting.upstream.received).toHaveLength(1)
    const [miss, hit] = setting.door.meter.closed
    expect(miss).toMatchObject({ cacheHit: 'miss', tokensIn: 11, tokensOut: 5, status: 'ok' })
    expect(miss?.savedNanoUsd).toBeUndefined()
    expect(hit).toMatchObject({
      ...{ cacheHit: 'exact', status: 'ok', httpStatus: 200, hops: [], tokensIn: 0, tokensOut: 0, costNanoUsd: 0 },
      ...{ savedTokensIn: 11, savedTokensOut: 5, savedNanoUsd: miss?.costNanoUsd, userId: 'somebody else' },
      actualModel: 'upstream-model-2026-01-01',
    })
    await settled(setting)
  })

  test('of a stream is a stream, with the usage that was told', async () => {
    const setting = await start(streams)
    const body = ask('Why?', { stream: true, stream_options: { include_usage: true } })
    const first = await (await setting.post(body)).text()
    const second = await setting.post(body)
    expect(second.headers.get('content-type')).toMatch(/^text\/event-stream/)
    expect(second.headers.get('x-switchyard-cache')).toBe('exact')
    expect(await second.text()).toBe(first)
    expect(first).toContain('"usage":{"prompt_tokens":7')
    // Who did not ask for usage is not told any, and is another request.
    const plain = await (await setting.post(ask('Why?', { stream: true }))).text()
    expect(plain).not.toContain('"prompt_tokens"')
    expect(setting.upstream.received).toHaveLength(2)
    await until(() => setting.door.meter.closed.length === 3, 'three records')
    expect(setting.door.meter.closed[1]).toMatchObject({
      cacheHit: 'exact',
      stream: true,
      savedTokensOut: 2,
      tokensOut: 0,
    })
    expect(setting.door.meter.closed[1]?.firstTokenUs).toBeGreaterThan(0)
    await settled(setting)
  })

  test('at another door, in its own words', async () => {
    const setting = await start(answers)
    const body = { model: 'fast', max_tokens: 9, temperature: 0, messages: [{ role: 'user', content: 'Why?' }] }
    const post = async () => await (await setting.post(body, { path: '/v1/messages' })).json()
    const first = await post()
    expect(first).toMatchObject({ type: 'message', content: [{ type: 'text', text: 'hello' }] })
    expect(await post()).toEqual(first)
    expect(setting.upstream.received).toHaveLength(1)
    // A version that the vendor is shown, or might be, makes it another request.
    await setting.post(body, { path: '/v1/messages', headers: { 'anthropic-version': '2024-01-01' } })
    expect(setting.upstream.received).toHaveLength(2)
  })

  test.each([false, true])('says that a limit was lowered, as the first one did; streamed: %s', async (stream) => {
    const setting = await start(stream ? streams : answers, { outputTokensMax: 5 })
    const post = async () => {
      const response = await setting.post(ask('Why?', { max_tokens: 9, stream }))
      await response.text()
      return [response.headers.get('x-switchyard-cache'), response.headers.get('x-switchyard-capped')]
    }
    expect([await post(), await post()]).toEqual([
      ['miss', 'max_tokens'],
      ['exact', 'max_tokens'],
    ])
    expect(setting.upstream.received).toHaveLength(1)
    await settled(setting)
  })

  test('is none of an answer that was cut, refused or failed', async () => {
    const cut = { ...chatAnswer, choices: [{ ...chatAnswer.choices[0], finish_reason: 'length' }] }
    const scripts = [
      (response: ServerResponse) => answerJson(response, 200, cut),
      (response: ServerResponse) => answerJson(response, 400, { error: { message: 'no' } }),
      (response: ServerResponse) => answerJson(response, 500, {}),
    ]
    const setting = await start((received, response) =>
      scripts[setting.upstream.received.indexOf(received)]?.(response),
    )
    for (const status of [200, 400, 502]) expect((await setting.post(ask('Why?'))).status).toBe(status)
    expect(setting.cache.size).toBe(0)
    await settled(setting)
  })

  test('is the business of who asks for it: off, refresh, and a word that is none', async () => {
    const setting = await start(answers)
    const cached = async (word: string) => {
      const response = await setting.post(ask('Why?'), { headers: { 'x-switchyard-cache': word } })
      await response.text()
      return response.headers.get('x-switchyard-cache')
    }
    expect([await cached('off'), await cached('on'), await cached('refresh'), await cached('on')]).toEqual([
      ...[null, 'miss', null, 'exact'],
    ])
    expect(setting.upstream.received).toHaveLength(3)
    const wrong = await setting.post(ask('Why?'), { headers: { 'x-switchyard-cache': 'maybe' } })
    expect([wrong.status, await wrong.json()]).toMatchObject([400, { error: { param: 'x-switchyard-cache' } }])
  })
})

describe('the same request at once', () => {
  test('is asked once', async () => {
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const setting = await start(async (_received, response) => {
      await held
      answerJson(response, 200, chatAnswer)
    })
    const posts = Array.from({ length: 5 }, () => setting.post(ask('Why?')))
    await until(() => setting.cache.followerCount === 4, 'four wait')
    release()
    const words = await Promise.all(posts.map(async (post) => (await post).headers.get('x-switchyard-cache')))
    expect(words.sort()).toEqual(['exact', 'exact', 'exact', 'exact', 'miss'])
    expect(setting.upstream.received).toHaveLength(1)
    await settled(setting)
  })

  test('the first client’s leaving is nobody else’s trouble', async () => {
    const setting = await start(async (received, response) => {
      if (setting.upstream.received.indexOf(received) > 0) answerJson(response, 200, chatAnswer)
    })
    const leaving = new AbortController()
    const first = setting.post(ask('Why?'), { signal: leaving.signal }).catch(() => 'left')
    await until(() => setting.upstream.received.length === 1, 'the leader is under way')
    const others = [setting.post(ask('Why?')), setting.post(ask('Why?'))]
    await until(() => setting.cache.followerCount === 2, 'two wait')
    leaving.abort()
    expect(await first).toBe('left')
    for (const other of others) expect((await other).status).toBe(200)
    expect(setting.upstream.received).toHaveLength(2)
    await until(() => setting.upstream.received[0]?.closedByAgent === true, 'the first call was closed')
    await settled(setting)
  })

  test('a follower that leaves is forgotten at once', async () => {
    const setting = await start(() => {})
    const hangUp = new AbortController()
    const leader = setting.post(ask('Why?'), { signal: hangUp.signal }).catch(() => 'left')
    await until(() => setting.upstream.received.length === 1, 'the leader is under way')
    const socket = net.connect(setting.door.port, '127.0.0.1')
    const body = JSON.stringify(ask('Why?'))
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${setting.apiKey}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await until(() => setting.cache.followerCount === 1, 'one waits')
    socket.destroy()
    await once(socket, 'close')
    await until(() => setting.cache.followerCount === 0, 'nobody waits')
    hangUp.abort()
    expect(await leader).toBe('left')
    await settled(setting)
    expect(setting.upstream.received).toHaveLength(1)
  })

  test('after a failure each tries by itself', async () => {
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const setting = await start(async (received, response) => {
      if (setting.upstream.received.indexOf(received) > 0) return answerJson(response, 200, chatAnswer)
      await held
      answerJson(response, 500, {})
    })
    const posts = Array.from({ length: 3 }, () => setting.post(ask('Why?')))
    await until(() => setting.cache.followerCount === 2, 'two wait')
    release()
    const statuses = await Promise.all(posts.map(async (post) => (await post).status))
    expect(statuses.sort()).toEqual([200, 200, 502])
    await settled(setting)
  })
})

describe('a question that means the same', () => {
  const vectors: Record<string, number[]> = {
    'What is the capital of France?': [1, 0],
    "what's the capital of france": [1, 0.01],
    'What is the capital of Germany?': [1, 0.02],
  }
  const embeds = (received: Received, response: ServerResponse) => {
    if (received.path !== '/v1/embeddings') return answerJson(response, 200, chatAnswer)
    const { input } = JSON.parse(received.body.toString()) as { input: string }
    const usage = { prompt_tokens: 3, total_tokens: 3 }
    answerJson(response, 200, {
      object: 'list',
      model: 'embedder',
      data: [{ index: 0, embedding: vectors[input] }],
      usage,
    })
  }

  test('costs its vector, and where the answer tells no usage nobody knows what it all cost', async () => {
    const { usage: _untold, ...untelling } = chatAnswer
    const setting = await start(
      (received, response) =>
        received.path === '/v1/embeddings' ? embeds(received, response) : answerJson(response, 200, untelling),
      { policy: { semantic: { threshold: 0.95, embeddingRoute: 'embed' } } },
    )
    expect((await setting.post(ask('What is the capital of France?'))).status).toBe(200)
    const [record] = setting.door.meter.closed
    expect(record?.hops).toMatchObject([
      { upstreamModel: 'embedder', tokensIn: 3 },
      { upstreamModel: 'upstream-model' },
    ])
    expect([record?.tokensIn, record?.tokensOut, record?.costNanoUsd]).toEqual([undefined, undefined, undefined])
    await settled(setting)
  })

  test('gets the answer; its vector is a hop of the record, and costs', async () => {
    const setting = await start(embeds, { policy: { semantic: { threshold: 0.95, embeddingRoute: 'embed' } } })
    const wordOf = async (text: string) => (await setting.post(ask(text))).headers.get('x-switchyard-cache')
    expect(await wordOf('What is the capital of France?')).toBe('miss')
    await until(() => setting.cache.size === 1, 'it is kept')
    expect(await wordOf("what's the capital of france")).toBe('semantic')
    expect(await wordOf('What is the capital of Germany?')).toBe('miss')
    expect(setting.cache.counts.guarded).toBe(1)
    const [miss, hit] = setting.door.meter.closed
    expect(miss).toMatchObject({ cacheHit: 'miss', tokensIn: 14, tokensOut: 5, fallbackUsed: false })
    expect(miss?.hops).toMatchObject([
      { upstreamModel: 'embedder', outcome: 'ok', tokensIn: 3 },
      { upstreamModel: 'upstream-model', outcome: 'ok', tokensIn: 11 },
    ])
    expect(hit).toMatchObject({
      cacheHit: 'semantic',
      tokensIn: 3,
      tokensOut: 0,
      savedTokensIn: 11,
      hops: [{ outcome: 'ok' }],
    })
    await settled(setting)
  })
})

describe('a stale answer', () => {
  test('is given at once, and a new one is made for whoever comes next', async () => {
    const texts = ['old', 'new']
    const setting = await start(
      (_received, response) => {
        const message = { role: 'assistant', content: texts[setting.upstream.received.length - 1] }
        answerJson(response, 200, { ...chatAnswer, choices: [{ index: 0, message, finish_reason: 'stop' }] })
      },
      { policy: { staleSeconds: 600 } },
    )
    const post = () => setting.post(ask('Weather now?'))
    await (await post()).text()
    setting.clock.aheadMs = 3_700_000
    const stale = await post()
    expect(stale.headers.get('x-switchyard-cache')).toBe('stale')
    expect(await stale.text()).toContain('"old"')
    await until(() => setting.door.meter.closed.length === 3, 'the renewal is on record')
    expect(setting.door.meter.closed.map(({ cacheHit, status }) => [cacheHit, status])).toEqual([
      ...[
        ['miss', 'ok'],
        ['exact', 'ok'],
        [undefined, 'ok'],
      ],
    ])
    await until(() => setting.cache.counts.kept === 2, 'it is kept')
    expect(await (await post()).text()).toContain('"new"')
    await settled(setting)
  })
})

test('a stale answer is made anew for a key that may have one request at once', async () => {
  const setting = await start(answers, { policy: { staleSeconds: 600 }, key: { inFlightMax: 1 } })
  await (await setting.post(ask('Weather now?'))).text()
  setting.clock.aheadMs = 3_700_000
  await until(() => setting.door.handler.runningCount === 0, 'its slot is free')
  expect((await setting.post(ask('Weather now?'))).headers.get('x-switchyard-cache')).toBe('stale')
  await until(() => setting.cache.counts.kept === 2, 'it is kept')
  expect(setting.door.meter.closed.map(({ status }) => status)).toEqual(['ok', 'ok', 'ok'])
  await settled(setting)
})

describe('when every target fails', () => {
  test('an answer past its time is given with the apology', async () => {
    const setting = await start(
      (received, response) => {
        if (setting.upstream.received.indexOf(received) === 0) answerJson(response, 200, chatAnswer)
        else answerJson(response, 500, {})
      },
      { lastResortSeconds: 86_400 * 3, apology: 'We apologize.' },
    )
    await (await setting.post(ask('Weather now?'))).text()
    setting.clock.aheadMs = 7_200_000
    const response = await setting.post(ask('Weather now?'))
    expect(response.status).toBe(200)
    expect(response.headers.get('x-switchyard-cache')).toBe('miss')
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: 'We apologize.\n\nhello' } }] })
    expect(setting.door.meter.closed[1]).toMatchObject({ code: 'last_resort', cacheHit: 'miss' })
    await settled(setting)
  })
})
