import { hash } from 'node:crypto'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { type Door, makeTables, makeTarget, openDoor, type TargetSpec } from '../harness/agent-door.js'
import { AnthropicFake } from '../harness/vendors/anthropic-fake.js'
import { OpenaiFake } from '../harness/vendors/openai-fake.js'
import type { VendorFake } from '../harness/vendors/vendor-fake.js'

/** What is Anthropic's own: what every vendor shares is in `conformance`. */
const cleanUps: (() => Promise<void>)[] = []
const fakes: VendorFake[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  for (const fake of fakes.splice(0)) expect(fake.problems).toEqual([])
})

interface World extends Door {
  readonly fake: AnthropicFake
  readonly second: OpenaiFake
  readonly openai: OpenAI
  readonly anthropic: Anthropic
  readonly apiKey: string
}

interface Wish {
  target?: Partial<TargetSpec>
  dropsUnsupported?: boolean
  /** Behind Anthropic comes OpenAI. */
  fallback?: boolean
}

async function world({ target, dropsUnsupported = false, fallback = false }: Wish = {}): Promise<World> {
  const fake = await new AnthropicFake().start()
  const second = await new OpenaiFake().start()
  fakes.push(fake, second)
  cleanUps.push(
    () => fake.stop(),
    () => second.stop(),
  )
  const first = makeTarget({
    ...{ kind: 'anthropic', origin: fake.origin, upstreamModel: 'claude-sonnet-4-20250514' },
    credential: { id: 'crd', version: 1 },
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
  return Object.assign(door, { fake, second, openai, anthropic, apiKey })
}

const hello = [{ role: 'user' as const, content: 'Say hello.' }]

async function refusalOf(
  promise: Promise<unknown>,
): Promise<{ status: number; code: string; param: string; message: string }> {
  const fault = await promise.then(
    () => null,
    (error: unknown) => error,
  )
  if (!(fault instanceof OpenAI.APIError)) throw new Error(`not refused: ${String(fault)}`)
  const { status, code, param, message } = fault
  return { status: status ?? 0, code: code ?? '', param: param ?? '', message }
}

describe('settings that Anthropic has no word for', () => {
  const cases: [string, object][] = [
    ['seed', { seed: 7 }],
    ['frequency_penalty', { frequency_penalty: 0.5 }],
    ['presence_penalty', { presence_penalty: 0.5 }],
    ['logprobs', { logprobs: true, top_logprobs: 2 }],
    ['logit_bias', { logit_bias: { '50256': -100 } }],
    ['temperature', { temperature: 1.5 }],
    ['stop', { stop: ['\n\n'] }],
    ['verbosity', { verbosity: 'low' }],
    ['a_member_nobody_knows', { a_member_nobody_knows: 1 }],
  ]
  test.each(cases)('%s is refused by its name, or dropped and named where the route says so', async (field, extra) => {
    const strict = await world()
    const body = { model: 'chat', messages: hello, ...extra }
    expect(await refusalOf(strict.openai.chat.completions.create(body))).toMatchObject({
      ...{ status: 400, code: 'unsupported_field', param: field },
    })
    expect(strict.fake.received).toHaveLength(0)
    expect(strict.meter.last).toMatchObject({ status: 'failed', code: 'unsupported_field' })
    expect(strict.meter.last.hops?.[0]?.outcome).toBe('not_expressible')

    const lenient = await world({ dropsUnsupported: true })
    const { response } = await lenient.openai.chat.completions.create(body).withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBe(field)
    expect(lenient.fake.received).toHaveLength(1)
  })

  test('a default that changes nothing is no loss', async () => {
    const at = await world()
    const { response } = await at.openai.chat.completions
      .create({ model: 'chat', messages: hello, temperature: 1, top_p: 1, frequency_penalty: 0, n: 1, logprobs: false })
      .withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBeNull()
    expect(Object.keys(at.fake.lastBody)).toEqual(['model', 'max_tokens', 'messages'])
  })

  test.each([
    ['claude-sonnet-4-20250514', { temperature: 0.2, top_p: 0.9 }, null],
    ['claude-opus-4-1-20250805', { temperature: 0.2 }, 'top_p'],
    ['claude-sonnet-4-5-20250929', { temperature: 0.2 }, 'top_p'],
    ['claude-opus-4-6', { temperature: 0.2 }, 'top_p'],
  ])('%s is told as much of how to sample as it takes', async (upstreamModel, sampling, lost) => {
    const body = { model: 'chat', messages: hello, temperature: 0.2, top_p: 0.9 }
    const lenient = await world({ target: { upstreamModel }, dropsUnsupported: true })
    const { response } = await lenient.openai.chat.completions.create(body).withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBe(lost)
    const { temperature, top_p } = lenient.fake.lastBody
    expect({ temperature, top_p }).toEqual({ top_p: undefined, ...sampling })
    if (lost === null) return
    const strict = await world({ target: { upstreamModel } })
    expect(await refusalOf(strict.openai.chat.completions.create(body))).toMatchObject({ param: lost })
  })

  test('newer models refuse to be told how to sample, so nobody tells them', async () => {
    const at = await world({ target: { upstreamModel: 'claude-opus-5-5' } })
    const body = { model: 'chat', messages: hello, temperature: 0.2 }
    expect(await refusalOf(at.openai.chat.completions.create(body))).toMatchObject({ param: 'temperature' })
  })
})

describe('what cannot be left out', () => {
  const cases: [string, object][] = [
    ['n', { n: 2 }],
    ['audio', { modalities: ['text', 'audio'], audio: { voice: 'alloy', format: 'mp3' } }],
    ['tools[0]', { tools: [{ type: 'custom', custom: { name: 'x' } }] }],
    [
      'messages[0].content[0]',
      {
        messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: { data: 'AA==', format: 'wav' } }] }],
      },
    ],
    [
      'response_format',
      { response_format: { type: 'json_object' }, tools: [{ type: 'function', function: { name: 'x' } }] },
    ],
  ]
  test.each(cases)('%s is refused by its name, whatever the route drops', async (field, extra) => {
    const at = await world({ dropsUnsupported: true })
    const body = { model: 'chat', messages: hello, ...extra } as OpenAI.ChatCompletionCreateParamsNonStreaming
    const refusal = await refusalOf(at.openai.chat.completions.create(body))
    expect(refusal).toMatchObject({ status: 400, code: 'unsupported_field' })
    expect(refusal.param).toBe(field)
    expect(at.fake.received).toHaveLength(0)
  })

  test('goes to the next target that can say it', async () => {
    const at = await world({ fallback: true })
    const { data, response } = await at.openai.chat.completions
      .create({ model: 'chat', messages: hello, seed: 7 })
      .withResponse()
    expect(data.choices[0]?.message.content).toBe('Hello there, how are you today?')
    expect(response.headers.get('x-switchyard-hop')).toBe('2')
    expect(response.headers.get('x-switchyard-fallback-reason')).toBe('not_expressible')
    expect(at.second.lastBody).toMatchObject({ seed: 7 })
  })

  test('is not blamed where another target was tried and failed', async () => {
    const at = await world({ fallback: true })
    at.second.willAnswer({ status: 500, message: 'no' })
    const refusal = await refusalOf(at.openai.chat.completions.create({ model: 'chat', messages: hello, seed: 7 }))
    expect(refusal).toMatchObject({ status: 502, code: 'upstream_failed' })
    expect(at.meter.last.hops?.map((hop) => hop.outcome)).toEqual(['not_expressible', 'upstream_5xx'])
  })
})

