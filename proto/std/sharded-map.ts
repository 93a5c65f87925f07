import { assert } from './assert.js'

const shardCount = 256

/**
 * A map of texts that never changes: `with` gives a new one that shares every shard without a change. One key among a
 * hundred thousand costs a copy of some four hundred entries; a lookup costs one small hash more than a `Map`.
 */
export class ShardedMap<V> {
  readonly size: number
  readonly #shards: readonly (ReadonlyMap<string, V> | undefined)[]

  private constructor(shards: readonly (ReadonlyMap<string, V> | undefined)[], size: number) {
    this.#shards = shards
    this.size = size
  }

  static empty<V>(): ShardedMap<V> {
    return new ShardedMap<V>(new Array(shardCount).fill(undefined), 0)
  }

  get(key: string): V | undefined {
    return this.#shards[shardOf(key)]?.get(key)
  }

  has(key: string): boolean {
    return this.#shards[shardOf(key)]?.has(key) ?? false
  }

  /** A map with `removals` gone and then `additions` set; this one stays as it is. */
  with(additions: Iterable<readonly [string, V]>, removals: Iterable<string> = []): ShardedMap<V> {
    const shards = [...this.#shards]
    const copied = new Map<number, Map<string, V>>()
    const writable = (key: string): Map<string, V> => {
      const index = shardOf(key)
      let shard = copied.get(index)
      if (shard === undefined) {
        shard = new Map(shards[index])
        copied.set(index, shard)
        shards[index] = shard
      }
      return shard
    }
    let size = this.size
    for (const key of removals) if (this.has(key) && writable(key).delete(key)) size -= 1
    for (const [key, value] of additions) {
      const shard = writable(key)
      if (!shard.has(key)) size += 1
      shard.set(key, value)
    }
    assert(size >= 0, 'a map has no negative size')
    return copied.size === 0 ? this : new ShardedMap(shards, size)
  }

  *entries(): Generator<readonly [string, V], void> {
    for (const shard of this.#shards) if (shard) yield* shard
  }
}

/** FNV-1a over the last eight characters: both hexadecimal hashes and ids end in their random part. */
function shardOf(key: string): number {
  let hash = 0x811c9dc5
  for (let i = Math.max(0, key.length - 8); i < key.length; i++) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  }
  return (hash >>> 0) % shardCount
}
