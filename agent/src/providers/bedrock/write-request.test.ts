import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { makeTarget } from '../../../../test/harness/agent-door.js'
import { verifyConverse } from '../../../../test/harness/vendors/bedrock-request.js'
import type { AssistantPart, Conversation, Turn, UserPart } from '../../conversation/conversation.js'
import { type Loss, Losses } from '../../conversation/losses.js'
import { chatFieldNames } from '../../doors/chat-completions/read-conversation.js'
import { writeConverseRequest } from './write-request.js'

const settings: Conversation['settings'] = {
  ...{ outputTokensMax: null, temperature: null, topP: null, topK: null, stop: [], seed: null },
  ...{ frequencyPenalty: null, presencePenalty: null, logprobs: null },
}
const text = (said: string, at = 'messages[0].content') => ({ type: 'text' as const, at, text: said })
const user = (...parts: UserPart[]): Turn => ({ role: 'user', at: 'messages[0]', parts })
const assistant = (...parts: AssistantPart[]): Turn => ({ role: 'assistant', at: 'messages[1]', parts })
const hello: Conversation = {
  ...{ system: [], turns: [user(text('Hello.'))], tools: [], toolChoice: null, parallelToolCalls: null },
  ...{ answerFormat: null, settings, reasoning: null, user: null, stream: false, names: chatFieldNames, losses: [] },
}
const claude3 = 'anthropic.claude-3-5-sonnet-20240620-v1:0'
const claude45 = 'anthropic.claude-sonnet-4-5-20250929-v1:0'

interface Written {
  readonly body: Record<string, unknown>
  readonly losses: readonly Loss[]
}

function write(given: Partial<Conversation>, upstreamModel = claude45): Written {
  const losses = new Losses()
  const target = makeTarget({ origin: 'https://x', kind: 'bedrock', upstreamModel })
  const bytes = writeConverseRequest({ ...hello, ...given }, target, 'final', losses)
  return { body: JSON.parse(bytes.toString()) as Record<string, unknown>, losses: losses.all }
}

/** The body, which has to be without losses and as Bedrock takes it. */
function taken(given: Partial<Conversation>, upstreamModel = claude45): Record<string, unknown> {
  const { body, losses } = write(given, upstreamModel)
  expect(losses).toEqual([])
  expect(verifyConverse(upstreamModel, body)).toEqual([])
  return body
}

function lost(given: Partial<Conversation>, upstreamModel = claude45): string[] {
  return write(given, upstreamModel).losses.map(({ weight, field }) => `${weight} ${field}`)
}

const call = (id: string, name = 'get_weather'): AssistantPart => ({
  ...{ type: 'tool_call', at: 'messages[1].tool_calls[0]', id, name, argumentsText: '{"a":1}' },
})
const result = (callId: string, parts: { type: 'text'; at: string; text: string }[] = [text('ok')]): UserPart => ({
  ...{ type: 'tool_result', at: 'messages[2]', callId, parts, isError: false },
})
const tool = { at: 'tools[0]', name: 'get_weather', description: null, parameters: null, strict: null }
const toolSpec = { name: 'get_weather', inputSchema: { json: { type: 'object', properties: {} } } }
const called = [user(text('a')), assistant(call('c')), user(result('c'))]

