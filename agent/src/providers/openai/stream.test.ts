import { describe, expect, test } from 'vitest'
import type { StreamReaderOptions } from '../provider-dialect.js'
import { ChatStreamReader } from './stream.js'

interface Read {
  sent: string
  reader: ChatStreamReader
}

function read(pieces: readonly Buffer[], options: Partial<StreamReaderOptions> = {}): Read {
  const reader = new ChatStreamReader({ depth: 'final', wantsUsage: false, wantsContinuousUsage: false, ...options })
  let sent = ''
  for (const piece of pieces) sent += reader.push(Buffer.from(piece))?.toString() ?? ''
  sent += reader.end()?.toString() ?? ''
  return { sent, reader }
}

const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`
const head = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm-1' }
const chunk = (delta: unknown, extra = {}, finish: string | null = null) =>
  event({ ...head, choices: [{ index: 0, delta, finish_reason: finish }], ...extra })
const tokens = (output: number) => ({ prompt_tokens: 7, completion_tokens: output, total_tokens: 7 + output })
const usage = (output: number) => event({ ...head, choices: [], usage: tokens(output) })
const done = 'data: [DONE]\n\n'

const said = [{ role: 'assistant', content: '' }, { content: 'a "usage":{"x":1} b' }, { content: 'é\\' }]
const plain = said.map((delta) => chunk(delta)).join('') + chunk({}, {}, 'stop')
const running =
  said.map((delta, index) => chunk(delta, { usage: tokens(index) })).join('') + chunk({}, { usage: tokens(2) }, 'stop')

describe('a streamed chat completion', () => {
  const cases: [string, string, Partial<StreamReaderOptions>, string, number][] = [
    ['usage withheld from a client that did not ask', plain + usage(2), {}, plain, 2],
    ['usage kept for a client that asked', plain + usage(2), { wantsUsage: true }, plain + usage(2), 2],
    ['running totals cut out', running + usage(3), { depth: 'continuous' }, plain, 3],
    [
      'running totals cut out, the usage kept for a client that asked',
      running + usage(3),
      { depth: 'continuous', wantsUsage: true },
      plain + usage(3),
      3,
    ],
    [
      'running totals for a client that asked',
      running + usage(3),
      { depth: 'continuous', wantsUsage: true, wantsContinuousUsage: true },
      running + usage(3),
      3,
    ],
    [
      'usage with the last choice, from a server that sends no chunk of its own',
      chunk({ content: 'x' }) + chunk({}, { usage: tokens(1) }, 'stop'),
      {},
      chunk({ content: 'x' }) + chunk({}, { usage: tokens(1) }, 'stop'),
      1,
    ],
  ]
  test.each(cases)('%s, cut at every byte', (_name, text, options, expected, output) => {
    const bytes = Buffer.from(text + done)
    for (let at = 0; at <= bytes.length; at++) {
      const { sent, reader } = read([bytes.subarray(0, at), bytes.subarray(at)], options)
      expect(sent).toBe(expected)
      expect(reader.tail?.toString()).toBe(done)
      expect(reader).toMatchObject({ done: true, finished: true, malformed: false, error: null, model: 'm-1' })
      expect(reader.usage).toEqual({
        input: 7,
        output,
        cachedInput: null,
        cacheWriteInput: null,
        reasoningOutput: null,
      })
      expect(reader.deliveredText()).toBe('')
    }
    expect(
      read(
        [...bytes].map((byte) => Buffer.from([byte])),
        options,
      ).sent,
    ).toBe(expected)
  })

  test('a client that asked for its usage gets it from a server that only keeps a running total', () => {
    const { sent, reader } = read([Buffer.from(running + done)], { depth: 'continuous', wantsUsage: true })
    expect(sent).toBe(plain)
    expect(reader.tail?.toString()).toBe(usage(2) + done)
  })

  test('many events like one another, in every grouping, and one that is only nearly like them', () => {
    const texts = ['a', ' b', '\\"', 'é🦊', '', 'x'.repeat(300)]
    const odd = chunk({ content: 'odd' }, { extra: 1 })
    const events = [...texts.map((content) => chunk({ content })), odd, ...texts.map((content) => chunk({ content }))]
    const whole = Buffer.from(events.join(''))
    const said = `${texts.join('')}odd${texts.join('')}`
    for (let size = 1; size < whole.length; size += 7) {
      const pieces = []
      for (let at = 0; at < whole.length; at += size) pieces.push(whole.subarray(at, at + size))
      const { sent, reader } = read(pieces)
      expect(sent).toBe(whole.toString())
      expect(reader.deliveredText()).toBe(said)
    }
    expect(read(events.map((text) => Buffer.from(text))).reader.deliveredText()).toBe(said)
  })

  test('an event that begins and ends like the ones before and hides another one in its text is read as what it is', () => {
    const like = chunk({ content: 'X' })
    const hidden = `a"},"finish_reason":null}]}\n\ndata: {"error":{"message":"no"}}\n\n`
    const { sent, reader } = read([Buffer.from(like), Buffer.from(like.replace('X', hidden))])
    expect(sent.startsWith(like)).toBe(true)
    expect(reader.error).toBe('no')
  })

  test('OpenAI’s random padding hides no text, wherever the chunks are cut', () => {
    const padded = ['a', ' b', 'é"', ''].map((content, index) =>
      chunk({ content }, { usage: null, obfuscation: 'x7Qz'.repeat(index + 1) }),
    )
    const whole = Buffer.from(padded.join('') + usage(4))
    for (let at = 0; at <= whole.length; at++) {
      const { sent, reader } = read([whole.subarray(0, at), whole.subarray(at)])
      expect(sent).toBe(padded.join(''))
      expect(reader.usage?.output).toBe(4)
    }
    expect(read(padded.map((text) => Buffer.from(text))).reader.deliveredText()).toBe('a bé"')
  })

  test('a finish reason that is empty finishes nothing', () => {
    expect(read([Buffer.from(chunk({ content: 'a' }, {}, ''))]).reader.finished).toBe(false)
  })

  test.each([
    ['OpenAI’s, spaced', 'data: { "error": {"message": "no"}}\n\n'],
    ['with choices', 'data: {"error":{"message":"no"},"choices":[]}\n\n'],
    ['vLLM’s', 'data: {"object":"error","message":"no","code":400}\n\n'],
  ])('an error of a kind of its own ends the stream: %s', (_name, error) => {
    const { sent, reader } = read([Buffer.from(chunk({ content: 'x' }) + error + done)])
    expect(sent).toBe(chunk({ content: 'x' }))
    expect([reader.error, reader.done]).toEqual(['no', false])
  })

  test.each([
    ['a function call', { content: '', function_call: { arguments: '{"a":1}' } }, '{"a":1}'],
    ['a refusal beside an empty content', { content: '', refusal: 'never' }, 'never'],
  ])('%s is said', (_name, delta, said) => {
    const spaced = event({ ...head, choices: [{ index: 0, delta }] }).replace('"refusal":', '"refusal": ')
    expect(read([Buffer.from(spaced)]).reader.deliveredText()).toBe(said)
  })

  const odd: [string, string, string][] = [
    ['no choices', event({ ...head, usage: tokens(5) }), ''],
    ['null for choices', event({ ...head, choices: null, usage: tokens(5) }), ''],
    [
      'a total in front of a text that is its name',
      event({ usage: tokens(5), choices: [{ delta: { content: 'usage' } }] }),
      event({ choices: [{ delta: { content: 'usage' } }] }),
    ],
    [
      'another one inside a later member',
      event({ choices: [{ delta: { content: 'x' } }], usage: tokens(5), x: { usage: tokens(9) } }),
      event({ choices: [{ delta: { content: 'x' } }], x: { usage: tokens(9) } }),
    ],
    [
      'several data lines',
      `data: {"choices":[{"delta":{"content":"x"}}],\ndata: "usage":${JSON.stringify(tokens(5))}}\n\n`,
      event({ choices: [{ delta: { content: 'x' } }] }),
    ],
  ]
  test.each(odd)('the chunk’s own usage is taken and withheld with %s', (_name, text, expected) => {
    const { sent, reader } = read([Buffer.from(chunk({}) + text)], { depth: 'continuous' })
    expect(sent).toBe(chunk({}) + expected)
    expect(reader.usage?.output).toBe(5)
  })

  test('half an event at the end is not passed on as a whole one', () => {
    const half = 'data: {"choices":[{"delta":{"content":"x"}}'
    const { sent, reader } = read([Buffer.from(chunk({ content: 'a' }) + half)])
    expect(sent).toBe(chunk({ content: 'a' }))
    expect(reader.malformed).toBe(true)
  })

  const shapes: [string, string][] = [
    [
      'with spaces, as Python writes',
      '{"choices": [{"delta": {"content": "x"}, "index": 0}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}',
    ],
    ['in front', '{"usage":{"prompt_tokens":1,"completion_tokens":2},"choices":[{"delta":{"content":"x"},"index":0}]}'],
    [
      'in front, spaced',
      '{ "usage" : {"prompt_tokens":1,"completion_tokens":2} , "choices":[{"delta":{"content":"x"},"index":0}]}',
    ],
    [
      'in the middle',
      '{"id":"c","usage":{"prompt_tokens":1,"completion_tokens":2,"d":{"x":[1,{"y":"}"}]}},"choices":[{"delta":{"content":"x"},"index":0}]}',
    ],
    [
      'alone before the end',
      '{"choices":[{"delta":{"content":"x"},"index":0}],"usage":{"prompt_tokens":1,"completion_tokens":2} }',
    ],
  ]
  test.each(shapes)('a running total %s is cut and the rest stays JSON', (_name, text) => {
    const { sent, reader } = read([Buffer.from(`${chunk({})}data: ${text}\n\n`)], { depth: 'continuous' })
    const last = sent.split('\n\n').at(-2) ?? ''
    const { usage: _told, ...rest } = JSON.parse(text) as Record<string, unknown>
    expect(JSON.parse(last.slice(6))).toEqual(rest)
    expect(reader.usage).toMatchObject({ input: 1, output: 2 })
  })

  test('a member of the same name elsewhere is not usage', () => {
    const text = chunk({ content: 'x', usage: { prompt_tokens: 99, completion_tokens: 99 } })
    const { sent, reader } = read([Buffer.from(text)], { depth: 'continuous' })
    expect(sent).toBe(text)
    expect(reader.usage).toBeNull()
  })

  test('what was said without usage is kept for counting, and forgotten once usage is told', () => {
    const reader = read([Buffer.from(plain)]).reader
    expect(reader.deliveredText()).toBe('a "usage":{"x":1} bé\\')
    expect(read([Buffer.from(plain + usage(1) + chunk({ content: 'more 🦊' }))]).reader.deliveredText()).toBe('more 🦊')
  })

  test('tool calls, reasoning and several choices count as said', () => {
    const text =
      event({
        ...head,
        choices: [
          {
            index: 0,
            delta: {
              tool_calls: [{ index: 0, id: 'x', type: 'function', function: { name: 'f', arguments: '{"a":' } }],
            },
          },
        ],
      }) +
      event({ ...head, choices: [{ index: 0, delta: { reasoning_content: 'hmé' } }] }) +
      event({
        ...head,
        choices: [
          { index: 0, delta: { content: 'A' } },
          { index: 1, delta: { content: 'B' } },
        ],
      })
    expect(read([Buffer.from(text)]).reader.deliveredText()).toBe('f{"a":hméAB')
  })

  test('escapes count as what they stand for, in every way a chunk is read', () => {
    const text =
      chunk({ content: 'a' }) +
      chunk({ content: 'X' }).replace('X', '\\u00e9\\"\\ud83e\\udd8a') +
      chunk({ reasoning: 'Y' }).replace('Y', '\\u6f22')
    expect(read([Buffer.from(text)]).reader.deliveredText()).toBe('aé"🦊漢')
  })

  test('an error event ends it without passing it on', () => {
    const { sent, reader } = read([
      Buffer.from(`${chunk({ content: 'x' })}data: {"error":{"message":"no é"}}\n\n${chunk({ content: 'y' })}`),
    ])
    expect(sent).toBe(chunk({ content: 'x' }))
    expect(reader.error).toBe('no é')
  })

  test.each([
    ['half a chunk', 'data: {"choices":[\n\n'],
    ['no JSON', 'data: hello\n\n'],
    ['an array', 'data: []\n\n'],
  ])('%s is malformed and not passed on', (_name, text) => {
    const { sent, reader } = read([Buffer.from(chunk({ content: 'x' }) + text)])
    expect(sent).toBe(chunk({ content: 'x' }))
    expect(reader.malformed).toBe(true)
  })

  test('comments pass, and are no start', () => {
    const { sent, reader } = read([Buffer.from(': ping\n\n')])
    expect(sent).toBe(': ping\n\n')
    expect(reader.started).toBe(false)
  })

  test('a terminal event without its empty line still ends the stream', () => {
    const { sent, reader } = read([Buffer.from(`${plain}data: [DONE]`)])
    expect(sent).toBe(plain)
    expect(reader.done).toBe(true)
  })

  test('Ollama’s counts', () => {
    const { reader } = read([Buffer.from(event({ model: 'llama3', done: true, prompt_eval_count: 3, eval_count: 4 }))])
    expect(reader.usage).toEqual({
      input: 3,
      output: 4,
      cachedInput: null,
      cacheWriteInput: null,
      reasoningOutput: null,
    })
  })
})
