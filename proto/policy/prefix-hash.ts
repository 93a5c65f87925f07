/**
 * Names the beginnings of texts by 64 bits, so that requests which begin alike can be seen to. A running hash in four lanes
 * (the construction of XXH32: each word enters one lane, a lane step is a bijection of the word), read off after each block:
 * what is read covers everything before it, so equal names mean equal beginnings and not just equal blocks.
 *
 * A hint hangs on it and nothing else, so it is not a cryptographic hash. But lanes and multipliers come from a random key:
 * without it nobody can find two texts of one name, nor one that lands where another's is.
 */
export const prefixKeyWords = 6

/** Words that one call to `mix` takes come in fours. */
export const lanesCount = 4

export class PrefixHash {
  readonly #key: Uint32Array
  readonly #lanes = new Int32Array(lanesCount)
  readonly #spread: number
  readonly #fold: number

  /** `key`: `prefixKeyWords` random words. */
  constructor(key: Uint32Array) {
    this.#key = key
    // Odd, so that multiplying loses nothing; with the top bit, so that every input bit reaches high ones.
    this.#spread = (key[4] ?? 0) | 0x8000_0001
    this.#fold = (key[5] ?? 0) | 0x8000_0001
    this.reset()
  }

  /** Begins a new text. */
  reset(): void {
    for (let lane = 0; lane < lanesCount; lane++) this.#lanes[lane] = this.#key[lane] ?? 0
  }

  /** Goes on with all of `words`; their number is a multiple of `lanesCount`. */
  mix(words: Uint32Array): void {
    const lanes = this.#lanes
    const spread = this.#spread
    const fold = this.#fold
    let a = lanes[0] ?? 0
    let b = lanes[1] ?? 0
    let c = lanes[2] ?? 0
    let d = lanes[3] ?? 0
    // Four independent chains: a processor works on all of them at once.
    for (let at = 0; at < words.length; at += lanesCount) {
      a = (a + Math.imul(words[at] as number, fold)) | 0
      a = Math.imul((a << 13) | (a >>> 19), spread)
      b = (b + Math.imul(words[at + 1] as number, fold)) | 0
      b = Math.imul((b << 13) | (b >>> 19), spread)
      c = (c + Math.imul(words[at + 2] as number, fold)) | 0
      c = Math.imul((c << 13) | (c >>> 19), spread)
      d = (d + Math.imul(words[at + 3] as number, fold)) | 0
      d = Math.imul((d << 13) | (d >>> 19), spread)
    }
    lanes[0] = a
    lanes[1] = b
    lanes[2] = c
    lanes[3] = d
  }

  /** Writes the name of everything mixed since `reset` as two words into `names`, from `at` on. Mixing may go on. */
  read(names: Uint32Array, at: number): void {
    const [a = 0, b = 0, c = 0, d = 0] = this.#lanes
    names[at] = avalanche(rotated(a, 1) + rotated(b, 7) + rotated(c, 12) + rotated(d, 18))
    names[at + 1] = avalanche(rotated(a, 23) ^ rotated(b, 5) ^ Math.imul(c, this.#fold) ^ Math.imul(d, this.#spread))
  }
}

function rotated(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}

/** Every bit of `word` changes half of the result's (XXH32's last step). */
function avalanche(word: number): number {
  let mixed = word | 0
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85eb_ca77)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae3d)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
