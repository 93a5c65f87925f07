import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { vectorFor } from '../harness/vendors/embedding-vectors.js'
import { type EmbeddingVendor, embeddingVendors, vendors } from '../harness/vendors/vendors.js'
import { conformanceWorlds, expectNothingLeft, failureOf, type World } from './world.js'

/** `openai.embeddings` against every vendor and model that makes vectors of texts. */
const open = conformanceWorlds()

const texts = ['Grüezi “mitenand” 🦊', 'and a second one,\nof two lines', 'a third']
const usage = { input: 100, output: 0 }

for (const vendor of embeddingVendors) {
  describe(`embeddings of ${vendor.name}`, () => {
    test('one text, in base64 as the client asks by itself', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ usage })
      const answer = await at.openai.embeddings.create({ model: 'chat', input: texts[0] ?? '' })
      expect(answer).toMatchObject({ object: 'list', data: [{ object: 'embedding', index: 0 }] })
      expect(answer.data[0]?.embedding).toEqual(vectorFor(texts[0] ?? '', 8))
      expectRecord(at, vendor, answer)
    })

    test('one text in a list, in numbers', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ usage })
      const answer = await at.openai.embeddings.create({
        ...{ model: 'chat', input: texts.slice(0, 1), encoding_format: 'float', user: 'u-1' },
      })
      expect(answer.data.map(({ embedding }) => embedding)).toEqual([vectorFor(texts[0] ?? '', 8)])
      expectRecord(at, vendor, answer)
    })

    test('several texts, in their order', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ usage })
      const asked = at.openai.embeddings.create({ model: 'chat', input: texts })
      if (vendor.textsMax === 1) {
        expect(await failureOf(asked)).toMatchObject({ status: 400, code: 'unsupported_field', param: 'input' })
        expect(at.fake.received).toEqual([])
        return
      }
      const answer = await asked
      expect(answer.data.map(({ index }) => index)).toEqual([0, 1, 2])
      expect(answer.data.map(({ embedding }) => embedding)).toEqual(texts.map((text) => vectorFor(text, 8)))
      expectRecord(at, vendor, answer)
    })

    test('vectors of a length', async () => {
      const at = await open(vendor)
      const asked = at.openai.embeddings.create({
        ...{ model: 'chat', input: 'a', dimensions: vendor.dimensions ?? 77 },
      })
      if (vendor.dimensions === null) {
        expect(await failureOf(asked)).toMatchObject({ status: 400, code: 'unsupported_field', param: 'dimensions' })
        return
      }
      expect((await asked).data[0]?.embedding).toEqual(vectorFor('a', vendor.dimensions))
    })

    test('an error is of the client’s own kind', async () => {
      const at = await open(vendor)
      at.fake.willAnswer({ status: 400, message: 'The text is too long for this model.' })
      const fault = await failureOf(at.openai.embeddings.create({ model: 'chat', input: 'a' }))
      expect(fault).toBeInstanceOf(OpenAI.BadRequestError)
      expect((fault as Error).message).toContain('The text is too long for this model.')
      expect(at.meter.last).toMatchObject({ operation: 'embeddings', status: 'failed', code: 'upstream_rejected' })
      expectNothingLeft(at)
    })
  })
}

test('a vendor without embeddings is refused by name', async () => {
  const anthropic = vendors.find(({ name }) => name === 'anthropic')
  if (anthropic === undefined) throw new Error('there is no anthropic')
  const at = await open(anthropic)
  const fault = await failureOf(at.openai.embeddings.create({ model: 'chat', input: 'a' }))
  expect(fault).toMatchObject({ status: 400, code: 'operation_not_supported' })
  expect((fault as Error).message).toContain('anthropic do not serve embeddings')
  expect(at.fake.received).toEqual([])
})

function expectRecord(at: World, { tellsUsage }: EmbeddingVendor, answer: OpenAI.CreateEmbeddingResponse): void {
  const tokens = tellsUsage ? 100 : 0
  expect(answer.usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens })
  expect(answer.model).not.toBe('chat')
  expect(at.meter.closed).toHaveLength(1)
  expect(at.meter.last).toMatchObject({ operation: 'embeddings', status: 'ok', stream: false })
  expect(at.meter.last).toMatchObject(
    tellsUsage ? { usageSource: 'provider', tokensIn: 100, tokensOut: 0 } : { usageSource: 'counted', tokensOut: 0 },
  )
  expect(at.meter.last.tokensIn).toBeGreaterThan(0)
  expectNothingLeft(at)
}
