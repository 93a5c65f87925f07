import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import type { AzureAmbient } from '../../agent/src/providers/ambient.js'
import type { ProviderSecret } from '../../agent/src/providers/provider-dialect.js'
import { type Door, makeTables, makeTarget, openDoor, type TargetSpec, until } from '../harness/agent-door.js'
import { makeTestFolder } from '../harness/test-folder.js'
import { AzureOpenaiFake, type AzureOpenaiFakeOptions, filteredPrompt } from '../harness/vendors/azure-openai-fake.js'
import { EntraFake } from '../harness/vendors/entra-fake.js'
import { OpenaiFake } from '../harness/vendors/openai-fake.js'
import type { VendorFake } from '../harness/vendors/vendor-fake.js'

/** What is Azure's own: where things are, who one is, what API versions know, and its content filter. */
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
  readonly fake: AzureOpenaiFake
  readonly entra: EntraFake
  readonly second: OpenaiFake
  readonly openai: OpenAI
  readonly anthropic: Anthropic
}

interface Wish extends AzureOpenaiFakeOptions {
  /** Default: the key. */
  readonly secret?: (entra: EntraFake) => ProviderSecret
  readonly ambient?: (entra: EntraFake) => AzureAmbient
  readonly dropsUnsupported?: boolean
  /** Behind Azure comes OpenAI. */
  readonly fallback?: boolean
  readonly target?: Partial<TargetSpec>
}

async function world(wish: Wish = {}): Promise<World> {
  const entra = await started(new EntraFake())
  const fake = await started(new AzureOpenaiFake({ entra, ...wish }))
  const second = await started(new OpenaiFake())
  const { kind, origin, basePath, apiVersion, deployment } = fake
  const first = makeTarget({
    ...{ kind, origin, basePath, apiVersion, upstreamModel: deployment, credential: { id: 'crd', version: 1 } },
    ...wish.target,
  })
  const behind = makeTarget({
    ...{ kind: 'openai', origin: second.origin, upstreamModel: 'gpt-4.1', credential: { id: 'crd', version: 2 } },
  })
  const { tables, apiKey } = makeTables({
    routes: { chat: wish.fallback ? [first, behind] : [first] },
    dropsUnsupported: wish.dropsUnsupported ?? false,
  })
  const door = await openDoor({
    tables,
    secrets: { 'crd/1': wish.secret?.(entra) ?? fake.secret, 'crd/2': second.secret },
    ambient: { azure: wish.ambient?.(entra) ?? null },
  })
  cleanUps.push(() => door.stop())
  const openai = new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 })
  const anthropic = new Anthropic({ baseURL: door.url, apiKey, maxRetries: 0 })
  return Object.assign(door, { fake, entra, second, openai, anthropic })
}

const hello = [{ role: 'user' as const, content: 'Say hello.' }]
const chat = { model: 'chat', messages: hello }
const message = { model: 'chat', max_tokens: 64, messages: hello }
const usage = { input: 100, cached: 40, output: 20, reasoning: 8 }
const text = 'Grüezi! Here is a “quoted” line,\nand a second one with an emoji 🦊.'

async function faultOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => null,
    (fault: unknown) => fault,
  )
}

describe('where it is found', () => {
  const places: [string, string, string][] = [
    ['2024-10-21', '/openai/deployments/gpt-4o%20eu%2F1', '?api-version=2024-10-21'],
    ['2025-04-01-preview', '/openai/deployments/gpt-4o%20eu%2F1', '?api-version=2025-04-01-preview'],
    ['v1', '/openai/v1', ''],
  ]
  test.each(places)('with API version %s', async (apiVersion, base, query) => {
    const at = await world({ apiVersion })
    await at.openai.chat.completions.create(chat)
    await at.anthropic.messages.create(message)
    await at.openai.embeddings.create({ model: 'chat', input: 'a' })
    expect(at.fake.received.map((request) => request.path)).toEqual([
      `${base}/chat/completions${query}`,
      `${base}/chat/completions${query}`,
      `${base}/embeddings${query}`,
    ])
    for (const { body, headers } of at.fake.received) {
      expect(body?.['model']).toBe('gpt-4o eu/1')
      expect(headers).toMatchObject({ 'api-key': at.fake.secret, 'content-type': 'application/json' })
      expect(headers['authorization']).toBeUndefined()
    }
  })

  test('a deployment that is not there is told as Azure tells it', async () => {
    const at = await world({ target: { upstreamModel: 'gone' } })
    const fault = await faultOf(at.openai.chat.completions.create(chat))
    expect(fault).toBeInstanceOf(OpenAI.NotFoundError)
    expect(fault).toMatchObject({ status: 404, code: 'DeploymentNotFound' })
    const other = await faultOf(at.anthropic.messages.create(message))
    expect(other).toBeInstanceOf(Anthropic.NotFoundError)
    expect((other as Error).message).toContain('The API deployment for this resource does not exist.')
  })
})

