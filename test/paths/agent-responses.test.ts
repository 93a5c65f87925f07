import type { ServerResponse } from 'node:http'
import OpenAI, { APIError } from 'openai'
import type { Response, ResponseStreamEvent } from 'openai/resources/responses/responses'
import { afterEach, describe, expect, test } from 'vitest'
import { Simulator } from '../../deploy/local/simulator.js'
import { randomFrom } from '../../deploy/local/simulator-text.js'
import {
  answerJson,
  type Door,
  makeTables,
  makeTarget,
  openDoor,
  type Script,
  ScriptedUpstream,
  type TargetSpec,
  until,
} from '../harness/agent-door.js'
import { AnthropicFake } from '../harness/vendors/anthropic-fake.js'

/**
 * `POST /v1/responses` with the official client, unmodified: passed on to OpenAI byte for byte, and translated for
 * everybody else, whole and streamed, as the client's own helpers read it.
 */
const cleanUps: (() => Promise<void>)[] = []
const fakes: AnthropicFake[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  for (const fake of fakes.splice(0)) expect(fake.problems).toEqual([])
})

interface World extends Door {
  readonly client: OpenAI
  readonly apiKey: string
}

async function openWorld(
  targets: readonly TargetSpec[],
  { dropsUnsupported = false, secret = 'sk-up' } = {},
): Promise<World> {
  const credential = { id: 'crd', version: 1 }
  const { tables, apiKey } = makeTables({
    routes: { chat: targets.map((target) => makeTarget({ credential, ...target })) },
    dropsUnsupported,
  })
  const door = await openDoor({ tables, secrets: { 'crd/1': secret } })
  cleanUps.push(() => door.stop())
  return Object.assign(door, {
    apiKey,
    client: new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 }),
  })
}

async function upstreamOf(script: Script): Promise<ScriptedUpstream> {
  const upstream = await new ScriptedUpstream(script).start()
  cleanUps.push(() => upstream.stop())
  return upstream
}

/** A world with OpenAI behind it. */
async function openaiWorld(script: Script): Promise<World & { readonly upstream: ScriptedUpstream }> {
  const upstream = await upstreamOf(script)
  const at = await openWorld([{ kind: 'openai', origin: upstream.origin, upstreamModel: 'gpt-5' }])
  return Object.assign(at, { upstream })
}

/** A world with a server behind it that speaks chat completions. */
async function vllmWorld(script: Script): Promise<World & { readonly upstream: ScriptedUpstream }> {
  const upstream = await upstreamOf(script)
  const at = await openWorld([{ kind: 'vllm', origin: upstream.origin }])
  return Object.assign(at, { upstream })
}

async function anthropicWorld(options = {}): Promise<World & { readonly fake: AnthropicFake }> {
  const fake = await new AnthropicFake().start()
  fakes.push(fake)
  cleanUps.push(() => fake.stop())
  const target = { kind: fake.kind, origin: fake.origin, upstreamModel: 'claude-sonnet-4-20250514' }
  const at = await openWorld([target], { secret: fake.secret, ...options })
  return Object.assign(at, { fake })
}

