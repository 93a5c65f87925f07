import OpenAI from 'openai'
import type { Response, ResponseInputItem } from 'openai/resources/responses/responses'
import { describe, expect, test } from 'vitest'
import { until } from '../harness/agent-door.js'
import { vendors } from '../harness/vendors/vendors.js'
import { calls, conformanceWorlds, expectBroken, expectRecord, failureOf, text, usage, weather } from './world.js'

/** `openai.responses` against every vendor: as it came where the vendor has it, translated elsewhere. */
const open = conformanceWorlds()

const ask = { model: 'chat', instructions: 'Be brief.', input: 'Say hello.' }
const schema = { ...weather.schema, additionalProperties: false }
const tools = [
  {
    type: 'function' as const,
    name: weather.name,
    description: weather.description,
    parameters: schema,
    strict: false,
  },
]
const strictTools = tools.map((tool) => ({ ...tool, strict: true }))
/** The model of Bedrock's that these tests talk to is from before strict tools. */
const withoutStrictTools: readonly string[] = ['bedrock']
/** What they want back of a thought: only where it came from can read it. */
const thoughtMarks: Readonly<Record<string, string>> = {
  ...{ openai: 'gAAAAABfake==', 'azure-openai v1': 'gAAAAABfake==', anthropic: 'sig-1', bedrock: 'c2lnbmVk' },
}
const havingResponses: readonly string[] = ['openai', 'azure-openai v1']

