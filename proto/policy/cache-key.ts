import { assert } from '../std/assert.js'
import type { RouteTable, TargetTable } from './tables.js'

/**
 * What makes two requests the same to the cache, as bytes that are hashed. Two lists of parts never give the same bytes:
 * each part is its place, its length and its content, so no text moved from one field into the next, and no separator
 * inside a text, makes one request look like another.
 *
 * In the key: who shares the answer (tenant, environment, and team, API key or user where the policy says so), the region,
 * the route and what of it shapes the answer, what is asked at which door, the model that would be asked first with its
 * parameters and the provider that would answer, the client's headers that a vendor is shown, and the client's whole body,
 * byte for byte, but for hints. The body is taken as it came and not as it parses: parsers disagree about members given
 * twice and round long numbers, and what the vendor reads is the bytes.
 *
 * The provider is in it because keys differ in whom they may call: what a vendor outside answered is not given to a key that
 * may ask only inside, though both call the model by one name.
 *
 * Not in the key: a generation, or anything else that moves when something unrelated does.
 */
export interface CacheKeyFacts {
  readonly tenantId: string
  readonly environmentId: string
  /** Of the cluster: an answer stays in the region that it was made in. */
  readonly region: string
  readonly sharer: CacheSharer
  readonly routeId: string
  /** What the client put into `model`. */
  readonly requestedModel: string
  readonly operation: string
  readonly stream: boolean
  /** The target that would be asked first: no other model's or provider's answer is given. */
  readonly target: TargetTable
  /** Digest of `routeShape`. */
  readonly routeShape: string
  /** Hashes of whatever else shapes the answer: prompts, guardrails. */
  readonly shapes: readonly string[]
  /** Name and value of headers that a vendor is shown; null where the client gave none. */
  readonly headers: readonly (readonly [name: string, value: string | null])[]
  readonly tags: readonly string[]
  readonly documents: readonly string[]
  /** The body in order: bytes that count, and names in the place of what does not. */
  readonly body: readonly BodyPart[]
}

/** Among whom an answer goes round. */
export interface CacheSharer {
  readonly kind: 'environment' | 'team' | 'api_key'
  /** Of the team or API key; null: everybody in the environment. */
  readonly id: string | null
  /**
   * The end user, as the client names it, whom alone it is for; null: any. The name is the client's word, so it counts only
   * within a team or an API key: two applications may well call somebody `1`.
   */
  readonly user: string | null
}

export type BodyPart = Uint8Array | { readonly without: string }

/** Raised when the form changes, so that no entry of another release is read. */
const formVersion = '2'

