import { hash } from 'node:crypto'
import { type BodyPart, type CacheKeyFacts, type CacheSharer, cacheKeyBytes } from '../../../proto/policy/cache-key.js'
import { ageSecondsMax, ageStateOf, freshnessOf, keptSecondsOf } from '../../../proto/policy/cache-policy.js'
import { priceUsage, type TokenUsage } from '../../../proto/policy/price-usage.js'
import { findDifference } from '../../../proto/policy/semantic-guard.js'
import type { CacheTable, TargetTable } from '../../../proto/policy/tables.js'
import type { ChatAnswer } from '../conversation/chat-answer.js'
import type { Conversation } from '../conversation/conversation.js'
import { asChatAnswer } from './as-chat-answer.js'
import { type BodyReading, lastSaid } from './body-parts.js'
import type { CacheTools } from './cache-tools.js'
import type { EmbeddingHop } from './embedder.js'
import type { Follower, Lead } from './flights.js'
import type { CacheQuestion, FoundAnswer, KeptAnswer } from './kept-answer.js'
import { ownCopy, StreamRecord } from './stream-record.js'
import { isWorthKeeping } from './worth-keeping.js'

export interface TurnOptions {
  readonly question: CacheQuestion
  /** Null: kept for the last resort alone. */
  readonly policy: CacheTable | null
  readonly lastResortSeconds: number
  /** A kept answer may be given. */
  readonly gives: boolean
  readonly user: string | null
  readonly tags: readonly string[]
  readonly documents: readonly string[]
  readonly reading: BodyReading
  readonly routeShape: string
}

/** A kept answer for a client, and what its response and its record say about it. */
export interface CacheHit {
  readonly kind: 'exact' | 'semantic'
  readonly kept: KeptAnswer
  readonly ageSeconds: number
  /** It is stale, and this request is the one that has a new one made, after it was answered. */
  readonly renews: boolean
  /** Of the response: flat names and values. */
  readonly headers: readonly string[]
  /** What its tokens would cost today; null where nobody knows. */
  readonly savedNanoUsd: number | null
}

/** Headers of the client that some vendor is shown, so that its answer may depend on them. */
export const shownHeaders = ['anthropic-version', 'anthropic-beta'] as const
/** Of a search by meaning: the nearest may be gone, purged, out of date, or another question. */
const nearCount = 8
/** Who claimed to make an answer anew is believed so long. */
const renewalUs = 60_000_000
const renewalsMax = 10_000
/** A header's worth of a question. */
const shownQuestionLength = 256

/**
 * One request's dealings with the cache, in this order:
 *
 *     look → (nothing found) the targets are asked → keepWhole | keepStream | fail → leave
 *
 * `find` is for when every target failed. `leave` in any case, once; the rest where it applies. Nothing here rejects.
 */
export class CacheTurn {
  /** A vector was asked for: a hop of the record. */
  embedding: EmbeddingHop | null = null
  readonly #tools: CacheTools
  readonly #options: TurnOptions
  /** Key of an answer by the target that would be asked first. */
  readonly #key: string
  #surroundings: string | null = null
  #vector: Float32Array | null = null
  #lead: Lead | null = null
  #follower: Follower | null = null
  #isCancelled = false

  constructor(tools: CacheTools, options: TurnOptions) {
    this.#tools = tools
    this.#options = options
    this.#key = this.#keyOf(firstOf(options.question), options.reading.parts)
  }

  /** A kept answer is looked for; otherwise the record says nothing of the cache. */
  get gives(): boolean {
    return this.#options.gives
  }

  /** `look` may ask a target for a vector: the record is to be opened before. */
  get callsUpstream(): boolean {
    return this.#options.gives && this.#meaning !== null
  }

  /** Of a response that was not found here. */
  get missHeaders(): readonly string[] {
    return this.#options.gives ? missHeaders : nothing
  }

  // ------------------------------------------------------------------------------------------------------------- looking

