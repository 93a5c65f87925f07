import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../proto/std/refusal.js'
import type { Conversation } from '../conversation/conversation.js'
import { readMessagesConversation } from '../doors/messages/read-conversation.js'
import type { UpstreamOperation } from '../providers/provider-dialect.js'
import { asChatAnswer } from './as-chat-answer.js'
import { answerOf, bodyOf, chunk, done } from './cache-fixture.js'
import type { KeptAnswer } from './kept-answer.js'

const keptOf = (text: string, stream: boolean): KeptAnswer => ({
  ...{ stream, bytes: Buffer.from(text), tailAt: 0, usage: null, model: null, modelId: 'm', bornAtMs: 0 },
  ...{ dropped: null, capped: null, classes: [], keptSeconds: 1, question: null },
  origin: {
    ...{ tenantId: '', environmentId: '', routeId: '', promptId: null, promptVersion: null, tags: [], documents: [] },
  },
})
const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`
const read = readMessagesConversation(
  bodyOf({ model: 'm', max_tokens: 5, messages: [{ role: 'user', content: 'Why?' }] }),
)
const conversation = isRefusal(read) ? null : read

const response = {
  id: 'resp_1',
  model: 'gpt',
  status: 'completed',
  output: [
    { type: 'reasoning', summary: [] },
    {
      type: 'message',
      content: [
        { type: 'output_text', text: 'Hello ' },
        { type: 'output_text', text: 'é' },
      ],
    },
    { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{"a":1}' },
  ],
}
const message = {
  ...{ id: 'msg_1', type: 'message', role: 'assistant', model: 'claude', stop_reason: 'tool_use', stop_sequence: null },
  content: [
    { type: 'text', text: 'Hello é' },
    { type: 'tool_use', id: 'c1', name: 'f', input: { a: 1 } },
  ],
}
const text = { type: 'text', text: 'Hello é' }
const call = { type: 'tool_call', id: 'c1', name: 'f', argumentsText: '{"a":1}' }
const toolCall = (more: object) => ({ tool_calls: [{ index: 0, ...more }] })

describe('a kept answer in no door’s words', () => {
  const cases: [string, UpstreamOperation, string, boolean, object[], string][] = [
    ['chat', 'chat_completions', answerOf('Hello é'), false, [text], 'stop'],
    [
      'chat, streamed',
      'chat_completions',
      chunk({ role: 'assistant', content: '' }) +
        chunk({ content: 'Hello ' }) +
        chunk({ content: 'é' }) +
        chunk({}, 'stop') +
        done,
      true,
      [text],
      'stop',
    ],
    [
      'calls, streamed',
      'chat_completions',
      chunk({ content: 'Hello é' }) +
        chunk(toolCall({ id: 'c1', type: 'function', function: { name: 'f', arguments: '' } })) +
        chunk(toolCall({ function: { arguments: '{"a"' } })) +
        chunk(toolCall({ function: { arguments: ':1}' } })) +
        chunk({}, 'tool_calls') +
        done,
      true,
      [text, call],
      'tool_calls',
    ],
    ['a message', 'messages', JSON.stringify(message), false, [text, call], 'tool_calls'],
    [
      'a message, streamed',
      'messages',
      event({
        type: 'message_start',
        message: { ...message, content: [], stop_reason: null, usage: { input_tokens: 1, output_tokens: 1 } },
      }) +
        event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }) +
        event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hello ' } }) +
        event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'é' } }) +
        event({ type: 'content_block_stop', index: 0 }) +
        event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 2 } }) +
        event({ type: 'message_stop' }),
      true,
      [text],
      'stop',
    ],
    ['a response', 'responses', JSON.stringify(response), false, [text, call], 'tool_calls'],
    [
      'a response, streamed',
      'responses',
      event({ type: 'response.created' }) + event({ type: 'response.completed', response }),
      true,
      [text, call],
      'tool_calls',
    ],
    ['a completion', 'completions', JSON.stringify({ id: 'c', choices: [{ text: 'Hello é' }] }), false, [text], 'stop'],
    [
      'a completion, streamed',
      'completions',
      event({ choices: [{ text: 'Hello ' }] }) + event({ choices: [{ text: 'é' }] }) + done,
      true,
      [text],
      'stop',
    ],
  ]
  test.each(cases)('%s', (_name, operation, bytes, stream, parts, reason) => {
    const answer = asChatAnswer(keptOf(bytes, stream), operation, conversation)
    expect(answer?.parts).toMatchObject(parts)
    expect(answer?.parts).toHaveLength(parts.length)
    expect(answer?.finish.reason).toBe(reason)
  })

  test.each<[string, UpstreamOperation, string, boolean]>([
    ['vectors', 'embeddings', '{"data":[]}', false],
    ['damaged bytes', 'chat_completions', '{"choices":', false],
    ['a stream without an end', 'chat_completions', chunk({ content: 'x' }), true],
    ['a stream with an error', 'chat_completions', chunk({ content: 'x' }) + event({ error: { message: 'no' } }), true],
    ['a response without its end', 'responses', event({ type: 'response.created' }), true],
  ])('%s are none', (_name, operation, bytes, stream) => {
    expect(asChatAnswer(keptOf(bytes, stream), operation, conversation)).toBeNull()
  })

  test('what a reader trips over is none, and is nobody else’s fault', () => {
    const hostile = new Proxy({} as Conversation, {
      get: () => {
        throw new Error('it trips')
      },
    })
    expect(asChatAnswer(keptOf(JSON.stringify(message), false), 'messages', hostile)).toBeNull()
  })
})
