import type { ApiKeyTable, LookupTable } from '../../../proto/policy/tables.js'
import type { OthersTelling, UseTelling } from './messages.js'

/** What this worker and, as far as it was told, the others do for one key. */
interface KeyUse {
  readonly id: string
  /**
   * Limits as they were when the key was last looked up; -1: not looked up here yet. Numbers, and never the key: it leads to the
   * whole tables that it is of, and what is known here outlives them.
   */
  inFlightMax: number
  requestsPerMinuteMax: number
  running: number
  /** Since the last telling. */
  takes: number
  othersRunning: number
  /** Within the last minute. */
  othersTakes: number
  /** Another number whenever the others were heard of. */
  hearing: number
}

/** A key with what the others leave of its limits, as of a hearing. */
interface KeyLeft {
  readonly key: ApiKeyTable
  readonly hearing: number
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
  /** What is made of a key goes with it. */
  readonly #left = new WeakMap<ApiKeyTable, KeyLeft>()
  /** Of which there is something to tell. */
  #changed = new Set<KeyUse>()
  /** Never the same again, so that a key forgotten and met anew is not mistaken. */
  #hearing = 0

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
    use.inFlightMax = key.inFlightMax
    use.requestsPerMinuteMax = key.requestsPerMinuteMax
    if (use.othersRunning === 0 && use.othersTakes === 0) return key
    const known = this.#left.get(key)
    if (known !== undefined && known.hearing === use.hearing) return known.key
    const made = this.#makeLeft(key, use)
    this.#left.set(key, { key: made, hearing: use.hearing })
    return made
  }

  /** A request of the key was opened; the returned function says that it is closed, and a second call of it nothing. */
  open(apiKeyId: string): () => void {
    const use = this.#uses.get(apiKeyId)
    if (use === undefined) return nothing
    use.running += 1
    use.takes += 1
    this.#note(use, use.running)
    let isOpen = true
    return () => {
      if (!isOpen) return
      isOpen = false
      use.running -= 1
      // What was given back is as urgent as what was taken: others refuse by it.
      this.#note(use, use.running + 1)
    }
  }

  /** A request of the key was admitted and ended without being opened. */
  take(apiKeyId: string): void {
    const use = this.#uses.get(apiKeyId)
    if (use === undefined) return
    use.takes += 1
    this.#note(use, use.running)
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
      use.hearing = ++this.#hearing
    }
  }

  #use(id: string): KeyUse {
    const known = this.#uses.get(id)
    if (known !== undefined) return known
    if (this.#uses.size >= this.#usesMark) this.#forgetQuiet()
    const use: KeyUse = {
      ...{ id, inFlightMax: -1, requestsPerMinuteMax: -1 },
      ...{ running: 0, takes: 0, othersRunning: 0, othersTakes: 0, hearing: ++this.#hearing },
    }
    this.#uses.set(id, use)
    return use
  }

  /** `runningMost`: the larger of what ran before and what runs now. */
  #note(use: KeyUse, runningMost: number): void {
    this.#changed.add(use)
    const { inFlightMax, requestsPerMinuteMax } = use
    if (inFlightMax === -1) return
    const isNear = runningMost + use.othersRunning >= inFlightMax / 2
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