describe('thinking', () => {
  test('an effort becomes a budget where the model counts tokens, with room for the answer', async () => {
    const at = await world()
    at.fake.willAnswer({ reasoning: 'Hm, hello?', text: 'Hello.', usage: { input: 5, output: 30, reasoning: 20 } })
    const completion = await at.openai.chat.completions.create({
      model: 'chat',
      messages: hello,
      reasoning_effort: 'low',
    })
    expect(at.fake.lastBody).toMatchObject({ thinking: { type: 'enabled', budget_tokens: 2_048 }, max_tokens: 6_144 })
    expect(completion.choices[0]?.message).toMatchObject({ content: 'Hello.', reasoning_content: 'Hm, hello?' })
    expect(completion.usage?.completion_tokens_details?.reasoning_tokens).toBe(20)
    expect(at.meter.last).toMatchObject({ tokensOut: 30, tokensOutReasoning: 20 })
  })

  test('and stays an effort where the model decides by itself', async () => {
    const at = await world({ target: { upstreamModel: 'claude-opus-5-5' } })
    await at.openai.chat.completions.create({ model: 'chat', messages: hello, reasoning_effort: 'high' })
    expect(at.fake.lastBody).toMatchObject({ thinking: { type: 'adaptive' }, output_config: { effort: 'high' } })
  })

  test('is shown while it streams', async () => {
    const at = await world()
    at.fake.willAnswer({ reasoning: 'Hm, hello to whom?', text: 'Hello.' })
    const stream = await at.openai.chat.completions.create({
      ...{ model: 'chat', messages: hello, reasoning_effort: 'medium', stream: true },
    })
    let thought = ''
    let said = ''
    for await (const chunk of stream) {
      const delta = chunk.choices[0]?.delta as { content?: string; reasoning_content?: string } | undefined
      thought += delta?.reasoning_content ?? ''
      said += delta?.content ?? ''
    }
    expect({ thought, said }).toEqual({ thought: 'Hm, hello to whom?', said: 'Hello.' })
  })

  test('is refused by name where its own thoughts from before a tool call are missing', async () => {
    const at = await world()
    const messages: OpenAI.ChatCompletionMessageParam[] = [
      ...hello,
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'f', arguments: '{}' } }],
      },
      { role: 'tool', tool_call_id: 'call_1', content: '1' },
    ]
    const body = { model: 'chat', messages, reasoning_effort: 'low' as const }
    expect(await refusalOf(at.openai.chat.completions.create(body))).toMatchObject({ param: 'reasoning_effort' })
  })
})

