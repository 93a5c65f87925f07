import { describe, expect, test } from 'vitest'
import { makeTables, makeTarget } from '../../../../test/harness/agent-door.js'
import { anthropicModels, openaiModels } from './write-models.js'

const parsed = (text: string) => JSON.parse(text) as unknown

/** Routes whose targets have these limits of output and context. */
function routesOf(limits: Record<string, readonly { output: number | null; context: number | null }[]>) {
  const routes = Object.fromEntries(
    Object.entries(limits).map(([name, targets]) => [
      name,
      targets.map(({ output, context }) => {
        const target = makeTarget({ origin: 'http://x', outputTokensMax: output })
        return { ...target, model: { ...target.model, contextTokensMax: context } }
      }),
    ]),
  )
  const [environment] = makeTables({ routes }).tables.environments.values()
  return [...(environment?.routes.values() ?? [])]
}

const [fast, slow] = routesOf({
  fast: [
    { output: 4_096, context: 200_000 },
    { output: 64_000, context: 128_000 },
  ],
  'team/slow': [
    { output: 4_096, context: null },
    { output: null, context: 8_192 },
  ],
})

describe('for OpenAI’s clients', () => {
  test('a list, and one of it', () => {
    if (!fast || !slow) throw new Error('two routes')
    const one = { id: 'fast', object: 'model', created: 0, owned_by: 'switchyard' }
    expect(parsed(openaiModels.list([fast, slow]))).toEqual({
      object: 'list',
      data: [one, { ...one, id: 'team/slow' }],
    })
    expect(parsed(openaiModels.one(fast))).toEqual(one)
    expect(parsed(openaiModels.list([]))).toEqual({ object: 'list', data: [] })
  })
})

describe('for Anthropic’s clients', () => {
  const one = {
    ...{ type: 'model', id: 'fast', display_name: 'fast', created_at: '1970-01-01T00:00:00Z', lifecycle: 'active' },
    ...{ max_input_tokens: 128_000, max_tokens: 4_096 },
    ...{ capabilities: null, deprecated_at: null, retires_at: null, line: null },
  }

  test('a model promises what each of its targets gives', () => {
    if (!fast) throw new Error('a route')
    expect(parsed(anthropicModels.one(fast))).toEqual(one)
  })

  test('and nothing where one of them is not known', () => {
    if (!slow) throw new Error('a route')
    expect(parsed(anthropicModels.one(slow))).toMatchObject({
      id: 'team/slow',
      max_input_tokens: null,
      max_tokens: null,
    })
  })

  test('a list of one page', () => {
    if (!fast || !slow) throw new Error('two routes')
    expect(parsed(anthropicModels.list([fast, slow]))).toMatchObject({
      ...{ data: [one, { id: 'team/slow' }], has_more: false, first_id: 'fast', last_id: 'team/slow' },
    })
    expect(parsed(anthropicModels.list([]))).toEqual({ data: [], has_more: false, first_id: null, last_id: null })
  })
})
