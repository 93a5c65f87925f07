import { closeSync, openSync, writeSync } from 'node:fs'

export type SimulatedOperation = 'chat' | 'completions' | 'embeddings'

/** One request that the simulator accepted, and how far its answer got. */
export interface AcceptedRequest {
  /** `x-request-id` as received, or the simulator's own. */
  readonly id: string
  /** `traceparent` as received. */
  readonly traceparent: string | null
  readonly operation: SimulatedOperation
  readonly model: string
  readonly stream: boolean
  readonly acceptedAtMs: number
  readonly promptTokens: number
  /** Tokens generated and handed to the connection. */
  completionTokens: number
  /** Status of the answer; 0 when there was none. */
  status: number
  /** The failure that was played, if any. */
  failure: string | null
  /** The whole answer was handed to the connection. */
  finished: boolean
  /** When the client left before the answer was whole. */
  closedByClientAtMs: number | null
}

/** Newest requests kept in memory; the file keeps all. */
const countMax = 200_000

/**
 * What was accepted, for tests that reconcile. The line of an acceptance is written to the file before anything is
 * answered, by a plain write, so that it survives `kill -9`; a second line follows when the request ends.
 */
export class SimulatorLedger {
  #requests: AcceptedRequest[] = []
  #forgottenCount = 0
  readonly #file: number | null

  constructor(path: string | null) {
    this.#file = path === null ? null : openSync(path, 'a')
  }

  accept(request: AcceptedRequest): void {
    if (this.#requests.length >= countMax) {
      this.#requests = this.#requests.slice(countMax / 10)
      this.#forgottenCount += countMax / 10
    }
    this.#requests.push(request)
    this.#write('accepted', request)
  }

  end(request: AcceptedRequest): void {
    this.#write('ended', request)
  }

  get requests(): readonly AcceptedRequest[] {
    return this.#requests
  }

  /** Requests that are no longer in `requests`. */
  get forgottenCount(): number {
    return this.#forgottenCount
  }

  clear(): void {
    this.#requests = []
    this.#forgottenCount = 0
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file)
  }

  #write(event: 'accepted' | 'ended', request: AcceptedRequest): void {
    if (this.#file !== null) writeSync(this.#file, `${JSON.stringify({ event, ...request })}\n`)
  }
}
