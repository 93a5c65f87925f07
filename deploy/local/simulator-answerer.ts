import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../proto/std/clock.js'
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
import type { Behaviour, FailureKind } from './simulator-behaviour.js'
import { drained, rateLimited, refuse } from './simulator-http.js'
import type { AcceptedRequest } from './simulator-ledger.js'
import type { SimulatorMetrics } from './simulator-metrics.js'
import { apiError, type ChatRequest, type EmbeddingsRequest } from './simulator-request.js'
import { embeddingOf } from './simulator-text.js'

/** One request in the making: what its steps share. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly behaviour: Behaviour
  readonly startedUs: number
  readonly ordinal: number
  readonly metrics: SimulatorMetrics
  /** Aborts when the client's connection closes. */
  readonly left: AbortController
}

/** Says what was composed, at the speed and with the failure that the request's behaviour asks for. */
export class SimulatorAnswerer {
  readonly #seed: number
  readonly #clock: Clock

  constructor(options: { seed: number; clock: Clock }) {
    this.#seed = options.seed
    this.#clock = options.clock
  }

  /** Returns when the answer was handed to the connection; rejects when the client left before. */
  answer(
    exchange: Exchange,
    parsed: ChatRequest | EmbeddingsRequest,
    accepted: AcceptedRequest,
    failure: FailureKind | null,
  ): Promise<void> {
    if (failure !== null && !isMidway(failure)) return this.#fail(exchange, accepted, failure)
    const metrics = exchange.metrics
    metrics.promptTokens += parsed.promptTokens
    metrics.requestPromptTokens.observe(parsed.promptTokens)
    if ('inputs' in parsed) return this.#answerEmbeddings(exchange, parsed, accepted, failure)
    const answer = composeAnswer(parsed, {
      seed: this.#seed,
      ordinal: exchange.ordinal,
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
    const metrics = exchange.metrics
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
    this.#observeEnd(exchange, answer)
  }

  async #answerStream(
    exchange: Exchange,
    request: ChatRequest,
    answer: Answer,
    accepted: AcceptedRequest,
    failure: FailureKind | null,
  ): Promise<void> {
    const { behaviour, response, left } = exchange
    const metrics = exchange.metrics
    const usageNow = () => usageOf(request.promptTokens, accepted.completionTokens, behaviour.cachedPromptRatio)
    const usageOfChunk = () => (request.continuousUsage ? usageNow() : request.includeUsage ? null : undefined)
    if (behaviour.ttftMs > 0) await this.#clock.sleep(behaviour.ttftMs, left.signal)
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'openai-processing-ms': String(Math.round(this.#secondsSince(exchange) * 1_000)),
    })
    const opening = openingChoice(answer)
    if (opening !== null) response.write(chunkEvent(answer, [opening], usageOfChunk()))
    metrics.firstTokenS.observe(this.#secondsSince(exchange))
    let malformed = false
    // Paced against the start, so that timers that fire late do not slow the stream down.
    const beganUs = this.#clock.monotonicUs()
    for (const piece of answer.pieces) {
      if (failure !== null && accepted.completionTokens >= behaviour.failAfterTokens) {
        if (failure !== 'malformed_chunk') return this.#breakStream(exchange, failure)
        if (!malformed) response.write(`data: {"id":"${answer.id}","object":"${answer.form}","choi\n\n`)
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
    this.#observeEnd(exchange, answer)
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
    const metrics = exchange.metrics
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
    if (failure === 'rate_limited') return refuse(response, rateLimited(behaviour, response))
    const { failureStatus } = behaviour
    refuse(
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

  #observeEnd(exchange: Exchange, answer: Answer): void {
    const { metrics } = exchange
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