describe('settings', () => {
  test('none are sent that were not given', () => {
    expect(taken({})).toEqual({ messages: [{ role: 'user', content: [{ text: 'Hello.' }] }] })
  })

  test('are Converse’s own, and Claude’s where Claude is', () => {
    const given = { ...settings, outputTokensMax: 9, temperature: 0.5, topP: 0.9, topK: 40, stop: ['END'] }
    expect(taken({ settings: given, user: 'user-7', system: [text('Be brief.')] }, claude3)).toMatchObject({
      system: [{ text: 'Be brief.' }],
      inferenceConfig: { maxTokens: 9, temperature: 0.5, topP: 0.9, stopSequences: ['END'] },
      additionalModelRequestFields: { top_k: 40 },
      additionalModelResponseFieldPaths: ['/stop_sequence'],
      requestMetadata: { user: 'user-7' },
    })
  })

  test('of other models are Converse’s own only, defaults that are OpenAI’s included', () => {
    const given = { ...settings, temperature: 1, topP: 1, topK: -1, stop: ['END'] }
    expect(taken({ settings: given }, 'cohere.command-r-plus-v1:0')).toEqual({
      messages: [{ role: 'user', content: [{ text: 'Hello.' }] }],
      inferenceConfig: { temperature: 1, topP: 1, stopSequences: ['END'] },
    })
    expect(Object.keys(taken({ settings: { ...given, stop: [] } }))).toEqual(['messages'])
  })

  const losses: [string, Partial<Conversation>, string, string[]][] = [
    ['a seed', { settings: { ...settings, seed: 1 } }, claude45, ['setting seed']],
    ['penalties', { settings: { ...settings, presencePenalty: 1 } }, claude45, ['setting presence_penalty']],
    ['no penalty', { settings: { ...settings, frequencyPenalty: 0 } }, claude45, []],
    ['logprobs', { settings: { ...settings, logprobs: 0 } }, claude45, ['setting logprobs']],
    ['a high temperature', { settings: { ...settings, temperature: 1.2 } }, claude45, ['setting temperature']],
    ['top_k elsewhere', { settings: { ...settings, topK: 3 } }, 'amazon.nova-pro-v1:0', ['setting top_k']],
    [
      'sampling later',
      { settings: { ...settings, topP: 0.5, temperature: 1 } },
      'anthropic.claude-opus-4-8',
      ['setting top_p'],
    ],
    ['both of sampling', { settings: { ...settings, topP: 0.5, temperature: 0.5 } }, claude45, ['setting top_p']],
    ['a blank stop', { settings: { ...settings, stop: ['\n', 'END'] } }, claude45, ['setting stop']],
    ['a blank stop elsewhere', { settings: { ...settings, stop: ['\n'] } }, 'amazon.nova-pro-v1:0', []],
    ['a user that logs cannot hold', { user: 'Zoë' }, claude45, ['hint user']],
    ['one call at a time', { tools: [tool], parallelToolCalls: false }, claude45, ['setting parallel_tool_calls']],
    ['one call at a time of none', { parallelToolCalls: false }, claude45, []],
    ['a strict tool before schemas', { tools: [{ ...tool, strict: true }] }, claude3, ['setting tools[0]']],
  ]
  test.each(losses)('%s', (_name, given, upstreamModel, expected) => {
    expect(lost(given, upstreamModel)).toEqual(expected)
  })
})

describe('how much to think', () => {
  test('is a budget for models that count, and an effort for later ones', () => {
    const reasoning = { effort: 'low' as const, budgetTokens: null }
    expect(taken({ reasoning })).toMatchObject({
      additionalModelRequestFields: { thinking: { type: 'enabled', budget_tokens: 2_048 } },
    })
    expect(taken({ reasoning })).not.toHaveProperty('inferenceConfig')
    expect(taken({ reasoning, settings: { ...settings, outputTokensMax: 1_500 } })).toMatchObject({
      inferenceConfig: { maxTokens: 1_500 },
      additionalModelRequestFields: { thinking: { budget_tokens: 1_499 } },
    })
    expect(taken({ reasoning }, 'anthropic.claude-opus-4-6-v1')).toMatchObject({
      additionalModelRequestFields: { thinking: { type: 'adaptive' } },
      outputConfig: { effort: 'low' },
    })
  })

  test('goes with no sampling', () => {
    const reasoning = { effort: 'high' as const, budgetTokens: null }
    expect(lost({ reasoning, settings: { ...settings, temperature: 0, topK: 5 } })).toEqual([
      ...['setting temperature', 'setting top_k'],
    ])
  })

  test('cannot be said to other models; not to think is what they do', () => {
    expect(lost({ reasoning: { effort: 'low', budgetTokens: null } }, 'amazon.nova-pro-v1:0')).toEqual([
      'setting reasoning_effort',
    ])
    expect(lost({ reasoning: { effort: 'none', budgetTokens: 0 } }, 'amazon.nova-pro-v1:0')).toEqual([])
  })

  test('thoughts go back to Claude as it signed them, and to nobody else', () => {
    const thought = { type: 'reasoning' as const, at: 'r', text: 'hm', signature: 's', redacted: null }
    const secret = { ...thought, text: '', signature: null, redacted: 'AAAA' }
    const turns = [user(text('a')), assistant(thought, secret, text('b')), user(text('c'))]
    expect(taken({ turns })['messages']).toMatchObject([
      {},
      {
        content: [
          { reasoningContent: { reasoningText: { text: 'hm', signature: 's' } } },
          { reasoningContent: { redactedContent: 'AAAA' } },
          { text: 'b' },
        ],
      },
      {},
    ])
    expect(lost({ turns }, 'mistral.mistral-large-2402-v1:0')).toEqual(['hint r'])
    expect(lost({ turns: [user(text('a')), assistant({ ...thought, signature: '' }), user(text('c'))] })).toEqual([
      'hint r',
    ])
  })
})

