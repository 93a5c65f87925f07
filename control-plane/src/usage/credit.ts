import { assert } from '../../../proto/std/assert.js'

/**
 * What may be under way between agents and Postgres: Σ (sent − stored) ≤ `totalBytes`, for everybody together. Part of it
 * is kept for streams that hold nothing, so that a busy agent never shuts out a quiet one.
 */
export class CreditPool {
  readonly totalBytes: number
  readonly #reserveBytes: number
  #heldBytes = 0

  constructor(totalBytes: number) {
    assert(totalBytes >= 4 * windowMinBytes, 'credit: the pool holds at least a few streams')
    this.totalBytes = totalBytes
    this.#reserveBytes = Math.floor(totalBytes / 4)
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Up to `wantedBytes`, perhaps 0. `first`: the stream holds nothing and may have of the reserve. */
  take(wantedBytes: number, first: boolean): number {
    const free = this.totalBytes - this.#heldBytes - (first ? 0 : this.#reserveBytes)
    const taken = Math.max(0, Math.min(wantedBytes, free))
    this.#heldBytes += taken
    return taken
  }

  give(bytes: number): void {
    this.#heldBytes -= bytes
    assert(this.#heldBytes >= 0, 'credit: nothing is given back twice')
  }
}

const windowMinBytes = 64 << 10

/**
 * The credit of one stream in one class. It starts small and doubles whenever the agent uses it up, so that thousands of
 * quiet agents hold little and one with a backlog soon fills the pipe.
 */
export class CreditWindow {
  readonly #pool: CreditPool
  readonly #windowMaxBytes: number
  #sizeBytes = windowMinBytes
  /** Granted and not used; below zero by at most one batch. */
  #unusedBytes = 0
  /** Used and not stored. */
  #underWayBytes = 0
  #closed = false

  constructor(pool: CreditPool, windowMaxBytes: number) {
    this.#pool = pool
    this.#windowMaxBytes = windowMaxBytes
  }

  /** Takes what the window lacks from the pool; the bytes to grant now, 0 when there is enough or nothing to be had. */
  topUp(): number {
    const held = this.#unusedBytes + this.#underWayBytes
    const lacking = this.#sizeBytes - held
    if (this.#closed || lacking <= 0 || this.#unusedBytes > this.#sizeBytes / 4) return 0
    const granted = this.#pool.take(lacking, held <= 0)
    this.#unusedBytes += granted
    return granted
  }

  /** A batch came. False: there was no credit for it. */
  use(bytes: number): boolean {
    if (this.#unusedBytes <= 0) return false
    this.#unusedBytes -= bytes
    this.#underWayBytes += bytes
    if (this.#unusedBytes <= this.#sizeBytes / 4) this.#sizeBytes = Math.min(this.#sizeBytes * 2, this.#windowMaxBytes)
    return true
  }

  /** A batch is stored, or known to be lost. */
  release(bytes: number): void {
    this.#underWayBytes -= bytes
    this.#pool.give(bytes)
  }

  /** The stream is over: what it did not use goes back; what is under way does when it is released. */
  close(): void {
    this.#closed = true
    this.#pool.give(this.#unusedBytes)
    this.#unusedBytes = 0
  }
}
