import Anthropic from '@anthropic-ai/sdk'
import OpenAI, { APIError } from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { unsignedCall } from '../../agent/src/providers/vertex/thought-signature.js'
import { type Door, makeTables, makeTarget, openDoor, type TargetSpec, until } from '../harness/agent-door.js'
import { OpenaiFake } from '../harness/vendors/openai-fake.js'
import type { VendorFake } from '../harness/vendors/vendor-fake.js'
import { type VertexAnswer, VertexFake, vertexLocation, vertexProject } from '../harness/vendors/vertex-fake.js'

/** The official clients through the agent's door to Gemini on Vertex AI, and what is Gemini's own. */
const cleanUps: (() => Promise<void>)[] = []
const fakes: VendorFake[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  for (const fake of fakes.splice(0)) expect(fake.problems).toEqual([])
})

interface World extends Door {
  readonly fake: VertexFake
  readonly second: OpenaiFake
  readonly openai: OpenAI
  readonly anthropic: Anthropic
}

interface Wish {
  model?: string
  target?: Partial<TargetSpec>
  dropsUnsupported?: boolean
  /** Behind Gemini comes OpenAI. */
  fallback?: boolean
  /** In the place of the service account. */
  secret?: string
  machine?: 'permitted' | 'not permitted'
}

async function world(wish: Wish = {}): Promise<World> {
  const { model, target, dropsUnsupported = false, fallback = false, machine } = wish
  const fake = await new VertexFake().start()
  const second = await new OpenaiFake().start()
  fakes.push(fake, second)
  cleanUps.push(
    () => fake.stop(),
    () => second.stop(),
  )
  const first = makeTarget({ ...fake.target(model), credential: { id: 'crd', version: 1 }, ...target })
  const behind = makeTarget({
    ...{ kind: 'openai', origin: second.origin, upstreamModel: 'gpt-4.1', credential: { id: 'crd', version: 2 } },
  })
  const { tables, apiKey } = makeTables({ routes: { chat: fallback ? [first, behind] : [first] }, dropsUnsupported })
  const secret = machine === undefined ? (wish.secret ?? fake.secret) : { ambient: 'google' as const }
  const door = await openDoor({
    tables,
    secrets: { 'crd/1': secret, 'crd/2': second.secret },
    ambient: machine === 'permitted' ? { google: { metadataHost: fake.identity.origin } } : {},
  })
  cleanUps.push(() => door.stop())
  const openai = new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 })
  const anthropic = new Anthropic({ baseURL: door.url, apiKey, maxRetries: 0 })
  return Object.assign(door, { fake, second, openai, anthropic })
}

type ChatBody = Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, 'model' | 'messages'> & { messages?: object[] }

const hello = [{ role: 'user' as const, content: 'Say hello.' }]

function ask(at: World, extra: object = {}): Promise<OpenAI.ChatCompletion> {
  const body = { model: 'chat', messages: hello, ...extra } as OpenAI.ChatCompletionCreateParamsNonStreaming
  return at.openai.chat.completions.create(body)
}

function askMessage(at: World, extra: object = {}): Promise<Anthropic.Message> {
  const body = { model: 'chat', max_tokens: 99, messages: hello, ...extra } as Anthropic.MessageCreateParamsNonStreaming
  return at.anthropic.messages.create(body)
}

async function stream(at: World, extra: object = {}): Promise<OpenAI.ChatCompletionChunk[]> {
  const body = { model: 'chat', messages: hello, ...extra, stream: true } as OpenAI.ChatCompletionCreateParamsStreaming
  const chunks: OpenAI.ChatCompletionChunk[] = []
  for await (const chunk of await at.openai.chat.completions.create(body)) chunks.push(chunk)
  return chunks
}

function said(chunks: readonly OpenAI.ChatCompletionChunk[]): string {
  return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
}

function finishOf(chunks: readonly OpenAI.ChatCompletionChunk[]): string | null | undefined {
  return chunks.findLast((chunk) => chunk.choices[0]?.finish_reason)?.choices[0]?.finish_reason
}

async function refusalOf(promise: Promise<unknown>) {
  const fault = await promise.then(
    () => null,
    (error: unknown) => error,
  )
  if (!(fault instanceof APIError)) throw new Error(`not refused: ${String(fault)}`)
  const { status, code, param, message } = fault
  return { status, code, param, message }
}

async function droppedBy(at: World, extra: object): Promise<string | null> {
  const body = { model: 'chat', messages: hello, ...extra } as OpenAI.ChatCompletionCreateParamsNonStreaming
  const { response } = await at.openai.chat.completions.create(body).withResponse()
  return response.headers.get('x-switchyard-dropped')
}

const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const weather = { type: 'function', function: { name: 'get_weather', description: 'Weather.', parameters } }
const weatherTool = { name: 'get_weather', description: 'Weather.', input_schema: parameters }
const twoCalls = [
  { id: 'not-gemini-1', name: 'get_weather', input: { city: 'Zürich "old"' } },
  { id: 'not-gemini-2', name: 'get_weather', input: { city: 'Oslo' } },
]
const usage = { input: 100, cached: 40, output: 30, reasoning: 12 }
const text = 'Grüezi! A “quoted” line,\nand an emoji 🦊.'
const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

