import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rawPublicKeyOf } from './raw-keys.js'
import { isSealingKey, openSealed, sealSecret } from './seal.js'
import { signHeader, verifyHeader } from './sign.js'

const recipient = Buffer.alloc(32, 3)
const context = { agentId: 'agt_1', credentialId: 'crd_1', version: 1 }
const sealed = (secret: string, ephemeral = Buffer.alloc(32, 9)) =>
  sealSecret({
    secret: Buffer.from(secret),
    recipientPublicKey: rawPublicKeyOf('x25519', recipient),
    ephemeralPrivateKey: ephemeral,
    context,
  })

describe('a sealed credential', () => {
  it('opens with the key and context it was sealed to', () => {
    fc.assert(
      fc.property(fc.string(), fc.uint8Array({ minLength: 32, maxLength: 32 }), (secret, ephemeral) => {
        const opened = openSealed({
          sealed: sealed(secret, Buffer.from(ephemeral)),
          recipientPrivateKey: recipient,
          context,
        })
        expect(opened?.toString()).toBe(Buffer.from(secret).toString())
      }),
    )
  })

  it.each([
    ['another agent', { ...context, agentId: 'agt_2' }],
    ['another credential', { ...context, credentialId: 'crd_2' }],
    ['another version', { ...context, version: 2 }],
    ['a shifted boundary', { agentId: 'agt_1c', credentialId: 'rd_1', version: 1 }],
  ])('does not open for %s', (_, other) => {
    expect(openSealed({ sealed: sealed('s'), recipientPrivateKey: recipient, context: other })).toBeNull()
  })

  it('does not open for another key, nor when any bit is turned, nor when cut', () => {
    expect(openSealed({ sealed: sealed('s'), recipientPrivateKey: Buffer.alloc(32, 4), context })).toBeNull()
    const whole = sealed('secret')
    for (let index = 0; index < whole.length; index++) {
      const touched = Buffer.from(whole)
      // The top bit of an X25519 public key is ignored by the curve, but not by the salt.
      touched[index] = (touched[index] ?? 0) ^ 0x80
      expect(openSealed({ sealed: touched, recipientPrivateKey: recipient, context })).toBeNull()
      expect(openSealed({ sealed: whole.subarray(0, index), recipientPrivateKey: recipient, context })).toBeNull()
    }
  })

  it('is never made for a key that gives everybody the same secret', () => {
    expect(isSealingKey(Buffer.alloc(32))).toBe(false)
    expect(isSealingKey(Buffer.concat([Buffer.of(1), Buffer.alloc(31)]))).toBe(false)
    expect(isSealingKey(Buffer.alloc(31, 1))).toBe(false)
    expect(isSealingKey(rawPublicKeyOf('x25519', recipient))).toBe(true)
  })
})

describe('a signed header', () => {
  const key = Buffer.alloc(32, 5)
  const publicKey = rawPublicKeyOf('ed25519', key)
  const header = Buffer.from('header')

  it('holds under its key and nothing else', () => {
    const signature = signHeader(header, key)
    expect(verifyHeader(header, signature, publicKey)).toBe(true)
    expect(verifyHeader(Buffer.from('headex'), signature, publicKey)).toBe(false)
    expect(verifyHeader(header, signature, rawPublicKeyOf('ed25519', Buffer.alloc(32, 6)))).toBe(false)
    expect(verifyHeader(header, signature.subarray(1), publicKey)).toBe(false)
    expect(verifyHeader(header, signature, Buffer.alloc(31))).toBe(false)
    expect(verifyHeader(header, Buffer.alloc(64), Buffer.alloc(32))).toBe(false)
  })
})