function post(at: World, body: string | object): ReturnType<typeof fetch> {
  return fetch(`${at.url}/v1/responses`, {
    method: 'POST',
    headers: { authorization: `Bearer ${at.apiKey}`, 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

async function failureOf(work: PromiseLike<unknown>): Promise<unknown> {
  try {
    await work
  } catch (failure) {
    return failure
  }
  throw new Error('it did not fail')
}

async function eventsOf(stream: AsyncIterable<ResponseStreamEvent>): Promise<ResponseStreamEvent[]> {
  const events: ResponseStreamEvent[] = []
  for await (const event of stream) events.push(event)
  return events
}

/** Writes each event as a packet of its own, cut where nobody expects it. */
async function writeEvents(response: ServerResponse, events: readonly string[], end = true): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  for (const event of events) {
    const at = Math.floor(event.length / 3)
    for (const piece of [event.slice(0, at), event.slice(at)]) {
      response.write(piece)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  if (end) response.end()
}

const usage = {
  input_tokens: 36,
  input_tokens_details: { cached_tokens: 12, cache_write_tokens: 5 },
  output_tokens: 87,
  output_tokens_details: { reasoning_tokens: 20 },
  total_tokens: 123,
}
const message = {
  ...{ id: 'msg_67ccd2bf17f0819081ff3bb2cf6508e6', type: 'message', status: 'completed', role: 'assistant' },
  content: [{ type: 'output_text', annotations: [], logprobs: [], text: 'Grüezi “you” 🦊' }],
}
/** As recorded from OpenAI, with members that nobody here knows. */
const recorded = {
  ...{ id: 'resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b', object: 'response', created_at: 1_741_476_542 },
  ...{ status: 'completed', background: false, error: null, incomplete_details: null, instructions: null },
  ...{ max_output_tokens: null, model: 'gpt-5-2026-08-01', output: [message], parallel_tool_calls: true },
  ...{ previous_response_id: null, reasoning: { effort: 'medium', summary: null }, store: false, temperature: 1 },
  ...{ text: { format: { type: 'text' } }, tool_choice: 'auto', tools: [], top_p: 1, truncation: 'disabled' },
  ...{ usage, user: null, metadata: {}, brand_new: { nested: [1.5, '\u2028'] } },
}
const event = (type: string, sequence: number, rest: object) =>
  `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence, ...rest })}\n\n`
const started = { ...recorded, status: 'in_progress', output: [], usage: null }
const place = { item_id: message.id, output_index: 0, content_index: 0 }
const opening = [
  event('response.created', 0, { response: started }),
  event('response.in_progress', 1, { response: started }),
  event('response.output_item.added', 2, {
    output_index: 0,
    item: { ...message, status: 'in_progress', content: [] },
  }),
  event('response.content_part.added', 3, { ...place, part: { ...message.content[0], text: '' } }),
]
const saying = [
  event('response.output_text.delta', 4, { ...place, delta: 'Grüezi ', logprobs: [], obfuscation: 'x7Gh' }),
  event('response.output_text.delta', 5, { ...place, delta: '“you” 🦊', logprobs: [], obfuscation: 'a' }),
]
const closing = [
  event('response.output_text.done', 6, { ...place, text: 'Grüezi “you” 🦊', logprobs: [] }),
  event('response.content_part.done', 7, { ...place, part: message.content[0] }),
  event('response.output_item.done', 8, { output_index: 0, item: message }),
  event('response.completed', 9, { response: recorded }),
]

describe('to OpenAI', () => {
  test('a request goes on byte for byte but for the model and what is kept, and so does the answer', async () => {
    const bytes = `{\n "object":"response" , "output":[],"model":"gpt-5-x","usage":${JSON.stringify(usage)}, "new":1.50 }`
    const at = await openaiWorld((_received, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(bytes)
    })
    const answered = await post(at, '{ "new_member": 1.50,\n "model":"chat", "input" : "hi", "include":[] }')
    expect(await answered.text()).toBe(bytes)
    const [received] = at.upstream.received
    expect(received?.path).toBe('/v1/responses')
    expect(received?.headers['authorization']).toBe('Bearer sk-up')
    expect(received?.body.toString()).toBe(
      '{"store":false, "new_member": 1.50,\n "model":"gpt-5", "input" : "hi", "include":[] }',
    )
    expect(at.meter.last).toMatchObject({
      ...{ operation: 'responses', status: 'ok', stream: false, usageSource: 'provider', actualModel: 'gpt-5-x' },
      ...{ tokensIn: 36, tokensInCached: 12, tokensInCacheWrite: 5, tokensOut: 87, tokensOutReasoning: 20 },
    })
  })

  test('a stream passes byte for byte, and its usage is on the record', async () => {
    const wire = [...opening, ...saying, ...closing]
    const at = await openaiWorld((_received, response) => writeEvents(response, wire))
    const answered = await post(at, { model: 'chat', input: 'hi', stream: true, store: false })
    expect(await answered.text()).toBe(wire.join(''))
    expect(at.meter.last).toMatchObject({
      ...{ operation: 'responses', status: 'ok', stream: true, usageSource: 'provider', tokensIn: 36, tokensOut: 87 },
      ...{ actualModel: 'gpt-5-2026-08-01', tokensInCached: 12, tokensOutReasoning: 20 },
    })
    expect(Number(at.meter.last.firstTokenUs)).toBeGreaterThan(0)
  })

  test('the client’s own stream helper reads it', async () => {
    const at = await openaiWorld((_received, response) => writeEvents(response, [...opening, ...saying, ...closing]))
    const final = await at.client.responses.stream({ model: 'chat', input: 'hi' }).finalResponse()
    expect(final.output_text).toBe('Grüezi “you” 🦊')
    expect(final.usage).toEqual(usage)
  })

  test('a stream that fails before it says anything falls to the next target, which is asked in its own words', async () => {
    const failing = await upstreamOf((_received, response) =>
      writeEvents(response, [
        ...opening,
        event('response.failed', 4, {
          response: { ...started, status: 'failed', error: { code: 'server_error', message: 'sorry' } },
        }),
      ]),
    )
    const serving = await upstreamOf((_received, response) => writeEvents(response, chatStream))
    const at = await openWorld([
      { kind: 'openai', origin: failing.origin },
      { kind: 'vllm', origin: serving.origin },
    ])
    const final = await at.client.responses.stream({ model: 'chat', input: 'hi' }).finalResponse()
    expect(final.output_text).toBe('Grüezi 🦊')
    expect(at.meter.last).toMatchObject({ status: 'ok', fallbackUsed: true, hops: [{ outcome: 'upstream_5xx' }, {}] })
  })

  test('a stream that fails later ends with an error that the client understands', async () => {
    const at = await openaiWorld((_received, response) =>
      writeEvents(response, [
        ...opening,
        ...saying,
        event('error', 6, { error: { type: 'server_error', code: null, message: 'The engine broke.', param: null } }),
      ]),
    )
    const stream = await at.client.responses.create({ model: 'chat', input: 'hi', stream: true })
    const failure = await failureOf(eventsOf(stream))
    expect(failure).toBeInstanceOf(APIError)
    expect(failure).toMatchObject({ message: 'The engine broke.', code: 'upstream_failed' })
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_failed', usageSource: 'counted' })
    expect(Number(at.meter.last.tokensOut)).toBe(Math.ceil('Grüezi “you” 🦊'.length / 4))
  })

  test('a stream that is cut ends with an error', async () => {
    const at = await openaiWorld((_received, response) => writeEvents(response, [...opening, ...saying]))
    const failure = await failureOf(at.client.responses.stream({ model: 'chat', input: 'hi' }).finalResponse())
    expect(failure).toMatchObject({ code: 'upstream_truncated' })
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_truncated' })
  })

  test('OpenAI’s own refusal passes as it came', async () => {
    const error = { message: 'No such tool.', type: 'invalid_request_error', param: 'tools', code: 'bad_tool' }
    const at = await openaiWorld((_received, response) => answerJson(response, 400, { error }))
    const failure = await failureOf(at.client.responses.create({ model: 'chat', input: 'hi' }))
    expect(failure).toBeInstanceOf(OpenAI.BadRequestError)
    expect(failure).toMatchObject({ param: 'tools', code: 'bad_tool' })
  })

  test('something else than a response is not passed on', async () => {
    const at = await openaiWorld((_received, response) => answerJson(response, 200, { object: 'list', data: [] }))
    const failure = await failureOf(at.client.responses.create({ model: 'chat', input: 'hi' }))
    expect(failure).toMatchObject({ status: 502, code: 'upstream_malformed' })
  })

  test('thoughts of another vendor’s model, which a hop before wrote, are not sent', async () => {
    const at = await openaiWorld((_received, response) => answerJson(response, 200, recorded))
    const input = [
      { type: 'reasoning', id: 'rs_switchyard_1_0', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] },
      { role: 'user', content: 'hi' },
    ]
    await post(at, { model: 'chat', input })
    expect(JSON.parse(at.upstream.received[0]?.body.toString() ?? '')).toMatchObject({ input: [input[1]] })
  })
})

const chunk = (delta: object, finish: string | null = null, rest: object = {}) =>
  `data: ${JSON.stringify({ id: 'chatcmpl-9', object: 'chat.completion.chunk', created: 1, model: 'm-2026', choices: [{ index: 0, delta, finish_reason: finish }], ...rest })}\n\n`
const chatUsage = {
  ...{ prompt_tokens: 30, completion_tokens: 12, total_tokens: 42 },
  ...{ prompt_tokens_details: { cached_tokens: 10 }, completion_tokens_details: { reasoning_tokens: 4 } },
}
const chatEnd = [`data: ${JSON.stringify({ choices: [], usage: chatUsage })}\n\n`, 'data: [DONE]\n\n']
const chatStream = [
  chunk({ role: 'assistant', content: '' }),
  chunk({ content: 'Grüezi ' }),
  chunk({ content: '🦊' }),
  chunk({}, 'stop'),
  ...chatEnd,
]
const weather = {
  ...{ type: 'function' as const, name: 'get_weather', description: 'The weather of a place.', strict: true },
  parameters: {
    ...{ type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
  },
}
const calls = [
  { id: 'call_1', name: 'get_weather', input: { city: 'Zürich "old town"' } },
  { id: 'call_2', name: 'get_weather', input: { city: 'Oslo' } },
]
const callsOf = (response: Response) =>
  response.output.flatMap((item) =>
    item.type === 'function_call'
      ? [{ id: item.call_id, name: item.name, input: JSON.parse(item.arguments) as unknown }]
      : [],
  )
const text = 'Grüezi! Here is a “quoted” line,\nand an emoji 🦊.'
const anthropicUsage = { input: 100, cached: 40, written: 10, output: 20 }

describe('to a server that speaks chat completions', () => {
  test('a request is written in its words, and its answer is a response', async () => {
    const at = await vllmWorld((_received, response) =>
      answerJson(response, 200, {
        ...{ id: 'chatcmpl-9', object: 'chat.completion', created: 1, model: 'm-2026', usage: chatUsage },
        choices: [
          {
            ...{ index: 0, finish_reason: 'stop' },
            message: { role: 'assistant', content: 'Hello.', reasoning_content: 'hm' },
          },
        ],
      }),
    )
    const final = await at.client.responses.create({
      ...{ model: 'chat', instructions: 'Be brief.', max_output_tokens: 50, temperature: 0.5, metadata: { a: 'b' } },
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'Look:' }, image] },
        { role: 'assistant', content: 'At what?' },
        { role: 'user', content: 'This.' },
      ],
    })
    expect(JSON.parse(at.upstream.received[0]?.body.toString() ?? '')).toEqual({
      ...{ model: 'upstream-model', max_tokens: 50, temperature: 0.5 },
      messages: [
        { role: 'system', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Look:' },
            { type: 'image_url', image_url: { url: image.image_url, detail: 'low' } },
          ],
        },
        { role: 'assistant', content: 'At what?' },
        { role: 'user', content: 'This.' },
      ],
    })
    expect(final).toMatchObject({
      ...{ object: 'response', status: 'completed', output_text: 'Hello.', model: 'm-2026', temperature: 0.5 },
      ...{ instructions: 'Be brief.', max_output_tokens: 50, metadata: { a: 'b' }, error: null },
      output: [{ type: 'reasoning', content: [{ type: 'reasoning_text', text: 'hm' }] }, { type: 'message' }],
      usage: {
        ...{ input_tokens: 30, output_tokens: 12, total_tokens: 42 },
        ...{ input_tokens_details: { cached_tokens: 10 }, output_tokens_details: { reasoning_tokens: 4 } },
      },
    })
    expect(at.meter.last).toMatchObject({
      ...{ operation: 'responses', status: 'ok', tokensIn: 30, tokensInCached: 10, tokensOut: 12 },
      ...{ tokensOutReasoning: 4, usageSource: 'provider', actualModel: 'm-2026' },
    })
  })

  test('the stream is what the client’s helper puts together', async () => {
    const at = await vllmWorld((_received, response) => writeEvents(response, chatStream))
    const stream = at.client.responses.stream({ model: 'chat', input: 'hi' })
    const deltas: string[] = []
    const snapshots: string[] = []
    stream.on('response.output_text.delta', ({ delta, snapshot }) => {
      deltas.push(delta)
      snapshots.push(snapshot)
    })
    const final = await stream.finalResponse()
    expect(deltas).toEqual(['Grüezi ', '🦊'])
    expect(snapshots.at(-1)).toBe('Grüezi 🦊')
    expect(final).toMatchObject({ status: 'completed', output_text: 'Grüezi 🦊', id: 'resp_chatcmpl9' })
    expect(final.usage?.total_tokens).toBe(42)
    expect(at.meter.last).toMatchObject({ stream: true, usageSource: 'provider', tokensIn: 30, tokensOut: 12 })
  })

  test('parallel calls come with their arguments piece by piece', async () => {
    const pieces = calls.flatMap(({ id, name, input }, index) => {
      const json = JSON.stringify(input)
      return [
        chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }),
        ...[json.slice(0, 5), json.slice(5)].map((part) =>
          chunk({ tool_calls: [{ index, function: { arguments: part } }] }),
        ),
      ]
    })
    const at = await vllmWorld((_received, response) =>
      writeEvents(response, [chunk({ content: 'Let me see.' }), ...pieces, chunk({}, 'tool_calls'), ...chatEnd]),
    )
    const stream = at.client.responses.stream({ model: 'chat', input: 'hi', tools: [weather] })
    const snapshots: string[] = []
    stream.on('response.function_call_arguments.delta', ({ snapshot }) => snapshots.push(snapshot))
    const final = await stream.finalResponse()
    expect(callsOf(final)).toEqual(calls)
    expect(final.output_text).toBe('Let me see.')
    expect(snapshots).toHaveLength(4)
    expect(final.output[1]).toMatchObject({ parsed_arguments: calls[0]?.input })
  })

  test('log probabilities come with the text', async () => {
    const logprobs = {
      content: [{ token: 'Hi', logprob: -0.1, bytes: [72, 105], top_logprobs: [{ token: 'Yo', logprob: -2 }] }],
    }
    const chunkOf = `data: ${JSON.stringify({ id: 'c', model: 'm', choices: [{ index: 0, delta: { content: 'Hi' }, logprobs, finish_reason: null }] })}\n\n`
    const at = await vllmWorld((_received, response) =>
      writeEvents(response, [chunkOf, chunk({}, 'length'), ...chatEnd]),
    )
    const final = await at.client.responses
      .stream({ model: 'chat', input: 'hi', include: ['message.output_text.logprobs'], top_logprobs: 1 })
      .finalResponse()
    expect(JSON.parse(at.upstream.received[0]?.body.toString() ?? '')).toMatchObject({
      logprobs: true,
      top_logprobs: 1,
    })
    expect(final).toMatchObject({
      ...{ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
      output: [
        {
          status: 'incomplete',
          content: [{ logprobs: [{ token: 'Hi', logprob: -0.1, top_logprobs: [{ token: 'Yo', bytes: [] }] }] }],
        },
      ],
    })
  })

  test.each([
    [[chunk({ content: 'Grüezi' }), 'data: {"error":{"message":"The engine broke."}}\n\n'], 'upstream_failed'],
    [[chunk({ content: 'Grüezi' })], 'upstream_truncated'],
  ])('a stream that breaks ends with an error event', async (wire, code) => {
    const at = await vllmWorld((_received, response) => writeEvents(response, wire))
    const answered = await post(at, { model: 'chat', input: 'hi', stream: true })
    const events = (await answered.text()).trimEnd().split('\n\n')
    const [name, data = ''] = events.at(-1)?.split('\n') ?? []
    expect(name).toBe('event: error')
    const told = JSON.parse(data.slice('data: '.length)) as Record<string, unknown>
    expect(told).toMatchObject({ type: 'error', code, param: null, error: { code, type: 'server_error' } })
    expect(typeof told['message']).toBe('string')
    expect(typeof told['sequence_number']).toBe('number')
    expect(at.meter.last).toMatchObject({ status: 'failed', code, usageSource: 'counted', tokensOut: 2 })
    const failure = await failureOf(at.client.responses.stream({ model: 'chat', input: 'hi' }).finalResponse())
    expect(failure).toMatchObject({ code })
  })

  test('an answer beyond what can be told once more breaks off', async () => {
    const piece = chunk({ content: 'x'.repeat(1024 * 1024) })
    const at = await vllmWorld((_received, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (let i = 0; i < 17; i++) response.write(piece)
      response.end(chatEnd.join(''))
    })
    const answered = await post(at, { model: 'chat', input: 'hi', stream: true })
    expect((await answered.text()).slice(-600)).toContain('"code":"upstream_truncated"')
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_truncated' })
    await until(() => at.handler.runningCount === 0, 'nothing runs')
  })

  test('a client that leaves closes the upstream’s connection, and what it had is on the record', async () => {
    const at = await vllmWorld((_received, response) => writeEvents(response, chatStream.slice(0, 2), false))
    const stream = await at.client.responses.create({ model: 'chat', input: 'hi', stream: true })
    for await (const told of stream) if (told.type === 'response.output_text.delta') break
    await until(() => at.upstream.received[0]?.closedByAgent === true, 'the upstream sees it')
    await until(() => at.meter.closed.length === 1, 'the record')
    expect(at.meter.last).toMatchObject({ status: 'aborted', code: 'client_closed', operation: 'responses' })
    expect(Number(at.meter.last.tokensOut)).toBe(2)
  })

  test('the simulator is one', async () => {
    const simulator = new Simulator({ port: 0, seed: 7 })
    await simulator.start()
    cleanUps.push(() => simulator.stop())
    const at = await openWorld([{ kind: 'vllm', origin: simulator.url, upstreamModel: 'simulator-small' }])
    const whole = await at.client.responses.create({ model: 'chat', input: 'Tell me about the fox.' })
    const streamed = await at.client.responses
      .stream({ model: 'chat', input: 'Tell me about the fox.' })
      .finalResponse()
    expect(streamed.output_text).toBe(whole.output_text)
    expect(streamed.usage).toEqual(whole.usage)
    expect(at.meter.last.tokensOut).toBe(simulator.accepted()[1]?.completionTokens)
    const parsed = await at.client.responses.parse({
      ...{ model: 'chat', input: 'As JSON.' },
      text: { format: { type: 'json_schema', name: 'answer', schema: weather.parameters, strict: true } },
    })
    expect(parsed.output_parsed).toEqual({ city: expect.any(String) })
  })
})