describe('a text', () => {
  test('comes whole to OpenAI’s client, with usage by class', async () => {
    const at = await world()
    at.fake.willAnswer({ text, usage })
    const completion = await ask(at)
    expect(completion.choices[0]).toMatchObject({
      message: { role: 'assistant', content: text },
      finish_reason: 'stop',
    })
    expect(completion).toMatchObject({
      ...{ model: 'gemini-2.5-flash', id: 'aBc-000001_Zx9' },
      usage: {
        ...{ prompt_tokens: 100, completion_tokens: 30, total_tokens: 130 },
        prompt_tokens_details: { cached_tokens: 40 },
        completion_tokens_details: { reasoning_tokens: 12 },
      },
    })
    expect(at.meter.last).toMatchObject({
      ...{ status: 'ok', stream: false, usageSource: 'provider', actualModel: 'gemini-2.5-flash' },
      ...{ tokensIn: 100, tokensInCached: 40, tokensOut: 30, tokensOutReasoning: 12 },
    })
    const [received] = at.fake.received
    expect(received?.path).toBe(
      `/v1/projects/${vertexProject}/locations/${vertexLocation}/publishers/google/models/gemini-2.5-flash:generateContent`,
    )
    expect(received?.body).toEqual({ contents: [{ role: 'user', parts: [{ text: 'Say hello.' }] }] })
  })

  test('comes streamed to OpenAI’s client', async () => {
    const at = await world()
    at.fake.willAnswer({ text, usage })
    const chunks = await stream(at, { stream_options: { include_usage: true } })
    expect(said(chunks)).toBe(text)
    expect(chunks.length).toBeGreaterThan(4)
    expect(finishOf(chunks)).toBe('stop')
    expect(chunks.at(-1)?.usage).toMatchObject({ prompt_tokens: 100, completion_tokens: 30 })
    expect(at.meter.last).toMatchObject({
      ...{ status: 'ok', stream: true, usageSource: 'provider', actualModel: 'gemini-2.5-flash' },
      ...{ tokensIn: 100, tokensInCached: 40, tokensOut: 30, tokensOutReasoning: 12 },
    })
    expect(at.fake.received[0]?.path).toMatch(/:streamGenerateContent\?alt=sse$/)
  })

  test('comes to Anthropic’s client, whole and streamed', async () => {
    const at = await world()
    at.fake.willAnswer({ text, usage }, { text, usage })
    const whole = await askMessage(at, { system: 'Be brief.' })
    const streamed = await at.anthropic.messages
      .stream({ model: 'chat', max_tokens: 99, messages: hello })
      .finalMessage()
    for (const message of [whole, streamed]) {
      expect(message).toMatchObject({
        ...{ model: 'gemini-2.5-flash', stop_reason: 'end_turn', content: [{ type: 'text', text }] },
        usage: { input_tokens: 60, cache_read_input_tokens: 40, output_tokens: 30 },
      })
    }
    expect(at.fake.received[0]?.body).toMatchObject({
      ...{ systemInstruction: { parts: [{ text: 'Be brief.' }] }, generationConfig: { maxOutputTokens: 99 } },
    })
  })
})

describe('a conversation', () => {
  test('keeps its turns, and its instructions apart from them', async () => {
    const at = await world()
    await ask(at, {
      user: 'u-1',
      messages: [
        { role: 'system', content: 'A.' },
        { role: 'developer', content: 'B.' },
        { role: 'user', content: 'one' },
        { role: 'user', content: 'two' },
        { role: 'assistant', content: 'three' },
        { role: 'user', content: 'four' },
      ],
    })
    expect(at.fake.lastBody).toEqual({
      systemInstruction: { parts: [{ text: 'A.' }, { text: 'B.' }] },
      contents: [
        { role: 'user', parts: [{ text: 'one' }, { text: 'two' }] },
        { role: 'model', parts: [{ text: 'three' }] },
        { role: 'user', parts: [{ text: 'four' }] },
      ],
    })
  })

  test('with instructions in its middle is refused, or has them moved to its beginning', async () => {
    const messages = [...hello, { role: 'system', content: 'Shout.' }, { role: 'user', content: 'again' }]
    const strict = await world()
    expect(await refusalOf(ask(strict, { messages }))).toMatchObject({
      ...{ status: 400, code: 'unsupported_field', param: 'messages[1]' },
      message: expect.stringContaining('moved to the beginning'),
    })
    const lenient = await world({ dropsUnsupported: true })
    expect(await droppedBy(lenient, { messages })).toBe('messages[1]')
    expect(lenient.fake.lastBody['systemInstruction']).toEqual({ parts: [{ text: 'Shout.' }] })
    expect(lenient.fake.lastContents.map(({ role }) => role)).toEqual(['user', 'user'])
  })

  test('does not show an end user’s id to Google', async () => {
    const at = await world()
    expect(await droppedBy(at, { user: 'u-1' })).toBe('user')
    expect(JSON.stringify(at.fake.received[0]?.body)).not.toContain('u-1')
  })

  test('may go to any resource that serves generateContent', async () => {
    const path = `projects/${vertexProject}/locations/${vertexLocation}/endpoints/4711`
    const at = await world({ model: path })
    await ask(at)
    expect(at.fake.received[0]?.path).toBe(`/v1/${path}:generateContent`)
  })
})

