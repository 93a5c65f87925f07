import { expect, test } from 'vitest'
import { isRefusal } from '../../../proto/std/refusal.js'
import { statusOf } from '../request/request-refusal.js'
import { doorOf } from './door-table.js'

function errorOf(operation: 'chat_completions' | 'embeddings' | 'messages', body: object): unknown {
  const door = doorOf(operation)
  const outcome = door.parse(Buffer.from(JSON.stringify(body)))
  return isRefusal(outcome) ? JSON.parse(door.errorBody(outcome, statusOf(outcome.code))).error : null
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

test('a provider is not asked to keep what is said', () => {
  const body = { model: 'fast', messages: [{ role: 'user', content: 'a' }] }
  expect(errorOf('chat_completions', { ...body, store: true })).toMatchObject({
    param: 'store',
    code: 'unsupported_field',
  })
  expect(errorOf('chat_completions', { ...body, store: false })).toBeNull()
})

test('a message without a limit of tokens is refused as Anthropic does', () => {
  expect(errorOf('messages', { model: 'fast', messages: [{ role: 'user', content: 'a' }] })).toMatchObject({
    type: 'invalid_request_error',
    param: 'max_tokens',
    code: 'missing_field',
  })
})
