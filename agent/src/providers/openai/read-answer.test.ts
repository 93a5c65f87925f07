import { describe, expect, test } from 'vitest'
import { readChatAnswer } from './read-answer.js'

const read = (message: object, finish_reason = 'stop', more: object = {}) =>
  readChatAnswer(Buffer.from(JSON.stringify({ choices: [{ message, finish_reason, ...more }] })))
const call = (given?: unknown) => ({ tool_calls: [{ id: 'a', function: { name: 'f', arguments: given } }] })

describe('how an answer ended', () => {
  test.each([
    ['stop', call('{}'), 'tool_calls'],
    ['tool_calls', call('{}'), 'tool_calls'],
    ['length', call('{'), 'length'],
    ['content_filter', call('{}'), 'content_filter'],
    ['stop', { content: 'Hi.' }, 'stop'],
    ['stop', { content: 'Hi.', tool_calls: [] }, 'stop'],
  ])('%s of %j is %s', (finish, message, reason) => {
    expect(read(message, finish)?.finish).toEqual({ reason, stopSequence: null })
  })

  test('with vLLM’s stop sequence, unless it called', () => {
    expect(read({ content: 'Hi.' }, 'stop', { stop_reason: '.' })?.finish.reason).toBe('stop_sequence')
    expect(read(call('{}'), 'stop', { stop_reason: '.' })?.finish.reason).toBe('tool_calls')
  })
})

describe('what is said', () => {
  const text = (said: unknown) => ({ type: 'text', text: said })
  test.each([
    ['a text', 'Hi.', 'Hi.'],
    ['parts', [text('H'), text('i.')], 'Hi.'],
    ['nothing', null, undefined],
    ['no parts', [], undefined],
  ])('may be %s', (_words, content, said) => {
    const part = read({ content })?.parts[0]
    expect(part?.type === 'text' ? part.text : undefined).toBe(said)
  })

  test.each([
    ['a number', 7],
    ['an object', text('Hi.')],
    ['a part of another type', [text('Hi.'), { type: 'image_url' }]],
    ['a part that is none', ['Hi.']],
    ['a part without text', [text(undefined)]],
  ])('is malformed as %s', (_words, content) => {
    expect(read({ content })).toBeNull()
  })
})

describe('arguments of a call', () => {
  test.each([
    ['{"a":1}', '{"a":1}'],
    [{ a: 1 }, '{"a":1}'],
    ['', '{}'],
    [null, '{}'],
    [undefined, '{}'],
  ])('%j are %s', (given, argumentsText) => {
    expect(read(call(given))?.parts).toEqual([{ type: 'tool_call', id: 'a', name: 'f', argumentsText }])
  })

  test.each([[7], [true], [[1]]])('are malformed as %j', (given) => {
    expect(read(call(given))).toBeNull()
  })
})
