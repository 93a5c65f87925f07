import { GraphQLError } from 'graphql'
import { describe, expect, test } from 'vitest'
import { RefusalError, refuse } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import { formatGraphError, graphCodes } from './error-format.js'

function formatted(error: GraphQLError) {
  const said: { level: string; fields: Readonly<Record<string, unknown>> }[] = []
  const say = (level: string) => (fields: Readonly<Record<string, unknown>>) => said.push({ level, fields })
  const log: Log = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error'), child: () => log }
  return { answer: formatGraphError(error.toJSON(), error, { requestId: 'req_1', log }), said }
}

const wrapped = (originalError: Error) =>
  new GraphQLError(originalError.message, {
    originalError,
    path: ['createRoute'],
    extensions: { code: 'INTERNAL_SERVER_ERROR' },
  })

describe('errors as a caller sees them', () => {
  test.each(Object.entries(graphCodes))('the refusal %s is %s', (code, expected) => {
    const refusal = refuse(code, 'do this instead', { field: 'input.targets[0]', detail: { reason: 'r' } })
    const { answer, said } = formatted(wrapped(new RefusalError(refusal)))
    expect(answer).toEqual({
      message: 'do this instead',
      path: ['createRoute'],
      extensions: { code: expected, field: 'input.targets[0]', detail: { reason: 'r' }, requestId: 'req_1' },
    })
    expect(said).toEqual([])
  })

  test('a fault is masked, and logged once with its reference', () => {
    const fault = new TypeError('password is hunter2 at /srv/app.ts')
    const { answer, said } = formatted(wrapped(fault))
    expect(answer.extensions).toMatchObject({ code: 'INTERNAL', reference: 'req_1' })
    expect(JSON.stringify(answer)).not.toContain('hunter2')
    expect(answer.message).toContain('req_1')
    expect(said).toEqual([{ level: 'error', fields: { requestId: 'req_1', path: ['createRoute'], fault } }])
  })

  test('a null where none may be is our fault too', () => {
    const error = new GraphQLError('Cannot return null for non-nullable field X.y.', {
      extensions: { code: 'INTERNAL_SERVER_ERROR' },
    })
    expect(formatted(error).answer.extensions).toMatchObject({ code: 'INTERNAL' })
  })

  test('a database that is away is unavailable, not broken', () => {
    const { answer, said } = formatted(wrapped(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })))
    expect(answer.extensions).toMatchObject({ code: 'UNAVAILABLE' })
    expect(said.map(({ level }) => level)).toEqual(['warn'])
  })

  test('a variable of the wrong shape names its path', () => {
    const error = new GraphQLError(
      'Variable "$input" got invalid value 4 at "input.targets[0].name"; String cannot represent a non string value: 4',
      { originalError: new GraphQLError('String cannot represent'), extensions: { code: 'BAD_USER_INPUT' } },
    )
    expect(formatted(error).answer.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'input.targets[0].name' })
    const missing = new GraphQLError('Variable "$id" of required type "ID!" was not provided.', {
      extensions: { code: 'BAD_USER_INPUT' },
    })
    expect(formatted(missing).answer.extensions).toMatchObject({ field: 'id' })
  })

  test("the language's own errors keep their code", () => {
    const error = new GraphQLError('Cannot query field "x" on type "Query".', {
      extensions: { code: 'GRAPHQL_VALIDATION_FAILED' },
    })
    expect(formatted(error).answer.extensions).toMatchObject({ code: 'GRAPHQL_VALIDATION_FAILED' })
  })
})
