import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../conversation/json-object.js'
import { writeSchema } from './write-schema.js'

describe('a schema in words that Gemini knows', () => {
  const cases: [string, JsonObject, JsonObject, string | null][] = [
    ['what it knows stays', { type: 'object', title: 't' }, { type: 'object', title: 't' }, null],
    ['a constant', { const: 'a' }, { enum: ['a'] }, null],
    ['a constant that no enum may hold', { const: true }, { const: true }, 'const'],
    ['all of one', { allOf: [{ $ref: '#/$defs/A' }] }, { anyOf: [{ $ref: '#/$defs/A' }] }, null],
    ['all of two', { allOf: [{}, {}] }, { allOf: [{}, {}] }, 'allOf'],
    [
      'all of one beside any of some',
      { allOf: [{}], anyOf: [{ const: 1 }] },
      { allOf: [{}], anyOf: [{ enum: [1] }] },
      'allOf',
    ],
    [
      'a reference with neighbours',
      { $ref: '#/$defs/A', description: 'd', default: 1 },
      { description: 'd', default: 1, anyOf: [{ $ref: '#/$defs/A' }] },
      null,
    ],
    [
      'a root that refers',
      { $ref: '#/definitions/A', definitions: { A: { const: 1 } } },
      { $ref: '#/$defs/A', $defs: { A: { enum: [1] } } },
      null,
    ],
    [
      'deep inside',
      { items: { properties: { const: { type: 'string', minLength: 1 } }, additionalProperties: { const: 2 } } },
      { items: { properties: { const: { type: 'string', minLength: 1 } }, additionalProperties: { enum: [2] } } },
      'minLength',
    ],
    [
      'a property that is called like a keyword',
      { properties: { pattern: {} } },
      { properties: { pattern: {} } },
      null,
    ],
    [
      'values are no schemas',
      { enum: [{ const: 1 }], default: { const: 1 } },
      { enum: [{ const: 1 }], default: { const: 1 } },
      null,
    ],
  ]
  test.each(cases)('%s', (_name, given, schema, passedOver) => {
    const before = JSON.stringify(given)
    expect(writeSchema(given)).toEqual({ schema, passedOver })
    expect(JSON.stringify(given)).toBe(before)
  })

  test('a member of any name is a member', () => {
    const given = '{"__proto__":{"a":1},"properties":{"__proto__":{"const":1}},"constructor":2}'
    const { schema } = writeSchema(JSON.parse(given))
    expect(JSON.stringify(schema)).toBe(given.replace('"const":1', '"enum":[1]'))
  })

  test('no depth is too deep', () => {
    let schema: JsonObject = { const: 1 }
    for (let level = 0; level < 5_000; level++) schema = { items: schema }
    expect(writeSchema(schema).passedOver).toBeNull()
  })
})
