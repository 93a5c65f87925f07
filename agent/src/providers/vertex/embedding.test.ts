import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { makeTarget } from '../../../../test/harness/agent-door.js'
import { verifyEmbedding } from '../../../../test/harness/vendors/vertex-embeddings.js'
import type { EmbeddingRequest, InputType } from '../../conversation/embedding.js'
import { Losses } from '../../conversation/losses.js'
import { embeddingModelOf, embeddingPath } from './embedding-model.js'
import { readEmbeddingAnswer } from './read-embedding-answer.js'
import { writeEmbeddingRequest } from './write-embedding-request.js'

const names = { model: 'model', input: 'input', dimensions: 'dimensions', inputType: 'input_type', user: 'user' }
const e5 = 'publishers/intfloat/models/multilingual-e5-large-instruct-maas'

function requestOf(given: Partial<EmbeddingRequest> = {}, ...texts: string[]): EmbeddingRequest {
  const inputs = (texts.length === 0 ? ['a'] : texts).map((text, index) => ({ at: `input[${index}]`, text }))
  return { inputs, dimensions: null, encoding: 'float', inputType: null, user: null, names, losses: [], ...given }
}

function targetOf(upstreamModel: string) {
  const place = { vendorProject: 'acme', vendorRegion: 'europe-west4' }
  return makeTarget({ origin: 'https://x', basePath: '', kind: 'vertex', ...place, upstreamModel })
}

function write(request: EmbeddingRequest, upstreamModel = 'text-embedding-005') {
  const losses = new Losses()
  const body = JSON.parse(writeEmbeddingRequest(request, targetOf(upstreamModel), losses).toString()) as object
  return { body, losses: losses.all.map(({ weight, field }) => `${weight} ${field}`) }
}

describe('where a model is called', () => {
  const place = '/v1/projects/acme/locations/europe-west4/publishers'
  test.each([
    ['text-embedding-005', `${place}/google/models/text-embedding-005:predict`, 250],
    ['text-multilingual-embedding-002', `${place}/google/models/text-multilingual-embedding-002:predict`, 250],
    ['gemini-embedding-001', `${place}/google/models/gemini-embedding-001:predict`, 1],
    ['publishers/google/models/gemini-embedding-001', `${place}/google/models/gemini-embedding-001:predict`, 1],
    ['gemini-embedding-001@default', `${place}/google/models/gemini-embedding-001@default:predict`, 1],
    ['gemini-embedding-2', `${place}/google/models/gemini-embedding-2:embedContent`, 1],
    ['gemini-embedding-2-preview', `${place}/google/models/gemini-embedding-2-preview:embedContent`, 1],
    [e5, `${place}/intfloat/models/multilingual-e5-large-instruct-maas:embedContent`, 1],
    ['projects/7/locations/global/endpoints/42', '/v1/projects/7/locations/global/endpoints/42:predict', 250],
  ])('%s', (model, path, textsMax) => {
    expect(embeddingPath(targetOf(model))).toBe(path)
    expect(embeddingModelOf(targetOf(model)).textsMax).toBe(textsMax)
  })
})

