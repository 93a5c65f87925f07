import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Pool } from 'undici'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { nothingKnown, type TargetHealth } from '../../../proto/policy/health.js'
import { sketchKey, sketchRoute, sketchTarget } from '../../../proto/policy/table-fixture.js'
import type { ApiKeyTable, TargetTable } from '../../../proto/policy/tables.js'
import { systemClock, VirtualClock } from '../../../proto/std/clock.js'
import { openaiDialect } from '../providers/openai/dialect.js'
import type { ProviderDialect, ProviderSecret } from '../providers/provider-dialect.js'
import { embeddingMsMax, RouteEmbedder, type RouteEmbedderOptions } from './embedder.js'

let server: Server
let pool: Pool
let answer: (response: ServerResponse) => void
let received: { url: string; headers: IncomingHttpHeaders; body: string }[] = []

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text
    })
    request.on('end', () => {
      received.push({ url: request.url ?? '', headers: request.headers, body })
      answer(response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  pool = new Pool(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
beforeEach(() => {
  received = []
})
afterAll(async () => {
  await pool.destroy()
  server.closeAllConnections()
  server.close()
})

const json =
  (value: unknown, status = 200) =>
  (response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(value))
  }
const vector = json({ data: [{ embedding: [3, 4] }], model: 'e', usage: { prompt_tokens: 7, total_tokens: 7 } })

function targetOf(id: string, over: Partial<TargetTable['provider']> = {}): TargetTable {
  const sketch = sketchTarget(id, { capabilities: ['embeddings'] })
  return {
    ...sketch,
    deadlines: { ...sketch.deadlines, totalMs: 60_000 },
    provider: { ...sketch.provider, basePath: '/v1', ...over },
  }
}

function keyWith(...targets: TargetTable[]): ApiKeyTable {
  // Its clients may not call the route themselves.
  return { ...sketchKey([sketchRoute('embed', { targets })], { regions: ['eu'], allowed: ['chat'] }) }
}

interface EmbedderParts extends Partial<Pick<RouteEmbedderOptions, 'upstreams' | 'healths'>> {
  secrets?: Record<string, ProviderSecret>
  clock?: VirtualClock
  dialect?: ProviderDialect
}

function embedderWith({ secrets, clock, dialect = openaiDialect, ...more }: EmbedderParts = {}) {
  return new RouteEmbedder({
    dialects: { find: (kind) => (kind === 'vllm' ? dialect : null) },
    vault: { get: (id) => secrets?.[id] ?? null },
    upstreams: { of: () => ({ pool }) },
    clock: clock ?? systemClock,
    ...more,
  })
}

const none = { vector: null, hop: null }
const fails = () => {
  throw new Error('it trips')
}

describe('a vector of a question', () => {
  test('comes from the first target of the tenant’s route, as any client would ask it', async () => {
    answer = vector
    const target = targetOf('a', { credential: { id: 'crd', version: 1 } })
    const { vector: got, hop } = await embedderWith({ secrets: { crd: 'sk' } }).embed(
      'Why "so"?',
      'embed',
      keyWith(target),
    )
    expect(got).toEqual(Float32Array.of(3, 4))
    expect(hop).toMatchObject({ target: { id: 'a' }, outcome: 'ok', httpStatus: 200, usage: { input: 7 } })
    expect(received).toMatchObject([{ url: '/v1/embeddings', headers: { authorization: 'Bearer sk' } }])
    expect(JSON.parse(received[0]?.body ?? '')).toEqual({ model: 'llama', input: 'Why "so"?' })
  })

  test.each<[string, ApiKeyTable, string]>([
    ['no such route', keyWith(targetOf('a')), 'other'],
    ['a region that is not permitted', keyWith(targetOf('a', { region: 'us' })), 'embed'],
    [
      'a provider outside, for a key that may not',
      { ...keyWith(targetOf('a', { external: true })), allowExternal: false },
      'embed',
    ],
    ['a kind that makes none', keyWith(targetOf('a', { kind: 'anthropic' })), 'embed'],
    ['a credential that is not here', keyWith(targetOf('a', { credential: { id: 'x', version: 1 } })), 'embed'],
  ])('is not asked for with %s', async (_name, key, route) => {
    answer = vector
    expect(await embedderWith().embed('Why?', route, key)).toEqual({ vector: null, hop: null })
    expect(received).toEqual([])
  })

  test('passes over a target that cannot be asked', async () => {
    answer = vector
    const key = keyWith(targetOf('a', { kind: 'anthropic' }), targetOf('b'))
    expect((await embedderWith().embed('Why?', 'embed', key)).hop?.target.id).toBe('b')
  })

  test.each<[string, (response: ServerResponse) => void, string, number]>([
    ['a "no"', json({ error: {} }, 400), 'upstream_4xx', 400],
    ['a rate limit', json({}, 429), 'rate_limited', 429],
    ['a failure', json({}, 503), 'upstream_5xx', 503],
    ['no vector', json({ data: [] }), 'malformed', 200],
    ['texts for numbers', json({ data: [{ embedding: ['1'] }] }), 'malformed', 200],
    ['more than is read', json({ data: [{ embedding: Array(400_000).fill(0.1) }] }), 'malformed', 200],
    ['a broken connection', (response) => response.destroy(), 'connect_error', 0],
  ])('that does not come is a hop that failed: %s', async (_name, script, outcome, httpStatus) => {
    answer = script
    const { vector: got, hop } = await embedderWith().embed('Why?', 'embed', keyWith(targetOf('a')))
    expect(got).toBeNull()
    expect(hop).toMatchObject({ outcome, httpStatus })
  })

  test.each<[string, Partial<ProviderDialect>]>([
    ['answers', { readAnswer: fails }],
    ['requests', { body: fails }],
  ] as [string, object][])('that a dialect trips over is none: %s', async (_name, over) => {
    answer = vector
    const { embeddings } = openaiDialect.native
    if (embeddings === undefined) throw new Error('it makes vectors')
    const dialect: ProviderDialect = { ...openaiDialect, native: { embeddings: { ...embeddings, ...over } } }
    const { vector: got, hop } = await embedderWith({ dialect }).embed('Why?', 'embed', keyWith(targetOf('a')))
    expect([got, hop?.outcome]).toEqual([null, 'readAnswer' in over ? 'malformed' : undefined])
  })

  test('whose credential or connection fails by throwing is none', async () => {
    const refusing: ProviderDialect = { ...openaiDialect, authorize: () => Promise.reject(new Error('no')) }
    const closed = { of: () => ({ pool: { dispatch: fails } }) }
    for (const options of [{ dialect: refusing }, { upstreams: closed }]) {
      expect(await embedderWith(options).embed('Why?', 'embed', keyWith(targetOf('a')))).toEqual(none)
    }
  })

  describe('of a target that does not answer in time', () => {
    const clock = new VirtualClock()
    const hanging = keyWith(targetOf('a'))
    let openCalls: ServerResponse[] = []
    const ask = async (embedder: RouteEmbedder) => {
      const asked = new Promise<void>((resolve) => {
        answer = (response) => {
          openCalls.push(response)
          resolve()
        }
      })
      const embedding = embedder.embed('Why?', 'embed', hanging)
      if ((await Promise.race([asked, embedding])) === undefined) await clock.advance(embeddingMsMax)
      return embedding
    }

    test('is not waited for after a few times, but by one question every few seconds', async () => {
      const embedder = embedderWith({ clock })
      for (let count = 0; count < 5; count++) expect((await ask(embedder)).hop?.outcome).toBe('timeout_total')
      received = []
      const startedUs = clock.monotonicUs()
      for (let count = 0; count < 20; count++) expect(await ask(embedder)).toEqual(none)
      expect([received.length, clock.monotonicUs()]).toEqual([0, startedUs])
      await clock.advance(5_000)
      // One asks it whether it is back; the others do not wait for what becomes of that.
      const probe = ask(embedder)
      expect(await embedder.embed('Why?', 'embed', hanging)).toEqual(none)
      expect((await probe).hop?.outcome).toBe('timeout_total')
      await clock.advance(10_000)
      answer = vector
      expect((await embedder.embed('Why?', 'embed', hanging)).vector).toEqual(Float32Array.of(3, 4))
      expect((await embedder.embed('Why?', 'embed', hanging)).vector).toEqual(Float32Array.of(3, 4))
      for (const response of openCalls) response.destroy()
      openCalls = []
    })

    test('another one of the route is asked', async () => {
      const embedder = embedderWith({ clock })
      answer = json({}, 503)
      const both = keyWith(targetOf('a'), targetOf('b'))
      for (let count = 0; count < 5; count++) await embedder.embed('Why?', 'embed', hanging)
      answer = vector
      expect((await embedder.embed('Why?', 'embed', both)).hop?.target.id).toBe('b')
    })
  })

  test('is not asked for while its target says that it is asked too often, and where requests have seen it fail', async () => {
    const clock = new VirtualClock()
    const embedder = embedderWith({ clock })
    answer = (response) => response.writeHead(429, { 'retry-after': '7' }).end('{}')
    const key = keyWith(targetOf('a'))
    expect((await embedder.embed('Why?', 'embed', key)).hop?.outcome).toBe('rate_limited')
    answer = vector
    await clock.advance(6_999)
    expect(await embedder.embed('Why?', 'embed', key)).toEqual(none)
    await clock.advance(1)
    expect((await embedder.embed('Why?', 'embed', key)).hop?.outcome).toBe('ok')
    const open: TargetHealth = { state: 'open', retryInMs: 9, latencyUs: null, inFlightCount: 0 }
    const of = (target: TargetTable) => (target.id === 'a' ? open : nothingKnown.of(target))
    const healths = { facts: () => ({ of, calm: false }) }
    const both = keyWith(targetOf('a'), targetOf('b'))
    expect((await embedderWith({ healths }).embed('Why?', 'embed', both)).hop?.target.id).toBe('b')
  })

  test('is waited for only so long', async () => {
    let open: ServerResponse | null = null
    const asked = new Promise<void>((resolve) => {
      answer = (response) => {
        open = response
        resolve()
      }
    })
    const clock = new VirtualClock()
    const embedding = embedderWith({ clock }).embed('Why?', 'embed', keyWith(targetOf('a')))
    await asked
    await clock.advance(embeddingMsMax)
    expect((await embedding).hop).toMatchObject({ outcome: 'timeout_total', endedUs: embeddingMsMax * 1_000 })
    ;(open as ServerResponse | null)?.destroy()
  })
})
