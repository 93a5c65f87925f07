import { describe, expect, test } from 'vitest'
import { MeasuredPrompt } from '../../../proto/policy/measured-prompt.js'
import { readSigns } from '../../../proto/policy/text-signs.js'
import { isRefusal } from '../../../proto/std/refusal.js'
import { doorOf } from '../doors/door-table.js'
import type { Operation } from '../providers/provider-dialect.js'
import type { ClientCall } from './ports.js'
import { promptShape, RoutingFacts } from './routing-facts.js'

function bodyOf(operation: Operation, fields: object) {
  const body = doorOf(operation).parse(Buffer.from(JSON.stringify({ model: 'fast', ...fields })))
  if (isRefusal(body)) throw new Error(body.message)
  return body
}

const callOf = (headers: Record<string, string>) =>
  ({ startedAtMs: 5, header: (name: string) => headers[name] }) as unknown as ClientCall

const factsOf = (fields: object, headers: Record<string, string> = {}, operation: Operation = 'chat_completions') => {
  const body = bodyOf(operation, { messages: [{ role: 'user', content: 'hi' }], ...fields })
  return new RoutingFacts(callOf(headers), 'chat_completions', body, 'eu')
}

describe('what a prompt is', () => {
  test('of a chat: its turns, pictures, tools and what was called, and the user’s newest words', () => {
    const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }
    const body = bodyOf('chat_completions', {
      messages: [
        { role: 'system', content: 'abcd' },
        { role: 'user', content: 'first' },
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'c', content: 'é' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'last' },
            { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
          ],
        },
      ],
      tools: [{ type: 'function' }],
    })
    const shape = promptShape(body)
    expect(shape).toMatchObject({
      textBytes: 4 + 5 + 7 + 2 + 4 + '{"type":"function"}'.length,
      ...{ turnCount: 5, toolCount: 1, imageCount: 1 },
    })
    expect(shape.newestText()).toBe('first\nlast\n')
  })

  test('of Anthropic’s messages: its instructions count, results of tools are read', () => {
    const result = { type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: 'xyz' }] }
    const body = bodyOf('messages', {
      ...{ max_tokens: 1, system: 'ab' },
      messages: [{ role: 'user', content: [result, { type: 'text', text: 'why' }] }],
    })
    const shape = promptShape(body)
    expect(shape).toMatchObject({ textBytes: 2 + 3 + 3, turnCount: 2, imageCount: 0 })
    expect(shape.newestText()).toBe('\nwhy')
  })

  test('of OpenAI’s responses: its instructions and what tools gave are read, and are not the user’s words', () => {
    const items = [
      { role: 'user', content: [{ type: 'input_text', text: 'why' }] },
      { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] },
      { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
      { type: 'function_call_output', call_id: 'c', output: 'xyz' },
    ]
    const shape = promptShape(bodyOf('responses', { instructions: 'ab', input: items }))
    expect(shape).toMatchObject({ textBytes: 2 + 3 + 2 + 2 + 3, turnCount: 5 })
    expect(shape.newestText()).toBe('why')
    const plain = promptShape(bodyOf('responses', { instructions: 'ab', input: 'why' }))
    expect([plain.turnCount, plain.newestText()]).toEqual([2, 'why'])
    expect(promptShape(bodyOf('responses', { input: 'why' })).turnCount).toBe(1)
  })

  test('of texts to embed', () => {
    expect(promptShape(bodyOf('embeddings', { input: ['ab', 'cde'] }))).toMatchObject({ textBytes: 5, turnCount: 2 })
  })

  test('is read no deeper and no longer than it has to be', () => {
    let deep: unknown = 'x'
    for (let level = 0; level < 90; level++) deep = [deep]
    const long = 'y'.repeat(100_000)
    const shape = promptShape(
      bodyOf('chat_completions', {
        messages: [
          { role: 'user', content: deep },
          { role: 'user', content: long },
        ],
      }),
    )
    expect(shape.textBytes).toBe(100_000)
    expect(shape.newestText()).toBe(`${'y'.repeat(8_192)}\n${'y'.repeat(8_192)}`)
  })
})

test('a long conversation shows the same signs here as its joined text does to who explains', () => {
  const turns = (...lengths: number[]) =>
    lengths.map((length, index) => ({ role: 'user', content: `turn ${index}: ${'why prove it? '.repeat(length)}` }))
  for (const messages of [turns(1), turns(600, 600), turns(5_000), turns(3, 2_000, 3), turns(900, 5, 40, 900, 2, 1)]) {
    const whole = messages.map(({ content }) => content).join('\n')
    const talk = messages.flatMap((turn) => [turn, { role: 'assistant', content: 'then finally' }])
    const { prompt } = factsOf({ messages: talk })
    const explained = new MeasuredPrompt(() => ({
      ...{ newestText: () => whole, textBytes: 0, imageCount: 0, turnCount: talk.length, toolCount: 0 },
    }))
    expect(readSigns(promptShape(bodyOf('chat_completions', { messages: talk })).newestText())).toEqual(
      readSigns(whole),
    )
    expect([prompt.complexity(), prompt.promptClass()]).toEqual([explained.complexity(), explained.promptClass()])
  }
})

describe('the facts of a request', () => {
  test('are what it says, in its body before its headers', () => {
    const headers = { 'x-switchyard-user': 'header', 'x-switchyard-session': 's1', 'x-tier': 'gold' }
    const facts = factsOf({ user: 'body', stream: true, max_completion_tokens: 7 }, headers)
    expect([facts.userId, facts.sessionId, facts.stream, facts.outputTokensMax]).toEqual(['body', 's1', true, 7])
    expect([facts.header('x-tier'), facts.region, facts.nowMs, facts.model]).toEqual(['gold', 'eu', 5, 'fast'])
    expect(factsOf({}, headers).userId).toBe('header')
    expect([factsOf({}).sessionId, factsOf({}).outputTokensMax]).toEqual([undefined, undefined])
  })

  test.each([
    [0.5, 1],
    [7, 7],
    [0, 0],
    [-1, undefined],
    [1e300, undefined],
  ])('an answer of at most %s tokens is one of %s', (asked, expected) => {
    expect(factsOf({ max_tokens: asked }, {}, 'messages').outputTokensMax).toBe(expected)
  })

  test('draw once, and read the prompt once', () => {
    const facts = factsOf({})
    expect(facts.draw).toBe(facts.draw)
    expect(facts.draw).toBeGreaterThanOrEqual(0)
    expect(facts.draw).toBeLessThan(1)
    expect(facts.prompt).toBe(facts.prompt)
  })

  test('believe the client about the class of its prompt, if it is one', () => {
    expect(factsOf({}, { 'x-switchyard-prompt-class': 'code' }).prompt.promptClass()).toBe('code')
    expect(factsOf({}, { 'x-switchyard-prompt-class': 'poetry' }).prompt.promptClass()).toBe('chat')
  })
})
