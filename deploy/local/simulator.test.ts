import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../proto/std/clock.js'
import { Simulator, type SimulatorOptions } from './simulator.js'

let simulator: Simulator

async function startSimulator(options: Partial<SimulatorOptions> = {}): Promise<OpenAI> {
  simulator = new Simulator({ port: 0, seed: 7, ...options })
  await simulator.start()
  return new OpenAI({ baseURL: `${simulator.url}/v1`, apiKey: options.apiKey ?? 'unused', maxRetries: 0 })
}

function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${simulator.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

const hello = { model: 'simulator-small', messages: [{ role: 'user' as const, content: 'Say hello to the world.' }] }

/** The events of a stream as parsed JSON, `[DONE]` as text. */
async function eventsOf(response: Response): Promise<(Record<string, unknown> | string)[]> {
  const text = await response.text()
  return text
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => event.replace(/^data: /, ''))
    .map((data) => (data === '[DONE]' ? data : (JSON.parse(data) as Record<string, unknown>)))
}

/** Waits for a state, not for a time. */
async function until(is: () => boolean): Promise<void> {
  for (let tries = 0; !is(); tries++) {
    if (tries > 500) throw new Error('the awaited state did not come')
    await systemClock.sleep(10)
  }
}

afterEach(async () => {
  await simulator.stop()
})

