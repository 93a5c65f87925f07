import type { Dispatcher } from 'undici'
import { chooseTarget } from '../../../proto/policy/choose-target.js'
import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { ApiKeyTable, ProviderTable, TargetTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal } from '../../../proto/std/refusal.js'
import type { ProviderDialect, ProviderSecret } from '../providers/provider-dialect.js'
import { type VectorQuestion, vectorQuestion } from './vector-question.js'

/** What came of asking for a vector: a hop of the request that it was asked for. */
export interface Embedding {
  /** Null: there is none. */
  readonly vector: Float32Array | null
  /** Null: nobody was asked. */
  readonly hop: EmbeddingHop | null
}

export interface EmbeddingHop {
  readonly target: TargetTable
  readonly outcome:
    | 'ok'
    | 'connect_error'
    | 'timeout_total'
    | 'upstream_4xx'
    | 'upstream_5xx'
    | 'rate_limited'
    | 'malformed'
  readonly httpStatus: number
  readonly startedUs: number
  readonly endedUs: number
  readonly usage: TokenUsage | null
}

export interface Embedder {
  /** Of `text`, through the tenant's route of that name, in the name of `key`. Never rejects. */
  embed(text: string, routeName: string, key: ApiKeyTable): Promise<Embedding>
}

export interface RouteEmbedderOptions {
  readonly dialects: { find(kind: string): ProviderDialect | null }
  readonly vault: { get(credentialId: string, version: number): ProviderSecret | null }
  readonly upstreams: { of(provider: ProviderTable): { readonly pool: Pick<Dispatcher, 'dispatch'> } }
  readonly clock: Clock
}

/** A question waits for its vector no longer than this: it is there to save time. */
export const embeddingMsMax = 500
const answerBytesMax = 1024 * 1024
const nothing: Embedding = Object.freeze({ vector: null, hop: null })

/**
 * Vectors from a route of the tenant, by the rules that hold for any request of the key: regions, external providers,
 * credentials. Only whether clients may call that route themselves does not matter: the owner of the asking route named it.
 * One target is asked once, the first that can be; a vector that does not come is a miss.
 */
export class RouteEmbedder implements Embedder {
  readonly #options: RouteEmbedderOptions

  constructor(options: RouteEmbedderOptions) {
    this.#options = options
  }

  async embed(text: string, routeName: string, key: ApiKeyTable): Promise<Embedding> {
    const choice = chooseTarget({ operation: 'embeddings', model: routeName }, { ...key, allowedRoutes: null })
    if (isRefusal(choice)) return nothing
    for (const target of choice.targets) {
      const dialect = this.#options.dialects.find(target.provider.kind)
      const secret = this.#secretOf(target.provider)
      if (dialect === null || secret === undefined) continue
      const question = vectorQuestion(dialect, target, text)
      if (question !== null) return this.#ask(question, target, dialect, secret)
    }
    return nothing
  }

  async #ask(
    { path, headers, body, read }: VectorQuestion,
    target: TargetTable,
    dialect: ProviderDialect,
    secret: ProviderSecret | null,
  ): Promise<Embedding> {
    const { clock, upstreams } = this.#options
    const startedUs = clock.monotonicUs()
    const hop = (outcome: EmbeddingHop['outcome'], httpStatus = 0, usage: TokenUsage | null = null): EmbeddingHop => ({
      ...{ target, outcome, httpStatus, startedUs, endedUs: clock.monotonicUs(), usage },
    })
    const timeoutMs = Math.min(embeddingMsMax, target.deadlines.totalMs)
    const call = new WholeCall()
    const cancel = clock.after(timeoutMs, () => call.giveUp())
    try {
      const { provider } = target
      const asked = await dialect.authorize({ provider, path, headers, body, timeoutMs }, secret)
      if ('fault' in asked || call.isOver) return nothing
      const { pool } = upstreams.of(provider)
      pool.dispatch({ method: 'POST', path, headers: [...headers, ...asked], body }, call)
      const bytes = await call.answer
      if (call.isGivenUp) return { vector: null, hop: hop('timeout_total') }
      if (call.httpStatus === 0) return { vector: null, hop: hop('connect_error') }
      if (call.httpStatus !== 200) return { vector: null, hop: hop(outcomeOf(call.httpStatus), call.httpStatus) }
      const { vector, usage } = bytes === null ? { vector: null, usage: null } : read(bytes)
      return { vector, hop: hop(vector === null ? 'malformed' : 'ok', 200, usage) }
    } finally {
      cancel()
    }
  }

  /** Undefined: it is not here. */
  #secretOf({ credential }: ProviderTable): ProviderSecret | null | undefined {
    if (credential === null) return null
    return this.#options.vault.get(credential.id, credential.version) ?? undefined
  }
}

/** A whole answer of an upstream, within a bound. */
class WholeCall implements Dispatcher.DispatchHandler {
  httpStatus = 0
  isGivenUp = false
  isOver = false
  /** Null: it broke, was given up, or is more than is read. Never rejects. */
  readonly answer: Promise<Buffer | null>
  #resolve: (answer: Buffer | null) => void = () => {}
  #controller: Dispatcher.DispatchController | null = null
  readonly #pieces: Buffer[] = []
  #length = 0

  constructor() {
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  /** Closes the connection: whoever is still at it learns that nobody listens. */
  giveUp(): void {
    if (this.isOver) return
    this.isGivenUp = true
    this.#end(null)
    this.#controller?.abort(new Error('nobody waits for this any more'))
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.isOver) controller.abort(new Error('nobody waits for this any more'))
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    if (status >= 200) this.httpStatus = status
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.isOver) return
    this.#length += chunk.length
    if (this.#length <= answerBytesMax) this.#pieces.push(chunk)
    else {
      this.#end(null)
      controller.abort(new Error('more than is read'))
    }
  }

  onResponseEnd(): void {
    this.#end(Buffer.concat(this.#pieces))
  }

  onResponseError(): void {
    if (!this.isOver) this.httpStatus = 0
    this.#end(null)
  }

  #end(answer: Buffer | null): void {
    this.isOver = true
    this.#resolve(answer)
  }
}

function outcomeOf(status: number): EmbeddingHop['outcome'] {
  if (status === 429) return 'rate_limited'
  return status >= 500 || status < 400 ? 'upstream_5xx' : 'upstream_4xx'
}
