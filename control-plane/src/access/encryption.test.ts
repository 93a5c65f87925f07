import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KeyRing } from './encryption.js'

const key = (id: string) => `${id}:${randomBytes(32).toString('base64')}`
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8')

describe('the key ring', () => {
  test('opens what it sealed, whatever it was', () => {
    const ring = KeyRing.parse([key('one')])
    fc.assert(
      fc.property(fc.uint8Array(), fc.string(), (plaintext, context) => {
        const { ciphertext, wrapKeyId } = ring.seal(plaintext, context)
        expect(Buffer.from(ring.open(ciphertext, wrapKeyId, context))).toEqual(Buffer.from(plaintext))
      }),
    )
  })

  test('the first key seals, the others still open', () => {
    const [old, young] = [key('old'), key('young')]
    const { ciphertext, wrapKeyId } = KeyRing.parse([old]).seal(Buffer.from('hello'), 'c')
    const both = KeyRing.parse([young, old])
    expect(text(both.open(ciphertext, wrapKeyId, 'c'))).toBe('hello')
    expect(both.seal(Buffer.from('x'), 'c').wrapKeyId).toBe('young')
    expect(() => KeyRing.parse([young]).open(ciphertext, wrapKeyId, 'c')).toThrow(/wrap key old/)
  })

  test('another context, another key of the same name, one flipped bit: none opens', () => {
    const ring = KeyRing.parse([key('one')])
    const { ciphertext, wrapKeyId } = ring.seal(Buffer.from('hello'), 'credential/a/1')
    expect(() => ring.open(ciphertext, wrapKeyId, 'credential/a/2')).toThrow()
    expect(() => KeyRing.parse([key('one')]).open(ciphertext, wrapKeyId, 'credential/a/1')).toThrow()
    for (let at = 0; at < ciphertext.length; at++) {
      const changed = Uint8Array.from(ciphertext)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(() => ring.open(changed, wrapKeyId, 'credential/a/1')).toThrow()
    }
    expect(() => ring.open(ciphertext.subarray(0, 20), wrapKeyId, 'credential/a/1')).toThrow(/too short/)
  })

  test('sealing twice gives two ciphertexts', () => {
    const ring = KeyRing.parse([key('one')])
    const seal = () => Buffer.from(ring.seal(Buffer.from('hello'), 'c').ciphertext).toString('hex')
    expect(seal()).not.toBe(seal())
  })

  test.each([
    ['none', []],
    ['no id', [randomBytes(32).toString('base64')]],
    ['too short a key', [`one:${randomBytes(16).toString('base64')}`]],
    ['the same id twice', [key('one'), key('one')]],
  ])('%s is refused without showing a key', (_, texts) => {
    try {
      KeyRing.parse(texts)
      expect.unreachable()
    } catch (error) {
      for (const given of texts) expect(String(error)).not.toContain(given.slice(-20))
    }
  })
})
