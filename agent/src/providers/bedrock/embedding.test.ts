import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { makeTarget } from '../../../../test/harness/agent-door.js'
import { verifyInvoke } from '../../../../test/harness/vendors/bedrock-embeddings.js'
import type { EmbeddingRequest, InputType } from '../../conversation/embedding.js'
import { Losses } from '../../conversation/losses.js'
import { readEmbeddingAnswer } from './read-embedding-answer.js'
import { writeEmbeddingRequest } from './write-embedding-request.js'

const names = { model: 'model', input: 'input', dimensions: 'dimensions', inputType: 'input_type', user: 'user' }
const titan1 = 'amazon.titan-embed-text-v1'
const titan2 = 'amazon.titan-embed-text-v2:0'
const cohere3 = 'cohere.embed-multilingual-v3'
const cohere4 = 'cohere.embed-v4:0'
const nova = 'amazon.nova-2-multimodal-embeddings-v1:0'

function requestOf(given: Partial<EmbeddingRequest> = {}, ...texts: string[]): EmbeddingRequest {
  const inputs = (texts.length === 0 ? ['a'] : texts).map((text, index) => ({ at: `input[${index}]`, text }))
  return { inputs, dimensions: null, encoding: 'float', inputType: null, user: null, names, losses: [], ...given }
}

function write(request: EmbeddingRequest, upstreamModel: string) {
  const losses = new Losses()
  const target = makeTarget({ origin: 'https://x', basePath: '', kind: 'bedrock', upstreamModel })
  const body = JSON.parse(writeEmbeddingRequest(request, target, losses).toString()) as Record<string, unknown>
  return { body, losses: losses.all.map(({ weight, field }) => `${weight} ${field}`) }
}

describe('what is asked, in each model’s own language', () => {
  const asked = { inputType: 'query' as const, dimensions: 256 }
  const cohere = { truncate: 'NONE', embedding_types: ['float'] }
  test.each([
    ['Titan’s first can be told nothing', titan1, requestOf(), { inputText: 'a' }],
    ['Titan’s first has one length', titan1, requestOf({ dimensions: 1536 }), { inputText: 'a' }],
    ['Titan’s second', titan2, requestOf({ dimensions: 512 }), { inputText: 'a', dimensions: 512, normalize: true }],
    [
      'Cohere’s third, of texts to be found where nobody says otherwise',
      cohere3,
      requestOf({}, 'a', 'b'),
      { texts: ['a', 'b'], input_type: 'search_document', ...cohere },
    ],
    [
      'Cohere’s third has one length',
      cohere3,
      requestOf({ dimensions: 1024, inputType: 'clustering' }),
      { texts: ['a'], input_type: 'clustering', ...cohere },
    ],
    [
      'Cohere’s fourth, in a profile',
      `eu.${cohere4}`,
      requestOf(asked, 'a', 'b'),
      { texts: ['a', 'b'], input_type: 'search_query', ...cohere, output_dimension: 256 },
    ],
    [
      'Nova',
      nova,
      requestOf(asked),
      {
        taskType: 'SINGLE_EMBEDDING',
        singleEmbeddingParams: {
          ...{ embeddingPurpose: 'GENERIC_RETRIEVAL', embeddingDimension: 256 },
          text: { truncationMode: 'NONE', value: 'a' },
        },
      },
    ],
  ])('%s', (_what, model, request, body) => {
    expect(write(request, model)).toEqual({ body, losses: [] })
    expect(verifyInvoke(model, body)).toEqual([])
  })

  test('an ARN that does not tell its model is asked as the registered model', () => {
    const arn = 'arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/ab12'
    const target = makeTarget({ origin: 'https://x', basePath: '', kind: 'bedrock', upstreamModel: cohere3 })
    const bytes = writeEmbeddingRequest(requestOf(), { ...target, upstreamModel: arn }, new Losses())
    expect(JSON.parse(bytes.toString())).toMatchObject({ texts: ['a'] })
  })

  test.each([
    ['a second text', titan1, requestOf({}, 'a', 'b'), ['content input']],
    ['a second text', titan2, requestOf({}, 'a', 'b'), ['content input']],
    ['a second text', nova, requestOf({}, 'a', 'b'), ['content input']],
    ['a 97th text', cohere3, requestOf({}, ...Array<string>(97).fill('a')), ['content input']],
    ['a length that it has not', titan1, requestOf({ dimensions: 512 }), ['content dimensions']],
    ['a length that it has not', titan2, requestOf({ dimensions: 1536 }), ['content dimensions']],
    ['a length that it has not', cohere3, requestOf({ dimensions: 512 }), ['content dimensions']],
    ['a length that it has not', cohere4, requestOf({ dimensions: 384 }), ['content dimensions']],
    ['what a text is for', titan2, requestOf({ inputType: 'query' }), ['setting input_type']],
    ['an end user', cohere3, requestOf({ user: 'u' }), ['hint user']],
    ['a model that talks', 'anthropic.claude-sonnet-4-20250514-v1:0', requestOf(), ['content model']],
    ['a model of pictures', 'amazon.titan-embed-image-v1', requestOf(), ['content model']],
  ])('%s is a loss at %s', (_what, model, request, losses) => {
    expect(write(request, model).losses).toEqual(losses)
  })

  test('whatever is asked, it is lost by name or AWS takes it', () => {
    const types: (InputType | null)[] = [null, 'query', 'document', 'classification', 'clustering']
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1, maxLength: 99 }), { minLength: 1, maxLength: 3 }),
        fc.constantFrom(...types),
        fc.constantFrom(null, 128, 256, 384, 512, 1024, 1536, 3072),
        fc.constantFrom(titan1, titan2, cohere3, cohere4, nova),
        (texts, inputType, dimensions, model) => {
          const { body, losses } = write(requestOf({ inputType, dimensions }, ...texts), model)
          if (losses.some((loss) => loss.startsWith('content'))) return
          expect(verifyInvoke(model, body)).toEqual([])
          expect(JSON.stringify(body)).toContain(JSON.stringify(texts[0]))
        },
      ),
    )
  })
})