describe('tools', () => {
  test('are called in parallel, whole and streamed, with ids of our own', async () => {
    const at = await world()
    at.fake.willAnswer({ text: 'Let me see.', toolCalls: twoCalls, usage }, { toolCalls: twoCalls, usage })
    const completion = await ask(at, { tools: [weather], tool_choice: 'auto' })
    const calls = completion.choices[0]?.message.tool_calls ?? []
    expect(completion.choices[0]).toMatchObject({ finish_reason: 'tool_calls', message: { content: 'Let me see.' } })
    expect(at.fake.lastBody).toMatchObject({
      tools: [
        {
          functionDeclarations: [{ name: 'get_weather', description: 'Weather.', parametersJsonSchema: parameters }],
        },
      ],
      toolConfig: { functionCallingConfig: { mode: 'AUTO' } },
    })
    const chunks = await stream(at, { tools: [weather] })
    expect(finishOf(chunks)).toBe('tool_calls')
    const streamed = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? [])
    const argumentsOf = (index: number) =>
      streamed.filter((call) => call.index === index).map((call) => call.function?.arguments ?? '')
    expect([0, 1].map((index) => JSON.parse(argumentsOf(index).join('')))).toEqual(twoCalls.map(({ input }) => input))
    const ids = [...calls.map(({ id }) => id), ...streamed.flatMap(({ id }) => id ?? [])]
    expect(new Set(ids).size).toBe(4)
    for (const id of ids) expect(id).toMatch(/^call_[A-Za-z0-9_-]{24}$/)
  })

  test('are answered in the order of their calls, however the client orders the answers', async () => {
    const at = await world()
    at.fake.willAnswer({ toolCalls: twoCalls })
    const { message } = (await ask(at, { tools: [weather] })).choices[0] ?? {}
    const [first, second] = message?.tool_calls ?? []
    await ask(at, {
      tools: [weather],
      messages: [
        ...hello,
        message,
        {
          role: 'tool',
          tool_call_id: second?.id,
          content: [
            { type: 'text', text: '2' },
            { type: 'text', text: '!' },
          ],
        },
        { role: 'tool', tool_call_id: first?.id, content: '{"degrees":1}' },
        { role: 'user', content: 'And now?' },
      ],
    })
    expect(at.fake.lastContents.slice(1)).toEqual([
      {
        role: 'model',
        parts: twoCalls.map(({ name, input }) => ({ functionCall: { name, args: input } })),
      },
      {
        role: 'user',
        parts: [
          { functionResponse: { name: 'get_weather', response: { output: '{"degrees":1}' } } },
          { functionResponse: { name: 'get_weather', response: { output: ['2', '!'] } } },
        ],
      },
      { role: 'user', parts: [{ text: 'And now?' }] },
    ])
  })

  test('may fail', async () => {
    const at = await world()
    at.fake.willAnswer({ toolCalls: twoCalls.slice(0, 1) })
    const { content, stop_reason } = await askMessage(at, { tools: [weatherTool] })
    expect(stop_reason).toBe('tool_use')
    const called = content.find((block) => block.type === 'tool_use')
    expect(called?.input).toEqual(twoCalls[0]?.input)
    const result = { type: 'tool_result', tool_use_id: called?.id, is_error: true, content: 'no such city' }
    await askMessage(at, {
      tools: [weatherTool],
      messages: [...hello, { role: 'assistant', content }, { role: 'user', content: [result] }],
    })
    expect(at.fake.lastContents.at(-1)).toEqual({
      role: 'user',
      parts: [{ functionResponse: { name: 'get_weather', response: { error: 'no such city' } } }],
    })
  })

  test('come streamed to Anthropic’s client', async () => {
    const at = await world()
    at.fake.willAnswer({ text: 'Hm.', toolCalls: twoCalls })
    const message = await at.anthropic.messages
      .stream({ model: 'chat', max_tokens: 9, messages: hello, tools: [weatherTool as Anthropic.Tool] })
      .finalMessage()
    expect(message.stop_reason).toBe('tool_use')
    expect(message.content.map((block) => (block.type === 'tool_use' ? block.input : block.type))).toEqual([
      'text',
      ...twoCalls.map(({ input }) => input),
    ])
  })

  const choices: [string, object, object | undefined][] = [
    ['nothing', {}, undefined],
    ['auto', { tool_choice: 'auto' }, { mode: 'AUTO' }],
    ['required', { tool_choice: 'required' }, { mode: 'ANY' }],
    ['none', { tool_choice: 'none' }, { mode: 'NONE' }],
    [
      'one',
      { tool_choice: { type: 'function', function: { name: 'get_weather' } } },
      { mode: 'ANY', allowedFunctionNames: ['get_weather'] },
    ],
    [
      'strict',
      { tools: [{ type: 'function', function: { ...weather.function, strict: true } }] },
      { mode: 'VALIDATED' },
    ],
  ]
  test.each(choices)('are chosen: %s', async (_name, extra, config) => {
    const at = await world()
    await ask(at, { tools: [weather], ...extra })
    expect(at.fake.lastBody['toolConfig']).toEqual(config && { functionCallingConfig: config })
  })

  test('without parameters have none', async () => {
    const at = await world()
    await ask(at, { tools: [{ type: 'function', function: { name: 'now' } }] })
    expect(at.fake.lastBody['tools']).toEqual([{ functionDeclarations: [{ name: 'now' }] }])
  })

  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } }
  const withImage = [
    ...hello,
    { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'get_weather', input: { city: 'x' } }] },
    {
      role: 'user',
      content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: [{ type: 'text', text: 'see' }, image] }],
    },
  ]
  test('answer with pictures from Gemini 3 on', async () => {
    const at = await world({ model: 'gemini-3.5-flash' })
    await askMessage(at, { tools: [weatherTool], messages: withImage })
    expect(at.fake.lastContents.at(-1)).toEqual({
      role: 'user',
      parts: [
        {
          functionResponse: {
            ...{ name: 'get_weather', response: { output: 'see' } },
            parts: [{ inlineData: { mimeType: 'image/png', data: pixel } }],
          },
        },
      ],
    })
    const older = await world({ dropsUnsupported: true })
    const fault = await askMessage(older, { tools: [weatherTool], messages: withImage }).catch(
      (error: unknown) => error,
    )
    expect(fault).toBeInstanceOf(Anthropic.BadRequestError)
    expect((fault as { error: unknown }).error).toMatchObject({
      error: { code: 'unsupported_field', param: 'messages[2].content[0].content[1]' },
    })
  })
})