describe('with the official openai client', () => {
  test('a chat completion has text, a finish reason and a usage that adds up', async () => {
    const client = await startSimulator()
    const answer = await client.chat.completions.create(hello)
    expect(answer.object).toBe('chat.completion')
    expect(answer.choices[0]?.message.content?.length).toBeGreaterThan(10)
    expect(answer.choices[0]?.finish_reason).toBe('stop')
    expect(answer.choices[0]?.logprobs).toBeNull()
    expect(answer.usage?.total_tokens).toBe((answer.usage?.prompt_tokens ?? 0) + (answer.usage?.completion_tokens ?? 0))
    expect(simulator.accepted()[0]).toMatchObject({
      completionTokens: answer.usage?.completion_tokens,
      promptTokens: answer.usage?.prompt_tokens,
      finished: true,
      status: 200,
    })
  })

  test('a stream says the same words and ends with one usage chunk when asked for', async () => {
    const client = await startSimulator()
    const plain = await client.chat.completions.create(hello)
    const stream = await client.chat.completions.create({
      ...hello,
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(chunks[0]?.choices[0]?.delta.role).toBe('assistant')
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
    expect(text).toBe(plain.choices[0]?.message.content)
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop')
    expect(chunks.at(-1)?.choices).toEqual([])
    expect(chunks.at(-1)?.usage).toEqual(plain.usage)
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true)
  })

  test('a text is continued, whole and streamed alike, as far as vLLM does where nobody says how far', async () => {
    const client = await startSimulator()
    const ask = { model: 'simulator-small', prompt: 'Once upon a time' }
    const whole = await client.completions.create(ask)
    expect(whole.object).toBe('text_completion')
    expect(whole.usage?.completion_tokens).toBeLessThanOrEqual(16)
    const stream = await client.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })
    let text = ''
    let usage: OpenAI.CompletionUsage | null | undefined = null
    for await (const chunk of stream) {
      text += chunk.choices[0]?.text ?? ''
      usage = chunk.usage ?? usage
    }
    expect(text).toBe(whole.choices[0]?.text)
    expect(text.length).toBeGreaterThan(0)
    expect(usage).toEqual(whole.usage)
    expect(simulator.accepted()[0]).toMatchObject({ operation: 'completions', finished: true })
    const tokens = await client.completions.create({ ...ask, prompt: [1, 2, 3] })
    expect(tokens.usage?.prompt_tokens).toBe(3)
    for (const wrong of [{ prompt: ['a', 'b'] }, { suffix: '.' }, { n: 2 }, { max_tokens: 0 }]) {
      await expect(client.completions.create({ ...ask, ...wrong })).rejects.toMatchObject({ status: 400 })
    }
  })

  test('embeddings come as the base64 that the client asks for and as floats, alike', async () => {
    const client = await startSimulator()
    const ask = { model: 'simulator-embedding', input: ['one', 'two', 'one'], dimensions: 16 }
    const packed = await client.embeddings.create(ask)
    const plain = await client.embeddings.create({ ...ask, encoding_format: 'float' })
    expect(packed.data).toHaveLength(3)
    expect(packed.data[0]?.embedding).toHaveLength(16)
    expect(packed.data[0]?.embedding).toEqual(packed.data[2]?.embedding)
    for (const [i, value] of (plain.data[1]?.embedding ?? []).entries())
      expect(packed.data[1]?.embedding[i]).toBeCloseTo(value, 6)
    expect(packed.usage.total_tokens).toBe(3)
  })

  test('models are listed and named as what they are', async () => {
    const client = await startSimulator()
    const models = await client.models.list()
    expect(models.data.map((model) => model.id)).toEqual(['simulator-small', 'simulator-large', 'simulator-embedding'])
    expect(models.data.every((model) => model.owned_by === 'switchyard-simulator')).toBe(true)
  })

  test('a required tool is called with arguments of its schema, streamed and not', async () => {
    const client = await startSimulator()
    const ask = {
      ...hello,
      tools: [
        {
          type: 'function' as const,
          function: {
            name: 'weather',
            parameters: {
              type: 'object',
              properties: { city: { type: 'string' }, days: { type: 'integer' }, unit: { enum: ['c'] } },
            },
          },
        },
      ],
      tool_choice: 'required' as const,
    }
    const plain = await client.chat.completions.create(ask)
    expect(plain.choices[0]?.finish_reason).toBe('tool_calls')
    const call = plain.choices[0]?.message.tool_calls?.[0]
    const args = call?.type === 'function' ? call.function.arguments : ''
    expect(JSON.parse(args)).toMatchObject({ city: expect.any(String), days: expect.any(Number), unit: 'c' })
    const stream = client.chat.completions.stream(ask)
    const last = await stream.finalChatCompletion()
    const streamed = last.choices[0]?.message.tool_calls?.[0]
    expect(streamed?.type === 'function' ? streamed.function : null).toMatchObject({ name: 'weather', arguments: args })
  })

  test.each([
    ['a wrong key', 'wrong', hello, OpenAI.AuthenticationError, 'invalid_api_key'],
    ['an unknown model', 'sk-sim', { ...hello, model: 'gpt-none' }, OpenAI.NotFoundError, 'model_not_found'],
    ['no messages', 'sk-sim', { ...hello, messages: [] }, OpenAI.BadRequestError, 'invalid_value'],
    ['two choices', 'sk-sim', { ...hello, n: 2 }, OpenAI.BadRequestError, 'invalid_value'],
    ['a negative maximum', 'sk-sim', { ...hello, max_tokens: -1 }, OpenAI.BadRequestError, 'invalid_value'],
    [
      'more than the context',
      'sk-sim',
      { ...hello, max_tokens: 40_000 },
      OpenAI.BadRequestError,
      'context_length_exceeded',
    ],
    ['an embedding model for chat', 'sk-sim', { ...hello, model: 'simulator-embedding' }, OpenAI.BadRequestError, null],
  ])('%s is refused as OpenAI refuses it and is not accepted', async (_, apiKey, body, kind, code) => {
    await startSimulator({ apiKey: 'sk-sim' })
    const client = new OpenAI({ baseURL: `${simulator.url}/v1`, apiKey, maxRetries: 0 })
    const fault = await client.chat.completions.create(body).catch((error: unknown) => error)
    expect(fault).toBeInstanceOf(kind)
    expect(fault).toMatchObject({ code, error: { message: expect.any(String), type: 'invalid_request_error' } })
    expect(simulator.accepted()).toHaveLength(0)
  })

  test('a full minute is a 429 that says when to come back', async () => {
    const client = await startSimulator({ behaviour: { requestsPerMinuteMax: 1 } })
    const { response } = await client.chat.completions.create(hello).withResponse()
    expect(response.headers.get('x-ratelimit-remaining-requests')).toBe('0')
    const fault = await client.chat.completions.create(hello).catch((error: unknown) => error)
    expect(fault).toBeInstanceOf(OpenAI.RateLimitError)
    const { headers } = fault as InstanceType<typeof OpenAI.RateLimitError>
    expect(Number(headers?.get('retry-after'))).toBeGreaterThan(0)
    expect(simulator.accepted()).toHaveLength(1)
  })
})

