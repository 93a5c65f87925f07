import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SseSplitter } from './sse-splitter.js'

/** Events of `pieces` as (whole bytes, data). */
function split(pieces: readonly Buffer[], eventBytesMax = 1_000_000) {
  const splitter = new SseSplitter(eventBytesMax)
  const events: { raw: string; data: string | null }[] = []
  const views: { view: Buffer; text: string }[] = []
  for (const piece of pieces) {
    // What the network reads into is used again: nothing may keep a view of it without knowing.
    splitter.feed(Buffer.from(piece))
    while (splitter.next()) {
      const view = splitter.bytes.subarray(splitter.eventStart, splitter.eventEnd)
      const raw = view.toString()
      events.push({ raw, data: splitter.dataCount > 0 ? splitter.dataText() : null })
      views.push({ view, text: raw })
    }
    splitter.keepRest()
  }
  for (const { view, text } of views) expect(view.toString()).toBe(text)
  return { events, rest: splitter.restBytes, overflown: splitter.overflown }
}

const streams: [string, string][] = [
  ['line feeds', 'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n'],
  ['carriage returns and line feeds', 'data: {"a":1}\r\n\r\ndata: {"b":2}\r\n\r\ndata: [DONE]\r\n\r\n'],
  ['comments and other fields', ': hello\n\nevent: x\nid: 7\ndata: {"a":1}\nretry: 5\n\n:\n\ndata:{"b":2}\n\n'],
  ['several data lines', 'data: one\ndata: two\r\ndata:three\n\ndata: \n\n'],
  ['multibyte text', 'data: {"a":"é漢字🦊"}\n\ndata: 🦊\n\n'],
  ['empty lines', '\n\n\ndata: 1\n\n\n\n'],
]

describe('server-sent events', () => {
  test.each(streams)('are the same cut at every byte: %s', (_name, text) => {
    const bytes = Buffer.from(text)
    const whole = split([bytes])
    expect(whole.events.map((event) => event.raw).join('')).toBe(text)
    expect(whole.rest).toBe(0)
    for (let at = 0; at <= bytes.length; at++) {
      expect(split([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(whole)
    }
    expect(split([...bytes].map((byte) => Buffer.from([byte])))).toEqual(whole)
  })

  test('are the same however they are cut', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...streams.map(([, text]) => text)),
        fc.array(fc.nat(200), { maxLength: 12 }),
        (text, cuts) => {
          const bytes = Buffer.from(text.repeat(3))
          const marks = [0, ...cuts.map((cut) => cut % bytes.length).sort((a, b) => a - b), bytes.length]
          const pieces = marks.slice(1).map((mark, index) => bytes.subarray(marks[index], mark))
          expect(split(pieces)).toEqual(split([bytes]))
        },
      ),
    )
  })

  test('joins data lines as the standard says', () => {
    expect(split([Buffer.from('data: one\ndata: two\r\ndata:three\n\n')]).events[0]?.data).toBe('one\ntwo\nthree')
  })

  test('an event above the bound stops everything', () => {
    expect(split([Buffer.from(`data: ${'x'.repeat(2_000)}`)], 1_000)).toMatchObject({ events: [], overflown: true })
  })

  test('an event in very many pieces costs no square of them', () => {
    const splitter = new SseSplitter(2_000_000)
    const piece = Buffer.from('x')
    splitter.feed(Buffer.from('data: '))
    splitter.keepRest()
    for (let i = 0; i < 200_000; i++) {
      splitter.feed(piece)
      splitter.next()
      splitter.keepRest()
    }
    splitter.feed(Buffer.from('\n\n'))
    expect(splitter.next()).toBe(true)
    expect(splitter.dataEnd - splitter.dataStart).toBe(200_000)
  })
})
