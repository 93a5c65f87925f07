import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Pool } from 'undici'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sketchKey, sketchRoute, sketchTarget } from '../../../proto/policy/table-fixture.js'
import type { ApiKeyTable, TargetTable } from '../../../proto/policy/tables.js'
import { systemClock, VirtualClock } from '../../../proto/std/clock.js'
import { openaiDialect } from '../providers/openai/dialect.js'
import type { ProviderSecret } from '../providers/provider-dialect.js'
import { embeddingMsMax, RouteEmbedder } from './embedder.js'

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

function embedderWith(options: { secrets?: Record<string, ProviderSecret>; clock?: VirtualClock } = {}) {
  return new RouteEmbedder({
    dialects: { find: (kind) => (kind === 'vllm' ? openaiDialect : null) },
    vault: { get: (id) => options.secrets?.[id] ?? null },
    upstreams: { of: () => ({ pool }) },
    clock: options.clock ?? systemClock,
  })
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
