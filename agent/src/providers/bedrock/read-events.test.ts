import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { eventFrame, eventsOf, exceptionFrame, frameOf } from '../../../../test/harness/vendors/bedrock-fake.js'
import type { ChatEvent } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { ConverseEventReader } from './read-events.js'

const none = { answerFormat: null, tools: [] } as unknown as Conversation
const json = { answerFormat: { type: 'json' }, tools: [] } as unknown as Conversation

function read(pieces: readonly Buffer[], conversation = none, isOver = true): ChatEvent[] {
  const events: ChatEvent[] = []
  const reader = new ConverseEventReader(conversation)
  for (const piece of pieces) reader.push(Buffer.from(piece), (event) => events.push(event))
  if (isOver) reader.end((event) => events.push(event))
  return events
}

/** What is known before the upstream ends its answer. */
const readOpen = (...pieces: Buffer[]) => read(pieces, none, false)

const written = (answer: Parameters<typeof eventsOf>[0]) =>
  Buffer.concat(eventsOf(answer).map(({ type, fields }) => eventFrame(type, fields)))
const event = (type: string, fields: object) => eventFrame(type, fields)
const delta = (contentBlockIndex: number, said: object) =>
  event('contentBlockDelta', { contentBlockIndex, delta: said })
const startOf = (contentBlockIndex: number, toolUse: object) =>
  event('contentBlockStart', { contentBlockIndex, start: { toolUse } })
const stopOf = (contentBlockIndex: number) => event('contentBlockStop', { contentBlockIndex })
const begin = event('messageStart', { role: 'assistant' })
const ended = event('messageStop', { stopReason: 'end_turn' })
const told = event('metadata', {
  metrics: { latencyMs: 1 },
  usage: { inputTokens: 3, outputTokens: 4, totalTokens: 7 },
})

const usage = { input: 3, output: 4, cachedInput: null, cacheWriteInput: null, reasoningOutput: null }
const start: ChatEvent = { type: 'start', id: null, model: null }
const text = (said: string): ChatEvent => ({ type: 'text', text: said, logprobs: null })
const finished: ChatEvent = { type: 'finish', finish: { reason: 'stop', stopSequence: null } }
const tail: ChatEvent[] = [finished, { type: 'usage', usage, final: true }, { type: 'done' }]

const all = written({
  reasoning: 'Hm: zwölf 🦊.',
  text: 'Grüezi “q”,\n🦊.',
  toolCalls: [
    { id: 'tooluse_1', name: 'get_weather', input: { city: 'Zürich "old"', deep: { a: [1, null] } } },
    { id: 'tooluse_2', name: 'now', input: {} },
  ],
  usage: { input: 100, cached: 40, written: 10, output: 20 },
})

describe('a stream of Converse', () => {
  const expected = read([all])

  test('says what was said', () => {
    const of = (type: ChatEvent['type']) => expected.filter((one) => one.type === type)
    const joined = (type: 'text' | 'reasoning' | 'tool_arguments') =>
      expected.flatMap((one) => (one.type === type ? [one.text] : [])).join('')
    expect(expected[0]).toEqual(start)
    expect(joined('reasoning')).toBe('Hm: zwölf 🦊.')
    expect(joined('text')).toBe('Grüezi “q”,\n🦊.')
    expect(joined('tool_arguments')).toBe('{"city":"Zürich \\"old\\"","deep":{"a":[1,null]}}{}')
    expect(of('reasoning_signature')).toEqual([{ type: 'reasoning_signature', signature: 'c2lnbmVk' }])
    expect(of('tool_call').map((one) => ('name' in one ? one.name : ''))).toEqual(['get_weather', 'now'])
    expect(expected.slice(-3)).toEqual([
      { type: 'finish', finish: { reason: 'tool_calls', stopSequence: null } },
      {
        type: 'usage',
        final: true,
        usage: { input: 100, output: 20, cachedInput: 40, cacheWriteInput: 10, reasoningOutput: null },
      },
      { type: 'done' },
    ])
  })

  test('cut at every byte, and into single bytes, is the same', () => {
    // As texts: comparing them two thousand times is what this test would spend its time on.
    const right = JSON.stringify(expected)
    for (let at = 0; at <= all.length; at++) {
      expect(JSON.stringify(read([all.subarray(0, at), all.subarray(at)]))).toBe(right)
    }
    expect(JSON.stringify(read([...all].map((byte) => Buffer.from([byte]))))).toBe(right)
  })

  test('with one bit flipped, wherever, is malformed at once, and nothing wrong was said before', () => {
    const some = written({ text: 'Zü 🦊', toolCalls: [{ id: 't', name: 'f', input: { a: 1 } }] })
    const right = read([some])
    for (let bit = 0; bit < some.length * 8; bit++) {
      const flipped = Buffer.from(some)
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      const events = readOpen(flipped)
      expect(events.at(-1)?.type).toBe('malformed')
      expect(JSON.stringify(events.slice(0, -1))).toBe(JSON.stringify(right.slice(0, events.length - 1)))
      expect(events.length).toBeLessThan(right.length)
    }
  })

  test('cut short anywhere is not taken for whole, and inside a message is malformed', () => {
    for (let at = 0, messageEnd = 0; at < all.length; at++) {
      const isBetween = at === messageEnd
      if (isBetween) messageEnd += all.readUInt32BE(at)
      const events = read([all.subarray(0, at)])
      expect(events.some(({ type }) => type === 'done')).toBe(false)
      expect(events.at(-1)?.type === 'malformed').toBe(!isBetween)
      if (isBetween) expect(events).toEqual(expected.slice(0, events.length))
    }
  })
})