describe('what is asked', () => {
  test('of predict: never to cut, and nothing that was not given', () => {
    expect(write(requestOf({}, 'a', 'b'))).toEqual({
      body: { instances: [{ content: 'a' }, { content: 'b' }], parameters: { autoTruncate: false } },
      losses: [],
    })
  })

  test('of predict: all that can be', () => {
    expect(write(requestOf({ dimensions: 5, inputType: 'query' }))).toEqual({
      body: {
        instances: [{ task_type: 'RETRIEVAL_QUERY', content: 'a' }],
        parameters: { autoTruncate: false, outputDimensionality: 5 },
      },
      losses: [],
    })
  })

  test('of a model of texts and pictures: what is for all models', () => {
    const content = { role: 'user', parts: [{ text: 'a' }] }
    expect(write(requestOf(), 'gemini-embedding-2')).toEqual({ body: { content }, losses: [] })
    expect(write(requestOf({ dimensions: 5 }), 'gemini-embedding-2')).toEqual({
      body: { content, embedContentConfig: { outputDimensionality: 5 } },
      losses: [],
    })
  })

  test('of an open model of texts: all that can be', () => {
    expect(write(requestOf({ inputType: 'document' }), e5).body).toEqual({
      content: { role: 'user', parts: [{ text: 'a' }] },
      embedContentConfig: { autoTruncate: false, taskType: 'RETRIEVAL_DOCUMENT' },
    })
  })

  test.each([
    ['two texts of one that takes one', requestOf({}, 'a', 'b'), 'gemini-embedding-001', 'content input'],
    ['two texts that would be one vector', requestOf({}, 'a', 'b'), 'gemini-embedding-2', 'content input'],
    [
      'more texts than any takes',
      requestOf({}, ...Array<string>(251).fill('a')),
      'text-embedding-005',
      'content input',
    ],
    ['what a text is for', requestOf({ inputType: 'query' }), 'gemini-embedding-2', 'setting input_type'],
    ['an end user', requestOf({ user: 'u' }), 'text-embedding-005', 'hint user'],
    ['a model of another language', requestOf(), 'multimodalembedding@001', 'content model'],
  ])('%s is a loss', (_what, request, model, loss) => {
    expect(write(request, model).losses).toEqual([loss])
  })

  test('whatever is asked, it is lost by name or Google takes it', () => {
    const types: (InputType | null)[] = [null, 'query', 'document', 'classification', 'clustering']
    const models = ['text-embedding-005', 'gemini-embedding-001', 'gemini-embedding-2', e5]
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 3 }),
        fc.constantFrom(...types),
        fc.option(fc.integer({ min: 1, max: 3_072 }), { nil: null }),
        fc.constantFrom(...models),
        (texts, inputType, dimensions, model) => {
          const { body, losses } = write(requestOf({ inputType, dimensions }, ...texts), model)
          if (losses.some((loss) => loss.startsWith('content'))) return
          const { method } = embeddingModelOf(targetOf(model))
          const id = model.slice(model.lastIndexOf('/') + 1)
          expect(verifyEmbedding(body as Record<string, unknown>, id, method)).toEqual([])
          expect(JSON.stringify(body)).toContain(JSON.stringify(texts[0]))
        },
      ),
    )
  })
})

describe('what comes back', () => {
  const read = (value: unknown, ...texts: string[]) =>
    readEmbeddingAnswer(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), requestOf({}, ...texts))
  const prediction = (values: unknown, statistics: object = { token_count: 3, truncated: false }) => ({
    embeddings: { values, statistics },
  })
  const usage = (input: number) => ({
    ...{ input, output: 0, cachedInput: null, cacheWriteInput: null, reasoningOutput: null },
  })

  test('vectors in order, and the tokens of all texts', () => {
    const predictions = [prediction([1, 2]), prediction([3], { token_count: 4 })]
    expect(read({ predictions, metadata: { billableCharacterCount: 9 } }, 'a', 'b')).toEqual({
      ...{ vectors: [[1, 2], [3]], model: null, usage: usage(7) },
    })
  })

  test('tokens that are not told of every text are not known', () => {
    expect(read({ predictions: [prediction([1]), prediction([2], {})] }, 'a', 'b')?.usage).toBeNull()
    expect(read({ embedding: { values: [1] } })).toEqual({ vectors: [[1]], model: null, usage: null })
  })

  test('one vector of embedContent', () => {
    const answer = { embedding: { values: [0.5] }, usageMetadata: { promptTokenCount: 6 }, truncated: false }
    expect(read(answer)).toEqual({ vectors: [[0.5]], model: null, usage: usage(6) })
  })

  test.each([
    ['no JSON', '<html>'],
    ['no object', '[]'],
    ['nothing', {}],
    ['a conversation', { candidates: [] }],
    ['fewer vectors than texts', { predictions: [] }],
    ['more vectors than texts', { predictions: [prediction([1]), prediction([2])] }],
    ['an empty vector', { predictions: [prediction([])] }],
    ['words in a vector', { predictions: [prediction([1, 'NaN'])] }],
    ['null in a vector', { predictions: [prediction([null])] }],
    ['a number beyond all numbers', '{"predictions":[{"embeddings":{"values":[1e999]}}]}'],
    ['a vector of a text that was cut', { predictions: [prediction([1], { token_count: 3, truncated: true })] }],
    ['the same of embedContent', { embedding: { values: [1] }, truncated: true }],
    ['no values', { embedding: {} }],
  ])('%s is no answer', (_what, value) => {
    expect(read(value)).toBeNull()
  })

  test('whatever comes, it is a vector for each text or no answer', () => {
    const value = fc.jsonValue()
    const shapes = fc.oneof(
      value,
      fc.record({ predictions: fc.array(fc.oneof(value, fc.record({ embeddings: fc.record({ values: value }) }))) }),
      fc.record({ embedding: fc.record({ values: fc.oneof(value, fc.array(fc.double())) }) }),
    )
    fc.assert(
      fc.property(shapes, (shape) => {
        const answer = read(shape)
        if (answer === null) return
        expect(answer.vectors).toHaveLength(1)
        for (const number of answer.vectors.flat()) expect(Number.isFinite(number)).toBe(true)
      }),
      { seed: 20_261_127, numRuns: 2_000 },
    )
  })
})
