import { describe, expect, test } from 'vitest'
import type { ChatEvent } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { readContentAnswer } from './read-answer.js'
import { GeminiEventReader } from './read-events.js'

const conversation = { turns: [{}, {}, {}] } as unknown as Conversation

function read(...pieces: readonly Buffer[]): ChatEvent[] {
  const reader = new GeminiEventReader(conversation)
  const events: ChatEvent[] = []
  for (const piece of pieces) reader.push(Buffer.from(piece), (event) => events.push(event))
  reader.end((event) => events.push(event))
  return events
}

const head = { modelVersion: 'gemini-3.5-flash', responseId: 'resp-1' }
const event = (value: object) => `data: ${JSON.stringify(value)}\r\n\r\n`
const chunk = (parts: object[], extra: object = {}) =>
  event({
    candidates: [{ content: { role: 'model', parts } }],
    usageMetadata: { trafficType: 'ON_DEMAND' },
    ...head,
    ...extra,
  })
const counts = { promptTokenCount: 7, candidatesTokenCount: 3, thoughtsTokenCount: 4, cachedContentTokenCount: 2 }
const last = (finishReason: string, usageMetadata: object = counts) =>
  event({ candidates: [{ content: { role: 'model', parts: [{ text: '' }] }, finishReason }], usageMetadata, ...head })
const f = { name: 'f', args: { a: 'é' } }

const spoken =
  chunk([{ text: 'Hm.', thought: true }]) +
  chunk([{ text: 'é“\\' }, { text: ' more' }]) +
  chunk([{ functionCall: f, thoughtSignature: 'c2ln' }, { functionCall: { name: 'g' } }]) +
  last('STOP')
const usage = { input: 7, output: 7, cachedInput: 2, cacheWriteInput: null, reasoningOutput: 4 }
const events: ChatEvent[] = [
  { type: 'start', id: 'resp-1', model: 'gemini-3.5-flash' },
  { type: 'reasoning', text: 'Hm.' },
  { type: 'text', text: 'é“\\', logprobs: null },
  { type: 'text', text: ' more', logprobs: null },
  { type: 'reasoning_signature', signature: 'gemini:c2ln' },
  { type: 'tool_call', id: expect.stringMatching(/^call_[\w-]{24}$/), name: 'f' },
  { type: 'tool_arguments', text: '{"a":"é"}' },
  { type: 'tool_call', id: expect.stringMatching(/^call_[\w-]{24}$/), name: 'g' },
  { type: 'tool_arguments', text: '{}' },
  { type: 'usage', usage, final: true },
  { type: 'finish', finish: { reason: 'tool_calls', stopSequence: null } },
  { type: 'done' },
]

