import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRefusal } from '../std/refusal.js'
import {
  ageMaxOf,
  ageSecondsMax,
  ageStateOf,
  type CacheFacts,
  cacheConduct,
  freshnessOf,
  freshSecondsOf,
  keptSecondsOf,
  readCacheWord,
  readLabels,
} from './cache-policy.js'
import type { CacheTable } from './tables.js'

const policy = (over: Partial<CacheTable> = {}): CacheTable => ({
  anyTemperature: false,
  sharedBy: 'environment',
  ttlSeconds: new Map([
    ['factual', 86_400],
    ['dynamic', 3_600],
  ]),
  otherTtlSeconds: 600,
  ageMaxSeconds: 604_800,
  staleSeconds: 0,
  shared: false,
  semantic: null,
  detailApiKeys: new Set(),
  tags: [],
  ...over,
})

const facts = (over: Partial<CacheFacts> = {}): CacheFacts => ({
  operation: 'chat_completions',
  temperature: 0,
  word: null,
  user: null,
  storesUpstream: false,
  ...over,
})

describe('what may be kept and given', () => {
  const cases: [string, Partial<CacheFacts>, CacheTable | null, number, string][] = [
    ['a request that repeats itself', {}, policy(), 0, 'gives keeps'],
    ['a route without a policy', {}, null, 0, ''],
    ['a temperature above 0', { temperature: 0.1 }, policy(), 0, ''],
    ['a temperature that nobody gave', { temperature: null }, policy(), 0, ''],
    ['a temperature of minus zero', { temperature: -0 }, policy(), 0, 'gives keeps'],
    ['any temperature, by policy', { temperature: null }, policy({ anyTemperature: true }), 0, 'gives keeps'],
    ['any temperature, by the client', { temperature: 1, word: 'on' }, policy(), 0, 'gives keeps'],
    ['a client that wants it where there is no policy', { word: 'on' }, null, 0, ''],
    ['a client that wants none of it', { word: 'off' }, policy({ anyTemperature: true }), 60, ''],
    ['a client that wants a new one', { word: 'refresh' }, policy(), 0, 'keeps'],
    ['a new one of any temperature', { word: 'refresh', temperature: 1 }, policy(), 0, 'keeps'],
    [
      'embeddings, which have no temperature',
      { operation: 'embeddings', temperature: null },
      policy(),
      0,
      'gives keeps',
    ],
    ['tokens counted', { operation: 'count_tokens' }, policy(), 0, ''],
    ['the list of models', { operation: 'models' }, policy(), 0, ''],
    ['a last resort without a policy', { temperature: 1 }, null, 60, 'keeps'],
    ['a last resort beside a policy that does not fit', { temperature: 1 }, policy(), 60, 'keeps'],
    ['per user, of a user', { user: 'ada' }, policy({ sharedBy: 'user' }), 0, 'gives keeps'],
    ['per user, of nobody', {}, policy({ sharedBy: 'user' }), 60, ''],
    ['an exchange that the vendor is to keep', { storesUpstream: true }, policy(), 60, ''],
  ]
  test.each(cases)('%s', (_name, over, table, lastResortSeconds, expected) => {
    const conduct = cacheConduct(facts(over), table, lastResortSeconds)
    expect([conduct.gives ? 'gives' : '', conduct.keeps ? 'keeps' : ''].join(' ').trim()).toBe(expected)
  })

  test('what is given may also be kept, and nothing is ever given without a policy', () => {
    const anything = fc.record({
      operation: fc.constantFrom('chat_completions', 'messages', 'embeddings', 'models', 'unheard_of'),
      temperature: fc.constantFrom(null, 0, 0.5, 2),
      word: fc.constantFrom(null, 'on' as const, 'off' as const, 'refresh' as const),
      user: fc.constantFrom(null, 'u'),
      storesUpstream: fc.boolean(),
    })
    const policies = fc.constantFrom(null, policy(), policy({ anyTemperature: true }), policy({ sharedBy: 'user' }))
    fc.assert(
      fc.property(anything, policies, fc.constantFrom(0, 60), (given, table, lastResortSeconds) => {
        const { gives, keeps } = cacheConduct(given, table, lastResortSeconds)
        if (gives) expect(keeps && table !== null && given.word !== 'off' && given.word !== 'refresh').toBe(true)
        if (keeps) expect(given.word).not.toBe('off')
      }),
    )
  })
})

