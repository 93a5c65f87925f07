import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../proto/std/refusal.js'
import { makeTarget } from '../../../test/harness/agent-door.js'
import { effectiveTemperature } from '../conversation/target-temperature.js'
import { readChatConversation } from '../doors/chat-completions/read-conversation.js'
import { doorOf } from '../doors/door-table.js'
import { requestBody } from '../providers/openai/request-body.js'
import type { RequestBody } from '../providers/provider-dialect.js'
import { bodyWithParameters, conversationWithParameters } from './apply-parameters.js'

type Door = 'chat_completions' | 'messages'

const targetOf = (parameters: { temperature?: number; outputTokensMax?: number }, kind = 'vllm') =>
  makeTarget({
    origin: 'http://localhost:1',
    kind,
    routing: { parameters: { temperature: null, outputTokensMax: null, ...parameters } },
  })

function parsed(text: string, door: Door = 'chat_completions'): RequestBody {
  const body = doorOf(door).parse(Buffer.from(text))
  if (isRefusal(body)) throw new Error(body.message)
  return body
}

/** What goes upstream, as bytes, and which fields were lowered. */
function sent(
  text: string,
  parameters: Parameters<typeof targetOf>[0],
  door: Door = 'chat_completions',
  kind?: string,
) {
  const target = targetOf(parameters, kind)
  const edited = bodyWithParameters(parsed(text, door), door, target)
  if (isRefusal(edited)) return { refused: edited.code, field: edited.field }
  return { text: requestBody(edited.value, target, 'none').toString(), capped: edited.capped }
}

const said = '"messages":[{"role":"user","content":"hi"}]'

