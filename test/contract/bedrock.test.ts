import Anthropic from '@anthropic-ai/sdk'
import OpenAI, { APIError } from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import {
  type Door,
  makeTables,
  makeTarget,
  openDoor,
  ScriptedUpstream,
  type TargetSpec,
  until,
} from '../harness/agent-door.js'
import { BedrockFake, eventFrame } from '../harness/vendors/bedrock-fake.js'
import { OpenaiFake } from '../harness/vendors/openai-fake.js'
import type { VendorFake } from '../harness/vendors/vendor-fake.js'

/** What is Bedrock's own: its paths and models, its stream of binary messages, and what Converse has no word for. */
const cleanUps: (() => Promise<unknown>)[] = []
const fakes: VendorFake[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  for (const fake of fakes.splice(0)) expect(fake.problems).toEqual([])
})

async function started<T extends VendorFake>(fake: T): Promise<T> {
  await fake.start()
  fakes.push(fake)
  cleanUps.push(() => fake.stop())
  return fake
}

interface World extends Door {
  readonly fake: BedrockFake
  readonly second: OpenaiFake
  readonly openai: OpenAI
  readonly anthropic: Anthropic
}

interface Wish {
  readonly model?: string
  readonly target?: Partial<TargetSpec>
  readonly dropsUnsupported?: boolean
  /** Behind Bedrock comes OpenAI. */
  readonly fallback?: boolean
}

const claude45 = 'eu.anthropic.claude-sonnet-4-5-20250929-v1:0'
const claude3 = 'anthropic.claude-3-haiku-20240307-v1:0'

async function world({
  model = claude45,
  target,
  dropsUnsupported = false,
  fallback = false,
}: Wish = {}): Promise<World> {
  const fake = await started(new BedrockFake())
  const second = await started(new OpenaiFake())
  const { kind, origin, basePath, region } = fake
  const first = makeTarget({
    ...{ kind, origin, basePath, vendorRegion: region, upstreamModel: model, credential: { id: 'crd', version: 1 } },
    ...target,
  })
  const behind = makeTarget({
    ...{ kind: 'openai', origin: second.origin, upstreamModel: 'gpt-4.1', credential: { id: 'crd', version: 2 } },
  })
  const { tables, apiKey } = makeTables({ routes: { chat: fallback ? [first, behind] : [first] }, dropsUnsupported })
  const door = await openDoor({ tables, secrets: { 'crd/1': fake.secret, 'crd/2': second.secret } })
  cleanUps.push(() => door.stop())
  const openai = new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 })
  const anthropic = new Anthropic({ baseURL: door.url, apiKey, maxRetries: 0 })
  return Object.assign(door, { fake, second, openai, anthropic })
}

const hello = [{ role: 'user' as const, content: 'Say hello.' }]
const chat = { model: 'chat', messages: hello }
const message = { model: 'chat', max_tokens: 64, messages: hello }
const usage = { input: 100, cached: 40, written: 10, output: 20 }
const text = 'Grüezi! Here is a “quoted” line,\nand a second one with an emoji 🦊.'
const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const weather = { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } }
const tools = [{ type: 'function' as const, function: weather }]
const calls = [
  { id: 'tooluse_Zx-1', name: 'get_weather', input: { city: 'Zürich "old town"' } },
  { id: 'tooluse_Zx-2', name: 'get_weather', input: {} },
]

async function faultOf(promise: Promise<unknown>): Promise<APIError> {
  const fault = await promise.then(
    () => null,
    (error: unknown) => error,
  )
  if (!(fault instanceof APIError)) throw new Error(`not refused: ${String(fault)}`)
  return fault
}

async function streamed(at: World, extra: object = {}) {
  const stream = await at.openai.chat.completions.create({ ...chat, ...extra, stream: true })
  let said = ''
  let finish: string | null = null
  const fault = await (async () => {
    for await (const chunk of stream) {
      said += chunk.choices[0]?.delta.content ?? ''
      finish = chunk.choices[0]?.finish_reason ?? finish
    }
    return null
  })().catch((error: unknown) => error)
  return { said, finish, fault }
}