describe('tools', () => {
  test('are declared, with what was said of them', () => {
    const parameters = { type: 'object', properties: { city: { type: 'string' } } }
    const tools = [
      { ...tool, description: 'Of a place.', parameters, strict: true },
      { ...tool, name: 'now', strict: false },
    ]
    expect(taken({ tools, toolChoice: { type: 'auto' } })['toolConfig']).toEqual({
      tools: [
        {
          toolSpec: {
            name: 'get_weather',
            description: 'Of a place.',
            inputSchema: { json: parameters },
            strict: true,
          },
        },
        { toolSpec: { ...toolSpec, name: 'now' } },
      ],
    })
  })

  test('a choice among them', () => {
    const tools = [tool, { ...tool, name: 'now' }]
    const chosen = { type: 'tool' as const, name: 'now' }
    expect(taken({ tools, toolChoice: { type: 'required' } })['toolConfig']).toMatchObject({ toolChoice: { any: {} } })
    expect(taken({ tools, toolChoice: chosen })['toolConfig']).toMatchObject({ toolChoice: { tool: { name: 'now' } } })
    // Where no one tool can be chosen, it is the only one there is.
    expect(taken({ tools, toolChoice: chosen }, 'mistral.mistral-large-2402-v1:0')['toolConfig']).toEqual({
      ...{ tools: [{ toolSpec: { ...toolSpec, name: 'now' } }], toolChoice: { any: {} } },
    })
  })

  test('none is said by leaving them out, as long as none was called', () => {
    expect(taken({ tools: [tool], toolChoice: { type: 'none' }, parallelToolCalls: false })).not.toHaveProperty(
      'toolConfig',
    )
    const after = write({ turns: called, tools: [tool], toolChoice: { type: 'none' } })
    expect(after.losses).toMatchObject([{ weight: 'setting', field: 'tool_choice' }])
    expect(after.body['toolConfig']).toEqual({ tools: [{ toolSpec }] })
  })

  test('that were called and are not given any more are declared by their names', () => {
    const turns = [
      user(text('a')),
      assistant(call('c'), call('d', 'now'), call('e')),
      user(result('c'), result('d'), result('e')),
    ]
    const { body, losses } = write({ turns })
    expect(losses).toMatchObject([{ weight: 'setting', field: 'tools' }])
    expect(body['toolConfig']).toEqual({ tools: [{ toolSpec }, { toolSpec: { ...toolSpec, name: 'now' } }] })
    expect(verifyConverse(claude45, body)).toEqual([])
  })

  test('results stand first, say whether they failed, and may be empty', () => {
    const failed = { ...result('c', [text(' \n')]), isError: true } as UserPart
    const turns = [user(text('a')), assistant(call('c'), call('d')), user(failed, result('d', []), text('And now?'))]
    expect(taken({ turns, tools: [tool] })['messages']).toMatchObject([
      ...[{}, {}],
      {
        content: [
          { toolResult: { toolUseId: 'c', content: [], status: 'error' } },
          { toolResult: { toolUseId: 'd', content: [] } },
          { text: 'And now?' },
        ],
      },
    ])
  })

  test('results that instructions parted from the others stand first too', () => {
    const system: Turn = { role: 'system', at: 's', parts: [text('Hm.')] }
    const turns = [
      user(text('a')),
      assistant(call('c'), call('d')),
      user(result('c'), text('b')),
      system,
      user(result('d')),
    ]
    const { body } = write({ turns, tools: [tool] })
    expect(verifyConverse(claude45, body)).toEqual([])
    const [, , last] = body['messages'] as { content: object[] }[]
    expect(last?.content.map((block) => Object.keys(block)[0])).toEqual(['toolResult', 'toolResult', 'text'])
  })

  test('ids of other vendors become ones that it takes, the same for call and result', () => {
    const ids = ['call_1', 'tooluse_A-b.c:d', 'a b', 'a/b', 'x'.repeat(65)]
    const turns = [user(text('a')), assistant(...ids.map((id) => call(id))), user(...ids.map((id) => result(id)))]
    const [, said] = taken({ turns, tools: [tool] })['messages'] as { content: { toolUse: { toolUseId: string } }[] }[]
    const written = said?.content.map(({ toolUse }) => toolUse.toolUseId) ?? []
    expect(written.slice(0, 2)).toEqual(ids.slice(0, 2))
    expect(new Set(written).size).toBe(ids.length)
  })
})