describe('a target’s parameters on the client’s own wire', () => {
  test('stand where the client said nothing, and every other byte is the client’s', () => {
    expect(sent(`{ ${said} , "model":"fast", "x":1.50e1}`, { temperature: 0.2, outputTokensMax: 90 })).toEqual({
      text: `{"temperature":0.2,"max_tokens":90, ${said} , "model":"upstream-model", "x":1.50e1}`,
      capped: null,
    })
  })

  test('leave what the client said, up to the limit', () => {
    const text = `{"model":"fast","temperature":1,"max_tokens":90,${said}}`
    expect(sent(text, { temperature: 0.2, outputTokensMax: 90 })).toEqual({
      text: text.replace('fast', 'upstream-model'),
      capped: null,
    })
  })

  test('lower what is beyond the limit, in each word for it, and name it', () => {
    const text = `{"max_completion_tokens": 500 ,"model":"fast",${said},"max_tokens":91}`
    expect(sent(text, { outputTokensMax: 90 })).toEqual({
      text: `{"max_completion_tokens": 90 ,"model":"upstream-model",${said},"max_tokens":90}`,
      capped: 'max_completion_tokens, max_tokens',
    })
  })

  test('take the place of a null', () => {
    expect(sent(`{"model":"fast","temperature":null,"max_tokens":null,${said}}`, { temperature: 0 })).toEqual({
      text: `{"model":"upstream-model","temperature":0,"max_tokens":null,${said}}`,
      capped: null,
    })
  })

  test('use the name that OpenAI’s newer models know, for OpenAI', () => {
    expect(sent(`{"model":"fast",${said}}`, { outputTokensMax: 9 }, 'chat_completions', 'openai')).toMatchObject({
      text: `{"max_completion_tokens":9,"model":"upstream-model",${said}}`,
    })
  })

  test('see through an escaped name', () => {
    expect(sent(`{"model":"fast","max\\u005ftokens":500,${said}}`, { outputTokensMax: 90 })).toMatchObject({
      text: `{"model":"upstream-model","max\\u005ftokens":90,${said}}`,
      capped: 'max_tokens',
    })
  })

  test.each([
    ['two limits of one name', `{"max_tokens":5,"max_tokens":500,"model":"fast",${said}}`, 'duplicate_field'],
    ['a limit that some servers would read as a number', `{"max_tokens":"500","model":"fast",${said}}`, 'invalid_type'],
  ])('refuse %s', (_words, text, code) => {
    expect(sent(text, { outputTokensMax: 90 })).toEqual({ refused: code, field: 'max_tokens' })
  })

  const thinking = ',"thinking":{"type":"enabled","budget_tokens":1024}'
  test.each([
    ['that says nothing of it', '', '"temperature":0.3,'],
    ['that thinks', thinking, ''],
    ['that is told not to think', ',"thinking":{"type":"disabled"}', '"temperature":0.3,'],
    ['with a top_p', ',"top_p":0.9', ''],
  ])('give a temperature to a message %s as Anthropic takes it', (_words, more, added) => {
    const text = `{"model":"fast","max_tokens":50,${said}${more}}`
    expect(sent(text, { temperature: 0.3 }, 'messages')).toMatchObject({
      text: `{${added}"model":"upstream-model","max_tokens":50,${said}${more}}`,
    })
  })

  const asked = (more: string) => `{"model":"fast","max_tokens":9000,${said}${more}}`
  const lowered = (max: number, more: string) => `{"model":"upstream-model","max_tokens":${max},${said}${more}}`
  const budget = (tokens: number) => `,"thinking":{"type":"enabled", "budget_tokens" : ${tokens},"display":"x"},"é":1`
  test.each([
    ['a budget below the limit', 5_000, budget(4_999), budget(4_999), 'max_tokens'],
    ['a budget at the limit', 5_000, budget(5_000), budget(4_999), 'max_tokens, thinking.budget_tokens'],
    ['a budget beyond the limit', 5_000, budget(8_000), budget(4_999), 'max_tokens, thinking.budget_tokens'],
    ['room for the least budget', 1_025, budget(8_000), budget(1_024), 'max_tokens, thinking.budget_tokens'],
    [
      'no room for the least budget',
      1_024,
      budget(8_000),
      ',"thinking":{"type":"disabled"},"é":1',
      'max_tokens, thinking.budget_tokens',
    ],
    ['no budget', 50, ',"thinking":{"type":"adaptive"}', ',"thinking":{"type":"adaptive"}', 'max_tokens'],
  ])('lower the thinking of a message with its limit: %s', (_words, outputTokensMax, given, left, capped) => {
    expect(sent(asked(given), { outputTokensMax }, 'messages')).toEqual({
      text: lowered(outputTokensMax, left),
      capped,
    })
  })

  test('leave thinking alone where the limit is not lowered, and refuse two budgets of which one would not be', () => {
    const interleaved = asked(budget(9_500))
    expect(sent(interleaved, { outputTokensMax: 9_000 }, 'messages')).toMatchObject({ capped: null })
    const twice = ',"thinking":{"type":"enabled","budget_tokens":2000,"budget_tokens":8000}'
    expect(sent(asked(twice), { outputTokensMax: 5_000 }, 'messages')).toEqual({
      ...{ refused: 'duplicate_field', field: 'thinking.budget_tokens' },
    })
  })

  test('change nothing where the target has none: the very same body', () => {
    const body = parsed(`{"model":"fast",${said}}`)
    const edited = bodyWithParameters(body, 'chat_completions', targetOf({}))
    expect(edited).toEqual({ value: body, capped: null })
    expect((edited as { value: unknown }).value).toBe(body)
  })

  test('are always in force, and the rest of the body means what it meant', () => {
    const limit = fc.integer({ min: 1, max: 100 })
    const given = fc.record(
      {
        max_tokens: fc.oneof(fc.integer({ min: 1, max: 1_000 }), fc.constant(null)),
        max_completion_tokens: fc.oneof(fc.integer({ min: 1, max: 1_000 }), fc.constant(null)),
        temperature: fc.oneof(fc.double({ min: 0, max: 2, noNaN: true }), fc.constant(null)),
        stream_options: fc.constantFrom(null, {}, { include_usage: false }),
        stream: fc.boolean(),
        seed: fc.integer(),
        stop: fc.string({ unit: 'grapheme', maxLength: 5 }),
      },
      { requiredKeys: [] },
    )
    const indent = fc.constantFrom('', ' ', '\t')
    fc.assert(
      fc.property(given, limit, indent, fc.boolean(), (fields, outputTokensMax, space, isLast) => {
        const model = { model: 'fast' }
        const messages = [{ role: 'user', content: 'hi' }]
        const value = isLast ? { ...fields, messages, ...model } : { ...model, ...fields, messages }
        const target = targetOf({ temperature: 0.25, outputTokensMax })
        const edited = bodyWithParameters(parsed(JSON.stringify(value, null, space)), 'chat_completions', target)
        if (isRefusal(edited)) throw new Error(edited.message)
        const bytes = requestBody(edited.value, target, value.stream ? 'final' : 'none')
        const {
          temperature,
          max_tokens = null,
          max_completion_tokens = null,
          stream_options: _options,
          ...rest
        } = JSON.parse(bytes.toString()) as Record<string, unknown>
        expect(temperature).toBe(value.temperature ?? 0.25)
        const limits = [max_tokens, max_completion_tokens].filter((one) => one !== null)
        expect(limits.length).toBeGreaterThan(0)
        for (const one of limits) expect(one).toBeLessThanOrEqual(outputTokensMax)
        const { temperature: _t, max_tokens: _m, max_completion_tokens: _c, stream_options: _o, ...others } = value
        expect(rest).toEqual({ ...JSON.parse(JSON.stringify(others)), model: 'upstream-model' })
      }),
    )
  })
})