describe('where a model is found', () => {
  const models: [string, string][] = [
    [claude3, 'anthropic.claude-3-haiku-20240307-v1%3A0'],
    [claude45, 'eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0'],
    ['amazon.titan-text-express-v1', 'amazon.titan-text-express-v1'],
    ['mistral.mistral-large-2402-v1:0', 'mistral.mistral-large-2402-v1%3A0'],
    ['cohere.command-r-plus-v1:0', 'cohere.command-r-plus-v1%3A0'],
    [
      'arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/ab12',
      'arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Aapplication-inference-profile%2Fab12',
    ],
  ]
  test.each(models)('%s, whole and streamed, by both clients', async (model, label) => {
    const at = await world({ model })
    const completion = await at.openai.chat.completions.create(chat)
    expect(completion.choices[0]?.message.content).toBe('Hello there, how are you today?')
    expect(completion.model).toBe(model)
    expect(await streamed(at)).toEqual({ said: 'Hello there, how are you today?', finish: 'stop', fault: null })
    const whole = await at.anthropic.messages.create(message)
    expect(whole.content).toMatchObject([{ type: 'text', text: 'Hello there, how are you today?' }])
    const final = await at.anthropic.messages.stream(message).finalMessage()
    expect(final.content).toMatchObject([{ type: 'text', text: 'Hello there, how are you today?' }])
    expect(at.fake.received.map(({ path }) => path)).toEqual(
      ['converse', 'converse-stream', 'converse', 'converse-stream'].map((operation) => `/model/${label}/${operation}`),
    )
    for (const { headers } of at.fake.received) {
      expect(headers).toMatchObject({ 'x-request-id': expect.anything(), traceparent: expect.anything() })
    }
    expect(at.meter.closed).toHaveLength(4)
    for (const record of at.meter.closed) {
      // Bedrock does not say which model it was: the one that was asked for.
      expect(record).toMatchObject({
        status: 'ok',
        usageSource: 'provider',
        tokensIn: 21,
        tokensOut: 9,
        actualModel: model,
      })
    }
  })

  test('below a path of its own, which is signed too', async () => {
    const at = await world({ target: { basePath: '/gone' } })
    const fault = await faultOf(at.openai.chat.completions.create(chat))
    // The fake lives at the root: what it says is about the path and not the signature.
    expect(fault.message).toContain('/gone/model/')
    expect(fault.message).not.toContain('signature')
    at.fake.problems.length = 0
  })
})

