import { lanesCount, type PrefixHash } from '../../../proto/policy/prefix-hash.js'
import { BlockSet } from './block-set.js'
import type { Prefix } from './prefix-blocks.js'

/**
 * What one replica is believed to have in its prefix cache: the names of the blocks that were sent there, forgotten as the
 * replica forgets them: least recently used first, and of one prompt the last block before the first (vLLM frees a request's
 * blocks in reverse). So a block is never here without those before it, and the longest beginning that a prompt shares is
 * found by halving.
 *
 * One index per replica of a provider, not one from block to replicas: only so each has its own order of forgetting and its own
 * size, which is what a replica's memory has.
 *
 * Names are salted with the environment and the model. Without that a tenant could ask which prompts others send: their
 * prefix would draw its request to the replica that holds it, and that is felt in the time to the first token. vLLM's own
 * cache can still tell where both happen to meet; who minds sends `cache_salt`.
 */
export class PrefixIndex {
  readonly #blocks: BlockSet

  /** `blocksMax`: what the replica's memory holds. */
  constructor(blocksMax: number) {
    this.#blocks = new BlockSet(blocksMax)
  }

  get bytes(): number {
    return this.#blocks.bytes
  }

  get size(): number {
    return this.#blocks.size
  }

  get countMax(): number {
    return this.#blocks.countMax
  }

  limit(blocksMax: number): void {
    if (blocksMax !== this.#blocks.countMax) this.#blocks.limit(blocksMax)
  }

  clear(): void {
    this.#blocks.clear()
  }

  /** How many of the prompt's first blocks it holds. */
  match(prefix: Prefix, salt: Salt): number {
    let held = 0
    let missing = prefix.blockCount + 1
    while (missing - held > 1) {
      const middle = (held + missing) >>> 1
      if (this.#has(prefix, middle - 1, salt)) held = middle
      else missing = middle
    }
    return held
  }

  /** The prompt went there: all of it is what was used last. */
  learn(prefix: Prefix, salt: Salt): void {
    // What does not fit would only push out its own beginning.
    for (let block = Math.min(prefix.blockCount, this.#blocks.countMax) - 1; block >= 0; block--) {
      this.#blocks.touch(highOf(prefix, block, salt), lowOf(prefix, block, salt))
    }
  }

  #has(prefix: Prefix, block: number, salt: Salt): boolean {
    return this.#blocks.has(highOf(prefix, block, salt), lowOf(prefix, block, salt))
  }
}

/** Two words that set the names of one environment and model apart from all others'. */
export interface Salt {
  readonly high: number
  readonly low: number
}

function highOf({ names }: Prefix, block: number, salt: Salt): number {
  return ((names[block * 2] ?? 0) ^ salt.high) >>> 0
}

function lowOf({ names }: Prefix, block: number, salt: Salt): number {
  return ((names[block * 2 + 1] ?? 0) ^ salt.low) >>> 0
}

/** Of a text; another one for another text. */
export function saltOf(hash: PrefixHash, text: string): Salt {
  const words = new Uint32Array(Math.ceil((text.length + 1) / lanesCount) * lanesCount)
  words[0] = text.length
  for (let at = 0; at < text.length; at++) words[at + 1] = text.charCodeAt(at)
  hash.reset()
  hash.mix(words)
  const names = new Uint32Array(2)
  hash.read(names, 0)
  return { high: names[0] ?? 0, low: names[1] ?? 0 }
}
