import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { must } from '../../../../proto/std/assert.js'
import { isRefusal } from '../../../../proto/std/refusal.js'
import type { EmbeddingRequest } from '../../conversation/embedding.js'
import { embeddingsDoor } from './door.js'

/** The body is parsed as every request's is, and then read. */
function read(body: object) {
  const parsed = embeddingsDoor.parse(Buffer.from(JSON.stringify({ model: 'm', input: 'a', ...body })))
  return isRefusal(parsed) ? parsed : must(embeddingsDoor.embeddings, 'a door for embeddings').read(parsed)
}

function taken(body: object): EmbeddingRequest {
  const request = read(body)
  if (isRefusal(request)) throw new Error(request.message)
  return request
}

describe('an embedding request', () => {
  test('of one text asks for nothing that was not asked', () => {
    expect(taken({})).toMatchObject({
      ...{ inputs: [{ at: 'input', text: 'a' }], dimensions: null, encoding: 'float', inputType: null, user: null },
      losses: [],
    })
  })

  test('has all that was asked', () => {
    const request = taken({
      ...{ input: ['b', ' '], dimensions: 3, encoding_format: 'base64', user: 'u', input_type: 'passage' },
    })
    expect(request).toMatchObject({
      inputs: [
        { at: 'input[0]', text: 'b' },
        { at: 'input[1]', text: ' ' },
      ],
      ...{ dimensions: 3, encoding: 'base64', inputType: 'document', user: 'u', losses: [] },
    })
  })

  test.each([
    ['query', 'query'],
    ['search_query', 'query'],
    ['document', 'document'],
    ['passage', 'document'],
    ['search_document', 'document'],
    ['classification', 'classification'],
    ['clustering', 'clustering'],
  ])('with input_type %s is one of a %s', (given, inputType) => {
    expect(taken({ input_type: given }).inputType).toBe(inputType)
  })

  test('members that say nothing are none', () => {
    const nothing = {
      dimensions: null,
      encoding_format: null,
      user: null,
      input_type: null,
      truncate: null,
      other: null,
    }
    expect(taken(nothing)).toEqual(taken({}))
    expect(taken({ truncate: 'NONE' })).toEqual(taken({}))
    expect(taken({ truncate: 'none' })).toEqual(taken({}))
  })
})

describe('what has no word elsewhere is a loss', () => {
  test.each([
    ['tokens', { input: [1, 2] }, 'content input'],
    ['several texts in tokens', { input: [[1], [2, 3]] }, 'content input'],
    ['cutting', { truncate: 'END' }, 'setting truncate'],
    ['a member nobody knows', { brand_new: 1 }, 'setting brand_new'],
    ['a stream', { stream: true }, 'setting stream'],
  ])('%s', (_what, body, loss) => {
    expect(taken(body).losses.map(({ weight, field }) => `${weight} ${field}`)).toEqual([loss])
  })
})

describe('what does not fit is refused by its path', () => {
  test.each([
    ['no input', { input: null }, 'missing_field', 'input'],
    ['an empty text', { input: '' }, 'invalid_type', 'input'],
    ['nothing in the list', { input: [] }, 'empty_array', 'input'],
    ['an empty text among others', { input: ['a', ''] }, 'invalid_value', 'input[1]'],
    ['a text among tokens', { input: [1, 'a'] }, 'invalid_type', 'input[0]'],
    ['an object', { input: ['a', { text: 'b' }] }, 'invalid_type', 'input[1]'],
    ['null in the list', { input: ['a', null] }, 'invalid_type', 'input[1]'],
    ['no dimensions at all', { dimensions: 0 }, 'invalid_value', 'dimensions'],
    ['half a dimension', { dimensions: 1.5 }, 'invalid_value', 'dimensions'],
    ['dimensions in words', { dimensions: '3' }, 'invalid_type', 'dimensions'],
    ['another encoding', { encoding_format: 'int8' }, 'invalid_value', 'encoding_format'],
    ['another type of input', { input_type: 'image' }, 'invalid_value', 'input_type'],
    ['a type of input by number', { input_type: 1 }, 'invalid_type', 'input_type'],
    ['a user of another type', { user: 7 }, 'invalid_type', 'user'],
  ])('%s', (_what, body, code, field) => {
    expect(read(body)).toMatchObject({ code, field })
  })
})

test('whatever a member holds, it is read, refused by a field of the client’s, or lost by name', () => {
  const members = ['input', 'dimensions', 'encoding_format', 'input_type', 'user', 'truncate', 'other']
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...members), fc.jsonValue(), { maxKeys: 7 }), (body) => {
      const request = read(body)
      if (isRefusal(request)) {
        expect(members.some((name) => request.field?.startsWith(name))).toBe(true)
        return
      }
      const isLost = request.losses.some(({ weight, field }) => weight === 'content' && field === 'input')
      expect(request.inputs.length > 0 || isLost).toBe(true)
      for (const { text } of request.inputs) expect(text).not.toBe('')
      const isSaid = (body['other'] ?? null) !== null
      expect(request.losses.some(({ field }) => field === 'other')).toBe(isSaid)
    }),
  )
})