describe('a conversation', () => {
  test('of several turns with calls and results, failed ones included, by Anthropic’s client', async () => {
    const at = await world()
    const source = { type: 'base64' as const, media_type: 'image/png' as const, data: pixel }
    at.fake.willAnswer({ reasoning: 'Let me see.', text: 'One moment.', toolCalls: calls, usage }, { text, usage })
    const anthropicTools = [{ name: 'get_weather', input_schema: weather.parameters as Anthropic.Tool.InputSchema }]
    const asked = {
      ...message,
      max_tokens: 4_000,
      tools: anthropicTools,
      thinking: { type: 'enabled' as const, budget_tokens: 2_000 },
    }
    const called = await at.anthropic.messages.create(asked)
    expect(called.stop_reason).toBe('tool_use')
    expect(called.content).toEqual([
      { type: 'thinking', thinking: 'Let me see.', signature: 'c2lnbmVk' },
      expect.objectContaining({ type: 'text', text: 'One moment.' }),
      ...calls.map((call) => ({ type: 'tool_use', ...call })),
    ])
    expect(called.usage).toMatchObject({
      ...{ input_tokens: 50, cache_read_input_tokens: 40, cache_creation_input_tokens: 10, output_tokens: 20 },
    })
    await at.anthropic.messages.create({
      ...asked,
      messages: [
        ...hello,
        { role: 'assistant', content: called.content },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Here:' },
            { type: 'tool_result', tool_use_id: 'tooluse_Zx-1', content: 'Broken.', is_error: true },
            { type: 'tool_result', tool_use_id: 'tooluse_Zx-2', content: [{ type: 'image', source }] },
          ],
        },
      ],
    })
    expect(at.fake.lastBody).toEqual({
      messages: [
        { role: 'user', content: [{ text: 'Say hello.' }] },
        {
          role: 'assistant',
          content: [
            { reasoningContent: { reasoningText: { text: 'Let me see.', signature: 'c2lnbmVk' } } },
            { text: 'One moment.' },
            ...calls.map(({ id, name, input }) => ({ toolUse: { toolUseId: id, name, input } })),
          ],
        },
        {
          role: 'user',
          content: [
            { toolResult: { toolUseId: 'tooluse_Zx-1', content: [{ text: 'Broken.' }], status: 'error' } },
            {
              toolResult: {
                toolUseId: 'tooluse_Zx-2',
                content: [{ image: { format: 'png', source: { bytes: pixel } } }],
              },
            },
            { text: 'Here:' },
          ],
        },
      ],
      inferenceConfig: { maxTokens: 4_000 },
      toolConfig: { tools: [{ toolSpec: { name: 'get_weather', inputSchema: { json: weather.parameters } } }] },
      additionalModelRequestFields: { thinking: { type: 'enabled', budget_tokens: 2_000 } },
    })
  })

  test('with calls streamed, whose arguments come in pieces or not at all', async () => {
    const at = await world()
    at.fake.willAnswer({ reasoning: 'Hm.', text: 'Wait.', toolCalls: calls, usage }, { toolCalls: calls, usage })
    const stream = at.openai.chat.completions.stream({ ...chat, tools })
    let pieceCount = 0
    stream.on('chunk', (chunk) => {
      pieceCount += chunk.choices[0]?.delta.tool_calls?.filter((call) => call.function?.arguments).length ?? 0
    })
    const final = await stream.finalChatCompletion()
    const made = final.choices[0]?.message.tool_calls ?? []
    expect(made.map((call) => (call.type === 'function' ? JSON.parse(call.function.arguments) : null))).toEqual(
      calls.map(({ input }) => input),
    )
    expect(pieceCount).toBeGreaterThan(3)
    expect(final.choices[0]?.message).toMatchObject({ content: 'Wait.', reasoning_content: 'Hm.' })
    const message2 = await at.anthropic.messages
      .stream({
        ...message,
        tools: [{ name: 'get_weather', input_schema: weather.parameters as Anthropic.Tool.InputSchema }],
      })
      .finalMessage()
    expect(message2.content).toMatchObject(calls.map((call) => ({ type: 'tool_use', ...call })))
    expect(at.meter.last).toMatchObject({
      ...{ tokensIn: 100, tokensInCached: 40, tokensInCacheWrite: 10, tokensOut: 20, usageSource: 'provider' },
    })
    expect(at.meter.last.tokensOutReasoning).toBeUndefined()
  })

  test('with instructions in the middle: refused by their place, or moved where the route says so', async () => {
    const messages = [
      { role: 'system' as const, content: 'Be brief.' },
      ...hello,
      { role: 'system' as const, content: 'Be kind.' },
      { role: 'user' as const, content: 'Now.' },
    ]
    const strict = await world()
    expect(await faultOf(strict.openai.chat.completions.create({ ...chat, messages }))).toMatchObject({
      ...{ status: 400, code: 'unsupported_field', param: 'messages[2]' },
    })
    const lenient = await world({ dropsUnsupported: true })
    const { response } = await lenient.openai.chat.completions.create({ ...chat, messages }).withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBe('messages[2]')
    expect(lenient.fake.lastBody).toEqual({
      messages: [{ role: 'user', content: [{ text: 'Say hello.' }, { text: 'Now.' }] }],
      system: [{ text: 'Be brief.' }, { text: 'Be kind.' }],
    })
  })

  test('with a picture and a document', async () => {
    const at = await world()
    const data = `data:application/pdf;base64,${Buffer.from('%PDF-1.7 fake').toString('base64')}`
    const content = [
      { type: 'text' as const, text: 'What is this?' },
      { type: 'image_url' as const, image_url: { url: `data:image/png;base64,${pixel}` } },
      { type: 'file' as const, file: { filename: "John's report_v2.pdf", file_data: data } },
    ]
    await at.openai.chat.completions.create({ ...chat, messages: [{ role: 'user', content }] })
    expect(at.fake.lastBody['messages']).toEqual([
      {
        role: 'user',
        content: [
          { text: 'What is this?' },
          { image: { format: 'png', source: { bytes: pixel } } },
          { document: { format: 'pdf', name: 'John s report v2', source: { bytes: data.split(',')[1] } } },
        ],
      },
    ])
  })
})

