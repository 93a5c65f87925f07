import { describe, expect, it } from 'vitest'
import { tellPrompt } from './prompt-text.js'

/** Everything told, and whether it ended early. */
function told(fields: Record<string, unknown>, textMax = Number.POSITIVE_INFINITY): { text: string; isCut: boolean } {
  let text = ''
  let isCut = false
  tellPrompt(fields, {
    text: (more) => {
      text += `${more}|`
    },
    number: (value) => {
      text += `#${value}|`
    },
    cut: () => {
      isCut = true
    },
    get isFull() {
      return text.length >= textMax
    },
  })
  return { text, isCut }
}

const textOf = (fields: Record<string, unknown>) => told(fields).text
const user = (content: unknown) => ({ role: 'user', content })
const tools = [{ type: 'function', function: { name: 'look', parameters: { properties: { status: {}, url: {} } } } }]

describe('what a model will see', () => {
  it.each<[string, Record<string, unknown>, string[]]>([
    [
      'instructions, tools, turns',
      { messages: [{ role: 'system', content: 'be brief' }, user('hello')], tools },
      ['be brief', 'look', 'hello'],
    ],
    [
      'in that order, also where a body has them in another',
      { tools, messages: [user('hello')], system: 'be brief' },
      ['be brief', 'look', 'hello'],
    ],
    [
      'of the Messages API',
      { system: [{ type: 'text', text: 'be brief' }], messages: [user([{ type: 'text', text: 'hello' }])] },
      ['be brief', 'hello'],
    ],
    [
      'of the Responses API',
      { instructions: 'be brief', input: [user('hello')], tools },
      ['be brief', 'look', 'hello'],
    ],
    ['of a response to a plain text', { input: 'hello', instructions: 'be brief' }, ['be brief', 'hello']],
    ['of a completion', { prompt: 'once upon a time' }, ['once upon a time']],
    [
      'calls and results of tools',
      {
        messages: [
          {
            role: 'assistant',
            content: null,
            tool_calls: [{ id: 'c1', function: { name: 'look', arguments: '{"a":1}' } }],
          },
          { role: 'tool', tool_call_id: 'c1', content: 'found' },
        ],
      },
      ['look', '{"a":1}', 'found'],
    ],
    ['after the salt that keeps caches apart', { cache_salt: 'mine', messages: [user('hello')] }, ['mine', 'hello']],
  ])('is told: %s', (_, fields, expected) => {
    const { text, isCut } = told(fields)
    const places = expected.map((part) => text.indexOf(`${part}|`))
    expect(places.every((place) => place >= 0)).toBe(true)
    expect(places).toEqual([...places].sort((a, b) => a - b))
    expect(isCut).toBe(false)
  })

  it('is told by tokens where a prompt is made of them', () => {
    expect(textOf({ prompt: [1, 2, 70_000] })).toContain('#1|#2|#70000|')
  })

  it('begins alike as long as a conversation goes on', () => {
    const first = [user('a question')]
    const next = [...first, { role: 'assistant', content: 'an answer', refusal: null, annotations: [] }, user('more')]
    expect(textOf({ messages: next, tools }).startsWith(textOf({ messages: first, tools }))).toBe(true)
  })

  it('does not change with what no model sees', () => {
    const plain = { messages: [user([{ type: 'text', text: 'hello' }]), { role: 'assistant', content: 'yes' }] }
    const marked = {
      temperature: 1,
      messages: [
        user([{ type: 'text', text: 'hello', cache_control: { type: 'ephemeral' } }]),
        { role: 'assistant', content: 'yes', reasoning_content: 'hm', annotations: [] },
      ],
    }
    expect(textOf(marked)).toBe(textOf(plain))
  })

  it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    ['a role', { messages: [user('a')] }, { messages: [{ role: 'assistant', content: 'a' }] }],
    ['a salt', { cache_salt: 'a', messages: [user('a')] }, { cache_salt: 'b', messages: [user('a')] }],
    [
      'a member of a schema, whatever its name',
      { tools, messages: [user('a')] },
      {
        tools: [{ type: 'function', function: { name: 'look', parameters: { properties: { url: {} } } } }],
        messages: [user('a')],
      },
    ],
    [
      'an argument',
      { messages: [{ role: 'assistant', content: [{ type: 'tool_use', input: { status: 'a' } }] }] },
      { messages: [{ role: 'assistant', content: [{ type: 'tool_use', input: { status: 'b' } }] }] },
    ],
    ['a truth', { messages: [user([{ x: true }])] }, { messages: [user([{ x: false }])] }],
    ['a fraction', { messages: [user([{ x: 0.5 }])] }, { messages: [user([{ x: 0.25 }])] }],
    [
      'a short picture',
      { messages: [user([{ image_url: { url: 'data:a' } }])] },
      { messages: [user([{ image_url: { url: 'data:b' } }])] },
    ],
  ])('changes with %s', (_, one, other) => {
    expect(textOf(one)).not.toBe(textOf(other))
  })

  it('has of a long picture only samples, and what follows it', () => {
    const bytes = Array.from({ length: 100_000 }, (_, i) => String.fromCharCode(65 + ((i * i) % 26))).join('')
    const picture = (url: string) => ({
      messages: [
        user([
          { type: 'image_url', image_url: { url } },
          { type: 'text', text: 'what is this?' },
        ]),
      ],
    })
    const text = textOf(picture(bytes))
    expect(text.length).toBeLessThan(4_000)
    expect(text).toContain('what is this?')
    expect(textOf(picture(`${bytes}A`))).not.toBe(text)
    expect(textOf(picture(`!${bytes.slice(1)}`))).not.toBe(text)
    expect(textOf(picture(`${bytes.slice(0, -1)}!`))).not.toBe(text)
  })
})

describe('a body made to be slow', () => {
  it.each<[string, Record<string, unknown>]>([
    ['of a million nulls', { messages: [user(new Array(1_000_000).fill(null))] }],
    ['of a million turns', { messages: new Array(1_000_000).fill({ role: 'user', content: '' }) }],
    [
      'of a million members',
      { messages: [user([Object.fromEntries(Array.from({ length: 300_000 }, (_, i) => [`m${i}`, '']))])] },
    ],
    ['of a million tools', { tools: new Array(1_000_000).fill(1), messages: [user('a')] }],
  ])('%s is left off, and says so', (_, fields) => {
    const { text, isCut } = told(fields)
    expect(isCut).toBe(true)
    expect(text.length).toBeLessThan(2_000_000)
  })

  it('of ten thousand lists in each other is left off', () => {
    let nested: unknown = 'deep'
    for (let depth = 0; depth < 10_000; depth++) nested = [nested]
    const { text, isCut } = told({ messages: [user(nested)] })
    expect(isCut).toBe(true)
    expect(text).not.toContain('deep')
  })

  it('is left off as soon as nobody listens', () => {
    const { text, isCut } = told({ messages: new Array(1_000).fill(user('a'.repeat(1_000))) }, 5_000)
    expect(isCut).toBe(true)
    expect(text.length).toBeLessThan(7_000)
  })

  it.each<[Record<string, unknown>]>([
    [{}],
    [{ messages: null }],
    [{ messages: 5, tools: 'x' }],
    [{ input: { a: 1 } }],
    [{ messages: [null, 7] }],
  ])('%j is no trouble', (fields) => {
    expect(() => told(fields)).not.toThrow()
  })
})