  /** Null: the targets are to be asked. At once where that can be said at once. */
  look(): CacheHit | null | Promise<CacheHit | null> {
    const { gives, question, policy } = this.#options
    if (!gives || policy === null) return null
    const here = this.#lookHere(policy)
    if (here !== null) return here
    if (!question.body.stream) this.#lead = this.#tools.flights.lead(this.#key)
    const mustWait = !question.body.stream && this.#lead === null
    if (mustWait || this.#isShared || this.#meaning !== null) return this.#lookFurther(policy, mustWait)
    return this.#miss()
  }

  /** The client left, or the request is ended otherwise: nothing is waited for any more. */
  cancel(): void {
    this.#isCancelled = true
    this.#follower?.settle('alone')
  }

  async #lookFurther(policy: CacheTable, mustWait: boolean): Promise<CacheHit | null> {
    const followed = mustWait ? await this.#follow() : null
    if (followed !== null) {
      this.#tools.counts.followed += 1
      return this.#hit(followed, this.#ageOf(followed.kept), policy)
    }
    if (this.#isCancelled) return null
    const found = (await this.#lookInShared(policy)) ?? (await this.#lookByMeaning(policy))
    if (found === null) return this.#miss()
    this.#lead?.land(found)
    return this.#hit(found, this.#ageOf(found.kept), policy)
  }

  #lookHere(policy: CacheTable): CacheHit | null {
    const entry = this.#usableHere(this.#key)
    if (entry === null || ageStateOf(policy, entry.kept.classes, entry.ageSeconds) === 'dead') return null
    return this.#hit({ kept: entry.kept, similarity: null }, entry.ageSeconds, policy)
  }

  /** Waits for who makes the same answer. Null: this one is to make it, as the one that others wait for or alone. */
  async #follow(): Promise<FoundAnswer | null> {
    const { flights } = this.#tools
    const follower = flights.follow(this.#key, this.#options.question.dueUs)
    if (follower === null) {
      this.#lead = flights.lead(this.#key)
      return null
    }
    this.#follower = follower
    const end = await follower.end
    this.#follower = null
    if (end === 'lead') this.#lead = follower.lead
    return end === 'lead' || end === 'alone' ? null : end
  }

  get #isShared(): boolean {
    return this.#tools.shared !== null && this.#options.policy?.shared === true
  }

