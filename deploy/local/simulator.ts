import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { assert } from '../../proto/std/assert.js'
import { type Clock, systemClock } from '../../proto/std/clock.js'
import {
  type Answer,
  chunkEvent,
  closingChoice,
  completionBody,
  composeAnswer,
  openingChoice,
  pieceChoice,
  usageOf,
} from './simulator-answer.js'
import { type Behaviour, behaviourDefault, type FailureKind, parseBehaviour } from './simulator-behaviour.js'
import { answerJson, answerText, drained, parseJson, readJson, textHeader } from './simulator-http.js'
import { type AcceptedRequest, SimulatorLedger } from './simulator-ledger.js'
import { SimulatorMetrics } from './simulator-metrics.js'
import {
  type ApiError,
  apiError,
  type ChatRequest,
  type EmbeddingsRequest,
  isApiError,
  parseChat,
  parseEmbeddings,
  type SimulatedModel,
} from './simulator-request.js'
import { embeddingOf, randomFrom, seedOf, tokensOf } from './simulator-text.js'

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

const tokensPerMinuteMax = 2_000_000

/** One request in the making: what its steps share. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly behaviour: Behaviour
  readonly startedUs: number
  /** Aborts when the client's connection closes. */
  readonly left: AbortController
}

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
  readonly #random: () => number
  #server: Server
  #port = 0
  #ordinal = 0
  /** '' holds for every model. */
  #behaviours = new Map<string, Partial<Behaviour>>()
  #failureCounts = new Map<string, number>()
  #recentMs: number[] = []
  #running = 0
  #waiters: (() => void)[] = []

  constructor(options: SimulatorOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#seed = options.seed ?? 1
    this.#models = options.models ?? simulatorModels
    this.#ledger = new SimulatorLedger(options.logFile ?? null)
    this.#random = randomFrom(seedOf(`failures of ${this.#seed}`))
    for (const model of this.#models) this.#metrics.set(model.id, new SimulatorMetrics())
    this.#behaviours.set('', options.behaviour ?? {})
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
    this.#behaviours.set(model, { ...this.#behaviours.get(model), ...knobs })
    this.#failureCounts.delete(model)
  }

  /** Back to the knobs it was made with. */
  resetBehaviour(): void {
    this.#behaviours = new Map([['', this.#options.behaviour ?? {}]])
    this.#failureCounts.clear()
    this.#recentMs = []
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
        else this.#refuse(response, apiError(500, `the simulator has a fault: ${String(fault)}`))
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
    if (operation === 'GET /simulator/behaviour')
      return answerJson(response, 200, { ...behaviourDefault, ...this.#behaviours.get('') })
    if (operation === 'DELETE /simulator/behaviour') {
      this.resetBehaviour()
      return answerJson(response, 200, { ...behaviourDefault, ...this.#behaviours.get('') })
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
    this.#refuse(response, apiError(404, `Invalid URL (${operation})`))
  }

  async #infer(request: IncomingMessage, response: ServerResponse, operation: 'chat' | 'embeddings'): Promise<void> {
    const startedUs = this.#clock.monotonicUs()
    // Before the body, hence before the model is known: knobs for all models decide.
    const refuses = this.#behaviourOf(request, '').failure === 'refuse_connection'
    if (refuses && this.#takeFailure(request, '') !== null) {
      request.socket.resetAndDestroy()
      return
    }
    const unauthorised = this.#checkKey(request)
    if (unauthorised) {
      request.resume()
      return this.#refuse(response, unauthorised)
    }
    const body = await readJson(request)
    if (body instanceof Error) return this.#refuse(response, apiError(400, body.message))
    const parsed = operation === 'chat' ? parseChat(body, this.#models) : parseEmbeddings(body, this.#models)
    if (isApiError(parsed)) return this.#refuse(response, parsed)
    const model = parsed.model.id
    const behaviour = this.#behaviourOf(request, model)
    const limited = this.#countRate(behaviour, response)
    if (limited) return this.#refuse(response, limited)
    const failure = refuses && behaviour.failure === 'refuse_connection' ? null : this.#takeFailure(request, model)
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
    const exchange: Exchange = { request, response, behaviour, startedUs, left: new AbortController() }
    response.once('close', () => {
      if (!response.writableFinished && !accepted.finished) accepted.closedByClientAtMs = this.#clock.nowMs()
      exchange.left.abort()
    })
    const metrics = this.#metricsOf(model)
    try {
      await this.#enter(metrics, exchange)
      try {
        if (failure === null || isMidway(failure)) await this.#answer(exchange, parsed, accepted, failure)
        else await this.#fail(exchange, accepted, failure)
      } finally {
        this.#leave(metrics)
      }
    } catch (reason) {
      if (!exchange.left.signal.aborted) throw reason
      metrics.finish('abort')
    } finally {
      accepted.status = response.headersSent ? response.statusCode : 0
      this.#ledger.end(accepted)
    }
  }

  #answer(
    exchange: Exchange,
    parsed: ChatRequest | EmbeddingsRequest,
    accepted: AcceptedRequest,
    failure: FailureKind | null,
  ): Promise<void> {
    const metrics = this.#metricsOf(parsed.model.id)
    metrics.promptTokens += parsed.promptTokens
    metrics.requestPromptTokens.observe(parsed.promptTokens)
    if ('inputs' in parsed) return this.#answerEmbeddings(exchange, parsed, accepted, failure)
    const answer = composeAnswer(parsed, {
      seed: this.#seed,
      ordinal: this.#ordinal,
      nowMs: this.#clock.nowMs(),
      outputTokens: exchange.behaviour.outputTokens,
    })
    return parsed.stream
      ? this.#answerStream(exchange, parsed, answer, accepted, failure)
      : this.#answerPlain(exchange, parsed, answer, accepted, failure)
  }

  async #answerPlain(
    exchange: Exchange,
    request: ChatRequest,
    answer: Answer,
    accepted: AcceptedRequest,
    failure: FailureKind | null,
  ): Promise<void> {
    const { behaviour, response, left } = exchange
    const metrics = this.#metricsOf(request.model.id)
    const generationMs =
      behaviour.tokensPerSecond > 0 ? (answer.completionTokens * 1_000) / behaviour.tokensPerSecond : 0
    const waitMs = behaviour.ttftMs + generationMs
    if (waitMs > 0) {
      const beganUs = this.#clock.monotonicUs()
      try {
        await this.#clock.sleep(waitMs, left.signal)
      } catch (reason) {
        // Who leaves before the answer has still made the server generate for as long as it waited.
        const spentMs = (this.#clock.monotonicUs() - beganUs) / 1_000 - behaviour.ttftMs
        if (generationMs > 0 && spentMs > 0)
          accepted.completionTokens = Math.min(
            answer.completionTokens,
            Math.floor((spentMs / generationMs) * answer.completionTokens),
          )
        metrics.generationTokens += accepted.completionTokens
        throw reason
      }
    }
    accepted.completionTokens = answer.completionTokens
    metrics.generationTokens += answer.completionTokens
    metrics.firstTokenS.observe(this.#secondsSince(exchange))
    const body = completionBody(
      answer,
      usageOf(request.promptTokens, answer.completionTokens, behaviour.cachedPromptRatio),
    )
    response.setHeader('content-type', 'application/json')
    response.setHeader('openai-processing-ms', Math.round(this.#secondsSince(exchange) * 1_000))
    if (failure !== null) return this.#spoilBody(exchange, body, failure)
    response.setHeader('content-length', Buffer.byteLength(body))
    accepted.finished = true
    response.end(body)
    this.#observeEnd(exchange, metrics, answer)
  }

  async #answerStream(
    exchange: Exchange,
    request: ChatRequest,
    answer: Answer,
    accepted: AcceptedRequest,
    failure: FailureKind | null,
  ): Promise<void> {
    const { behaviour, response, left } = exchange
    const metrics = this.#metricsOf(request.model.id)
    const usageNow = () => usageOf(request.promptTokens, accepted.completionTokens, behaviour.cachedPromptRatio)
    const usageOfChunk = () => (request.continuousUsage ? usageNow() : request.includeUsage ? null : undefined)
    if (behaviour.ttftMs > 0) await this.#clock.sleep(behaviour.ttftMs, left.signal)
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'openai-processing-ms': String(Math.round(this.#secondsSince(exchange) * 1_000)),
    })
    response.write(chunkEvent(answer, [openingChoice(answer)], usageOfChunk()))
    metrics.firstTokenS.observe(this.#secondsSince(exchange))
    let malformed = false
    // Paced against the start, so that timers that fire late do not slow the stream down.
    const beganUs = this.#clock.monotonicUs()
    for (const piece of answer.pieces) {
      if (failure !== null && accepted.completionTokens >= behaviour.failAfterTokens) {
        if (failure !== 'malformed_chunk') return this.#breakStream(exchange, failure)
        if (!malformed) response.write(`data: {"id":"${answer.id}","object":"chat.completion.chunk","choi\n\n`)
        malformed = true
      }
      if (behaviour.tokensPerSecond > 0) {
        const dueMs = ((accepted.completionTokens + piece.tokenCount) * 1_000) / behaviour.tokensPerSecond
        const waitMs = dueMs - (this.#clock.monotonicUs() - beganUs) / 1_000
        if (waitMs > 0) await this.#clock.sleep(waitMs, left.signal)
        metrics.interTokenS.observe(1 / behaviour.tokensPerSecond, piece.tokenCount)
      }
      if (left.signal.aborted) throw left.signal.reason
      accepted.completionTokens += piece.tokenCount
      metrics.generationTokens += piece.tokenCount
      const flowing = response.write(chunkEvent(answer, [pieceChoice(answer, piece.text)], usageOfChunk()))
      if (!flowing) await drained(response, left.signal)
    }
    if (failure !== null && failure !== 'malformed_chunk') return this.#breakStream(exchange, failure)
    response.write(chunkEvent(answer, [closingChoice(answer)], usageOfChunk()))
    if (request.includeUsage) response.write(chunkEvent(answer, [], usageNow()))
    accepted.finished = failure === null
    response.end('data: [DONE]\n\n')
    this.#observeEnd(exchange, metrics, answer)
  }

  async #answerEmbeddings(
    exchange: Exchange,
    request: EmbeddingsRequest,
    accepted: AcceptedRequest,
    failure: FailureKind | null,
  ): Promise<void> {
    const { behaviour, response, left } = exchange
    if (behaviour.ttftMs > 0) await this.#clock.sleep(behaviour.ttftMs, left.signal)
    const data = request.inputs.map((text, index) => {
      const vector = embeddingOf(text, request.dimensions)
      const embedding = request.base64
        ? Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64')
        : [...vector]
      return { object: 'embedding', index, embedding }
    })
    const usage = { prompt_tokens: request.promptTokens, total_tokens: request.promptTokens }
    const body = JSON.stringify({ object: 'list', data, model: request.model.id, usage })
    response.setHeader('content-type', 'application/json')
    if (failure !== null) return this.#spoilBody(exchange, body, failure)
    response.setHeader('content-length', Buffer.byteLength(body))
    accepted.finished = true
    response.end(body)
    const metrics = this.#metricsOf(request.model.id)
    metrics.requestS.observe(this.#secondsSince(exchange))
    metrics.finish('stop')
  }

  /** A body that is not streamed, spoilt the way `failure` would spoil a stream. */
  async #spoilBody(exchange: Exchange, body: string, failure: FailureKind): Promise<void> {
    const { response } = exchange
    const half = body.slice(0, Math.floor(body.length / 2))
    if (failure === 'malformed_chunk' || failure === 'missing_done') {
      response.end(half)
      return
    }
    response.setHeader('content-length', Buffer.byteLength(body))
    response.write(half)
    return this.#breakStream(exchange, failure)
  }

  /** Ends what was begun: by silence, by a reset, or properly but too early. */
  async #breakStream(exchange: Exchange, failure: FailureKind): Promise<void> {
    const { response } = exchange
    if (failure === 'hang_mid_stream') return this.#untilLeft(exchange)
    if (failure === 'missing_done') {
      response.end()
      return
    }
    // What was written should arrive before the connection breaks.
    await this.#clock.sleep(5)
    response.socket?.destroy()
  }

  async #fail(exchange: Exchange, accepted: AcceptedRequest, failure: FailureKind): Promise<void> {
    const { behaviour, response, request, left } = exchange
    if (failure === 'hang_before_headers') return this.#untilLeft(exchange)
    if (failure === 'reset_before_headers') {
      request.socket.resetAndDestroy()
      return
    }
    if (behaviour.ttftMs > 0) await this.#clock.sleep(behaviour.ttftMs, left.signal)
    accepted.finished = true
    if (failure === 'rate_limited') return this.#refuse(response, rateLimited(behaviour, response))
    const { failureStatus } = behaviour
    this.#refuse(
      response,
      apiError(failureStatus, `The simulator was told to answer ${failureStatus}.`, {
        type: failureStatus >= 500 ? 'server_error' : 'invalid_request_error',
      }),
    )
  }

  /** Until the client closes; that is the only way this ends. */
  #untilLeft(exchange: Exchange): Promise<void> {
    const { signal } = exchange.left
    return new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason)
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }

  /** Waits for a free place where `concurrencyMax` says so. */
  async #enter(metrics: SimulatorMetrics, exchange: Exchange): Promise<void> {
    const { concurrencyMax } = exchange.behaviour
    while (concurrencyMax > 0 && this.#running >= concurrencyMax) {
      metrics.waitingCount += 1
      try {
        await new Promise<void>((resolve, reject) => {
          this.#waiters.push(resolve)
          exchange.left.signal.addEventListener(
            'abort',
            () => {
              this.#waiters = this.#waiters.filter((waiter) => waiter !== resolve)
              reject(exchange.left.signal.reason)
            },
            { once: true },
          )
        })
      } finally {
        metrics.waitingCount -= 1
      }
    }
    this.#running += 1
    metrics.runningCount += 1
  }

  #leave(metrics: SimulatorMetrics): void {
    this.#running -= 1
    metrics.runningCount -= 1
    this.#waiters.shift()?.()
  }

  #behaviourOf(request: IncomingMessage, model: string): Behaviour {
    const header = textHeader(request, 'x-simulator')
    const own = header === null ? {} : parseBehaviour(parseJson(header))
    return {
      ...behaviourDefault,
      ...this.#behaviours.get(''),
      ...(model === '' ? {} : this.#behaviours.get(model)),
      ...(typeof own === 'string' ? {} : own),
    }
  }

  /** The failure that this request gets, if any; counts it. */
  #takeFailure(request: IncomingMessage, model: string): FailureKind | null {
    const behaviour = this.#behaviourOf(request, model)
    if (behaviour.failure === null || this.#random() >= behaviour.failureRatio) return null
    const scope = this.#behaviours.get(model)?.failure == null ? '' : model
    const count = this.#failureCounts.get(scope) ?? 0
    if (behaviour.failureCountMax !== null && count >= behaviour.failureCountMax) return null
    this.#failureCounts.set(scope, count + 1)
    return behaviour.failure
  }

  /** Sets OpenAI's rate limit headers; an error when the minute is full. */
  #countRate(behaviour: Behaviour, response: ServerResponse): ApiError | null {
    const max = behaviour.requestsPerMinuteMax
    if (max === 0) return null
    const nowMs = this.#clock.nowMs()
    this.#recentMs = this.#recentMs.filter((atMs) => atMs > nowMs - 60_000)
    const full = this.#recentMs.length >= max
    if (!full) this.#recentMs.push(nowMs)
    const resetS = Math.ceil(((this.#recentMs[0] ?? nowMs) + 60_000 - nowMs) / 1_000)
    response.setHeader('x-ratelimit-limit-requests', max)
    response.setHeader('x-ratelimit-remaining-requests', max - this.#recentMs.length)
    response.setHeader('x-ratelimit-reset-requests', `${resetS}s`)
    response.setHeader('x-ratelimit-limit-tokens', tokensPerMinuteMax)
    response.setHeader('x-ratelimit-remaining-tokens', tokensPerMinuteMax)
    response.setHeader('x-ratelimit-reset-tokens', '0s')
    return full ? rateLimited({ ...behaviour, retryAfterMs: resetS * 1_000 }, response) : null
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
      this.#refuse(response, unauthorised)
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
    if (typeof body !== 'object' || body === null || body instanceof Error)
      return this.#refuse(response, apiError(400, 'We could not parse the JSON body of your request.'))
    const { prompt, messages, model } = body as { prompt?: unknown; messages?: unknown; model?: unknown }
    const used = this.#models.find((candidate) => candidate.id === model) ?? this.#models[0]
    const texts =
      typeof prompt === 'string'
        ? [prompt]
        : Array.isArray(messages)
          ? messages.map((message: { content?: unknown }) => String(message.content ?? ''))
          : null
    if (!texts)
      return this.#refuse(response, apiError(400, "Missing required parameter: 'prompt'.", { param: 'prompt' }))
    const tokens = texts.flatMap(tokensOf).map((token) => seedOf(token) % 128_000)
    answerJson(response, 200, { count: tokens.length, max_model_len: used?.contextTokensMax ?? 0, tokens })
  }

  async #setBehaviour(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readJson(request)
    if (body instanceof Error) return this.#refuse(response, apiError(400, body.message))
    const { model = '', ...rest } = (body ?? {}) as { model?: unknown }
    const knobs = parseBehaviour(rest)
    if (typeof knobs === 'string') return this.#refuse(response, apiError(400, knobs))
    if (model !== '' && !this.#metrics.has(String(model)))
      return this.#refuse(response, apiError(404, `The model \`${String(model)}\` does not exist.`))
    this.behave(knobs, String(model))
    answerJson(response, 200, { ...behaviourDefault, ...this.#behaviours.get(''), ...knobs })
  }

  #answerLedger(response: ServerResponse): void {
    response.setHeader('x-forgotten-count', this.#ledger.forgottenCount)
    response.setHeader('content-type', 'application/x-ndjson')
    response.end(this.#ledger.requests.map((request) => `${JSON.stringify(request)}\n`).join(''))
  }

  #refuse(response: ServerResponse, error: ApiError): void {
    const { status, message, type, param, code } = error
    answerJson(response, status, { error: { message, type, param, code } })
  }

  #metricsOf(model: string): SimulatorMetrics {
    const metrics = this.#metrics.get(model)
    assert(metrics, 'every model has its metrics')
    return metrics
  }

  #metricsText(): string {
    return `${[...this.#metrics].map(([model, metrics]) => metrics.text(model)).join('\n')}\n`
  }

  #observeEnd(exchange: Exchange, metrics: SimulatorMetrics, answer: Answer): void {
    metrics.requestS.observe(this.#secondsSince(exchange))
    metrics.requestGenerationTokens.observe(answer.completionTokens)
    metrics.finish(answer.finishReason === 'length' ? 'length' : 'stop')
  }

  #secondsSince(exchange: Exchange): number {
    return (this.#clock.monotonicUs() - exchange.startedUs) / 1_000_000
  }
}

/** Failures that begin an answer and spoil it later. */
function isMidway(failure: FailureKind): boolean {
  return (
    failure === 'hang_mid_stream' ||
    failure === 'malformed_chunk' ||
    failure === 'truncated_stream' ||
    failure === 'missing_done'
  )
}

function rateLimited(behaviour: Behaviour, response: ServerResponse): ApiError {
  response.setHeader('retry-after', Math.max(1, Math.ceil(behaviour.retryAfterMs / 1_000)))
  response.setHeader('retry-after-ms', behaviour.retryAfterMs)
  if (!response.hasHeader('x-ratelimit-limit-requests')) {
    response.setHeader('x-ratelimit-limit-requests', 1)
    response.setHeader('x-ratelimit-remaining-requests', 0)
    response.setHeader('x-ratelimit-reset-requests', `${Math.ceil(behaviour.retryAfterMs / 1_000)}s`)
  }
  return apiError(429, 'Rate limit reached for the simulator: requests per minute. Please try again later.', {
    type: 'requests',
    code: 'rate_limit_exceeded',
  })
}