describe('what cannot be left out', () => {
  const orphan = [...hello, { role: 'tool', tool_call_id: 'call_x', content: '1' }]
  const gif = { type: 'image_url', image_url: { url: `data:image/gif;base64,${pixel}` } }
  const unnamed = { type: 'image_url', image_url: { url: 'https://example.com/picture?name=a.png' } }
  const cases: [string, object, string][] = [
    ['tools[0]', { tools: [{ type: 'function', function: { name: '2nd' } }] }, 'begin with a letter'],
    ['messages[1]', { messages: orphan }, 'answers no call'],
    ['messages[0].content[0]', { messages: [{ role: 'user', content: [gif] }] }, 'image/gif'],
    ['messages[0].content[0]', { messages: [{ role: 'user', content: [unnamed] }] }, 'an image’s type'],
    ['response_format', { response_format: { type: 'json_object' }, tools: [weather] }, 'beside tools'],
    ['n', { n: 2 }, 'one answer'],
    [
      'messages[0]',
      {
        messages: [
          { role: 'assistant', tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }] },
          { role: 'tool', tool_call_id: 'a', content: '1' },
        ],
      },
      'in answer to a user',
    ],
  ]
  test.each(cases)('%s is refused by its name, whatever the route drops: %#', async (field, extra, reason) => {
    const at = await world({ dropsUnsupported: true })
    const refusal = await refusalOf(ask(at, extra))
    expect(refusal).toMatchObject({ status: 400, code: 'unsupported_field', param: field })
    expect(refusal.message).toContain(reason)
    expect(at.fake.received).toHaveLength(0)
    expect(at.fake.identity.exchangeCount).toBe(0)
  })
})