  async #lookInShared(policy: CacheTable): Promise<FoundAnswer | null> {
    const kept = this.#isShared ? await this.#getShared(this.#key) : null
    if (kept === null || ageStateOf(policy, kept.classes, this.#ageOf(kept)) === 'dead') return null
    return { kept, similarity: null }
  }

  /** Also into this process, so that the next look needs no call. */
  async #getShared(key: string): Promise<KeptAnswer | null> {
    const { shared, purges, clock } = this.#tools
    const { environment } = this.#options.question.key
    const kept = (await shared?.get(key)) ?? null
    if (kept === null || kept.stream !== this.#options.question.body.stream) return null
    if (purges.isPurged(kept, environment, clock.nowMs(), false)) return null
    this.#putHere(key, kept)
    return kept
  }

  // ------------------------------------------------------------------------------------------------------------ by meaning

  /** What to ask for a vector of, and where; null: this request is not compared by meaning. */
  get #meaning(): { readonly text: string; readonly threshold: number; readonly embeddingRoute: string } | null {
    const { policy, reading } = this.#options
    if (policy?.semantic == null || reading.question === null || this.#tools.embedder === null) return null
    return { text: reading.question.text, ...policy.semantic }
  }

  async #lookByMeaning(policy: CacheTable): Promise<FoundAnswer | null> {
    const { embedder, counts, spaces } = this.#tools
    const meaning = this.#meaning
    if (meaning === null || embedder === null || this.#isCancelled) return null
    const { vector, hop } = await embedder.embed(meaning.text, meaning.embeddingRoute, this.#options.question.key)
    this.embedding = hop
    if (vector === null || hop === null) {
      counts.vectorMissing += 1
      return null
    }
    this.#vector = vector
    // What another model made cannot be compared.
    this.#surroundings = JSON.stringify([this.#surroundingsKey(), hop.target.model.id, hop.target.upstreamModel])
    const near = await spaces.search(this.#surroundings, vector, meaning.threshold, nearCount)
    for (const { key, similarity } of near) {
      const entry = this.#usableHere(key)
      if (entry === null) spaces.delete(this.#surroundings, key)
      else if (this.#answers(meaning.text, entry, policy)) return { kept: entry.kept, similarity }
    }
    return null
  }

  #answers(text: string, { kept, ageSeconds }: UsableAnswer, policy: CacheTable): boolean {
    if (kept.question === null || ageStateOf(policy, kept.classes, ageSeconds) !== 'fresh') return false
    if (findDifference(text, kept.question) === null) return true
    this.#tools.counts.guarded += 1
    return false
  }

  #surroundingsKey(): string {
    const { reading, question } = this.#options
    return this.#keyOf(firstOf(question), reading.question?.surroundings ?? reading.parts)
  }

  // -------------------------------------------------------------------------------------------------------------- keeping

  /** `body`: what the client is sent. To be called with any whole answer of status 200. */
  keepWhole(target: TargetTable, body: Buffer | string, told: { usage: TokenUsage | null; model: string | null }) {
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
    if (length > this.#tools.limits.answerBytesMax) return this.fail()
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    this.#keep(target, { bytes: ownCopy([bytes], length), tailAt: length }, told)
  }

  /** Takes down what the client is sent of a stream. */
  startRecord(): StreamRecord {
    return new StreamRecord(this.#tools.limits.answerBytesMax)
  }

  /** To be called with a stream that came to its end. */
  keepStream(
    target: TargetTable,
    record: StreamRecord,
    tail: Buffer | null,
    told: { usage: TokenUsage | null; model: string | null },
  ) {
    const all = record.finish(tail ?? noBytes)
    if (all === null) return this.fail()
    this.#keep(target, all, told)
  }

  /** There is no answer that could be given again. */
  fail(): void {
    this.#lead?.fail()
  }

  /** `isAborted`: by its own client, or from outside; whoever waits is not to pay for it. */
  leave(isAborted: boolean): void {
    this.cancel()
    if (isAborted) this.#lead?.abandon()
    else this.#lead?.fail()
    if (!this.#options.gives) this.#tools.renewing.delete(this.#key)
  }

  #keep(
    target: TargetTable,
    { bytes, tailAt }: { bytes: Buffer; tailAt: number },
    { usage, model }: { usage: TokenUsage | null; model: string | null },
  ) {
    const { counts, spaces, sweep } = this.#tools
    const { question, policy, lastResortSeconds, tags, documents, reading } = this.#options
    const { operation, body, key, route, prompt } = question
    if (!isWorthKeeping(operation, bytes, body.stream)) return this.fail()
    const classes = this.#classes()
    const kept: KeptAnswer = {
      ...{ stream: body.stream, bytes, tailAt, usage, model, modelId: target.model.id, classes },
      bornAtMs: question.startedAtMs,
      keptSeconds: keptSecondsOf(policy, classes, lastResortSeconds),
      origin: {
        ...{ tenantId: key.environment.tenantId, environmentId: key.environment.environmentId, routeId: route.id },
        ...{ promptId: prompt?.id ?? null, promptVersion: prompt?.version ?? null },
        ...{ tags: policy === null ? tags : [...new Set([...policy.tags, ...tags])], documents },
      },
      question: reading.question?.text ?? null,
    }
    // Who answered is whose key it is: a fallback's answer is not the first target's.
    const name = this.#keyOf(target, reading.parts)
    this.#putHere(name, kept)
    if (this.#isShared) this.#tools.shared?.put(name, kept)
    if (this.#vector !== null && this.#surroundings !== null && name === this.#key) {
      spaces.add(this.#surroundings, this.#vector, name)
    }
    counts.kept += 1
    if (name === this.#key) this.#lead?.land({ kept, similarity: null })
    else this.fail()
    sweep(key.environment)
  }

  /** Of the prompt: what says how long its answer is fresh. */
  #classes(): readonly string[] {
    const { question } = this.#options
    const own = question.operation === 'embeddings' ? 'factual' : freshnessOf(lastSaid(question.body))
    const routed = question.promptClass()
    return routed === null ? [own] : [own, routed]
  }

  // --------------------------------------------------------------------------------------------------------- last resort

  /** Every target failed: an answer to the very same request, of any of the route's models, the one asked first before others. */
  async find(asked: {
    readonly ageMaxSeconds: number
    readonly conversation: Conversation | null
  }): Promise<{ readonly answer: ChatAnswer; readonly ageSeconds: number } | null> {
    const { question, reading } = this.#options
    const keys = [...new Set(question.targets.map((target) => this.#keyOf(target, reading.parts)))]
    const ageMaxSeconds = Math.min(asked.ageMaxSeconds, ageSecondsMax)
    for (const key of keys) {
      const kept = this.#usableHere(key)?.kept ?? (this.#isShared ? await this.#getShared(key) : null)
      const ageSeconds = kept === null ? 0 : this.#ageOf(kept)
      if (kept === null || ageSeconds > ageMaxSeconds) continue
      const answer = asChatAnswer(kept, question.operation, asked.conversation)
      if (answer === null) continue
      this.#tools.counts.lastResort += 1
      return { answer, ageSeconds }
    }
    return null
  }

  // ----------------------------------------------------------------------------------------------------------------- both

  #hit(found: FoundAnswer, ageSeconds: number, policy: CacheTable): CacheHit {
    const { counts } = this.#tools
    const { kept, similarity } = found
    const kind = similarity === null ? 'exact' : 'semantic'
    const isStale = ageStateOf(policy, kept.classes, ageSeconds) === 'stale'
    counts[kind] += 1
    if (isStale) counts.stale += 1
    return {
      ...{ kind, kept, ageSeconds },
      renews: isStale && this.#claimRenewal(),
      headers: [
        ...['x-switchyard-cache', isStale ? 'stale' : kind, 'age', String(ageSeconds)],
        ...this.#details(found, policy),
      ],
      savedNanoUsd: this.#savedBy(kept),
    }
  }

  /** Similarity and question, for keys that may hear of them: the question is another client's. */
  #details({ kept, similarity }: FoundAnswer, policy: CacheTable): readonly string[] {
    if (similarity === null || !policy.detailApiKeys.has(this.#options.question.key.id)) return nothing
    // Through bytes: a lone surrogate must not throw.
    const question = Buffer.from((kept.question ?? '').slice(0, shownQuestionLength)).toString()
    return [
      ...['x-switchyard-cache-similarity', similarity.toFixed(4)],
      ...['x-switchyard-cache-question', encodeURIComponent(question)],
    ]
  }

  #savedBy({ usage, modelId }: KeptAnswer): number | null {
    const model = this.#options.question.targets.find((target) => target.model.id === modelId)?.model
    const saved = usage === null ? null : priceUsage(model?.price ?? null, usage)
    return saved === null || saved > BigInt(Number.MAX_SAFE_INTEGER) ? null : Number(saved)
  }

  #claimRenewal(): boolean {
    const { renewing, clock } = this.#tools
    const nowUs = clock.monotonicUs()
    if ((renewing.get(this.#key) ?? 0) > nowUs) return false
    if (renewing.size >= renewalsMax) renewing.clear()
    renewing.set(this.#key, nowUs + renewalUs)
    return true
  }

  #miss(): null {
    this.#tools.counts.miss += 1
    return null
  }

  /** In this process, and not purged. */
  #usableHere(key: string): UsableAnswer | null {
    const { memory, purges, clock } = this.#tools
    const entry = memory.get(key)
    if (entry === undefined) return null
    if (purges.isPurged(entry.kept, this.#options.question.key.environment, clock.nowMs(), true)) {
      memory.delete(key)
      return null
    }
    return { kept: entry.kept, ageSeconds: Math.max(0, Math.floor((clock.monotonicUs() - entry.bornUs) / 1_000_000)) }
  }

  #putHere(key: string, kept: KeptAnswer): void {
    const { memory, clock } = this.#tools
    // Ages in this process do not jump with the wall clock.
    memory.put(key, kept, clock.monotonicUs() - Math.max(0, clock.nowMs() - kept.bornAtMs) * 1_000)
  }

  #ageOf({ bornAtMs }: KeptAnswer): number {
    return Math.max(0, Math.floor((this.#tools.clock.nowMs() - bornAtMs) / 1_000))
  }

  #keyOf(target: TargetTable, body: readonly BodyPart[]): string {
    const { question, routeShape, tags, documents } = this.#options
    const { key, region, route, operation, shapes } = question
    const { tenantId, environmentId } = key.environment
    const { model: requestedModel, stream } = question.body
    const headers = shownHeaders.map((name) => [name, question.header(name) ?? null] as const)
    // Member by member: this is written for every request.
    const facts: CacheKeyFacts = {
      tenantId,
      environmentId,
      region,
      sharer: this.#sharer(),
      routeId: route.id,
      requestedModel,
      operation,
      stream,
      target,
      routeShape,
      shapes,
      headers,
      tags,
      documents,
      body,
    }
    return hash('sha256', cacheKeyBytes(facts, this.#tools.scratch), 'base64url')
  }

  #sharer(): CacheSharer {
    const { policy, question, user } = this.#options
    const { key } = question
    switch (policy?.sharedBy) {
      case 'team':
        // A key of no team shares with no other.
        return key.teamId === null ? { kind: 'api_key', id: key.id } : { kind: 'team', id: key.teamId }
      case 'api_key':
        return { kind: 'api_key', id: key.id }
      case 'user':
        return { kind: 'user', id: user ?? '' }
      default:
        return everybody
    }
  }
}

interface UsableAnswer {
  readonly kept: KeptAnswer
  readonly ageSeconds: number
}

const everybody: CacheSharer = Object.freeze({ kind: 'environment' })
const nothing: readonly string[] = Object.freeze([])
const missHeaders: readonly string[] = Object.freeze(['x-switchyard-cache', 'miss'])
const noBytes = Buffer.alloc(0)

function firstOf({ targets }: CacheQuestion): TargetTable {
  const [first] = targets
  if (first === undefined) throw new Error('a choice has at least one target')
  return first
}
