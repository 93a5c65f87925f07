import type { ServerLoad } from '../replicas/replica-server.js'
import { loadsPerTellingMax } from '../replicas/replica-telling.js'

/** Servers that something runs at; of further ones workers know their own load alone, and what readings show. */
const serversMax = 4_096
/** Numbers of a `ServerLoad`. */
const numbersCount = 4

/**
 * What every request worker has running at each replica, in the primary: workers tell, and are told the sums of the others, so
 * that they choose as one would. Pure but for its own state.
 */
export class LoadBoard {
  readonly #count: number
  /** By server, by worker, the numbers of its load. */
  readonly #servers = new Map<string, Float64Array[]>()
  /** By worker: servers of which it has to be told. */
  readonly #news: readonly Set<string>[]

  constructor(count: number) {
    this.#count = count
    this.#news = Array.from({ length: count }, () => new Set<string>())
  }

  tell(worker: number, loads: readonly ServerLoad[]): void {
    for (const [url, ...numbers] of loads) {
      this.#rowOf(url)?.[worker]?.set(numbers)
      this.#announce(url, worker)
    }
  }

  /** The worker's process has ended: nothing of it runs anywhere. The next of its number knows nothing yet. */
  forget(worker: number): void {
    this.#news[worker]?.clear()
    for (const [url, row] of this.#servers) {
      row[worker]?.fill(0)
      this.#announce(url, worker)
      this.#news[worker]?.add(url)
    }
  }

  hasNewsFor(worker: number): boolean {
    return (this.#news[worker]?.size ?? 0) > 0
  }

  /** What `worker` does not know yet of the others, as much as fits into one telling. */
  newsFor(worker: number): readonly ServerLoad[] {
    const loads: ServerLoad[] = []
    for (const url of this.#news[worker] ?? []) {
      if (loads.length >= loadsPerTellingMax) break
      this.#news[worker]?.delete(url)
      loads.push(this.#othersAt(url, worker))
    }
    return loads
  }

  #othersAt(url: string, worker: number): ServerLoad {
    const row = this.#servers.get(url) ?? []
    const sums = new Float64Array(numbersCount)
    let isIdle = true
    for (const [other, numbers] of row.entries()) {
      for (const [at, number] of numbers.entries()) {
        if (number !== 0) isIdle = false
        if (other !== worker) sums[at] = (sums[at] ?? 0) + number
      }
    }
    if (isIdle) this.#servers.delete(url)
    const [inFlightCount = 0, inFlightTokens = 0, unansweredCount = 0, unansweredTokens = 0] = sums
    return [url, inFlightCount, inFlightTokens, unansweredCount, unansweredTokens]
  }

  #rowOf(url: string): Float64Array[] | null {
    const known = this.#servers.get(url)
    if (known !== undefined) return known
    if (this.#servers.size >= serversMax) return null
    const row = Array.from({ length: this.#count }, () => new Float64Array(numbersCount))
    this.#servers.set(url, row)
    return row
  }

  #announce(url: string, worker: number): void {
    for (const [other, news] of this.#news.entries()) if (other !== worker) news.add(url)
  }
}