describe('JSON', () => {
  const schema = {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  }
  const response_format = { type: 'json_schema' as const, json_schema: { name: 'place', strict: true, schema } }

  test.each([claude45, claude3])('of a schema from %s, whole and streamed', async (model) => {
    const at = await world({ model })
    at.fake.willAnswer({ text: '{"city":"Zürich"}' }, { text: '{"city":"Zürich"}' })
    const completion = await at.openai.chat.completions.create({ ...chat, response_format })
    expect(completion.choices[0]).toMatchObject({ message: { content: '{"city":"Zürich"}' }, finish_reason: 'stop' })
    expect(await streamed(at, { response_format })).toEqual({ said: '{"city":"Zürich"}', finish: 'stop', fault: null })
  })

  test('without one from Claude; from a model that cannot be made to, the next target gives it', async () => {
    const at = await world()
    at.fake.willAnswer({ text: '{"a":1}' })
    const json = { ...chat, response_format: { type: 'json_object' as const } }
    expect((await at.openai.chat.completions.create(json)).choices[0]?.message.content).toBe('{"a":1}')
    const other = await world({ model: 'cohere.command-r-plus-v1:0', fallback: true })
    other.second.willAnswer({ text: '{"a":2}' })
    expect((await other.openai.chat.completions.create(json)).choices[0]?.message.content).toBe('{"a":2}')
    expect(other.fake.received).toHaveLength(0)
    expect(other.meter.last.hops?.map(({ outcome }) => outcome)).toEqual(['not_expressible', 'ok'])
  })
})