describe('JSON', () => {
  const schema = { type: 'object', properties: { a: { type: 'number' } }, additionalProperties: false }
  const format = { type: 'schema' as const, name: 'answer', description: 'Of it.', schema, strict: true }
  const forced = (json: object, description = 'Give your answer, as a JSON object, as the input of this tool.') => ({
    tools: [{ toolSpec: { name: 'json_answer', description, inputSchema: { json } } }],
    toolChoice: { tool: { name: 'json_answer' } },
  })

  test('of a schema is what newer models can be held to, beside tools and thinking too', () => {
    const reasoning = { effort: 'low' as const, budgetTokens: null }
    const body = taken({ answerFormat: format, tools: [tool], reasoning })
    expect(body['outputConfig']).toEqual({
      textFormat: {
        type: 'json_schema',
        structure: { jsonSchema: { name: 'answer', description: 'Of it.', schema: JSON.stringify(schema) } },
      },
    })
    expect(body['toolConfig']).toEqual({ tools: [{ toolSpec }] })
  })

  test('of a schema is the input of a forced tool for older ones', () => {
    for (const upstreamModel of [claude3, 'amazon.nova-pro-v1:0']) {
      const body = taken({ answerFormat: format }, upstreamModel)
      expect(body['toolConfig']).toEqual(forced(schema, 'Of it.'))
      expect(body).not.toHaveProperty('outputConfig')
    }
  })

  test('without one is the input of a forced tool, or cannot be asked for', () => {
    expect(taken({ answerFormat: { type: 'json' } })['toolConfig']).toEqual(
      forced({ type: 'object', additionalProperties: true }),
    )
    for (const upstreamModel of ['cohere.command-r-plus-v1:0', 'amazon.titan-text-express-v1']) {
      expect(lost({ answerFormat: { type: 'json' } }, upstreamModel)).toEqual(['content response_format'])
    }
  })

  test('by a forced tool goes with no tools and no thinking', () => {
    const reasoning = { effort: 'low' as const, budgetTokens: null }
    const json = { answerFormat: { type: 'json' as const } }
    expect(lost({ ...json, tools: [tool] })).toEqual(['content response_format'])
    expect(lost({ ...json, reasoning })).toEqual(['content response_format'])
    expect(lost({ answerFormat: format, tools: [tool] }, claude3)).toEqual(['content response_format'])
  })
})