describe('a completion through its own door', () => {
  test('passes whole, with what the content filter found', async () => {
    const at = await world()
    at.fake.willAnswer({ text, usage })
    const completion = await at.openai.chat.completions.create(chat)
    expect(completion.choices[0]?.message.content).toBe(text)
    expect(completion).toMatchObject({
      prompt_filter_results: [{ prompt_index: 0, content_filter_results: { jailbreak: { detected: false } } }],
      choices: [{ content_filter_results: { hate: { filtered: false, severity: 'safe' } } }],
    })
    expect(at.meter.last).toMatchObject({
      ...{ status: 'ok', usageSource: 'provider', actualModel: 'gpt-4o-2024-11-20' },
      ...{ tokensIn: 100, tokensInCached: 40, tokensOut: 20, tokensOutReasoning: 8 },
    })
  })

  test.each([false, true])(
    'passes streamed, the first chunk about the prompt too; filter beside it: %s',
    async (filtersBeside) => {
      const at = await world({ filtersBeside })
      at.fake.willAnswer({ text, usage })
      const stream = await at.openai.chat.completions.create({ ...chat, stream: true })
      const chunks: OpenAI.ChatCompletionChunk[] = []
      for await (const chunk of stream) chunks.push(chunk)
      expect(chunks[0]).toMatchObject({ id: '', choices: [], prompt_filter_results: [{ prompt_index: 0 }] })
      expect(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? '').join('')).toBe(text)
      // The usage that only the agent asked for is no chunk of the client's.
      expect(chunks.slice(1).every((chunk) => chunk.choices.length === 1)).toBe(true)
      const annotations = chunks.filter((chunk) => chunk.choices[0] && chunk.choices[0].delta === undefined)
      expect(annotations.length > 0).toBe(filtersBeside)
      expect(at.fake.lastBody['stream_options']).toEqual({ include_usage: true })
      expect(at.meter.last).toMatchObject({
        ...{ status: 'ok', stream: true, usageSource: 'provider', tokensIn: 100, tokensInCached: 40 },
        ...{ tokensOut: 20, tokensOutReasoning: 8 },
      })
    },
  )

  test('gives the usage of a stream to a client that asks', async () => {
    const at = await world()
    at.fake.willAnswer({ text, usage })
    const asked = { ...chat, stream: true as const, stream_options: { include_usage: true } }
    let told: OpenAI.CompletionUsage | null = null
    for await (const chunk of await at.openai.chat.completions.create(asked)) told = chunk.usage ?? told
    expect(told).toMatchObject({ prompt_tokens: 100, completion_tokens: 20 })
  })

  test('passes what it does not know, byte for byte but the name', async () => {
    const at = await world()
    at.fake.strict = false
    await at.openai.chat.completions.create({ ...chat, data_sources: [{ type: 'azure_search' }] } as typeof chat)
    expect(JSON.parse(at.fake.received[0]?.bytes.toString() ?? '')).toEqual({
      ...{ model: at.fake.deployment, messages: hello, data_sources: [{ type: 'azure_search' }] },
    })
  })

  test('does not ask an answer about data sources for its usage, which refuses to be asked, and counts', async () => {
    const at = await world()
    at.fake.willAnswer({ text, usage }, { text, usage })
    const sources = { ...chat, stream: true as const, data_sources: [{ type: 'azure_search', parameters: {} }] }
    for await (const _chunk of await at.openai.chat.completions.create(sources));
    expect(at.fake.lastBody['stream_options']).toBeUndefined()
    expect(at.meter.last).toMatchObject({ status: 'ok', usageSource: 'counted' })
    // The next one, about nothing, is asked again.
    for await (const _chunk of await at.openai.chat.completions.create({ ...chat, stream: true }));
    expect(at.meter.last).toMatchObject({ usageSource: 'provider', tokensOut: 20 })
  })

  test('gets embeddings', async () => {
    const at = await world()
    const embedded = await at.openai.embeddings.create({ model: 'chat', input: ['a', 'b'], dimensions: 3 })
    expect(embedded.data).toHaveLength(2)
    expect(at.fake.lastBody).toMatchObject({ model: at.fake.deployment, dimensions: 3 })
    expect(at.meter.last).toMatchObject({ status: 'ok', tokensIn: 5, actualModel: 'text-embedding-3-small' })
  })
})

