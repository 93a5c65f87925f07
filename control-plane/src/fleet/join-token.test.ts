import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatJoinToken, hashJoinSecret, parseJoinToken } from './join-token.js'

const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((value) => Buffer.from(value))

describe('a join token', () => {
  it('is read back as it was written', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^jtk_[0-9a-z]{26}$/), bytes, bytes, (id, secret, certificateSha256) => {
        const text = formatJoinToken({ id, secret, certificateSha256 })
        expect(text.length).toBeLessThanOrEqual(256)
        expect(parseJoinToken(text)).toEqual({ id, secret, certificateSha256 })
      }),
    )
  })

  it.each([
    '',
    'sjt_',
    'sjt_a.b.c',
    `sjt_a.${'A'.repeat(43)}`,
    `xjt_a.${'A'.repeat(43)}.${'A'.repeat(43)}`,
    `sjt_${'a'.repeat(65)}.${'A'.repeat(43)}.${'A'.repeat(43)}`,
  ])('is not %j', (text) => expect(parseJoinToken(text)).toBeNull())

  it('is stored as a hash that its secret leads to and nothing else', () => {
    expect(hashJoinSecret(Buffer.alloc(32, 1))).toHaveLength(32)
    expect(hashJoinSecret(Buffer.alloc(32, 1))).not.toEqual(hashJoinSecret(Buffer.alloc(32, 2)))
  })
})
