import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { assert } from '../../proto/std/assert.js'
import { type Clock, systemClock } from '../../proto/std/clock.js'
import { type Exchange, SimulatorAnswerer } from './simulator-answerer.js'
import { type Behaviour, parseBehaviour } from './simulator-behaviour.js'
import { SimulatorConduct } from './simulator-conduct.js'
import { answerJson, answerText, readJson, refuse, textHeader } from './simulator-http.js'
import { type AcceptedRequest, type SimulatedOperation, SimulatorLedger } from './simulator-ledger.js'
import { SimulatorMetrics } from './simulator-metrics.js'
import {
  type ApiError,
  apiError,
  isApiError,
  parseChat,
  parseCompletion,
  parseEmbeddings,
  parseTokenize,
  type SimulatedModel,
} from './simulator-request.js'
import { seedOf } from './simulator-text.js'

export interface SimulatorOptions {
  /** 0 takes any free port; `url` tells which. */
  port: number
  host?: string
  /** Same seed and same request: same words. */
  seed?: number
  /** When set, requests without `authorization: Bearer <apiKey>` are refused as OpenAI does. */
  apiKey?: string | null
  models?: readonly SimulatedModel[]
  behaviour?: Partial<Behaviour>
  /** File to which acceptances are appended before anything is answered. */
  logFile?: string | null
  clock?: Clock
}

export const simulatorModels: readonly SimulatedModel[] = Object.freeze([
  { id: 'simulator-small', kind: 'chat', contextTokensMax: 32_768 },
  { id: 'simulator-large', kind: 'chat', contextTokensMax: 131_072 },
  { id: 'simulator-embedding', kind: 'embeddings', contextTokensMax: 8_192 },
])

const parsers = Object.freeze({ chat: parseChat, completions: parseCompletion, embeddings: parseEmbeddings })

/**
 * A stand-in for an inference server: it speaks OpenAI's wire with vLLM's extensions and metrics, says words that depend on
 * a seed alone, and can be told to be slow or to fail. It says that it is a simulator in every header and model name.
 *
 * A request is *accepted* once its body was read and is valid, before anything is answered; only a connection refused
 * (`refuse_connection`), a wrong key, an invalid body or a rate limit keep a request from being accepted.
 */
export class Simulator {
  readonly #options: SimulatorOptions
  readonly #clock: Clock
  readonly #seed: number
  readonly #models: readonly SimulatedModel[]
  readonly #ledger: SimulatorLedger
  readonly #metrics = new Map<string, SimulatorMetrics>()
  readonly #conduct: SimulatorConduct
  readonly #answerer: SimulatorAnswerer
  #server: Server
  #port = 0
  #ordinal = 0

  constructor(options: SimulatorOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#seed = options.seed ?? 1
    this.#models = options.models ?? simulatorModels
    this.#ledger = new SimulatorLedger(options.logFile ?? null)
    const { behaviour: initial = {} } = options
    this.#conduct = new SimulatorConduct({ initial, seed: this.#seed, clock: this.#clock })
    this.#answerer = new SimulatorAnswerer({ seed: this.#seed, clock: this.#clock })
    for (const model of this.#models) this.#metrics.set(model.id, new SimulatorMetrics())
    this.#server = this.#createServer()
  }

  /** Base URL without `/v1`, once started. */
  get url(): string {
    assert(this.#port > 0, 'the simulator was started')
    return `http://${this.#options.host ?? '127.0.0.1'}:${this.#port}`
  }

  get port(): number {
    return this.#port
  }

  async start(): Promise<void> {
    await this.#listen(this.#port || this.#options.port)
  }

  /** Ends every connection. */
  async stop(): Promise<void> {
    await this.#close()
    this.#ledger.close()
  }

  /** Everything accepted so far, in order; the objects go on changing until their request ends. */
  accepted(): readonly AcceptedRequest[] {
    return this.#ledger.requests
  }

  clearAccepted(): void {
    this.#ledger.clear()
  }

  /** Sets knobs for one model, or for all of them; knobs not named keep their value. */
  behave(knobs: Partial<Behaviour>, model = ''): void {
    this.#conduct.set(knobs, model)
  }

  /** Back to the knobs it was made with. */
  resetBehaviour(): void {
    this.#conduct.reset()
  }

  /** Closes the port and every connection, as a crashed server would; after `ms` it listens again on the same port. */
  async outage(ms: number): Promise<void> {
    await this.#close()
    this.#clock.after(ms, () => {
      this.#server = this.#createServer()
      this.#listen(this.#port).catch(() => {})
    })
  }

