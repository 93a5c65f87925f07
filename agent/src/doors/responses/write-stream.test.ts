import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../../proto/std/refusal.js'
import type { AnswerPart, ChatAnswer, Finish, TokenLogprob } from '../../conversation/chat-answer.js'
import type { ChatEvent, ChatEventReader } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { AnthropicEventReader } from '../../providers/anthropic/read-events.js'
import { OpenaiEventReader } from '../../providers/openai/read-events.js'
import { TranslatedStream } from '../../providers/translated-stream.js'
import type { AnswerContext } from '../../request/ports.js'
import { responsesDoor } from './door.js'
import { writeResponseAnswer } from './write-answer.js'
import { ResponseEventWriter } from './write-stream.js'

function contextOf(fields: object = {}): AnswerContext {
  const body = responsesDoor.parse(Buffer.from(JSON.stringify({ model: 'm', input: 'hi', ...fields })))
  if (isRefusal(body)) throw new Error(body.message)
  return { requestId: 'req_7', createdAtSeconds: 1, model: 'upstream-model', wantsUsage: true, body }
}

interface Told {
  readonly type: string
  readonly sequence_number: number
  readonly [name: string]: unknown
}

function eventsIn(text: string): Told[] {
  return text
    .split('\n\n')
    .filter((event) => event !== '')
    .map((event) => {
      const [name, data] = event.split('\n')
      const told = JSON.parse((data ?? '').slice('data: '.length)) as Told
      expect(name).toBe(`event: ${told.type}`)
      return told
    })
}

const usage = { input: 9, output: 4, cachedInput: 3, cacheWriteInput: null, reasoningOutput: 2 }
const stop: Finish = { reason: 'stop', stopSequence: null }
const logprob: TokenLogprob = {
  ...{ token: 'a', logprob: -0.5, bytes: [97] },
  top: [{ token: 'b', logprob: -1, bytes: null }],
}

function streamed(events: readonly ChatEvent[], context: AnswerContext): Told[] {
  const writer = new ResponseEventWriter(context)
  return eventsIn(events.map((event) => writer.write(event)).join('') + writer.end(usage))
}

const start: ChatEvent = { type: 'start', id: 'chatcmpl-1', model: 'upstream-model-1' }
const text = (said: string, logprobs: readonly TokenLogprob[] | null = null): ChatEvent => ({
  ...{ type: 'text', text: said, logprobs },
})
const finish = (reason: Finish['reason']): ChatEvent => ({ type: 'finish', finish: { reason, stopSequence: null } })

test('a text is opened, said, closed and told once more', () => {
  const events = streamed([start, text('Grü'), text('ezi'), finish('stop')], contextOf())
  expect(events.map(({ type }) => type)).toEqual([
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ])
  expect(events.map((event) => event.sequence_number)).toEqual(events.map((_event, index) => index))
  expect(events[4]).toEqual({
    ...{ type: 'response.output_text.delta', sequence_number: 4, item_id: 'msg_chatcmpl1_0', output_index: 0 },
    ...{ content_index: 0, delta: 'Grü', logprobs: [] },
  })
  const item = {
    ...{ id: 'msg_chatcmpl1_0', type: 'message', status: 'completed', role: 'assistant' },
    content: [{ type: 'output_text', annotations: [], logprobs: [], text: 'Grüezi' }],
  }
  expect(events[8]).toMatchObject({ item })
  expect(events[9]?.['response']).toMatchObject({
    ...{ id: 'resp_chatcmpl1', object: 'response', created_at: 1, status: 'completed', model: 'upstream-model-1' },
    ...{ error: null, incomplete_details: null, store: false, output: [item] },
    usage: {
      ...{ input_tokens: 9, output_tokens: 4, total_tokens: 13 },
      ...{ input_tokens_details: { cached_tokens: 3, cache_write_tokens: 0 } },
      output_tokens_details: { reasoning_tokens: 2 },
    },
  })
})

test('nothing leaves before something is said, and an answer of nothing is whole', () => {
  const writer = new ResponseEventWriter(contextOf())
  expect(writer.write(start)).toBe('')
  expect(eventsIn(writer.end(null)).map(({ type }) => type)).toEqual([
    'response.created',
    'response.in_progress',
    'response.completed',
  ])
})

