import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../../proto/std/refusal.js'
import type { Conversation } from '../../conversation/conversation.js'
import { carryThought } from '../../providers/openai/carried-thought.js'
import { statusOf } from '../../request/request-refusal.js'
import { responsesDoor } from './door.js'
import { readResponseConversation } from './read-conversation.js'

function parsed(fields: object) {
  return responsesDoor.parse(Buffer.from(JSON.stringify({ model: 'm', input: 'hi', ...fields })))
}

function read(fields: object): Conversation {
  const body = parsed(fields)
  if (isRefusal(body)) throw new Error(body.message)
  const conversation = readResponseConversation(body)
  if (isRefusal(conversation)) throw new Error(conversation.message)
  return conversation
}

function refusedField(fields: object): string | null {
  const body = parsed(fields)
  const outcome = isRefusal(body) ? body : readResponseConversation(body)
  if (!isRefusal(outcome)) return null
  expect(statusOf(outcome.code)).toBe(400)
  return outcome.field ?? ''
}

const losses = (fields: object) => read(fields).losses.map(({ weight, field }) => `${weight} ${field}`)
const png = 'data:image/png;base64,AAAA'
const pdf = 'data:application/pdf;base64,AAAA'

describe('the input of a response', () => {
  test('is a text, under instructions', () => {
    const { system, turns, losses: lost } = read({ input: 'hi', instructions: 'Be brief.' })
    expect(system).toEqual([{ type: 'text', at: 'instructions', text: 'Be brief.' }])
    expect(turns).toEqual([{ role: 'user', at: 'input', parts: [{ type: 'text', at: 'input', text: 'hi' }] }])
    expect(lost).toEqual([])
  })

  test('is messages of every role, in either form', () => {
    const { system, turns } = read({
      instructions: 'one',
      input: [
        { role: 'developer', content: 'two' },
        { type: 'message', role: 'system', content: [{ type: 'input_text', text: 'three' }] },
        { role: 'user', content: [{ type: 'input_text', text: 'a' }] },
        {
          ...{ type: 'message', id: 'msg_1', status: 'completed', role: 'assistant' },
          content: [{ type: 'output_text', text: 'b', annotations: [], logprobs: [] }],
        },
        { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] },
        { role: 'system', content: 'later' },
        { role: 'user', content: 'c' },
      ],
    })
    expect(system.map(({ text }) => text)).toEqual(['one', 'two', 'three'])
    expect(turns.map(({ role, parts }) => [role, parts.map((part) => 'text' in part && part.text)])).toEqual([
      ['user', ['a']],
      ['assistant', ['b', 'no']],
      ['system', ['later']],
      ['user', ['c']],
    ])
  })

  test('has images and files, by URL or with their bytes', () => {
    const content = [
      { type: 'input_image', image_url: png, detail: 'low' },
      { type: 'input_image', image_url: 'https://example.com/a.png' },
      { type: 'input_file', file_data: pdf, filename: 'a.pdf' },
      { type: 'input_file', file_url: 'https://example.com/a.pdf', detail: 'auto' },
    ]
    const { turns, losses: lost } = read({ input: [{ role: 'user', content }] })
    expect(lost).toEqual([])
    const bytes = (mediaType: string) => ({ kind: 'base64', mediaType, data: 'AAAA' })
    const url = (text: string) => ({ kind: 'url', url: `https://example.com/${text}` })
    const at = (index: number) => `input[0].content[${index}]`
    expect(turns[0]?.parts).toEqual([
      { type: 'image', at: at(0), source: bytes('image/png'), detail: 'low' },
      { type: 'image', at: at(1), source: url('a.png'), detail: null },
      { type: 'document', at: at(2), source: bytes('application/pdf'), name: 'a.pdf' },
      { type: 'document', at: at(3), source: url('a.pdf'), name: null },
    ])
  })

  test('has calls and what they gave, results first and in one turn', () => {
    const call = (id: string) => ({ type: 'function_call', id: `fc_${id}`, call_id: id, name: 'look', arguments: '' })
    const { turns } = read({
      input: [
        { role: 'user', content: 'look' },
        call('c1'),
        call('c2'),
        { role: 'user', content: 'well?' },
        { type: 'function_call_output', call_id: 'c1', output: 'sunny', status: 'completed' },
        {
          ...{ type: 'function_call_output', call_id: 'c2' },
          output: [
            { type: 'input_text', text: 'see' },
            { type: 'input_image', image_url: png },
          ],
        },
      ],
    })
    expect(turns.map(({ role }) => role)).toEqual(['user', 'assistant', 'user'])
    expect(turns[1]?.parts).toMatchObject([
      { type: 'tool_call', id: 'c1', argumentsText: '{}' },
      { type: 'tool_call', id: 'c2' },
    ])
    expect(turns[2]?.parts).toMatchObject([
      { type: 'tool_result', callId: 'c1', parts: [{ text: 'sunny' }], isError: false },
      { type: 'tool_result', callId: 'c2', parts: [{ text: 'see' }, { type: 'image' }] },
      { type: 'text', text: 'well?' },
    ])
  })

  test('has thoughts: carried ones as they were, those of others as they were shown', () => {
    const thought = { text: 'hm', signature: 'sig', redacted: null }
    const reasoning = (rest: object) => ({ type: 'reasoning', id: 'rs_1', summary: [], ...rest })
    const { turns, losses: lost } = read({
      input: [
        { role: 'user', content: 'a' },
        reasoning({ encrypted_content: carryThought(thought), content: [{ type: 'reasoning_text', text: 'other' }] }),
        reasoning({ encrypted_content: 'gAAAA', summary: [{ type: 'summary_text', text: 'so' }] }),
        reasoning({ encrypted_content: 'gAAAA' }),
        { role: 'assistant', content: 'b' },
      ],
    })
    expect(turns[1]?.parts).toMatchObject([
      { type: 'reasoning', ...thought },
      { type: 'reasoning', text: 'so', signature: null, redacted: null },
      { type: 'text', text: 'b' },
    ])
    expect(lost.map(({ weight, field }) => [weight, field])).toEqual([
      ['hint', 'input[2].encrypted_content'],
      ['hint', 'input[3].encrypted_content'],
    ])
  })

  test.each([
    [{ type: 'web_search_call', id: 'ws_1', status: 'completed' }, 'input[0]'],
    [{ type: 'custom_tool_call', call_id: 'c', name: 'n', input: 'x' }, 'input[0]'],
    [{ role: 'user', content: [{ type: 'input_audio', input_audio: {} }] }, 'input[0].content[0]'],
    [{ role: 'user', content: [{ type: 'input_image', file_id: 'file-1' }] }, 'input[0].content[0].file_id'],
    [{ role: 'user', content: [{ type: 'input_file', file_id: 'file-1' }] }, 'input[0].content[0].file_id'],
    [
      { role: 'user', content: [{ type: 'input_file', file_data: 'data:text/csv;base64,AA' }] },
      'input[0].content[0].file_data',
    ],
    [
      { type: 'function_call_output', call_id: 'c', output: [{ type: 'input_file', file_data: pdf }] },
      'input[0].output[0]',
    ],
  ])('%j cannot be said elsewhere', (item, field) => {
    expect(losses({ input: [item, { role: 'user', content: 'hi' }] })).toEqual([`content ${field}`])
  })

  test.each([
    [{ input: [{ role: 'robot', content: 'a' }] }, 'input[0].role'],
    [{ input: [{ content: 'a' }] }, 'input[0].role'],
    [{ input: [{ role: 'user', content: [{ type: 'input_text' }] }] }, 'input[0].content[0].text'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, 'input[0].content[0].image_url'],
    [{ input: [{ role: 'user', content: 7 }] }, 'input[0].content'],
    [{ input: [{ type: 'function_call', call_id: 'c', name: 'n', arguments: '[]' }] }, 'input[0].arguments'],
    [{ input: [{ type: 'function_call', name: 'n', arguments: '{}' }] }, 'input[0].call_id'],
    [{ input: [{ type: 'function_call_output', output: '' }] }, 'input[0].call_id'],
    [{ input: [{ role: 'system', content: 'alone' }] }, 'input'],
    [{ input: [{ role: 'user', content: '' }] }, 'input'],
    [{ input: '' }, 'input'],
    [{ input: [] }, 'input'],
    [{ input: null }, 'input'],
    [{ input: 7 }, 'input'],
    [{ input: [7] }, 'input[0]'],
    [{ instructions: 7 }, 'instructions'],
    [{ tools: [{ type: 'function' }] }, 'tools[0].name'],
    [{ tool_choice: 'always' }, 'tool_choice'],
    [{ text: { format: { type: 'json_schema', name: 'n' } } }, 'text.format.schema'],
    [{ reasoning: { effort: 'some' } }, 'reasoning.effort'],
    [{ temperature: 3 }, 'temperature'],
    [{ top_logprobs: 21 }, 'top_logprobs'],
    [{ max_output_tokens: 0 }, 'max_output_tokens'],
    [{ include: 'all' }, 'include'],
    [{ metadata: [] }, 'metadata'],
    [{ stream_options: true }, 'stream_options'],
  ])('%j is refused by name', (fields, field) => {
    expect(refusedField(fields)).toBe(field)
  })
})