describe('a conversation from another door', () => {
  const weather = { name: 'get_weather', description: 'The weather.', input_schema: { type: 'object' as const } }
  const calls = [
    { id: 'call_1', name: 'get_weather', input: { city: 'Zürich "old town"' } },
    { id: 'call_2', name: 'get_weather', input: { city: 'Oslo' } },
  ]

  test('is the same answer whole and streamed, whatever the content filter tells in between', async () => {
    const at = await world({ filtersBeside: true })
    at.fake.willAnswer({ text, usage }, { text, usage })
    const whole = await at.anthropic.messages.create({ ...message, system: 'Be brief.' })
    const streamed = await at.anthropic.messages.stream(message).finalMessage()
    for (const answer of [whole, streamed]) {
      expect(answer.content).toMatchObject([{ type: 'text', text }])
      expect(answer.stop_reason).toBe('end_turn')
      expect(answer.usage).toMatchObject({ cache_read_input_tokens: 40, output_tokens: 20 })
    }
    expect(whole.model).toBe('gpt-4o-2024-11-20')
    expect(at.fake.received[0]?.body?.['messages']).toEqual([{ role: 'system', content: 'Be brief.' }, ...hello])
    expect(at.meter.last).toMatchObject({ usageSource: 'provider', tokensIn: 100, tokensInCached: 40, tokensOut: 20 })
  })

  test('calls tools, in pieces too, and hears from them, also of what failed', async () => {
    const at = await world()
    at.fake.willAnswer({ text: 'Let me see.', toolCalls: calls, usage }, { toolCalls: calls, usage }, { text, usage })
    const tools = [weather]
    const whole = await at.anthropic.messages.create({ ...message, tools })
    const streamed = await at.anthropic.messages.stream({ ...message, tools }).finalMessage()
    for (const { content, stop_reason } of [whole, streamed]) {
      const used = content.filter((block) => block.type === 'tool_use')
      expect(used.map(({ name, input }) => ({ name, input }))).toEqual(
        calls.map(({ name, input }) => ({ name, input })),
      )
      expect(stop_reason).toBe('tool_use')
    }
    const { response } = await at.anthropic.messages
      .create({
        ...{ ...message, tools, tool_choice: { type: 'any', disable_parallel_tool_use: true } },
        messages: [
          ...hello,
          { role: 'assistant', content: whole.content },
          {
            role: 'user',
            content: [
              { type: 'tool_result', tool_use_id: 'call_1', content: '3' },
              { type: 'tool_result', tool_use_id: 'call_2', content: 'no such city', is_error: true },
              { type: 'text', text: 'And now?' },
            ],
          },
        ],
      })
      .withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBe('messages[2].content[1].is_error')
    expect(at.fake.lastBody).toMatchObject({ tool_choice: 'required', parallel_tool_calls: false })
    expect(at.fake.lastBody['messages']).toMatchObject([
      ...[{ role: 'user' }, { role: 'assistant', content: 'Let me see.' }],
      { role: 'tool', tool_call_id: 'call_1', content: '3' },
      { role: 'tool', tool_call_id: 'call_2', content: 'no such city' },
      { role: 'user', content: 'And now?' },
    ])
  })

  test('brings pictures as bytes and by URL', async () => {
    const at = await world()
    const bytes = { type: 'base64' as const, media_type: 'image/png' as const, data: 'iVBORw0KGgo=' }
    const content: Anthropic.ImageBlockParam[] = [
      { type: 'image', source: bytes },
      { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
    ]
    await at.anthropic.messages.create({ ...message, messages: [{ role: 'user', content }] })
    expect(at.fake.lastBody['messages']).toEqual([
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } },
          { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
        ],
      },
    ])
  })

  test('says a setting that it has no word for by name, or drops it by name', async () => {
    const strict = await world()
    const narrowed = { ...message, top_k: 5 } as typeof message
    const fault = await faultOf(strict.anthropic.messages.create(narrowed))
    expect(fault).toBeInstanceOf(Anthropic.BadRequestError)
    expect((fault as { error: unknown }).error).toMatchObject({ error: { code: 'unsupported_field', param: 'top_k' } })
    expect(strict.fake.received).toHaveLength(0)
    const lenient = await world({ dropsUnsupported: true })
    const stops = { stop_sequences: ['a', 'b', 'c', 'd', 'e'] }
    const { response } = await lenient.anthropic.messages.create({ ...narrowed, ...stops }).withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBe('top_k, stop_sequences')
    expect(lenient.fake.lastBody['stop']).toEqual(['a', 'b', 'c', 'd'])
  })
})

