import { describe, expect, test } from 'vitest'
import { ResponseStreamReader } from './response-stream.js'

interface Read {
  readonly sent: string
  readonly reader: ResponseStreamReader
}

/** What leaves, with the terminal event that waits for the record. */
function read(pieces: readonly Buffer[]): Read {
  const reader = new ResponseStreamReader()
  let sent = ''
  for (const piece of pieces) {
    // What the network reads into is used again: a view of it must have been copied.
    const network = Buffer.from(piece)
    sent += reader.push(network)?.toString() ?? ''
    network.fill(0x21)
  }
  sent += reader.end()?.toString() ?? ''
  return { sent: sent + (reader.tail?.toString() ?? ''), reader }
}

const event = (type: string, rest: object) =>
  `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: 1, ...rest })}\n\n`
const response = (rest: object) => ({ id: 'resp_1', object: 'response', model: 'gpt-5-2026-08-01', ...rest })
const usage = {
  input_tokens: 40,
  input_tokens_details: { cached_tokens: 30, cache_write_tokens: 4 },
  output_tokens: 9,
  output_tokens_details: { reasoning_tokens: 5 },
  total_tokens: 49,
}
const created = event('response.created', { response: response({ status: 'in_progress', output: [] }) })
const inProgress = event('response.in_progress', { response: response({ status: 'in_progress', output: [] }) })
const opened = event('response.output_item.added', { output_index: 0, item: { id: 'msg_1', type: 'message' } })
const partOpened = event('response.content_part.added', { item_id: 'msg_1', part: { type: 'output_text', text: '' } })
const delta = (text: string) => event('response.output_text.delta', { item_id: 'msg_1', delta: text })
const end = (type: 'completed' | 'incomplete', rest: object = { usage }) =>
  event(`response.${type}`, { response: response({ status: type, ...rest }) })
const head = created + inProgress + opened + partOpened

const streams: [string, string][] = [
  ['a text', `${head}${delta('Grü')}${delta('ezi 🦊')}${end('completed')}`],
  ['carriage returns', `${head}${delta('a')}${end('completed')}`.replaceAll('\n', '\r\n')],
  ['comments and what nobody knows', `: hi\n\n${head}${event('response.new_thing', { x: '\n' })}${end('incomplete')}`],
  [
    'a call of a tool',
    `${created}${event('response.output_item.added', { item: { type: 'function_call', name: 'look_up' } })}${event('response.function_call_arguments.delta', { delta: '{"a":' })}${event('response.function_call_arguments.delta', { delta: '1}' })}${end('completed')}`,
  ],
  ['an answer without anything said', `${created}${end('completed')}`],
]

