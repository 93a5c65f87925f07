import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileCondition, isCondition } from './condition.js'
import { conditionCharactersMax, conditionDepthMax } from './condition-syntax.js'
import type { ConditionValues } from './condition-variables.js'

const headers = new Map([
  ['x-tier', 'gold'],
  ['x-empty', ''],
])
const values: ConditionValues = {
  ...{ tenant: 'ten_1', environment: 'production', team: 'team_1', key: 'key_1', user: 'ada', session: '' },
  ...{ model: 'chat', operation: 'messages', prompt_class: 'code', complexity: 0.5, tokens_in: 1200 },
  ...{ stream: true, region: 'eu', now: Date.UTC(2026, 10, 27, 12, 30), hour: 12, weekday: 5 },
  header: (name) => headers.get(name),
}
const nothing: ConditionValues = {
  ...values,
  ...{ prompt_class: null, complexity: null, tokens_in: null, stream: null, region: null, now: null, hour: null },
  ...{ weekday: null, header: () => undefined },
}

function run(text: string, of: ConditionValues = values): boolean | string {
  const condition = compileCondition(text)
  if (!isCondition(condition)) throw new Error(`${text}: at ${condition.at}: ${condition.message}`)
  return condition.test(of)
}

function flawOf(text: string): string {
  const condition = compileCondition(text)
  if (isCondition(condition)) throw new Error(`${text} is a condition`)
  return `${condition.at}: ${condition.message}`
}

