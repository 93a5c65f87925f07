import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../../proto/std/refusal.js'
import type { AnswerPart, Finish, TokenLogprob } from '../../conversation/chat-answer.js'
import type { ChatEvent } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { OpenaiEventReader } from '../../providers/openai/read-events.js'
import { ChatStreamReader } from '../../providers/openai/stream.js'
import { TranslatedStream } from '../../providers/translated-stream.js'
import type { AnswerContext } from '../../request/ports.js'
import { statusOf } from '../../request/request-refusal.js'
import { completionsDoor } from './door.js'
import { readCompletionConversation } from './read-conversation.js'
import { writeCompletionAnswer } from './write-answer.js'
import { CompletionChunkWriter } from './write-stream.js'

function parsed(fields: object) {
  return completionsDoor.parse(Buffer.from(JSON.stringify({ model: 'm', prompt: 'Once', ...fields })))
}

function read(fields: object): Conversation {
  const body = parsed(fields)
  if (isRefusal(body)) throw new Error(body.message)
  const conversation = readCompletionConversation(body)
  if (isRefusal(conversation)) throw new Error(conversation.message)
  return conversation
}

function contextOf(wantsUsage = false): AnswerContext {
  const body = parsed({})
  if (isRefusal(body)) throw new Error(body.message)
  return { requestId: 'req_7', createdAtSeconds: 1, model: 'upstream-model', wantsUsage, body }
}

const logprobs: readonly TokenLogprob[] = [
  { token: 'ab', logprob: -0.1, bytes: [97, 98], top: [{ token: 'x', logprob: -2, bytes: null }] },
  { token: 'c', logprob: -0.2, bytes: null, top: [] },
]
const finish = (reason: Finish['reason']): Finish => ({ reason, stopSequence: null })
const usage = { input: 3, output: 2, cachedInput: null, cacheWriteInput: null, reasoningOutput: null }

describe('a completion request as a conversation', () => {
  test.each([['Once'], [['Once']]])('has one turn of a user: %j', (prompt) => {
    const { turns, settings, losses } = read({ prompt })
    expect(turns).toEqual([{ role: 'user', at: 'prompt', parts: [{ type: 'text', at: 'prompt', text: 'Once' }] }])
    // What OpenAI and vLLM give to who says nothing.
    expect(settings.outputTokensMax).toBe(16)
    expect(losses).toEqual([])
  })

  test('has its settings', () => {
    const { settings, user, stream } = read({
      ...{ max_tokens: 50, temperature: 0.5, top_p: 0.9, stop: 'x', seed: 4, frequency_penalty: 1 },
      ...{ presence_penalty: -1, logprobs: 3, user: 'u', stream: true, n: 1, best_of: 1, echo: false },
    })
    expect(settings).toEqual({
      ...{ outputTokensMax: 50, temperature: 0.5, topP: 0.9, topK: null, stop: ['x'], seed: 4 },
      ...{ frequencyPenalty: 1, presencePenalty: -1, logprobs: 3 },
    })
    expect([user, stream]).toEqual(['u', true])
  })

  test.each([
    [{ prompt: ['a', 'b'] }, 'content prompt'],
    [{ prompt: [1, 2, 3] }, 'content prompt'],
    [{ prompt: [[1, 2], [3]] }, 'content prompt'],
    [{ suffix: '.' }, 'content suffix'],
    [{ echo: true }, 'content echo'],
    [{ n: 2 }, 'content n'],
    [{ best_of: 2 }, 'content best_of'],
    [{ logit_bias: { '50256': -100 } }, 'setting logit_bias'],
    [{ min_p: 0.1 }, 'setting min_p'],
  ])('%j has no other form', (fields, loss) => {
    expect(read(fields).losses.map(({ weight, field }) => `${weight} ${field}`)).toEqual([loss])
  })

  test.each([
    [{ prompt: null }, 'prompt'],
    [{ prompt: 7 }, 'prompt'],
    [{ prompt: [] }, 'prompt'],
    [{ prompt: [null] }, 'prompt[0]'],
    [{ prompt: ['a', ['b']] }, 'prompt[1]'],
    [{ prompt: '' }, 'prompt'],
    [{ stream: 'yes' }, 'stream'],
    [{ stream_options: [] }, 'stream_options'],
    [{ logprobs: true }, 'logprobs'],
    [{ max_tokens: 0 }, 'max_tokens'],
    [{ n: 0 }, 'n'],
  ])('%j is refused by name', (fields, field) => {
    const body = parsed(fields)
    const outcome = isRefusal(body) ? body : readCompletionConversation(body)
    if (!isRefusal(outcome)) throw new Error('it was taken')
    expect([outcome.field, statusOf(outcome.code)]).toEqual([field, 400])
  })
})

