import { describe, expect, test } from 'vitest'
import type { ChatEvent } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { AnthropicEventReader } from './read-events.js'

const plain = { answerFormat: null, tools: [] } as unknown as Conversation
const json = { answerFormat: { type: 'json' }, tools: [] } as unknown as Conversation

function read(events: readonly object[], conversation = plain): ChatEvent[] {
  const found: ChatEvent[] = []
  const reader = new AnthropicEventReader(conversation)
  for (const event of events) reader.push(Buffer.from(`data: ${JSON.stringify(event)}\n\n`), (one) => found.push(one))
  return found
}

const start = (block: object) => ({ type: 'content_block_start', index: 0, content_block: block })
const call = (id: string, input: unknown = {}) => start({ type: 'tool_use', id, name: 'f', input })
const piece = (partial_json: string) => ({
  ...{ type: 'content_block_delta', index: 0 },
  delta: { type: 'input_json_delta', partial_json },
})
const stop = { type: 'content_block_stop', index: 0 }
const called = (id: string, ...texts: string[]): ChatEvent[] => [
  { type: 'tool_call', id, name: 'f' },
  ...texts.map((text) => ({ type: 'tool_arguments' as const, text })),
]

describe('the arguments of a streamed call', () => {
  test.each([
    ['that has none', [call('a'), stop], called('a', '{}')],
    ['of which only an empty piece comes', [call('a'), piece(''), stop], called('a', '{}')],
    ['that come in pieces', [call('a'), piece('{"a"'), piece(':1}'), stop], called('a', '{"a"', ':1}')],
    ['that come whole at the start', [call('a', { a: 1 }), stop], called('a', '{"a":1}')],
    ['that come whole and again in pieces', [call('a', { a: 1 }), piece('{"a":1}'), stop], called('a', '{"a":1}')],
    ['whose end is not told', [call('a'), call('b'), stop], [...called('a', '{}'), ...called('b', '{}')]],
    ['whose input is none', [call('a', null), stop], called('a', '{}')],
    ['that are cut off', [call('a')], called('a')],
    ['beside a text', [start({ type: 'text', text: '' }), stop, call('a'), stop], called('a', '{}')],
  ] as [string, object[], ChatEvent[]][])('%s', (_words, events, found) => {
    expect(read(events)).toEqual(found)
  })

  test('of our own tool for JSON are the text, also whole', () => {
    const own = start({ type: 'tool_use', id: 'a', name: 'json_answer', input: { a: 1 } })
    expect(read([own, stop], json)).toEqual([{ type: 'text', text: '{"a":1}', logprobs: null }])
  })
})
