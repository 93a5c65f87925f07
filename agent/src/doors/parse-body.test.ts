import { expect, test } from 'vitest'
import { must } from '../../../proto/std/assert.js'
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

const nested = (levels: number) =>
  Buffer.from(`{"model":"m","input":"a","x":${'['.repeat(levels)}${']'.repeat(levels)}}`)

test('a body of a hundred levels is read, and a deeper one is refused in a sentence', () => {
  const door = doorOf('embeddings')
  expect(isRefusal(door.parse(nested(99)))).toBe(false)
  for (const levels of [100, 100_000]) {
    expect(door.parse(nested(levels))).toMatchObject({
      code: 'invalid_json',
      message: 'The JSON body is nested too deeply: it may have 100 levels of objects and arrays.',
    })
  }
})

test('a system of any number of texts is read', () => {
  const content = Array.from({ length: 200_000 }, () => ({ type: 'text', text: 'a' }))
  const messages = [
    { role: 'system', content },
    { role: 'user', content: 'a' },
  ]
  for (const [operation, body] of [
    ['chat_completions', { model: 'm', messages }],
    ['responses', { model: 'm', input: messages.map((one) => ({ ...one, type: 'message' })) }],
  ] as const) {
    const door = doorOf(operation)
    const text = JSON.stringify(body).replaceAll(
      '"text","text"',
      operation === 'responses' ? '"input_text","text"' : '"text","text"',
    )
    const parsed = door.parse(Buffer.from(text))
    if (isRefusal(parsed)) throw new Error(parsed.message)
    const read = must(door.conversation, 'a door of conversations').read(parsed)
    expect(isRefusal(read) ? read.message : read.system.length).toBe(200_000)
  }
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
