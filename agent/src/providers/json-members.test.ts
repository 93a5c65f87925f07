import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyEdits, findMembers } from './json-members.js'

const names = ['model', 'stream_options']
const find = (text: string) => findMembers(Buffer.from(text), 0, names)
const textOf = (text: string, name: string) => {
  const span = find(text)?.spans.get(name)
  return span ? Buffer.from(text).toString('utf8', span.start, span.end) : null
}

describe('members of an object in its bytes', () => {
  const cases: [string, string, string | null][] = [
    ['plain', '{"model":"a"}', '"a"'],
    ['with space everywhere', ' \n{ "model"\t:\r\n "a" , "b" : 1 } ', '"a"'],
    ['not first', '{"a":[1,{"model":"x"}],"model":"a"}', '"a"'],
    ['only nested', '{"a":{"model":"x"}}', null],
    ['only as a text', '{"a":"\\"model\\":\\"x\\""}', null],
    ['after a text that ends in a backslash', '{"a":"\\\\","model":"a"}', '"a"'],
    ['after a long text with quotes', `{"a":"${'x'.repeat(100)}\\"${'\\\\'.repeat(40)}","model":"a"}`, '"a"'],
    ['after a long text that ends in backslashes', `{"a":"${'x'.repeat(60)}\\\\\\\\","model":"a"}`, '"a"'],
    ['an object', '{"model":{"a":"}"},"b":1}', '{"a":"}"}'],
    ['an array', '{"model":["]",[1]],"b":1}', '["]",[1]]'],
    ['a number', '{"model":-1.5e10,"b":1}', '-1.5e10'],
    ['a word at the end', '{"b":1,"model":null}', 'null'],
    ['a value with escapes', '{"model":"a\\"b\\u0041"}', '"a\\"b\\u0041"'],
    ['a name with escapes', '{"mod\\u0065l":"a"}', '"a"'],
    ['multibyte before', '{"é漢字🦊":"é漢字🦊","model":"ü"}', '"ü"'],
    ['an empty object', '{}', null],
  ]
  test.each(cases)('%s', (_name, text, expected) => {
    expect(textOf(text, 'model')).toBe(expected)
  })

  test('says when a name comes twice, however it is spelled', () => {
    expect(find('{"model":"a","x":1,"model":"b"}')?.duplicate).toBe('model')
    expect(find('{"model":"a","\\u006dodel":"b"}')?.duplicate).toBe('model')
    expect(find('{"model":"a","models":"b"}')?.duplicate).toBeNull()
  })

  test.each([
    ['flat', '{"a":1,"model":"a"}', 1],
    ['objects and arrays alike', '{"model":[{"a":[1]},[]]}', 4],
    ['brackets in texts are none', '{"model":"[[[[[","b":["{{{{"]}', 2],
    ['side by side', '{"a":[[],[],[[]]],"model":[]}', 4],
  ])('%s: levels are counted', (_what, text, depth) => {
    const within = (depthMax: number) => findMembers(Buffer.from(text), 0, names, depthMax)
    expect(within(depth)).toEqual(find(text))
    expect(within(depth)).toMatchObject({ tooDeep: false })
    if (depth > 1) expect(within(depth - 1)).toMatchObject({ tooDeep: true, end: -1 })
  })

  test('is not an object', () => {
    for (const text of ['[]', '"model"', '1', 'null', '']) expect(find(text)).toBeNull()
  })

  test('finds in any JSON what a parser finds', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('model', 'stream_options', 'a', 'mod', 'modelx', '"', '\\'), fc.jsonValue()),
        fc.nat(3),
        (value, indent) => {
          const text = JSON.stringify(value, null, indent)
          for (const name of names) {
            const found = textOf(text, name)
            if (Object.hasOwn(value, name))
              expect(JSON.parse(found ?? 'undefined')).toEqual(JSON.parse(JSON.stringify(value[name])))
            else expect(found).toBeNull()
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  test('replaces a member and nothing else', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), fc.string(), (rest, before, after) => {
        const text = JSON.stringify({ ...rest, model: before })
        const bytes = Buffer.from(text)
        const span = findMembers(bytes, 0, names)?.spans.get('model')
        if (!span) throw new Error('no model')
        const edited = applyEdits(bytes, [{ ...span, text: JSON.stringify(after) }])
        expect(JSON.parse(edited.toString())).toEqual(JSON.parse(JSON.stringify({ ...rest, model: after })))
        expect(edited.subarray(0, span.start).equals(bytes.subarray(0, span.start))).toBe(true)
        expect(edited.subarray(edited.length - (bytes.length - span.end)).equals(bytes.subarray(span.end))).toBe(true)
      }),
    )
  })
})
