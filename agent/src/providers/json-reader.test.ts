import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readMembers } from './json-reader.js'

const names = ['usage', 'model']

/** What `readMembers` has to give, by the judge it must agree with. */
function expectedOf(text: string): Record<string, unknown> | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const object = value as Record<string, unknown>
  return Object.fromEntries(names.filter((name) => Object.hasOwn(object, name)).map((name) => [name, object[name]]))
}

/** What was asked for of what was found; of a short text everything is. */
function readOf(bytes: Buffer): Record<string, unknown> | null {
  const found = readMembers(bytes, names)
  return (
    found && Object.fromEntries(names.filter((name) => Object.hasOwn(found, name)).map((name) => [name, found[name]]))
  )
}

/** Space that makes a text too long to be parsed. */
const padding = ' '.repeat(10_000)

function expectAgreement(text: string): void {
  for (const one of [text, text + padding]) {
    expect(readOf(Buffer.from(one)), text).toEqual(expectedOf(Buffer.from(one).toString()))
  }
}

const answer = JSON.stringify({
  id: 'x',
  model: 'm "quoted" \u2028 é漢字🦊\n',
  choices: [{ index: 0, message: { content: 'a\\b', refusal: null }, logprobs: null }],
  usage: { prompt_tokens: 219, cost: -1.5e-10, details: [true, false, {}] },
})

describe('members read off a JSON text', () => {
  test.each([
    ['{}'],
    ['  {"model" : "a" ,\r\n\t"usage":{"a":[1,2,[ ]]} } '],
    ['{"mod\\u0065l":"escaped name"}'],
    ['{"model":1,"model":2}'],
    ['{"a":01}'],
    ['{"a":-}'],
    ['{"a":1.}'],
    ['{"a":.5}'],
    ['{"a":1e}'],
    ['{"a":1E+5,"b":-0.0e-1,"c":0}'],
    ['{"a":tru}'],
    ['{"a":nul'],
    ['{"a":"\\x"}'],
    ['{"a":"\\u12g4"}'],
    ['{"a":"tab\there"}'],
    ['{"a":1,}'],
    ['{"a":[1,]}'],
    ['{,}'],
    ['{"a" 1}'],
    ['{"a":1}}'],
    ['{"a":1} x'],
    ['{"a":{"b":1]}'],
    ['[]'],
    ['"text"'],
    ['null'],
    [''],
    ['\ufeff{}'],
    [`{"model":"deep","a":${'['.repeat(500)}${']'.repeat(500)}}`],
    [`{"model":"deep","a":${'{"a":'.repeat(150)}1${'}'.repeat(150)}}`],
    [`{"a":${'['.repeat(500)}`],
  ])('are what JSON.parse finds: %s', (text) => expectAgreement(text))

  test('are found in any object, and only where it is whole', () => {
    const objects = fc.dictionary(fc.constantFrom('usage', 'model', 'a', 'models', '"', '\\'), fc.jsonValue())
    fc.assert(
      fc.property(objects, fc.nat(3), fc.nat(), (object, indent, cut) => {
        const text = JSON.stringify(object, null, indent)
        expectAgreement(text)
        expectAgreement(text.slice(0, cut % text.length))
      }),
      { numRuns: 500 },
    )
  })

  test('are found in a text of any length, where only its frame is judged', () => {
    const long = JSON.stringify({
      data: Array.from({ length: 40 }, () => ({ embedding: 'q"\\'.repeat(20_000) })),
      model: 'long',
      usage: { prompt_tokens: 5 },
    })
    expect(long.length).toBeGreaterThan(2_000_000)
    expectAgreement(long)
    expectAgreement(`${long} \n`)
    expectAgreement(`${long}}`)
    expectAgreement(long.slice(0, -1))
    expectAgreement(long.replace('"prompt_tokens":5', '"prompt_tokens":05'))
    expectAgreement(long.replace('"model":"long"', '"model":"a\ttab"'))
    expectAgreement(long.replace('"model"', '"mo\\xdel"'))
    expectAgreement(`{${'"model":1,'.repeat(200_000)}"model":"last"}`)
  })

  test('are refused wherever one byte of the text is another that makes it none', () => {
    const bytes = Buffer.from(answer)
    const others = [
      0, 0x0a, 0x20, 0x22, 0x2c, 0x2d, 0x2e, 0x30, 0x3a, 0x5b, 0x5c, 0x5d, 0x65, 0x74, 0x7b, 0x7d, 0x80, 0xff,
    ]
    for (let at = 0; at < bytes.length; at++) {
      for (const other of others) {
        const changed = Buffer.from(bytes)
        changed[at] = other
        const expected = expectedOf(changed.toString())
        expect(readOf(changed), `${at}: ${other}`).toEqual(expected)
        expect(readOf(Buffer.concat([changed, Buffer.from(padding)])), `${at}: ${other}`).toEqual(expected)
      }
    }
  })
})
