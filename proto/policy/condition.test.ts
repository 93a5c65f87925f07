import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileCondition, conditionPatternsMax, isCondition } from './condition.js'
import { conditionCharactersMax, conditionDepthMax } from './condition-syntax.js'
import type { ConditionValues } from './condition-variables.js'
import { patternCharactersMax } from './pattern.js'

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
    ['matches("a")', '1: matches takes a text and a pattern'],
    ['team.matches()', '5: matches takes a text and a pattern'],
    ['matches(team, "a", "b")', '1: matches takes a text and a pattern'],
    ['tokens_in.matches("a")', '10: matches is of a text, not of a whole number'],
    ['team.matches(user)', '14: a pattern stands there as a text'],
    ['team.matches("a" + "b")', '18: a pattern stands there as a text'],
    ['team.matches(5)', '14: a pattern stands there as a text'],
    ['team.matches("(a")', '14: no pattern of RE2: missing closing ): `(a`'],
    ['stream && team.matches("[a")', '24: no pattern of RE2: missing closing ]: `[a`'],
    ['team.matches("a**")', '14: no pattern of RE2: invalid nested repetition operator: `**`'],
    // Neither can be had in linear time.
    ['team.matches(r"(a)\\1")', '14: no pattern of RE2: invalid escape sequence'],
    ['team.matches("(?=a)")', '14: no pattern of RE2: '],
    ['team.matches("(?<=a)b")', '14: no pattern of RE2: '],
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

  test.each([
    // Anywhere, unless the pattern says where.
    ['user.matches("d")', true],
    ['user.matches("^d")', false],
    ['matches(user, "^a.a$")', true],
    ['matches(user, "")', true],
    ['session.matches("^$")', true],
    ['user.matches("(?i)^ADA$")', true],
    ['user.matches("ADA")', false],
    [String.raw`headers["x-tier"].matches(r"^(gold|silver)\b")`, true],
    [String.raw`"bot-17".matches("^bot-\\d{1,3}$")`, true],
    ['"a\\nb".matches("a.b")', false],
    ['"a\\nb".matches("(?s)a.b")', true],
    // One code point is one character.
    ['"😀".matches("^.$")', true],
    [String.raw`"Zürich".matches(r"^\p{Lu}\p{Ll}+$")`, true],
    ['!user.matches("x") && model.matches("^chat") && true', true],
  ])('a pattern is searched for: %s', (text, expected) => {
    expect(run(text)).toBe(expected)
  })

  test('a pattern is looked for in nothing that is not there', () => {
    expect(run('headers["x-none"].matches("a")')).toBe('the header x-none is not there')
    expect(run('headers["x-none"].matches("a") || true')).toBe(true)
  })

  test('patterns are bounded in length, steps and number', () => {
    expect(run(`team.matches("${'a'.repeat(patternCharactersMax)}")`)).toBe(false)
    expect(flawOf(`team.matches("${'a'.repeat(patternCharactersMax + 1)}")`)).toBe(
      '14: the pattern is longer than 256 characters',
    )
    for (const text of [
      '(a{1000}){1000}',
      '((a{30}){30}){30}',
      'a{501}',
      '[a-z]{99999999999}',
      '(abc){3,400}',
      'a{999,}',
    ]) {
      expect(flawOf(`team.matches("${text}")`), text).toMatch(/^14: (the pattern repeats too much|no pattern)/)
    }
    const several = (count: number, pattern: string) => Array(count).fill(`team.matches("${pattern}")`).join(' || ')
    expect(run(several(conditionPatternsMax, 'x'))).toBe(false)
    expect(flawOf(several(conditionPatternsMax + 1, 'x'))).toContain('more than 8 patterns')
    expect(run(several(2, 'x{240}'))).toBe(false)
    expect(flawOf(several(3, 'x{240}'))).toContain('patterns of more than 500 steps together')
  })

  test('what is too large is found out before it is written out', () => {
    // 240,000 steps: to compile them alone takes a second.
    const text = `team.matches(r"(${String.raw`\pL`.repeat(80)}){1000}")`
    const startedMs = performance.now()
    expect(flawOf(text)).toContain('repeats too much')
    expect(performance.now() - startedMs).toBeLessThan(50)
  })

  test('a text that is too long for the patterns of a condition makes it fail', () => {
    const of = (length: number): ConditionValues => ({ ...values, user: 'a'.repeat(length) })
    expect(run('user.matches("b")', of(8_192))).toBe(false)
    expect(run('user.matches("b")', of(8_193))).toBe('a text longer than 8192 characters')
    // All of them together are to be looked for in a few milliseconds.
    const [first, second] = [`user.matches("${'b{200}'}")`, 'user.matches("c{200}")']
    expect(run(first, of(1_200))).toBe(false)
    expect(run(`${first} || ${second}`, of(600))).toBe(false)
    expect(run(`${first} || ${second}`, of(650))).toMatch(/^a text longer than 6\d\d characters$/)
  })

  test.each([
    ['what makes V8 backtrack', '^(a+)+$', `${'a'.repeat(8_000)}!`],
    ['choices of choices', '^(a|a?)+$', `${'a'.repeat(8_000)}!`],
    ['an automaton of many states', '[ab]*a[ab]{20}c', `c${noise(8_000)}`],
  ])('takes a time that grows with the text alone: %s', (_what, pattern, text) => {
    const condition = compileCondition(`user.matches("${pattern}")`)
    if (!isCondition(condition)) throw new Error(condition.message)
    const of = { ...values, user: text }
    expect(condition.test(of)).toBe(false)
    const startedMs = performance.now()
    for (let count = 0; count < 10; count++) condition.test(of)
    // Some 5 ms each at most; V8 would not end at all.
    expect(performance.now() - startedMs).toBeLessThan(2_000)
  })

  test('patterns mean what they mean to JavaScript where both know them', () => {
    const letter = fc.constantFrom('a', 'b', 'c', '.', '[ab]', '[^a]', String.raw`\d`, String.raw`\w`, String.raw`\b`)
    const { pattern } = fc.letrec<{ pattern: string }>((tie) => ({
      pattern: fc.oneof(
        { maxDepth: 4 },
        letter,
        fc.tuple(tie('pattern'), tie('pattern')).map(([a, b]) => `${a}${b}`),
        fc.tuple(tie('pattern'), tie('pattern')).map(([a, b]) => `(?:${a}|${b})`),
        fc
          .tuple(tie('pattern'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '*?', '+?'))
          .map(([a, times]) => `(?:${a})${times}`),
        tie('pattern').map((a) => `^(${a})`),
        tie('pattern').map((a) => `${a}$`),
      ),
    }))
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '1', ' ', '_', 'ü'), maxLength: 12 })
    let comparedCount = 0
    fc.assert(
      fc.property(pattern, fc.array(text, { maxLength: 5 }), (source, texts) => {
        const condition = compileCondition(`user.matches(r"${source}")`)
        // RE2 wants no more than a thousand repetitions, and we want no more than some steps.
        if (!isCondition(condition)) return expect(condition.message).toMatch(/repeats too much|longer than|repeat/)
        const expected = new RegExp(source)
        for (const user of texts) {
          comparedCount += 1
          expect(condition.test({ ...values, user }), `${source} in ${user}`).toBe(expected.test(user))
        }
      }),
      { seed: 13, numRuns: 3_000 },
    )
    expect(comparedCount).toBeGreaterThan(5_000)
  })

  test('never throws, whatever pattern somebody writes', () => {
    const piece = fc.constantFrom(
      ...'()[]{}|*+?^$.,-\\:=!<>&PpQEdwsbzAx09ai',
      '{2,',
      '[:alpha:]',
      '(?i)',
      '(?P<a>',
      '\\p{',
      'é',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 24 }), text12(), (pieces, user) => {
        const condition = compileCondition(`user.matches(${JSON.stringify(pieces.join(''))})`)
        if (isCondition(condition)) expect(typeof condition.test({ ...values, user })).toBe('boolean')
        else expect(condition.at).toBeGreaterThan(0)
      }),
      { seed: 17, numRuns: 10_000 },
    )
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

function text12() {
  return fc.string({ unit: fc.constantFrom('a', 'b', '1', ' ', '(', 'é', '\n'), maxLength: 12 })
}

/** Of a and b, in an order that no automaton foresees; the same each time. */
function noise(length: number): string {
  let state = 12_345
  let text = ''
  for (let index = 0; index < length; index++) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    text += state > 1_073_741_824 ? 'a' : 'b'
  }
  return text
}

function jsCompare<T extends number | string>(operator: string, a: T, b: T): boolean {
  if (operator === '==') return a === b
  if (operator === '!=') return a !== b
  if (operator === '<') return a < b
  if (operator === '<=') return a <= b
  return operator === '>' ? a > b : a >= b
}