describe('turns', () => {
  test('instructions in the middle are moved to the beginning, and what they parted is one', () => {
    const system: Turn = { role: 'system', at: 'messages[1]', parts: [text('Be kind.')] }
    const turns = [user(text('a')), system, user(text('b')), assistant(text('c')), system, user(text('d'))]
    const { body, losses } = write({ system: [text('Be brief.'), text('  ')], turns })
    expect(losses).toMatchObject([{ weight: 'setting', field: 'messages[1]' }])
    expect(body['system']).toEqual([{ text: 'Be brief.' }, { text: 'Be kind.' }, { text: 'Be kind.' }])
    expect(body['messages']).toEqual([
      { role: 'user', content: [{ text: 'a' }, { text: 'b' }] },
      { role: 'assistant', content: [{ text: 'c' }] },
      { role: 'user', content: [{ text: 'd' }] },
    ])
  })

  test('any number of instructions in the middle costs no more than reading them', () => {
    const count = 40_000
    const system: Turn = { role: 'system', at: 's', parts: [text('Be kind.')] }
    const turns = Array.from({ length: count }, () => [user(text('a'), result('c')), system]).flat()
    const said = Array.from({ length: 200_000 }, () => text('b'))
    const all = [
      ...turns,
      assistant(text('b')),
      system,
      { ...assistant(), parts: said } as Turn,
      { ...system, parts: said },
    ]
    const { body } = write({ turns: all })
    const [asked, answered] = body['messages'] as { content: object[] }[]
    expect(asked?.content).toHaveLength(2 * count)
    expect(asked?.content.findIndex((block) => !('toolResult' in block))).toBe(count)
    expect(answered?.content).toHaveLength(said.length + 1)
    expect(body['system']).toHaveLength(count + 1 + said.length)
  })

  test('texts of white space are left out beside others', () => {
    const turns = [user(text('a')), assistant(text('\n'), call('c')), user(result('c'), text(' '))]
    expect(taken({ turns, tools: [tool] })['messages']).toMatchObject([
      ...[{}, { content: [{ toolUse: {} }] }, { content: [{ toolResult: {} }] }],
    ])
  })

  test('a model that said white space had no turn; a user who asks it is left for Bedrock to refuse', () => {
    const { messages } = taken({ turns: [user(text('a')), assistant(text(' ')), user(text('b'))] })
    expect(messages).toEqual([{ role: 'user', content: [{ text: 'a' }, { text: 'b' }] }])
    const { body } = write({ turns: [user(text(' '))] })
    expect(body['messages']).toEqual([{ role: 'user', content: [{ text: ' ' }] }])
  })

  test('one begins with a user', () => {
    expect(lost({ turns: [assistant(text('a')), user(text('b'))] })).toEqual(['content messages[1]'])
  })

  const image = (mediaType: string): UserPart => ({
    ...{ type: 'image', at: 'i', detail: 'auto', source: { kind: 'base64', mediaType, data: 'AAAA' } },
  })
  const url: UserPart = { type: 'image', at: 'i', detail: 'high', source: { kind: 'url', url: 'https://x/y.png' } }
  const pdf = (name: string | null): UserPart => ({
    ...{ type: 'document', at: 'd', name, source: { kind: 'base64', mediaType: 'application/pdf', data: 'AAAA' } },
  })

  test('pictures and documents are bytes', () => {
    const turns = [user(text('a'), image('image/png'), image('image/jpeg'), pdf('my_report.pdf'), pdf('my report'))]
    expect(taken({ turns })['messages']).toMatchObject([
      {
        content: [
          { text: 'a' },
          { image: { format: 'png', source: { bytes: 'AAAA' } } },
          { image: { format: 'jpeg' } },
          { document: { format: 'pdf', name: 'my report', source: { bytes: 'AAAA' } } },
          { document: { name: 'my report 2' } },
        ],
      },
    ])
  })

  const losses: [string, UserPart[], string, string[]][] = [
    ['a picture elsewhere', [text('a'), url], claude45, ['hint i.detail', 'content i']],
    ['a picture of another type', [text('a'), image('image/tiff')], claude45, ['content i']],
    ['a picture of a type that objects have', [text('a'), image('constructor')], claude45, ['content i']],
    [
      'a picture for a model without eyes',
      [text('a'), image('image/png')],
      'amazon.titan-text-express-v1',
      ['content i'],
    ],
    ['a document alone', [pdf('a')], claude45, ['content d']],
    ['a document for a model that reads none', [text('a'), pdf('a')], 'amazon.titan-text-premier-v1:0', ['content d']],
  ]
  test.each(losses)('%s', (_name, parts, upstreamModel, expected) => {
    expect(lost({ turns: [user(...parts)] }, upstreamModel)).toEqual(expected)
  })

  test('models without instructions or tools are not asked', () => {
    for (const upstreamModel of ['amazon.titan-text-express-v1', 'mistral.mistral-7b-instruct-v0:2']) {
      expect(lost({ system: [text('Be brief.', 'messages[0].content')] }, upstreamModel)).toEqual([
        'content messages[0].content',
      ])
      expect(lost({ tools: [tool] }, upstreamModel)).toEqual(['content tools'])
      expect(lost({ turns: called }, upstreamModel)).toEqual(['content tools'])
      expect(taken({ tools: [tool], toolChoice: { type: 'none' } }, upstreamModel)).not.toHaveProperty('toolConfig')
      expect(taken({}, upstreamModel)).toBeTruthy()
    }
  })
})

