import { describe, expect, test } from 'vitest'
import type { TextPart, ToolResultPart } from './conversation.js'
import { bytesOfDataUrl, dataUrlOf } from './data-url.js'
import { RegularTurns } from './regular-turns.js'

const text = (said: string): TextPart => ({ type: 'text', at: said, text: said })
const result = (callId: string): ToolResultPart => ({
  type: 'tool_result',
  at: callId,
  callId,
  parts: [],
  isError: false,
})

describe('regular turns', () => {
  test('take any number of parts at once', () => {
    const many = Array.from({ length: 300_000 }, () => text('a'))
    const turns = new RegularTurns()
    for (const add of [turns.addUser, turns.addAssistant, turns.addSystem]) {
      add.call(turns, '0', [text('a')])
      add.call(turns, '1', many)
    }
    expect(turns.finish().map(({ parts }) => parts.length)).toEqual([300_001, 300_001, 300_001])
  })

  test('neighbours of one role are one turn, at the place of the first', () => {
    const turns = new RegularTurns()
    turns.addUser('0', [text('a')])
    turns.addUser('1', [text('b')])
    turns.addAssistant('2', [text('c')])
    turns.addAssistant('3', [text('d')])
    turns.addSystem('4', [text('e')])
    turns.addUser('5', [text('f')])
    expect(turns.finish().map(({ role, at, parts }) => [role, at, parts.length])).toEqual([
      ['user', '0', 2],
      ['assistant', '2', 2],
      ['system', '4', 1],
      ['user', '5', 1],
    ])
  })

  test('results of tools stand first, in their order', () => {
    const turns = new RegularTurns()
    turns.addUser('0', [text('a'), result('r1')])
    turns.addUser('1', [result('r2'), text('b')])
    expect(turns.finish()[0]?.parts.map(({ at }) => at)).toEqual(['r1', 'r2', 'a', 'b'])
  })

  test('who says nothing makes no turn', () => {
    const turns = new RegularTurns()
    turns.addUser('0', [])
    turns.addAssistant('1', [])
    turns.addSystem('2', [])
    expect(turns.isEmpty).toBe(true)
  })

  test('a hundred thousand messages of one role take no longer than that', () => {
    const turns = new RegularTurns()
    for (let index = 0; index < 100_000; index++) turns.addUser(String(index), [text('a')])
    expect(turns.finish()[0]?.parts).toHaveLength(100_000)
  })
})

describe('data URLs', () => {
  test.each([
    ['data:image/png;base64,AAAA', 'image/png', 'AAAA'],
    ['data:IMAGE/PNG;base64,AAAA', 'image/png', 'AAAA'],
    ['data:application/pdf;name=a.pdf;base64,JVBE', 'application/pdf', 'JVBE'],
  ])('%s', (url, mediaType, data) => {
    expect(bytesOfDataUrl(url)).toEqual({ kind: 'base64', mediaType, data })
  })

  test.each(['https://example.com/a.png', 'data:image/png,AAAA', 'data:;base64,AAAA', 'data:image/png;base64', ''])(
    '%s is none',
    (url) => expect(bytesOfDataUrl(url)).toBeNull(),
  )

  test('there and back', () => {
    const source = { kind: 'base64', mediaType: 'image/webp', data: 'AAAA' } as const
    expect(bytesOfDataUrl(dataUrlOf(source))).toEqual(source)
  })
})
