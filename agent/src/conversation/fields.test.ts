import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../proto/std/refusal.js'
import { Fields, readStrictly } from './fields.js'
import { Losses } from './losses.js'

const read = <T>(value: object, how: (fields: Fields) => T) => readStrictly(() => how(new Fields({ ...value }, '')))

describe('strict reading', () => {
  const cases: [string, object, (fields: Fields) => unknown, string, string][] = [
    ['a number for a text', { a: 1 }, (f) => f.text('a'), 'a', 'invalid_type'],
    ['nothing for what is required', {}, (f) => f.requiredText('a'), 'a', 'missing_field'],
    ['null for what is required', { a: null }, (f) => f.requiredObject('a'), 'a', 'missing_field'],
    ['a word that is none of the options', { a: 'x' }, (f) => f.option('a', ['y']), 'a', 'invalid_value'],
    ['a text for a boolean', { a: 'true' }, (f) => f.boolean('a'), 'a', 'invalid_type'],
    ['a number out of range', { a: 3 }, (f) => f.number('a', 0, 2), 'a', 'invalid_value'],
    ['a fraction for an integer', { a: 1.5 }, (f) => f.integer('a', 0), 'a', 'invalid_value'],
    ['an object for an array', { a: {} }, (f) => f.array('a'), 'a', 'invalid_type'],
    ['a text among objects', { a: [{}, 'x'] }, (f) => f.objects('a'), 'a[1]', 'invalid_type'],
    ['a number among texts', { a: ['x', 1] }, (f) => f.texts('a'), 'a[1]', 'invalid_type'],
    ['an array for a schema', { a: [] }, (f) => f.json('a'), 'a', 'invalid_type'],
    [
      'deep inside',
      { a: [{ b: { c: 1 } }] },
      (f) => f.objects('a')[0]?.requiredObject('b').text('c'),
      'a[0].b.c',
      'invalid_type',
    ],
  ]
  test.each(cases)('%s is refused with its path', (_name, value, how, field, code) => {
    const outcome = read(value, how)
    expect(isRefusal(outcome) && { field: outcome.field, code: outcome.code }).toEqual({ field, code })
  })

  test('what is not there is null, and null is not there', () => {
    const value = { n: null }
    expect(
      read(value, (f) => [
        f.text('x'),
        f.text('n'),
        f.boolean('n'),
        f.number('n', 0, 1),
        f.object('n'),
        f.objects('n'),
      ]),
    ).toEqual([null, null, null, null, null, []])
  })

  test('what nobody read is a loss, at every depth, and what was skipped is none', () => {
    const losses = new Losses()
    read({ a: { b: 1, c: 2, gone: null }, list: [{ d: 1, e: 1 }], skipped: 1, extra: { f: 1 } }, (fields) => {
      fields.object('a')?.number('b', 0, 9)
      fields.objects('list')[0]?.number('d', 0, 9)
      fields.skip('skipped')
      fields.loseUnread(losses)
    })
    expect(losses.all.map(({ field, weight }) => `${weight} ${field}`)).toEqual([
      'setting extra',
      'setting a.c',
      'setting list[0].e',
    ])
  })

  test('a fault of ours is no refusal', () => {
    expect(() => readStrictly(() => (undefined as unknown as Fields).text('a'))).toThrow(TypeError)
  })
})

describe('losses', () => {
  test('content stands in the way always, a setting unless the route drops it, a hint never', () => {
    const losses = new Losses()
    losses.hint('h')
    expect(losses.blocking(false)).toBeNull()
    losses.setting('s')
    expect(losses.blocking(false)?.field).toBe('s')
    expect(losses.blocking(true)).toBeNull()
    losses.content('c', 'why')
    expect(losses.blocking(true)).toEqual({ weight: 'content', field: 'c', reason: 'why' })
  })

  test('many hints never hide what stands in the way, and nothing is named twice', () => {
    const losses = new Losses()
    for (let index = 0; index < 1_000; index++) losses.hint(`h${index}`)
    losses.content('c')
    losses.content('c')
    expect(losses.blocking(true)?.field).toBe('c')
    expect(losses.all.length).toBeLessThan(40)
  })

  test('of many settings the first are named and the rest is counted, in a copy as well', () => {
    const losses = new Losses()
    for (let index = 0; index < 40_000; index++) losses.setting(`s${index}`)
    losses.setting('s0')
    losses.content('c1')
    losses.content('c2')
    const copy = new Losses(losses.all)
    copy.setting('another')
    copy.hint('h')
    expect(losses.all.map(({ field }) => field)).toEqual([
      ...Array.from({ length: 32 }, (_, index) => `s${index}`),
      'c1',
    ])
    expect(losses.all.unnamed).toBe(40_000 - 32 + 1)
    expect(copy.all.map(({ field }) => field)).toEqual(losses.all.map(({ field }) => field))
    expect(copy.all.unnamed).toBe(40_000 - 32 + 3)
    expect([copy.blocking(true)?.field, copy.blocking(false)?.field]).toEqual(['c1', 's0'])
  })

  test('a setting behind many hints stands in the way, content or not', () => {
    const losses = new Losses()
    for (let index = 0; index < 100; index++) losses.hint(`h${index}`)
    losses.content('c')
    losses.setting('s')
    losses.setting('t')
    expect(losses.all.slice(32).map(({ field }) => field)).toEqual(['c', 's'])
    expect(losses.all.unnamed).toBe(69)
  })

  test('an object of any number of members is told about at once', () => {
    const members = Object.fromEntries(Array.from({ length: 200_000 }, (_, index) => [`m${index}`, 1]))
    const losses = new Losses()
    const fields = new Fields(members, '')
    fields.skipAll()
    fields.loseUnread(losses)
    expect(losses.all).toEqual([])
  })

  test('a copy does not change what it was made from', () => {
    const first = new Losses()
    first.hint('a')
    const second = new Losses(first.all)
    second.hint('b')
    expect(first.all).toHaveLength(1)
    expect(second.all).toHaveLength(2)
  })
})