describe('what an API version knows', () => {
  const schema = { type: 'object', properties: { a: { type: 'number' } } }
  const tools = [{ name: 'f', strict: true, input_schema: { type: 'object' as const } }]
  const single = { type: 'auto' as const, disable_parallel_tool_use: true }
  const pdf = { type: 'base64' as const, media_type: 'application/pdf' as const, data: 'JVBERi0=' }
  const file = [{ role: 'user' as const, content: [{ type: 'document' as const, source: pdf }] }]
  const cases: [field: string, wish: object, olderVersion: string, newerVersion: string, sent: object][] = [
    [
      'output_config.format',
      { output_config: { format: { type: 'json_schema', schema } } },
      '2024-06-01',
      '2024-08-01-preview',
      { response_format: { type: 'json_schema', json_schema: { schema } } },
    ],
    ['tools[0].strict', { tools }, '2024-06-01', '2024-08-01-preview', { tools: [{ function: { strict: true } }] }],
    [
      'tool_choice.disable_parallel_tool_use',
      { tools: [{ ...tools[0], strict: null }], tool_choice: single },
      '2024-08-01-preview',
      '2024-09-01-preview',
      { parallel_tool_calls: false },
    ],
    [
      'thinking',
      { max_tokens: 4_096, thinking: { type: 'enabled', budget_tokens: 2_048 } },
      '2024-10-21',
      '2024-12-01-preview',
      { reasoning_effort: 'low' },
    ],
    [
      'messages[0].content[0]',
      { messages: file },
      '2025-04-01-preview',
      'v1',
      { messages: [{ content: [{ type: 'file', file: { file_data: 'data:application/pdf;base64,JVBERi0=' } }] }] },
    ],
  ]
  test.each(cases)('%s', async (field, wish, olderVersion, newerVersion, sent) => {
    const body = { ...message, ...wish } as typeof message
    const older = await world({ apiVersion: olderVersion })
    const fault = await faultOf(older.anthropic.messages.create(body))
    expect((fault as { error?: unknown }).error).toMatchObject({ error: { code: 'unsupported_field', param: field } })
    expect(older.fake.received).toHaveLength(0)
    const newer = await world({ apiVersion: newerVersion })
    await newer.anthropic.messages.create(body)
    expect(newer.fake.lastBody).toMatchObject(sent)
  })

  test('what the answer is about is never dropped', async () => {
    const at = await world({ apiVersion: '2024-06-01', dropsUnsupported: true })
    const format = { type: 'json_schema' as const, schema }
    for (const wish of [{ output_config: { format } }, { messages: file }]) {
      const fault = await faultOf(at.anthropic.messages.create({ ...message, ...wish }))
      expect((fault as { error?: unknown }).error).toMatchObject({ error: { code: 'unsupported_field' } })
    }
    expect(at.fake.received).toHaveLength(0)
  })

  test('what shapes the answer is dropped by name where the route says so', async () => {
    const at = await world({ apiVersion: '2024-06-01', dropsUnsupported: true })
    const wish = { tools, tool_choice: single, max_tokens: 4_096, thinking: { type: 'adaptive' as const } }
    const { response } = await at.anthropic.messages.create({ ...message, ...wish }).withResponse()
    expect(response.headers.get('x-switchyard-dropped')?.split(', ')).toEqual([
      ...['tool_choice.disable_parallel_tool_use', 'thinking', 'tools[0].strict'],
    ])
  })

  test('not to think is nothing to lose', async () => {
    const at = await world({ apiVersion: '2024-10-21' })
    const { response } = await at.anthropic.messages
      .create({ ...message, thinking: { type: 'disabled' } })
      .withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBeNull()
    expect(at.fake.lastBody['reasoning_effort']).toBeUndefined()
  })

  test.each([
    ['2024-08-01-preview', 'max_tokens'],
    ['2024-10-21', 'max_completion_tokens'],
    ['v1', 'max_completion_tokens'],
  ])('the limit of tokens has the name that %s knows', async (apiVersion, name) => {
    const at = await world({ apiVersion })
    await at.anthropic.messages.create(message)
    expect(at.fake.lastBody).toMatchObject({ model: at.fake.deployment, [name]: 64, messages: hello })
    await at.anthropic.messages.stream(message).finalMessage()
    expect(at.fake.lastBody).toMatchObject({ [name]: 64, stream: true })
  })

  test('an older one is not asked for the usage of a stream, and the agent counts', async () => {
    const at = await world({ apiVersion: '2024-06-01' })
    at.fake.willAnswer({ text, usage }, { text, usage })
    for await (const _chunk of await at.openai.chat.completions.create({ ...chat, stream: true }));
    expect(at.meter.last).toMatchObject({ status: 'ok', usageSource: 'counted' })
    const streamed = await at.anthropic.messages.stream(message).finalMessage()
    expect(streamed.content).toMatchObject([{ text }])
    expect(at.meter.last).toMatchObject({ status: 'ok', usageSource: 'counted' })
    expect(at.fake.received).toHaveLength(2)
  })
})