describe('a stream of responses', () => {
  test.each(streams)('goes on byte for byte, cut at every byte: %s', (_name, text) => {
    const bytes = Buffer.from(text)
    const whole = read([bytes])
    expect(whole.sent).toBe(text)
    expect(whole.reader).toMatchObject({ started: true, done: true, finished: true, malformed: false, error: null })
    expect(whole.reader.usage).toEqual({
      ...{ input: 40, output: 9, cachedInput: 30, cacheWriteInput: 4, reasoningOutput: 5 },
    })
    expect(whole.reader.model).toBe('gpt-5-2026-08-01')
    expect(whole.reader.deliveredText()).toBe('')
    for (let at = 0; at <= bytes.length; at++) {
      const cut = read([bytes.subarray(0, at), bytes.subarray(at)])
      expect(cut.sent).toBe(text)
      expect(cut.reader.usage).toEqual(whole.reader.usage)
    }
    expect(read([...bytes].map((byte) => Buffer.from([byte]))).sent).toBe(text)
  })

  test('holds what repeats the request until something is said, so that another target can still be asked', () => {
    const reader = new ResponseStreamReader()
    expect(reader.push(Buffer.from(head))).toBeNull()
    expect(reader.started).toBe(false)
    expect(reader.push(Buffer.from(delta('a')))?.toString()).toBe(head + delta('a'))
    expect(reader.started).toBe(true)
    expect(reader.push(Buffer.from(delta('b')))?.toString()).toBe(delta('b'))
  })

  test.each([
    ['response.function_call_arguments.delta', { delta: '{' }],
    ['response.reasoning_summary_text.delta', { delta: 'hm' }],
    ['response.output_item.done', { item: { type: 'reasoning', encrypted_content: 'x' } }],
    ['response.web_search_call.in_progress', { item_id: 'ws_1' }],
  ])('has begun with %s', (type, rest) => {
    const { reader } = read([Buffer.from(created + event(type, rest))])
    expect(reader.started).toBe(true)
  })

  test('keeps the terminal event for after the record', () => {
    const reader = new ResponseStreamReader()
    const sent = reader.push(Buffer.from(head + delta('a') + end('completed')))
    expect(sent?.toString()).toBe(head + delta('a'))
    expect(reader.tail?.toString()).toBe(end('completed'))
  })

  test('counts what was said while nobody has told', () => {
    const said = [
      event('response.output_item.added', { item: { type: 'function_call', name: 'look_up' } }),
      event('response.function_call_arguments.delta', { delta: '{"a":1}' }),
      event('response.reasoning_text.delta', { delta: 'hm ' }),
      event('response.refusal.delta', { delta: 'no ' }),
      event('response.audio.delta', { delta: 'AAAA' }),
      delta('Grüezi'),
    ]
    const { reader } = read([Buffer.from(created + said.join(''))])
    expect(reader.usage).toBeNull()
    expect(reader.deliveredText()).toBe('look_up{"a":1}hm no Grüezi')
    const untold = read([Buffer.from(head + delta('a') + end('completed', { usage: null }))])
    expect(untold.reader).toMatchObject({ done: true, usage: null })
    expect(untold.reader.deliveredText()).toBe('a')
  })

  test.each([
    ['flat, as documented', { code: 'server_error', message: 'sorry', param: null }],
    ['nested, as sent', { error: { type: 'server_error', code: null, message: 'sorry', param: null } }],
  ])('that tells of an error (%s) is answered by the caller', (_name, rest) => {
    const { sent, reader } = read([Buffer.from(head + delta('a') + event('error', rest) + delta('b'))])
    expect(sent).toBe(head + delta('a'))
    expect(reader).toMatchObject({ error: 'sorry', done: false, tail: null })
  })

  test('that fails tells why, and what it has cost', () => {
    const failed = event('response.failed', {
      response: response({ status: 'failed', error: { code: 'server_error', message: 'sorry' }, usage }),
    })
    const { sent, reader } = read([Buffer.from(head + failed)])
    // Nothing was said, so nothing was sent: the next target may be asked.
    expect(sent).toBe('')
    expect(reader).toMatchObject({ error: 'sorry', started: false, done: false })
    expect(reader.usage?.output).toBe(9)
  })

  test.each([
    ['no JSON', 'data: {"type":"resp\n\n'],
    ['no type', 'data: {"a":1}\n\n'],
    ['an end without a response', 'data: {"type":"response.completed"}\n\n'],
  ])('that is no such stream is malformed: %s', (_name, text) => {
    const { sent, reader } = read([Buffer.from(head + delta('a') + text)])
    expect(sent).toBe(head + delta('a'))
    expect(reader.malformed).toBe(true)
  })

  test('that is cut has no end', () => {
    const { sent, reader } = read([Buffer.from(`${head}${delta('a')}data: {"type":"response.output_te`)])
    expect(sent).toBe(head + delta('a'))
    expect(reader).toMatchObject({ done: false, finished: false })
  })

  test('whose last event lacks its empty line still counts', () => {
    const text = (head + delta('a') + end('completed')).trimEnd()
    const { reader } = read([Buffer.from(text)])
    expect(reader.done).toBe(true)
    expect(reader.usage?.input).toBe(40)
  })
})
