import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Clock } from '../../../proto/std/clock.js'
import { refuse } from '../../../proto/std/refusal.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { doorOf } from '../doors/door-table.js'
import type { RequestHandler } from '../request/handle-request.js'
import type { Door } from '../request/ports.js'
import type { RequestRefusal } from '../request/request-refusal.js'
import type { AgentMetrics } from '../telemetry/metrics.js'
import { type Health, writeHealthy, writeReadiness } from './health.js'
import { HttpCall } from './http-call.js'
import { rawRefusal, writeRefusal } from './respond.js'
import { matchRoute } from './routes.js'

/**
 * The door for clients. Accepts within limits and refuses beyond them before a body is read; finds the operation; hands
 * the call to the request room. While draining it still listens and says 503, so that a client learns to go elsewhere
 * instead of running into a closed port, and every response closes its connection.
 */
export interface DoorLimits {
  /** Connections beyond this are closed as they come. */
  readonly connectionsMax: number
  /** Requests beyond this are refused with 503. */
  readonly inFlightMax: number
  readonly bodyBytesMax: number
  readonly headerBytesMax: number
  /** Milliseconds from the first byte of a request to the last of its body. */
  readonly requestTimeoutMs: number
  /** Milliseconds that a connection may be silent between requests. */
  readonly idleTimeoutMs: number
}

export interface HttpServerOptions {
  readonly host: string
  readonly port: number
  /** PEM texts; null speaks plain HTTP. */
  readonly tls: { readonly cert: string; readonly key: string } | null
  readonly limits: DoorLimits
  readonly handler: RequestHandler
  readonly health: Health
  readonly clock: Clock
  readonly log: Log
  readonly metrics: AgentMetrics
}

const overloaded = refuse('agent_overloaded', 'This agent has as many requests running as it may. Try again shortly.')
const draining = refuse('agent_draining', 'This agent is stopping. Try again.')
const drainPollMs = 20
/** After running streams were told to end, this long for their last bytes. */
const lastBytesMs = 2_000

export class HttpServer implements Service {
  readonly name = 'http-server'
  readonly #options: HttpServerOptions
  readonly #server: Server
  #inFlightCount = 0
  #draining = false
  #connectionCount = 0