describe('words', () => {
  test('depend on the request and the seed alone', async () => {
    const client = await startSimulator()
    const say = async (ask: object) =>
      (await client.chat.completions.create({ ...hello, ...ask })).choices[0]?.message.content
    const first = await say({})
    expect(await say({})).toBe(first)
    expect(await say({ user: 'somebody else', temperature: 1 })).toBe(first)
    expect(await say({ seed: 2 })).not.toBe(first)
    await simulator.stop()
    await startSimulator({ seed: 8 })
    const other = await post('/v1/chat/completions', hello)
    expect(((await other.json()) as OpenAI.ChatCompletion).choices[0]?.message.content).not.toBe(first)
  })

  test('end at the maximum with the reason length, or as long as told', async () => {
    const client = await startSimulator({ behaviour: { outputTokens: 50 } })
    const whole = await client.chat.completions.create(hello)
    expect(whole.usage?.completion_tokens).toBe(50)
    const cut = await client.chat.completions.create({ ...hello, max_completion_tokens: 9 })
    expect(cut.usage?.completion_tokens).toBe(9)
    expect(cut.choices[0]?.finish_reason).toBe('length')
    expect(whole.choices[0]?.message.content?.startsWith(cut.choices[0]?.message.content ?? '-')).toBe(true)
  })

  test('end before a stop text', async () => {
    const client = await startSimulator({ behaviour: { outputTokens: 80 } })
    const whole = (await client.chat.completions.create(hello)).choices[0]?.message.content ?? ''
    const stop = whole.split(' ')[7] ?? ''
    const cut = await client.chat.completions.create({ ...hello, stop: [stop] })
    expect(cut.choices[0]?.message.content).toBe(whole.slice(0, whole.indexOf(stop)))
    expect(cut.choices[0]?.finish_reason).toBe('stop')
  })
})

describe('the stream on the wire', () => {
  test('has no usage member unless asked for, and ends with [DONE]', async () => {
    await startSimulator()
    const response = await post('/v1/chat/completions', { ...hello, stream: true })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    expect(response.headers.get('server')).toBe('switchyard-simulator')
    const events = await eventsOf(response)
    expect(events.at(-1)).toBe('[DONE]')
    expect(events.slice(0, -1).some((event) => Object.hasOwn(event as object, 'usage'))).toBe(false)
  })

  test('counts up in every chunk with continuous_usage_stats, by 1 to 7 tokens', async () => {
    await startSimulator({ behaviour: { outputTokens: 60 } })
    const response = await post('/v1/chat/completions', {
      ...hello,
      stream: true,
      stream_options: { include_usage: true, continuous_usage_stats: true },
    })
    const events = (await eventsOf(response)).slice(0, -1) as { usage: { completion_tokens: number } }[]
    const counts = events.map((event) => event.usage.completion_tokens)
    expect(counts[0]).toBe(0)
    expect(counts.at(-1)).toBe(60)
    const steps = counts.slice(1, -2).map((count, i) => count - (counts[i] ?? 0))
    expect(steps.every((step) => step >= 1 && step <= 7)).toBe(true)
  })
})

