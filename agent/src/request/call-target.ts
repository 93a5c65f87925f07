import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import type { TargetTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Deadlines, Due } from '../../../proto/std/deadlines.js'
import type { StreamReader } from '../providers/provider-dialect.js'
import { retryAfterOf } from '../providers/retry-after.js'
import type { HopOutcome } from './record.js'

/**
 * One hop: sends a request to one target and sees it to its end under four deadlines.
 *
 *   connect       until a connection is there and the request is written to it (waiting for a free one included)
 *   first token   from then until the first event of a stream; a whole answer has no first token, its total counts
 *   idle          between two reads; stands still while the client is the slow one, which has a limit of its own
 *   total         from the start of the hop, and never beyond what the route has left
 *
 * Nothing reaches the client before the first event, so until then (`committed` false) the next hop may try. One entry
 * among the agent's deadlines serves all four: it is only ever set sooner, and when it comes looks what is due. A stream
 * sets nothing per chunk.
 */
export interface TargetCallOptions {
  readonly dispatcher: Pick<Dispatcher, 'dispatch'>
  readonly target: TargetTable
  readonly path: string
  readonly headers: string[]
  readonly body: Buffer
  /** Null: a whole answer is wanted. */
  readonly reader: StreamReader | null
  readonly sink: StreamSink
  readonly occupancy: Occupancy
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly startedUs: number
  /** When the hop must be over, on the monotonic clock. */
  readonly dueUs: number
  readonly answerBytesMax: number
  readonly clientStallMs: number
}

/** Counts what runs at a target: a call enters when it is sent and leaves when it is settled, whatever becomes of it. */
export interface Occupancy {
  enter(nowUs: number): void
  leave(): void
}

/** Where a stream goes. */
export interface StreamSink {
  /** The first event is here; nothing can be taken back after this. */
  begin(atUs: number): void
  /** False: wait for `onDrain`. */
  write(bytes: Buffer): boolean
  onDrain(listener: () => void): void
}

/** Body of an answer that is not 2xx: enough for any message, small enough to read for courtesy. */
const errorBytesMax = 256 * 1024
/** After the terminal event an upstream has this long to end its answer, so that the connection can be used again. */
const lingerUs = 1_000_000

type Phase = 'connect' | 'first_token' | 'stream' | 'stalled' | 'answer' | 'linger' | 'over'

export class TargetCall implements Dispatcher.DispatchHandler, Due {
  outcome: HopOutcome = 'aborted'
  httpStatus = 0
  /** It was written to a connection: the upstream may be at work on it. */
  sent = false
  /** The stream has begun to reach the client. */
  committed = false
  /** A whole answer, or the body of an error. */
  answer: Buffer | null = null
  contentType = 'application/json'
  retryAfterSeconds: number | null = null
  /** For the operator's log; never for a client. */
  fault: Error | null = null
  /** The client took nothing for too long. */
  stalled = false
  endedUs = 0

  readonly #options: TargetCallOptions
  #phase: Phase = 'connect'
  #entered = false
  #settled = false
  #controller: Dispatcher.DispatchController | null = null
  #streamed = false
  #chunks: Buffer[] = []
  #chunkBytes = 0
  #chunkBytesMax: number
  /** Of the phase; the hop's own is `#options.dueUs`. */
  #phaseDueUs: number
  /** When it looks what is due. */
  dueUs = Number.POSITIVE_INFINITY
  dueSlot = -1
  #stalledAtUs = 0
  /** How long the client was the slow one, in all. */
  #stalledUs = 0
  #resolve: (call: this) => void = ignore

  constructor(options: TargetCallOptions) {
    this.#options = options
    this.#chunkBytesMax = options.answerBytesMax
    this.#phaseDueUs = options.startedUs + options.target.deadlines.connectMs * 1000
  }

  get reader(): StreamReader | null {
    return this.#options.reader
  }

  /** Sends; resolves with itself when the hop is over for the client. Never rejects. */
  run(): Promise<this> {
    const { dispatcher, path, headers, body, occupancy, startedUs } = this.#options
    return new Promise((resolve) => {
      this.#resolve = resolve
      this.#arm()
      this.#entered = true
      occupancy.enter(startedUs)
      dispatcher.dispatch({ method: 'POST', path, headers, body }, this)
    })
  }

  /** Ends the hop at once: closes the connection to the upstream. */
  cancel(): void {
    this.#fail('aborted', null)
  }

