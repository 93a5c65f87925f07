import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ChatStreamReader } from '../providers/openai/stream.js'
import type { UpstreamOperation } from '../providers/provider-dialect.js'
import { ByteMemory } from './byte-memory.js'
import { RecordSource, StreamRecord } from './stream-record.js'
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

test('a stream is judged by what its reader says is not like the rest as it would be by all of it', () => {
  const part = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({ content: fc.constantFrom(' a fox', '"', '\\', 'é', '"finish_reason":"length"') }),
    },
    fc.constantFrom(
      { content: '' },
      { role: 'assistant', content: '' },
      { refusal: 'no' },
      { reasoning_content: 'hm' },
    ),
    fc.constant({ tool_calls: [{ index: 0, function: { name: 'f', arguments: '{}' } }] }),
  )
  const finish = fc.constantFrom('stop', 'length', 'content_filter', 'tool_calls', null)
  let kept = 0
  let shortened = 0
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 30 }),
      finish,
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
      (parts, end, size, noise) => {
        const event = (delta: object, reason: string | null) =>
          `data: ${JSON.stringify({
            ...{ id: 'c', model: 'm', choices: [{ index: 0, delta, finish_reason: reason }] },
            ...(noise ? { obfuscation: 'x'.repeat(parts.length % 5) } : {}),
          })}\n\n`
        const events = [...parts.map((delta) => event(delta, null)), event({}, end)]
        const reader = new ChatStreamReader({ depth: 'final', wantsUsage: false, wantsContinuousUsage: false })
        const record = new StreamRecord(new RecordSource(new ByteMemory()), 1 << 20)
        for (let at = 0; at < events.length; at += size) {
          const bytes = reader.push(Buffer.from(events.slice(at, at + size).join('')))
          if (bytes !== null) record.add(Buffer.from(bytes), reader.alike)
        }
        const all = record.finish(Buffer.from('data: [DONE]\n\n'))
        if (all === null) throw new Error('it is not too long')
        const isWorth = isStreamWorthKeeping('chat_completions', all.bytes)
        const isTold = isStreamWorthKeeping('chat_completions', all.telling)
        if (isTold) kept += 1
        if (all.telling.length < all.bytes.length) shortened += 1
        // Where the first texts are empty one that is worth it may be missed; the other way round nothing may.
        const isSure = parts.every((delta) => !('content' in delta) || delta.content !== '')
        expect(isTold).toBe(isSure ? isWorth : isTold && isWorth)
      },
    ),
    { numRuns: 500 },
  )
  expect(kept).toBeGreaterThan(50)
  expect(shortened).toBeGreaterThan(40)
})
