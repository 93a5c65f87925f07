import grpc from '@grpc/grpc-js'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal, RefusalError } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import { grpcStatusOf } from './grpc-status.js'
import { type Peer, peerOf } from './peer.js'
import type { PeerGate } from './peer-gate.js'
import type { StandingAdmissions } from './standing-admissions.js'

/**
 * The one file of this plane where gRPC's callbacks become promises and async iterables with back-pressure. What passes
 * here has passed the gate: the certificate names an agent that is not revoked, and the stream ends when that stops to be
 * true.
 */
export interface PeerStream<Received, Sent> {
  readonly peer: Peer
  /** Aborts when the call is over for whatever reason; the reason says which. */
  readonly signal: AbortSignal
  /** One message at a time; the next is read from the connection when it is asked for. Ends with the call. */
  messages(): AsyncGenerator<Received, void>
  /**
   * A message, or its bytes encoded earlier. Resolves once the connection wants more: awaiting it is the back-pressure.
   * Rejects when the call is over.
   */
  send(message: Sent | Buffer): Promise<void>
}

export type BidiHandler<Received, Sent> = (stream: PeerStream<Received, Sent>) => Promise<void>
export type UnaryHandler<Request, Response> = (request: Request) => Promise<Response>

/** A call with one answer, of an agent that passed the gate. */
export interface PeerCall<Request> {
  readonly peer: Peer
  readonly request: Request
  /** Nobody waits for the answer any more. */
  isOver(): boolean
}
export type PeerUnaryHandler<Request, Response> = (call: PeerCall<Request>) => Promise<Response>

export interface GrpcDependencies {
  readonly gate: PeerGate
  readonly pacer: WritePacer
  readonly clock: Clock
  readonly log: Log
}

/** Serves a call by one function over its whole life: when it returns the stream ends well, when it throws it does not. */
export function serveBidi<Received, Sent>(
  method: string,
  handle: BidiHandler<Received, Sent>,
  dependencies: GrpcDependencies,
): grpc.handleBidiStreamingCall<Received, Sent> {
  const { gate, clock, log } = dependencies
  return (call) => {
    const over = new AbortController()
    const end = (reason: Error) => over.abort(reason)
    // A call may fail after everybody has turned away; an error event without a listener would end the process.
    call.on('error', () => end(new Error('the connection failed')))
    call.on('cancelled', () => end(new Error('cancelled by the agent or its connection')))
    call.on('close', () => end(new Error('closed')))
    const serve = async () => {
      const peer = peerOf(call)
      if (isRefusal(peer)) throw new RefusalError(peer)
      const refusal = await gate.admit(peer)
      if (refusal !== null) throw new RefusalError(refusal)
      // Said at once and not with the first message: the agent learns that its certificate was taken.
      call.sendMetadata(new grpc.Metadata())
      const leave = gate.enter(peer, (reason) => end(new RefusalError(reason)))
      try {
        const served = handle(peerStream(call, peer, over.signal, dependencies.pacer))
        await Promise.race([served, aborted(over.signal)])
      } finally {
        leave()
      }
    }
    serve().then(
      () => {
        end(new Error('served'))
        call.end()
      },
      (error: unknown) => {
        const gone = call.cancelled || call.destroyed
        end(new Error('failed'))
        if (!gone) call.emit('error', grpcStatusOf(error, { log, method, nowMs: clock.nowMs() }))
      },
    )
  }
}

/** Serves a call with one answer. Who asks is in the request (enrolment is where nobody has a certificate yet). */
export function serveUnary<Request, Response>(
  method: string,
  handle: UnaryHandler<Request, Response>,
  { clock, log }: Pick<GrpcDependencies, 'clock' | 'log'>,
): grpc.handleUnaryCall<Request, Response> {
  return (call, answer) => {
    handle(call.request).then(
      (response) => answer(null, response),
      (error: unknown) => answer(grpcStatusOf(error, { log, method, nowMs: clock.nowMs() })),
    )
  }
}

/** Serves a call with one answer to an agent: who asks is in its certificate. */
export function servePeerUnary<Request, Response>(
  method: string,
  handle: PeerUnaryHandler<Request, Response>,
  { admissions, clock, log }: Pick<GrpcDependencies, 'clock' | 'log'> & { readonly admissions: StandingAdmissions },
): grpc.handleUnaryCall<Request, Response> {
  return (call, answer) => {
    const serve = async () => {
      const peer = peerOf(call)
      if (isRefusal(peer)) throw new RefusalError(peer)
      const refusal = await admissions.admit(peer)
      if (refusal !== null) throw new RefusalError(refusal)
      return handle({ peer, request: call.request, isOver: () => call.cancelled })
    }
    serve().then(
      (response) => answer(null, response),
      (error: unknown) => answer(grpcStatusOf(error, { log, method, nowMs: clock.nowMs() })),
    )
  }
}

/**
 * Lets the event loop breathe during a broadcast: after every hundred writes the writers wait for the next turn. Without
 * it five thousand agents block the loop for seconds; with it for less than a tenth of one.
 */
export class WritePacer {
  #count = 0
  #turn: Promise<void> | null = null

  /** Call before a write. */
  async wait(): Promise<void> {
    while (this.#turn !== null) await this.#turn
    this.#count += 1
    if (this.#count < writesPerTurn) return
    this.#count = 0
    this.#turn = new Promise((resolve) => {
      setImmediate(() => {
        this.#turn = null
        resolve()
      })
    })
  }
}

const writesPerTurn = 100

function peerStream<Received, Sent>(
  call: grpc.ServerDuplexStream<Received, Sent>,
  peer: Peer,
  signal: AbortSignal,
  pacer: WritePacer,
): PeerStream<Received, Sent> {
  return {
    peer,
    signal,
    // Not `for await (… of call)`: leaving that loop destroys the call before its status is sent.
    async *messages() {
      for (;;) {
        if (signal.aborted) return
        const message: Received | null = call.read()
        if (message !== null) yield message
        else if (call.readableEnded || call.destroyed) return
        else await happened(call, ['readable', 'end', 'close'], signal)
      }
    },
    async send(message) {
      await pacer.wait()
      signal.throwIfAborted()
      // Bytes pass through the serializer untouched; see grpc-contract.ts.
      if (call.write(message as Sent)) return
      await happened(call, ['drain', 'close'], signal)
      signal.throwIfAborted()
    },
  }
}

/** Resolves at the first of the events, or when the signal aborts. */
function happened(call: NodeJS.EventEmitter, events: readonly string[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      for (const event of events) call.off(event, settle)
      signal.removeEventListener('abort', settle)
      resolve()
    }
    for (const event of events) call.on(event, settle)
    signal.addEventListener('abort', settle, { once: true })
  })
}

/** Rejects with the signal's reason. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