  onRequestStart(controller: Dispatcher.DispatchController) {
    this.#controller = controller
    if (this.#phase === 'over') return controller.abort(new CallOver())
    this.sent = true
    this.#phase = this.#options.reader === null ? 'answer' : 'first_token'
    this.#phaseDueUs =
      this.#options.reader === null
        ? Number.POSITIVE_INFINITY
        : this.#options.clock.monotonicUs() + this.#options.target.deadlines.firstTokenMs * 1000
    this.#arm()
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders) {
    if (status < 200 || this.#phase === 'over') return
    this.httpStatus = status
    const contentType = headers['content-type']
    if (typeof contentType === 'string') this.contentType = contentType
    const encoding = headers['content-encoding']
    if (encoding !== undefined && encoding !== 'identity')
      return this.#fail('malformed', new Error('answer is encoded'))
    if (status >= 300) {
      this.#chunkBytesMax = errorBytesMax
      this.retryAfterSeconds = retryAfterOf(headers['retry-after'], this.#options.clock)
      this.#enter('answer')
    } else if (this.#options.reader?.contentType === typeOf(this.contentType)) {
      this.#streamed = true
    } else {
      this.#enter('answer')
    }
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer) {
    if (this.#phase === 'over' || this.#phase === 'linger') return
    if (this.#streamed) return this.#onStreamBytes(chunk)
    this.#chunkBytes += chunk.length
    if (this.#chunkBytes > this.#chunkBytesMax) {
      return this.#fail(this.httpStatus < 300 ? 'malformed' : outcomeOf(this.httpStatus), new Error('answer too large'))
    }
    this.#chunks.push(chunk)
    this.#enter('answer')
  }

  onResponseEnd() {
    const phase = this.#phase
    if (phase === 'over') return
    if (phase === 'linger') return this.#finish()
    if (this.#streamed) return this.#onStreamEnd()
    this.answer = this.#chunks.length === 1 ? (this.#chunks[0] ?? null) : Buffer.concat(this.#chunks)
    this.#settle(outcomeOf(this.httpStatus))
    this.#finish()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error) {
    if (this.#phase === 'over') return
    if (this.#phase === 'linger') return this.#finish()
    this.fault = error
    const isProtocol = error.name === 'HTTPParserError' || error.name === 'ResponseContentLengthMismatchError'
    const isSlow = (error as { code?: unknown }).code === 'UND_ERR_CONNECT_TIMEOUT'
    this.#settle(isSlow ? 'timeout_connect' : isProtocol || this.committed ? 'malformed' : 'connect_error')
    this.#finish()
  }

  #onStreamBytes(chunk: Buffer) {
    const { reader, sink, clock } = this.#options
    if (reader === null) return
    let bytes: Buffer | null
    try {
      bytes = reader.push(chunk)
    } catch (fault) {
      // Of what can be parsed not all can be written again (thousands of levels): whatever it was, the vendor sent it.
      return this.#fail('malformed', faultOf(fault))
    }
    if (!this.committed && reader.started) {
      this.committed = true
      sink.begin(clock.monotonicUs())
    }
    const mayGoOn = bytes === null || this.#pass(bytes)
    if (this.#isOver) return
    if (reader.done) return this.#completeStream()
    if (reader.malformed) return this.#fail('malformed', new Error('the stream is not what its provider sends'))
    if (reader.error !== null) return this.#fail('upstream_5xx', new Error(reader.error))
    if (!mayGoOn) this.#stall()
    else if (this.committed) this.#enter('stream')
  }

  #onStreamEnd() {
    const { reader } = this.#options
    if (reader === null) return
    let bytes: Buffer | null
    try {
      bytes = reader.end()
    } catch (fault) {
      this.fault = faultOf(fault)
      this.#settle('malformed')
      return this.#finish()
    }
    if (bytes !== null) this.#pass(bytes)
    // Some servers leave the terminal event out; without even a finish reason the stream was cut.
    const whole = reader.done || (reader.finished && reader.error === null && !reader.malformed)
    if (!whole) this.fault = new Error(reader.error ?? 'the stream ended before its end')
    this.#settle(whole ? 'ok' : 'malformed')
    this.#finish()
  }

  /** Sends on, or holds what came before the first event (comments) until it is known that there is one. */
  #pass(bytes: Buffer): boolean {
    if (!this.committed) {
      this.#chunkBytes += bytes.length
      if (this.#chunkBytes > errorBytesMax) this.#fail('malformed', new Error('nothing but comments'))
      else this.#chunks.push(Buffer.from(bytes))
      return true
    }
    const held = this.#chunks
    if (held.length > 0) {
      this.#chunks = []
      return this.#options.sink.write(Buffer.concat([...held, bytes]))
    }
    return this.#options.sink.write(bytes)
  }

  get #isOver(): boolean {
    return this.#phase === 'over'
  }

  #completeStream(): void {
    this.#settle('ok')
    this.#phase = 'linger'
    this.#phaseDueUs = this.endedUs + lingerUs
    this.#arm()
  }

  /** The client is slower than the upstream: stop reading until it has taken what it was given. */
  #stall(): void {
    const { sink, clock, clientStallMs } = this.#options
    this.#controller?.pause()
    this.#phase = 'stalled'
    this.#stalledAtUs = clock.monotonicUs()
    this.#phaseDueUs = this.#stalledAtUs + clientStallMs * 1000
    this.#arm()
    sink.onDrain(() => {
      if (this.#phase !== 'stalled') return
      this.#stalledUs += clock.monotonicUs() - this.#stalledAtUs
      this.#enter('stream')
      this.#controller?.resume()
    })
  }

  #enter(phase: 'answer' | 'stream'): void {
    const { clock, target } = this.#options
    this.#phase = phase
    this.#phaseDueUs = clock.monotonicUs() + target.deadlines.idleMs * 1000
    if (this.#phaseDueUs < this.dueUs) this.#arm()
  }

  #soonestUs(): number {
    return this.#phase === 'linger' ? this.#phaseDueUs : Math.min(this.#phaseDueUs, this.#options.dueUs)
  }

  /** Makes sure that it looks when something is due; where it looks too soon it sets itself again. */
  #arm(): void {
    const dueUs = this.#soonestUs()
    if (this.dueUs > dueUs) this.#options.deadlines.set(this, dueUs)
  }

  onDue() {
    const nowUs = this.#options.clock.monotonicUs()
    if (this.#phase === 'over') return
    if (nowUs < this.#soonestUs()) return this.#arm()
    if (this.#phase === 'linger') return this.#fail('ok', null)
    const isTotal = this.#phaseDueUs > nowUs
    this.stalled = isTotal ? this.#wasHeldUp(nowUs) : this.#phase === 'stalled'
    this.#fail(this.stalled ? 'aborted' : isTotal ? 'timeout_total' : timeoutOf(this.#phase), null)
  }

  /** The client took more than half of the hop's time: that it is over is not the upstream's fault. */
  #wasHeldUp(nowUs: number): boolean {
    const stalledUs = this.#stalledUs + (this.#phase === 'stalled' ? nowUs - this.#stalledAtUs : 0)
    return stalledUs * 2 > nowUs - this.#options.startedUs
  }

  /** Settles and closes the connection; an upstream that is still generating learns that nobody listens. */
  #fail(outcome: HopOutcome, fault: Error | null): void {
    if (this.#phase === 'over') return
    this.fault ??= fault
    this.#settle(outcome)
    this.#finish()
    this.#controller?.abort(new CallOver())
  }

  #settle(outcome: HopOutcome): void {
    if (this.#settled) return
    this.#settled = true
    this.outcome = outcome
    this.endedUs = this.#options.clock.monotonicUs()
    if (this.#entered) this.#options.occupancy.leave()
    this.#resolve(this)
  }

  #finish(): void {
    this.#phase = 'over'
    this.#options.deadlines.lift(this)
  }
}

/** Why we closed a connection; never shown. */
class CallOver extends Error {
  override readonly name = 'CallOver'
}

function ignore(): void {}

function faultOf(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

/** A media type without its parameters. */
function typeOf(contentType: string): string {
  const end = contentType.indexOf(';')
  return (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
}

function timeoutOf(phase: Phase): HopOutcome {
  switch (phase) {
    case 'connect':
      return 'timeout_connect'
    case 'first_token':
      return 'timeout_first_token'
    default:
      return 'timeout_idle'
  }
}

function outcomeOf(status: number): HopOutcome {
  if (status < 300) return 'ok'
  if (status === 429) return 'rate_limited'
  // The model's own time or failure, not the request's fault (408 anywhere, 424 at Bedrock): another may do better.
  if (status === 408 || status === 424) return 'upstream_5xx'
  // A redirect is no answer: following it would send a credential where nobody meant it to go.
  return status >= 500 || status < 400 ? 'upstream_5xx' : 'upstream_4xx'
}