describe('the content filter', () => {
  test('refuses a prompt in its own words, with what it found', async () => {
    const at = await world()
    at.fake.willAnswer(filteredPrompt, filteredPrompt)
    const fault = await faultOf(at.openai.chat.completions.create(chat))
    expect(fault).toBeInstanceOf(OpenAI.BadRequestError)
    expect(fault).toMatchObject({
      ...{ code: 'content_filter', param: 'prompt' },
      error: { innererror: { code: 'ResponsibleAIPolicyViolation' } },
    })
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_rejected', httpStatus: 400 })
    const other = await faultOf(at.anthropic.messages.create(message))
    expect(other).toBeInstanceOf(Anthropic.BadRequestError)
    expect((other as Error).message).toContain('content management policy')
  })

  test.each([false, true])('ends an answer; beside the model: %s', async (filtersBeside) => {
    const at = await world({ filtersBeside })
    const answer = { text, usage, finish: 'content_filter' as const }
    at.fake.willAnswer(answer, answer, answer, answer)
    const whole = await at.openai.chat.completions.create(chat)
    expect(whole.choices[0]).toMatchObject({ finish_reason: 'content_filter' })
    const reasons: (string | null)[] = []
    for await (const chunk of await at.openai.chat.completions.create({ ...chat, stream: true })) {
      if (chunk.choices[0]?.finish_reason) reasons.push(chunk.choices[0].finish_reason)
    }
    expect(reasons).toEqual(['content_filter'])
    const other = await at.anthropic.messages.create(message)
    expect(other).toMatchObject({ stop_reason: 'refusal', content: [] })
    const streamed = await at.anthropic.messages.stream(message).finalMessage()
    expect(streamed).toMatchObject({ stop_reason: 'refusal', content: [{ text }] })
    expect(at.meter.last).toMatchObject({ status: 'ok', tokensOut: 20 })
  })

  test('a refusal of the model itself stays one', async () => {
    const at = await world()
    at.fake.willAnswer({ text: 'I cannot help with that.', usage, finish: 'refusal' })
    const completion = await at.openai.chat.completions.create(chat)
    expect(completion.choices[0]?.message).toMatchObject({ content: null, refusal: 'I cannot help with that.' })
  })
})