test.each([
  ['content', {}, ['response.content_part', 'response.reasoning_text'], 'content_index'],
  [
    'summary',
    { reasoning: { summary: 'auto' } },
    ['response.reasoning_summary_part', 'response.reasoning_summary_text'],
    'summary_index',
  ],
] as const)('thoughts stand in the %s of their item', (place, fields, [part, said], index) => {
  const events = streamed(
    [
      start,
      { type: 'reasoning', text: 'h' },
      { type: 'reasoning', text: 'm' },
      { type: 'reasoning_signature', signature: 's' },
      text('a'),
      finish('stop'),
    ],
    contextOf(fields),
  )
  expect(events.slice(2, 9).map(({ type }) => type)).toEqual([
    'response.output_item.added',
    `${part}.added`,
    `${said}.delta`,
    `${said}.delta`,
    `${said}.done`,
    `${part}.done`,
    'response.output_item.done',
  ])
  expect(events[4]).toMatchObject({ delta: 'h', output_index: 0, [index]: 0 })
  const { item } = events[8] as unknown as { item: Record<string, unknown> }
  expect(item[place]).toMatchObject([{ text: 'hm' }])
  expect(item['encrypted_content']).toMatch(/^switchyard\.1\./)
  expect(events.at(-1)?.['response']).toMatchObject({ output: [item, { type: 'message' }] })
})

test('an unsigned thought carries nothing', () => {
  const [, , , , , , , closed] = streamed([start, { type: 'reasoning', text: 'hm' }, text('a')], contextOf())
  expect(closed?.type).toBe('response.output_item.done')
  expect(closed?.['item']).not.toHaveProperty('encrypted_content')
})