describe('a condition', () => {
  test.each([
    ['true', true],
    ['!true', false],
    ['team == "team_1"', true],
    ["team == 'team_2'", false],
    ['complexity >= 0.5', true],
    ['complexity > 0.5', false],
    ['complexity < 1', true],
    ['tokens_in > 1e3', true],
    ['tokens_in == 1200.0', true],
    ['tokens_in != 0x4b0', false],
    ['headers["x-tier"] == "gold"', true],
    ['"x-tier" in headers', true],
    ['"x-none" in headers', false],
    ['headers["x-empty"] == ""', true],
    ['prompt_class in ["code", "reasoning"]', true],
    ['prompt_class in []', false],
    ['tokens_in in [1200, 7]', true],
    ['tokens_in in [1200.0]', true],
    ['"code" in [prompt_class, model]', true],
    ['hour >= 8 && hour < 18 && weekday in [1, 2, 3, 4, 5]', true],
    ['hour < 8 || weekday == 5', true],
    ['now < timestamp("2027-01-01T00:00:00Z")', true],
    ['now > timestamp("2026-11-27T13:30:00+02:00")', true],
    ['user.startsWith("a") && user.endsWith("a") && user.contains("d")', true],
    ['size(user) == 3 && user.size() == 3', true],
    ['size("a😀") == 2', true],
    ['size([1, 2]) == 2', true],
    ['stream ? model == "chat" : false', true],
    ['false ? true : true ? false : true', false],
    ['tokens_in / 1000 == 1 && tokens_in % 1000 == 200', true],
    ['-7 / 2 == -3 && -7 % 2 == -1', true],
    ['tokens_in + 1 - 2 * 3 == 1195', true],
    ['complexity * 2.0 == 1.0', true],
    ['1.0 / 0.0 > 1000000.0', true],
    ['environment + "/" + model == "production/chat"', true],
    ['"a" < "b" && "a" <= "a" && "b" > "a" && "B" < "a"', true],
    // By code point: U+FF61 is below U+1F600, though its UTF-16 unit is above the first half of the pair.
    ['"｡" < "😀" && "x｡" < "x😀" && "😀" < "😁"', true],
    ['true == !false && (true != false)', true],
    ['r"\\d" == "\\\\d" && "\\u00e9\\x41\\101\\n" == "éAA\\n"', true],
    ['operation == "messages" && region == "eu" && tenant == "ten_1" && key == "key_1"', true],
    // What stands on the left of || and && is bound tighter by &&.
    ['true || false && false', true],
    ['!(stream && complexity > 0.9)', true],
  ])('%s', (text, expected) => {
    expect(run(text)).toBe(expected)
  })

  test.each([
    ['headers["x-none"] == "gold"', 'the header x-none is not there'],
    ['!(headers["x-none"] == "gold")', 'the header x-none is not there'],
    ['headers["x-none"] == "a" && true', 'the header x-none is not there'],
    ['headers["x-none"] == "a" || false', 'the header x-none is not there'],
    ['tokens_in / (tokens_in - 1200) == 1', 'a division by zero'],
    ['tokens_in * 9007199254740991 > 1', 'a number beyond what is exact'],
    ['user in [headers["x-none"]]', 'the header x-none is not there'],
    ['headers["x-none"] == "a" ? true : true', 'the header x-none is not there'],
  ])('%s fails in words', (text, why) => {
    expect(run(text)).toBe(why)
  })

  test.each([
    ['headers["x-none"] == "a" && false', false],
    ['false && headers["x-none"] == "a"', false],
    ['headers["x-none"] == "a" || true', true],
    ['true || headers["x-none"] == "a"', true],
    ['stream ? true : headers["x-none"] == "a"', true],
  ])('%s needs only one side, as in CEL', (text, expected) => {
    expect(run(text)).toBe(expected)
  })

  test.each(['complexity', 'tokens_in', 'hour', 'weekday', 'now', 'prompt_class', 'region', 'stream'])(
    'a fact that is not known fails: %s',
    (name) => {
      expect(run(`${name} == ${name}`, nothing)).toBe(`${name} is not known here`)
    },
  )

  test.each([
    ['', '1: empty; leave the condition out where the rule always applies'],
    ['  ', '1: empty; leave the condition out where the rule always applies'],
    ['teem == "a"', '1: there is no teem; there are tenant,'],
    ['team = "a"', '6: a single = compares nothing; write =='],
    ['team == "a" & stream', '13: a single & means nothing; write &&'],
    ['team == "a', '9: the string has no closing "'],
    ['team == "\\q"', '10: no such escape in a string'],
    ['team == 5', '6: == cannot compare a text with a whole number'],
    ['stream > true', '8: > is not for true and false'],
    ['team', '1: is a text; a condition is true or false'],
    ['tokens_in + 0.5 > 1.0', '11: + cannot take a whole number and a number'],
    ['stream && team', '8: && is for true and false, not for a text'],
    ['!team', '1: ! is for true and false, not for a text'],
    ['-team == team', '1: - is for numbers, not for a text'],
    ['headers["X-Tier"] == "a"', '9: headers are lower case: write "x-tier"'],
    ['headers["authorization"] == "a"', '9: authorization holds a secret; the variable key says who asks'],
    ['"x-api-key" in headers', '1: x-api-key holds a secret'],
    ['headers[user] == "a"', '9: a header is named by a text, for example headers["x-tier"]'],
    ['headers == headers', '9: == cannot compare headers with headers'],
    ['headers.tier == "a"', '8: there are no members; a header is written headers["tier"]'],
    ['team[0] == "a"', '5: only headers have [ ]'],
    ['team in "abc"', '6: after in stands a list or headers, not a text'],
    ['5 in ["a"]', '3: a whole number is never in a list of string'],
    ['team in ["a", 5]', '9: a list holds values of one type'],
    ['team in [["a"]]', '9: a list holds plain values'],
    ['stream ? 1 : "a"', '8: : has a whole number before it and a text after it'],
    ['matches(team, "a")', '1: matches is not offered'],
    ['team.matches("a")', '5: matches is not offered'],
    ['team.startsWith(5)', '5: startsWith is of a text and takes a text'],
    ['team.startsWith()', '5: startsWith takes one text'],
    ['now.getHours() == 5', '4: there is no function getHours here; there are size, startsWith'],
    ['timestamp(team) < now', '11: timestamp takes an instant as a text'],
    ['now < timestamp("2026-13-01T00:00:00Z")', '17: there is no instant'],
    ['team == null', '9: null is no value here'],
    ['team == b"a"', '9: bytes are no value here'],
    ['{"a": 1}', '1: maps are no value here'],
    ['(true', '6: expected ) (the end of ( )), found the end'],
    ['true true', '6: expected an operator or the end, found true'],
    ['1 +', '4: expected a value, found the end'],
    ['9007199254740993 > 1', '1: 9007199254740993 is too large'],
    ['1u > 1', '1: 1u… is no number'],
    ['true ? true', '12: expected : (the other value of c ? a : b), found the end'],
  ])('%s is refused with place and reason', (text, flaw) => {
    expect(flawOf(text).startsWith(flaw), flawOf(text)).toBe(true)
  })

  test('is bounded in length, nesting and size', () => {
    expect(flawOf(`team == "${'a'.repeat(conditionCharactersMax)}"`)).toContain('longer than')
    const nested = (depth: number) => `${'('.repeat(depth)}true${')'.repeat(depth)}`
    expect(run(nested(conditionDepthMax - 1))).toBe(true)
    expect(flawOf(nested(conditionDepthMax))).toContain('nested deeper')
    expect(flawOf(`${'!'.repeat(conditionDepthMax + 1)}true`)).toContain('nested deeper')
    expect(flawOf(Array(300).fill('true').join('&&'))).toContain('more than 400')
    expect(flawOf(Array.from({ length: 21 }, (_, index) => `"x-${index}" in headers`).join('||'))).toContain('headers')
  })

  test('says what it reads', () => {
    const condition = compileCondition('complexity > 0.5 && headers["x-tier"] == user || "x-b" in headers')
    if (!isCondition(condition)) throw new Error(condition.message)
    expect([...condition.reads].sort()).toEqual(['complexity', 'headers', 'user'])
    expect([...condition.headers]).toEqual(['x-tier', 'x-b'])
  })

  test('agrees with JavaScript on what both can say', () => {
    const leaf = fc.oneof(
      fc
        .tuple(fc.constantFrom('==', '!=', '<', '<=', '>', '>='), fc.integer({ min: 1199, max: 1201 }))
        .map(([operator, number]) => ({
          text: `tokens_in ${operator} ${number}`,
          value: jsCompare(operator, 1200, number),
        })),
      fc
        .tuple(fc.constantFrom('==', '!=', '<', '<=', '>', '>='), fc.constantFrom('ad', 'ada', 'adb', 'b', ''))
        .map(([operator, word]) => ({ text: `user ${operator} "${word}"`, value: jsCompare(operator, 'ada', word) })),
      fc.subarray(['code', 'chat', 'other']).map((words) => ({
        text: `prompt_class in ${JSON.stringify(words)}`,
        value: words.includes('code'),
      })),
      fc.boolean().map((value) => ({ text: `${value}`, value })),
    )
    const { tree } = fc.letrec<{ tree: { text: string; value: boolean } }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 5 },
        leaf,
        fc
          .tuple(tie('tree'), tie('tree'))
          .map(([a, b]) => ({ text: `(${a.text} && ${b.text})`, value: a.value && b.value })),
        fc
          .tuple(tie('tree'), tie('tree'))
          .map(([a, b]) => ({ text: `(${a.text} || ${b.text})`, value: a.value || b.value })),
        tie('tree').map((a) => ({ text: `!(${a.text})`, value: !a.value })),
        fc.tuple(tie('tree'), tie('tree'), tie('tree')).map(([a, b, c]) => ({
          text: `(${a.text} ? ${b.text} : ${c.text})`,
          value: a.value ? b.value : c.value,
        })),
      ),
    }))
    fc.assert(
      fc.property(tree, ({ text, value }) => {
        fc.pre(text.length <= conditionCharactersMax)
        const condition = compileCondition(text)
        if (isCondition(condition)) expect(condition.test(values)).toBe(value)
        else expect(condition.message).toMatch(/nested deeper|more than/)
      }),
      { seed: 7, numRuns: 2_000 },
    )
  })

  test('never throws, whatever somebody writes', () => {
    const words = [
      'team',
      'headers',
      '["x"]',
      '(',
      ')',
      '==',
      '&&',
      '||',
      'in',
      '[',
      ']',
      ',',
      '?',
      ':',
      '-',
      '!',
      '"a"',
    ]
    const piece = fc.oneof(fc.constantFrom(...words, '1', '0.5', '.size()', 'timestamp("x")', '\\', "'"), fc.string())
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const condition = compileCondition(pieces.join(' '))
        if (isCondition(condition)) expect(['boolean', 'string']).toContain(typeof condition.test(nothing))
        else expect(condition.at).toBeGreaterThan(0)
      }),
      { seed: 11, numRuns: 10_000 },
    )
  })
})

function jsCompare<T extends number | string>(operator: string, a: T, b: T): boolean {
  if (operator === '==') return a === b
  if (operator === '!=') return a !== b
  if (operator === '<') return a < b
  if (operator === '<=') return a <= b
  return operator === '>' ? a > b : a >= b
}
