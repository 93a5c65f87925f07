import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { until } from '../harness/agent-door.js'
import { vendors } from '../harness/vendors/vendors.js'
import { conformanceWorlds, expectBroken, expectRecord, failureOf, text, usage } from './world.js'

/** `openai.completions`, the older API, against every vendor: as it came at OpenAI, one prompt as one turn elsewhere. */
const open = conformanceWorlds()

const ask = { model: 'chat', prompt: 'Once upon a time', max_tokens: 50 }

for (const vendor of vendors) {
  describe(`completions of ${vendor.name}`, () => {
    test('a text, whole', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text, usage })
      const completion = await at.openai.completions.create({ ...ask, stop: ['END'] })
      expect(completion).toMatchObject({
        object: 'text_completion',
        choices: [{ index: 0, text, finish_reason: 'stop', logprobs: null }],
        usage: { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 },
      })
      expect(JSON.stringify(at.fake.lastBody)).toContain('Once upon a time')
      expect(JSON.stringify(at.fake.lastBody)).toContain('END')
      expect(at.fake.received[0]?.path === '/v1/completions').toBe(vendor.name === 'openai')
      expectRecord(at, { operation: 'completions', stream: false })
    })

    test('a text, streamed, with usage where it was asked for', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text, usage }, { text, usage })
      const stream = await at.openai.completions.create({
        ...{ ...ask, stream: true, stream_options: { include_usage: true } },
      })
      let said = ''
      let told: OpenAI.CompletionUsage | undefined
      let finish: string | null | undefined
      for await (const chunk of stream) {
        said += chunk.choices[0]?.text ?? ''
        finish = chunk.choices[0]?.finish_reason ?? finish
        told = chunk.usage ?? told
      }
      expect(said).toBe(text)
      expect(finish).toBe('stop')
      expect(told).toMatchObject({ prompt_tokens: 100, completion_tokens: 20 })
      expectRecord(at, { operation: 'completions', stream: true })
      for await (const chunk of await at.openai.completions.create({ ...ask, stream: true })) {
        expect(chunk.usage ?? null).toBeNull()
      }
    })

    test('an answer that the limit ended says so', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ text, usage, finish: 'length' })
      const completion = await at.openai.completions.create(ask)
      expect(completion.choices[0]).toMatchObject({ text, finish_reason: 'length' })
    })

    test('an error is of the client’s own kind', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ status: 400, message: 'The prompt is too long for this model.' })
      const fault = await failureOf(at.openai.completions.create(ask))
      expect(fault).toBeInstanceOf(OpenAI.BadRequestError)
      expect((fault as Error).message).toContain('The prompt is too long for this model.')
    })

    test.each(['cutAfter', 'errorAfter'] as const)('a stream that breaks is told (%s)', async (how) => {
      const at = await open(vendor)
      at.fake.willAnswer({ text: text.repeat(4), usage, [how]: 6 })
      const stream = await at.openai.completions.create({ ...ask, stream: true })
      let said = ''
      const fault = await failureOf(
        (async () => {
          for await (const chunk of stream) said += chunk.choices[0]?.text ?? ''
        })(),
      )
      expect(fault).toBeInstanceOf(OpenAI.APIError)
      expect(said.length).toBeGreaterThan(0)
      expect(text.repeat(4).startsWith(said)).toBe(true)
      await until(() => at.meter.closed.length > 0, 'a record')
      expectBroken(at, 'completions')
    })
  })
}
