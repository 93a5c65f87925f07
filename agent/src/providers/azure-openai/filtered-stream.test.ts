import { describe, expect, test } from 'vitest'
import type { ChatEvent } from '../../conversation/chat-event.js'
import { OpenaiEventReader } from '../openai/read-events.js'
import { ChatStreamReader } from '../openai/stream.js'
import type { StreamReaderOptions } from '../provider-dialect.js'

/**
 * OpenAI's readers on what Azure sends: a first chunk about the prompt, which names neither answer nor model, results of the
 * content filter in each choice, and, where the filter runs beside the model, chunks of results only.
 */
const mild = { filtered: false, severity: 'safe' }
const safe = { hate: mild, self_harm: mild, sexual: mild, violence: mild }
const nameless = { created: 0, id: '', model: '', object: '' }
const named = { created: 1, id: 'chatcmpl-1', model: 'gpt-4o-2024-11-20', object: 'chat.completion.chunk' }
const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`
const chunk = (delta: object, finish: string | null = null, results: object = safe) =>
  event({
    choices: [{ content_filter_results: results, delta, finish_reason: finish, index: 0, logprobs: null }],
    ...{ ...named, system_fingerprint: 'fp_1', usage: null },
  })
const prompt = event({
  ...{ choices: [], ...nameless },
  ...{ prompt_filter_results: [{ prompt_index: 0, content_filter_results: safe }], usage: null },
})
const annotation = (finish: string | null) =>
  event({
    choices: [
      {
        content_filter_offsets: { check_offset: 44, end_offset: 198, start_offset: 44 },
        ...{ content_filter_results: safe, finish_reason: finish, index: 0 },
      },
    ],
    ...{ ...nameless, usage: null },
  })
const usage = event({
  ...{ choices: [], ...named, system_fingerprint: 'fp_1' },
  usage: { completion_tokens: 5, prompt_tokens: 7, prompt_tokens_details: { cached_tokens: 3 }, total_tokens: 12 },
})
const done = 'data: [DONE]\n\n'
const begin = chunk({ content: '', refusal: null, role: 'assistant' }, null, {})
const said = ['Grü', 'ezi, ', '"content_filter"', ' 🦊'].map((content) => chunk({ content })).join('')
const end = chunk({}, 'stop', {})
const text = 'Grüezi, "content_filter" 🦊'

/** What the client is sent before the terminal event, with the stream cut in two at `at`. */
function pass(bytes: Buffer, at: number, options: Partial<StreamReaderOptions> = {}) {
  const reader = new ChatStreamReader({ depth: 'final', wantsUsage: false, wantsContinuousUsage: false, ...options })
  const pieces = [bytes.subarray(0, at), bytes.subarray(at)]
  let sent = ''
  for (const piece of pieces) sent += reader.push(Buffer.from(piece))?.toString('latin1') ?? ''
  sent += reader.end()?.toString('latin1') ?? ''
  return { sent: Buffer.from(sent, 'latin1').toString(), reader }
}

describe('a stream with results of the content filter, passed on', () => {
  const cases: [string, string, Partial<StreamReaderOptions>, string][] = [
    ['without the usage that nobody asked for', prompt + begin + said + end, {}, ''],
    ['with the usage that the client asked for', prompt + begin + said + end, { wantsUsage: true }, usage],
    ['with chunks of results only', prompt + begin + said + annotation(null) + end + annotation(null), {}, ''],
    ['ended by the filter beside the model', prompt + begin + said + annotation('content_filter'), {}, ''],
  ]
  test.each(cases)('byte for byte, %s, cut at every byte', (_name, stream, options, told) => {
    const bytes = Buffer.from(stream + usage + done)
    for (let at = 0; at <= bytes.length; at++) {
      const { sent, reader } = pass(bytes, at, options)
      expect(sent).toBe(stream + told)
      expect(reader.tail?.toString()).toBe(done)
      expect(reader).toMatchObject({ done: true, finished: true, malformed: false, error: null })
      expect(reader.usage).toMatchObject({ input: 7, output: 5, cachedInput: 3 })
      expect(reader.deliveredText()).toBe('')
    }
  })

  test('keeps what the model said for counting, and nothing of what the filter said', () => {
    const { reader } = pass(Buffer.from(prompt + begin + said + annotation(null) + end), 0)
    expect(reader.usage).toBeNull()
    expect(reader.deliveredText()).toBe(text)
  })

  test('knows the model, which the first chunk does not name', () => {
    expect(pass(Buffer.from(prompt + begin + said + end + usage + done), 0).reader.model).toBe(named.model)
  })

  test('has not begun with the first chunk, which the model has no part in', () => {
    const reader = new ChatStreamReader({ depth: 'final', wantsUsage: false, wantsContinuousUsage: false })
    expect(reader.push(Buffer.from(prompt))?.toString()).toBe(prompt)
    expect(reader.started).toBe(false)
    reader.push(Buffer.from(begin))
    expect(reader.started).toBe(true)
  })
})

function eventsOf(bytes: Buffer, at: number): ChatEvent[] {
  const events: ChatEvent[] = []
  const reader = new OpenaiEventReader()
  for (const piece of [bytes.subarray(0, at), bytes.subarray(at)]) {
    reader.push(Buffer.from(piece), (one) => events.push(one))
  }
  reader.end((one) => events.push(one))
  return events
}

describe('a stream with results of the content filter, read as events', () => {
  test('is the same events wherever it is cut', () => {
    const bytes = Buffer.from(prompt + begin + said + annotation(null) + end + annotation(null) + usage + done)
    const expected = eventsOf(bytes, 0)
    expect(expected.map(({ type }) => type)).toEqual([
      ...['start', 'text', 'text', 'text', 'text', 'finish', 'usage', 'done'],
    ])
    expect(expected.flatMap((one) => (one.type === 'text' ? [one.text] : [])).join('')).toBe(text)
    for (let at = 0; at <= bytes.length; at++) expect(eventsOf(bytes, at)).toEqual(expected)
  })

  test('says that the filter ended it', () => {
    const events = eventsOf(Buffer.from(prompt + begin + said + annotation('content_filter') + done), 0)
    expect(events.at(-2)).toEqual({ type: 'finish', finish: { reason: 'content_filter', stopSequence: null } })
  })

  test('starts with the names of the first chunk that has names', () => {
    const [start] = eventsOf(Buffer.from(prompt + begin + said + end + done), 0)
    expect(start).toEqual({ type: 'start', id: named.id, model: named.model })
  })
})