describe('what asks for a memory is refused by name, and says why', () => {
  test.each([
    [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
    [{ conversation: 'conv_1' }, 'conversation'],
    [{ conversation: { id: 'conv_1' } }, 'conversation'],
    [{ prompt: { id: 'pmpt_1' } }, 'prompt'],
    [{ prompt: { id: 'pmpt_1' }, input: undefined }, 'prompt'],
    [{ background: true }, 'background'],
    [{ background: 'no' }, 'background'],
    [{ store: true }, 'store'],
    [{ store: 'false' }, 'store'],
    [
      {
        input: [
          { role: 'user', content: 'a' },
          { type: 'item_reference', id: 'msg_1' },
        ],
      },
      'input[1]',
    ],
    [{ input: [{ id: 'msg_1' }] }, 'input[0]'],
    [{ input: [{ id: 'msg_1', type: null }] }, 'input[0]'],
  ])('%j', (fields, field) => {
    const body = parsed(fields)
    if (!isRefusal(body)) throw new Error('it was taken')
    expect(body.field).toBe(field)
    expect(statusOf(body.code)).toBe(400)
    expect(body.message).toContain(`'${field}'`)
  })

  test('in no two ways', () => {
    for (const name of ['previous_response_id', 'store', 'input', 'conversation', 'prompt', 'background', 'model']) {
      const body = responsesDoor.parse(Buffer.from(`{"model":"m","input":"a","${name}":null,"${name}":null}`))
      expect(isRefusal(body) ? [body.code, body.field] : null).toEqual(['duplicate_field', name])
    }
  })

  test('and what says that it wants none is taken', () => {
    const fields = { previous_response_id: null, conversation: null, prompt: null, background: false, store: false }
    expect(losses(fields)).toEqual([])
    expect(losses({ store: null, background: null })).toEqual([])
  })
})

describe('settings of a response', () => {
  test('are read', () => {
    const schema = { type: 'object', properties: {} }
    const conversation = read({
      ...{ max_output_tokens: 50, temperature: 0.5, top_p: 0.9, parallel_tool_calls: false, stream: true },
      ...{ top_logprobs: 3, include: ['message.output_text.logprobs', 'reasoning.encrypted_content'] },
      text: { format: { type: 'json_schema', name: 'n', description: 'd', schema, strict: true }, verbosity: 'medium' },
      ...{ reasoning: { effort: 'low', summary: 'auto' }, safety_identifier: 's', metadata: { a: 'b' } },
      ...{ truncation: 'disabled', stream_options: { include_obfuscation: false } },
    })
    expect(conversation).toMatchObject({
      settings: { outputTokensMax: 50, temperature: 0.5, topP: 0.9, logprobs: 3 },
      answerFormat: { type: 'schema', name: 'n', description: 'd', schema, strict: true },
      reasoning: { effort: 'low', budgetTokens: null },
      ...{ parallelToolCalls: false, user: 's', stream: true, losses: [] },
    })
    expect(conversation.names).toMatchObject({ user: 'safety_identifier', logprobs: 'top_logprobs' })
  })

  test.each([
    [{ include: ['message.output_text.logprobs'] }, 0],
    [{ top_logprobs: 2 }, 2],
    [{ top_logprobs: 0 }, null],
    [{}, null],
  ])('log probabilities of %j', (fields, logprobs) => {
    expect(read(fields).settings.logprobs).toBe(logprobs)
  })

  test.each([
    [{ text: { format: { type: 'text' } } }, null],
    [{ text: { format: { type: 'json_object' } } }, { type: 'json' }],
  ])('the format of %j', (fields, format) => {
    expect(read(fields).answerFormat).toEqual(format)
  })

  test.each([
    [{ text: { verbosity: 'low' } }, ['setting text.verbosity']],
    [{ truncation: 'auto' }, ['setting truncation']],
    [{ service_tier: 'flex', prompt_cache_key: 'k' }, ['hint service_tier', 'hint prompt_cache_key']],
    [{ stream_options: { include_obfuscation: true } }, ['hint stream_options.include_obfuscation']],
    [{ include: ['file_search_call.results'] }, ['hint include']],
    [{ moderation: { model: 'm' } }, ['content moderation']],
    [{ reasoning: { effort: 'low', mode: 'pro' } }, ['setting reasoning.mode']],
    [{ reasoning: { effort: 'low', mode: 'standard' } }, []],
    [{ context_management: [{ type: 'compaction' }] }, ['setting context_management']],
    [{ new_member: 1 }, ['setting new_member']],
    [{ new_member: null }, []],
  ])('%j has no other form', (fields, lost) => {
    expect(losses(fields)).toEqual(lost)
  })
})

describe('tools of a response', () => {
  const tool = (name: string) => ({ type: 'function', name, parameters: { type: 'object' }, strict: true })
  const tools = [tool('a'), tool('b')]

  test('are read', () => {
    expect(read({ tools: [{ ...tool('a'), description: 'd' }] }).tools).toEqual([
      { at: 'tools[0]', name: 'a', description: 'd', parameters: { type: 'object' }, strict: true },
    ])
  })

  test.each([
    ['auto', { type: 'auto' }],
    ['required', { type: 'required' }],
    [
      { type: 'function', name: 'b' },
      { type: 'tool', name: 'b' },
    ],
  ])('may be chosen: %j', (choice, expected) => {
    expect(read({ tools, tool_choice: choice }).toolChoice).toEqual(expected)
  })

  test('that are not allowed are not shown', () => {
    const conversation = read({
      tools,
      tool_choice: { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'b' }] },
    })
    expect(conversation.tools.map(({ name }) => name)).toEqual(['b'])
    expect(conversation.toolChoice).toEqual({ type: 'required' })
    expect(conversation.losses).toEqual([])
  })

  test.each([
    'web_search',
    'file_search',
    'computer_use_preview',
    'code_interpreter',
    'mcp',
    'image_generation',
    'custom',
    'local_shell',
  ])('of type %s run at OpenAI only', (type) => {
    expect(losses({ tools: [{ type, name: 'x', anything: {} }] })).toEqual(['content tools[0]'])
  })

  test('that have no other form cannot be chosen', () => {
    expect(losses({ tool_choice: { type: 'mcp', server_label: 'x' } })).toEqual(['content tool_choice'])
    const allowed = { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'mcp', server_label: 'x' }] }
    expect(losses({ tool_choice: allowed })).toEqual(['content tool_choice.tools[0]'])
  })
})

test('everything that the model reads is counted where no vendor tells', () => {
  const body = parsed({
    instructions: 'one',
    input: [
      { role: 'user', content: [{ type: 'input_text', text: 'two' }] },
      { type: 'function_call_output', call_id: 'c', output: [{ type: 'input_text', text: 'three' }] },
    ],
  })
  if (isRefusal(body)) throw new Error(body.message)
  expect(body.prompt).toEqual([
    { role: 'system', content: 'one' },
    { role: 'user', content: [{ type: 'input_text', text: 'two' }] },
    { role: 'tool', content: [{ type: 'input_text', text: 'three' }] },
  ])
})