/** The bytes to hash: the head, and after it the body's bytes. */
export function cacheKeyBytes(facts: CacheKeyFacts, scratch: Uint8Array | null = null): Uint8Array {
  const head = cacheKeyHead(facts, scratch)
  let size = head.length
  for (const part of facts.body) if (part instanceof Uint8Array) size += part.length
  const bytes = new Uint8Array(size)
  bytes.set(head)
  let at = head.length
  for (const part of facts.body) {
    if (!(part instanceof Uint8Array)) continue
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/**
 * All but the body's bytes, which are to follow it as they are: how many there are, in how many pieces and between which
 * names, is said here, so that a long body need not be copied to be hashed. `scratch`: memory to write into where it fits, so
 * that a request need not ask for some of its own; it is good until it is used again.
 */
export function cacheKeyHead(facts: CacheKeyFacts, scratch: Uint8Array | null = null): Uint8Array {
  const { target, sharer, headers, body } = facts
  const key = new KeyBytes(scratch ?? new Uint8Array(headBytes))
  key.text(formVersion)
  key.text(facts.tenantId)
  key.text(facts.environmentId)
  key.text(facts.region)
  key.text(sharer.kind)
  key.text(sharer.id)
  key.text(sharer.user)
  key.text(facts.routeId)
  key.text(facts.requestedModel)
  key.text(facts.operation)
  key.text(facts.stream ? 'stream' : 'whole')
  key.text(target.model.id)
  key.text(target.upstreamModel)
  key.text(target.provider.id)
  key.text(numberText(target.parameters.temperature))
  key.text(numberText(target.parameters.outputTokensMax))
  key.text(facts.routeShape)
  key.list(facts.shapes)
  key.head(kinds.count, headers.length)
  for (const header of headers) {
    key.text(header[0])
    key.text(header[1])
  }
  key.list(facts.tags)
  key.list(facts.documents)
  key.head(kinds.count, body.length)
  for (const part of body) {
    if (part instanceof Uint8Array) key.head(kinds.bytes, part.length)
    else key.text(part.without)
  }
  return key.finish()
}

function numberText(value: number | null): string | null {
  return value === null ? null : String(value)
}

/** Most heads fit; a longer one grows. */
const headBytes = 1_024

/** Kinds of part: a text and bytes with the same content differ, and so do nothing and an empty text. */
const kinds = Object.freeze({ nothing: 0, text: 1, bytes: 2, count: 3, wideText: 4 })

class KeyBytes {
  #bytes: Uint8Array
  #at = 0

  /** Writes into `bytes` as long as there is room, then elsewhere. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** One byte for each character where all of them fit into one: nearly always, and half as much to hash. */
  text(text: string | null) {
    if (text === null) return this.head(kinds.nothing, 0)
    const { length } = text
    const start = this.#at
    this.head(kinds.text, length)
    this.#reserve(length)
    const bytes = this.#bytes
    let at = this.#at
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index)
      if (unit > 255) {
        this.#at = start
        return this.#wideText(text)
      }
      bytes[at++] = unit
    }
    this.#at = at
  }

  list(texts: readonly string[]): void {
    this.head(kinds.count, texts.length)
    for (const text of texts) this.text(text)
  }

  /** Of what follows: its kind, and how many characters, bytes or parts. */
  head(kind: number, length: number): void {
    this.#reserve(5)
    const bytes = this.#bytes
    const at = this.#at
    bytes[at] = kind
    bytes[at + 1] = length
    bytes[at + 2] = length >>> 8
    bytes[at + 3] = length >>> 16
    bytes[at + 4] = length >>> 24
    this.#at = at + 5
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  /** UTF-16 code units as they are: in UTF-8, halves of surrogate pairs all look alike. */
  #wideText(text: string) {
    this.head(kinds.wideText, text.length)
    this.#reserve(text.length * 2)
    const bytes = this.#bytes
    let at = this.#at
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index)
      bytes[at++] = unit
      bytes[at++] = unit >>> 8
    }
    this.#at = at
  }

  #reserve(count: number): void {
    const needed = this.#at + count
    if (needed <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    larger.set(this.#bytes)
    this.#bytes = larger
  }
}

/**
 * What of a route shapes its answers, as one text: everything that its table holds but for what is known not to: names,
 * deadlines, weights, prices, limits, how it heals, what it keeps. A member that somebody adds tomorrow is in it until
 * somebody says that it shapes nothing, so forgetting costs hits and never a wrong answer.
 */
export function routeShape(route: RouteTable): string {
  const { id, name, totalTimeoutMs, lastResort, hedging, cache, ownRuleCount, measures, rules, ...shape } = route
  return canonicalText({
    ...shape,
    // A condition's program says what its text says.
    rules: rules.map(({ id: _id, name: _name, program, targets, ...rule }) => ({
      ...rule,
      targets: targets.map(targetShape),
    })),
  })
}

/** The same of a target alone. */
export function targetShape(target: TargetTable): object {
  const { id, deadlines, weight, quality, nodePool, owner, breaker, warmUpIntervalMs, ...rest } = target
  const { batchSize, batchWaitMs, provider, model, ...shape } = rest
  const { id: _, name, credential, connectionsMax, replicas, replicaScrapeMs, ...place } = provider
  const { id: __, name: ___, price, ...made } = model
  return { ...shape, provider: place, model: made }
}

/** One text for one value of tables: members sorted; sets and maps by their members. */
function canonicalText(value: unknown, depth = 0): string {
  assert(depth < 64, 'a table is not as deep as that')
  if (value === undefined || typeof value === 'function') return 'null'
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const inner = (member: unknown) => canonicalText(member, depth + 1)
  if (Array.isArray(value)) return `[${value.map(inner).join()}]`
  if (value instanceof Set) return `set[${[...value].map(inner).sort().join()}]`
  if (value instanceof Map)
    return `map[${[...value]
      .map(([key, member]) => `${inner(key)}:${inner(member)}`)
      .sort()
      .join()}]`
  const members = Object.entries(value).map(([key, member]) => `${JSON.stringify(key)}:${inner(member)}`)
  return `{${members.sort().join()}}`
}
