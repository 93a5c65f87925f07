import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../proto/std/clock.js'
import type { Exchange } from './simulator-answerer.js'
import { type Behaviour, behaviourDefault, type FailureKind, parseBehaviour } from './simulator-behaviour.js'
import { parseJson, rateLimited, textHeader } from './simulator-http.js'
import type { ApiError } from './simulator-request.js'
import { randomFrom, seedOf } from './simulator-text.js'

const tokensPerMinuteMax = 2_000_000

/** Which knobs hold for a request, who fails, who is too many in a minute and who waits for a place. */
export class SimulatorConduct {
  readonly #initial: Partial<Behaviour>
  readonly #clock: Clock
  readonly #random: () => number
  /** '' holds for every model. */
  #behaviours = new Map<string, Partial<Behaviour>>()
  #failureCounts = new Map<string, number>()
  #recentMs: number[] = []
  #running = 0
  #waiters: (() => void)[] = []

  constructor(options: { initial: Partial<Behaviour>; seed: number; clock: Clock }) {
    this.#initial = options.initial
    this.#clock = options.clock
    this.#random = randomFrom(seedOf(`failures of ${options.seed}`))
    this.reset()
  }

  /** Knobs not named keep their value. */
  set(knobs: Partial<Behaviour>, model: string): void {
    this.#behaviours.set(model, { ...this.#behaviours.get(model), ...knobs })
    this.#failureCounts.delete(model)
  }

  reset(): void {
    this.#behaviours = new Map([['', this.#initial]])
    this.#failureCounts.clear()
    this.#recentMs = []
  }

  /** What holds for a model that has no knobs of its own. */
  get common(): Behaviour {
    return { ...behaviourDefault, ...this.#behaviours.get('') }
  }

  behaviourOf(request: IncomingMessage, model: string): Behaviour {
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
  takeFailure(request: IncomingMessage, model: string): FailureKind | null {
    const behaviour = this.behaviourOf(request, model)
    if (behaviour.failure === null || this.#random() >= behaviour.failureRatio) return null
    const scope = this.#behaviours.get(model)?.failure == null ? '' : model
    const count = this.#failureCounts.get(scope) ?? 0
    if (behaviour.failureCountMax !== null && count >= behaviour.failureCountMax) return null
    this.#failureCounts.set(scope, count + 1)
    return behaviour.failure
  }

  /** Sets OpenAI's rate limit headers; an error when the minute is full. */
  countRate(behaviour: Behaviour, response: ServerResponse): ApiError | null {
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

  /** Waits for a free place where `concurrencyMax` says so. */
  async enter(exchange: Exchange): Promise<void> {
    const { metrics } = exchange
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

  leave({ metrics }: Exchange): void {
    this.#running -= 1
    metrics.runningCount -= 1
    this.#waiters.shift()?.()
  }
}
