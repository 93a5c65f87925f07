import { assert } from '../../../proto/std/assert.js'
import type { Deadlines, Due } from '../../../proto/std/deadlines.js'

/**
 * The places that a target has for requests of this request worker, so that the batch of its engine grows no larger by us than
 * it should. Who takes a place gives it back, once. Where none is free a request may stand in line: who came first goes
 * first, and a place that comes free goes to whoever is first then, in the same turn of the event loop. Nobody stands in line
 * while there is a place.
 *
 * It is known by its target's id and outlives the tables that it was made from: another size counts from then on, for who
 * runs there as for who waits.
 */

/** In line at one target; whoever comes then is told at once that there is no place. As many as the largest batch. */
export const waitingMax = 10_000

export class TargetBatch {
  /** Most at once; infinite where the limit was taken away. */
  sizeMax: number
  /** How long a request may wait for a place. */
  waitMs: number
  #runningCount = 0
  #waitingCount = 0
  #first: PlaceWait | null = null
  #last: PlaceWait | null = null

  constructor(sizeMax: number, waitMs: number) {
    this.sizeMax = sizeMax
    this.waitMs = waitMs
  }

  /** Places that are taken; above `sizeMax` only for a while after that was lowered. */
  get runningCount(): number {
    return this.#runningCount
  }

  get waitingCount(): number {
    return this.#waitingCount
  }

  get hasPlace(): boolean {
    return this.#runningCount < this.sizeMax
  }

  /** To be called where there is one. */
  take(): void {
    assert(this.hasPlace, 'a place that is taken was free')
    this.#runningCount += 1
  }

  /** Once for each place that was taken. */
  giveBack(): void {
    assert(this.#runningCount > 0, 'a place that is given back was taken')
    this.#runningCount -= 1
    this.#serve()
  }

  /** Other limits, from now on. What runs beyond a smaller one ends as it would. */
  resize(sizeMax: number, waitMs: number): void {
    this.sizeMax = sizeMax
    this.waitMs = waitMs
    this.#serve()
  }

  /**
   * A request that came at `sinceUs` stands in line until `dueUs`; null: too many do. To be called where there is no place.
   */
  wait(deadlines: Deadlines, sinceUs: number, dueUs: number): PlaceWait | null {
    assert(!this.hasPlace, 'nobody waits for a place while there is one')
    if (this.#waitingCount >= waitingMax) return null
    const wait = new PlaceWait(this, deadlines, sinceUs)
    let before = this.#last
    while (before !== null && before.sinceUs > sinceUs) before = before.before
    this.#insert(wait, before)
    deadlines.set(wait, dueUs)
    return wait
  }

  /** For who waits: it does not any more. */
  leave(wait: PlaceWait): void {
    const { before, after } = wait
    if (before === null) this.#first = after
    else before.after = after
    if (after === null) this.#last = before
    else after.before = before
    wait.before = null
    wait.after = null
    this.#waitingCount -= 1
  }

  #insert(wait: PlaceWait, before: PlaceWait | null): void {
    const after = before === null ? this.#first : before.after
    wait.before = before
    wait.after = after
    if (before === null) this.#first = wait
    else before.after = wait
    if (after === null) this.#last = wait
    else after.before = wait
    this.#waitingCount += 1
  }

  #serve(): void {
    while (this.#first !== null && this.hasPlace) {
      this.#runningCount += 1
      this.#first.end(true)
    }
  }
}

/** One request in line for a place. */
export class PlaceWait implements Due {
  dueUs = Number.POSITIVE_INFINITY
  dueSlot = -1
  /** Its neighbours in line; for `TargetBatch` alone. */
  before: PlaceWait | null = null
  after: PlaceWait | null = null
  /** Whether it has a place, which then is whoever's waits to be given back. */
  readonly over: Promise<boolean>
  /** When its request came to the target. */
  readonly sinceUs: number
  readonly #batch: TargetBatch
  readonly #deadlines: Deadlines
  #isOver = false
  #resolve: (hasPlace: boolean) => void = () => {}

  constructor(batch: TargetBatch, deadlines: Deadlines, sinceUs: number) {
    this.#batch = batch
    this.#deadlines = deadlines
    this.sinceUs = sinceUs
    this.over = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  onDue(): void {
    this.end(false)
  }

  /** Ends it; harmless when it is over, whatever came of it. `hasPlace`: only `TargetBatch` says so. */
  end(hasPlace: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#deadlines.lift(this)
    this.#batch.leave(this)
    this.#resolve(hasPlace)
  }
}
