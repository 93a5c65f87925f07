import type { BodyPart, CacheKeyFacts, CacheSharer } from '../../../proto/policy/cache-key.js'
import { type AgeState, ageMaxOf, ageStateOf, freshnessOf, keptSecondsOf } from '../../../proto/policy/cache-policy.js'
import { priceUsage } from '../../../proto/policy/price-usage.js'
import { findDifference } from '../../../proto/policy/semantic-guard.js'
import type { ApiKeyTable, CacheTable, TargetTable } from '../../../proto/policy/tables.js'
import type { ChatAnswer } from '../conversation/chat-answer.js'
import type { Conversation } from '../conversation/conversation.js'
import { hintsOf } from '../conversation/hints.js'
import type { UpstreamOperation } from '../providers/provider-dialect.js'
import { asChatAnswer } from './as-chat-answer.js'
import { type BodyReading, lastSaid } from './body-parts.js'
import type { CacheTools } from './cache-tools.js'
import type { EmbeddingHop } from './embedder.js'
import type { Follower, Lead } from './flights.js'
import type { CacheQuestion, FoundAnswer, KeptAnswer, KeptOrigin, ToldAnswer } from './kept-answer.js'
import { keyDigest } from './key-digest.js'
import { StreamRecord } from './stream-record.js'
import { isStreamWorthKeeping, isWholeWorthKeeping } from './worth-keeping.js'

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
/** Who claimed to make an answer anew is believed so long, also where it comes to nothing: nobody pays for it at every hit. */
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
      const state = this.#stateOfTaken(followed, policy)
      if (state !== 'dead') {
        this.#tools.counts.followed += 1
        return this.#hit(followed, this.#ageOf(followed.kept), policy, state)
      }
      // Whoever comes now is to wait for a better one.
      this.#lead = this.#tools.flights.lead(this.#key)
    }
    if (this.#isCancelled) return null
    const found = (await this.#lookInShared(policy)) ?? (await this.#lookByMeaning(policy))
    if (found === null) return this.#miss()
    this.#lead?.land(found)
    const ageSeconds = this.#ageOf(found.kept)
    return this.#hit(found, ageSeconds, policy, ageStateOf(policy, this.#classesOf(found.kept), ageSeconds))
  }

  /**
   * Of what another request found or made; `dead`: not for this one. It asked later and has newer tables, which may know of
   * a purge, or let less be given, than those by which the other one went.
   */
  #stateOfTaken({ kept, similarity }: FoundAnswer, policy: CacheTable): AgeState {
    const { purges, clock } = this.#tools
    const { key, startedAtMs } = this.#options.question
    if (purges.isPurged(kept, key.environment, clock.nowMs(), true)) return 'dead'
    if (this.#ageOf(kept) > ageMaxOf(policy)) return 'dead'
    // As of when it was asked for: what took long to make did not go out of date by that.
    const ageSeconds = Math.max(0, Math.floor((startedAtMs - kept.bornAtMs) / 1_000))
    const state = ageStateOf(policy, this.#classesOf(kept), ageSeconds)
    if (similarity === null) return state
    const isNear = policy.semantic !== null && similarity >= policy.semantic.threshold
    return isNear && state === 'fresh' ? state : 'dead'
  }

  #lookHere(policy: CacheTable): CacheHit | null {
    const entry = this.#usableHere(this.#key)
    if (entry === null) return null
    const { kept, ageSeconds } = entry
    const state = ageStateOf(policy, this.#classesOf(kept), ageSeconds)
    return state === 'dead' ? null : this.#hit({ kept, similarity: null }, ageSeconds, policy, state)
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
    if (end === 'lead') {
      this.#lead = follower.lead
      return null
    }
    return end === 'alone' ? null : end
  }

  get #isShared(): boolean {
    return this.#tools.shared !== null && this.#options.policy?.shared === true
  }

  async #lookInShared(policy: CacheTable): Promise<FoundAnswer | null> {
    const kept = this.#isShared ? await this.#getShared(this.#key) : null
    if (kept === null || ageStateOf(policy, this.#classesOf(kept), this.#ageOf(kept)) === 'dead') return null
    return { kept, similarity: null }
  }

  /** Also into this process, so that the next look needs no call. */
  async #getShared(key: string): Promise<KeptAnswer | null> {
    const { shared, purges, clock } = this.#tools
    const { environment } = this.#options.question.key
    const kept = (await shared?.get(key)) ?? null
    if (kept === null || kept.stream !== this.#options.question.body.stream) return null
    if (purges.isPurged(kept, environment, clock.nowMs(), false)) return null
    this.#putHere(key, kept, null)
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
    if (kept.question === null || ageStateOf(policy, this.#classesOf(kept), ageSeconds) !== 'fresh') return false
    if (findDifference(text, kept.question) === null) return true
    this.#tools.counts.guarded += 1
    return false
  }

  #surroundingsKey(): string {
    const { reading, question } = this.#options
    return this.#keyOf(firstOf(question), reading.question?.surroundings ?? reading.parts)
  }

  // -------------------------------------------------------------------------------------------------------------- keeping

  /**
   * `body`: what the client is sent. To be called with any whole answer of status 200; one to a request for a stream is not
   * kept, as the next would be given it for a stream.
   */
  keepWhole(target: TargetTable, body: Buffer | string, told: ToldAnswer) {
    if (this.#options.question.body.stream) return this.fail()
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
    if (length > this.#tools.limits.answerBytesMax) return this.fail()
    if (!isWholeWorthKeeping(this.#options.question.operation, body, told.parsed ?? null)) return this.fail()
    const piece = this.#tools.bytes.take(length)
    if (typeof body === 'string') piece.write(body, 'utf8')
    else body.copy(piece)
    this.#keep(target, piece, piece.subarray(0, length), length, told)
  }

  /** Takes down what the client is sent of a stream. */
  startRecord(): StreamRecord {
    return new StreamRecord(this.#tools.records, this.#tools.limits.answerBytesMax)
  }

  /** To be called with a stream that came to its end. */
  keepStream(target: TargetTable, record: StreamRecord, tail: Buffer | null, told: ToldAnswer) {
    const all = record.finish(tail ?? noBytes)
    if (all === null) return this.fail()
    if (!isStreamWorthKeeping(this.#options.question.operation, all.telling)) {
      this.#tools.bytes.give(all.piece)
      return this.fail()
    }
    this.#keep(target, all.piece, all.bytes, all.tailAt, told)
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
  }

  /** `piece`: the memory at whose beginning `bytes` stand. */
  #keep(target: TargetTable, piece: Buffer, bytes: Buffer, tailAt: number, told: ToldAnswer) {
    const { counts, spaces, renewing, sweep } = this.#tools
    const { question, policy, lastResortSeconds, reading } = this.#options
    const { operation, body, key, startedAtMs } = question
    const classes = policy !== null && policy.semantic !== null ? this.#classes() : nothing
    // Member by member, not by spreading: this is made for every answer that is kept.
    const kept: KeptAnswer = {
      stream: body.stream,
      bytes,
      tailAt,
      usage: told.usage,
      model: told.model,
      modelId: target.model.id,
      dropped: policy?.sharedBy === 'user' ? (told.dropped ?? null) : withoutHints(told.dropped ?? null, operation),
      capped: told.capped ?? null,
      bornAtMs: startedAtMs,
      classes,
      keptSeconds: keptSecondsOf(policy, classes, lastResortSeconds),
      origin: this.#origin(),
      question: reading.question?.text ?? null,
    }
    // Who answered is whose key it is: a fallback's answer is not the first target's.
    const name = isSame(target, firstOf(question)) ? this.#key : this.#keyOf(target, reading.parts)
    // Whoever waits gets these bytes, and so does who carries them to the shared store.
    this.#putHere(name, kept, this.#isShared || this.#lead?.isFollowed === true ? null : piece)
    if (this.#isShared) this.#tools.shared?.put(name, kept)
    counts.kept += 1
    if (name === this.#key) {
      if (this.#vector !== null && this.#surroundings !== null) spaces.add(this.#surroundings, this.#vector, name)
      // Only who claimed it is done with it: a client's own refresh says nothing of a renewal that still runs.
      if (question.isRenewal === true) renewing.delete(name)
      this.#lead?.land({ kept, similarity: null })
    } else this.fail()
    sweep(key.environment)
  }

  /** One for all answers of a route that nobody has labelled: what is kept long is to be few objects. */
  #origin(): KeptOrigin {
    const { question, policy, tags, documents } = this.#options
    const { key, route, prompt } = question
    const { tenantId, environmentId } = key.environment
    const isPlain = prompt === null && tags.length === 0 && documents.length === 0
    const known = isPlain ? this.#tools.origins.get(route) : undefined
    // A default route is one route of many environments.
    if (known?.environmentId === environmentId) return known
    const origin = Object.freeze({
      tenantId,
      environmentId,
      routeId: route.id,
      promptId: prompt?.id ?? null,
      promptVersion: prompt?.version ?? null,
      tags: joined(policy?.tags ?? nothing, ownLabels(tags)),
      documents: ownLabels(documents),
    })
    if (isPlain) this.#tools.origins.set(route, origin)
    return origin
  }

  /**
   * Of the prompt that was answered. Where only the very same one is given the answer nobody looks at it before somebody asks
   * again: most answers are never asked for again, and looking costs more than keeping.
   */
  #classesOf({ classes }: KeptAnswer): readonly string[] {
    return classes.length > 0 ? classes : this.#classes()
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
    const { question, reading, policy } = this.#options
    const first = firstOf(question)
    const keys = new Set(
      question.targets.map((target) => (isSame(target, first) ? this.#key : this.#keyOf(target, reading.parts))),
    )
    const ageMaxSeconds = Math.min(asked.ageMaxSeconds, ageMaxOf(policy))
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

  #hit(found: FoundAnswer, ageSeconds: number, policy: CacheTable, state: AgeState): CacheHit {
    const { counts } = this.#tools
    const { kept, similarity } = found
    const kind = similarity === null ? 'exact' : 'semantic'
    const isStale = state === 'stale'
    counts[kind] += 1
    if (isStale) counts.stale += 1
    const headers = ['x-switchyard-cache', isStale ? 'stale' : kind, 'age', String(ageSeconds)]
    if (similarity !== null) headers.push(...this.#details(kept, similarity, policy))
    return {
      kind,
      kept,
      ageSeconds,
      renews: isStale && this.#claimRenewal(),
      headers,
      savedNanoUsd: this.#savedBy(kept),
    }
  }

  /** Similarity and question, for keys that may hear of them: the question is another client's. */
  #details(kept: KeptAnswer, similarity: number, policy: CacheTable): readonly string[] {
    if (!policy.detailApiKeys.has(this.#options.question.key.id)) return nothing
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
    // In the order in which they run out.
    renewing.delete(this.#key)
    const [oldest] = renewing.size < renewalsMax ? nothing : renewing.keys()
    if (oldest !== undefined) renewing.delete(oldest)
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

  /** `piece`: the memory that its bytes stand in; null: others may look at it for longer than it stays here. */
  #putHere(key: string, kept: KeptAnswer, piece: Buffer | null): void {
    const { memory, clock } = this.#tools
    // Ages in this process do not jump with the wall clock.
    memory.put(key, kept, clock.monotonicUs() - Math.max(0, clock.nowMs() - kept.bornAtMs) * 1_000, piece)
  }

  #ageOf({ bornAtMs }: KeptAnswer): number {
    return Math.max(0, Math.floor((this.#tools.clock.nowMs() - bornAtMs) / 1_000))
  }

  #keyOf(target: TargetTable, body: readonly BodyPart[]): string {
    const { question, routeShape, tags, documents } = this.#options
    const { key, region, route, operation, shapes } = question
    const { tenantId, environmentId } = key.environment
    const { model: requestedModel, stream } = question.body
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
      headers: shownOf(question),
      tags,
      documents,
      body,
    }
    return keyDigest(facts, this.#tools.scratch)
  }

  #sharer(): CacheSharer {
    const { policy, question, user } = this.#options
    const { key } = question
    switch (policy?.sharedBy) {
      case 'team':
        return sharerOf(key, null)
      case 'api_key':
        return { kind: 'api_key', id: key.id, user: null }
      case 'user':
        return sharerOf(key, user ?? '')
      default:
        return everybody
    }
  }
}

/** A key of no team shares with no other. */
function sharerOf({ id, teamId }: ApiKeyTable, user: string | null): CacheSharer {
  return teamId === null ? { kind: 'api_key', id, user } : { kind: 'team', id: teamId, user }
}

interface UsableAnswer {
  readonly kept: KeptAnswer
  readonly ageSeconds: number
}

const everybody: CacheSharer = Object.freeze({ kind: 'environment', id: null, user: null })
const nothing: readonly string[] = Object.freeze([])
const missHeaders: readonly string[] = Object.freeze(['x-switchyard-cache', 'miss'])
const noBytes = Buffer.alloc(0)
const noneShown: CacheKeyFacts['headers'] = Object.freeze(shownHeaders.map((name) => [name, null] as const))

function firstOf({ targets }: CacheQuestion): TargetTable {
  const [first] = targets
  if (first === undefined) throw new Error('a choice has at least one target')
  return first
}

/** Whether an answer by the one is an answer by the other: what of a target is part of a key, without writing one. */
function isSame(one: TargetTable, other: TargetTable): boolean {
  return (
    one === other ||
    (one.model.id === other.model.id &&
      one.provider.id === other.provider.id &&
      one.upstreamModel === other.upstreamModel &&
      one.parameters.temperature === other.parameters.temperature &&
      one.parameters.outputTokensMax === other.parameters.outputTokensMax)
  )
}

function shownOf(question: CacheQuestion): CacheKeyFacts['headers'] {
  let isAny = false
  for (const name of shownHeaders) isAny ||= question.header(name) !== undefined
  return isAny ? shownHeaders.map((name) => [name, question.header(name) ?? null] as const) : noneShown
}

/** Of their own memory: labels are pieces of a header, which would stay with them. */
function ownLabels(labels: readonly string[]): readonly string[] {
  return labels.length === 0 ? nothing : labels.map((label) => Buffer.from(label, 'latin1').toString('latin1'))
}

/** Both, each once. */
function joined(some: readonly string[], more: readonly string[]): readonly string[] {
  if (more.length === 0) return some
  return some.length === 0 ? more : [...new Set([...some, ...more])]
}

/** Without the names of hints: who is given the answer may have sent other ones, and is not to read what another client sent. */
function withoutHints(dropped: string | null, operation: UpstreamOperation): string | null {
  if (dropped === null) return null
  const left = hintsOf(operation)
  const isHint = (name: string) =>
    left.some((hint) => name.startsWith(hint) && /^(?:$|[.[])/.test(name.slice(hint.length)))
  const names = dropped.split(', ').filter((name) => !isHint(name))
  return names.length === 0 ? null : names.join(', ')
}