describe('what comes back', () => {
  const read = (value: unknown, ...texts: string[]) =>
    readEmbeddingAnswer(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), requestOf({}, ...texts))
  const usage = { input: 5, output: 0, cachedInput: null, cacheWriteInput: null, reasoningOutput: null }

  test.each([
    ['Titan’s first', { embedding: [1, 2], inputTextTokenCount: 5 }, ['a'], [[1, 2]], usage],
    [
      'Titan’s second',
      { embedding: [1], embeddingsByType: { float: [1] }, inputTextTokenCount: 5 },
      ['a'],
      [[1]],
      usage,
    ],
    [
      'Cohere’s by type',
      { id: 'i', embeddings: { float: [[1], [2]] }, response_type: 'embeddings_by_type', texts: ['a', 'b'] },
      ['a', 'b'],
      [[1], [2]],
      null,
    ],
    ['Cohere’s plain', { embeddings: [[1], [2]], response_type: 'embeddings_floats' }, ['a', 'b'], [[1], [2]], null],
    ['Nova’s', { embeddings: [{ embeddingType: 'TEXT', embedding: [3] }] }, ['a'], [[3]], null],
  ])('%s', (_what, value, texts, vectors, told) => {
    expect(read(value, ...texts)).toEqual({ vectors, model: null, usage: told })
  })

  test.each([
    ['no JSON', 'x'],
    ['nothing', {}],
    ['a conversation', { output: { message: {} } }],
    ['an empty vector', { embedding: [] }],
    ['words', { embedding: 'AACAPw==' }],
    ['too many', { embeddings: [[1], [2]] }],
    ['too few', { embeddings: { float: [] } }],
    ['of another type', { embeddings: { int8: [[1]] } }],
    ['a hole', { embeddings: [[null]] }],
  ])('%s is no answer', (_what, value) => {
    expect(read(value)).toBeNull()
  })

  test('whatever comes, it is a vector for each text or no answer', () => {
    const value = fc.jsonValue()
    const shapes = fc.oneof(
      value,
      fc.record({ embedding: fc.oneof(value, fc.array(fc.double())) }),
      fc.record({ embeddings: fc.oneof(value, fc.array(value), fc.record({ float: fc.array(value) })) }),
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