describe('pictures and documents', () => {
  test('go as bytes, and by address where the address says what they are', async () => {
    const at = await world({ model: 'gemini-3.5-flash' })
    const url = (link: string, detail?: string) => ({ type: 'image_url', image_url: { url: link, detail } })
    await ask(at, {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Compare.' },
            url(`data:image/jpg;base64,${pixel}`, 'low'),
            url('https://example.com/a/b.JPEG?size=1#x', 'high'),
            { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERi0=' } },
          ],
        },
      ],
    })
    expect(at.fake.lastContents[0]?.['parts']).toEqual([
      { text: 'Compare.' },
      {
        inlineData: { mimeType: 'image/jpeg', data: pixel },
        mediaResolution: { level: 'MEDIA_RESOLUTION_LOW' },
      },
      {
        fileData: { mimeType: 'image/jpeg', fileUri: 'https://example.com/a/b.JPEG?size=1#x' },
        mediaResolution: { level: 'MEDIA_RESOLUTION_HIGH' },
      },
      { inlineData: { mimeType: 'application/pdf', data: 'JVBERi0=' } },
    ])
  })

  test('are not read from Cloud Storage in the name of the provider’s credential', async () => {
    const at = await world({ model: 'gemini-3.5-flash' })
    const part = { type: 'image_url', image_url: { url: 'gs://bucket/c.webp' } }
    expect(await refusalOf(ask(at, { messages: [{ role: 'user', content: [part] }] }))).toMatchObject({
      ...{ status: 400, code: 'unsupported_field', param: 'messages[0].content[0]' },
    })
  })

  test('of Anthropic’s client too', async () => {
    const at = await world()
    await askMessage(at, {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
            { type: 'document', source: { type: 'url', url: 'https://example.com/paper' } },
          ],
        },
      ],
    })
    expect(at.fake.lastContents[0]?.['parts']).toEqual([
      { fileData: { mimeType: 'image/png', fileUri: 'https://example.com/a.png' } },
      { fileData: { mimeType: 'application/pdf', fileUri: 'https://example.com/paper' } },
    ])
  })

  test('how closely to look is a hint before Gemini 3', async () => {
    const at = await world()
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}`, detail: 'high' } }
    expect(await droppedBy(at, { messages: [{ role: 'user', content: [image] }] })).toBe(
      'messages[0].content[0].detail',
    )
  })
})

describe('JSON', () => {
  const schema = {
    type: 'object',
    properties: {
      kind: { const: 'place' },
      place: { $ref: '#/definitions/Place', description: 'Where.' },
      code: { type: 'string', pattern: '^[A-Z]+$' },
    },
    required: ['kind'],
    definitions: { Place: { type: 'object', properties: { name: { type: 'string' } } } },
  }
  const format = (extra: object) => ({
    response_format: { type: 'json_schema', json_schema: { name: 'place', schema, ...extra } },
  })

  test('without a schema', async () => {
    const at = await world()
    at.fake.willAnswer({ text: '{"a":1}' })
    const completion = await ask(at, { response_format: { type: 'json_object' } })
    expect(completion.choices[0]?.message.content).toBe('{"a":1}')
    expect(at.fake.lastBody['generationConfig']).toEqual({ responseMimeType: 'application/json' })
  })

  test('of a schema, in words that Gemini holds an answer to', async () => {
    const at = await world()
    await ask(at, format({ description: 'A place.' }))
    expect(at.fake.lastBody['generationConfig']).toEqual({
      responseMimeType: 'application/json',
      responseJsonSchema: {
        description: 'A place.',
        type: 'object',
        properties: {
          kind: { enum: ['place'] },
          place: { description: 'Where.', anyOf: [{ $ref: '#/$defs/Place' }] },
          code: { type: 'string', pattern: '^[A-Z]+$' },
        },
        required: ['kind'],
        $defs: { Place: { type: 'object', properties: { name: { type: 'string' } } } },
      },
    })
  })

  test('that has to fit is refused where Gemini would not see to it', async () => {
    const at = await world()
    const refusal = await refusalOf(ask(at, format({ strict: true })))
    expect(refusal).toMatchObject({ code: 'unsupported_field', param: 'response_format' })
    expect(refusal.message).toContain("'pattern'")
    const lenient = await world({ dropsUnsupported: true })
    expect(await droppedBy(lenient, format({ strict: true }))).toBe('response_format')
  })

  test('beside tools from Gemini 3 on', async () => {
    const at = await world({ model: 'gemini-3.5-flash' })
    await ask(at, { ...format({}), tools: [weather] })
    expect(at.fake.lastBody['generationConfig']).toMatchObject({ responseMimeType: 'application/json' })
  })

  test('for Anthropic’s client', async () => {
    const at = await world()
    await askMessage(at, { output_config: { format: { type: 'json_schema', schema: parameters } } })
    expect(at.fake.lastBody['generationConfig']).toEqual({
      ...{ maxOutputTokens: 99, responseMimeType: 'application/json', responseJsonSchema: parameters },
    })
  })
})

describe('settings', () => {
  test('that Gemini has a word for go in its words', async () => {
    const at = await world()
    await ask(at, {
      ...{ max_completion_tokens: 50, temperature: 1.5, top_p: 0.9, top_k: 20, seed: 7 },
      ...{ stop: ['END', '\n\n'], frequency_penalty: 0.5, presence_penalty: -0.5, parallel_tool_calls: true },
    })
    expect(at.fake.lastBody['generationConfig']).toEqual({
      ...{ maxOutputTokens: 50, temperature: 1.5, topP: 0.9, topK: 20, seed: 7 },
      ...{ stopSequences: ['END', '\n\n'], frequencyPenalty: 0.5, presencePenalty: -0.5 },
    })
  })

  test('that change nothing are no loss', async () => {
    const at = await world()
    expect(
      await droppedBy(at, { frequency_penalty: 0, presence_penalty: 0, n: 1, top_k: -1, logprobs: false }),
    ).toBeNull()
    expect(Object.keys(at.fake.lastBody)).toEqual(['contents'])
  })

  const cases: [string, ChatBody & Record<string, unknown>, string?][] = [
    ['parallel_tool_calls', { parallel_tool_calls: false, tools: [weather] as OpenAI.ChatCompletionTool[] }],
    ['stop', { stop: ['a', 'b', 'c', 'd', 'e', 'f'] }],
    ['seed', { seed: 2 ** 40 }],
    ['frequency_penalty', { frequency_penalty: 2 }],
    ['logit_bias', { logit_bias: { '50256': -100 } }],
    ['verbosity', { verbosity: 'low' }],
    ['reasoning_effort', { reasoning_effort: 'high' }, 'gemini-2.0-flash'],
    ['reasoning_effort', { reasoning_effort: 'none' }, 'gemini-2.5-pro'],
    ['reasoning_effort', { reasoning_effort: 'none' }, 'gemini-3.8-flash'],
  ]
  test.each(cases)('%s is refused by its name, or dropped and named where the route says so: %#', async (...one) => {
    const [field, extra, model] = one
    const strict = await world(model === undefined ? {} : { model })
    expect(await refusalOf(ask(strict, extra))).toMatchObject({
      ...{ status: 400, code: 'unsupported_field', param: field },
    })
    expect(strict.fake.received).toHaveLength(0)
    const lenient = await world({ dropsUnsupported: true, ...(model === undefined ? {} : { model }) })
    expect(await droppedBy(lenient, extra)).toBe(field)
    expect(lenient.fake.received).toHaveLength(1)
  })

  test('log probabilities come in OpenAI’s form, whole and streamed', async () => {
    const at = await world()
    at.fake.willAnswer({ text: 'Hello you' }, { text: 'Hello you' }, { text: 'Hello you' })
    const completion = await ask(at, { logprobs: true, top_logprobs: 2 })
    const content = completion.choices[0]?.logprobs?.content ?? []
    expect(content.map(({ token }) => token).join('')).toBe('Hello you')
    expect(content[0]).toMatchObject({ logprob: -0.1, top_logprobs: [{ token: 'Hell' }, { token: 'other' }] })
    expect(at.fake.lastBody['generationConfig']).toEqual({ responseLogprobs: true, logprobs: 2 })
    const chunks = await stream(at, { logprobs: true })
    const tokens = chunks.flatMap((chunk) => chunk.choices[0]?.logprobs?.content ?? [])
    expect(tokens.map(({ token }) => token).join('')).toBe('Hello you')
    expect(at.fake.lastBody['generationConfig']).toEqual({ responseLogprobs: true })
    expect((await ask(at)).choices[0]?.logprobs).toBeNull()
  })
})

describe('thinking', () => {
  const shown = { includeThoughts: true }
  const cases: [string, string, object][] = [
    ['gemini-2.5-flash', 'low', { ...shown, thinkingBudget: 2_048 }],
    ['gemini-2.5-flash', 'xhigh', { ...shown, thinkingBudget: 24_576 }],
    ['gemini-2.5-flash', 'none', { thinkingBudget: 0 }],
    ['gemini-2.5-flash-lite', 'medium', { ...shown, thinkingBudget: 8_192 }],
    ['gemini-2.5-pro', 'max', { ...shown, thinkingBudget: 32_768 }],
    ['gemini-3-flash-preview', 'minimal', { ...shown, thinkingLevel: 'MINIMAL' }],
    ['gemini-3.8-flash', 'minimal', { ...shown, thinkingLevel: 'LOW' }],
    ['gemini-3.1-pro-preview', 'medium', { ...shown, thinkingLevel: 'MEDIUM' }],
    ['gemini-3.1-pro-preview', 'max', { ...shown, thinkingLevel: 'HIGH' }],
  ]
  test.each(cases)('%s at %s', async (model, reasoning_effort, thinkingConfig) => {
    const at = await world({ model })
    await ask(at, { reasoning_effort })
    expect(at.fake.lastBody['generationConfig']).toEqual({ thinkingConfig })
  })

  test.each([
    ['gemini-2.5-pro', { type: 'enabled', budget_tokens: 5_000 }, { ...shown, thinkingBudget: 5_000 }],
    ['gemini-2.5-flash-lite', { type: 'disabled' }, { thinkingBudget: 0 }],
    ['gemini-3.1-pro-preview', { type: 'enabled', budget_tokens: 5_000 }, { ...shown, thinkingLevel: 'MEDIUM' }],
    ['gemini-3.1-pro-preview', { type: 'adaptive' }, { ...shown, thinkingLevel: 'HIGH' }],
  ])('%s for Anthropic’s client: %o', async (model, thinking, thinkingConfig) => {
    const at = await world({ model })
    await askMessage(at, { thinking })
    expect(at.fake.lastBody['generationConfig']).toMatchObject({ thinkingConfig })
  })

  test('is shown, whole and streamed, to both clients', async () => {
    const at = await world()
    const script = { reasoning: 'Hm, hello to whom?', text: 'Hello.', usage }
    at.fake.willAnswer(script, script, script, script)
    const { message } = (await ask(at, { reasoning_effort: 'low' })).choices[0] ?? {}
    expect(message).toMatchObject({ content: 'Hello.', reasoning_content: 'Hm, hello to whom?' })
    const chunks = await stream(at, { reasoning_effort: 'low' })
    const thought = chunks.map((chunk) => {
      const delta = chunk.choices[0]?.delta as { reasoning_content?: string } | undefined
      return delta?.reasoning_content
    })
    expect({ thought: thought.join(''), said: said(chunks) }).toEqual({ thought: 'Hm, hello to whom?', said: 'Hello.' })
    const thinking = { type: 'enabled' as const, budget_tokens: 1_024 }
    const whole = await askMessage(at, { thinking })
    const streamed = await at.anthropic.messages
      .stream({ model: 'chat', max_tokens: 99, messages: hello, thinking })
      .finalMessage()
    for (const { content } of [whole, streamed]) {
      expect(content).toMatchObject([
        { type: 'thinking', thinking: 'Hm, hello to whom?' },
        { type: 'text', text: 'Hello.' },
      ])
    }
  })
})

describe('thought signatures of Gemini 3', () => {
  const model = 'gemini-3.5-flash'
  const resultsOf = (content: readonly Anthropic.ContentBlock[]) =>
    content.flatMap((block) =>
      block.type === 'tool_use' ? [{ type: 'tool_result' as const, tool_use_id: block.id, content: 'sunny' }] : [],
    )

  test('go to Anthropic’s client and come back onto the very call, whole and streamed, step after step', async () => {
    const at = await world({ model })
    at.fake.willAnswer({ reasoning: 'Two cities.', toolCalls: twoCalls }, { toolCalls: twoCalls.slice(1) })
    const messages: Anthropic.MessageParam[] = [...hello]
    const tools = [weatherTool as Anthropic.Tool]
    const first = await askMessage(at, { tools, messages, thinking: { type: 'adaptive' } })
    expect(first.content.map(({ type }) => type)).toEqual(['thinking', 'tool_use', 'tool_use'])
    messages.push({ role: 'assistant', content: first.content }, { role: 'user', content: resultsOf(first.content) })
    const second = await at.anthropic.messages.stream({ model: 'chat', max_tokens: 99, messages, tools }).finalMessage()
    expect(second.content.map(({ type }) => type)).toEqual(['thinking', 'tool_use'])
    messages.push({ role: 'assistant', content: second.content }, { role: 'user', content: resultsOf(second.content) })
    const { response } = await at.anthropic.messages
      .create({ model: 'chat', max_tokens: 99, messages, tools })
      .withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBeNull()
    const signatures = at.fake.lastContents.flatMap(({ parts }) =>
      (parts as { functionCall?: object; thoughtSignature?: string }[])
        .filter((part) => part.functionCall !== undefined)
        .map(({ thoughtSignature }) => thoughtSignature?.length ?? 0),
    )
    // Signed, not signed because parallel, signed.
    expect(signatures.map((length) => length > 1_000)).toEqual([true, false, true])
  })

  test('are lost by OpenAI’s client, so the call says that it is not signed', async () => {
    const at = await world({ model })
    at.fake.willAnswer({ toolCalls: twoCalls })
    const { message } = (await ask(at, { tools: [weather] })).choices[0] ?? {}
    const results = (message?.tool_calls ?? []).map(({ id }) => ({ role: 'tool', tool_call_id: id, content: '1' }))
    await ask(at, { tools: [weather], messages: [...hello, message, ...results] })
    expect(at.fake.lastContents[1]?.['parts']).toEqual([
      { functionCall: { name: 'get_weather', args: twoCalls[0]?.input }, thoughtSignature: unsignedCall },
      { functionCall: { name: 'get_weather', args: twoCalls[1]?.input } },
    ])
  })

  test('of another vendor are none', async () => {
    const at = await world({ model })
    const { response } = await at.anthropic.messages
      .create({
        ...{ model: 'chat', max_tokens: 9, tools: [weatherTool as Anthropic.Tool] },
        messages: [
          ...hello,
          {
            role: 'assistant',
            content: [
              { type: 'thinking', thinking: 'Hm.', signature: 'EqQBCgIYAhIM' },
              { type: 'tool_use', id: 'toolu_1', name: 'get_weather', input: { city: 'x' } },
            ],
          },
          { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'r' }] },
        ],
      })
      .withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBe('messages[1].content[0]')
    expect(at.fake.lastContents[1]?.['parts']).toEqual([
      { functionCall: { name: 'get_weather', args: { city: 'x' } }, thoughtSignature: unsignedCall },
    ])
  })
})

describe('why an answer ends', () => {
  const cases: [string, VertexAnswer, string, string][] = [
    ['at the limit', { text: 'Hel', finish: 'length' }, 'length', 'max_tokens'],
    ['at a stop sequence, which is not told', { text: 'Hel', finish: 'stop_sequence' }, 'stop', 'end_turn'],
    ['by the safety filter', { text: 'Hel', finish: 'content_filter' }, 'content_filter', 'refusal'],
    ['for recitation', { text: 'Hel', finishReason: 'RECITATION' }, 'content_filter', 'refusal'],
    ['for a reason to come', { text: 'Hel', finishReason: 'A_NEW_ONE' }, 'content_filter', 'refusal'],
    ['before it begins', { blockReason: 'PROHIBITED_CONTENT' }, 'content_filter', 'refusal'],
  ]
  test.each(cases)('%s', async (_name, script, finish, stop) => {
    const at = await world()
    at.fake.willAnswer(script, script, script)
    const content = script.text ?? null
    expect((await ask(at)).choices[0]).toMatchObject({ finish_reason: finish, message: { content } })
    const chunks = await stream(at)
    expect({ finish: finishOf(chunks), said: said(chunks) }).toEqual({ finish, said: content ?? '' })
    expect((await askMessage(at)).stop_reason).toBe(stop)
    expect(at.meter.closed.map(({ status }) => status)).toEqual(['ok', 'ok', 'ok'])
    expect(at.meter.last).toMatchObject({ tokensIn: 21, usageSource: 'provider' })
  })

  test('with a call that the model got wrong is no answer: the next target is asked', async () => {
    const at = await world({ fallback: true })
    const script: VertexAnswer = { finishReason: 'MALFORMED_FUNCTION_CALL' }
    at.fake.willAnswer(script, script)
    const answered = await ask(at, { tools: [weather] })
    expect(answered.choices[0]?.message.content).toBe('Hello there, how are you today?')
    expect(at.meter.last.hops?.map((hop) => hop.outcome)).toEqual(['malformed', 'ok'])
    expect(said(await stream(at, { tools: [weather] }))).toBe('Hello there, how are you today?')
    expect(at.meter.last.hops?.map((hop) => hop.outcome)).toEqual(['upstream_5xx', 'ok'])
  })
})

describe('faults', () => {
  test('a refusal of the request passes in the client’s own words', async () => {
    const at = await world()
    const message = 'Unable to submit request because it has too many tokens.'
    at.fake.willAnswer({ status: 400, message }, { status: 404, message }, { status: 400, message })
    expect(await refusalOf(ask(at))).toMatchObject({ status: 400, message: expect.stringContaining(message) })
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_rejected', httpStatus: 400 })
    expect(await refusalOf(stream(at))).toMatchObject({ status: 404, message: expect.stringContaining(message) })
    const fault = await askMessage(at).catch((error: unknown) => error)
    expect((fault as { error: unknown }).error).toMatchObject({ type: 'error', error: { message } })
  })

  test.each([
    ['an exhausted quota', { status: 429, message: 'Resource exhausted.', retryAfterSeconds: 3 }, 'rate_limited'],
    ['an overload', { status: 503, message: 'Overloaded.' }, 'upstream_5xx'],
    ['an expired token', { status: 401, message: 'Invalid authentication credentials.' }, 'upstream_4xx'],
    ['a permission that is missing', { status: 403, message: 'Permission denied.' }, 'upstream_4xx'],
    ['an error before the first word', { text: 'never', errorAfter: 0 }, 'upstream_5xx'],
  ] as const)('%s goes to the next target', async (_name, script, outcome) => {
    const at = await world({ fallback: true })
    at.fake.willAnswer(script)
    expect(said(await stream(at))).toBe('Hello there, how are you today?')
    expect(at.meter.last.hops?.map((hop) => hop.outcome)).toEqual([outcome, 'ok'])
  })

  test('with nowhere else to go, a quota and a credential are told apart', async () => {
    const at = await world()
    at.fake.willAnswer({ status: 429, message: 'Resource exhausted.', retryAfterSeconds: 3 })
    const limited = await ask(at).catch((error: unknown) => error)
    expect(limited).toMatchObject({ status: 429, code: 'upstream_rate_limited' })
    expect((limited as APIError).headers?.get('retry-after')).toBe('3')
    const other = await world()
    other.fake.willAnswer({ status: 403, message: 'Permission denied.' })
    expect(await refusalOf(ask(other))).toMatchObject({ status: 502, code: 'upstream_credential_rejected' })
  })

  test.each([
    ['cut', { cutAfter: 3 }, 'upstream_truncated'],
    ['that ends in an error', { errorAfter: 3 }, 'upstream_failed'],
  ])('a stream %s is told to the client, and what came is counted', async (_name, how, code) => {
    const at = await world()
    at.fake.willAnswer({ text, ...how })
    let heard = ''
    const body = { model: 'chat', messages: hello, stream: true as const }
    const fault = await (async () => {
      for await (const chunk of await at.openai.chat.completions.create(body)) {
        heard += chunk.choices[0]?.delta.content ?? ''
      }
    })().catch((error: unknown) => error)
    expect(fault).toBeInstanceOf(APIError)
    expect(heard).toBe(text.slice(0, 21))
    await until(() => at.meter.closed.length === 1, 'a record')
    expect(at.meter.last).toMatchObject({ status: 'failed', code, usageSource: 'counted', tokensOut: 6 })
  })

  test('a stream cut is known exactly where totals were told as it ran', async () => {
    const at = await world()
    const script: VertexAnswer = { text, tellsRunningTotals: true, cutAfter: 3, usage: { input: 50, output: 24 } }
    at.fake.willAnswer(script)
    const fault = await at.anthropic.messages
      .stream({ model: 'chat', max_tokens: 99, messages: hello })
      .finalMessage()
      .catch((error: unknown) => error)
    expect(fault).toBeInstanceOf(Anthropic.APIError)
    await until(() => at.meter.closed.length === 1, 'a record')
    expect(at.meter.last).toMatchObject({ status: 'failed', usageSource: 'provider', tokensIn: 50, tokensOut: 12 })
  })

  test('a stream of something else is malformed', async () => {
    const at = await world()
    const script: VertexAnswer = { text, garbage: 'data: {"candidates":[{]}\r\n\r\n' }
    at.fake.willAnswer(script)
    await expect(stream(at)).rejects.toThrow()
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_truncated' })
  })
})

describe('who we are to Google', () => {
  test('is asked once for all who wait for it, and then known', async () => {
    const at = await world()
    let open: () => void = () => {}
    at.fake.identity.gate = new Promise((resolve) => {
      open = resolve
    })
    const waiting = Promise.all([ask(at), ask(at), stream(at), askMessage(at)])
    await until(() => at.handler.runningCount === 4, 'four that wait')
    open()
    await waiting
    await ask(at)
    expect(at.fake.identity.exchangeCount).toBe(1)
    const tokens = new Set(at.fake.received.map(({ headers }) => headers['authorization']))
    expect(tokens.size).toBe(1)
  })

  test('is the machine itself, where this agent may say so', async () => {
    const at = await world({ machine: 'permitted' })
    await ask(at)
    await ask(at)
    expect(at.fake.identity).toMatchObject({ metadataCount: 1, exchangeCount: 0 })
  })

  const invalid = { status: 400, body: { error: 'invalid_grant', error_description: 'account not found' } }
  test.each([
    ['a machine that may not be used', { machine: 'not permitted' } as Wish, null],
    ['a credential that is none', { secret: '{"private_key":"zz-secret"}' } as Wish, null],
    ['an account that Google does not know', {} as Wish, invalid],
    ['a token endpoint that fails', {} as Wish, { status: 503, body: {} }],
  ])('%s: the next target is asked, and without one nobody', async (_name, wish, refusal) => {
    const at = await world({ ...wish, fallback: true })
    at.fake.identity.refusal = refusal
    expect((await ask(at)).choices[0]?.message.content).toBe('Hello there, how are you today?')
    expect(at.meter.last.hops?.map((hop) => hop.outcome)).toEqual(['not_ready', 'ok'])
    expect(at.fake.received).toHaveLength(0)
    const alone = await world(wish)
    alone.fake.identity.refusal = refusal
    expect(await refusalOf(ask(alone))).toMatchObject({ status: 503, code: 'upstream_not_ready' })
  })
})