describe('ages', () => {
  const cases: [string, CacheTable, string[], number, string][] = [
    ['a fact after 24 hours', policy(), ['factual'], 86_400, 'fresh'],
    ['a fact a second later', policy(), ['factual'], 86_401, 'dead'],
    ['something of today after an hour', policy(), ['dynamic'], 3_600, 'fresh'],
    ['something of today a second later', policy(), ['dynamic'], 3_601, 'dead'],
    ['a class that nobody named', policy(), ['chat'], 600, 'fresh'],
    ['a class that nobody named, later', policy(), ['chat'], 601, 'dead'],
    ['two classes: the shorter counts', policy(), ['factual', 'dynamic'], 3_601, 'dead'],
    ['stale while a new one is fetched', policy({ staleSeconds: 10 }), ['dynamic'], 3_610, 'stale'],
    ['stale for too long', policy({ staleSeconds: 10 }), ['dynamic'], 3_611, 'dead'],
    ['a maximum age below the class', policy({ ageMaxSeconds: 100 }), ['factual'], 101, 'dead'],
    ['a maximum age ends staleness', policy({ ageMaxSeconds: 3_605, staleSeconds: 10 }), ['dynamic'], 3_606, 'dead'],
    ['a maximum age of none', policy({ ageMaxSeconds: 0 }), ['factual'], 1, 'dead'],
  ]
  test.each(cases)('%s', (_name, table, classes, ageSeconds, expected) => {
    expect(ageStateOf(table, classes, ageSeconds)).toBe(expected)
  })

  test('nothing is fresh, stale or kept beyond what is said, for any policy', () => {
    const seconds = fc.nat({ max: 100 * 86_400 })
    fc.assert(
      fc.property(seconds, seconds, seconds, seconds, seconds, (fact, other, ageMax, stale, age) => {
        const table = policy({
          ttlSeconds: new Map([['factual', fact]]),
          otherTtlSeconds: other,
          ageMaxSeconds: ageMax,
          staleSeconds: stale,
        })
        for (const classes of [['factual'], ['chat'], []]) {
          const state = ageStateOf(table, classes, age)
          if (state !== 'dead') expect(age).toBeLessThanOrEqual(Math.min(ageMax, ageSecondsMax))
          if (state === 'fresh') expect(age).toBeLessThanOrEqual(freshSecondsOf(table, classes))
          if (state !== 'dead') expect(age).toBeLessThanOrEqual(keptSecondsOf(table, classes, 0))
        }
      }),
    )
  })

  test('an answer is kept for whoever may give it longest', () => {
    expect(keptSecondsOf(policy({ staleSeconds: 10 }), ['dynamic'], 0)).toBe(3_610)
    expect(keptSecondsOf(policy(), ['dynamic'], 86_400)).toBe(86_400)
    expect(keptSecondsOf(null, ['dynamic'], 300)).toBe(300)
    expect(keptSecondsOf(null, ['dynamic'], 400 * 86_400)).toBe(ageSecondsMax)
  })

  test('for a last resort no longer than the policy lets anything be', () => {
    expect(keptSecondsOf(policy({ ageMaxSeconds: 7_200 }), ['dynamic'], 86_400)).toBe(7_200)
    expect([ageMaxOf(policy({ ageMaxSeconds: 7_200 })), ageMaxOf(null)]).toEqual([7_200, ageSecondsMax])
  })
})

describe('whether an answer goes out of date', () => {
  test.each([
    'What is the capital of France?',
    'Explain the theorem of Pythagoras.',
    'Wie heißt die Hauptstadt von Frankreich?',
    'Quelle est la capitale de la France ?',
    '¿Cuál es la capital de Francia?',
    'Who wrote Nowhere Man?',
  ])('not of: %s', (question) => expect(freshnessOf(question)).toBe('factual'))

  test.each([
    'What is the weather in Paris?',
    'Who is the current president of France?',
    'What happened last week?',
    'Wie ist das Wetter?',
    'Wer ist derzeit Kanzler?',
    'Quel est le prix du pain ?',
    "Que se passe-t-il aujourd'hui ?",
    '¿Qué hora es ahora?',
    `${'What is the capital of France? '.repeat(500)} And today?`,
  ])('of: %s', (question) => expect(freshnessOf(question)).toBe('dynamic'))

  test.each([
    ...[
      'Any scores?',
      'so far, so good',
      '(today)',
      'the LAST 3 of them',
      'next year',
      'in the past week',
      'As of 2020',
    ],
    ...['est-ce aujourd’hui', "aujourd'hui", 'esta noche', 'this weekend', 'Preise'],
  ])('also of: %s', (question) => expect(freshnessOf(question)).toBe('dynamic'))

  test.each(['nowhere', 'know', '2now', 'lastly', 'the last of us', 'nexto', 'past tense', 'n', 'ok no', 'thisweek'])(
    'nor of: %s',
    (question) => expect(freshnessOf(question)).toBe('factual'),
  )

  test('says the same of a text however it is looked at', () => {
    const piece = fc.constantFrom(
      ...[
        'now',
        'Today',
        'last',
        'week',
        '3',
        'as',
        'of',
        'next',
        'so',
        'far',
        'this',
        'price',
        'in',
        'stock',
        'est',
        'a',
      ],
      ...[' ', ' ', ' ', '-', "'", '.', 'x', '\n', 'N', 'status', 'hier', 'esta', 'este', 'noche', 'live', 'kurs'],
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('')
        // A letter from elsewhere, apart from all words: the whole pattern is asked.
        expect(freshnessOf(`${text} ж`)).toBe(freshnessOf(text))
      }),
      { numRuns: 5_000 },
    )
  })

  test('of what cannot be read', () => expect(freshnessOf(null)).toBe('dynamic'))
})

describe('what a client says', () => {
  test.each([
    [undefined, null],
    ['on', 'on'],
    [' OFF ', 'off'],
    ['refresh', 'refresh'],
  ])('the word %s', (header, expected) => expect(readCacheWord(header)).toBe(expected))

  test('a word that is none is refused by name', () => {
    expect(readCacheWord('maybe')).toMatchObject({ code: 'invalid_value', field: 'x-switchyard-cache' })
  })

  test('labels come sorted, each once', () => {
    expect(readLabels('x', undefined)).toEqual([])
    expect(readLabels('x', ' ')).toEqual([])
    expect(readLabels('x', 'b, a,b')).toEqual(['a', 'b'])
  })

  test.each([
    ['an empty one', 'a,,b'],
    ['a space', 'a b'],
    ['a dash first', '-a'],
    ['a long one', 'a'.repeat(129)],
    ['too many', Array.from({ length: 17 }, (_, index) => `t${index}`).join(',')],
  ])('%s is refused by name', (_name, header) => {
    const read = readLabels('x-tags', header)
    expect(isRefusal(read) && read.field).toBe('x-tags')
  })
})
