import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import { until } from '../harness/agent-door.js'
import { vendors } from '../harness/vendors/vendors.js'
import { calls, conformanceWorlds, expectBroken, expectRecord, pixel, text, usage, weather } from './world.js'

/** `anthropic.messages` against every vendor. */
const open = conformanceWorlds()

for (const vendor of vendors) {
  describe(`messages of ${vendor.name}`, () => {
    const base = { model: 'chat', max_tokens: 64 }
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Say hello.' }]
    const tools = [{ name: weather.name, description: weather.description, input_schema: weather.schema }]

    test('gets a text, whole', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text, usage })
      const message = await at.anthropic.messages.create({ ...base, messages, system: 'Be brief.' })
      expect(message).toMatchObject({ type: 'message', role: 'assistant', stop_reason: 'end_turn' })
      expect(message.content).toMatchObject([{ type: 'text', text }])
      expect(message.usage).toMatchObject({ input_tokens: 60, cache_read_input_tokens: 40, output_tokens: 20 })
      expectRecord(at, { operation: 'messages', stream: false })
    })

    test('gets a text, streamed', async () => {
      const at = await open(vendor)
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
      expectRecord(at, { operation: 'messages', stream: true })
    })

    test('gets calls of tools, whole and streamed, and hands in what they gave', async () => {
      const at = await open(vendor)
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
      const at = await open(vendor)
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
      const at = await open(vendor)
      at.fake.willAnswer({ status: 400, message: 'The prompt is too long for this model.' })
      const fault = await at.anthropic.messages.create({ ...base, messages }).catch((error: unknown) => error)
      expect(fault).toBeInstanceOf(Anthropic.BadRequestError)
      expect((fault as Error).message).toContain('The prompt is too long for this model.')
      const stranger = new Anthropic({ baseURL: at.url, apiKey: 'sk-wrong', maxRetries: 0 })
      const unknown = await stranger.messages.create({ ...base, messages }).catch((error: unknown) => error)
      expect(unknown).toBeInstanceOf(Anthropic.AuthenticationError)
    })

    test('is told when a stream breaks', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text: text.repeat(4), usage, cutAfter: 6 })
      const fault = await at.anthropic.messages
        .stream({ ...base, messages })
        .finalMessage()
        .catch((error: unknown) => error)
      expect(fault).toBeInstanceOf(Anthropic.APIError)
      await until(() => at.meter.closed.length > 0, 'a record')
      expectBroken(at, 'messages')
    })

    test('counts tokens', async () => {
      const at = await open(vendor)
      const counted = await at.anthropic.messages.countTokens({ model: 'chat', messages, system: 'Be brief.' })
      expect(counted.input_tokens).toBeGreaterThan(0)
      expect(at.meter.last).toMatchObject({ status: 'ok', operation: 'count_tokens' })
      expect(at.meter.last.tokensIn).toBeUndefined()
    })
  })
}

function expectAnthropicCalls(content: readonly Anthropic.ContentBlock[]): void {
  const used = content.filter((block) => block.type === 'tool_use')
  expect(used.map(({ name, input }) => ({ name, input }))).toEqual(calls.map(({ name, input }) => ({ name, input })))
  expect(new Set(used.map(({ id }) => id)).size).toBe(calls.length)
}
