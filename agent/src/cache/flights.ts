import type { Clock } from '../../../proto/std/clock.js'
import type { FoundAnswer } from './kept-answer.js'

/**
 * One try for many: while an answer is being made, whoever asks the very same waits for it. What ends the wait:
 *
 * - the answer, the same for all;
 * - the leader's own end before it (its client left, its key was revoked): the next in line leads, the others go on waiting;
 * - a failure, or an answer that may not be given again: everybody tries alone, at once. Waiting for one failure after the
 *   other would take the last one's whole time;
 * - half of the time that is left to whoever waits: the other half is for a try of its own.
 *
 * Nobody hears of another client's trouble. Bounded by the requests that run.
 */
export type FlightEnd = FoundAnswer | 'lead' | 'alone'

export class Flights {
  readonly #clock: Clock
  readonly #flights = new Map<string, Flight>()
  #followerCount = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#flights.size
  }

  get followerCount(): number {
    return this.#followerCount
  }

  /** The right to make the answer, or null: somebody is at it. */
  lead(key: string): Lead | null {
    if (this.#flights.has(key)) return null
    const flight = new Flight(this.#flights, key)
    this.#flights.set(key, flight)
    return new Lead(flight)
  }

  /** To wait for who is at it until `dueUs`; null: nobody is. */
  follow(key: string, dueUs: number): Follower | null {
    const flight = this.#flights.get(key)
    if (flight === undefined) return null
    this.#followerCount += 1
    const leave = () => {
      this.#followerCount -= 1
      flight.followers?.delete(follower)
    }
    const follower: Follower = new Follower(new Lead(flight), leave)
    flight.followers ??= new Set()
    flight.followers.add(follower)
    const leftUs = Math.max(0, dueUs - this.#clock.monotonicUs())
    follower.cancelTimer = this.#clock.after(leftUs / 2_000, () => follower.settle('alone'))
    return follower
  }
}

class Flight {
  /** In the order in which they came; null: nobody has, as for most. */
  followers: Set<Follower> | null = null
  readonly #flights: Map<string, Flight>
  readonly #key: string

  constructor(flights: Map<string, Flight>, key: string) {
    this.#flights = flights
    this.#key = key
  }

  close(): void {
    this.#flights.delete(this.#key)
  }
}

/** To be ended exactly once; more is harmless. */
export class Lead {
  readonly #flight: Flight
  #isOver = false

  constructor(flight: Flight) {
    this.#flight = flight
  }

  /** Somebody waits. */
  get isFollowed(): boolean {
    const { followers } = this.#flight
    return followers !== null && followers.size > 0
  }

  /** Gives everybody who waits the answer. */
  land(found: FoundAnswer): void {
    this.#end(found)
  }

  /** There is none that could be given again. */
  fail(): void {
    this.#end('alone')
  }

  /** The leader goes for reasons of its own. */
  abandon() {
    const { followers } = this.#flight
    if (this.#isOver || followers === null || followers.size === 0) return this.fail()
    const [next] = followers
    this.#isOver = true
    next?.settle('lead')
  }

  #end(end: FoundAnswer | 'alone'): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#flight.close()
    const { followers } = this.#flight
    if (followers !== null) for (const follower of [...followers]) follower.settle(end)
  }
}

export class Follower {
  /** What to end after `lead`. */
  readonly lead: Lead
  readonly end: Promise<FlightEnd>
  cancelTimer = () => {}
  readonly #leave: () => void
  #resolve: ((end: FlightEnd) => void) | null = null

  constructor(lead: Lead, leave: () => void) {
    this.lead = lead
    this.#leave = leave
    this.end = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  /** The first one counts. Also for whoever waits no longer: `alone`. */
  settle(end: FlightEnd): void {
    if (this.#resolve === null) return
    this.cancelTimer()
    this.#leave()
    this.#resolve(end)
    this.#resolve = null
  }
}