/** What an id becomes that Anthropic would refuse. */
const made = (id: string) => `call_${hash('sha256', id, 'hex').slice(0, 40)}`

describe('a conversation', () => {
  const call = (id: string) => ({ id, type: 'function' as const, function: { name: 'f', arguments: '{}' } })
  const midway: [string, string, OpenAI.ChatCompletionMessageParam[], string[], string][] = [
    [
      'behind a user and before the model, where the model takes them there',
      'claude-opus-4-8',
      [...hello, { role: 'system', content: 'C.' }, { role: 'assistant', content: 'Hi.' }, ...hello],
      [],
      'user system assistant user',
    ],
    [
      'behind a tool’s result, at the end',
      'claude-sonnet-5',
      [
        ...hello,
        { role: 'assistant', tool_calls: [call('a')] },
        { role: 'tool', tool_call_id: 'a', content: '1' },
        { role: 'developer', content: 'C.' },
        { role: 'system', content: 'D.' },
      ],
      [],
      'user assistant user system',
    ],
    [
      'not of a model that refuses the role',
      'claude-opus-4-7',
      [...hello, { role: 'system', content: 'C.' }],
      ['messages[1]'],
      'user',
    ],
    [
      'not before a user',
      'claude-opus-4-8',
      [...hello, { role: 'system', content: 'C.' }, ...hello],
      ['messages[1]'],
      'user',
    ],
    [
      'not between a call and its result',
      'claude-opus-4-8',
      [
        ...hello,
        { role: 'assistant', tool_calls: [call('a'), call('b')] },
        { role: 'tool', tool_call_id: 'a', content: '1' },
        { role: 'system', content: 'C.' },
        { role: 'tool', tool_call_id: 'b', content: '2' },
      ],
      ['messages[3]'],
      'user assistant user',
    ],
    [
      'not behind a turn of which nothing is left',
      'claude-opus-4-8',
      [
        ...hello,
        { role: 'system', content: 'C.' },
        { role: 'assistant', content: '', reasoning_content: 'Hm.' } as OpenAI.ChatCompletionMessageParam,
        { role: 'system', content: 'D.' },
        { role: 'assistant', content: 'Hi.' },
        ...hello,
      ],
      ['messages[1]'],
      'user system assistant user',
    ],
  ]
  test.each(midway)('keeps instructions in their place %s', async (_name, upstreamModel, messages, lost, roles) => {
    const at = await world({ target: { upstreamModel }, dropsUnsupported: true })
    const tools = [{ type: 'function' as const, function: { name: 'f' } }]
    const { response } = await at.openai.chat.completions.create({ model: 'chat', messages, tools }).withResponse()
    const dropped = (response.headers.get('x-switchyard-dropped') ?? '').split(', ').filter((name) => name !== '')
    expect(dropped.filter((name) => !name.endsWith('reasoning_content'))).toEqual(lost)
    const { messages: sent, system } = at.fake.lastBody as { messages: { role: string }[]; system?: string }
    expect(sent.map(({ role }) => role).join(' ')).toBe(roles)
    expect(system).toBe(lost.length > 0 ? 'C.' : undefined)

    if (lost.length === 0) return
    const strict = await world({ target: { upstreamModel } })
    expect(await refusalOf(strict.openai.chat.completions.create({ model: 'chat', messages, tools }))).toMatchObject({
      ...{ status: 400, code: 'unsupported_field', param: lost[0] },
    })
  })

  test('keeps calls and results together, with ids that Anthropic takes, no two the same', async () => {
    const at = await world({ target: { upstreamModel: 'claude-opus-4-8' } })
    await at.openai.chat.completions.create({
      model: 'chat',
      user: 'u-1',
      tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } }],
      tool_choice: 'required',
      parallel_tool_calls: false,
      messages: [
        { role: 'developer', content: 'A.' },
        { role: 'system', content: [{ type: 'text', text: 'B.' }] },
        { role: 'user', content: 'one' },
        { role: 'user', content: 'two' },
        {
          role: 'assistant',
          content: '\n',
          tool_calls: [
            { id: 'functions.f:0', type: 'function', function: { name: 'f', arguments: '' } },
            { id: 'functions:f.0', type: 'function', function: { name: 'f', arguments: '{"a":1}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'functions.f:0', content: 'r1' },
        { role: 'tool', tool_call_id: 'functions:f.0', content: [{ type: 'text', text: 'r2' }] },
        { role: 'user', content: 'three' },
        { role: 'system', content: 'C.' },
      ],
    })
    expect(at.fake.lastBody).toMatchObject({
      system: [
        { type: 'text', text: 'A.' },
        { type: 'text', text: 'B.' },
      ],
      metadata: { user_id: 'u-1' },
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'one' },
            { type: 'text', text: 'two' },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'tool_use', id: made('functions.f:0'), name: 'f', input: {} },
            { type: 'tool_use', id: made('functions:f.0'), name: 'f', input: { a: 1 } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: made('functions.f:0'), content: [{ type: 'text', text: 'r1' }] },
            { type: 'tool_result', tool_use_id: made('functions:f.0'), content: [{ type: 'text', text: 'r2' }] },
            { type: 'text', text: 'three' },
          ],
        },
        { role: 'system', content: 'C.' },
      ],
    })
  })

  test('brings pictures by URL and documents', async () => {
    const at = await world()
    await at.openai.chat.completions.create({
      model: 'chat',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
            { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERi0=' } },
          ],
        },
      ],
    })
    expect(at.fake.lastBody['messages']).toEqual([
      {
        role: 'user',
        content: [
          { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
          {
            type: 'document',
            source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0=' },
            title: 'a.pdf',
          },
        ],
      },
    ])
  })

  test('that does not fit is refused with the place', async () => {
    const at = await world()
    const call = { id: 'c', type: 'function' as const, function: { name: 'f', arguments: 'not json' } }
    const messages: OpenAI.ChatCompletionMessageParam[] = [...hello, { role: 'assistant', tool_calls: [call] }]
    expect(await refusalOf(at.openai.chat.completions.create({ model: 'chat', messages }))).toMatchObject({
      ...{ status: 400, code: 'invalid_value', param: 'messages[1].tool_calls[0].function.arguments' },
    })
  })
})