test('an answer that is cut off says so, and which item is not whole', () => {
  const call: ChatEvent = { type: 'tool_call', id: 'c', name: 'n' }
  const events = streamed(
    [start, text('a'), call, { type: 'tool_arguments', text: '{"x' }, finish('length')],
    contextOf(),
  )
  expect(events.at(-1)).toMatchObject({
    type: 'response.incomplete',
    response: {
      ...{ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
      output: [{ status: 'completed' }, { status: 'incomplete', arguments: '{"x' }],
    },
  })
})

test.each([
  ['content_filter', false, 'content_filter'],
  ['refusal', false, 'content_filter'],
  ['refusal', true, null],
  ['pause', false, null],
  ['stop_sequence', false, null],
] as const)('that it ended by %s (in words: %s) is told as %s', (reason, isSaid, incomplete) => {
  const refusal: ChatEvent = { type: 'refusal', text: 'no' }
  const last = streamed([start, isSaid ? refusal : text('a'), finish(reason)], contextOf()).at(-1)
  expect(last?.['response']).toMatchObject({ incomplete_details: incomplete === null ? null : { reason: incomplete } })
})

test('the request’s members stand in the response', () => {
  const tools = [{ type: 'function', name: 'n', parameters: {}, strict: true }]
  const fields = {
    ...{ instructions: 'Be brief.', tools, tool_choice: 'required', temperature: 0.5, metadata: { a: 'b' } },
    ...{ reasoning: { effort: 'low' }, text: { format: { type: 'json_object' }, verbosity: null }, user: 'u' },
  }
  const [created] = streamed([start], contextOf(fields))
  expect(created?.['response']).toMatchObject({
    ...fields,
    reasoning: { effort: 'low', summary: null },
    text: { format: { type: 'json_object' } },
    ...{ top_p: null, max_output_tokens: null, parallel_tool_calls: true, truncation: 'disabled', usage: null },
    ...{ previous_response_id: null, status: 'in_progress', output: [] },
  })
})

test('ids are short enough to go back to OpenAI, and of letters', () => {
  const id = `-${'x._-'.repeat(32)}`
  const events = streamed([{ ...start, id } as ChatEvent, { type: 'reasoning', text: 'hm' }, text('a')], contextOf())
  const response = events.at(-1)?.['response'] as { id: string; output: { id: string }[] }
  for (const id of [response.id, ...response.output.map((item) => item.id)]) expect(id).toMatch(/^[a-z]+_\w{1,60}$/)
  for (const { id } of response.output) expect(id.length).toBeLessThanOrEqual(64)
  expect(JSON.parse(writeResponseAnswer({ ...answerOf([]), id: '...' }, contextOf()))).toMatchObject({ id: 'resp_0' })
})

test('a stream beyond the bound ends', () => {
  const writer = new ResponseEventWriter(contextOf())
  const piece = text('x'.repeat(1024 * 1024))
  expect(() => {
    for (let i = 0; i < 17; i++) writer.write(piece)
  }).toThrow(/longer/)
})

function answerOf(parts: readonly AnswerPart[], reason: Finish['reason'] = 'stop'): ChatAnswer {
  return { id: 'chatcmpl-1', model: 'upstream-model-1', parts, finish: { ...stop, reason }, usage }
}

/** Each part as a vendor would stream it, in pieces. */
function eventsOf(parts: readonly AnswerPart[], reason: Finish['reason']): ChatEvent[] {
  const said = parts.flatMap((part): ChatEvent[] => {
    switch (part.type) {
      case 'text':
        return [text(part.text.slice(0, 1), part.logprobs), text(part.text.slice(1))]
      case 'refusal':
        return [part]
      case 'reasoning': {
        if (part.redacted !== null) return [{ type: 'reasoning_redacted', data: part.redacted }]
        const signed: ChatEvent[] =
          part.signature === null ? [] : [{ type: 'reasoning_signature', signature: part.signature }]
        return [...(part.text === '' ? [] : [{ type: 'reasoning' as const, text: part.text }]), ...signed]
      }
      default:
        return [
          { type: 'tool_call', id: part.id, name: part.name },
          { type: 'tool_arguments', text: part.argumentsText.slice(0, 2) },
          { type: 'tool_arguments', text: part.argumentsText.slice(2) },
        ]
    }
  })
  return [start, ...said, finish(reason)]
}

describe('whole and streamed say the same', () => {
  const thought = (said: string, signature: string | null, redacted: string | null): AnswerPart => ({
    ...{ type: 'reasoning', text: said, signature, redacted },
  })
  const call = (id: string): AnswerPart => ({ type: 'tool_call', id, name: 'look_up', argumentsText: '{"a":1}' })
  const said = (value: string, logprobs: readonly TokenLogprob[] | null = null): AnswerPart => ({
    ...{ type: 'text', text: value, logprobs },
  })
  const cases: [string, readonly AnswerPart[], Finish['reason']][] = [
    ['a text with log probabilities', [said('ab', [logprob])], 'stop'],
    ['texts in a row', [said('ab'), said('cd')], 'stop'],
    ['a text and a refusal', [said('ab'), { type: 'refusal', text: 'no' }], 'refusal'],
    ['thoughts, a text and calls', [thought('hm', 's', null), said('ab'), call('c1'), call('c2')], 'tool_calls'],
    ['hidden thoughts', [thought('', null, 'xyz'), thought('', 's', null), said('ab')], 'stop'],
    ['shown thoughts', [thought('hm', null, null), said('ab')], 'length'],
    ['a call between texts', [said('ab'), call('c1'), said('cd')], 'content_filter'],
  ]
  test.each(cases)('%s', (_name, parts, reason) => {
    for (const fields of [{}, { reasoning: { summary: 'concise' } }]) {
      const context = contextOf(fields)
      const whole: unknown = JSON.parse(writeResponseAnswer(answerOf(parts, reason), context))
      const events = streamed(eventsOf(parts, reason), context)
      expect(events.at(-1)?.['response']).toEqual(whole)
      expect(rebuilt(events)).toEqual((whole as { output: unknown }).output)
    }
  })
})

/** The output as a client puts it together that looks at pieces only. */
function rebuilt(events: readonly Told[]): unknown[] {
  const output: Record<string, unknown>[] = []
  for (const event of events) {
    const item = output[event['output_index'] as number] ?? {}
    const parts = (item['content'] ?? []) as Record<string, unknown>[]
    const part = parts[event['content_index'] as number] ?? {}
    switch (event.type) {
      case 'response.output_item.added':
        expect(event['output_index']).toBe(output.length)
        output.push(structuredClone(event['item']) as Record<string, unknown>)
        break
      case 'response.content_part.added':
        expect(event['content_index']).toBe(parts.length)
        parts.push(structuredClone(event['part']) as Record<string, unknown>)
        break
      case 'response.output_text.delta':
      case 'response.reasoning_text.delta':
        part['text'] = `${String(part['text'])}${String(event['delta'])}`
        if (event['logprobs']) part['logprobs'] = [...(part['logprobs'] as []), ...(event['logprobs'] as [])]
        break
      case 'response.refusal.delta':
        part['refusal'] = `${String(part['refusal'])}${String(event['delta'])}`
        break
      case 'response.function_call_arguments.delta':
        item['arguments'] = `${String(item['arguments'])}${String(event['delta'])}`
        break
      case 'response.reasoning_summary_part.added':
        ;(item['summary'] as unknown[]).push(structuredClone(event['part']))
        break
      case 'response.reasoning_summary_text.delta': {
        const summary = (item['summary'] as Record<string, unknown>[])[0] ?? {}
        summary['text'] = `${String(summary['text'])}${String(event['delta'])}`
        break
      }
      case 'response.output_item.done': {
        const { status, encrypted_content } = event['item'] as Record<string, unknown>
        Object.assign(item, { status }, encrypted_content === undefined ? {} : { encrypted_content })
        expect(event['item']).toEqual(item)
      }
    }
  }
  return output
}

describe('a vendor’s stream cut at every byte gives the same events', () => {
  const chunk = (delta: object, rest: object = {}) =>
    `data: ${JSON.stringify({ id: 'c', model: 'm', choices: [{ index: 0, delta, finish_reason: null }], ...rest })}\n\n`
  const openaiStream = [
    chunk({ role: 'assistant', content: '' }),
    chunk({ reasoning_content: 'hm' }),
    chunk({ content: 'Grü' }),
    chunk({ content: 'ezi 🦊' }),
    chunk({ tool_calls: [{ index: 0, id: 'c1', function: { name: 'n', arguments: '' } }] }),
    chunk({ tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] }),
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] })}\n\n`,
    `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 7 } })}\n\n`,
    'data: [DONE]\n\n',
  ].join('')
  const event = (type: string, rest: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`
  const anthropicStream = [
    event('message_start', { message: { id: 'msg_1', model: 'claude', usage: { input_tokens: 5, output_tokens: 1 } } }),
    event('content_block_start', { index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } }),
    event('content_block_delta', { index: 0, delta: { type: 'thinking_delta', thinking: 'hm' } }),
    event('content_block_delta', { index: 0, delta: { type: 'signature_delta', signature: 'sig' } }),
    event('content_block_stop', { index: 0 }),
    event('content_block_start', { index: 1, content_block: { type: 'text', text: '' } }),
    event('content_block_delta', { index: 1, delta: { type: 'text_delta', text: 'Grüezi 🦊' } }),
    event('content_block_stop', { index: 1 }),
    event('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 7 } }),
    event('message_stop', {}),
  ].join('')

  function through(reader: ChatEventReader, pieces: readonly Buffer[]): string {
    const stream = new TranslatedStream({
      ...{ contentType: 'text/event-stream', reader, writer: new ResponseEventWriter(contextOf()) },
    })
    let out = ''
    for (const piece of pieces) out += stream.push(piece)?.toString() ?? ''
    return `${out}${stream.end()?.toString() ?? ''}${stream.tail?.toString() ?? ''}`
  }

  test.each([
    ['openai', () => new OpenaiEventReader(), openaiStream, 18],
    ['anthropic', () => new AnthropicEventReader({ tools: [] } as unknown as Conversation), anthropicStream, 13],
  ] as const)('%s', (_name, open, wire, atLeast) => {
    const bytes = Buffer.from(wire)
    const whole = through(open(), [bytes])
    expect(eventsIn(whole).length).toBeGreaterThan(atLeast)
    expect(eventsIn(whole).at(-1)?.type).toBe('response.completed')
    for (let at = 0; at <= bytes.length; at++) {
      expect(through(open(), [bytes.subarray(0, at), bytes.subarray(at)])).toBe(whole)
    }
  })
})
