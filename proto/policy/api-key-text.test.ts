import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { apiKeyPrefix, isApiKeyText, makeApiKeyText } from './api-key-text.js'

const secret = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('base64url'))

describe('the text of an API key', () => {
  test('a made key is recognised, whatever the name of its environment', () => {
    fc.assert(
      fc.property(fc.string(), secret, (name, chosen) => {
        const text = makeApiKeyText(name, chosen)
        expect(text).toMatch(/^sy_[a-z0-9]{1,12}_[A-Za-z0-9_-]{49}$/)
        expect(isApiKeyText(text)).toBe(true)
      }),
    )
  })

  test('one changed character is noticed', () => {
    fc.assert(
      fc.property(secret, fc.nat(), fc.constantFrom(...'AZaz09'), (chosen, at, other) => {
        const text = makeApiKeyText('production', chosen)
        const index = 3 + (at % (text.length - 3))
        fc.pre(text[index] !== other)
        expect(isApiKeyText(text.slice(0, index) + other + text.slice(index + 1))).toBe(false)
      }),
    )
  })

  test.each([
    ['nothing', ''],
    ['another product', `sk-${'a'.repeat(48)}`],
    ['cut', makeApiKeyText('prod', 'A'.repeat(43)).slice(0, -1)],
    ['longer', `${makeApiKeyText('prod', 'A'.repeat(43))}A`],
    ['with a line break', `${makeApiKeyText('prod', 'A'.repeat(43))}\n`],
  ])('%s is not a key', (_, text) => {
    expect(isApiKeyText(text)).toBe(false)
  })

  test('the prefix keeps 36 of the 256 bits', () => {
    expect(apiKeyPrefix(makeApiKeyText('Production', 'abcdefghij'.padEnd(43, 'x')))).toBe('sy_production_abcdef')
  })

  test('the checksum is CRC-32 as others compute it', () => {
    const text = makeApiKeyText('prod', 'A'.repeat(43))
    const digits = crc32(text.slice(0, -6)).toString(2).padStart(36, '0').match(/.{6}/g) ?? []
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    expect(text.slice(-6)).toBe(digits.map((bits) => alphabet[Number.parseInt(bits, 2)]).join(''))
  })
})