describe('a stream of responses', () => {
  test('says the same wherever the network cuts it', () => {
    const bytes = Buffer.from(spoken)
    const whole = read(bytes)
    expect(whole).toEqual(events)
    for (let at = 0; at <= bytes.length; at++) expect(read(bytes.subarray(0, at), bytes.subarray(at))).toEqual(whole)
    expect(read(...[...bytes].map((byte) => Buffer.from([byte])))).toEqual(whole)
  })

  test('says the same as one response that holds it all', () => {
    const answer = readContentAnswer(
      Buffer.from(
        JSON.stringify({
          candidates: [
            {
              content: {
                role: 'model',
                parts: [
                  { text: 'Hm.', thought: true },
                  { text: 'é“\\' },
                  { functionCall: f, thoughtSignature: 'c2ln' },
                  { functionCall: { name: 'g' } },
                ],
              },
              finishReason: 'STOP',
            },
          ],
          usageMetadata: counts,
          ...head,
        }),
      ),
      conversation,
    )
    const idOf = (index: number) => {
      const call = read(Buffer.from(spoken)).filter((one) => one.type === 'tool_call')[index]
      return call?.id
    }
    expect(answer).toEqual({
      ...{ id: 'resp-1', model: 'gemini-3.5-flash', usage, finish: { reason: 'tool_calls', stopSequence: null } },
      parts: [
        { type: 'reasoning', text: 'Hm.', signature: null, redacted: null },
        { type: 'text', text: 'é“\\', logprobs: null },
        { type: 'reasoning', text: '', signature: 'gemini:c2ln', redacted: null },
        { type: 'tool_call', id: idOf(0), name: 'f', argumentsText: '{"a":"é"}' },
        { type: 'tool_call', id: idOf(1), name: 'g', argumentsText: '{}' },
      ],
    })
  })

  test('has not come to its end without a finish reason', () => {
    expect(read(Buffer.from(chunk([{ text: 'a' }]))).map(({ type }) => type)).toEqual(['start', 'text'])
    expect(read(Buffer.alloc(0))).toEqual([])
  })

  test('counts its last event without an empty line, and bytes that are no event as none', () => {
    const bytes = Buffer.from(`: comment\r\n\r\n${spoken.trimEnd()}`)
    expect(read(bytes)).toEqual(events)
  })

  test('tells what is certain of its tokens while it runs', () => {
    const running = chunk([{ text: 'a' }], { usageMetadata: { promptTokenCount: 7 } })
    const total = chunk([{ text: 'b' }], { usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 2 } })
    const end = last('MAX_TOKENS', { promptTokenCount: 7, thoughtsTokenCount: 5 })
    const told = read(Buffer.from(running + total + end)).filter((one) => one.type === 'usage')
    const nothing = { cachedInput: null, cacheWriteInput: null }
    expect(told).toEqual([
      { type: 'usage', final: false, usage: { ...nothing, input: 7, output: 0, reasoningOutput: null } },
      { type: 'usage', final: true, usage: { ...nothing, input: 7, output: 2, reasoningOutput: null } },
      { type: 'usage', final: true, usage: { ...nothing, input: 7, output: 5, reasoningOutput: 5 } },
    ])
  })

  test('tells log probabilities once, with the first text that they are of', () => {
    const one = { token: 'a', tokenId: 1, logProbability: -0.5 }
    const logprobsResult = { chosenCandidates: [one, { token: 'b' }], topCandidates: [{ candidates: [one] }] }
    const content = { parts: [{ text: 'T', thought: true }, { text: 'a' }, { text: 'b' }] }
    const told = read(Buffer.from(event({ candidates: [{ content, logprobsResult }], ...head })))
    const logprobs = [
      { token: 'a', logprob: -0.5, bytes: null, top: [{ token: 'a', logprob: -0.5, bytes: null }] },
      { token: 'b', logprob: 0, bytes: null, top: [] },
    ]
    expect(told.filter(({ type }) => type === 'text')).toEqual([
      { type: 'text', text: 'a', logprobs },
      { type: 'text', text: 'b', logprobs: null },
    ])
  })

  test('ends once, whatever comes after', () => {
    const told = read(Buffer.from(spoken + last('STOP') + event({ usageMetadata: counts, ...head })))
    expect(told.filter(({ type }) => type === 'finish')).toHaveLength(1)
    expect(told.at(-1)).toEqual({ type: 'done' })
  })

  const error = { error: { code: 503, message: 'Overloaded.', status: 'UNAVAILABLE' } }
  test.each<[string, string, ChatEvent]>([
    ['an error', event(error), { type: 'error', message: 'Overloaded.' }],
    ['an error in an array', `data: [${JSON.stringify(error)}]\n\n`, { type: 'error', message: 'Overloaded.' }],
    ['an error without words', event({ error: {} }), { type: 'error', message: 'the upstream reported an error' }],
    [
      'a model that failed',
      event({
        candidates: [{ finishReason: 'MALFORMED_FUNCTION_CALL', finishMessage: 'print(f(' }],
        usageMetadata: counts,
      }),
      { type: 'error', message: 'the model failed: MALFORMED_FUNCTION_CALL, print(f(' },
    ],
    ['a text', 'data: [DONE]\n\n', { type: 'malformed' }],
    ['another object', event({ hello: 1 }), { type: 'malformed' }],
    ['half a call', chunk([{ functionCall: { partialArgs: [] } }]), { type: 'malformed' }],
    ['what is no JSON', 'data: {"candidates":[}\n\n', { type: 'malformed' }],
  ])('with %s is no answer', (_name, text, expected) => {
    expect(read(Buffer.from(text)).at(-1)).toEqual(expected)
    expect(readContentAnswer(Buffer.from(text.replace(/^data: /, '')), conversation)).toBeNull()
  })
})

describe('ids of calls', () => {
  const idsOf = (responseId: string | null, turnCount: number) => {
    const bytes = Buffer.from(
      event({
        candidates: [{ content: { parts: [{ functionCall: f }, { functionCall: f }] }, finishReason: 'STOP' }],
        ...(responseId === null ? {} : { responseId }),
      }),
    )
    const asked = { turns: Array.from({ length: turnCount }) } as unknown as Conversation
    const ids: string[] = []
    new GeminiEventReader(asked).push(bytes, (one) => {
      if (one.type === 'tool_call') ids.push(one.id)
    })
    return ids
  }

  test('are the same for the same answer, and others for every other call', () => {
    expect(idsOf('a', 1)).toEqual(idsOf('a', 1))
    expect(idsOf('a', 1)).toEqual(idsOf('a', 3))
    const all = [...idsOf('a', 1), ...idsOf('b', 1), ...idsOf(null, 1), ...idsOf(null, 3)]
    expect(new Set(all).size).toBe(8)
    for (const id of all) expect(id.length).toBeLessThanOrEqual(40)
  })
})