  constructor(options: HttpServerOptions) {
    this.#options = options
    const { limits, tls } = options
    const serverOptions = {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: Math.min(limits.requestTimeoutMs, 60_000),
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.idleTimeoutMs,
      // How often the two timeouts above are looked at.
      connectionsCheckingInterval: Math.max(50, Math.min(1_000, limits.requestTimeoutMs)),
      noDelay: true,
    }
    this.#server =
      tls === null
        ? createServer(serverOptions)
        : createSecureServer({ ...serverOptions, cert: tls.cert, key: tls.key, minVersion: 'TLSv1.2' })
    this.#server.maxConnections = limits.connectionsMax
    this.#server.on('request', (request, response) => this.#onRequest(request, response, false))
    this.#server.on('checkContinue', (request, response) => this.#onRequest(request, response, true))
    this.#server.on('clientError', onClientError)
    this.#server.on('connection', (socket: Socket) => {
      this.#connectionCount += 1
      socket.once('close', () => {
        this.#connectionCount -= 1
      })
    })
    this.#server.on('drop', () => options.metrics.refusals.of('connections_max').add(1))
  }

  get address(): { readonly host: string; readonly port: number } {
    const address = this.#server.address() as AddressInfo | null
    return { host: this.#options.host, port: address?.port ?? this.#options.port }
  }

  /** Requests between their head and their last byte. */
  get inFlightCount(): number {
    return this.#inFlightCount
  }

  get connectionCount(): number {
    return this.#connectionCount
  }

  get draining(): boolean {
    return this.#draining
  }

  run(): Promise<void> {
    const { host, port } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port, backlog: 1024 }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  /** Refuses new requests, lets running ones end by themselves until the deadline, then ends them with an error event. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    const { handler } = this.#options
    await this.#untilIdle(deadlineMs)
    if (this.#inFlightCount > 0) {
      handler.endAll()
      await this.#untilIdle(lastBytesMs)
    }
  }

  stop(): Promise<void> {
    this.#draining = true
    return new Promise((resolve) => {
      if (!this.#server.listening) return resolve()
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  async #untilIdle(deadlineMs: number): Promise<void> {
    const { clock } = this.#options
    const dueUs = clock.monotonicUs() + deadlineMs * 1000
    while (this.#inFlightCount > 0 && clock.monotonicUs() < dueUs) await clock.sleep(drainPollMs)
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean) {
    const { limits, clock, health } = this.#options
    const matched = matchRoute(request.method ?? 'GET', request.url ?? '/')
    if ('refused' in matched) {
      const { method, url } = request
      const refusal =
        matched.refused === 'unknown_url'
          ? refuse(
              'unknown_url',
              `Unknown request URL: ${method} ${plainUrl(url)}. The agent serves OpenAI's chat completions, completions, responses, embeddings and models, and Anthropic's messages; its metrics are on a port of their own.`,
            )
          : refuse('method_not_allowed', `Not allowed: ${method} ${plainUrl(url)}. Allowed: ${matched.allow}.`)
      return this.#turnAway(request, response, refusal, null, 'allow' in matched ? matched.allow : undefined)
    }
    const { place, parameter } = matched
    if (place === 'healthz') return writeHealthy(response)
    if (place === 'readyz') return writeReadiness(response, health)
    const door = doorOf(place, request.headers)
    if (this.#draining) return this.#turnAway(request, response, draining, door)
    if (this.#inFlightCount >= limits.inFlightMax) return this.#turnAway(request, response, overloaded, door)
    this.#inFlightCount += 1
    const call = new HttpCall(request, response, {
      door,
      parameter,
      clock,
      bodyBytesMax: limits.bodyBytesMax,
      expectsContinue,
      closing: this.#isClosing,
    })
    void this.#handle(call)
  }

  async #handle(call: HttpCall): Promise<void> {
    try {
      await this.#options.handler.handle(call)
    } catch (fault) {
      this.#options.log.error({ fault: String(fault) }, 'a request could not even be refused')
      call.destroy()
    } finally {
      this.#inFlightCount -= 1
    }
  }

  readonly #isClosing = (): boolean => this.#draining

  /** Refuses without reading; a connection whose body is not going to be read is closed. */
  #turnAway(
    request: IncomingMessage,
    response: ServerResponse,
    refusal: RequestRefusal,
    door: Door | null,
    allow?: string,
  ): void {
    this.#options.metrics.refusals.of(refusal.code).add(1)
    const hasBody =
      request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined
    const closing = this.#draining || (hasBody && !isSmall(request))
    writeRefusal(response, refusal, door, null, { closing, ...(allow === undefined ? {} : { allow }) })
  }
}

function isSmall(request: IncomingMessage): boolean {
  const declared = Number(request.headers['content-length'] ?? Number.NaN)
  return declared <= 64 * 1024
}

/** A URL for an error message: bounded, without its query (people put keys there). */
function plainUrl(url: string | undefined): string {
  return (url ?? '/').replace(/\?.*$/s, '').slice(0, 200)
}

function onClientError(fault: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || fault.code === 'ECONNRESET') return void socket.destroy()
  // Half-closing would leave the socket to a client that never closes its side; it has been told, now it is let go.
  socket.end(rawRefusal(refusalOfClientError(fault.code)), () => socket.destroySoon())
}

function refusalOfClientError(code: string | undefined): RequestRefusal {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return refuse('header_too_large', 'The head of the request is too large.')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return refuse('body_timeout', 'The request did not arrive in time.')
    default:
      return refuse('malformed_request', 'The request is not valid HTTP/1.1.')
  }
}
