import { expect, test } from 'vitest'
import { closeReasonOf } from './subscriptions.js'

test('the reason of a close fits into its frame, whatever the alphabet, and is cut between characters', () => {
  expect(closeReasonOf('the token has expired')).toBe('the token has expired')
  expect(closeReasonOf('x'.repeat(200))).toBe('x'.repeat(123))
  expect(closeReasonOf('ü'.repeat(200))).toBe('ü'.repeat(61))
  expect(closeReasonOf('😀'.repeat(200))).toBe('😀'.repeat(30))
  expect(closeReasonOf(`${'x'.repeat(122)}ü!`)).toBe('x'.repeat(122))
})
