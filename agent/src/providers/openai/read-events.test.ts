import { describe, expect, test } from 'vitest'
import type { ChatEvent } from '../../conversation/chat-event.js'
import { OpenaiEventReader } from './read-events.js'

const chunk = (delta: object, finish_reason: string | null = null) => ({ choices: [{ delta, finish_reason }] })
const calls = (...tool_calls: object[]) => chunk({ tool_calls })
const piece = (index: number | undefined, id: string | undefined, name: string | undefined, given?: unknown) => ({
  ...{ index, id },
  function: { name, arguments: given },
})

/** Without the start, and with pieces of arguments joined. */
function read(...chunks: object[]): string[] {
  const found: string[] = []
  const reader = new OpenaiEventReader()
  const take = (event: ChatEvent) => {
    switch (event.type) {
      case 'start':
        return
      case 'tool_call':
        return found.push(`${event.id} ${event.name}`)
      case 'tool_arguments':
        return found.push(`${found.pop()}${event.text}`)
      case 'text':
      case 'reasoning':
        return found.push(event.text)
      default:
        return found.push(event.type === 'finish' ? event.finish.reason : event.type)
    }
  }
  for (const one of chunks) reader.push(Buffer.from(`data: ${JSON.stringify(one)}\n\n`), take)
  reader.push(Buffer.from('data: [DONE]\n\n'), take)
  return found
}

const first = piece(0, 'a', 'f', '{"a":1}')

describe('calls of a stream', () => {
  test.each([
    ['with an index each', [calls(first), calls(piece(1, 'b', 'g', '{')), calls(piece(1, undefined, undefined, '}'))]],
    ['all of index 0, in a chunk each', [calls(first), calls(piece(0, 'b', 'g', '{}'))]],
    ['all of index 0, in one chunk', [calls(first, piece(0, 'b', 'g', '{}'))]],
    ['without an index', [calls(piece(undefined, 'a', 'f', '{"a":1}')), calls(piece(undefined, 'b', 'g', '{}'))]],
    ['whose id is in every piece', [calls(first), calls(piece(0, 'b', 'g', '{')), calls(piece(0, 'b', 'g', '}'))]],
    ['whose id is empty later', [calls(first), calls(piece(0, 'b', 'g', '{')), calls(piece(0, '', '', '}'))]],
    [
      'with an id made up for every piece',
      [calls(first), calls(piece(0, 'b', 'g', '{')), calls(piece(0, 'x', undefined, '}'))],
    ],
  ])('%s', (_words, chunks) => {
    expect(read(...chunks)).toEqual(['a f{"a":1}', 'b g{}', 'done'])
  })

  test('get an id where they have none', () => {
    expect(read(calls(piece(0, '', 'f', '{}')), calls(piece(1, undefined, 'g', '{}')))).toEqual([
      'call_0 f{}',
      'call_1 g{}',
      'done',
    ])
  })

  test.each([
    ['by their index', calls(piece(0, undefined, undefined, '1')), calls(piece(1, 'b', 'g', '{'))],
    ['by their id', calls(piece(0, 'a', undefined, '1')), calls(piece(0, 'b', 'g', '{'))],
  ])('in turns are malformed, %s', (_words, again, other) => {
    expect(read(calls(piece(0, 'a', 'f', '{')), other, again)).toEqual(['a f{', 'b g{', 'malformed', 'done'])
  })

  test('of no end are malformed', () => {
    const many = Array.from({ length: 1_030 }, (_, index) => calls(piece(index, `i${index}`, 'f', '{}')))
    expect(read(...many)).toContain('malformed')
  })
})

describe('arguments', () => {
  test.each([
    [
      'none, before the next call',
      [calls(piece(0, 'a', 'f')), calls(piece(1, 'b', 'g', ''))],
      ['a f{}', 'b g{}', 'done'],
    ],
    ['none, at the end', [calls(piece(0, 'a', 'f')), chunk({}, 'tool_calls')], ['a f{}', 'tool_calls', 'done']],
    ['none, before a text', [calls(piece(0, 'a', 'f')), chunk({ content: 'Hi.' })], ['a f{}', 'Hi.', 'done']],
    ['cut off by the limit', [calls(piece(0, 'a', 'f')), chunk({}, 'length')], ['a f', 'length', 'done']],
    ['an object', [calls(piece(0, 'a', 'f', { a: 1 }))], ['a f{"a":1}', 'done']],
    ['a number', [calls(piece(0, 'a', 'f', 7))], ['malformed', 'done']],
  ] as [string, object[], string[]][])('%s', (_words, chunks, found) => {
    expect(read(...chunks)).toEqual(found)
  })
})

describe('how a stream ended', () => {
  test.each([
    ['stop', 'tool_calls'],
    ['tool_calls', 'tool_calls'],
    ['length', 'length'],
    ['content_filter', 'content_filter'],
  ])('%s with a call is %s', (given, reason) => {
    expect(read(calls(first), chunk({}, given))).toEqual(['a f{"a":1}', reason, 'done'])
  })

  test('stop without a call is stop', () => {
    expect(read(chunk({ content: 'Hi.' }, 'stop'))).toEqual(['Hi.', 'stop', 'done'])
  })
})

describe('content', () => {
  test('in parts is their text, and anything else malformed', () => {
    expect(
      read(
        chunk({
          content: [
            { type: 'text', text: 'H' },
            { type: 'text', text: 'i.' },
          ],
        }),
      ),
    ).toEqual(['Hi.', 'done'])
    expect(read(chunk({ content: { text: 'Hi.' } }))).toEqual(['malformed', 'done'])
    expect(read(chunk({ content: [{ type: 'image' }] }))).toEqual(['malformed', 'done'])
  })
})