const image = {
  ...{ type: 'input_image' as const, detail: 'low' as const },
  image_url: 'data:image/png;base64,iVBORw0KGgo=',
}

describe('to Anthropic', () => {
  test('a text, whole and streamed', async () => {
    const at = await anthropicWorld()
    at.fake.willAnswer({ text, usage: anthropicUsage }, { text, usage: anthropicUsage })
    const request = { model: 'chat', instructions: 'Be brief.', input: 'Say hello.', user: 'u-1' }
    const whole = await at.client.responses.create(request)
    const streamed = await at.client.responses.stream(request).finalResponse()
    for (const final of [whole, streamed]) {
      expect(final.output_text).toBe(text)
      expect(final.usage).toEqual({
        ...{ input_tokens: 100, input_tokens_details: { cached_tokens: 40, cache_write_tokens: 10 } },
        ...{ output_tokens: 20, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 120 },
      })
    }
    expect(at.fake.lastBody).toMatchObject({
      ...{ system: 'Be brief.', messages: [{ role: 'user', content: 'Say hello.' }], metadata: { user_id: 'u-1' } },
    })
    expect(at.meter.last).toMatchObject({
      ...{ operation: 'responses', tokensIn: 100, tokensInCached: 40, tokensInCacheWrite: 10, tokensOut: 20 },
      ...{ usageSource: 'provider', userId: 'u-1', actualModel: 'claude-sonnet-4-20250514' },
    })
  })

  test('calls and what they gave, with the thoughts between them, turn after turn', async () => {
    const at = await anthropicWorld()
    const thinking = { reasoning: 'I had better look.', text: 'Let me see.', toolCalls: calls, usage: anthropicUsage }
    at.fake.willAnswer(thinking, thinking, { text, usage: anthropicUsage }, { text, usage: anthropicUsage })
    const asked = { model: 'chat', tools: [weather], reasoning: { effort: 'low' as const } }
    const first = { role: 'user' as const, content: 'The weather?' }
    const whole = await at.client.responses.create({ ...asked, input: [first] })
    const streamed = await at.client.responses.stream({ ...asked, input: [first] }).finalResponse()
    for (const response of [whole, streamed]) {
      expect(callsOf(response)).toEqual(calls)
      expect(response.output.map(({ type }) => type)).toEqual([
        ...['reasoning', 'message', 'function_call', 'function_call'],
      ])
      // As the documentation tells clients to: everything that came back is sent again.
      const answered = await at.client.responses.create({
        ...asked,
        input: [
          first,
          ...(response.output as OpenAI.Responses.ResponseInputItem[]),
          ...callsOf(response).map(({ id }) => ({
            ...{ type: 'function_call_output' as const, call_id: id, output: `{"degrees":7}` },
          })),
        ],
      })
      expect(answered.output_text).toBe(text)
      const blocks = [{ type: 'text' }, { type: 'tool_use', id: 'call_1' }, { type: 'tool_use', id: 'call_2' }]
      expect(at.fake.lastBody['messages']).toMatchObject([
        { role: 'user' },
        // The signature came back, or Anthropic would not think on.
        {
          role: 'assistant',
          content: [{ type: 'thinking', thinking: 'I had better look.', signature: 'sig-1' }, ...blocks],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'call_1' }, { tool_use_id: 'call_2' }] },
      ])
      expect(at.fake.lastBody['thinking']).toMatchObject({ type: 'enabled' })
    }
  })

  test('thoughts stand in the summary for who asked for one', async () => {
    const at = await anthropicWorld()
    at.fake.willAnswer({ reasoning: 'I had better look.', text, usage: anthropicUsage })
    const stream = at.client.responses.stream({
      ...{ model: 'chat', input: 'hi', reasoning: { effort: 'high' as const, summary: 'auto' as const } },
    })
    const pieces: string[] = []
    stream.on('response.reasoning_summary_text.delta', ({ delta }) => pieces.push(delta))
    const final = await stream.finalResponse()
    expect(pieces.length).toBeGreaterThan(1)
    expect(final.output[0]).toMatchObject({
      ...{ type: 'reasoning', summary: [{ type: 'summary_text', text: pieces.join('') }] },
    })
  })

  test('images, and results of tools with images', async () => {
    const at = await anthropicWorld()
    await at.client.responses.create({
      model: 'chat',
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'Look.' }, image] },
        { type: 'function_call', call_id: 'c1', name: 'see', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c1', output: [{ type: 'input_text', text: 'this' }, image] },
      ],
      tools: [{ ...weather, name: 'see' }],
    })
    const source = { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' }
    expect(at.fake.lastBody['messages']).toMatchObject([
      { content: [{ type: 'text' }, { type: 'image', source }] },
      { content: [{ type: 'tool_use', id: 'c1' }] },
      {
        content: [
          {
            type: 'tool_result',
            content: [
              { type: 'text', text: 'this' },
              { type: 'image', source },
            ],
          },
        ],
      },
    ])
  })

  test('a schema, parsed by the client', async () => {
    const at = await anthropicWorld()
    at.fake.willAnswer({ text: '{"city":"Oslo"}' }, { text: '{"city":"Oslo"}' })
    const asked = {
      ...{ model: 'chat', input: 'Where?' },
      text: {
        format: { type: 'json_schema' as const, name: 'place', schema: weather.parameters, strict: true },
      },
    }
    expect((await at.client.responses.parse(asked)).output_parsed).toEqual({ city: 'Oslo' })
    const final = await at.client.responses.stream(asked).finalResponse()
    expect(final.output_parsed).toEqual({ city: 'Oslo' })
    expect(final.text?.format).toEqual(asked.text.format)
    expect(at.fake.lastBody['output_config']).toEqual({
      format: { type: 'json_schema', schema: weather.parameters },
    })
  })

  test('a refusal is one, whole and streamed', async () => {
    const at = await anthropicWorld()
    at.fake.willAnswer({ finish: 'refusal' }, { finish: 'refusal' })
    const whole = await at.client.responses.create({ model: 'chat', input: 'hi' })
    const streamed = await at.client.responses.stream({ model: 'chat', input: 'hi' }).finalResponse()
    for (const final of [whole, streamed]) {
      expect(final).toMatchObject({
        status: 'completed',
        output: [{ content: [{ type: 'refusal', refusal: 'This is not something to help with.' }] }],
      })
    }
  })

  test('an answer cut off at the limit is incomplete', async () => {
    const at = await anthropicWorld()
    at.fake.willAnswer({ text, finish: 'length' }, { text, finish: 'length' })
    const asked = { model: 'chat', input: 'hi', max_output_tokens: 20 }
    const whole = await at.client.responses.create(asked)
    const streamed = await at.client.responses.stream(asked).finalResponse()
    for (const final of [whole, streamed]) {
      expect(final).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } })
      expect(final.output_text).toBe(text)
    }
    expect(at.fake.lastBody['max_tokens']).toBe(20)
  })

  test('errors are in OpenAI’s words, before and amid a stream', async () => {
    const at = await anthropicWorld()
    at.fake.willAnswer({ status: 400, message: 'Too strange.' }, { text, errorAfter: 2 }, { text, cutAfter: 2 })
    const refused = await failureOf(at.client.responses.create({ model: 'chat', input: 'hi' }))
    expect(refused).toBeInstanceOf(OpenAI.BadRequestError)
    expect(refused).toMatchObject({ code: 'upstream_rejected', message: expect.stringContaining('Too strange.') })
    for (const code of ['upstream_failed', 'upstream_truncated']) {
      const failure = await failureOf(at.client.responses.stream({ model: 'chat', input: 'hi' }).finalResponse())
      expect(failure).toMatchObject({ code })
      expect(at.meter.last).toMatchObject({ status: 'failed', code })
      expect(Number(at.meter.last.tokensOut)).toBeGreaterThan(0)
    }
  })

  test.each([
    [{ tools: [{ type: 'web_search' }] }, 'tools[0]'],
    [{ truncation: 'auto' }, 'truncation'],
    [{ text: { verbosity: 'low' } }, 'text.verbosity'],
    [{ top_logprobs: 2 }, 'top_logprobs'],
    [{ include: ['message.output_text.logprobs'] }, 'include'],
    [{ input: [{ type: 'web_search_call', id: 'ws_1', status: 'completed' }] }, 'input[0]'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'file-1' }] }] },
      'input[0].content[0].file_id',
    ],
  ])('what it has no word for is refused by name: %j', async (fields, field) => {
    const at = await anthropicWorld()
    const input = [{ role: 'user', content: 'hi' }, ...((fields as { input?: unknown[] }).input ?? [])]
    const moved = field.replace('input[0]', 'input[1]')
    const answered = await post(at, { model: 'chat', ...fields, input })
    expect(answered.status).toBe(400)
    expect(await answered.json()).toMatchObject({ error: { code: 'unsupported_field', param: moved } })
    expect(at.fake.received).toEqual([])
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'unsupported_field', operation: 'responses' })
  })

  test('and left out where the route says so, named in a header', async () => {
    const at = await anthropicWorld({ dropsUnsupported: true })
    const answered = await post(at, {
      ...{ model: 'chat', input: 'hi', text: { verbosity: 'low' }, truncation: 'auto', service_tier: 'flex' },
    })
    expect(answered.status).toBe(200)
    expect(answered.headers.get('x-switchyard-dropped')?.split(', ').sort()).toEqual([
      ...['service_tier', 'text.verbosity', 'truncation'],
    ])
  })
})

