import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import type { Clock } from '../../../proto/std/clock.js'
import { retryAfterOf } from './retry-after.js'

/** How it ended; `timeout` and `aborted`: it was given up. */
export type CallEnd = 'answered' | 'too_large' | 'connect_error' | 'timeout' | 'aborted'

/**
 * One question beside a client's own request (a vector, a class of a prompt), until it is answered whole or nobody waits any
 * more. Whoever sends it bounds its time, by `giveUp`.
 */
export class WholeCall implements Dispatcher.DispatchHandler {
  /** Nothing of it reaches a client. */
  readonly committed = false
  /** 0: none came. */
  httpStatus = 0
  /** Null: it named none. */
  retryAfterSeconds: number | null = null
  isOver = false
  /** Never rejects. */
  readonly end: Promise<CallEnd>
  #resolve: (end: CallEnd) => void = () => {}
  #controller: Dispatcher.DispatchController | null = null
  readonly #clock: Clock
  readonly #bytesMax: number
  readonly #pieces: Buffer[] = []
  #length = 0

  /** `bytesMax`: of an answer's body; more is not read. */
  constructor(clock: Clock, bytesMax: number) {
    this.#clock = clock
    this.#bytesMax = bytesMax
    this.end = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  /** What came of the answer's body. */
  get body(): Buffer {
    return Buffer.concat(this.#pieces)
  }

  /** Closes its connection: whoever is still at it learns that nobody listens. */
  giveUp(why: 'timeout' | 'aborted'): void {
    if (this.isOver) return
    this.#end(why)
    this.#controller?.abort(nobodyWaits)
  }

  /** The client left. */
  cancel(): void {
    this.giveUp('aborted')
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // It was given up while it waited for a connection.
    if (this.isOver) controller.abort(nobodyWaits)
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) return
    this.httpStatus = status
    this.retryAfterSeconds = retryAfterOf(headers['retry-after'], this.#clock)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.isOver) return
    this.#length += chunk.length
    if (this.#length <= this.#bytesMax) this.#pieces.push(chunk)
    else {
      this.#end('too_large')
      controller.abort(nobodyWaits)
    }
  }

  onResponseEnd(): void {
    this.#end('answered')
  }

  onResponseError(): void {
    this.#end('connect_error')
  }

  /** The first one counts. */
  #end(end: CallEnd): void {
    this.isOver = true
    this.#resolve(end)
  }
}

const nobodyWaits = new Error('nobody waits for this any more')
