import { PrefixHash } from '../../../proto/policy/prefix-hash.js'

/**
 * Text, cut into blocks and named as it is told. A name covers everything up to its block's end, so the names of one prompt
 * are the beginnings that it may share with others.
 *
 * `charCodeAt` alone costs 1.6 ns a character here, more than all the time there is; the same string written as UTF-16 into a
 * block of 2 KiB that stays in the processor's cache, and hashed from there as words, costs a third. So the one copy is a
 * block at a time, into the same block, and nothing is allocated per block but the slice that names its characters.
 */
export const blockCharacters = 1_024
/** A prompt's blocks beyond these are not looked at: a million characters, some 250,000 tokens. */
export const blocksMax = 1_024
/** Below this a call out of JavaScript costs more than it saves. */
const shortCharacters = 24

/** The beginnings of one prompt. */
export interface Prefix {
  /** What was told; where `isWhole` is false there was more. */
  readonly characterCount: number
  readonly isWhole: boolean
  /** Two words per block, in order. */
  readonly names: Uint32Array
  readonly blockCount: number
}

export class PrefixBlocks {
  readonly #hash: PrefixHash
  readonly #characters = new Uint16Array(blockCharacters)
  readonly #bytes = Buffer.from(this.#characters.buffer)
  readonly #words = new Uint32Array(this.#characters.buffer)
  readonly #names = new Uint32Array(blocksMax * 2)
  #filled = 0
  #blockCount = 0
  #characterCount = 0
  #isWhole = true

  /** `key` as `PrefixHash` takes it. */
  constructor(key: Uint32Array) {
    this.#hash = new PrefixHash(key)
  }

  /** Nothing more is looked at. */
  get isFull(): boolean {
    return this.#blockCount >= blocksMax
  }

  begin(): void {
    this.#hash.reset()
    this.#filled = 0
    this.#blockCount = 0
    this.#characterCount = 0
    this.#isWhole = true
  }

  text(text: string): void {
    let at = 0
    while (at < text.length) {
      if (this.isFull) {
        this.#isWhole = false
        return
      }
      const room = blockCharacters - this.#filled
      const count = Math.min(room, text.length - at)
      if (count <= shortCharacters) {
        for (let i = 0; i < count; i++) this.#characters[this.#filled + i] = text.charCodeAt(at + i)
      } else {
        // Writes no more than there is room for.
        this.#bytes.write(at === 0 ? text : text.slice(at, at + count), this.#filled * 2, 'utf16le')
      }
      at += count
      this.#advance(count)
    }
  }

  /** A whole number below 2^32, for example a token. */
  number(value: number): void {
    if (this.isFull) {
      this.#isWhole = false
      return
    }
    this.#characters[this.#filled] = value
    this.#advance(1)
    this.#characters[this.#filled] = value / 0x1_0000
    this.#advance(1)
  }

  /** What was left out and not told. */
  cut(): void {
    this.#isWhole = false
  }

  end(): Prefix {
    return Object.freeze({
      characterCount: this.#characterCount,
      isWhole: this.#isWhole,
      names: this.#names.slice(0, this.#blockCount * 2),
      blockCount: this.#blockCount,
    })
  }

  #advance(count: number): void {
    this.#characterCount += count
    this.#filled += count
    if (this.#filled < blockCharacters) return
    this.#filled = 0
    this.#hash.mix(this.#words)
    this.#hash.read(this.#names, this.#blockCount * 2)
    this.#blockCount += 1
  }
}
