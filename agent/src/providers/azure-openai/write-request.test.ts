import { describe, expect, test } from 'vitest'
import type { TargetTable } from '../../../../proto/policy/tables.js'
import type { Conversation, FieldNames, Settings } from '../../conversation/conversation.js'
import { Losses } from '../../conversation/losses.js'
import { writeAzureRequest } from './write-request.js'

const settings: Settings = {
  ...{ outputTokensMax: null, temperature: null, topP: null, topK: null, stop: [], seed: null },
  ...{ frequencyPenalty: null, presencePenalty: null, logprobs: null },
}
/** Every member is called by its own name. */
const names = new Proxy({}, { get: (_target, name) => String(name) }) as FieldNames
const text = { type: 'text' as const, at: 'messages[0].content[0]', text: 'Hello.' }
const pdf = { kind: 'base64' as const, mediaType: 'application/pdf', data: 'JVBERi0=' }
const document = { type: 'document' as const, at: 'messages[0].content[1]', source: pdf, name: null }

function write(apiVersion: string, given: Partial<Conversation>) {
  const losses = new Losses()
  const conversation: Conversation = {
    ...{ system: [], turns: [{ role: 'user', at: 'messages[0]', parts: [text] }], tools: [], toolChoice: null },
    ...{ parallelToolCalls: null, answerFormat: null, settings, reasoning: null, user: null, stream: false },
    ...{ names, losses: [], ...given },
  }
  const target = { upstreamModel: 'd', provider: { kind: 'azure-openai', apiVersion } } as TargetTable
  const bytes = writeAzureRequest(conversation, target, 'none', losses)
  return { body: JSON.parse(bytes.toString()) as Record<string, unknown>, losses: losses.all }
}

describe('a conversation for Azure OpenAI', () => {
  test('is the same in every version where it says nothing that came later', () => {
    const plain = { model: 'd', messages: [{ role: 'user', content: 'Hello.' }] }
    for (const apiVersion of ['2024-02-01', '2024-10-21', 'v1']) {
      expect(write(apiVersion, {})).toEqual({ body: plain, losses: [] })
    }
  })

  test.each([
    ['2024-08-01-preview', { max_tokens: 5 }],
    ['2024-09-01-preview', { max_completion_tokens: 5 }],
    ['v1', { max_completion_tokens: 5 }],
  ])('limits the answer in the words of %s', (apiVersion, limit) => {
    const { body } = write(apiVersion, { settings: { ...settings, outputTokensMax: 5, temperature: 0 } })
    expect(body).toEqual({
      model: 'd',
      messages: [{ role: 'user', content: 'Hello.' }],
      ...{ ...limit, temperature: 0 },
    })
  })

  test.each([
    ['no effort', { effort: 'none' as const, budgetTokens: null }, []],
    ['no tokens', { effort: null, budgetTokens: 0 }, []],
    ['some effort', { effort: 'low' as const, budgetTokens: null }, ['reasoning']],
    ['some tokens', { effort: null, budgetTokens: 1_024 }, ['reasoning']],
  ])('asks an older version for no thought, and loses nothing where none was wanted: %s', (_name, reasoning, lost) => {
    const { body, losses } = write('2024-10-21', { reasoning })
    expect(losses.map(({ field }) => field)).toEqual(lost)
    expect(body['reasoning_effort']).toBeUndefined()
  })

  test.each([
    [true, []],
    [false, ['parallelToolCalls']],
  ])('loses nothing where several calls at a time, which is usual, are permitted: %s', (parallelToolCalls, lost) => {
    const tools = [{ at: 'tools[0]', name: 'f', description: null, parameters: null, strict: false }]
    const { body, losses } = write('2024-06-01', { tools, parallelToolCalls })
    expect(losses.map(({ field }) => field)).toEqual(lost)
    expect(body['parallel_tool_calls']).toBeUndefined()
    expect(body['tools']).toEqual([{ type: 'function', function: { name: 'f' } }])
  })

  test('says where a document stands that a dated version does not take, and keeps what is said beside it', () => {
    const turns = [{ role: 'user' as const, at: 'messages[0]', parts: [text, document] }]
    const { body, losses } = write('2025-04-01-preview', { turns })
    expect(losses).toEqual([
      { weight: 'content', field: 'messages[0].content[1]', reason: 'only API version v1 takes documents' },
    ])
    expect(body['messages']).toEqual([{ role: 'user', content: 'Hello.' }])
    expect(write('v1', { turns }).losses).toEqual([])
  })
})