describe('told to fail', () => {
  beforeEach(async () => {
    await startSimulator({ behaviour: { outputTokens: 40 } })
  })
  const chat = (stream: boolean) => post('/v1/chat/completions', { ...hello, stream })

  test('refuse_connection resets before anything is accepted', async () => {
    simulator.behave({ failure: 'refuse_connection' })
    await expect(chat(false)).rejects.toThrow()
    expect(simulator.accepted()).toHaveLength(0)
  })

  test('reset_before_headers resets after acceptance', async () => {
    simulator.behave({ failure: 'reset_before_headers' })
    await expect(chat(false)).rejects.toThrow()
    expect(simulator.accepted()).toMatchObject([{ failure: 'reset_before_headers', status: 0, finished: false }])
  })

  test.each([true, false])('hang_before_headers is silent until the client leaves (stream: %s)', async (stream) => {
    simulator.behave({ failure: 'hang_before_headers' })
    const leaving = new AbortController()
    const asked = fetch(`${simulator.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ ...hello, stream }),
      signal: leaving.signal,
    })
    await until(() => simulator.accepted().length === 1)
    leaving.abort()
    await expect(asked).rejects.toThrow()
    await until(() => simulator.accepted()[0]?.closedByClientAtMs !== null)
    expect(simulator.accepted()[0]).toMatchObject({ status: 0, completionTokens: 0 })
  })

  test('hang_mid_stream writes some tokens, then nothing', async () => {
    simulator.behave({ failure: 'hang_mid_stream', failAfterTokens: 10 })
    const leaving = new AbortController()
    const response = await fetch(`${simulator.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ ...hello, stream: true }),
      signal: leaving.signal,
    })
    await until(() => (simulator.accepted()[0]?.completionTokens ?? 0) >= 10)
    const reader = response.body?.getReader()
    await reader?.read()
    leaving.abort()
    await until(() => simulator.accepted()[0]?.closedByClientAtMs !== null)
    expect(simulator.accepted()[0]?.completionTokens).toBeLessThan(17)
    expect(simulator.accepted()[0]?.finished).toBe(false)
  })

  test('http_error answers the status with an OpenAI error body', async () => {
    simulator.behave({ failure: 'http_error', failureStatus: 502 })
    const response = await chat(true)
    expect(response.status).toBe(502)
    expect(await response.json()).toMatchObject({ error: { type: 'server_error' } })
  })

  test('rate_limited answers 429 with retry-after', async () => {
    simulator.behave({ failure: 'rate_limited', retryAfterMs: 2_500 })
    const response = await chat(false)
    expect(response.status).toBe(429)
    expect(response.headers.get('retry-after')).toBe('3')
    expect(response.headers.get('retry-after-ms')).toBe('2500')
  })

  test('malformed_chunk puts one event into the stream that is no JSON', async () => {
    simulator.behave({ failure: 'malformed_chunk' })
    const text = await (await chat(true)).text()
    const broken = text.split('\n\n').filter((event) => {
      try {
        JSON.parse(event.replace(/^data: /, ''))
        return false
      } catch {
        return event !== '' && event !== 'data: [DONE]'
      }
    })
    expect(broken).toHaveLength(1)
  })

  test.each([true, false])('truncated_stream breaks the connection midway (stream: %s)', async (stream) => {
    simulator.behave({ failure: 'truncated_stream' })
    const response = await chat(stream)
    expect(response.status).toBe(200)
    await expect(response.text()).rejects.toThrow()
    expect(simulator.accepted()[0]?.finished).toBe(false)
  })

  test('missing_done ends properly without finish reason, usage or [DONE]', async () => {
    simulator.behave({ failure: 'missing_done' })
    const text = await (await chat(true)).text()
    expect(text).not.toContain('[DONE]')
    expect(text).not.toContain('"finish_reason":"')
  })

  test('failureCountMax and models bound what fails', async () => {
    simulator.behave({ failure: 'http_error', failureCountMax: 2 }, 'simulator-small')
    const statuses = []
    for (let i = 0; i < 4; i++) statuses.push((await chat(false)).status)
    expect(statuses).toEqual([503, 503, 200, 200])
    simulator.behave({ failure: 'http_error', failureCountMax: null }, 'simulator-small')
    expect((await post('/v1/chat/completions', { ...hello, model: 'simulator-large' })).status).toBe(200)
    expect((await chat(false)).status).toBe(503)
  })

  test('the share that fails is the one asked for, the same for the same seed', async () => {
    simulator.behave({ failure: 'http_error', failureRatio: 0.3 })
    let failed = 0
    for (let i = 0; i < 200; i++) if ((await chat(false)).status === 503) failed += 1
    expect(failed).toBeGreaterThan(35)
    expect(failed).toBeLessThan(85)
  })

  test('an outage refuses connections and ends by itself', async () => {
    const before = simulator.url
    await simulator.outage(50)
    await expect(chat(false)).rejects.toThrow()
    for (let tries = 0; ; tries++) {
      const response = await chat(false).catch(() => null)
      if (response) break
      if (tries > 200) throw new Error('the outage did not end')
      await systemClock.sleep(10)
    }
    expect(simulator.url).toBe(before)
  })

  test('a header turns knobs for one request', async () => {
    const response = await post('/v1/chat/completions', hello, { 'x-simulator': '{"failure":"http_error"}' })
    expect(response.status).toBe(503)
    expect((await chat(false)).status).toBe(200)
  })
})

test('a client that leaves midway is noticed, with the tokens written so far', async () => {
  const client = await startSimulator({ behaviour: { outputTokens: 400, tokensPerSecond: 200 } })
  const stream = await client.chat.completions.create({ ...hello, stream: true })
  let seen = 0
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content) seen += 1
    if (seen === 3) break
  }
  await until(() => simulator.accepted()[0]?.closedByClientAtMs !== null)
  const written = simulator.accepted()[0]?.completionTokens ?? 0
  expect(written).toBeGreaterThanOrEqual(3)
  expect(written).toBeLessThan(400)
})

