import { describe, expect, test } from 'vitest'
import type { ChatEvent } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { AnthropicEventReader } from './read-events.js'
import { MessageStreamReader } from './stream.js'

const event = (type: string, rest: object = {}) => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`
const delta = (index: number, value: object) => event('content_block_delta', { index, delta: value })
const start = event('message_start', {
  message: {
    ...{ id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-x', content: [] },
    usage: { input_tokens: 10, cache_read_input_tokens: 4, cache_creation_input_tokens: 2, output_tokens: 1 },
  },
})
const said =
  event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }) +
  event('ping') +
  delta(0, { type: 'text_delta', text: 'Grüß “Gott”\n' }) +
  delta(0, { type: 'text_delta', text: '🦊' }) +
  event('content_block_stop', { index: 0 })
const called =
  event('content_block_start', { index: 1, content_block: { type: 'tool_use', id: 't1', name: 'f', input: {} } }) +
  delta(1, { type: 'input_json_delta', partial_json: '' }) +
  delta(1, { type: 'input_json_delta', partial_json: '{"a":' }) +
  delta(1, { type: 'input_json_delta', partial_json: '"}"}' }) +
  event('content_block_stop', { index: 1 })
const ended = event('message_delta', {
  delta: { stop_reason: 'tool_use', stop_sequence: null },
  usage: { output_tokens: 12, output_tokens_details: { thinking_tokens: 3 } },
})
const stop = event('message_stop')
const whole = start + said + called + ended

const conversation = { answerFormat: null, tools: [] } as unknown as Conversation

function eventsOf(pieces: readonly Buffer[]): ChatEvent[] {
  const reader = new AnthropicEventReader(conversation)
  const events: ChatEvent[] = []
  for (const piece of pieces) reader.push(Buffer.from(piece), (one) => events.push(one))
  reader.end((one) => events.push(one))
  return events
}

function passed(pieces: readonly Buffer[]): { sent: string; reader: MessageStreamReader } {
  const reader = new MessageStreamReader()
  let sent = ''
  for (const piece of pieces) sent += reader.push(Buffer.from(piece))?.toString() ?? ''
  sent += reader.end()?.toString() ?? ''
  return { sent, reader }
}

const usage = { input: 16, output: 12, cachedInput: 4, cacheWriteInput: 2, reasoningOutput: 3 }

describe('a stream of message events', () => {
  test('means the same wherever it is cut', () => {
    const bytes = Buffer.from(whole + stop)
    const expected = [
      { type: 'start', id: 'msg_1', model: 'claude-x' },
      { type: 'usage', usage: { ...usage, output: 0, reasoningOutput: null }, final: false },
      { type: 'text', text: 'Grüß “Gott”\n', logprobs: null },
      { type: 'text', text: '🦊', logprobs: null },
      { type: 'tool_call', id: 't1', name: 'f' },
      { type: 'tool_arguments', text: '{"a":' },
      { type: 'tool_arguments', text: '"}"}' },
      { type: 'finish', finish: { reason: 'tool_calls', stopSequence: null } },
      { type: 'usage', usage, final: true },
      { type: 'done' },
    ]
    for (let at = 0; at <= bytes.length; at++) {
      expect(eventsOf([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(expected)
    }
    expect(eventsOf([...bytes].map((byte) => Buffer.from([byte])))).toEqual(expected)
  })

  test('passes byte for byte wherever it is cut, its last event held back', () => {
    const bytes = Buffer.from(whole + stop)
    for (let at = 0; at <= bytes.length; at++) {
      const { sent, reader } = passed([bytes.subarray(0, at), bytes.subarray(at)])
      expect(sent).toBe(whole)
      expect(reader.tail?.toString()).toBe(stop)
      expect(reader).toMatchObject({
        done: true,
        finished: true,
        malformed: false,
        error: null,
        model: 'claude-x',
        usage,
      })
      expect(reader.deliveredText()).toBe('')
    }
  })

  test('is not begun by its head: silence after it is silence', () => {
    expect(passed([Buffer.from(start + event('ping'))]).reader.started).toBe(false)
    expect(passed([Buffer.from(start + said)]).reader.started).toBe(true)
  })

  test('that breaks leaves what was said to be counted, and the input as told', () => {
    const { reader } = passed([Buffer.from(start + said + called)])
    expect(reader.deliveredText()).toBe('Grüß “Gott”\n🦊{"a":"}"}')
    expect(reader.usage).toMatchObject({ input: 16, output: 0 })
    expect(reader).toMatchObject({ done: false, finished: false })
  })

  test.each([
    [
      'an error',
      event('error', { error: { type: 'overloaded_error', message: 'Overloaded' } }),
      { error: 'Overloaded' },
    ],
    ['no JSON', 'event: ping\ndata: {"type"\n\n', { malformed: true }],
    ['no event of theirs', 'data: {"choices":[]}\n\n', { malformed: true }],
    ['half an event at the end', 'event: content_block_delta\ndata: {"type":"content_block_del', { malformed: true }],
  ])('%s ends it and is not passed on', (_name, text, expected) => {
    const { sent, reader } = passed([Buffer.from(start + said + text)])
    expect(sent).toBe(start + said)
    expect(reader).toMatchObject(expected)
  })

  test('may hold kinds of events that are not known', () => {
    const { sent, reader } = passed([Buffer.from(start + event('a_new_event', { x: 1 }) + ended + stop)])
    expect(sent).toBe(start + event('a_new_event', { x: 1 }) + ended)
    expect(reader.done).toBe(true)
  })
})
