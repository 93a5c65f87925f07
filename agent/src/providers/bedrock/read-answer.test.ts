import { describe, expect, test } from 'vitest'
import type { Conversation } from '../../conversation/conversation.js'
import { readConverseAnswer, readErrorMessage } from './read-answer.js'

const none = { answerFormat: null, tools: [] } as unknown as Conversation
const json = { answerFormat: { type: 'json' }, tools: [] } as unknown as Conversation
const read = (value: unknown, conversation = none) =>
  readConverseAnswer(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), conversation)
const answer = (content: unknown, rest: object = {}) => ({
  output: { message: { role: 'assistant', content } },
  stopReason: 'end_turn',
  usage: { inputTokens: 3, outputTokens: 4, totalTokens: 7 },
  ...rest,
})
const text = (said: string) => ({ type: 'text', text: said, logprobs: null })

describe('a whole answer', () => {
  test('has all its parts in order', () => {
    const content = [
      { reasoningContent: { reasoningText: { text: 'hm', signature: 's' } } },
      { reasoningContent: { redactedContent: 'AAAA' } },
      { text: 'a' },
      { citationsContent: { content: [{ text: 'b' }, { other: 1 }], citations: [{ title: 't' }] } },
      { text: '' },
      { toolUse: { toolUseId: 't', name: 'f', input: { a: [1, null] } } },
      { toolUse: { toolUseId: 's', name: 'web', input: {}, type: 'server_tool_use' } },
      { somethingNew: 1 },
    ]
    expect(read(answer(content, { stopReason: 'tool_use' }))).toEqual({
      id: null,
      model: null,
      parts: [
        { type: 'reasoning', text: 'hm', signature: 's', redacted: null },
        { type: 'reasoning', text: '', signature: null, redacted: 'AAAA' },
        ...[text('a'), text('b')],
        { type: 'tool_call', id: 't', name: 'f', argumentsText: '{"a":[1,null]}' },
      ],
      finish: { reason: 'tool_calls', stopSequence: null },
      usage: { input: 3, output: 4, cachedInput: null, cacheWriteInput: null, reasoningOutput: null },
    })
  })

  test('counts the parts of the input together', () => {
    const usage = {
      inputTokens: 10,
      outputTokens: 4,
      cacheReadInputTokens: 40,
      cacheWriteInputTokens: 50,
      totalTokens: 104,
    }
    expect(read(answer([], { usage }))?.usage).toEqual({
      ...{ input: 100, output: 4, cachedInput: 40, cacheWriteInput: 50, reasoningOutput: null },
    })
    expect(read(answer([], { usage: {} }))?.usage).toBeNull()
  })

  test('by our own tool for JSON is a text that stopped by itself', () => {
    const content = [{ toolUse: { toolUseId: 't', name: 'json_answer', input: { a: 1 } } }]
    expect(read(answer(content, { stopReason: 'tool_use' }), json)).toMatchObject({
      ...{ parts: [text('{"a":1}')], finish: { reason: 'stop' } },
    })
    expect(read(answer(content, { stopReason: 'tool_use' }))).toMatchObject({ finish: { reason: 'tool_calls' } })
  })

  test.each([
    ['no JSON', '<html>'],
    ['an error', { message: 'no' }],
    ['no content', { output: { message: { role: 'assistant' } }, stopReason: 'end_turn' }],
    ['no end', answer([{ text: 'a' }], { stopReason: undefined })],
    ['what the model wrote unreadably', answer([], { stopReason: 'malformed_tool_use' })],
    ['a call without a name', answer([{ toolUse: { toolUseId: 't', input: {} } }])],
    ['a call without an id', answer([{ toolUse: { toolUseId: 1, name: 'f', input: {} } }])],
    ['an answer of another vendor', { type: 'message', content: [], stop_reason: 'end_turn' }],
  ])('is not %s', (_name, value) => {
    expect(read(value)).toBeNull()
  })
})

test('an error is told in its own words, whichever letter they begin with', () => {
  expect(readErrorMessage(Buffer.from('{"message":"Too long."}'))).toBe('Too long.')
  expect(readErrorMessage(Buffer.from('{"Message":"Signature expired."}'))).toBe('Signature expired.')
  expect(readErrorMessage(Buffer.from('<html>'))).toBeNull()
})