describe('errors', () => {
  test('too many requests go to the next target, and with none are told with the time to wait', async () => {
    const busy = { status: 429, message: 'Requests have exceeded call rate limit.', retryAfterSeconds: 7 }
    const at = await world({ fallback: true })
    at.fake.willAnswer(busy)
    const { data, response } = await at.openai.chat.completions.create(chat).withResponse()
    expect(data.model).toBe('gpt-4.1-2026-08-01')
    expect(response.headers.get('x-switchyard-fallback-reason')).toBe('rate_limited')
    const alone = await world()
    alone.fake.willAnswer(busy)
    const fault = await faultOf(alone.openai.chat.completions.create(chat))
    expect(fault).toBeInstanceOf(OpenAI.RateLimitError)
    expect((fault as InstanceType<typeof OpenAI.RateLimitError>).headers.get('retry-after')).toBe('7')
  })

  test.each([
    ['a key that it does not take', { secret: () => 'another-key' }],
    ['a token that it does not take', { secret: (entra: EntraFake) => entra.secret, entra: new EntraFake() }],
  ])('%s goes to the next target, and with none is told as ours to mend', async (_name, wish) => {
    const at = await world({ ...wish, fallback: true })
    const { response } = await at.openai.chat.completions.create(chat).withResponse()
    expect(response.headers.get('x-switchyard-hop')).toBe('2')
    expect(at.meter.last.hops?.map((hop) => hop.httpStatus)).toEqual([401, 200])
    const alone = await world(wish)
    const fault = await faultOf(alone.openai.chat.completions.create(chat))
    expect(fault).toMatchObject({ status: 502, code: 'upstream_credential_rejected' })
    expect((fault as Error).message).not.toContain('key for an active subscription')
  })

  test.each(['cutAfter', 'errorAfter'] as const)(
    'a stream that breaks (%s) is told, and what was said is counted',
    async (how) => {
      const at = await world()
      at.fake.willAnswer({ text: text.repeat(4), usage, [how]: 6 }, { text: text.repeat(4), usage, [how]: 6 })
      const stream = await at.openai.chat.completions.create({ ...chat, stream: true })
      let said = ''
      const fault = await faultOf(
        (async () => {
          for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? ''
        })(),
      )
      expect(fault).toBeInstanceOf(OpenAI.APIError)
      expect(text.repeat(4).startsWith(said) && said.length > 0).toBe(true)
      const other = await faultOf(at.anthropic.messages.stream(message).finalMessage())
      expect(other).toBeInstanceOf(Anthropic.APIError)
      await until(() => at.meter.closed.length === 2, 'two records')
      for (const record of at.meter.closed) {
        expect(record).toMatchObject({ status: 'failed', usageSource: 'counted' })
        expect(record.tokensOut).toBeGreaterThan(0)
      }
      expect(at.handler.runningCount).toBe(0)
    },
  )
})

