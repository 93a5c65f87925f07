import type { Clock } from './clock.js'

/** Something that is to be looked at by an instant; belongs to one `Deadlines` at a time. */
export interface Due {
  /** On the monotonic clock; infinite when it is not waited for. Written by `Deadlines` alone. */
  dueUs: number
  /** Where it stands; -1 when it is not waited for. Written by `Deadlines` alone. */
  dueSlot: number
  /** Its instant has come. It is not waited for any more. */
  onDue(): void
}

/**
 * Many deadlines under one timer, for those that are set for every request and hardly ever come: setting and lifting one is
 * a place in a list, where a timer of its own costs as much as a step of the request. The timer stands at the soonest
 * instant that was set, lifted or not; when it fires, all are looked at, what is due is told, and it is set for what is
 * soonest then, `spacingMs` later at the soonest: a look costs as much as there are, so it must not come for each of them.
 * That is how late one may be told.
 */
export class Deadlines {
  readonly #clock: Clock
  readonly #waiting: Due[] = []
  #timerUs = Number.POSITIVE_INFINITY
  #cancelTimer = () => {}

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How many are waited for. */
  get size(): number {
    return this.#waiting.length
  }

  /** Waits for `due` until `dueUs`, instead of what was set for it before. Never tells it within this call. */
  set(due: Due, dueUs: number): void {
    due.dueUs = dueUs
    if (due.dueSlot === -1) {
      due.dueSlot = this.#waiting.length
      this.#waiting.push(due)
    }
    if (dueUs < this.#timerUs) this.#arm(dueUs)
  }

  /** Waits for it no more; harmless when it is not waited for. */
  lift(due: Due): void {
    const slot = due.dueSlot
    if (slot === -1) return
    const last = this.#waiting.pop()
    if (last !== undefined && last !== due) {
      this.#waiting[slot] = last
      last.dueSlot = slot
    }
    due.dueSlot = -1
    due.dueUs = Number.POSITIVE_INFINITY
  }

  #arm(dueUs: number): void {
    this.#cancelTimer()
    this.#timerUs = dueUs
    const waitMs = Math.max(0, Math.ceil((dueUs - this.#clock.monotonicUs()) / 1000))
    this.#cancelTimer = this.#clock.after(waitMs, this.#onTimer)
  }

  readonly #onTimer = (): void => {
    const nowUs = this.#clock.monotonicUs()
    // Until it is armed anew: what is set meanwhile must not arm it for each.
    this.#timerUs = Number.NEGATIVE_INFINITY
    try {
      for (const due of this.#waiting.filter((one) => one.dueUs <= nowUs)) {
        // Another one that was told may have lifted or moved it.
        if (due.dueUs > nowUs) continue
        this.lift(due)
        due.onDue()
      }
    } finally {
      this.#timerUs = Number.POSITIVE_INFINITY
      let soonestUs = Number.POSITIVE_INFINITY
      for (const due of this.#waiting) if (due.dueUs < soonestUs) soonestUs = due.dueUs
      if (soonestUs !== Number.POSITIVE_INFINITY) this.#arm(Math.max(soonestUs, nowUs + spacingMs * 1000))
    }
  }
}

const spacingMs = 5