test('requests beyond concurrencyMax wait and are counted as waiting', async () => {
  await startSimulator({ behaviour: { outputTokens: 30, tokensPerSecond: 150, concurrencyMax: 1 } })
  const asked = [1, 2, 3].map(() => post('/v1/chat/completions', hello))
  await until(() => simulator.accepted().length === 3)
  const metrics = await (await fetch(`${simulator.url}/metrics`)).text()
  expect(metrics).toMatch(/vllm:num_requests_running\{model_name="simulator-small",.*\} 1/)
  expect(metrics).toMatch(/vllm:num_requests_waiting\{model_name="simulator-small",.*\} 2/)
  for (const response of await Promise.all(asked)) expect(response.status).toBe(200)
})

test('metrics have vLLM names and count tokens', async () => {
  const client = await startSimulator({ behaviour: { outputTokens: 25 } })
  const answer = await client.chat.completions.create(hello)
  const metrics = await (await fetch(`${simulator.url}/metrics`)).text()
  expect(metrics).toMatch(/vllm:generation_tokens_total\{model_name="simulator-small",.*\} 25/)
  expect(metrics).toContain(
    `vllm:prompt_tokens_total{model_name="simulator-small",engine="0",simulator="true"} ${answer.usage?.prompt_tokens}`,
  )
  for (const name of ['kv_cache_usage_perc', 'time_to_first_token_seconds_bucket', 'e2e_request_latency_seconds_count'])
    expect(metrics).toContain(`vllm:${name}{`)
})

test('the ledger file has the acceptance before the answer, and both lines after it', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'simulator-'))
  try {
    const logFile = path.join(folder, 'accepted.log')
    await startSimulator({ logFile, behaviour: { failure: 'hang_before_headers' } })
    const leaving = new AbortController()
    const asked = fetch(`${simulator.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'x-request-id': 'req_42' },
      body: JSON.stringify(hello),
      signal: leaving.signal,
    }).catch(() => {})
    const lines = () =>
      readFileSync(logFile, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    await until(() => lines().length === 1)
    expect(JSON.parse(lines()[0] ?? '')).toMatchObject({ event: 'accepted', id: 'req_42', model: 'simulator-small' })
    leaving.abort()
    await asked
    await until(() => lines().length === 2)
    expect(JSON.parse(lines()[1] ?? '')).toMatchObject({ event: 'ended', id: 'req_42', finished: false })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the admin door sets knobs, refuses unknown ones and lists requests', async () => {
  await startSimulator()
  const set = await post('/simulator/behaviour', { model: 'simulator-small', outputTokens: 3 })
  expect(await set.json()).toMatchObject({ outputTokens: 3 })
  const wrong = await post('/simulator/behaviour', { speed: 3 })
  expect(wrong.status).toBe(400)
  await post('/v1/chat/completions', hello, { 'x-request-id': 'req_7' })
  const listed = await (await fetch(`${simulator.url}/simulator/requests`)).text()
  expect(JSON.parse(listed.trim())).toMatchObject({ id: 'req_7', completionTokens: 3, finished: true })
})

test('tokenize counts as the usage does', async () => {
  await startSimulator()
  const counted = (await (await post('/tokenize', { prompt: 'Say hello to the world.' })).json()) as { count: number }
  expect(counted.count).toBe(6)
})

test('tokenize counts a conversation as its usage does, and one that is too long, too', async () => {
  const client = await startSimulator({ models: [{ id: 'm', kind: 'chat', contextTokensMax: 100 }] })
  const tools = [{ type: 'function' as const, function: { name: 'look', parameters: { type: 'object' } } }]
  const messages = [
    { role: 'system' as const, content: 'Be brief.' },
    { role: 'user' as const, content: [{ type: 'text' as const, text: 'Say hello to the world.' }] },
  ]
  const tokenize = async (body: object) => {
    const response = await post('/tokenize', body)
    const told = (await response.json()) as { count: number; max_model_len: number; tokens: number[] }
    return { status: response.status, ...told }
  }
  const { usage } = await client.chat.completions.create({ model: 'm', messages, tools })
  const told = await tokenize({ model: 'm', messages, tools })
  expect(told).toMatchObject({ status: 200, count: usage?.prompt_tokens, max_model_len: 100 })
  expect(told.tokens).toHaveLength(told.count)
  const bare = await tokenize({ model: 'm', messages, tools, add_generation_prompt: false })
  expect(bare.count).toBeLessThan(told.count)
  expect((await tokenize({ messages: [{ role: 'user', content: 'word '.repeat(500) }] })).count).toBeGreaterThan(500)
  expect((await tokenize({ model: 'other', messages })).status).toBe(404)
  expect((await tokenize({ model: 'm', messages, continue_final_message: true })).status).toBe(400)
  expect((await tokenize({ model: 'm' })).status).toBe(400)
})