  #createServer(): Server {
    const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
      this.#handle(request, response).catch((fault: unknown) => {
        if (response.destroyed) return
        if (response.headersSent) response.destroy()
        else refuse(response, apiError(500, `the simulator has a fault: ${String(fault)}`))
      })
    })
    return server
  }

  #listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, this.#options.host ?? '127.0.0.1', () => {
        this.#port = (this.#server.address() as AddressInfo).port
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  #close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('server', 'switchyard-simulator')
    const path = (request.url ?? '/').split('?')[0] ?? '/'
    const operation = `${request.method} ${path}`
    if (operation === 'POST /v1/chat/completions') return this.#infer(request, response, 'chat')
    if (operation === 'POST /v1/completions') return this.#infer(request, response, 'completions')
    if (operation === 'POST /v1/embeddings') return this.#infer(request, response, 'embeddings')
    if (operation === 'GET /v1/models') return this.#listModels(request, response)
    if (operation === 'GET /metrics') return answerText(response, this.#metricsText())
    if (operation === 'GET /health' || operation === 'GET /ping') return answerText(response, '')
    if (operation === 'GET /version') return answerJson(response, 200, { version: 'simulator' })
    if (operation === 'POST /tokenize') return this.#tokenize(request, response)
    if (operation === 'GET /simulator/requests') return this.#answerLedger(response)
    if (operation === 'DELETE /simulator/requests') {
      this.#ledger.clear()
      return answerJson(response, 200, {})
    }
    if (operation === 'GET /simulator/behaviour') return answerJson(response, 200, this.#conduct.common)
    if (operation === 'DELETE /simulator/behaviour') {
      this.resetBehaviour()
      return answerJson(response, 200, this.#conduct.common)
    }
    if (operation === 'POST /simulator/behaviour') return this.#setBehaviour(request, response)
    if (operation === 'POST /simulator/outage') {
      const body = await readJson(request)
      const ms = Number((body as { ms?: unknown } | null)?.ms ?? 1_000)
      answerJson(response, 202, { ms })
      response.once('finish', () => void this.outage(ms))
      return
    }
    request.resume()
    refuse(response, apiError(404, `Invalid URL (${operation})`))
  }

  async #infer(request: IncomingMessage, response: ServerResponse, operation: SimulatedOperation): Promise<void> {
    const startedUs = this.#clock.monotonicUs()
    // Before the body, hence before the model is known: knobs for all models decide.
    const refuses = this.#conduct.behaviourOf(request, '').failure === 'refuse_connection'
    if (refuses && this.#conduct.takeFailure(request, '') !== null) {
      request.socket.resetAndDestroy()
      return
    }
    const unauthorised = this.#checkKey(request)
    if (unauthorised) {
      request.resume()
      return refuse(response, unauthorised)
    }
    const body = await readJson(request)
    if (body instanceof Error) return refuse(response, apiError(400, body.message))
    const parsed = parsers[operation](body, this.#models)
    if (isApiError(parsed)) return refuse(response, parsed)
    const model = parsed.model.id
    const behaviour = this.#conduct.behaviourOf(request, model)
    const limited = this.#conduct.countRate(behaviour, response)
    if (limited) return refuse(response, limited)
    const failure =
      refuses && behaviour.failure === 'refuse_connection' ? null : this.#conduct.takeFailure(request, model)
    if (failure === 'refuse_connection') {
      request.socket.resetAndDestroy()
      return
    }
    this.#ordinal += 1
    const accepted: AcceptedRequest = {
      id: textHeader(request, 'x-request-id') ?? `simreq-${this.#ordinal}`,
      traceparent: textHeader(request, 'traceparent'),
      operation,
      model,
      stream: 'stream' in parsed && parsed.stream,
      acceptedAtMs: this.#clock.nowMs(),
      promptTokens: parsed.promptTokens,
      completionTokens: 0,
      status: 0,
      failure,
      finished: false,
      closedByClientAtMs: null,
    }
    this.#ledger.accept(accepted)
    response.setHeader('x-request-id', accepted.id)
    const metrics = this.#metricsOf(model)
    const left = new AbortController()
    const exchange: Exchange = { request, response, behaviour, startedUs, ordinal: this.#ordinal, metrics, left }
    response.once('close', () => {
      if (!response.writableFinished && !accepted.finished) accepted.closedByClientAtMs = this.#clock.nowMs()
      left.abort()
    })
    try {
      await this.#conduct.enter(exchange)
      metrics.heldTokens += parsed.promptTokens
      try {
        await this.#answerer.answer(exchange, parsed, accepted, failure)
      } finally {
        metrics.heldTokens -= parsed.promptTokens
        this.#conduct.leave(exchange)
      }
    } catch (reason) {
      if (!left.signal.aborted) throw reason
      metrics.finish('abort')
    } finally {
      accepted.status = response.headersSent ? response.statusCode : 0
      this.#ledger.end(accepted)
    }
  }

  #checkKey(request: IncomingMessage): ApiError | null {
    const { apiKey } = this.#options
    if (apiKey === undefined || apiKey === null || request.headers.authorization === `Bearer ${apiKey}`) return null
    return apiError(
      401,
      request.headers.authorization === undefined
        ? "You didn't provide an API key. Provide it in an Authorization header using Bearer auth."
        : 'Incorrect API key provided.',
      { code: 'invalid_api_key' },
    )
  }

  #listModels(request: IncomingMessage, response: ServerResponse): void {
    const unauthorised = this.#checkKey(request)
    if (unauthorised) {
      refuse(response, unauthorised)
      return
    }
    const data = this.#models.map((model) => ({
      id: model.id,
      object: 'model',
      created: 1_700_000_000,
      owned_by: 'switchyard-simulator',
      max_model_len: model.contextTokensMax,
    }))
    answerJson(response, 200, { object: 'list', data })
  }

  async #tokenize(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readJson(request)
    if (body instanceof Error) return refuse(response, apiError(400, body.message))
    const parsed = parseTokenize(body, this.#models)
    if (isApiError(parsed)) return refuse(response, parsed)
    const { model, tokens } = parsed
    const ids = tokens.map((token) => seedOf(token) % 128_000)
    answerJson(response, 200, { count: ids.length, max_model_len: model.contextTokensMax, tokens: ids })
  }

  async #setBehaviour(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readJson(request)
    if (body instanceof Error) return refuse(response, apiError(400, body.message))
    const { model = '', ...rest } = (body ?? {}) as { model?: unknown }
    const knobs = parseBehaviour(rest)
    if (typeof knobs === 'string') return refuse(response, apiError(400, knobs))
    if (model !== '' && !this.#metrics.has(String(model)))
      return refuse(response, apiError(404, `The model \`${String(model)}\` does not exist.`))
    this.behave(knobs, String(model))
    answerJson(response, 200, { ...this.#conduct.common, ...knobs })
  }

  #answerLedger(response: ServerResponse): void {
    response.setHeader('x-forgotten-count', this.#ledger.forgottenCount)
    response.setHeader('content-type', 'application/x-ndjson')
    response.end(this.#ledger.requests.map((request) => `${JSON.stringify(request)}\n`).join(''))
  }

  #metricsOf(model: string): SimulatorMetrics {
    const metrics = this.#metrics.get(model)
    assert(metrics, 'every model has its metrics')
    return metrics
  }

  #metricsText(): string {
    return `${[...this.#metrics].map(([model, metrics]) => metrics.text(model)).join('\n')}\n`
  }
}
