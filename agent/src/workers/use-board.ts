import type { OthersTelling, UseTelling } from './messages.js'

/**
 * What every request worker has running and what its keys took in the last minute, in the primary: workers tell, and are
 * told the sums of the others. Pure but for its own state; time is an argument.
 *
 * A minute is twelve slots of five seconds and the one under way, so that "the last minute" is 60 to 65 s: what is not known to
 * the second is rather counted too long than too short.
 */
const slotUs = 5_000_000
const slotsMax = 13
/** Beyond this many keys in use within a minute, further ones are not shared: each worker then gives their whole limit. */
const keysMax = 100_000

/** Keys in one telling: a worker that begins is told of all that are in use, and one message must not hold up the next. */
const keysPerTellingMax = 2_000

interface KeyRow {
  readonly running: number[]
  /** By worker, by slot. */
  readonly takes: Float64Array[]
  /** By worker: sum of its slots. */
  readonly taken: number[]
  /** Up to which the slots are of the present minute. */
  slot: number
}

export class UseBoard {
  readonly #count: number
  readonly #keysMax: number
  readonly #keys = new Map<string, KeyRow>()
  readonly #connections: number[]
  readonly #inFlight: number[]
  /** By worker: keys of which it has to be told something. */
  readonly #news: Set<string>[]
  readonly #told: { connections: number; inFlight: number }[]
  #slot = -1

  constructor(count: number, limits: { readonly keysMax?: number } = {}) {
    this.#count = count
    this.#keysMax = limits.keysMax ?? keysMax
    const each = <T>(make: () => T) => Array.from({ length: count }, make)
    this.#connections = each(() => 0)
    this.#inFlight = each(() => 0)
    this.#news = each(() => new Set<string>())
    this.#told = each(() => ({ connections: 0, inFlight: 0 }))
  }

  /** Requests running in all workers. */
  get inFlightCount(): number {
    return sum(this.#inFlight)
  }

  /** Keys that something is known about. */
  get keyCount(): number {
    return this.#keys.size
  }

  /** Takes a worker's telling; how many of its keys there was no room for. */
  tell(worker: number, telling: UseTelling, nowUs: number): number {
    this.advance(nowUs)
    this.#connections[worker] = telling.connections
    this.#inFlight[worker] = telling.inFlight
    let refusedCount = 0
    for (const [id, running, takes] of telling.keys) {
      const row = this.#rowOf(id)
      if (row === null) {
        refusedCount += 1
        continue
      }
      row.running[worker] = running
      if (takes > 0) {
        const slots = row.takes[worker]
        if (slots) slots[this.#slot % slotsMax] = (slots[this.#slot % slotsMax] ?? 0) + takes
        row.taken[worker] = (row.taken[worker] ?? 0) + takes
      }
      this.#announce(id, worker)
    }
    return refusedCount
  }

  /** The worker's process has ended: nothing runs there any more. What it took stays taken. */
  forget(worker: number): void {
    this.#connections[worker] = 0
    this.#inFlight[worker] = 0
    this.#news[worker]?.clear()
    this.#told[worker] = { connections: 0, inFlight: 0 }
    for (const [id, row] of this.#keys) {
      if ((row.running[worker] ?? 0) > 0) {
        row.running[worker] = 0
        this.#announce(id, worker)
      }
      // The next process of that number knows nothing yet.
      this.#news[worker]?.add(id)
    }
  }

  /** Moves the minute on. */
  advance(nowUs: number): void {
    const slot = Math.floor(nowUs / slotUs)
    if (slot === this.#slot) return
    this.#slot = slot
    for (const [id, row] of this.#keys) this.#age(id, row)
  }

  /** There is something that `worker` does not know yet of keys. */
  hasNewsFor(worker: number): boolean {
    return (this.#news[worker]?.size ?? 0) > 0
  }

  /** What `worker` does not know yet of the others, as much as fits into one telling; null: nothing. */
  newsFor(worker: number): OthersTelling | null {
    const connections = sum(this.#connections) - (this.#connections[worker] ?? 0)
    const inFlight = sum(this.#inFlight) - (this.#inFlight[worker] ?? 0)
    const news = this.#news[worker]
    const told = this.#told[worker]
    if (news === undefined || told === undefined) return null
    if (news.size === 0 && told.connections === connections && told.inFlight === inFlight) return null
    const keys: [string, number, number][] = []
    for (const id of news) {
      if (keys.length >= keysPerTellingMax) break
      news.delete(id)
      const row = this.#keys.get(id)
      if (row === undefined) keys.push([id, 0, 0])
      else {
        keys.push([id, sum(row.running) - (row.running[worker] ?? 0), sum(row.taken) - (row.taken[worker] ?? 0)])
      }
    }
    this.#told[worker] = { connections, inFlight }
    return { connections, inFlight, keys }
  }

  #rowOf(id: string): KeyRow | null {
    const known = this.#keys.get(id)
    if (known !== undefined) return known
    if (this.#keys.size >= this.#keysMax) return null
    const each = <T>(make: () => T) => Array.from({ length: this.#count }, make)
    const row: KeyRow = {
      running: each(() => 0),
      takes: each(() => new Float64Array(slotsMax)),
      taken: each(() => 0),
      slot: this.#slot,
    }
    this.#keys.set(id, row)
    return row
  }

  /** Empties slots that are of an earlier minute, and forgets a key of which nothing is left. */
  #age(id: string, row: KeyRow): void {
    const from = Math.max(row.slot + 1, this.#slot - slotsMax + 1)
    for (const [worker, slots] of row.takes.entries()) {
      let lost = 0
      for (let slot = from; slot <= this.#slot; slot++) {
        lost += slots[slot % slotsMax] ?? 0
        slots[slot % slotsMax] = 0
      }
      if (lost === 0) continue
      row.taken[worker] = (row.taken[worker] ?? 0) - lost
      this.#announce(id, worker)
    }
    row.slot = this.#slot
    if (sum(row.running) === 0 && sum(row.taken) === 0) this.#keys.delete(id)
  }

  /** Something of `worker`'s is news to all the others. */
  #announce(id: string, worker: number): void {
    for (const [other, news] of this.#news.entries()) if (other !== worker) news.add(id)
  }
}

function sum(values: readonly number[]): number {
  let total = 0
  for (const value of values) total += value
  return total
}
