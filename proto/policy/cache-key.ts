import { assert } from '../std/assert.js'
import type { RouteTable, TargetTable } from './tables.js'

/**
 * What makes two requests the same to the cache, as bytes that are hashed. Two lists of parts never give the same bytes:
 * each part is its place, its length and its content, so no text moved from one field into the next, and no separator
 * inside a text, makes one request look like another.
 *
 * In the key: who shares the answer (tenant, environment, and team, API key or user where the policy says so), the region,
 * the route and what of it shapes the answer, what is asked at which door, the model that would be asked first with its
 * parameters, the client's headers that a vendor is shown, and the client's whole body, byte for byte, but for hints. The
 * body is taken as it came and not as it parses: parsers disagree about members given twice and round long numbers, and
 * what the vendor reads is the bytes.
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
  /** The target that would be asked first: no other model's answer is given. */
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
export type CacheSharer =
  | { readonly kind: 'environment' }
  | { readonly kind: 'team' | 'api_key' | 'user'; readonly id: string }

export type BodyPart = Uint8Array | { readonly without: string }

/** Raised when the form changes, so that no entry of another release is read. */
const formVersion = 1

/**
 * The bytes to hash. `scratch`: memory to write them into where they fit, so that a request need not ask for some of its own;
 * they are good until it is used again.
 */
export function cacheKeyBytes(facts: CacheKeyFacts, scratch: Uint8Array | null = null): Uint8Array {
  const { target, sharer } = facts
  const key = new KeyBytes(scratch ?? new Uint8Array(sizeOf(facts.body)))
  key.text(`${formVersion}`)
  key.text(facts.tenantId)
  key.text(facts.environmentId)
  key.text(facts.region)
  key.text(sharer.kind)
  key.text(sharer.kind === 'environment' ? null : sharer.id)
  key.text(facts.routeId)
  key.text(facts.requestedModel)
  key.text(facts.operation)
  key.text(facts.stream ? 'stream' : 'whole')
  key.text(target.model.id)
  key.text(target.upstreamModel)
  key.text(numberText(target.parameters.temperature))
  key.text(numberText(target.parameters.outputTokensMax))
  key.text(facts.routeShape)
  key.list(facts.shapes)
  key.count(facts.headers.length)
  for (const [name, value] of facts.headers) {
    key.text(name)
    key.text(value)
  }
  key.list(facts.tags)
  key.list(facts.documents)
  key.count(facts.body.length)
  for (const part of facts.body) {
    if (part instanceof Uint8Array) key.bytes(part)
    else key.text(part.without)
  }
  return key.finish()
}

function numberText(value: number | null): string | null {
  return value === null ? null : String(value)
}

function sizeOf(body: readonly BodyPart[]): number {
  let size = 2_048
  for (const part of body) size += part instanceof Uint8Array ? part.length + 8 : 64
  return size
}

/** Kinds of part: a text and bytes with the same content differ, and so do nothing and an empty text. */
const kinds = Object.freeze({ nothing: 0, text: 1, bytes: 2, count: 3 })

class KeyBytes {
  #bytes: Uint8Array
  #at = 0

  /** Writes into `bytes` as long as there is room, then elsewhere. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** UTF-16 code units as they are: in UTF-8, halves of surrogate pairs all look alike. */
  text(text: string | null) {
    if (text === null) return this.#head(kinds.nothing, 0)
    this.#head(kinds.text, text.length)
    this.#reserve(text.length * 2)
    const bytes = this.#bytes
    let at = this.#at
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index)
      bytes[at++] = unit & 255
      bytes[at++] = unit >>> 8
    }
    this.#at = at
  }

  bytes(part: Uint8Array): void {
    this.#head(kinds.bytes, part.length)
    this.#reserve(part.length)
    this.#bytes.set(part, this.#at)
    this.#at += part.length
  }

  list(texts: readonly string[]): void {
    this.count(texts.length)
    for (const text of texts) this.text(text)
  }

  /** Of the parts that follow. */
  count(count: number): void {
    this.#head(kinds.count, count)
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  #head(kind: number, length: number): void {
    this.#reserve(5)
    const bytes = this.#bytes
    bytes[this.#at++] = kind
    for (let shift = 0; shift < 32; shift += 8) bytes[this.#at++] = (length >>> shift) & 255
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
  const { id, deadlines, weight, quality, nodePool, owner, breaker, warmUpIntervalMs, provider, model, ...shape } =
    target
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
