import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { until } from '../harness/agent-door.js'
import { vendors } from '../harness/vendors/vendors.js'
import { calls, conformanceWorlds, expectBroken, expectRecord, pixel, text, usage, weather } from './world.js'

/** `openai.chat.completions` against every vendor. */
const open = conformanceWorlds()

for (const vendor of vendors) {
  describe(`chat completions of ${vendor.name}`, () => {
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
      const at = await open(vendor)
      at.fake.willAnswer({ text, usage })
      const completion = await at.openai.chat.completions.create({ model: 'chat', messages, max_completion_tokens: 50 })
      expect(completion.choices[0]?.message.content).toBe(text)
      expect(completion.choices[0]?.finish_reason).toBe('stop')
      expect(completion.usage).toMatchObject({ prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 })
      expectRecord(at, { operation: 'chat_completions', stream: false })
    })

    test('gets a text, streamed', async () => {
      const at = await open(vendor)
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
      expectRecord(at, { operation: 'chat_completions', stream: true })
    })

    test('gets calls of tools, whole and streamed, and hands in what they gave', async () => {
      const at = await open(vendor)
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
      const at = await open(vendor)
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
      const at = await open(vendor)
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
      const at = await open(vendor)
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
      const at = await open(vendor)
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
      const at = await open(vendor)
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
      expectBroken(at, 'chat_completions')
    })
  })
}

function expectOpenaiCalls(found: readonly OpenAI.ChatCompletionMessageToolCall[] | undefined): void {
  const functions = (found ?? []).flatMap((call) => (call.type === 'function' ? [call.function] : []))
  expect(functions.map(({ name, arguments: given }) => ({ name, input: JSON.parse(given) }))).toEqual(
    calls.map(({ name, input }) => ({ name, input })),
  )
  expect(new Set(found?.map(({ id }) => id)).size).toBe(calls.length)
}
