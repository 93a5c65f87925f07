import { hash } from 'node:crypto'
import { routeShape } from '../../../proto/policy/cache-key.js'
import {
  cacheConduct,
  cacheHeader,
  documentsHeader,
  readCacheWord,
  readLabels,
  tagsHeader,
} from '../../../proto/policy/cache-policy.js'
import type { EnvironmentTable, RouteTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal, type Refusal } from '../../../proto/std/refusal.js'
import { effectiveTemperature } from '../conversation/target-temperature.js'
import { readBodyParts } from './body-parts.js'
import { ByteMemory } from './byte-memory.js'
import type { CacheCounts, CacheLimits, CacheTools } from './cache-tools.js'
import { CacheTurn } from './cache-turn.js'
import type { Embedder } from './embedder.js'
import { Flights } from './flights.js'
import type { CacheQuestion } from './kept-answer.js'
import { scratchBytes } from './key-digest.js'
import { MemoryAnswers } from './memory-answers.js'
import { Purges } from './purges.js'
import type { SharedAnswers } from './shared-answers.js'
import { RecordSource } from './stream-record.js'
import { VectorSpaces } from './vector-spaces.js'

export interface AnswerCacheOptions {
  readonly clock: Clock
  /** Null: agents do not share. */
  readonly shared: SharedAnswers | null
  /** Null: nobody makes vectors, so nothing is found by meaning. */
  readonly embedder: Embedder | null
  readonly limits: CacheLimits
}

/** A longer body is not looked for: hashing it would take longer than a request may hold up the others. */
export const bodyBytesMax = 1024 * 1024
/** Looked at with each answer that is kept, from the oldest on: purged ones go even if nobody asks for them. */
const sweptCount = 16
/** Who stays is left in peace: what nobody has asked for lately is in no cache of the processor either. */
const enoughCount = 2

/**
 * Answers that are given again. The request path asks once per request (`consult`), and gets null where the cache has
 * nothing to do with it: no policy, a temperature above 0, a client that wants none. Everything else is the turn's.
 *
 * What is kept is what the client was sent, byte for byte, under a key that says for whom and for what
 * (`proto/policy/cache-key.ts`): nothing has to be translated when it is given again, and nothing can be given to anybody
 * else. A whole answer never serves a stream, nor the other way round: `stream` is part of the key.
 */
export class AnswerCache {
  readonly counts: CacheCounts = {
    ...{ exact: 0, semantic: 0, miss: 0, stale: 0, followed: 0, lastResort: 0, kept: 0, guarded: 0, vectorMissing: 0 },
  }
  readonly #options: AnswerCacheOptions
  readonly #memory: MemoryAnswers
  readonly #spaces: VectorSpaces
  readonly #flights: Flights
  readonly #purges = new Purges()
  /** Digest of each route's shape; tables are made anew when anything of them changes. */
  readonly #shapes = new WeakMap<RouteTable, string>()
  readonly #tools: CacheTools

  constructor(options: AnswerCacheOptions) {
    const { clock, limits } = options
    this.#options = options
    const bytes = new ByteMemory()
    this.#memory = new MemoryAnswers({ bytesMax: limits.bytesMax, entriesMax: limits.entriesMax, memory: bytes })
    this.#spaces = new VectorSpaces({ bytesMax: limits.vectorBytesMax, clock })
    this.#flights = new Flights(clock)
    this.#tools = {
      ...{ clock, limits, memory: this.#memory, spaces: this.#spaces, flights: this.#flights, counts: this.counts },
      ...{ shared: options.shared, embedder: options.embedder, renewing: new Map(), purges: this.#purges },
      origins: new WeakMap(),
      bytes,
      records: new RecordSource(bytes),
      scratch: new Uint8Array(scratchBytes),
      sweep: (environment) => this.#sweep(environment),
    }
  }

  get bytes(): number {
    return this.#memory.bytes
  }

  get size(): number {
    return this.#memory.size
  }

  get evictedCount(): number {
    return this.#memory.evictedCount
  }

  get vectorBytes(): number {
    return this.#spaces.bytes
  }

  /** Requests that wait for another one's answer. */
  get followerCount(): number {
    return this.#flights.followerCount
  }

  /** Answers that are being made for more than themselves. */
  get flightCount(): number {
    return this.#flights.size
  }

  /** Null: nothing is kept or given. A refusal names the header that is wrong. */
  consult(question: CacheQuestion): CacheTurn | Refusal<'invalid_value'> | null {
    const { route, key, body, operation, targets } = question
    const policy = route.cache
    const lastResortSeconds = route.lastResort?.cachedAgeMaxSeconds ?? 0
    if (policy === null && lastResortSeconds === 0) return null
    const word = readCacheWord(question.header(cacheHeader))
    if (isRefusal(word)) return word
    const isPerUser = policy?.sharedBy === 'user'
    const user = isPerUser ? body.user || question.header('x-switchyard-user') || null : null
    const [first] = targets
    const temperature = first === undefined ? null : effectiveTemperature(body, operation, first)
    const storesUpstream = body.fields['store'] === true
    const conduct = cacheConduct({ operation, temperature, word, user, storesUpstream }, policy, lastResortSeconds)
    if (!conduct.keeps || body.bytes.length > bodyBytesMax) return null
    const tags = readLabels(tagsHeader, question.header(tagsHeader))
    if (isRefusal(tags)) return tags
    const documents = readLabels(documentsHeader, question.header(documentsHeader))
    if (isRefusal(documents)) return documents
    const reading = readBodyParts(body, operation, {
      keepsHints: isPerUser,
      // Also of an answer that only takes another one's place: that one was found by what it answers.
      wantsQuestion: policy !== null && policy.semantic !== null,
    })
    if (reading === null) return null
    if (key.environment.cachePurges.length > 0) this.#purges.see(key.environment, this.#options.clock.nowMs())
    return new CacheTurn(this.#tools, {
      question,
      policy,
      lastResortSeconds,
      gives: conduct.gives,
      user,
      tags,
      documents,
      reading,
      routeShape: this.#shapeOf(route),
    })
  }

  #shapeOf(route: RouteTable): string {
    const known = this.#shapes.get(route)
    if (known !== undefined) return known
    const shape = hash('sha256', routeShape(route), 'base64url')
    this.#shapes.set(route, shape)
    return shape
  }

  #sweep(environment: EnvironmentTable): void {
    const nowMs = this.#options.clock.nowMs()
    this.#memory.sweep(sweptCount, enoughCount, (kept) => {
      if (nowMs - kept.bornAtMs > kept.keptSeconds * 1000) return true
      const isOurs = kept.origin.environmentId === environment.environmentId
      return isOurs && this.#purges.isPurged(kept, environment, nowMs, true)
    })
  }
}