describe('usage', () => {
  test('counts what was read from and written into the prompt cache as parts of the input, each at its price', async () => {
    const at = await world()
    at.fake.willAnswer({
      text: 'Hi.',
      usage: { input: 1_000_000, cached: 400_000, written: 200_000, output: 1_000_000 },
    })
    const completion = await at.openai.chat.completions.create({ model: 'chat', messages: hello })
    expect(completion.usage).toMatchObject({
      prompt_tokens: 1_000_000,
      prompt_tokens_details: { cached_tokens: 400_000 },
    })
    expect(at.meter.last).toMatchObject({
      ...{ tokensIn: 1_000_000, tokensInCached: 400_000, tokensInCacheWrite: 200_000, tokensOut: 1_000_000 },
      costNanoUsd: 400_000_000 + 200_000_000 + 250_000_000 + 2_000_000_000,
    })
  })

  test('of a native stream is the same', async () => {
    const at = await world()
    at.fake.willAnswer({ text: 'Hi.', usage: { input: 100, cached: 40, written: 20, output: 7, reasoning: 3 } })
    const message = await at.anthropic.messages.stream({ model: 'chat', max_tokens: 9, messages: hello }).finalMessage()
    expect(message.usage).toMatchObject({ input_tokens: 40, cache_read_input_tokens: 40, output_tokens: 7 })
    expect(at.meter.last).toMatchObject({
      ...{ tokensIn: 100, tokensInCached: 40, tokensInCacheWrite: 20, tokensOut: 7, tokensOutReasoning: 3 },
      actualModel: 'claude-sonnet-4-20250514',
      usageSource: 'provider',
    })
  })
})

