import type { ApiKeyTable, LookupTable } from '../../../proto/policy/tables.js'
import type { OthersTelling, UseTelling } from './messages.js'

/** What this worker and, as far as it was told, the others do for one key. */
interface KeyUse {
  readonly id: string
  /** The key as it is configured, of the tables that it was last looked up in; null: not looked up here yet. */
  key: ApiKeyTable | null
  running: number
  /** Since the last telling. */
  takes: number
  othersRunning: number
  /** Within the last minute. */
  othersTakes: number
  /** `key` with what the others leave of its limits; null: to be made, or the same. */
  left: ApiKeyTable | null
}

/** Keys that were quiet when this many are known are forgotten; doubled where more are in use. */
const usesMarkMin = 4_096
const keysPerTellingMax = 2_000

/**
 * Limits of keys hold for the agent, and here each worker sees the key with what the other workers leave of them:
 *
 *   at once       the limit less what runs elsewhere
 *   per minute    the limit less what the others took in the last minute, and at least this worker's own part
 *                 (⌊limit / workers⌋, the remainder to the first ones), so that nobody is left out
 *
 * What the others do is as old as their last telling. A request counts elsewhere from its open record on.
 */
export class KeyUses {
  readonly #worker: { readonly index: number; readonly count: number }
  readonly #onUrgent: () => void
  readonly #uses = new Map<string, KeyUse>()
  #usesMark = usesMarkMin
  /** Of which there is something to tell. */
  #changed = new Set<KeyUse>()

  /** `onUrgent`: a key comes near its limit, or moved by a good part of it since the last telling. */
  constructor(worker: { readonly index: number; readonly count: number }, onUrgent: () => void) {
    this.#worker = worker
    this.#onUrgent = onUrgent
  }

  /** Keys that something is known about. */
  get size(): number {
    return this.#uses.size
  }

  get hasNews(): boolean {
    return this.#changed.size > 0
  }

  /** `keys` with what is left of each one's limits. */
  leftOf(keys: LookupTable<ApiKeyTable>): LookupTable<ApiKeyTable> {
    return new KeysLeft(keys, this)
  }

  left(key: ApiKeyTable): ApiKeyTable {
    const use = this.#use(key.id)
    if (use.key !== key) {
      use.key = key
      use.left = null
    }
    if (use.othersRunning === 0 && use.othersTakes === 0) return key
    use.left ??= this.#makeLeft(key, use)
    return use.left
  }

  /** A request of the key was opened; the returned function says that it is closed, and a second call of it nothing. */
  open(apiKeyId: string): () => void {
    const use = this.#uses.get(apiKeyId)
    if (use === undefined) return nothing
    use.running += 1
    use.takes += 1
    this.#note(use)
    let isOpen = true
    return () => {
      if (!isOpen) return
      isOpen = false
      use.running -= 1
      this.#note(use)
    }
  }

  /** A request of the key was admitted and ended without being opened. */
  take(apiKeyId: string): void {
    const use = this.#uses.get(apiKeyId)
    if (use === undefined) return
    use.takes += 1
    this.#note(use)
  }

  /** What to tell the others; what does not fit is in the next. */
  next(): UseTelling['keys'] {
    const keys: [string, number, number][] = []
    for (const use of this.#changed) {
      if (keys.length >= keysPerTellingMax) break
      keys.push([use.id, use.running, use.takes])
      use.takes = 0
      this.#changed.delete(use)
    }
    return keys
  }

  /** What the others do, of keys of which something changed. */
  learn(keys: OthersTelling['keys']): void {
    for (const [id, running, takes] of keys) {
      const use = this.#use(id)
      use.othersRunning = running
      use.othersTakes = takes
      use.left = null
    }
  }

  #use(id: string): KeyUse {
    const known = this.#uses.get(id)
    if (known !== undefined) return known
    if (this.#uses.size >= this.#usesMark) this.#forgetQuiet()
    const use = { id, key: null, running: 0, takes: 0, othersRunning: 0, othersTakes: 0, left: null }
    this.#uses.set(id, use)
    return use
  }

  #note(use: KeyUse): void {
    this.#changed.add(use)
    if (use.key === null) return
    const { inFlightMax, requestsPerMinuteMax } = use.key
    const isNear = use.running + use.othersRunning >= inFlightMax / 2
    if (isNear || use.takes >= requestsPerMinuteMax / (4 * this.#worker.count)) this.#onUrgent()
  }

  #makeLeft(key: ApiKeyTable, { othersRunning, othersTakes }: KeyUse): ApiKeyTable {
    const { inFlightMax, requestsPerMinuteMax } = key
    return Object.freeze({
      ...key,
      inFlightMax: Math.max(0, inFlightMax - othersRunning),
      requestsPerMinuteMax: Math.max(partOf(requestsPerMinuteMax, this.#worker), requestsPerMinuteMax - othersTakes),
    })
  }

  #forgetQuiet(): void {
    for (const [id, use] of this.#uses) {
      const isQuiet = use.running === 0 && use.takes === 0 && use.othersRunning === 0 && use.othersTakes === 0
      if (isQuiet && !this.#changed.has(use)) this.#uses.delete(id)
    }
    // Twice what is in use, so that the walk costs a constant per new key.
    this.#usesMark = Math.max(usesMarkMin, this.#uses.size * 2)
  }
}

/** What is this worker's of `limit` in any case: the parts of all are the limit. */
export function partOf(limit: number, worker: { readonly index: number; readonly count: number }): number {
  return Math.floor(limit / worker.count) + (worker.index < limit % worker.count ? 1 : 0)
}

class KeysLeft implements LookupTable<ApiKeyTable> {
  readonly #keys: LookupTable<ApiKeyTable>
  readonly #uses: KeyUses

  constructor(keys: LookupTable<ApiKeyTable>, uses: KeyUses) {
    this.#keys = keys
    this.#uses = uses
  }

  get size(): number {
    return this.#keys.size
  }

  get(secretHash: string): ApiKeyTable | undefined {
    const key = this.#keys.get(secretHash)
    return key === undefined ? undefined : this.#uses.left(key)
  }
}

const nothing = () => {}
