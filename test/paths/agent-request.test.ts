import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { DecisionTables } from '../../proto/policy/tables.js'
import {
  answerJson,
  chatAnswer,
  type Door,
  type DoorSpec,
  denyKey,
  makeTables,
  makeTarget,
  openDoor,
  type Script,
  ScriptedUpstream,
  type TargetSpec,
  until,
  type WorldSpec,
} from '../harness/agent-door.js'

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function upstream(script: Script): Promise<ScriptedUpstream> {
  const started = await new ScriptedUpstream(script).start()
  cleanUps.push(() => started.stop())
  return started
}

interface World extends Door {
  readonly apiKey: string
  readonly secretHash: string
  readonly planted: DecisionTables
}

/** A door whose route `fast` has one target per spec. */
async function world(
  targets: TargetSpec[],
  spec: Partial<WorldSpec> = {},
  doorSpec: Partial<DoorSpec> = {},
): Promise<World> {
  const { tables, apiKey, secretHash } = makeTables({ routes: { fast: targets.map(makeTarget) }, ...spec })
  const opened = await openDoor({ tables, ...doorSpec })
  cleanUps.push(() => opened.stop())
  return Object.assign(opened, { apiKey, secretHash, planted: tables })
}

interface Sent {
  body?: unknown
  headers?: Record<string, string>
  path?: string
  method?: string
  signal?: AbortSignal
}

