import { expect, test } from 'vitest'
import { isRefusal } from '../../../proto/std/refusal.js'
import { errorBody } from '../request/request-refusal.js'
import { parseBody } from './parse.js'

function errorOf(operation: 'chat_completions' | 'embeddings', body: object): unknown {
  const outcome = parseBody(operation, Buffer.from(JSON.stringify(body)))
  return isRefusal(outcome) ? JSON.parse(errorBody(outcome)).error : null
}

test('empty messages are refused in OpenAI’s own words', () => {
  expect(errorOf('chat_completions', { model: 'fast', messages: [] })).toEqual({
    message:
      "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
    type: 'invalid_request_error',
    param: 'messages',
    code: 'empty_array',
  })
})

test('an embedding of nothing is refused by what nothing is', () => {
  expect(errorOf('embeddings', { model: 'fast', input: [] })).toMatchObject({ param: 'input', code: 'empty_array' })
  expect(errorOf('embeddings', { model: 'fast', input: '' })).toMatchObject({ param: 'input', code: 'invalid_type' })
})
