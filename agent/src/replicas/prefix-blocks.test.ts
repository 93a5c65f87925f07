import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { prefixKeyWords } from '../../../proto/policy/prefix-hash.js'
import { blockCharacters, blocksMax, type Prefix, PrefixBlocks } from './prefix-blocks.js'

const key = Uint32Array.from({ length: prefixKeyWords }, (_, i) => i * 0x1234_5677 + 1)
const blocks = new PrefixBlocks(key)

function prefixOf(...texts: string[]): Prefix {
  blocks.begin()
  for (const text of texts) blocks.text(text)
  return blocks.end()
}

const namesOf = (...texts: string[]) => [...prefixOf(...texts).names]

// Long enough for several blocks; of one byte and of two bytes a character, with halves of surrogate pairs.
const text = fc
  .tuple(
    fc.string({ unit: fc.constantFrom('a', 'é', '語', '\ud83d', '\ude00', '\0'), minLength: 50, maxLength: 120 }),
    fc.nat(60),
  )
  .map(([unit, times]) => unit.repeat(times))

describe('names of blocks', () => {
  it('are one for each whole block, whatever its characters', () => {
    fc.assert(
      fc.property(text, (told) => {
        const { blockCount, names, characterCount, isWhole } = prefixOf(told)
        expect([blockCount, names.length, characterCount, isWhole]).toEqual([
          ...[Math.floor(told.length / blockCharacters), blockCount * 2, told.length, true],
        ])
      }),
    )
  })

  it('do not depend on how the text was cut', () => {
    fc.assert(
      fc.property(text, fc.array(fc.nat(200), { minLength: 1, maxLength: 50 }), (told, cuts) => {
        const pieces: string[] = []
        let at = 0
        for (const cut of cuts) {
          pieces.push(told.slice(at, at + cut))
          at += cut
        }
        expect(namesOf(...pieces, told.slice(at))).toEqual(namesOf(told))
      }),
    )
  })

  it('are shared by texts as far as they begin alike, and by none further', () => {
    fc.assert(
      fc.property(text, fc.nat(), (told, at) => {
        fc.pre(told.length >= blockCharacters)
        const place = at % told.length
        const other = `${told.slice(0, place)}${told[place] === 'x' ? 'y' : 'x'}${told.slice(place + 1)}`
        const [one, two] = [namesOf(told), namesOf(other)]
        const shared = Math.floor(place / blockCharacters)
        expect(two.slice(0, shared * 2)).toEqual(one.slice(0, shared * 2))
        for (let block = shared; block * 2 < one.length; block++) {
          expect(two.slice(block * 2, block * 2 + 2)).not.toEqual(one.slice(block * 2, block * 2 + 2))
        }
      }),
    )
  })

  it('tell high characters from low ones: no byte of a character is lost', () => {
    expect(namesOf('a'.repeat(2_000))).not.toEqual(namesOf('\u0161'.repeat(2_000)))
    expect(namesOf('\u4e61'.repeat(2_000))).not.toEqual(namesOf('\u4f61'.repeat(2_000)))
  })

  it('tell numbers apart, up to the largest token', () => {
    const tokens = (...numbers: number[]) => {
      blocks.begin()
      for (const number of numbers) blocks.number(number)
      for (let i = numbers.length; i < blockCharacters / 2; i++) blocks.number(0)
      return [...blocks.end().names]
    }
    expect(tokens(1, 2)).toEqual(tokens(1, 2))
    for (const other of [
      [2, 1],
      [65_537, 2],
      [1, 2, 1],
    ])
      expect(tokens(...other)).not.toEqual(tokens(1, 2))
    expect(tokens(0xffff_ffff)).not.toEqual(tokens(0xffff))
  })

  it('are no more than so many, and then it says that there was more', () => {
    const long = prefixOf('b'.repeat(blocksMax * blockCharacters + 1))
    expect([long.blockCount, long.isWhole]).toEqual([blocksMax, false])
    expect(prefixOf('b'.repeat(blocksMax * blockCharacters)).isWhole).toBe(true)
    expect(prefixOf('b'.repeat(blocksMax * blockCharacters), 'c').isWhole).toBe(false)
  })

  it('of one prompt stay when the next is told', () => {
    const first = prefixOf('a'.repeat(3_000))
    const kept = [...first.names]
    prefixOf('z'.repeat(3_000))
    expect([...first.names]).toEqual(kept)
  })
})