describe('what asks for a memory', () => {
  test.each([
    [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
    [{ conversation: 'conv_1' }, 'conversation'],
    [{ prompt: { id: 'pmpt_1' } }, 'prompt'],
    [{ background: true }, 'background'],
    [{ store: true }, 'store'],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0]'],
  ])('is refused by name, also on the way to OpenAI: %j', async (fields, param) => {
    const at = await openaiWorld((_received, response) => answerJson(response, 200, recorded))
    const failure = await failureOf(
      at.client.responses.create({ model: 'chat', input: 'hi', ...fields } as OpenAI.Responses.ResponseCreateParams),
    )
    expect(failure).toBeInstanceOf(OpenAI.BadRequestError)
    expect(failure).toMatchObject({ param, code: 'unsupported_field' })
    expect(at.upstream.received).toEqual([])
    expect(at.meter.last).toMatchObject({ status: 'refused', code: 'unsupported_field', operation: 'responses' })
  })
})

test('damaged bodies are refused with a code, and never a fault of ours', async () => {
  const fake = await new AnthropicFake().start()
  cleanUps.push(() => fake.stop())
  const upstream = await upstreamOf((received, response) =>
    (JSON.parse(received.body.toString()) as { stream?: boolean }).stream === true
      ? writeEvents(response, [...opening, ...saying, ...closing])
      : answerJson(response, 200, recorded),
  )
  const native = await openWorld([{ kind: 'openai', origin: upstream.origin }])
  const translated = await openWorld([{ kind: 'anthropic', origin: fake.origin, upstreamModel: 'claude-sonnet-4-5' }], {
    secret: fake.secret,
  })
  const ends = new Map<string, number>()
  for (let seed = 0; seed < 300; seed++) {
    const body = damagedBody(seed)
    for (const at of [native, translated]) {
      const answered = await post(at, body)
      const said = await answered.text()
      const code = answered.status === 200 ? 'ok' : (JSON.parse(said) as { error: { code: string } }).error.code
      expect(answered.status, `${seed}: ${body}`).toBeLessThan(500)
      expect(code, `${seed}: ${body}`).not.toBe('internal_error')
      ends.set(code, (ends.get(code) ?? 0) + 1)
    }
  }
  for (const code of ['ok', 'invalid_json', 'invalid_type', 'invalid_value', 'unsupported_field']) {
    expect(ends.get(code), code).toBeGreaterThan(5)
  }
  // What a client forgot Anthropic may miss; a member that it does not know is our own.
  expect(fake.problems.filter((problem) => problem.endsWith('is not known.'))).toEqual([])
}, 60_000)

