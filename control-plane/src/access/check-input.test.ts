import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { RefusalError } from '../../../proto/std/refusal.js'
import { checkInput, shapes } from './check-input.js'

const schema = z.object({
  name: shapes.slug,
  title: shapes.title.optional(),
  targets: z.array(z.object({ modelId: shapes.id, connectMs: shapes.integer(1, 1000) })).optional(),
})

function refusalOf(value: unknown, root?: string) {
  try {
    checkInput(schema, value, root)
  } catch (error) {
    if (error instanceof RefusalError) return error.refusal
  }
  return null
}

describe('input', () => {
  test('is returned as the schema says', () => {
    expect(checkInput(schema, { name: 'acme', title: '  Acme  ', extra: 1 })).toEqual({ name: 'acme', title: 'Acme' })
  })

  const id = 'mdl_0123456789abcdefghjkmnpqrs'
  test.each([
    ['a slug with a space', { name: 'a b' }, 'input.name'],
    ['a slug that ends with a dash', { name: 'a-' }, 'input.name'],
    ['a slug of 64', { name: 'a'.repeat(64) }, 'input.name'],
    ['a missing field', {}, 'input.name'],
    ['an empty title', { name: 'a', title: '  ' }, 'input.title'],
    ['a control character', { name: 'a', title: 'a\u0007b' }, 'input.title'],
    ['a text that reads backwards', { name: 'a', title: 'a\u202eb' }, 'input.title'],
    [
      'an id inside a list',
      {
        name: 'a',
        targets: [
          { modelId: id, connectMs: 1 },
          { modelId: 'x', connectMs: 1 },
        ],
      },
      'input.targets[1].modelId',
    ],
    [
      'a number beyond its bound',
      { name: 'a', targets: [{ modelId: id, connectMs: 1001 }] },
      'input.targets[0].connectMs',
    ],
    ['half a number', { name: 'a', targets: [{ modelId: id, connectMs: 1.5 }] }, 'input.targets[0].connectMs'],
  ])('%s is refused by its path', (_, value, field) => {
    const refusal = refusalOf(value)
    expect(refusal).toMatchObject({ code: 'bad_input', field })
    expect(refusal?.message.startsWith(`${field}: `)).toBe(true)
  })

  test.each([
    ['modelId', 'mdl_01…'],
    ['apiKeyId', 'key_01…'],
    ['environmentId', 'env_01…'],
    ['tenantId', 'ten_01…'],
  ])('%s that is none is told the prefix of its kind: %s', (field, prefix) => {
    const sentence = `expected an id such as ${prefix} as another answer gave it`
    expect(() => checkInput(z.object({ [field]: shapes.id }), { [field]: 'x' })).toThrow(`input.${field}: ${sentence}`)
    expect(() => checkInput(shapes.id, 'x', field)).toThrow(`${field}: ${sentence}`)
    expect(() => checkInput(z.object({ [`${field}s`]: z.array(shapes.id) }), { [`${field}s`]: ['x'] })).toThrow(
      `input.${field}s[0]: ${sentence}`,
    )
  })

  test('an id of no known kind is asked for without an example', () => {
    expect(() => checkInput(z.object({ constructorId: shapes.id }), { constructorId: 'x' })).toThrow(
      'input.constructorId: expected an id as another answer gave it',
    )
  })

  test('the path starts with the name of the argument', () => {
    expect(refusalOf({ name: '' }, 'filter')?.field).toBe('filter.name')
    expect(refusalOf(null)?.field).toBe('input')
  })
})
