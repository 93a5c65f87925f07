import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { type Door, makeTables, makeTarget, openDoor, until } from '../harness/agent-door.js'
import type { VendorFake, VendorUsage } from '../harness/vendors/vendor-fake.js'
import { vendors } from '../harness/vendors/vendors.js'

/**
 * The official clients, unmodified, through the agent, against every vendor that can do the job: one suite, the same
 * expectations. A vendor that had to be sent something it does not document fails the test it happened in.
 */
const cleanUps: (() => Promise<void>)[] = []
const fakes: VendorFake[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  for (const fake of fakes.splice(0)) expect(fake.problems).toEqual([])
})

interface World extends Door {
  readonly fake: VendorFake
  readonly openai: OpenAI
  readonly anthropic: Anthropic
}

async function world(vendor: (typeof vendors)[number]): Promise<World> {
  const { fake, target, secret } = await vendor.open()
  fakes.push(fake)
  cleanUps.push(() => fake.stop())
  const { tables, apiKey } = makeTables({
    routes: { chat: [makeTarget({ ...target, credential: { id: 'crd', version: 1 } })] },
  })
  const door = await openDoor({ tables, secrets: { 'crd/1': secret } })
  cleanUps.push(() => door.stop())
  return Object.assign(door, {
    fake,
    openai: new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 }),
    anthropic: new Anthropic({ baseURL: door.url, apiKey, maxRetries: 0 }),
  })
}

const usage: VendorUsage = { input: 100, cached: 40, output: 20 }
const weather = {
  name: 'get_weather',
  description: 'The weather of a place.',
  schema: { type: 'object' as const, properties: { city: { type: 'string' } }, required: ['city'] },
}
const calls = [
  { id: 'call_1', name: 'get_weather', input: { city: 'Zürich "old town"' } },
  { id: 'call_2', name: 'get_weather', input: { city: 'Oslo' } },
]
const text = 'Grüezi! Here is a “quoted” line,\nand a second one with an emoji 🦊.'

