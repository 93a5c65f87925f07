import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findDifference } from './semantic-guard.js'
import { differentPairs, samePairs } from './semantic-guard-pairs.js'

const different = Object.entries(differentPairs).flatMap(([what, pairs]) =>
  pairs.map(([asked, kept]) => [what, asked, kept] as const),
)

describe('two questions that are close and not the same', () => {
  test('are at least 450', () => expect(different.length).toBeGreaterThanOrEqual(450))

  test.each(different)('get no common answer (%s): %s | %s', (_what, asked, kept) => {
    expect(findDifference(asked, kept)).not.toBeNull()
    expect(findDifference(kept, asked)).not.toBeNull()
  })

  test('still get none when they are said politely, shouted, or without their marks', () => {
    const unmarked = (text: string) => text.replace(/^¿|[?.¿ ]+$/gu, '')
    const ways: ((text: string) => string)[] = [
      (text) => `Hello, ${text}`,
      (text) => `Please ${text}`,
      (text) => `${text} Thanks!`,
      (text) => `${text}, please`,
      (text) => `Can you tell me ${text}`,
      unmarked,
      (text) => ` ${text} `,
    ]
    const wrong = different.flatMap(([, asked, kept]) =>
      ways.flatMap((way) => {
        // Some differ by nothing but that mark.
        const isErased = way === unmarked && unmarked(asked) === unmarked(kept)
        return !isErased && findDifference(way(asked), kept) === null ? [`${way(asked)} | ${kept}`] : []
      }),
    )
    expect(wrong).toEqual([])
  })
})

describe('any question of the lists', () => {
  const texts = [...new Set([...different.flatMap(([, asked, kept]) => [asked, kept]), ...samePairs.flat()])]

  test('is another one with two of its words changed about, or with a word more', () => {
    const wrong = texts.flatMap((text) => {
      const words = text.split(' ')
      return words.flatMap((word, at) => {
        const [before, after] = [words.slice(0, at), words.slice(at)]
        const [, next, ...rest] = after
        const turned = next === undefined || next === word ? [] : [[...before, next, word, ...rest].join(' ')]
        const more = ['not', 'a', 'is', 'of', 'do', 'to', '-', '(', '7', 'Anna', '"x"'].map((one) =>
          [...before, one, ...after].join(' '),
        )
        return [...turned, ...more].flatMap((other) =>
          findDifference(text, other) === null ? [`${text} | ${other}`] : [],
        )
      })
    })
    expect(wrong).toEqual([])
  })
})

describe('two questions that are the same', () => {
  const hits = samePairs.filter(([asked, kept]) => findDifference(asked, kept) === null)

  test('are at least 100, and most of them get one answer', () => {
    const share = hits.length / samePairs.length
    const missed = samePairs.filter((pair) => !hits.includes(pair)).map((pair) => pair.join(' | '))
    console.log(
      `semantic guard: ${hits.length} of ${samePairs.length} paraphrases hit; missed:\n  ${missed.join('\n  ')}`,
    )
    expect(samePairs.length).toBeGreaterThanOrEqual(100)
    expect(share).toBeGreaterThanOrEqual(0.8)
  })
})

describe('whatever is asked', () => {
  const word = fc.constantFrom(
    ...['what', 'is', 'the', 'capital', 'of', 'France', 'not', '5', 'km', 'from', 'to', 'Paris', 'he', 'her', '"x"'],
    ...['please', 'can', 'you', 'nicht', 'pas', '`y`', '$', '%', '?', ',', 'größer', '法国', '😀', 'I', "don't", '_a'],
  )
  const text = fc.oneof(
    fc.array(word, { maxLength: 8 }).map((words) => words.join(' ')),
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.string({ unit: 'binary', maxLength: 40 }),
  )

  test('a question is no other than itself', () => {
    fc.assert(
      fc.property(text, (one) => {
        expect(findDifference(one, one)).toBeNull()
        expect(findDifference(one, `${one} `)).toBeNull()
      }),
    )
  })

  test('it does not matter which of two was asked first', () => {
    fc.assert(
      fc.property(text, text, (one, two) => {
        expect(findDifference(one, two) === null).toBe(findDifference(two, one) === null)
      }),
      { numRuns: 2_000 },
    )
  })

  test('another number, name, code or quoted text is never the same, wherever it stands', () => {
    const thing = fc.oneof(
      fc.nat({ max: 99_999 }).map(String),
      fc.stringMatching(/^[a-z]{4,9}$/).map((name) => `Zq${name}`),
      fc.stringMatching(/^[a-z]{2,6}_[a-z]{2,6}$/),
      fc.stringMatching(/^[a-z ]{1,9}$/).map((quoted) => `"${quoted}"`),
    )
    fc.assert(
      fc.property(fc.array(word, { maxLength: 5 }), fc.array(word, { maxLength: 5 }), thing, thing, (a, b, x, y) => {
        fc.pre(x !== y && ![...a, ...b].some((one) => one.includes('"') || one.includes('`')))
        expect(findDifference([...a, x, ...b].join(' '), [...a, y, ...b].join(' '))).not.toBeNull()
      }),
      { numRuns: 5_000, seed: 7 },
    )
  })

  test('long texts of nothing but beginnings are read to their end', { timeout: 5_000 }, () => {
    const long = `${'what is the capital of france and '.repeat(120)}?`
    expect(findDifference(long, `${long} no`)).toBe('negation')
    for (const piece of [
      '“',
      '"',
      '`',
      '+',
      "'",
      'a.',
      '_',
      '«',
      '1.',
      '```',
      '\\',
      '-a',
      '$',
      'a',
      'ab ',
      'www.',
      "a'",
      '„',
      '‘',
      '\n ',
    ]) {
      const many = piece.repeat(Math.floor(9_990 / piece.length))
      expect(findDifference(many, `${many} 7`)).not.toBe('length')
      expect(findDifference(many, `${many} 7`)).not.toBeNull()
    }
  })

  test('a text that is too long to be read has to be the very same', () => {
    const long = 'a '.repeat(5_001)
    expect(findDifference(long, `${long} `)).toBe('length')
    expect(findDifference(long, `${long}`)).toBeNull()
  })
})