describe('settings that Converse has no word for', () => {
  const cases: [string, object, string?][] = [
    ['seed', { seed: 7 }],
    ['frequency_penalty', { frequency_penalty: 0.5 }],
    ['presence_penalty', { presence_penalty: 0.5 }],
    ['logprobs', { logprobs: true, top_logprobs: 2 }],
    ['logit_bias', { logit_bias: { '50256': -100 } }],
    ['temperature', { temperature: 1.5 }],
    ['stop', { stop: ['\n\n'] }],
    ['parallel_tool_calls', { tools, parallel_tool_calls: false }],
    ['reasoning_effort', { reasoning_effort: 'low' }, 'cohere.command-r-plus-v1:0'],
    ['top_k', { top_k: 5 }, 'mistral.mistral-large-2402-v1:0'],
    ['a_member_nobody_knows', { a_member_nobody_knows: 1 }],
  ]
  test.each(cases)(
    '%s is refused by its name, or dropped and named where the route says so',
    async (field, extra, model) => {
      const strict = await world(model === undefined ? {} : { model })
      const body = { ...chat, ...extra }
      expect(await faultOf(strict.openai.chat.completions.create(body))).toMatchObject({
        ...{ status: 400, code: 'unsupported_field', param: field },
      })
      expect(strict.fake.received).toHaveLength(0)
      const lenient = await world({ dropsUnsupported: true, ...(model === undefined ? {} : { model }) })
      const { response } = await lenient.openai.chat.completions.create(body).withResponse()
      expect(response.headers.get('x-switchyard-dropped')).toBe(field)
    },
  )

  test('an end user goes into Bedrock’s logs; one that they cannot hold is left out and named', async () => {
    const at = await world()
    await at.anthropic.messages.create({ ...message, metadata: { user_id: 'user-7' } })
    expect(at.fake.lastBody['requestMetadata']).toEqual({ user: 'user-7' })
    const { response } = await at.openai.chat.completions.create({ ...chat, user: 'Zoë' }).withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBe('user')
    expect(at.fake.lastBody).not.toHaveProperty('requestMetadata')
  })

  const contents: [string, object, string][] = [
    ['messages[0].content[0]', { messages: [pictureAt('https://example.com/a.png')] }, claude45],
    ['messages[0].content[0]', { messages: [pictureAt(`data:image/tiff;base64,${pixel}`)] }, claude45],
    [
      'messages[0].content',
      { messages: [{ role: 'system', content: 'Be brief.' }, ...hello] },
      'amazon.titan-text-express-v1',
    ],
    ['tools', { tools }, 'mistral.mistral-7b-instruct-v0:2'],
  ]
  test.each(contents)('%s is never left out', async (field, extra, model) => {
    const at = await world({ model, dropsUnsupported: true })
    expect(await faultOf(at.openai.chat.completions.create({ ...chat, ...extra }))).toMatchObject({
      ...{ status: 400, code: 'unsupported_field', param: field },
    })
    expect(at.fake.received).toHaveLength(0)
  })

  test('sampling of Claude, by Anthropic’s client', async () => {
    const at = await world()
    // Members that its newest types no longer name, and older models take.
    const sampling = { temperature: 0.2, top_k: 40 }
    await at.anthropic.messages.create({ ...message, ...sampling, stop_sequences: ['END'] })
    expect(at.fake.lastBody).toMatchObject({
      inferenceConfig: { maxTokens: 64, temperature: 0.2, stopSequences: ['END'] },
      additionalModelRequestFields: { top_k: 40 },
    })
  })
})

function pictureAt(url: string): object {
  return { role: 'user', content: [{ type: 'image_url', image_url: { url } }] }
}

describe('how it ended', () => {
  const reasons: ['length' | 'content_filter' | 'refusal', string, string][] = [
    ['length', 'length', 'max_tokens'],
    ['content_filter', 'content_filter', 'refusal'],
    ['refusal', 'content_filter', 'refusal'],
  ]
  test.each(reasons)('%s', async (finish, openai, anthropic) => {
    const at = await world()
    at.fake.willAnswer({ text, finish }, { text, finish }, { text, finish })
    expect((await at.openai.chat.completions.create(chat)).choices[0]?.finish_reason).toBe(openai)
    expect(await streamed(at)).toEqual({ said: text, finish: openai, fault: null })
    expect((await at.anthropic.messages.create(message)).stop_reason).toBe(anthropic)
  })

  test('at one of the client’s sequences, and at which, where the model is Claude', async () => {
    const at = await world()
    const script = { text, finish: 'stop_sequence' as const, stopSequence: 'END' }
    at.fake.willAnswer(script, script)
    const asked = { ...message, stop_sequences: ['END', 'STOP'] }
    const ended = { stop_reason: 'stop_sequence', stop_sequence: 'END' }
    expect(await at.anthropic.messages.create(asked)).toMatchObject(ended)
    expect(await at.anthropic.messages.stream(asked).finalMessage()).toMatchObject(ended)
  })
})