describe('tokens of Entra ID', () => {
  const secret = (entra: EntraFake) => entra.secret

  test('an application’s secret is exchanged once, for every door and operation', async () => {
    const at = await world({ secret })
    await at.openai.chat.completions.create(chat)
    await at.anthropic.messages.stream(message).finalMessage()
    await at.openai.embeddings.create({ model: 'chat', input: 'a' })
    expect(at.entra.received).toHaveLength(1)
    const bearers = at.fake.received.map(({ headers }) => headers['authorization'] ?? '')
    expect(new Set(bearers).size).toBe(1)
    expect(at.entra.issued(bearers[0]?.slice('Bearer '.length) ?? '')).toBe(true)
  })

  test('requests that come together ask together', async () => {
    const at = await world({ secret })
    const completions = await Promise.all([1, 2, 3, 4, 5].map(() => at.openai.chat.completions.create(chat)))
    expect(completions).toHaveLength(5)
    expect(at.entra.received).toHaveLength(1)
  })

  test('one that ends too soon to be used again is asked for anew', async () => {
    const at = await world({ secret })
    at.entra.expiresInSeconds = 5
    for (const _turn of [1, 2, 3]) await at.openai.chat.completions.create(chat)
    expect(at.entra.received).toHaveLength(3)
    expect(new Set(at.fake.received.map(({ headers }) => headers['authorization'])).size).toBe(3)
  })

  test('a refused application is not asked about again at once, goes to the next target, and no secret is told', async () => {
    const at = await world({ secret, fallback: true })
    at.entra.willAnswer({ status: 401, message: 'AADSTS7000215: Invalid client secret provided.' })
    for (const _turn of [1, 2]) {
      const { response } = await at.openai.chat.completions.create(chat).withResponse()
      expect(response.headers.get('x-switchyard-fallback-reason')).toBe('not_ready')
    }
    expect(at.entra.received).toHaveLength(1)
    expect(at.fake.received).toHaveLength(0)
    const alone = await world({ secret })
    alone.entra.willAnswer({ status: 503, message: 'AADSTS90033: A transient error has occurred.' })
    const fault = await faultOf(alone.openai.chat.completions.create(chat))
    expect(fault).toMatchObject({ status: 503, code: 'upstream_not_ready' })
    expect((fault as Error).message).not.toContain('AADSTS')
  })

  test('a credential that is neither a key nor an application’s goes nowhere', async () => {
    const at = await world({ secret: () => '{"type":"service_account","private_key":"x"}', fallback: true })
    await at.openai.chat.completions.create(chat)
    expect(at.fake.received).toHaveLength(0)
    expect(at.entra.received).toHaveLength(0)
    expect(at.second.received).toHaveLength(1)
  })
})

describe('the identity of the machine', () => {
  const secret = () => ({ ambient: 'azure' as const })

  test('is a managed one, asked for where the machine says', async () => {
    const at = await world({ secret, ambient: (entra) => entra.ambient() })
    await at.openai.chat.completions.create(chat)
    await at.anthropic.messages.create(message)
    expect(at.entra.received.map((request) => request.path)).toEqual([
      '/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fcognitiveservices.azure.com',
    ])
  })

  test('is the one of several that the settings name', async () => {
    const at = await world({ secret, ambient: (entra) => entra.ambient({ clientId: entra.clientId }) })
    await at.openai.chat.completions.create(chat)
    expect(at.entra.received[0]?.path).toContain(`&client_id=${at.entra.clientId}`)
  })

  test('is the workload’s where the platform gives it a token', async () => {
    const folder = makeTestFolder()
    cleanUps.push(() => rm(folder, { recursive: true }))
    const federatedTokenFile = path.join(folder, 'token')
    const at = await world({
      secret,
      ambient: (entra) => {
        const { tenantId, clientId } = entra
        return entra.ambient({ tenantId, clientId, federatedTokenFile })
      },
    })
    await writeFile(federatedTokenFile, `${at.entra.federatedToken()}\n`)
    await at.openai.chat.completions.create(chat)
    await at.openai.chat.completions.create(chat)
    expect(at.entra.received.map((request) => request.path)).toEqual([`/${at.entra.tenantId}/oauth2/v2.0/token`])
    expect(at.fake.received).toHaveLength(2)
  })

  test('is nobody’s where no operator permits it', async () => {
    const at = await world({ secret })
    const fault = await faultOf(at.openai.chat.completions.create(chat))
    expect(fault).toMatchObject({ status: 503, code: 'upstream_not_ready' })
    expect(at.entra.received).toHaveLength(0)
  })
})