const word = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
const said = fc.oneof(word, fc.constantFrom(' ', '\n\n', '<x>', '"')).map((one) => text(one))
const thought = fc.record({
  ...{ type: fc.constant('reasoning' as const), at: fc.constant('r'), text: word },
  ...{ signature: fc.option(word), redacted: fc.option(fc.constant('AAAA')) },
})
const shown = fc.oneof(
  said,
  fc.constant({
    ...{ type: 'image' as const, at: 'i', detail: null },
    source: { kind: 'base64' as const, mediaType: 'image/png', data: 'AAAA' },
  }),
  word.map((name) => ({
    ...{ type: 'document' as const, at: 'd', name },
    source: { kind: 'base64' as const, mediaType: 'application/pdf', data: 'AAAA' },
  })),
)

/** A user speaks, instructions may come in between, a model answers, with or without calls; every call gets its result. */
const turns: fc.Arbitrary<Turn[]> = fc
  .array(
    fc.record({
      asked: fc.array(shown, { minLength: 1, maxLength: 3 }),
      instruction: fc.option(said),
      answered: fc.array(fc.oneof(said, thought), { maxLength: 3 }),
      calls: fc.array(fc.record({ id: word, result: fc.array(said, { maxLength: 2 }), isError: fc.boolean() }), {
        maxLength: 3,
      }),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((rounds) => {
    const made: Turn[] = []
    let results: UserPart[] = []
    let count = 0
    for (const { asked, instruction, answered, calls } of rounds) {
      made.push({ role: 'user', at: 'u', parts: [...results, text('first'), ...asked] })
      if (instruction !== null) made.push({ role: 'system', at: 's', parts: [instruction] })
      const ids = calls.map(({ id }) => `${id}${count++}`)
      const parts: AssistantPart[] = [...answered, ...ids.map((id) => call(id))]
      if (parts.length > 0) made.push({ role: 'assistant', at: 'a', parts })
      results = calls.map(
        (one, index) => ({ ...result(ids[index] ?? '', one.result), isError: one.isError }) as UserPart,
      )
    }
    made.push({ role: 'user', at: 'u', parts: [...results, text('end')] })
    return made
  })

const conversation = fc.record({
  turns,
  system: fc.array(said, { maxLength: 2 }),
  tools: fc.constantFrom(
    [],
    [tool],
    [
      { ...tool, strict: true },
      { ...tool, name: 'now', description: 'Now.' },
    ],
  ),
  toolChoice: fc.option(
    fc.constantFrom(...(['auto', 'none', 'required'] as const).map((type) => ({ type })), {
      type: 'tool' as const,
      name: 'get_weather',
    }),
  ),
  answerFormat: fc.option(
    fc.constantFrom(
      { type: 'json' as const },
      { type: 'schema' as const, name: 'a', description: null, schema: { type: 'object' }, strict: null },
    ),
  ),
  settings: fc.record({
    outputTokensMax: fc.option(fc.integer({ min: 1, max: 5_000 })),
    temperature: fc.option(fc.constantFrom(0, 0.7, 1, 1.5)),
    topP: fc.option(fc.constantFrom(0.5, 1)),
    topK: fc.option(fc.constantFrom(-1, 40)),
    stop: fc.array(fc.constantFrom('END', '\n'), { maxLength: 2 }),
    seed: fc.option(fc.integer()),
    frequencyPenalty: fc.constant(null),
    presencePenalty: fc.option(fc.constant(0)),
    logprobs: fc.constant(null),
  }),
  reasoning: fc.option(
    fc.constantFrom({ effort: 'low' as const, budgetTokens: null }, { effort: null, budgetTokens: 3_000 }),
  ),
  user: fc.option(word),
})

const models = [claude3, claude45, 'anthropic.claude-opus-4-6-v1', 'anthropic.claude-opus-4-8']
const others = ['amazon.nova-pro-v1:0', 'cohere.command-r-plus-v1:0', 'amazon.titan-text-express-v1']

test.each([...models, ...others])('whatever is left out of a conversation, %s takes the rest', (upstreamModel) => {
  fc.assert(
    fc.property(conversation, (given) => {
      const { body, losses } = write(given, upstreamModel)
      // What blocks is never sent.
      if (losses.some(({ weight }) => weight === 'content')) return
      expect(verifyConverse(upstreamModel, body)).toEqual([])
    }),
    { numRuns: 300 },
  )
})