describe('what goes wrong', () => {
  test('is told in Bedrock’s words and the client’s shape', async () => {
    const at = await world()
    at.fake.willAnswer(
      { status: 400, message: 'The provided model identifier is invalid.' },
      { status: 404, message: 'Gone.' },
    )
    const fault = await faultOf(at.openai.chat.completions.create(chat))
    expect(fault).toMatchObject({ status: 400, code: 'upstream_rejected' })
    expect(fault.message).toContain('The provided model identifier is invalid.')
    const other = await at.anthropic.messages.create(message).catch((error: unknown) => error)
    expect(other).toBeInstanceOf(Anthropic.NotFoundError)
    expect((other as Error).message).toContain('Gone.')
  })

  test.each([429, 403, 500, 503])('HTTP %i: the next target serves', async (status) => {
    const at = await world({ fallback: true })
    at.fake.willAnswer({ status, message: 'No.' })
    at.second.willAnswer({ text })
    expect((await at.openai.chat.completions.create(chat)).choices[0]?.message.content).toBe(text)
    expect(at.meter.last.hops).toHaveLength(2)
    expect(at.meter.last.hops?.[0]).toMatchObject({ httpStatus: status })
  })

  test('a limit without another target is told, with how long to wait', async () => {
    const at = await world()
    at.fake.willAnswer({
      status: 429,
      message: 'Too many tokens, please wait before trying again.',
      retryAfterSeconds: 7,
    })
    const fault = await faultOf(at.openai.chat.completions.create(chat))
    expect(fault).toBeInstanceOf(OpenAI.RateLimitError)
    expect(fault.headers?.get('retry-after')).toBe('7')
  })

  test.each(['cutAfter', 'errorAfter'] as const)('a stream that breaks (%s)', async (how) => {
    const at = await world()
    at.fake.willAnswer({ text: text.repeat(4), usage, [how]: 6 })
    const { said, fault } = await streamed(at)
    expect(fault).toBeInstanceOf(APIError)
    expect(said).toBe(text.slice(0, 42))
    await until(() => at.meter.closed.length > 0, 'a record')
    expect(at.meter.last).toMatchObject({ status: 'failed', usageSource: 'counted' })
    expect(at.meter.last.tokensOut).toBeGreaterThan(0)
    if (how === 'errorAfter') expect(String(fault)).toContain('unexpected error during processing')
    expect(at.handler.runningCount).toBe(0)
  })

  test('an exception before the first word: the next target serves', async () => {
    const at = await world({ fallback: true })
    at.fake.willAnswer({ text, errorAfter: 0 })
    at.second.willAnswer({ text: 'From the second.' })
    expect(await streamed(at)).toEqual({ said: 'From the second.', finish: 'stop', fault: null })
    expect(at.meter.last.hops?.map(({ outcome }) => outcome)).toEqual(['upstream_5xx', 'ok'])
  })

  test('a damaged message: nothing of it reaches the client, and the stream says that it broke', async () => {
    const delta = (said: string) => eventFrame('contentBlockDelta', { contentBlockIndex: 0, delta: { text: said } })
    const damaged = delta('wrong')
    damaged[damaged.indexOf('wrong')] = 'W'.charCodeAt(0)
    const upstream = await new ScriptedUpstream((_received, response) => {
      response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
      response.end(Buffer.concat([eventFrame('messageStart', { role: 'assistant' }), delta('right '), damaged]))
    }).start()
    cleanUps.push(() => upstream.stop())
    const at = await world({ target: { origin: upstream.origin } })
    const { said, fault } = await streamed(at)
    expect(said).toBe('right ')
    expect(fault).toBeInstanceOf(APIError)
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_truncated' })
  })

  test('a client that leaves: the upstream learns of it, and what was said is on the record', async () => {
    let closed = false
    const upstream = await new ScriptedUpstream((_received, response) => {
      response.on('close', () => {
        closed = true
      })
      response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
      response.write(eventFrame('messageStart', { role: 'assistant' }))
      response.write(eventFrame('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'Hello there.' } }))
    }).start()
    cleanUps.push(() => upstream.stop())
    const at = await world({ target: { origin: upstream.origin } })
    const stream = await at.openai.chat.completions.create({ ...chat, stream: true })
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
    await until(() => closed && at.meter.closed.length > 0, 'the upstream is left, and a record')
    expect(at.meter.last).toMatchObject({ status: 'aborted', usageSource: 'counted', tokensOut: 3 })
  })

  test('embeddings are not served', async () => {
    const at = await world()
    const fault = await faultOf(at.openai.embeddings.create({ model: 'chat', input: 'a' }))
    expect(fault.message).toContain('bedrock')
  })
})
