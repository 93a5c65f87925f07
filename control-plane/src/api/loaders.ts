import DataLoader from 'dataloader'
import type { Actor } from '../access/principal.js'

/**
 * How a service answers "these ids, please" in one query: one value per key, in order, null for what does not exist or is
 * not the actor's to see. A service exposes it as a frozen property; resolvers load through the request's `Loaders`.
 */
export interface BatchLoad<Value> {
  readonly load: (actor: Actor, keys: readonly string[]) => Promise<readonly (Value | null)[]>
}

const batchCountMax = 500

/**
 * The data loaders of one request: one per `BatchLoad`, made when first used, so nothing is cached across requests. A
 * subscription lives for long and remembers nothing (`remember: false`): it batches, but every event sees the record anew.
 */
export class Loaders {
  readonly #actor: Actor | null
  readonly #remember: boolean
  readonly #loaders = new Map<BatchLoad<unknown>, DataLoader<string, unknown>>()

  constructor(actor: Actor | null, options: { readonly remember: boolean } = { remember: true }) {
    this.#actor = actor
    this.#remember = options.remember
  }

  /** The value of `key`, batched with everything else this tick asks of `batch`; null when unknown or nobody asks. */
  async load<Value>(batch: BatchLoad<Value>, key: string): Promise<Value | null> {
    const actor = this.#actor
    if (actor === null) return null
    let loader = this.#loaders.get(batch) as DataLoader<string, Value | null> | undefined
    if (loader === undefined) {
      loader = new DataLoader((keys) => batch.load(actor, keys), { maxBatchSize: batchCountMax, cache: this.#remember })
      this.#loaders.set(batch, loader)
    }
    return loader.load(key)
  }
}

/** Rows in the order of `keys`, null where missing: what the end of every batch load looks like. */
export function inKeyOrder<Value>(
  keys: readonly string[],
  values: readonly Value[],
  keyOf: (value: Value) => string,
): readonly (Value | null)[] {
  const byKey = new Map(values.map((value) => [keyOf(value), value]))
  return keys.map((key) => byKey.get(key) ?? null)
}