describe('the end of a stream', () => {
  test('is there once both how it ended and the usage are told, in either order', () => {
    expect(read([begin, ended, told])).toEqual([start, ...tail])
    expect(read([begin, told, ended])).toEqual([start, tail[1], tail[0], tail[2]])
  })

  test('without the usage it is the end of the answer, and not said to be done', () => {
    expect(read([begin, delta(0, { text: 'a' }), ended])).toEqual([start, text('a'), finished])
  })

  test('nothing counts after it', () => {
    expect(read([begin, ended, told, delta(0, { text: 'b' }), Buffer.from('rubbish')])).toEqual([start, ...tail])
  })

  const reasons: [string, object][] = [
    ['end_turn', { reason: 'stop', stopSequence: null }],
    ['max_tokens', { reason: 'length', stopSequence: null }],
    ['model_context_window_exceeded', { reason: 'length', stopSequence: null }],
    ['stop_sequence', { reason: 'stop_sequence', stopSequence: null }],
    ['guardrail_intervened', { reason: 'content_filter', stopSequence: null }],
    ['content_filtered', { reason: 'content_filter', stopSequence: null }],
    ['something_new', { reason: 'stop', stopSequence: null }],
  ]
  test.each(reasons)('%s', (stopReason, finish) => {
    expect(read([begin, event('messageStop', { stopReason }), told])).toContainEqual({ type: 'finish', finish })
  })

  test('which stop sequence it was, where the model says so', () => {
    const own = { additionalModelResponseFields: { stop_sequence: 'END' }, stopReason: 'stop_sequence' }
    expect(read([begin, event('messageStop', own), told])).toContainEqual({
      ...{ type: 'finish', finish: { reason: 'stop_sequence', stopSequence: 'END' } },
    })
  })

  test.each(['malformed_tool_use', 'malformed_model_output'])(
    '%s is an error, and what it used is told',
    (stopReason) => {
      const events = read([begin, delta(0, { text: 'a' }), event('messageStop', { stopReason }), told])
      expect(events.map(({ type }) => type)).toEqual(['start', 'text', 'usage', 'error'])
      const untold = read([begin, event('messageStop', { stopReason })])
      expect(untold.map(({ type }) => type)).toEqual(['start', 'error'])
    },
  )
})

