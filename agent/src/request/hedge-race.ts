import type { Deadlines, Due } from '../../../proto/std/deadlines.js'
import type { CounterSeries } from '../telemetry/series.js'
import type { HopRun } from './run-hop.js'

/** What becomes of second targets, counted. */
export interface HedgeCounts {
  of(event: 'sent' | 'won' | 'lost' | 'failed' | 'over_budget' | 'no_place'): CounterSeries
}

export interface HedgeRaceOptions {
  readonly deadlines: Deadlines
  readonly counts: HedgeCounts
  readonly first: HopRun
  /** When a second target is asked. */
  readonly dueUs: number
  /** The next target, ready to be asked; null: there is none, or none may be asked. */
  next(): HopRun | null
  /** Whether the end of `hop` decides the request, so that nobody needs to go on. */
  decides(hop: HopRun): boolean
}

/**
 * Two targets for one request: the second is asked when the first has not said a word by `dueUs`. The first token wins, or
 * the first whole answer (or the first "no" that any target would say); the other is closed in the same turn, and billed.
 * While one of them may still answer, the failure of the other decides nothing.
 */
export class HedgeRace implements Due {
  dueUs = Number.POSITIVE_INFINITY
  dueSlot = -1
  /** Null: it was not needed. */
  second: HopRun | null = null
  /** Who was closed because the other was first. */
  lost: HopRun | null = null
  readonly #options: HedgeRaceOptions
  #resolve: (hop: HopRun) => void = () => {}
  #reject: (fault: unknown) => void = () => {}

  constructor(options: HedgeRaceOptions) {
    this.#options = options
  }

  get first(): HopRun {
    return this.#options.first
  }

  /** Resolves with the hop that decided, or else the one that failed last. Rejects with a fault of ours only. */
  run(): Promise<HopRun> {
    const { deadlines, first, dueUs } = this.#options
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      deadlines.set(this, dueUs)
      this.#follow(first)
    })
  }

  onDue() {
    const { counts, next } = this.#options
    try {
      this.second = next()
    } catch (fault) {
      return this.#onFault(fault)
    }
    if (this.second === null) return
    counts.of('sent').add(1)
    this.#follow(this.second)
  }

  /** The stream of `hop` begins: it has won. */
  begins(hop: HopRun): void {
    const { deadlines, first, counts } = this.#options
    deadlines.lift(this)
    const other = hop === first ? this.second : first
    if (other === null || other.over) return
    this.lost = other
    counts.of(hop === first ? 'lost' : 'won').add(1)
    other.cancel('hedge_lost')
  }

  /** Nobody waits for it any more. */
  stop(): void {
    this.#options.deadlines.lift(this)
  }

  #follow(hop: HopRun): void {
    hop.run().then(
      () => this.#onOver(hop),
      (fault) => this.#onFault(fault),
    )
  }

  #onOver(hop: HopRun): void {
    const { first, decides, counts } = this.#options
    if (hop === this.lost) return
    if (hop === this.second && !decides(hop)) counts.of('failed').add(1)
    const other = hop === first ? this.second : first
    if (decides(hop)) this.begins(hop)
    else if (other !== null && !other.over) return
    this.stop()
    this.#resolve(hop)
  }

  #onFault(fault: unknown): void {
    const { first } = this.#options
    this.stop()
    first.cancel('aborted')
    this.second?.cancel('aborted')
    this.#reject(fault)
  }
}
