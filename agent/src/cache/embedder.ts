import type { Dispatcher } from 'undici'
import { chooseTarget } from '../../../proto/policy/choose-target.js'
import type { HealthFacts } from '../../../proto/policy/health.js'
import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { ApiKeyTable, ProviderTable, TargetTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal } from '../../../proto/std/refusal.js'
import type { ProviderDialect, ProviderSecret } from '../providers/provider-dialect.js'
import { type CallEnd, WholeCall } from '../providers/whole-call.js'
import { EmbeddingBreakers, type EmbeddingOutcome } from './embedding-breakers.js'
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
  readonly outcome: Exclude<EmbeddingOutcome, 'not_asked'>
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
  /** What requests have seen of targets. Left out: only what came of asking for vectors is known. */
  readonly healths?: { facts(nowUs: number, stream: boolean): HealthFacts }
}

/** A question waits for its vector no longer than this: it is there to save time. */
export const embeddingMsMax = 500
const answerBytesMax = 1024 * 1024
const nothing: Embedding = Object.freeze({ vector: null, hop: null })

/**
 * Vectors from a route of the tenant, by the rules that hold for any request of the key: regions, external providers,
 * credentials. Only whether clients may call that route themselves does not matter: the owner of the asking route named it.
 * One target is asked once, the first that can be and is not left alone; a vector that does not come is a miss.
 */
export class RouteEmbedder implements Embedder {
  readonly #options: RouteEmbedderOptions
  readonly #breakers = new EmbeddingBreakers()

  constructor(options: RouteEmbedderOptions) {
    this.#options = options
  }

  async embed(text: string, routeName: string, key: ApiKeyTable): Promise<Embedding> {
    const { clock, healths, dialects } = this.#options
    const nowUs = clock.monotonicUs()
    const facts = { operation: 'embeddings', model: routeName } as const
    const choice = chooseTarget(facts, { ...key, allowedRoutes: null }, healths?.facts(nowUs, false))
    if (isRefusal(choice)) return nothing
    for (const target of choice.targets) {
      if (this.#breakers.isOpen(target, nowUs)) continue
      const dialect = dialects.find(target.provider.kind)
      const secret = this.#secretOf(target.provider)
      if (dialect === null || secret === undefined) continue
      const question = questionFor(dialect, target, text)
      if (question !== null) return this.#ask(question, target, dialect, secret)
    }
    return nothing
  }

  async #ask(
    question: VectorQuestion,
    target: TargetTable,
    dialect: ProviderDialect,
    secret: ProviderSecret | null,
  ): Promise<Embedding> {
    const { clock } = this.#options
    const timeoutMs = Math.min(embeddingMsMax, target.deadlines.totalMs)
    const startedUs = clock.monotonicUs()
    const attempt = this.#breakers.begin(target, startedUs, startedUs + timeoutMs * 1_000)
    const call = new WholeCall(clock, answerBytesMax)
    const cancel = clock.after(timeoutMs, () => call.giveUp('timeout'))
    let isAsked = false
    let end: VectorEnd = failed('not_asked')
    try {
      isAsked = await this.#dispatch(question, target, dialect, secret, timeoutMs, call)
      if (isAsked) end = endOf(call, await call.end, question)
      else if (call.isOver) end = failed('timeout_total')
    } catch {
      // A dialect or a connection that throws: nobody has to wait for it any longer, and the request goes on without.
      end = failed(isAsked ? 'malformed' : 'not_asked', call.httpStatus)
      call.giveUp('aborted')
    } finally {
      cancel()
      this.#breakers.end(target, attempt, end.outcome, clock.monotonicUs(), call.retryAfterSeconds)
    }
    const { outcome, httpStatus, vector, usage } = end
    if (!isAsked || outcome === 'not_asked') return nothing
    return { vector, hop: { target, outcome, httpStatus, startedUs, endedUs: clock.monotonicUs(), usage } }
  }

  /** Whether it was asked: false where it cannot be, or no time is left once it could. */
  async #dispatch(
    { path, headers, body }: VectorQuestion,
    { provider }: TargetTable,
    dialect: ProviderDialect,
    secret: ProviderSecret | null,
    timeoutMs: number,
    call: WholeCall,
  ): Promise<boolean> {
    const asked = await dialect.authorize({ provider, path, headers, body, timeoutMs }, secret)
    if ('fault' in asked || call.isOver) return false
    const { pool } = this.#options.upstreams.of(provider)
    pool.dispatch({ method: 'POST', path, headers: [...headers, ...asked], body }, call)
    return true
  }

  /** Undefined: it is not here. */
  #secretOf({ credential }: ProviderTable): ProviderSecret | null | undefined {
    if (credential === null) return null
    return this.#options.vault.get(credential.id, credential.version) ?? undefined
  }
}

/** Null also where a dialect cannot write it. */
function questionFor(dialect: ProviderDialect, target: TargetTable, text: string): VectorQuestion | null {
  try {
    return vectorQuestion(dialect, target, text)
  } catch {
    return null
  }
}

interface VectorEnd {
  readonly outcome: EmbeddingOutcome
  readonly httpStatus: number
  readonly vector: Float32Array | null
  readonly usage: TokenUsage | null
}

function failed(outcome: VectorEnd['outcome'], httpStatus = 0): VectorEnd {
  return { outcome, httpStatus, vector: null, usage: null }
}

function endOf(call: WholeCall, end: CallEnd, question: VectorQuestion): VectorEnd {
  const { httpStatus } = call
  if (end === 'timeout') return failed('timeout_total')
  if (end === 'connect_error' || end === 'aborted') return failed('connect_error')
  if (httpStatus !== 200) return failed(outcomeOf(httpStatus), httpStatus)
  const { vector, usage } = end === 'too_large' ? { vector: null, usage: null } : question.read(call.body)
  return { outcome: vector === null ? 'malformed' : 'ok', httpStatus, vector, usage }
}

function outcomeOf(status: number): EmbeddingHop['outcome'] {
  if (status === 429) return 'rate_limited'
  return status >= 500 || status < 400 ? 'upstream_5xx' : 'upstream_4xx'
}