describe('what breaks a stream', () => {
  const exceptions = [
    ...['throttlingException', 'modelStreamErrorException', 'internalServerException', 'validationException'],
    ...['serviceUnavailableException', 'somethingNewException'],
  ]
  test.each(exceptions)('%s is an error in its own words, and the end', (type) => {
    const events = read([begin, exceptionFrame(type, { message: 'Too many tokens.' }), delta(0, { text: 'late' })])
    expect(events).toEqual([start, { type: 'error', message: 'Too many tokens.' }])
    const wordless = read([frameOf({ ':message-type': 'exception', ':exception-type': type }, '')])
    expect(wordless).toEqual([{ type: 'error', message: `the upstream reported ${type}` }])
  })

  test('an error that the service did not model', () => {
    const headers = { ':message-type': 'error', ':error-code': 'InternalError', ':error-message': 'Went away.' }
    expect(read([frameOf(headers, '')])).toEqual([{ type: 'error', message: 'Went away.' }])
  })

  const event0 = { ':message-type': 'event', ':event-type': 'contentBlockDelta' }
  const broken: [string, Buffer][] = [
    ['a payload that is no JSON', frameOf(event0, 'hello')],
    ['a payload that is no object', frameOf(event0, '[]')],
    ['a delta without a delta', frameOf(event0, '{}')],
    ['a call without a name', startOf(0, { toolUseId: 't' })],
    ['a call without an id', startOf(0, { name: 'f', toolUseId: 7 })],
    ['no type of message', frameOf({ ':event-type': 'messageStart' }, '{}')],
    ['server-sent events', Buffer.from('data: {"text":"hello"}\n\n')],
    ['arguments of a call that nobody announced', delta(1, { toolUse: { input: '{' } })],
    [
      'arguments of a call that was over',
      Buffer.concat([startOf(0, { toolUseId: 't', name: 'f' }), stopOf(0), delta(0, { toolUse: { input: '{' } })]),
    ],
    [
      'arguments of a call that another block interrupted',
      Buffer.concat([
        ...[startOf(0, { toolUseId: 't', name: 'f' }), delta(0, { toolUse: { input: '{' } }), delta(1, { text: 'a' })],
        delta(0, { toolUse: { input: '}' } }),
      ]),
    ],
  ]
  test.each(broken)('%s is malformed', (_name, bytes) => {
    const events = read([begin, bytes, delta(0, { text: 'late' })])
    expect(events.at(-1)).toEqual({ type: 'malformed' })
    expect(events.filter(({ type }) => type === 'malformed')).toHaveLength(1)
    expect(events).not.toContainEqual(text('late'))
  })

  test('a message announced above the bound is malformed at once, whatever follows', () => {
    const large = frameOf(event0, JSON.stringify({ delta: { text: 'a'.repeat(4 * 1024 * 1024) } }))
    expect(readOpen(large.subarray(0, 12))).toEqual([{ type: 'malformed' }])
    const fitting = frameOf(event0, JSON.stringify({ delta: { text: 'a'.repeat(4 * 1024 * 1024 - 200) } }))
    expect(read([fitting])[0]?.type).toBe('text')
  })

  test('a header that claims to be longer than its message reads nothing beyond it', () => {
    const frame = frameOf({ ':message-type': 'exception', ':exception-type': 'x' }, '')
    // The last header's value, one byte long, said to be 4,096 bytes long: with checksums that fit.
    frame.writeUInt16BE(4_096, frame.length - 7)
    frame.writeUInt32BE(crc32(frame.subarray(0, frame.length - 4)), frame.length - 4)
    expect(readOpen(Buffer.concat([frame, Buffer.alloc(8_192, 'secret')]))).toEqual([{ type: 'malformed' }])
  })
})

describe('what is passed over', () => {
  test('events, headers and members that came later, and blocks that are not the client’s', () => {
    const server = { toolUseId: 's', name: 'web', type: 'server_tool_use' }
    const events = read([
      begin,
      event('somethingNew', { a: 1 }),
      ...[startOf(0, server), delta(0, { toolUse: { input: '{"q":1}' } }), stopOf(0)],
      ...[delta(1, { citation: { title: 't' } }), delta(1, { text: '' }), delta(1, { text: 'a' }), stopOf(1)],
      ...[ended, told],
    ])
    expect(events).toEqual([start, text('a'), ...tail])
  })
})

describe('a call of a tool', () => {
  test('without arguments has those of an empty object, however its end is told', () => {
    const call: ChatEvent[] = [
      { type: 'tool_call', id: 't', name: 'f' },
      { type: 'tool_arguments', text: '{}' },
    ]
    const announced = startOf(0, { toolUseId: 't', name: 'f' })
    for (const next of [stopOf(0), delta(1, { text: 'a' }), ended, startOf(1, { toolUseId: 'u', name: 'g' })]) {
      expect(read([begin, announced, next]).slice(1, 3)).toEqual(call)
    }
  })

  test('of our own for JSON is the text of the answer, and no call', () => {
    const pieces = [startOf(0, { toolUseId: 't', name: 'json_answer' }), delta(0, { toolUse: { input: '{"a"' } })]
    const rest = [
      delta(0, { toolUse: { input: ':1}' } }),
      stopOf(0),
      event('messageStop', { stopReason: 'tool_use' }),
      told,
    ]
    expect(read([begin, ...pieces, ...rest], json)).toEqual([start, text('{"a"'), text(':1}'), ...tail])
    expect(read([begin, ...pieces, ...rest])[1]).toEqual({ type: 'tool_call', id: 't', name: 'json_answer' })
  })

  test('thoughts that are encrypted', () => {
    const events = read([begin, delta(0, { reasoningContent: { redactedContent: 'AAAA' } }), stopOf(0), ended, told])
    expect(events[1]).toEqual({ type: 'reasoning_redacted', data: 'AAAA' })
  })
})
