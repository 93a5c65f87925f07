import { expect, test } from 'vitest'
import { readAccessToken } from './access-token.js'

const said = (body: string) => readAccessToken({ status: 400, body }, 0, 'Google')

test.each([
  ['a code', { error: 'invalid_grant' }, 'Google answered HTTP 400: invalid_grant'],
  [
    'a description',
    { error: 'invalid_grant', error_description: 'Bearer s3cret' },
    'Google answered HTTP 400: invalid_grant',
  ],
  ['lines of its own', { error: 'a\nlevel=error' }, 'Google answered HTTP 400'],
  ['a code and a line', { error: 'invalid_grant\n' }, 'Google answered HTTP 400'],
  ['a text', { error: 'x'.repeat(65) }, 'Google answered HTTP 400'],
  ['an object', { error: { message: 'no' } }, 'Google answered HTTP 400'],
])('of %s that an endpoint says nothing but a code is for the log', (_what, body, message) => {
  expect(said(JSON.stringify(body))).toEqual({ fault: 'rejected', message })
})