describe('a target’s parameters on another wire', () => {
  const claude = { kind: 'anthropic', upstreamModel: 'claude-sonnet-4-5' }
  const temperatureOf = (fields: object, to: { kind: string; upstreamModel?: string }) => {
    const body = { fields: { model: 'fast', messages: [{ role: 'user', content: 'hi' }], ...fields } }
    const conversation = readChatConversation(body as unknown as RequestBody)
    if (isRefusal(conversation)) throw new Error(conversation.message)
    const routing = { parameters: { temperature: 0.3, outputTokensMax: null } }
    const target = makeTarget({ origin: 'http://localhost:1', routing, ...to })
    return conversationWithParameters(conversation, target).value.settings.temperature
  }

  test.each([
    ['where the client said nothing', {}, claude, 0.3],
    ['not where it said one', { temperature: 0.7 }, claude, 0.7],
    ['not beside its top_p', { top_p: 0.9 }, claude, null],
    ['not beside its top_p, whatever the vendor', { top_p: 0.9 }, { kind: 'vertex' }, null],
    ['beside a top_p that says nothing', { top_p: 1 }, claude, 0.3],
    ['not to Claude while it thinks', { reasoning_effort: 'low' }, claude, null],
    ['to Claude that is told not to think', { reasoning_effort: 'none' }, claude, 0.3],
    ['to others while they think', { reasoning_effort: 'low' }, { kind: 'vertex' }, 0.3],
  ])('give a temperature %s', (_words, fields, to, temperature) => {
    expect(temperatureOf(fields, to)).toBe(temperature)
  })
})

describe('the temperature that a request goes with', () => {
  const fixed = { temperature: 0 }
  const cases: [string, string, Door, string, number | null][] = [
    ['the target’s where the client said nothing', '', 'chat_completions', 'vllm', 0],
    ['the client’s own', '"temperature":0.7,', 'chat_completions', 'vllm', 0.7],
    ['the vendor’s beside a choice of words', '"top_p":0.5,', 'chat_completions', 'anthropic', null],
    ['the target’s beside one that says nothing', '"top_p":1,', 'chat_completions', 'anthropic', 0],
    ['the vendor’s while Claude thinks', '"reasoning_effort":"high",', 'chat_completions', 'anthropic', null],
    ['the target’s while another model thinks', '"reasoning_effort":"high",', 'chat_completions', 'vllm', 0],
    ['the vendor’s beside any top_p of a message', '"max_tokens":9,"top_p":1,', 'messages', 'anthropic', null],
    [
      'the vendor’s while a message is thought about',
      '"max_tokens":9,"thinking":{"type":"enabled","budget_tokens":2000},',
      ...(['messages', 'anthropic', null] as const),
    ],
  ]
  test.each(cases)('is %s', (_name, given, door, kind, expected) => {
    const body = parsed(`{"model":"fast",${given}${said}}`, door)
    expect(effectiveTemperature(body, door, targetOf(fixed, kind))).toBe(expected)
  })

  test('is none that the target has for operations that take none', () => {
    expect(effectiveTemperature(parsed(`{"model":"fast",${said}}`), 'embeddings', targetOf(fixed))).toBeNull()
  })

  test('is the target’s only where it is sent, on the client’s wire and translated', () => {
    const anything = fc.record(
      {
        temperature: fc.constantFrom(null, 0, 1),
        top_p: fc.constantFrom(null, 0.5, 1),
        reasoning_effort: fc.constantFrom('none', 'low', 'high'),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(anything, fc.constantFrom('vllm', 'anthropic'), (given, kind) => {
        const messages = [{ role: 'user', content: 'hi' }]
        const body = parsed(JSON.stringify({ model: 'fast', messages, ...given }))
        const target = targetOf(fixed, kind)
        if (effectiveTemperature(body, 'chat_completions', target) !== 0) return
        const native = bodyWithParameters(body, 'chat_completions', target)
        const conversation = readChatConversation(body)
        if (isRefusal(native) || isRefusal(conversation)) throw new Error('it can be read')
        expect(native.value.bytes.toString()).toMatch(/"temperature":0[,}]/)
        expect(conversationWithParameters(conversation, target).value.settings.temperature).toBe(0)
      }),
    )
  })
})
