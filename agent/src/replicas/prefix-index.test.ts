import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PrefixHash, prefixKeyWords } from '../../../proto/policy/prefix-hash.js'
import { blockCharacters, type Prefix, PrefixBlocks } from './prefix-blocks.js'
import { PrefixIndex, saltOf } from './prefix-index.js'

const key = Uint32Array.from({ length: prefixKeyWords }, (_, i) => i * 0x0765_4321 + 5)
const teller = new PrefixBlocks(key)
const hash = new PrefixHash(key)
const salt = saltOf(hash, 'env_1 llama')

/** Each letter a block. */
function prefixOf(letters: string): Prefix {
  teller.begin()
  for (const letter of letters) teller.text(letter.repeat(blockCharacters))
  return teller.end()
}

describe('an index of one replica', () => {
  it.each<[string, string[], string, number]>([
    ['nothing', [], 'abc', 0],
    ['all of it', ['abc'], 'abc', 3],
    ['the beginning', ['abc'], 'abxyz', 2],
    ['all of a longer one', ['abc'], 'ab', 2],
    ['no block without those before it', ['abc'], 'xbc', 0],
    ['what was sent longest ago no more', ['abc', 'de', 'fgh'], 'abc', 0],
    ['the beginning longer than the end', ['abc', 'def'], 'abc', 2],
    ['what was sent again', ['abc', 'de', 'abc', 'fg'], 'abc', 3],
    ['as much of a long one as there is room for', ['abcdefgh'], 'abcdefgh', 5],
  ])('holds %s', (_, sent, asked, blocks) => {
    const index = new PrefixIndex(5)
    for (const letters of sent) index.learn(prefixOf(letters), salt)
    expect(index.match(prefixOf(asked), salt)).toBe(blocks)
  })

  it('never holds a block without those before it, so halving finds what a walk finds', () => {
    const prompts = fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 12 }), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), prompts, prompts, (blocksMax, sent, asked) => {
        const index = new PrefixIndex(blocksMax)
        for (const letters of sent) index.learn(prefixOf(letters), salt)
        for (const letters of asked) {
          let walked = 0
          while (walked < letters.length && index.match(prefixOf(letters.slice(0, walked + 1)), salt) === walked + 1)
            walked += 1
          expect(index.match(prefixOf(letters), salt)).toBe(walked)
        }
      }),
    )
  })

  it('tells environments and models apart', () => {
    const index = new PrefixIndex(100)
    index.learn(prefixOf('abc'), salt)
    for (const other of ['env_2 llama', 'env_1 qwen', 'env_1', '']) {
      expect(index.match(prefixOf('abc'), saltOf(hash, other))).toBe(0)
    }
    expect(index.match(prefixOf('abc'), saltOf(hash, 'env_1 llama'))).toBe(3)
  })

  it('forgets everything when told, and what is too much when it becomes smaller', () => {
    const index = new PrefixIndex(100)
    index.learn(prefixOf('abcdef'), salt)
    index.limit(2)
    expect([index.match(prefixOf('abcdef'), salt), index.size]).toEqual([2, 2])
    index.clear()
    expect([index.match(prefixOf('abcdef'), salt), index.bytes]).toEqual([0, 0])
  })
})