for (const vendor of vendors) {
  describe(`the openai client and ${vendor.name}`, () => {
    const tools = [
      {
        type: 'function' as const,
        function: { name: weather.name, description: weather.description, parameters: weather.schema },
      },
    ]
    const messages = [
      { role: 'system' as const, content: 'Be brief.' },
      { role: 'user' as const, content: 'Say hello.' },
    ]

    test('gets a text, whole', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text, usage })
      const completion = await at.openai.chat.completions.create({ model: 'chat', messages, max_completion_tokens: 50 })
      expect(completion.choices[0]?.message.content).toBe(text)
      expect(completion.choices[0]?.finish_reason).toBe('stop')
      expect(completion.usage).toMatchObject({ prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 })
      expectRecord(at, { stream: false })
    })

    test('gets a text, streamed', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text, usage })
      const stream = await at.openai.chat.completions.create({
        ...{ model: 'chat', messages, stream: true, stream_options: { include_usage: true } },
      })
      let said = ''
      let told: OpenAI.CompletionUsage | null | undefined = null
      let finish: string | null | undefined = null
      for await (const chunk of stream) {
        said += chunk.choices[0]?.delta.content ?? ''
        finish = chunk.choices[0]?.finish_reason ?? finish
        told = chunk.usage ?? told
      }
      expect(said).toBe(text)
      expect(finish).toBe('stop')
      expect(told).toMatchObject({ prompt_tokens: 100, completion_tokens: 20 })
      expectRecord(at, { stream: true })
    })

    test('gets calls of tools, whole and streamed, and hands in what they gave', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text: 'Let me see.', toolCalls: calls, usage }, { toolCalls: calls, usage }, { text, usage })
      const completion = await at.openai.chat.completions.create({ model: 'chat', messages, tools })
      const message = completion.choices[0]?.message
      expect(completion.choices[0]?.finish_reason).toBe('tool_calls')
      expectOpenaiCalls(message?.tool_calls)

      const stream = at.openai.chat.completions.stream({ model: 'chat', messages, tools })
      const final = await stream.finalChatCompletion()
      expectOpenaiCalls(final.choices[0]?.message.tool_calls)
      expect(final.choices[0]?.finish_reason).toBe('tool_calls')

      if (!message?.tool_calls) throw new Error('no calls')
      const answered = await at.openai.chat.completions.create({
        model: 'chat',
        tools,
        messages: [
          ...messages,
          message,
          ...message.tool_calls.map((call, index) => ({
            ...{ role: 'tool' as const, tool_call_id: call.id, content: `{"degrees":${index}}` },
          })),
          { role: 'user', content: 'And now?' },
        ],
      })
      expect(answered.choices[0]?.message.content).toBe(text)
    })

    test('sends a picture', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text, usage })
      const completion = await at.openai.chat.completions.create({
        model: 'chat',
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'What is this?' },
              { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}` } },
            ],
          },
        ],
      })
      expect(completion.choices[0]?.message.content).toBe(text)
      expect(JSON.stringify(at.fake.lastBody)).toContain(pixel)
    })

    test('gets JSON of a schema, and JSON without one', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text: '{"city":"Oslo"}', usage }, { text: '{"a":1}', usage }, { text: '{"a":1}', usage })
      const schema = { ...weather.schema, additionalProperties: false }
      const fitted = await at.openai.chat.completions.create({
        ...{ model: 'chat', messages },
        response_format: { type: 'json_schema', json_schema: { name: 'place', strict: true, schema } },
      })
      expect(JSON.parse(fitted.choices[0]?.message.content ?? '')).toEqual({ city: 'Oslo' })
      expect(JSON.stringify(at.fake.lastBody)).toContain('city')
      const free = { ...{ model: 'chat', messages }, response_format: { type: 'json_object' as const } }
      const whole = await at.openai.chat.completions.create(free)
      expect(JSON.parse(whole.choices[0]?.message.content ?? '')).toEqual({ a: 1 })
      expect(whole.choices[0]).toMatchObject({ finish_reason: 'stop', message: { role: 'assistant' } })
      const streamed = await at.openai.chat.completions.stream(free).finalChatCompletion()
      expect(JSON.parse(streamed.choices[0]?.message.content ?? '')).toEqual({ a: 1 })
    })

    test('is told when the limit ended it', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text, usage, finish: 'length' })
      const completion = await at.openai.chat.completions.create({
        model: 'chat',
        messages,
        max_tokens: 5,
        stop: ['END'],
      })
      expect(completion.choices[0]?.finish_reason).toBe('length')
      expect(JSON.stringify(at.fake.lastBody)).toContain('END')
    })

    test('gets an error of its own kind', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ status: 400, message: 'The prompt is too long for this model.' })
      const fault = await at.openai.chat.completions
        .create({ model: 'chat', messages })
        .catch((error: unknown) => error)
      expect(fault).toBeInstanceOf(OpenAI.BadRequestError)
      expect((fault as Error).message).toContain('The prompt is too long for this model.')
      expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_rejected', httpStatus: 400 })
      at.fake.willAnswer({ status: 429, message: 'Slow down.', retryAfterSeconds: 7 })
      const limited = await at.openai.chat.completions
        .create({ model: 'chat', messages })
        .catch((error: unknown) => error)
      expect(limited).toBeInstanceOf(OpenAI.RateLimitError)
      expect((limited as InstanceType<typeof OpenAI.RateLimitError>).headers.get('retry-after')).toBe('7')
    })

    test.each(['cutAfter', 'errorAfter'] as const)('is told when a stream breaks (%s)', async (how) => {
      const at = await world(vendor)
      at.fake.willAnswer({ text: text.repeat(4), usage, [how]: 6 })
      const stream = await at.openai.chat.completions.create({ model: 'chat', messages, stream: true })
      let said = ''
      const fault = await (async () => {
        for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? ''
        return null
      })().catch((error: unknown) => error)
      expect(fault).toBeInstanceOf(OpenAI.APIError)
      expect(text.repeat(4).startsWith(said)).toBe(true)
      expect(said.length).toBeGreaterThan(0)
      await until(() => at.meter.closed.length > 0, 'a record')
      expect(at.meter.last).toMatchObject({ status: 'failed', usageSource: 'counted' })
      expect(at.meter.last.tokensOut).toBeGreaterThan(0)
      expectNothingLeft(at)
    })
  })

  describe(`the anthropic client and ${vendor.name}`, () => {
    const base = { model: 'chat', max_tokens: 64 }
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Say hello.' }]
    const tools = [{ name: weather.name, description: weather.description, input_schema: weather.schema }]

    test('gets a text, whole', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text, usage })
      const message = await at.anthropic.messages.create({ ...base, messages, system: 'Be brief.' })
      expect(message).toMatchObject({ type: 'message', role: 'assistant', stop_reason: 'end_turn' })
      expect(message.content).toMatchObject([{ type: 'text', text }])
      expect(message.usage).toMatchObject({ input_tokens: 60, cache_read_input_tokens: 40, output_tokens: 20 })
      expectRecord(at, { stream: false })
    })

    test('gets a text, streamed', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text, usage })
      const stream = at.anthropic.messages.stream({ ...base, messages })
      let said = ''
      stream.on('text', (piece) => {
        said += piece
      })
      const message = await stream.finalMessage()
      expect(said).toBe(text)
      expect(message.content).toMatchObject([{ type: 'text', text }])
      expect(message.stop_reason).toBe('end_turn')
      expect(message.usage.output_tokens).toBe(20)
      expectRecord(at, { stream: true })
    })

    test('gets calls of tools, whole and streamed, and hands in what they gave', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text: 'Let me see.', toolCalls: calls, usage }, { toolCalls: calls, usage }, { text, usage })
      const message = await at.anthropic.messages.create({ ...base, messages, tools })
      expect(message.stop_reason).toBe('tool_use')
      expectAnthropicCalls(message.content)
      const streamed = await at.anthropic.messages.stream({ ...base, messages, tools }).finalMessage()
      expectAnthropicCalls(streamed.content)
      expect(streamed.stop_reason).toBe('tool_use')
      const used = message.content.filter((block) => block.type === 'tool_use')
      const answered = await at.anthropic.messages.create({
        ...{ ...base, tools },
        messages: [
          ...messages,
          { role: 'assistant', content: message.content },
          {
            role: 'user',
            content: [
              ...used.map(({ id }) => ({ type: 'tool_result' as const, tool_use_id: id, content: '{"degrees":3}' })),
              { type: 'text', text: 'And now?' },
            ],
          },
        ],
      })
      expect(answered.content).toMatchObject([{ type: 'text', text }])
    })

    test('sends a picture', async () => {
      const at = await world(vendor)
      const source = { type: 'base64' as const, media_type: 'image/png' as const, data: pixel }
      await at.anthropic.messages.create({
        ...base,
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image', source },
              { type: 'text', text: 'What is this?' },
            ],
          },
        ],
      })
      expect(JSON.stringify(at.fake.lastBody)).toContain(pixel)
    })

    test('gets an error of its own kind', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ status: 400, message: 'The prompt is too long for this model.' })
      const fault = await at.anthropic.messages.create({ ...base, messages }).catch((error: unknown) => error)
      expect(fault).toBeInstanceOf(Anthropic.BadRequestError)
      expect((fault as Error).message).toContain('The prompt is too long for this model.')
      const stranger = new Anthropic({ baseURL: at.url, apiKey: 'sk-wrong', maxRetries: 0 })
      const unknown = await stranger.messages.create({ ...base, messages }).catch((error: unknown) => error)
      expect(unknown).toBeInstanceOf(Anthropic.AuthenticationError)
    })

    test('is told when a stream breaks', async () => {
      const at = await world(vendor)
      at.fake.willAnswer({ text: text.repeat(4), usage, cutAfter: 6 })
      const fault = await at.anthropic.messages
        .stream({ ...base, messages })
        .finalMessage()
        .catch((error: unknown) => error)
      expect(fault).toBeInstanceOf(Anthropic.APIError)
      await until(() => at.meter.closed.length > 0, 'a record')
      expect(at.meter.last).toMatchObject({ status: 'failed', usageSource: 'counted' })
      expectNothingLeft(at)
    })

    test('counts tokens', async () => {
      const at = await world(vendor)
      const counted = await at.anthropic.messages.countTokens({ model: 'chat', messages, system: 'Be brief.' })
      expect(counted.input_tokens).toBeGreaterThan(0)
      expect(at.meter.last).toMatchObject({ status: 'ok', operation: 'count_tokens' })
      expect(at.meter.last.tokensIn).toBeUndefined()
    })
  })
}

function expectRecord(at: World, expected: { stream: boolean }): void {
  expect(at.meter.closed).toHaveLength(1)
  expect(at.meter.last).toMatchObject({
    ...{ status: 'ok', usageSource: 'provider', tokensIn: 100, tokensOut: 20, tokensInCached: 40 },
    ...expected,
  })
  expectNothingLeft(at)
}

function expectNothingLeft(at: World): void {
  expect(at.handler.runningCount).toBe(0)
}

function expectOpenaiCalls(found: readonly OpenAI.ChatCompletionMessageToolCall[] | undefined): void {
  const functions = (found ?? []).flatMap((call) => (call.type === 'function' ? [call.function] : []))
  expect(functions.map(({ name, arguments: given }) => ({ name, input: JSON.parse(given) }))).toEqual(
    calls.map(({ name, input }) => ({ name, input })),
  )
  expect(new Set(found?.map(({ id }) => id)).size).toBe(calls.length)
}

function expectAnthropicCalls(content: readonly Anthropic.ContentBlock[]): void {
  const used = content.filter((block) => block.type === 'tool_use')
  expect(used.map(({ name, input }) => ({ name, input }))).toEqual(calls.map(({ name, input }) => ({ name, input })))
  expect(new Set(used.map(({ id }) => id)).size).toBe(calls.length)
}

/** A PNG of one pixel. */
const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