for (const vendor of vendors) {
  describe(`responses of ${vendor.name}`, () => {
    test('a text, whole', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text, usage })
      const response = await at.openai.responses.create({ ...ask, max_output_tokens: 50 })
      expect(response).toMatchObject({ object: 'response', status: 'completed', error: null, store: false })
      expect(response.output_text).toBe(text)
      expect(response.usage).toMatchObject({
        ...{ input_tokens: 100, output_tokens: 20, total_tokens: 120 },
        input_tokens_details: { cached_tokens: 40 },
      })
      const [received] = at.fake.received
      expect(received?.path.endsWith('/responses')).toBe(havingResponses.includes(vendor.name))
      expectRecord(at, { operation: 'responses', stream: false })
    })

    test('a text, streamed, as the client’s own helper reads it', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text, usage })
      const stream = at.openai.responses.stream(ask)
      const types: string[] = []
      const numbers: number[] = []
      let said = ''
      for await (const event of stream) {
        types.push(event.type)
        numbers.push(event.sequence_number)
        if (event.type === 'response.output_text.delta') said += event.delta
      }
      const final = await stream.finalResponse()
      expect(said).toBe(text)
      expect(final.output_text).toBe(text)
      expect(final.status).toBe('completed')
      expect(final.usage).toMatchObject({ input_tokens: 100, output_tokens: 20 })
      expect([types[0], types.at(-1)]).toEqual(['response.created', 'response.completed'])
      expect(numbers).toEqual(numbers.map((_number, index) => index))
      expectRecord(at, { operation: 'responses', stream: true })
    })

    test('calls of functions, whole and streamed, and what they gave', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text: 'Let me see.', toolCalls: calls, usage }, { toolCalls: calls, usage }, { text, usage })
      const input: ResponseInputItem[] = [{ role: 'user', content: 'The weather?' }]
      const first = await at.openai.responses.create({ model: 'chat', input, tools })
      expectCalls(first)
      expect(first.output_text).toBe('Let me see.')
      const streamed = await at.openai.responses.stream({ model: 'chat', input, tools }).finalResponse()
      expectCalls(streamed)

      const results = callsIn(first).map(({ call_id }, index) => ({
        ...{ type: 'function_call_output' as const, call_id, output: `{"degrees":${index}}` },
      }))
      const answered = await at.openai.responses.create({
        ...{ model: 'chat', tools },
        input: [...input, ...(first.output as ResponseInputItem[]), ...results, { role: 'user', content: 'And now?' }],
      })
      expect(answered.output_text).toBe(text)
      const sent = JSON.stringify(at.fake.lastBody)
      for (const part of ['degrees', 'Let me see.', 'And now?', 'Oslo']) expect(sent).toContain(part)
    })

    test('thoughts before a call go back with it', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ reasoning: 'It rains.', toolCalls: calls.slice(0, 1), usage }, { text, usage })
      const input: ResponseInputItem[] = [{ role: 'user', content: 'The weather?' }]
      const rest = { model: 'chat', tools, include: ['reasoning.encrypted_content' as const] }
      const first = await at.openai.responses.create({ ...rest, input })
      const [call] = callsIn(first)
      const answered = await at.openai.responses.create({
        ...rest,
        input: [
          ...input,
          ...(first.output as ResponseInputItem[]),
          { type: 'function_call_output', call_id: call?.call_id ?? '', output: '3' },
        ],
      })
      expect(answered.output_text).toBe(text)
      expect(JSON.stringify(at.fake.lastBody)).toContain(thoughtMarks[vendor.name] ?? 'get_weather')
    })

    test('JSON of a schema, parsed', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text: '{"city":"Oslo"}', usage })
      const parsed = await at.openai.responses.parse({
        ...ask,
        text: { format: { type: 'json_schema', name: 'place', strict: true, schema } },
      })
      expect(parsed.output_parsed).toEqual({ city: 'Oslo' })
      expect(JSON.stringify(at.fake.lastBody)).toContain('"city"')
      expectRecord(at, { operation: 'responses', stream: false })
    })

    test('arguments of a strict function, parsed', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ toolCalls: calls.slice(1), usage })
      const asked = at.openai.responses.parse({ model: 'chat', input: 'The weather of Oslo?', tools: strictTools })
      if (withoutStrictTools.includes(vendor.name)) {
        expect(await failureOf(asked)).toMatchObject({ status: 400, code: 'unsupported_field', param: 'tools[0]' })
        expect(at.fake.received).toEqual([])
        return
      }
      const [call] = (await asked).output.filter((item) => item.type === 'function_call')
      expect(call?.parsed_arguments).toEqual({ city: 'Oslo' })
    })

    test('an answer that the limit ended is incomplete', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text, usage, finish: 'length' }, { text, usage, finish: 'length' })
      const response = await at.openai.responses.create({ ...ask, max_output_tokens: 16 })
      expect(response).toMatchObject({
        ...{ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, output_text: text },
      })
      const streamed = await at.openai.responses.stream({ ...ask, max_output_tokens: 16 }).finalResponse()
      expect(streamed).toMatchObject({ status: 'incomplete', output_text: text })
    })

    test('an error is of the client’s own kind', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ status: 400, message: 'The prompt is too long for this model.' })
      const fault = await failureOf(at.openai.responses.create(ask))
      expect(fault).toBeInstanceOf(OpenAI.BadRequestError)
      expect((fault as Error).message).toContain('The prompt is too long for this model.')
      expect(at.meter.last).toMatchObject({ operation: 'responses', status: 'failed', code: 'upstream_rejected' })
      const kept = await failureOf(at.openai.responses.create({ ...ask, previous_response_id: 'resp_1' }))
      expect(kept).toMatchObject({ status: 400, code: 'unsupported_field', param: 'previous_response_id' })
    })

    test.each(['cutAfter', 'errorAfter'] as const)('a stream that breaks is told (%s)', async (how) => {
      const at = await open(vendor)
      at.fake.willAnswer({ text: text.repeat(4), usage, [how]: 6 })
      const stream = await at.openai.responses.create({ ...ask, stream: true })
      let said = ''
      const fault = await failureOf(
        (async () => {
          for await (const event of stream) if (event.type === 'response.output_text.delta') said += event.delta
        })(),
      )
      expect(fault).toBeInstanceOf(OpenAI.APIError)
      expect(said.length).toBeGreaterThan(0)
      expect(text.repeat(4).startsWith(said)).toBe(true)
      await until(() => at.meter.closed.length > 0, 'a record')
      expectBroken(at, 'responses')
    })
  })
}

function callsIn({ output }: Pick<Response, 'output'>) {
  return output.filter((item) => item.type === 'function_call')
}

function expectCalls(response: Pick<Response, 'output' | 'status'>): void {
  const found = callsIn(response)
  expect(response.status).toBe('completed')
  expect(found.map(({ name, arguments: given }) => ({ name, input: JSON.parse(given) }))).toEqual(
    calls.map(({ name, input }) => ({ name, input })),
  )
  expect(new Set(found.map(({ call_id }) => call_id)).size).toBe(calls.length)
}
