import { expect, test } from 'vitest'
import { isTypedAddress } from './typed-address.js'

test.each([
  ['GET', {}, true],
  ['GET', { accept: 'text/html' }, true],
  ['GET', { 'apollo-require-preflight': 'true' }, false],
  ['GET', { 'x-apollo-operation-name': 'usage' }, false],
  ['GET', { 'content-type': 'application/json' }, false],
  ['POST', {}, false],
])('%s with %j: %s', (method, headers, typed) => {
  expect(isTypedAddress({ method, headers })).toBe(typed)
})