function send(
  at: World,
  { body = hello, headers = {}, path = '/v1/chat/completions', method = 'POST', signal }: Sent = {},
) {
  return fetch(at.url + path, {
    method,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${at.apiKey}`, ...headers },
    ...(method === 'GET' ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  })
}

const hello = { model: 'fast', messages: [{ role: 'user', content: 'hi' }] }
const streamed = { ...hello, stream: true }

const chunk = (delta: unknown, extra: Record<string, unknown> = {}, finish: string | null = null) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'up-1', choices: [{ index: 0, delta, finish_reason: finish }], ...extra })}\n\n`
const usageChunk = (input: number, output: number) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'up-1', choices: [], usage: { prompt_tokens: input, completion_tokens: output, total_tokens: input + output } })}\n\n`
const done = 'data: [DONE]\n\n'
const sseHead = { 'content-type': 'text/event-stream' }
const wholeStream =
  chunk({ role: 'assistant', content: '' }) +
  chunk({ content: 'hel' }) +
  chunk({ content: 'lo' }) +
  chunk({}, {}, 'stop') +
  usageChunk(9, 2) +
  done

const answering: Script = (_received, response) => answerJson(response, 200, chatAnswer)
const streaming: Script = (_received, response) => {
  response.writeHead(200, sseHead)
  response.end(wholeStream)
}
const failing =
  (status: number, headers = {}): Script =>
  (_received, response) =>
    answerJson(response, status, { error: { message: `upstream says ${status}` } }, headers)
const silent: Script = () => {}

async function errorOf(
  response: Response,
): Promise<{ message: string; type: string; param: string | null; code: string }> {
  return ((await response.json()) as { error: { message: string; type: string; param: string | null; code: string } })
    .error
}

describe('a whole answer', () => {
  test('goes through with its usage, cost and both models on the record', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin }])
    const response = await send(at, { body: { ...hello, user: 'u1', temperature: 0.5 } })
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual(chatAnswer)
    expect(at.meter.opened).toHaveLength(1)
    expect(at.meter.closed).toHaveLength(1)
    expect(at.meter.last).toMatchObject({
      status: 'ok',
      code: '',
      httpStatus: 200,
      tokensIn: 11,
      tokensOut: 5,
      tokensInCached: 4,
      tokensOutReasoning: 2,
      usageSource: 'provider',
      costNanoUsd: 19_000,
      priceVersion: 3,
      requestedModel: 'fast',
      actualModel: 'upstream-model-2026-01-01',
      userId: 'u1',
      temperature: 0.5,
      routeName: 'fast',
      fallbackUsed: false,
      stream: false,
      snapshotGeneration: 7,
    })
    expect(at.handler.runningCount).toBe(0)
    await until(() => at.handler.deadlineCount === 0, 'nothing is waited for')
  })

  test('leaves every byte alone that is not the model', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin }])
    const body =
      '{ "unknown" : 1.50e1,\n\t"messages":[{"role":"user","content":"é \\u00e9 \\"model\\": \\\\"}] , "model" : "fast","x":{"model":"y"}, "big": 12345678901234567890 }'
    await send(at, { body })
    expect(up.received[0]?.body.toString()).toBe(body.replace('"fast"', '"upstream-model"'))
  })

  test('names hop and route, returns the request id and continues the trace', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin, name: 'gpu', upstreamModel: 'llama' }])
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const response = await send(at, { headers: { 'x-request-id': 'abc.1', traceparent, tracestate: 'a=b' } })
    const heads = Object.fromEntries(response.headers)
    expect(heads).toMatchObject({
      'x-request-id': 'abc.1',
      'x-switchyard-route': 'fast',
      'x-switchyard-target': 'gpu/llama',
      'x-switchyard-hop': '1',
    })
    expect(heads['x-switchyard-fallback-reason']).toBeUndefined()
    expect(heads['traceparent']).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/)
    expect(up.received[0]?.headers).toMatchObject({
      'x-request-id': 'abc.1',
      tracestate: 'a=b',
      traceparent: heads['traceparent'],
    })
    expect(at.meter.last).toMatchObject({ requestId: 'abc.1', traceId: '0af7651916cd43dd8448eb211c80319c' })
  })

  test('says which field was lowered to what the target gives, and goes where a key that may says', async () => {
    const up = await upstream(answering)
    const parameters = { temperature: null, outputTokensMax: 90 }
    const at = await world(
      [{ origin: 'http://127.0.0.1:9' }, { origin: up.origin, name: 'spare', routing: { parameters } }],
      { key: { mayPin: true } },
    )
    const response = await send(at, {
      body: { ...hello, max_tokens: 500 },
      headers: { 'x-switchyard-target': 'spare/upstream-model' },
    })
    expect(response.headers.get('x-switchyard-capped')).toBe('max_tokens')
    expect(response.headers.get('x-switchyard-hop')).toBe('1')
    expect(JSON.parse(up.received[0]?.body.toString() ?? '')).toMatchObject({ max_tokens: 90 })
    expect(JSON.stringify(up.received[0]?.headers)).not.toContain('x-switchyard-target')
    expect(at.meter.last).toMatchObject({ status: 'ok', hops: [{ outcome: 'ok' }] })
  })

  test('makes a request id and a trace when what came is not valid', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin }])
    const response = await send(at, {
      headers: { 'x-request-id': 'no spaces', traceparent: '00-00000000000000000000000000000000-b7ad6b7169203331-01' },
    })
    expect(response.headers.get('x-request-id')).toMatch(/^req_/)
    expect(response.headers.get('traceparent')).toMatch(/^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  })

  test('sends the credential upstream and nothing of the client’s', async () => {
    const up = await upstream(answering)
    const at = await world(
      [{ origin: up.origin, credential: { id: 'crd', version: 2 } }],
      {},
      { secrets: { 'crd/2': 'sk-up' } },
    )
    await send(at, { headers: { cookie: 'a=b', 'x-custom': '1' } })
    expect(up.received[0]?.headers['authorization']).toBe('Bearer sk-up')
    expect(JSON.stringify(up.received[0]?.headers)).not.toContain(at.apiKey)
    expect(up.received[0]?.headers['cookie']).toBeUndefined()
  })

  test('embeddings go through', async () => {
    const up = await upstream((_received, response) =>
      answerJson(response, 200, {
        object: 'list',
        data: [{ object: 'embedding', index: 0, embedding: [0.1] }],
        model: 'e',
        usage: { prompt_tokens: 3, total_tokens: 3 },
      }),
    )
    const at = await world([{ origin: up.origin }])
    const response = await send(at, { path: '/v1/embeddings', body: { model: 'fast', input: 'hi' } })
    expect(response.status).toBe(200)
    expect(up.received[0]?.path).toBe('/v1/embeddings')
    expect(at.meter.last).toMatchObject({ operation: 'embeddings', tokensIn: 3, tokensOut: 0, usageSource: 'provider' })
  })

  test('Ollama’s own counts are tokens where only those are present', async () => {
    const up = await upstream((_received, response) =>
      answerJson(response, 200, { model: 'llama3', message: { content: 'x' }, prompt_eval_count: 26, eval_count: 298 }),
    )
    const at = await world([{ origin: up.origin, kind: 'ollama' }])
    await send(at)
    expect(at.meter.last).toMatchObject({ tokensIn: 26, tokensOut: 298, usageSource: 'provider' })
  })

  test('models are the routes that the key may use', async () => {
    const at = await world([], { routes: { a: [], b: [], c: [] }, key: { allowedRoutes: new Set(['a', 'c']) } })
    const list = (await (await send(at, { method: 'GET', path: '/v1/models' })).json()) as {
      object: string
      data: { id: string }[]
    }
    expect(list.data.map((model) => model.id)).toEqual(['a', 'c'])
    expect((await send(at, { method: 'GET', path: '/v1/models/a' })).status).toBe(200)
    const hidden = await send(at, { method: 'GET', path: '/v1/models/b' })
    const unknown = await send(at, { method: 'GET', path: '/v1/models/zzz' })
    expect([hidden.status, unknown.status]).toEqual([404, 404])
    expect((await errorOf(hidden)).message.replaceAll('`b`', '`zzz`')).toBe((await errorOf(unknown)).message)
    expect(at.meter.closed.map((record) => [record.operation, record.status])).toEqual([
      ['models', 'ok'],
      ['models', 'ok'],
      ['models', 'refused'],
      ['models', 'refused'],
    ])
  })
})

describe('every refusal is an OpenAI error', () => {
  const cases: [string, Sent & { noKey?: boolean; key?: string }, number, string, string | null][] = [
    ['no key', { headers: { authorization: '' } }, 401, 'missing_api_key', null],
    ['not a bearer', { headers: { authorization: 'Basic x' } }, 401, 'missing_api_key', null],
    [
      'a key longer than any',
      { headers: { authorization: `Bearer sy_a_${'b'.repeat(5_000)}` } },
      401,
      'invalid_api_key',
      null,
    ],
    ['mistyped key', { headers: { authorization: 'Bearer sy_a_b' } }, 401, 'invalid_api_key', null],
    [
      'unknown key',
      { headers: { authorization: `Bearer ${makeTables({ routes: {} }).apiKey}` } },
      401,
      'invalid_api_key',
      null,
    ],
    ['unknown path', { path: '/v1/nothing?key=secret' }, 404, 'unknown_url', null],
    ['wrong method', { path: '/v1/models' }, 405, 'method_not_allowed', null],
    ['wrong method for chat', { method: 'GET' }, 405, 'method_not_allowed', null],
    ['not JSON', { body: '{"model":' }, 400, 'invalid_json', null],
    ['not an object', { body: '[]' }, 400, 'invalid_json', null],
    ['no model', { body: { messages: hello.messages } }, 400, 'missing_field', 'model'],
    ['model of a wrong type', { body: { ...hello, model: 1 } }, 400, 'invalid_type', 'model'],
    [
      'model twice',
      { body: '{"model":"fast","mod\\u0065l":"other","messages":[{"role":"user"}]}' },
      400,
      'duplicate_field',
      'model',
    ],
    ['model too long', { body: { ...hello, model: 'x'.repeat(300) } }, 400, 'invalid_type', 'model'],
    ['no messages', { body: { model: 'fast' } }, 400, 'missing_field', 'messages'],
    ['messages of a wrong type', { body: { model: 'fast', messages: 'hi' } }, 400, 'invalid_type', 'messages'],
    ['empty messages', { body: { model: 'fast', messages: [] } }, 400, 'empty_array', 'messages'],
    [
      'message without role',
      { body: { model: 'fast', messages: [{ role: 'user' }, {}] } },
      400,
      'missing_field',
      'messages[1].role',
    ],
    ['stream of a wrong type', { body: { ...hello, stream: 'yes' } }, 400, 'invalid_type', 'stream'],
    ['temperature of a wrong type', { body: { ...hello, temperature: 'hot' } }, 400, 'invalid_type', 'temperature'],
    [
      'stream options of a wrong type',
      { body: { ...streamed, stream_options: [] } },
      400,
      'invalid_type',
      'stream_options',
    ],
    ['embeddings without input', { path: '/v1/embeddings', body: { model: 'fast' } }, 400, 'missing_field', 'input'],
    [
      'embeddings of nothing',
      { path: '/v1/embeddings', body: { model: 'fast', input: [] } },
      400,
      'empty_array',
      'input',
    ],
    ['unknown model', { body: { ...hello, model: 'nope' } }, 404, 'model_not_found', 'model'],
    ['encoded body', { headers: { 'content-encoding': 'gzip' } }, 415, 'unsupported_encoding', 'content-encoding'],
    ['body too large', { body: { ...hello, pad: 'x'.repeat(2_000_000) } }, 413, 'body_too_large', null],
  ]
  test.each(cases)('%s', async (_name, sent, status, code, param) => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin }])
    const response = await send(at, sent)
    expect(response.status).toBe(status)
    const error = await errorOf(response)
    expect(error).toMatchObject({ code, param })
    expect(error.message.length).toBeGreaterThan(5)
    expect(JSON.stringify(error)).not.toContain('secret')
    expect(up.received).toHaveLength(0)
    expect(at.handler.runningCount).toBe(0)
    await until(() => at.handler.deadlineCount === 0, 'nothing is waited for')
    const isAuthenticated = status !== 401 && status !== 405 && code !== 'unknown_url'
    expect(at.meter.closed.map((record) => [record.status, record.code, record.httpStatus])).toEqual(
      isAuthenticated ? [['refused', code, status]] : [],
    )
  })

  test('a chunked body over the limit is refused while it is still coming', async () => {
    const at = await world([], {}, { limits: { bodyBytesMax: 10_000 } })
    const socket = connect(at.port, '127.0.0.1')
    let text = ''
    socket.setEncoding('utf8').on('data', (data) => {
      text += data
    })
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${at.apiKey}\r\ntransfer-encoding: chunked\r\n\r\n`,
    )
    const piece = `4000\r\n${'x'.repeat(0x4000)}\r\n`
    socket.write(piece)
    await until(() => text.includes('body_too_large'), 'the refusal')
    expect(text).toContain('HTTP/1.1 413')
    socket.destroy()
  })

  test('an api-key header does as well', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin }])
    const response = await fetch(`${at.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'api-key': at.apiKey },
      body: JSON.stringify(hello),
    })
    expect(response.status).toBe(200)
  })

  test('a head that is too large', async () => {
    const at = await world([], {}, { limits: { headerBytesMax: 2_000 } })
    const response = await send(at, { headers: { 'x-long': 'x'.repeat(3_000) } })
    expect(response.status).toBe(431)
    expect((await errorOf(response)).code).toBe('header_too_large')
  })

  test('bytes that are not HTTP', async () => {
    const at = await world([])
    const socket = connect(at.port, '127.0.0.1')
    socket.end('hello there\r\n\r\n')
    const [data] = (await once(socket, 'data')) as [Buffer]
    expect(data.toString()).toContain('"code":"malformed_request"')
  })

  test('without configuration', async () => {
    const at = await world([], {}, { tables: null })
    const response = await send(at)
    expect(response.status).toBe(503)
    expect(await errorOf(response)).toMatchObject({ code: 'agent_not_ready', type: 'server_error' })
    expect(response.headers.get('retry-after')).toBe('1')
    expect((await fetch(`${at.url}/readyz`)).status).toBe(503)
    expect((await fetch(`${at.url}/healthz`)).status).toBe(200)
  })

  test('with a full spool', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin }])
    at.meter.accepting = false
    expect(await errorOf(await send(at))).toMatchObject({ code: 'usage_spool_full' })
    expect(up.received).toHaveLength(0)
  })

  test('an expired key', async () => {
    const at = await world([], { key: { expiresAtMs: 1 } })
    expect(await errorOf(await send(at))).toMatchObject({ code: 'expired_api_key' })
  })

  test('a denied key, even where its own section still has it', async () => {
    const at = await world([])
    at.tables.swap(denyKey(at.planted, at.secretHash, false))
    expect(await errorOf(await send(at))).toMatchObject({ code: 'revoked_api_key' })
  })

  test('a key’s requests per minute', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin }], { key: { requestsPerMinuteMax: 2 } })
    expect([(await send(at)).status, (await send(at)).status]).toEqual([200, 200])
    const third = await send(at)
    expect(third.status).toBe(429)
    expect(await errorOf(third)).toMatchObject({ code: 'rate_limit_exceeded', type: 'rate_limit_error' })
    expect(Number(third.headers.get('retry-after'))).toBeGreaterThan(20)
    expect(up.received).toHaveLength(2)
  })

  test('a key’s requests at once; the slot comes back', async () => {
    const release: (() => void)[] = []
    const up = await upstream((_received, response) => {
      release.push(() => answerJson(response, 200, chatAnswer))
    })
    const at = await world([{ origin: up.origin }], { key: { inFlightMax: 1 } })
    const first = send(at)
    await until(() => release.length === 1, 'the first at the upstream')
    expect(await errorOf(await send(at))).toMatchObject({ code: 'concurrency_limit_exceeded' })
    release[0]?.()
    expect((await first).status).toBe(200)
    const third = send(at)
    await until(() => release.length === 2, 'the third at the upstream')
    release[1]?.()
    expect((await third).status).toBe(200)
    expect(at.handler.runningCount).toBe(0)
    await until(() => at.handler.deadlineCount === 0, 'nothing is waited for')
  })

  test('the agent’s requests at once, before the body is read', async () => {
    const up = await upstream(silent)
    const at = await world([{ origin: up.origin }], {}, { limits: { inFlightMax: 1 } })
    const controller = new AbortController()
    const first = send(at, { signal: controller.signal }).catch(() => null)
    await until(() => up.received.length === 1, 'the first at the upstream')
    expect(await errorOf(await send(at, { body: 'not even JSON' }))).toMatchObject({ code: 'agent_overloaded' })
    controller.abort()
    await first
    await until(() => at.server.inFlightCount === 0, 'no request in flight')
  })

  test('a target outside the permitted regions is never called', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin, region: 'us' }], { permittedRegions: ['eu'] })
    expect(await errorOf(await send(at))).toMatchObject({ code: 'no_eligible_target' })
    expect(up.received).toHaveLength(0)
  })

  test('a model that does not serve the operation', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin, capabilities: ['embeddings'] }])
    const response = await send(at)
    expect(response.status).toBe(400)
    expect(await errorOf(response)).toMatchObject({ code: 'operation_not_supported', param: 'model' })
  })
})

describe('fallback, before the first byte', () => {
  const firsts: [string, Script | 'refused', Partial<TargetSpec>, string, number][] = [
    ['a refused connection', 'refused', {}, 'connect_error', 0],
    ['a connection closed without an answer', (_r, _s, socket) => void socket.destroy(), {}, 'connect_error', 0],
    ['429', failing(429), {}, 'rate_limited', 429],
    ['500', failing(500), {}, 'upstream_5xx', 500],
    ['503', failing(503), {}, 'upstream_5xx', 503],
    ['a redirect', failing(302, { location: 'http://elsewhere/' }), {}, 'upstream_5xx', 302],
    ['a rejected credential', failing(401), {}, 'upstream_4xx', 401],
    ['a missing credential', answering, { credential: { id: 'gone', version: 1 } }, 'not_ready', 0],
    ['a kind that nobody knows', answering, { kind: 'carrier-pigeon' }, 'not_ready', 0],
    ['silence', silent, { deadlines: { totalMs: 150 } }, 'timeout_total', 0],
    [
      'an answer that is not JSON',
      (_r, response) => void response.writeHead(200, { 'content-type': 'application/json' }).end('<html>'),
      {},
      'malformed',
      200,
    ],
    [
      'an answer that stops',
      (_r, response) => void response.writeHead(200, { 'content-type': 'application/json' }).write('{'),
      { deadlines: { idleMs: 150 } },
      'timeout_idle',
      200,
    ],
  ]
  test.each(firsts)('%s', async (_name, script, spec, outcome, httpStatus) => {
    const first = script === 'refused' ? null : await upstream(script)
    const second = await upstream(answering)
    const at = await world([
      { origin: first?.origin ?? 'http://127.0.0.1:9', ...spec },
      { origin: second.origin, name: 'spare' },
    ])
    const response = await send(at)
    expect(response.status).toBe(200)
    expect(response.headers.get('x-switchyard-hop')).toBe('2')
    expect(response.headers.get('x-switchyard-target')).toBe('spare/upstream-model')
    expect(response.headers.get('x-switchyard-fallback-reason')).toBe(outcome)
    expect(at.meter.closed).toHaveLength(1)
    expect(at.meter.last).toMatchObject({ status: 'ok', fallbackUsed: true, tokensOut: 5 })
    expect(at.meter.last.hops).toMatchObject([
      { index: 0, outcome, httpStatus },
      { index: 1, outcome: 'ok', httpStatus: 200 },
    ])
  })

  const streamFirsts: [string, Script, Partial<TargetSpec>, string][] = [
    [
      'headers and then silence',
      (_r, response) => void response.writeHead(200, sseHead).flushHeaders(),
      { deadlines: { firstTokenMs: 150 } },
      'timeout_first_token',
    ],
    [
      'only comments',
      (_r, response) => void response.writeHead(200, sseHead).write(': wait\n\n'),
      { deadlines: { firstTokenMs: 150 } },
      'timeout_first_token',
    ],
    ['silence before headers', silent, { deadlines: { firstTokenMs: 150 } }, 'timeout_first_token'],
    [
      'an error as first event',
      (_r, response) => void response.writeHead(200, sseHead).end('data: {"error":{"message":"no"}}\n\n'),
      {},
      'upstream_5xx',
    ],
    [
      'something that is no event',
      (_r, response) => void response.writeHead(200, sseHead).end('data: {"x\n\n'),
      {},
      'malformed',
    ],
    ['an empty stream', (_r, response) => void response.writeHead(200, sseHead).end(), {}, 'malformed'],
    [
      'a terminal event and nothing else',
      (_r, response) => void response.writeHead(200, sseHead).end(done),
      {},
      'malformed',
    ],
  ]
  test.each(streamFirsts)('of a stream: %s', async (_name, script, spec, outcome) => {
    const first = await upstream(script)
    const second = await upstream(streaming)
    const at = await world([{ origin: first.origin, ...spec }, { origin: second.origin }])
    const response = await send(at, { body: streamed })
    expect(response.headers.get('x-switchyard-hop')).toBe('2')
    expect(response.headers.get('x-switchyard-fallback-reason')).toBe(outcome)
    expect(await response.text()).toBe(wholeStream.replace(usageChunk(9, 2), ''))
    expect(at.meter.last).toMatchObject({
      status: 'ok',
      fallbackUsed: true,
      tokensIn: 9,
      tokensOut: 2,
      usageSource: 'provider',
    })
  })

  test('an upstream’s 400 goes to the client as it is, and no other target is tried', async () => {
    const first = await upstream(failing(400))
    const second = await upstream(answering)
    const at = await world([{ origin: first.origin }, { origin: second.origin }])
    const response = await send(at)
    expect(response.status).toBe(400)
    expect(await response.json()).toEqual({ error: { message: 'upstream says 400' } })
    expect(second.received).toHaveLength(0)
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_rejected', httpStatus: 400 })
  })

  const lasts: [string, Script | 'refused', Partial<TargetSpec>, number, string][] = [
    ['unreachable', 'refused', {}, 502, 'upstream_unavailable'],
    ['rate limited', failing(429, { 'retry-after': '7' }), {}, 429, 'upstream_rate_limited'],
    ['failing', failing(500), {}, 502, 'upstream_failed'],
    ['slow', silent, { deadlines: { totalMs: 120 } }, 504, 'upstream_timeout'],
    ['broken', (_r, response) => void response.writeHead(200).end('{'), {}, 502, 'upstream_malformed'],
    ['rejecting the credential', failing(403), {}, 502, 'upstream_credential_rejected'],
    ['without credential', answering, { credential: { id: 'gone', version: 1 } }, 503, 'upstream_not_ready'],
  ]
  test.each(lasts)('when the last one is %s the client is told', async (_name, script, spec, status, code) => {
    const only = script === 'refused' ? null : await upstream(script)
    const at = await world([{ origin: only?.origin ?? 'http://127.0.0.1:9', ...spec }])
    const response = await send(at)
    expect(response.status).toBe(status)
    const error = await errorOf(response)
    expect(error.code).toBe(code)
    expect(error.message).not.toContain('upstream says')
    if (status === 429) expect(response.headers.get('retry-after')).toBe('7')
    expect(at.meter.last).toMatchObject({ status: 'failed', code, httpStatus: status })
    expect(at.handler.runningCount).toBe(0)
    await until(() => at.handler.deadlineCount === 0, 'nothing is waited for')
  })

  test('all hops together stay within the route’s deadline', async () => {
    const stalled = await upstream(silent)
    const at = await world([{ origin: stalled.origin }, { origin: stalled.origin }, { origin: stalled.origin }], {
      totalTimeoutMs: 300,
    })
    const response = await send(at, { body: streamed })
    expect(response.status).toBe(504)
    expect(at.meter.last.hops?.map((hop) => hop.outcome)).toEqual(['timeout_total'])
    expect(Number(at.meter.last.latencyUs)).toBeLessThan(2_000_000)
  })

  test('a connection that never comes is given up after its own deadline', async () => {
    // Nothing listens behind a full backlog: TEST-NET-1 is not routed, so the connection hangs or is refused at once.
    const spare = await upstream(answering)
    const at = await world([{ origin: 'http://192.0.2.1:81', deadlines: { connectMs: 200 } }, { origin: spare.origin }])
    const response = await send(at)
    expect(response.status).toBe(200)
    expect(['timeout_connect', 'connect_error']).toContain(at.meter.last.hops?.[0]?.outcome)
  })
})

describe('a stream', () => {
  test('reaches the client byte for byte without the usage it did not ask for', async () => {
    const up = await upstream(streaming)
    const at = await world([{ origin: up.origin, kind: 'openai' }])
    const response = await send(at, { body: streamed })
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(await response.text()).toBe(wholeStream.replace(usageChunk(9, 2), ''))
    expect(JSON.parse(up.received[0]?.body.toString() ?? '')).toEqual({
      stream_options: { include_usage: true },
      ...streamed,
      model: 'upstream-model',
    })
    expect(at.meter.last).toMatchObject({
      status: 'ok',
      stream: true,
      tokensIn: 9,
      tokensOut: 2,
      usageSource: 'provider',
      actualModel: 'up-1',
    })
    expect(Number(at.meter.last.firstTokenUs)).toBeGreaterThan(0)
  })

  test('keeps the usage for a client that asked', async () => {
    const up = await upstream(streaming)
    const at = await world([{ origin: up.origin, kind: 'openai' }])
    const response = await send(at, { body: { ...streamed, stream_options: { include_usage: true, other: 1 } } })
    expect(await response.text()).toBe(wholeStream)
    expect(JSON.parse(up.received[0]?.body.toString() ?? '')).toMatchObject({
      stream_options: { include_usage: true, other: 1 },
    })
  })

  test('is cut off by the client: the upstream learns at once, what was delivered is on the record', async () => {
    const up = await upstream(async (_received, response) => {
      response.writeHead(200, sseHead)
      response.write(
        chunk({ role: 'assistant' }, { usage: { prompt_tokens: 9, completion_tokens: 0, total_tokens: 9 } }),
      )
      response.write(
        chunk({ content: 'one two three' }, { usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 } }),
      )
    })
    const at = await world([{ origin: up.origin, kind: 'vllm' }])
    const controller = new AbortController()
    const response = await send(at, { body: streamed, signal: controller.signal })
    const reader = response.body?.getReader()
    const { value } = (await reader?.read()) ?? {}
    expect(Buffer.from(value ?? []).toString()).not.toContain('usage')
    controller.abort()
    await until(() => up.received[0]?.closedByAgent === true, 'the upstream connection closed')
    await until(() => at.meter.closed.length === 1, 'the record')
    expect(at.meter.last).toMatchObject({
      status: 'aborted',
      code: 'client_closed',
      tokensIn: 9,
      usageSource: 'provider',
    })
    await until(() => at.server.inFlightCount === 0, 'no request in flight')
    expect(at.handler.runningCount).toBe(0)
    await until(() => at.handler.deadlineCount === 0, 'nothing is waited for')
  })

  test('is cut off where the provider tells nothing on the way: counted from what was delivered', async () => {
    const up = await upstream((_received, response) => {
      response.writeHead(200, sseHead)
      response.write(chunk({ role: 'assistant' }) + chunk({ content: 'abcd' }) + chunk({ content: 'efg\u00e9' }))
    })
    const at = await world(
      [{ origin: up.origin, kind: 'openai' }],
      {},
      { counter: { count: async (text) => text.length } },
    )
    const controller = new AbortController()
    const response = await send(at, { body: streamed, signal: controller.signal })
    await response.body?.getReader().read()
    controller.abort()
    await until(() => at.meter.closed.length === 1, 'the record')
    expect(at.meter.last).toMatchObject({ status: 'aborted', usageSource: 'counted', tokensOut: 8, tokensIn: 2 })
  })

  test('is cut off while the first byte is awaited', async () => {
    const up = await upstream(silent)
    const at = await world([{ origin: up.origin }])
    const controller = new AbortController()
    const response = send(at, { body: streamed, signal: controller.signal }).catch(() => null)
    await until(() => up.received.length === 1, 'the request upstream')
    controller.abort()
    await response
    await until(() => up.received[0]?.closedByAgent === true, 'the upstream connection closed')
    await until(() => at.meter.closed.length === 1, 'the record')
    expect(at.meter.last).toMatchObject({ status: 'aborted', code: 'client_closed', httpStatus: 499 })
  })

  const breaks: [
    string,
    (write: (text: string) => void, response: Parameters<Script>[1], socket: Parameters<Script>[2]) => void,
    Partial<TargetSpec>,
    string,
    string,
  ][] = [
    ['is broken off', (_write, _response, socket) => socket.destroy(), {}, 'upstream_truncated', 'malformed'],
    ['ends without an end', (_write, response) => void response.end(), {}, 'upstream_truncated', 'malformed'],
    ['hangs', () => {}, { deadlines: { idleMs: 150 } }, 'upstream_timeout', 'timeout_idle'],
    ['is too long', () => {}, { deadlines: { totalMs: 200 } }, 'upstream_timeout', 'timeout_total'],
    ['turns to garbage', (write) => write('data: {"choices": [\n\n'), {}, 'upstream_truncated', 'malformed'],
    [
      'reports an error',
      (write) => write('data: {"error":{"message":"out of memory"}}\n\n'),
      {},
      'upstream_failed',
      'upstream_5xx',
    ],
  ]
  test.each(breaks)(
    'that %s after it began ends with an error event, and no other target is tried',
    async (_name, then, spec, code, outcome) => {
      const first = await upstream((_received, response, socket) => {
        response.writeHead(200, sseHead)
        response.write(chunk({ content: 'a' }), () => then((text) => response.write(text), response, socket))
      })
      const second = await upstream(streaming)
      const at = await world([{ origin: first.origin, ...spec }, { origin: second.origin }])
      const response = await send(at, { body: streamed })
      const text = await response.text()
      expect(text.startsWith(chunk({ content: 'a' }))).toBe(true)
      expect(text).not.toContain('[DONE]')
      const last = JSON.parse(text.trimEnd().split('\n\n').at(-1)?.slice(6) ?? '') as {
        error: { code: string; message: string }
      }
      expect(last.error.code).toBe(code)
      expect(second.received).toHaveLength(0)
      expect(at.meter.last).toMatchObject({ status: 'failed', code, fallbackUsed: false })
      expect(at.meter.last.hops).toMatchObject([{ outcome }])
    },
  )

  test('that ends without a terminal event but with a finish reason is whole', async () => {
    const up = await upstream(
      (_received, response) => void response.writeHead(200, sseHead).end(chunk({ content: 'a' }, {}, 'stop')),
    )
    const at = await world([{ origin: up.origin }])
    expect(await (await send(at, { body: streamed })).text()).toBe(chunk({ content: 'a' }, {}, 'stop'))
    expect(at.meter.last).toMatchObject({ status: 'ok' })
  })

  test('of a revoked key is ended when the revocation says so', async () => {
    const up = await upstream(
      (_received, response) => void response.writeHead(200, sseHead).write(chunk({ content: 'a' })),
    )
    const at = await world([{ origin: up.origin }])
    const response = await send(at, { body: streamed })
    at.tables.swap(denyKey(at.planted, at.secretHash, false))
    expect(at.handler.runningCount).toBe(1)
    at.tables.swap(denyKey(at.planted, at.secretHash, true))
    expect(await response.text()).toContain('"code":"revoked_api_key"')
    expect(at.meter.last).toMatchObject({ status: 'aborted', code: 'revoked_api_key' })
    await until(() => up.received[0]?.closedByAgent === true, 'the upstream connection closed')
    expect(at.handler.runningCount).toBe(0)
    await until(() => at.handler.deadlineCount === 0, 'nothing is waited for')
  })

  test('for a client that asked, from an upstream that refuses to be asked: asks for less, and remembers', async () => {
    const up = await upstream((received, response) => {
      const body = JSON.parse(received.body.toString()) as { stream_options?: { continuous_usage_stats?: boolean } }
      if (body.stream_options?.continuous_usage_stats)
        return answerJson(response, 400, {
          error: { message: 'Unknown parameter: stream_options.continuous_usage_stats' },
        })
      response.writeHead(200, sseHead)
      response.end(wholeStream)
    })
    const at = await world([{ origin: up.origin, kind: 'openai-compatible' }])
    expect((await send(at, { body: streamed })).status).toBe(200)
    expect((await send(at, { body: streamed })).status).toBe(200)
    expect(up.received).toHaveLength(3)
    expect(at.meter.closed.map((record) => record.hops?.length)).toEqual([1, 1])
  })

  test('to a client that reads nothing stops reading upstream, then gives up', async () => {
    let written = 0
    let isOpen = true
    const up = await upstream(async (_received, response) => {
      response.writeHead(200, sseHead)
      const closed = once(response, 'close').then(() => {
        isOpen = false
      })
      const big = chunk({ content: 'x'.repeat(60_000) })
      while (isOpen && written < 500_000_000) {
        written += big.length
        if (!response.write(big))
          await Promise.race([new Promise((resolve) => response.once('drain', resolve)), closed])
      }
    })
    const at = await world([{ origin: up.origin, deadlines: { totalMs: 20_000 } }], {}, { clientStallMs: 300 })
    const socket = connect(at.port, '127.0.0.1')
    const body = JSON.stringify(streamed)
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${at.apiKey}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await once(socket, 'readable')
    await until(() => at.meter.closed.length === 1, 'the record', 20_000)
    expect(at.meter.last).toMatchObject({ status: 'aborted', code: 'client_stalled' })
    expect(written).toBeLessThan(100_000_000)
    socket.destroy()
  })
})

describe('many streams at once', () => {
  test('never mix: each client gets its own words, each record its own tokens', async () => {
    const up = await upstream(async (received, response) => {
      const { user } = JSON.parse(received.body.toString()) as { user: string }
      response.writeHead(200, sseHead)
      const count = 3 + (Number(user) % 7)
      const text = Array.from({ length: count }, (_, index) => chunk({ content: `<${user}:${index}>` })).join('')
      const bytes = Buffer.from(text + chunk({}, {}, 'stop') + usageChunk(Number(user), count) + done)
      // In pieces of changing size, so that events are cut anywhere and streams interleave.
      for (let at = 0, size = 1 + (Number(user) % 97); at < bytes.length; at += size) {
        response.write(bytes.subarray(at, at + size))
        await new Promise((resolve) => setImmediate(resolve))
      }
      response.end()
    })
    const at = await world([{ origin: up.origin, kind: 'openai' }])
    const users = Array.from({ length: 60 }, (_, index) => String(index + 1))
    const texts = await Promise.all(users.map(async (user) => (await send(at, { body: { ...streamed, user } })).text()))
    for (const [index, user] of users.entries()) {
      const words = [...(texts[index] ?? '').matchAll(/<(\d+):(\d+)>/g)]
      expect(words.map((word) => word[1])).toEqual(Array(3 + (Number(user) % 7)).fill(user))
    }
    const tokens = at.meter.closed.map((record) => [record.userId, record.tokensIn, record.tokensOut])
    expect(tokens.sort()).toEqual(users.map((user) => [user, Number(user), 3 + (Number(user) % 7)]).sort())
    expect(at.handler.runningCount).toBe(0)
    await until(() => at.handler.deadlineCount === 0, 'nothing is waited for')
  }, 30_000)
})

describe('the door', () => {
  test('drains: unready, refuses new, lets the running finish', async () => {
    let finish: () => void = () => {}
    const up = await upstream((_received, response) => {
      response.writeHead(200, sseHead)
      response.write(chunk({ content: 'a' }))
      finish = () => response.end(chunk({}, {}, 'stop') + done)
    })
    const at = await world([{ origin: up.origin }])
    const response = await send(at, { body: streamed })
    const drained = at.server.drain(10_000)
    const refused = await send(at)
    expect(refused.status).toBe(503)
    expect(refused.headers.get('connection')).toBe('close')
    expect(await errorOf(refused)).toMatchObject({ code: 'agent_draining' })
    finish()
    expect(await response.text()).toContain('[DONE]')
    await drained
  })

  test('ends what still runs when the deadline of the drain is over', async () => {
    const up = await upstream(
      (_received, response) => void response.writeHead(200, sseHead).write(chunk({ content: 'a' })),
    )
    const at = await world([{ origin: up.origin }])
    const response = await send(at, { body: streamed })
    await at.server.drain(50)
    expect(await response.text()).toContain('"code":"agent_draining"')
    expect(at.meter.last).toMatchObject({ status: 'aborted', code: 'agent_draining' })
  })

  test('samples spans: one for the request and one per hop', async () => {
    const up = await upstream(answering)
    const at = await world(
      [{ origin: 'http://127.0.0.1:9', credential: { id: 'gone', version: 1 } }, { origin: up.origin }],
      { spanSamplePpm: 1_000_000 },
    )
    await send(at)
    expect(at.meter.spans.map((span) => [span.kind, span.status])).toEqual([
      [2, 'ok'],
      [3, 'error'],
      [3, 'ok'],
    ])
    const [request, , hop] = at.meter.spans
    expect(hop?.parentSpanId).toBe(request?.spanId)
    expect(up.received[0]?.headers['traceparent']).toBe(`00-${request?.traceId}-${hop?.spanId}-01`)
  })

  test('counts in its own words', async () => {
    const up = await upstream(answering)
    const at = await world([{ origin: up.origin }])
    await send(at)
    await send(at, { headers: { authorization: '' } })
    const text = await at.metrics.text()
    expect(text).toContain('switchyard_agent_requests_total{operation="chat_completions",status="ok"} 1')
    expect(text).toContain('switchyard_agent_authentication_failures_total{code="missing_api_key"} 1')
    expect(text).toContain('switchyard_agent_hops_total{provider_kind="vllm",outcome="ok"} 1')
    expect(text).toMatch(
      /switchyard_agent_request_duration_seconds_bucket\{operation="chat_completions",stream="false",le="\+Inf"\} 1/,
    )
    for (const line of text.split('\n'))
      if (line !== '' && !line.startsWith('#')) expect(line).toMatch(/^switchyard_agent_/)
  })
})