describe('an answer as a completion', () => {
  const answer = (parts: readonly AnswerPart[], reason: Finish['reason'] = 'stop') =>
    writeCompletionAnswer({ id: 'c-1', model: 'm-1', parts, finish: finish(reason), usage }, contextOf())

  test('has its text and the lists of its log probabilities', () => {
    const text = answer([
      { type: 'reasoning', text: 'hm', signature: null, redacted: null },
      { type: 'text', text: 'abc', logprobs },
    ])
    expect(JSON.parse(text ?? '')).toEqual({
      ...{ id: 'c-1', object: 'text_completion', created: 1, model: 'm-1' },
      choices: [
        {
          ...{ text: 'abc', index: 0, finish_reason: 'stop' },
          logprobs: {
            ...{ tokens: ['ab', 'c'], token_logprobs: [-0.1, -0.2], text_offset: [0, 2] },
            top_logprobs: [{ x: -2 }, {}],
          },
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    })
  })

  test.each([
    ['stop_sequence', 'stop'],
    ['length', 'length'],
    ['content_filter', 'content_filter'],
    ['refusal', 'content_filter'],
  ] as const)('that ended by %s ended by %s', (reason, expected) => {
    expect(JSON.parse(answer([], reason) ?? '')).toMatchObject({ choices: [{ text: '', finish_reason: expected }] })
  })

  test('has no place for a call', () => {
    expect(answer([{ type: 'tool_call', id: 'c', name: 'n', argumentsText: '{}' }])).toBeNull()
  })
})

describe('a stream of completions', () => {
  const events: ChatEvent[] = [
    { type: 'start', id: 'c-1', model: 'm-1' },
    { type: 'reasoning', text: 'hm' },
    { type: 'text', text: 'ab', logprobs: logprobs.slice(0, 1) },
    { type: 'text', text: 'c', logprobs: logprobs.slice(1) },
    { type: 'finish', finish: finish('length') },
  ]

  test.each([true, false])('tells its usage to who asked (%s)', (wantsUsage) => {
    const writer = new CompletionChunkWriter(contextOf(wantsUsage))
    const text = events.map((event) => writer.write(event)).join('') + writer.end(usage)
    const data = text.split('\n\n').filter((event) => event !== '')
    expect(data.at(-1)).toBe('data: [DONE]')
    const chunks = data.slice(0, -1).map((event) => JSON.parse(event.slice('data: '.length)) as { choices: object[] })
    const choice = (said: string, offset: number | null, reason: string | null) => ({
      ...{ text: said, index: 0, finish_reason: reason },
      logprobs: offset === null ? null : expect.objectContaining({ text_offset: [offset] }),
    })
    const told = chunks.slice(0, 3).flatMap(({ choices }) => choices)
    expect(told).toEqual([choice('ab', 0, null), choice('c', 2, null), choice('', null, 'length')])
    expect(chunks[0]).toMatchObject({ id: 'c-1', object: 'text_completion', created: 1, model: 'm-1' })
    expect(chunks.slice(3)).toEqual(
      wantsUsage ? [expect.objectContaining({ choices: [], usage: expect.objectContaining({ total_tokens: 5 }) })] : [],
    )
  })

  const textChunk = (text: string, reason: string | null = null) =>
    `data: ${JSON.stringify({ id: 'cmpl-1', object: 'text_completion', created: 1, model: 'm-1', choices: [{ index: 0, text, logprobs: null, finish_reason: reason }] })}\n\n`
  const told = `data: ${JSON.stringify({ id: 'cmpl-1', object: 'text_completion', created: 1, model: 'm-1', choices: [], usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } })}\n\n`

  test('of a server that speaks it passes byte for byte, wherever it is cut', () => {
    const said = textChunk('Grü') + textChunk('ezi "usage":{} 🦊') + textChunk('', 'length')
    const bytes = Buffer.from(`${said}${told}data: [DONE]\n\n`)
    for (const wantsUsage of [true, false]) {
      for (let at = 0; at <= bytes.length; at++) {
        const reader = new ChatStreamReader({ depth: 'final', wantsUsage, wantsContinuousUsage: false })
        let sent = ''
        for (const piece of [bytes.subarray(0, at), bytes.subarray(at)]) {
          sent += reader.push(Buffer.from(piece))?.toString() ?? ''
        }
        sent += `${reader.end()?.toString() ?? ''}${reader.tail?.toString() ?? ''}`
        expect(sent).toBe(`${said}${wantsUsage ? told : ''}data: [DONE]\n\n`)
        expect(reader).toMatchObject({ started: true, done: true, model: 'm-1', usage: { input: 3, output: 4 } })
      }
    }
  })

  test('that breaks off is counted by what was said', () => {
    const reader = new ChatStreamReader({ depth: 'final', wantsUsage: false, wantsContinuousUsage: false })
    reader.push(Buffer.from(textChunk('Grü') + textChunk('ezi')))
    expect(reader.deliveredText()).toBe('Grüezi')
  })

  test('of a server that does not is the same wherever it is cut', () => {
    const chunk = (delta: object, reason: string | null = null) =>
      `data: ${JSON.stringify({ id: 'c', model: 'm', choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`
    const bytes = Buffer.from(
      `${chunk({ content: 'Grü' })}${chunk({ content: 'ezi 🦊' })}${chunk({}, 'stop')}data: [DONE]\n\n`,
    )
    const through = (pieces: readonly Buffer[]) => {
      const stream = new TranslatedStream({
        contentType: 'text/event-stream',
        reader: new OpenaiEventReader(),
        writer: new CompletionChunkWriter(contextOf()),
      })
      const out = pieces.map((piece) => stream.push(piece)?.toString() ?? '').join('')
      return `${out}${stream.end()?.toString() ?? ''}${stream.tail?.toString() ?? ''}`
    }
    const whole = through([bytes])
    expect(whole).toContain('"text":"Grü"')
    for (let at = 0; at <= bytes.length; at++) {
      expect(through([bytes.subarray(0, at), bytes.subarray(at)])).toBe(whole)
    }
  })
})