/** A body of everything, in which one or two values are something else, or some bytes are. */
function damagedBody(seed: number): string {
  const random = randomFrom(seed * 7 + 3)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const strange = [null, true, -1, 1e308, '', 'x', [], {}, [[]], [null], [{}], { type: 'x' }, '\ud800', { a: { b: 1 } }]
  const body = {
    ...{ model: 'chat', instructions: 'Be brief.', stream: random() < 0.3, max_output_tokens: 40, user: 'u' },
    input: [
      { role: 'user', content: [{ type: 'input_text', text: 'Look.' }, image] },
      { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'hm' }] },
      { type: 'function_call', call_id: 'c1', name: 'get_weather', arguments: '{"city":"Oslo"}' },
      { type: 'function_call_output', call_id: 'c1', output: 'sunny' },
      { role: 'user', content: 'And?' },
    ],
    ...{ tools: [weather], tool_choice: 'auto', parallel_tool_calls: true, metadata: { a: 'b' }, include: [] },
    ...{ text: { format: { type: 'text' } }, reasoning: { summary: 'auto' }, truncation: 'disabled' },
  }
  for (let wounds = Math.floor(random() * 3); wounds > 0; wounds--) {
    // Down to a member of a member of …, and something else there.
    let at: Record<string, unknown> = body
    for (;;) {
      const name = pick(Object.keys(at))
      const next = at[name]
      if (typeof next !== 'object' || next === null || Object.keys(next).length === 0 || random() < 0.35) {
        if (random() < 0.2) delete at[name]
        else at[name] = pick(strange)
        break
      }
      at = next as Record<string, unknown>
    }
    if (Object.keys(body).length === 0) break
  }
  const text = JSON.stringify(body)
  if (random() > 0.15) return text
  const at = Math.floor(random() * text.length)
  return text.slice(0, at) + pick(['"', '}', ']', ',', '\\', '\u0000', '{"a":']) + text.slice(at + pick([0, 1, 4]))
}
