import { describe, expect, test } from 'vitest'
import type { UpstreamOperation } from '../providers/provider-dialect.js'
import { isStreamWorthKeeping, isWholeWorthKeeping } from './worth-keeping.js'

const chat = (choice: object) => ({ choices: [{ message: { content: 'x' }, finish_reason: 'stop', ...choice }] })
const message = (over: object) => ({
  type: 'message',
  content: [{ type: 'text', text: 'x' }],
  stop_reason: 'end_turn',
  ...over,
})
const response = (over: object) => ({
  ...{ status: 'completed', incomplete_details: null, error: null },
  output: [{ type: 'message', content: [{ type: 'output_text', text: 'x' }] }],
  ...over,
})

describe('a whole answer', () => {
  test.each<[string, UpstreamOperation, unknown, boolean]>([
    ['stop', 'chat_completions', chat({}), true],
    [
      'calls of tools',
      'chat_completions',
      chat({ finish_reason: 'tool_calls', message: { content: null, tool_calls: [{}] } }),
      true,
    ],
    ['length', 'chat_completions', chat({ finish_reason: 'length' }), false],
    ['filtered', 'chat_completions', chat({ finish_reason: 'content_filter' }), false],
    ['no reason', 'chat_completions', chat({ finish_reason: null }), false],
    ['a refusal', 'chat_completions', chat({ message: { content: null, refusal: 'no' } }), false],
    ['a refusal beside text', 'chat_completions', chat({ message: { content: 'x', refusal: 'no' } }), false],
    ['no refusal', 'chat_completions', chat({ message: { content: 'x', refusal: null } }), true],
    ['nothing said', 'chat_completions', chat({ message: { content: '' } }), false],
    ['no choices', 'chat_completions', { choices: [] }, false],
    [
      'one of two cut',
      'chat_completions',
      { choices: [chat({}).choices[0], chat({ finish_reason: 'length' }).choices[0]] },
      false,
    ],
    ['an error', 'chat_completions', { error: { message: 'x' }, ...chat({}) }, false],
    ['a text', 'completions', { choices: [{ text: 'x', finish_reason: 'stop' }] }, true],
    ['a cut text', 'completions', { choices: [{ text: 'x', finish_reason: 'length' }] }, false],
    ['end of turn', 'messages', message({}), true],
    ['use of a tool', 'messages', message({ stop_reason: 'tool_use' }), true],
    ['a stop sequence', 'messages', message({ stop_reason: 'stop_sequence' }), true],
    ['most tokens', 'messages', message({ stop_reason: 'max_tokens' }), false],
    ['a pause', 'messages', message({ stop_reason: 'pause_turn' }), false],
    ['refused', 'messages', message({ stop_reason: 'refusal' }), false],
    ['nothing said', 'messages', message({ content: [] }), false],
    ['completed', 'responses', response({}), true],
    ['a call', 'responses', response({ output: [{ type: 'function_call', name: 'f' }] }), true],
    ['thoughts alone', 'responses', response({ output: [{ type: 'reasoning' }] }), false],
    ['incomplete', 'responses', response({ status: 'incomplete', incomplete_details: { reason: 'x' } }), false],
    ['failed', 'responses', response({ status: 'failed', error: { code: 'x' } }), false],
    [
      'a refusal',
      'responses',
      response({ output: [{ type: 'message', content: [{ type: 'refusal', refusal: 'no' }] }] }),
      false,
    ],
    ['vectors', 'embeddings', { data: [{ embedding: [1] }] }, true],
    ['no vectors', 'embeddings', { data: [] }, false],
    ['a count', 'count_tokens', { input_tokens: 1 }, false],
    ['no object', 'chat_completions', [1], false],
  ])('%s (%s)', (_name, operation, answer, expected) => {
    expect(isWholeWorthKeeping(operation, Buffer.from(JSON.stringify(answer)))).toBe(expected)
  })
})

describe('a stream', () => {
  const events = (...values: object[]) => values.map((value) => `data: ${JSON.stringify(value)}\n\n`).join('')
  const delta = (content: string, finish: string | null = null) => ({
    choices: [{ delta: { content }, finish_reason: finish }],
  })
  const end = (reason: string) => ({ type: 'message_delta', delta: { stop_reason: reason } })
  const start = { type: 'message_start', message: { stop_reason: null } }
  const block = { type: 'content_block_start', content_block: { type: 'text', text: '' } }
  const said = { type: 'response.output_text.done', text: 'x' }

  test.each<[string, UpstreamOperation, string, boolean]>([
    ['stop', 'chat_completions', events(delta('x'), delta('', 'stop')), true],
    [
      'as Python spaces it',
      'chat_completions',
      'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}\n\n',
      true,
    ],
    ['an empty reason with each chunk', 'chat_completions', events(delta('x', ''), delta('', 'stop')), true],
    ['length', 'chat_completions', events(delta('x'), delta('', 'length')), false],
    ['no end', 'chat_completions', events(delta('x')), false],
    ['one of two cut', 'chat_completions', events(delta('x', 'stop'), delta('y', 'length')), false],
    ['a text that speaks of the end', 'chat_completions', events(delta('"finish_reason":"stop"')), false],
    [
      'a text that speaks of another end',
      'chat_completions',
      events(delta('"finish_reason":"length"'), delta('', 'stop')),
      true,
    ],
    ['a refusal', 'chat_completions', events({ choices: [{ delta: { refusal: 'no' } }] }, delta('', 'stop')), false],
    ['nothing said', 'chat_completions', events(delta(''), delta('', 'stop')), false],
    [
      'a call',
      'chat_completions',
      events(
        { choices: [{ delta: { tool_calls: [{ function: { name: 'f', arguments: '' } }] } }] },
        delta('', 'tool_calls'),
      ),
      true,
    ],
    ['a text', 'completions', events({ choices: [{ text: 'x', finish_reason: 'stop' }] }), true],
    ['end of turn', 'messages', events(start, block, end('end_turn')), true],
    ['most tokens', 'messages', events(start, block, end('max_tokens')), false],
    ['refused', 'messages', events(start, block, end('refusal')), false],
    ['nothing said', 'messages', events(start, end('end_turn')), false],
    ['completed', 'responses', events(said, { type: 'response.completed' }), true],
    ['incomplete', 'responses', events(said, { type: 'response.incomplete' }), false],
    ['failed', 'responses', events(said, { type: 'response.failed' }), false],
    [
      'a refusal',
      'responses',
      events(said, { type: 'response.refusal.delta', delta: 'n' }, { type: 'response.completed' }),
      false,
    ],
    ['nothing said', 'responses', events({ type: 'response.completed' }), false],
    ['of vectors', 'embeddings', events({ data: [] }), false],
  ])('%s (%s)', (_name, operation, text, expected) => {
    expect(isStreamWorthKeeping(operation, Buffer.from(text))).toBe(expected)
  })
})