describe('its own door', () => {
  test('passes everything byte for byte but the model, and its versions and betas', async () => {
    const at = await world()
    const body =
      '{ "model" : "chat","max_tokens":5, "nobody_knows":{"a":[1,2]},"cache_control":{"type":"ephemeral"},' +
      '"messages":[{"role":"user","content":"h\\u00e9"}]}'
    at.fake.strict = false
    const response = await fetch(`${at.url}/v1/messages`, {
      method: 'POST',
      headers: {
        ...{ 'x-api-key': at.apiKey, 'content-type': 'application/json', 'anthropic-version': '2026-10-21' },
        'anthropic-beta': 'context-1m-2025-08-07',
      },
      body,
    })
    expect(response.status).toBe(200)
    const received = at.fake.received[0]
    expect(received?.bytes.toString()).toBe(body.replace('"chat"', '"claude-sonnet-4-20250514"'))
    expect(received?.headers).toMatchObject({
      ...{ 'anthropic-version': '2026-10-21', 'anthropic-beta': 'context-1m-2025-08-07', 'x-api-key': at.fake.secret },
    })
    expect(received?.headers['authorization']).toBeUndefined()
  })

  test('passes Anthropic’s own refusal as it is', async () => {
    const at = await world()
    at.fake.willAnswer({ status: 400, message: 'max_tokens: too many' })
    const fault = await at.anthropic.messages
      .create({ model: 'chat', max_tokens: 9, messages: hello })
      .catch((error: unknown) => error)
    expect(fault).toBeInstanceOf(Anthropic.BadRequestError)
    expect((fault as { error: unknown }).error).toMatchObject({
      ...{ type: 'error', error: { type: 'invalid_request_error', message: 'max_tokens: too many' } },
    })
  })

  test('says its own refusals in Anthropic’s words', async () => {
    const at = await world()
    const response = await fetch(`${at.url}/v1/messages`, {
      method: 'POST',
      headers: { authorization: `Bearer ${at.apiKey}` },
      body: '{"model":"chat","messages":[{"role":"user","content":"a"}]}',
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toEqual({
      type: 'error',
      error: {
        ...{ type: 'invalid_request_error', code: 'missing_field', param: 'max_tokens' },
        message: "Missing required parameter: 'max_tokens'.",
      },
    })
  })

  test('serves what only Anthropic has a word for elsewhere without its hints, and refuses its own tools by name', async () => {
    const at = await world({ target: { kind: 'openai', credential: { id: 'crd', version: 2 } } })
    const toOpenai = await world({ fallback: true })
    toOpenai.fake.willAnswer({ status: 529, message: 'Overloaded' })
    const marked = { type: 'text' as const, text: 'hello', cache_control: { type: 'ephemeral' as const } }
    const { response } = await toOpenai.anthropic.messages
      .create({ model: 'chat', max_tokens: 9, messages: [{ role: 'user', content: [marked] }] })
      .withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBe('messages[0].content[0].cache_control')
    expect(toOpenai.second.lastBody['messages']).toEqual([{ role: 'user', content: 'hello' }])
    toOpenai.fake.willAnswer({ status: 529, message: 'Overloaded' })
    const fault = await toOpenai.anthropic.messages
      .create({
        ...{ model: 'chat', max_tokens: 9, messages: hello },
        tools: [{ type: 'web_search_20250305', name: 'web_search' } as Anthropic.ToolUnion],
      })
      .catch((error: unknown) => error)
    expect(fault).toBeInstanceOf(Anthropic.APIError)
    expect(at.fake.received).toHaveLength(0)
    toOpenai.fake.problems.splice(0)
  })
})

describe('faults', () => {
  test.each([
    ['an overload', { status: 529, message: 'Overloaded' }, 'upstream_5xx'],
    ['a limit', { status: 429, message: 'Slow down', retryAfterSeconds: 3 }, 'rate_limited'],
    ['a rejected key', { status: 401, message: 'invalid x-api-key' }, 'upstream_4xx'],
    ['an error before the first word', { text: 'never', errorAfter: 0 }, 'upstream_5xx'],
  ] as const)('%s goes to the next target', async (_name, script, outcome) => {
    const at = await world({ fallback: true })
    at.fake.willAnswer(script)
    const stream = await at.openai.chat.completions.create({ model: 'chat', messages: hello, stream: true })
    let said = ''
    for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? ''
    expect(said).toBe('Hello there, how are you today?')
    expect(at.meter.last.hops?.map((hop) => hop.outcome)).toEqual([outcome, 'ok'])
  })

  test('a refusal by the model is one', async () => {
    const at = await world()
    at.fake.willAnswer({ finish: 'refusal' }, { finish: 'refusal' })
    const completion = await at.openai.chat.completions.create({ model: 'chat', messages: hello })
    expect(completion.choices[0]).toMatchObject({
      ...{ finish_reason: 'content_filter', message: { refusal: 'This is not something to help with.' } },
    })
    const message = await at.anthropic.messages.create({ model: 'chat', max_tokens: 9, messages: hello })
    expect(message.stop_reason).toBe('refusal')
  })
})
