import type { DecisionTables } from '../../../proto/policy/tables.js'

/** `previous` is null for the first tables of this process. */
export type SwapListener = (next: DecisionTables, previous: DecisionTables | null) => void

/**
 * The one reference that a request borrows: it reads `current` once and uses those tables to its end. Swapping is one
 * assignment; a listener runs after it, in the same turn, so that a request which starts later cannot see the old tables.
 */
export class TablesHolder {
  #current: DecisionTables | null = null
  readonly #listeners = new Set<SwapListener>()

  /** Null until the first snapshot was applied or last-known-good was loaded: the agent is not ready. */
  get current(): DecisionTables | null {
    return this.#current
  }

  swap(next: DecisionTables): void {
    const previous = this.#current
    this.#current = next
    for (const listener of this.#listeners) listener(next, previous)
  }

  /**
   * Calls `listener` after every swap. The request path uses it to end running streams whose key is now denied with
   * `abort: true`: `next.denied.get(secretHash)?.abort`. Returns the way to stop listening.
   */
  onSwap(listener: SwapListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
