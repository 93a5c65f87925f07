import type { ProviderTable, ReplicaPlace, TargetTable } from '../../../proto/policy/tables.js'
import { assert } from '../../../proto/std/assert.js'
import { bytesPerBlock, limitSlack } from './block-set.js'
import { blockCharacters, type Prefix } from './prefix-blocks.js'
import { PrefixIndex, type Salt } from './prefix-index.js'
import { ReplicaHealth } from './replica-health.js'
import { ReplicaServer, urlOf } from './replica-server.js'

/**
 * Servers and replicas by the providers that name them, and the memory for what is believed of their caches.
 *
 * What servers say and what runs there belongs to the server, whoever names it: its memory and its queue are one. What is
 * believed of its cache and its health belongs to the provider that it is a replica of, so that no tenant's requests decide
 * about another's.
 */
export interface ReplicaRegistryOptions {
  /** Memory for all that is believed of caches; beyond it the provider that was asked longest ago is forgotten. */
  readonly indexBytesMax: number
  /** What a replica's cache is taken to hold while it does not say. */
  readonly cacheTokensAssumed: number
  /** Called when what this process has running at a server that is one of several became more or less; costs little. */
  readonly onLoad?: (server: ReplicaServer) => void
}

/** The replicas that one provider table names, in its order. */
export interface ReplicaGroup {
  readonly provider: ProviderReplicas
  readonly members: readonly ReplicaMember[]
  readonly scrapeMs: number
}

export interface ReplicaMember {
  readonly replica: Replica
  /** The provider, at the replica's address. */
  readonly table: ProviderTable
  /** Targets of the provider, at the replica's address; made when first picked. */
  readonly targets: WeakMap<TargetTable, TargetTable>
}

/** A server to be read, and how often. */
export interface WatchedServer {
  readonly server: ReplicaServer
  readonly intervalMs: number
}

/** Milliseconds between two readings where nobody says otherwise. */
export const scrapeMsDefault = 1_000
/** Blocks of one replica, whatever it says of itself: 16 million characters. */
const indexBlocksMax = 16_384
const indexBlocksMin = 64
/** Of prose in English, until providers tell how many tokens prompts were. */
const charactersPerTokenFirst = 4
/** Samples of an average: each moves it by one part in so many. */
const averagedOver = 32
/** Of what was believed to be cached: from here on it is taken for kept. */
const keptMin = 0.5

export class ReplicaRegistry {
  readonly #options: ReplicaRegistryOptions
  /** By URL. */
  readonly #servers = new Map<string, ReplicaServer>()
  /** By id. */
  readonly #providers = new Map<string, ProviderReplicas>()
  readonly #groups = new WeakMap<ProviderTable, KnownGroup>()
  #version = 0
  #indexBytes = 0

  constructor(options: ReplicaRegistryOptions) {
    assert(options.indexBytesMax >= 64 * 1024, 'an index of prefixes has memory')
    assert(options.cacheTokensAssumed >= 1, 'a cache holds something')
    this.#options = options
  }

  /** Bytes of all that is believed of caches. */
  get indexBytes(): number {
    return this.#indexBytes
  }

  /** Another one whenever what is in effect may have changed: a group found before is then looked for anew. */
  get version(): number {
    return this.#version
  }

  get providers(): Iterable<ProviderReplicas> {
    return this.#providers.values()
  }

  /**
   * Forgets what no provider in effect names any more, and says which servers are to be read: those of providers with several
   * replicas, vLLM's, and those for which somebody set an interval.
   */
  retain(providers: Iterable<ProviderTable>): readonly WatchedServer[] {
    const named = new Map<string, Set<string>>()
    const intervals = new Map<ReplicaServer, number>()
    const several = new Set<ReplicaServer>()
    for (const table of providers) {
      const urls = named.get(table.id) ?? new Set<string>()
      named.set(table.id, urls)
      const isRead = table.replicas.length > 1 || table.kind === 'vllm' || table.replicaScrapeMs !== null
      const { members, scrapeMs } = this.groupOf(table)
      for (const { replica } of members) {
        const { server } = replica
        urls.add(server.url)
        if (members.length > 1) several.add(server)
        if (!isRead) continue
        intervals.set(server, Math.min(scrapeMs, intervals.get(server) ?? scrapeMs))
      }
    }
    for (const [id, { byUrl }] of this.#providers) {
      const urls = named.get(id)
      for (const [url, replica] of byUrl) {
        if (urls?.has(url)) continue
        this.#clear(replica)
        byUrl.delete(url)
      }
      if (urls === undefined) this.#providers.delete(id)
    }
    const used = new Set([...named.values()].flatMap((urls) => [...urls]))
    for (const url of this.#servers.keys()) if (!used.has(url)) this.#servers.delete(url)
    for (const server of this.#servers.values()) {
      server.isCounted = intervals.has(server)
      server.isOneOfSeveral = several.has(server)
    }
    this.#version += 1
    return [...intervals].map(([server, intervalMs]) => ({ server, intervalMs }))
  }

  groupOf(table: ProviderTable): ReplicaGroup {
    const known = this.#groups.get(table)
    if (known !== undefined && this.#isInEffect(known)) return known.group
    const provider = this.#providers.get(table.id) ?? new ProviderReplicas(table.id)
    this.#providers.set(table.id, provider)
    const group: ReplicaGroup = {
      provider,
      members: table.replicas.map((place) => ({
        replica: this.#replicaOf(provider, place, table.replicas.length > 1),
        table: tableAt(table, place),
        targets: new WeakMap(),
      })),
      scrapeMs: table.replicaScrapeMs ?? scrapeMsDefault,
    }
    this.#groups.set(table, { group, version: this.#version })
    return group
  }

  /** Looked at once per version, for each pick asks. */
  #isInEffect(known: KnownGroup): boolean {
    if (known.version === this.#version) return true
    const { provider, members } = known.group
    if (!members.every(({ replica }) => this.#isKept(provider, replica))) return false
    known.version = this.#version
    return true
  }

  /** Null: nobody names such a server. */
  serverAt(url: string): ReplicaServer | null {
    return this.#servers.get(url) ?? null
  }

  /** Null: no such replica is in effect. */
  find(providerId: string, url: string): { readonly provider: ProviderReplicas; readonly replica: Replica } | null {
    const provider = this.#providers.get(providerId)
    const replica = provider?.byUrl.get(url)
    return provider === undefined || replica === undefined ? null : { provider, replica }
  }

  /** A prompt goes to the replica: from now on it is believed to have it. */
  learn(provider: ProviderReplicas, replica: Replica, prefix: Prefix, salt: Salt): void {
    // Of a provider that is in effect no more, for a request that began before.
    if (!this.#isKept(provider, replica)) return
    const { index } = replica
    const before = index.bytes
    index.limit(this.#blocksMaxOf(provider, replica))
    index.learn(prefix, salt)
    this.#indexBytes += index.bytes - before
    while (this.#indexBytes > this.#options.indexBytesMax) {
      const eldest = this.#eldestBut(provider)
      if (eldest === null) return
      for (const other of eldest.byUrl.values()) this.#clear(other)
    }
  }

  /** A server that began anew has an empty cache. */
  followRestarts(replica: Replica): void {
    if (replica.restartCount === replica.server.restartCount) return
    replica.restartCount = replica.server.restartCount
    this.#clear(replica)
  }

  /** Blocks that the replica's memory holds, as far as it says; no more than its share of the memory here. */
  #blocksMaxOf(provider: ProviderReplicas, replica: Replica): number {
    const { cacheTokensAssumed, indexBytesMax } = this.#options
    const tokens = replica.server.lastReading?.metrics.cacheTokensMax ?? cacheTokensAssumed
    const blocks = Math.max(indexBlocksMin, (tokens * provider.charactersPerToken.value) / blockCharacters)
    // What is held stays the size while it is less than an eighth of a doubling off: what is guessed of tokens goes up and down.
    const { countMax } = replica.index
    const wanted = Math.abs(Math.log2(blocks / countMax)) < 1 / 8 ? countMax : blocks
    const shareMax = indexBytesMax / (provider.byUrl.size * bytesPerBlock * limitSlack)
    return Math.max(1, Math.floor(Math.min(indexBlocksMax, shareMax, wanted)))
  }

  #eldestBut(asking: ProviderReplicas): ProviderReplicas | null {
    let eldest: ProviderReplicas | null = null
    for (const provider of this.#providers.values()) {
      if (provider === asking || !provider.hasIndex) continue
      if (eldest === null || provider.lastPickedUs < eldest.lastPickedUs) eldest = provider
    }
    return eldest
  }

  #clear({ index }: Replica): void {
    this.#indexBytes -= index.bytes
    index.clear()
  }

  #isKept(provider: ProviderReplicas, replica: Replica): boolean {
    return this.#providers.get(provider.id) === provider && provider.byUrl.get(replica.server.url) === replica
  }

  #replicaOf(provider: ProviderReplicas, place: ReplicaPlace, isOneOfSeveral: boolean): Replica {
    const url = urlOf(place)
    const server = this.#servers.get(url) ?? new ReplicaServer(place, this.#options.onLoad)
    server.isCounted ||= isOneOfSeveral
    server.isOneOfSeveral ||= isOneOfSeveral
    this.#servers.set(url, server)
    const known = provider.byUrl.get(url)
    if (known !== undefined) return known
    const replica = new Replica(server)
    provider.byUrl.set(url, replica)
    return replica
  }
}

/** A group, and when it was last found to be what is in effect. */
interface KnownGroup {
  readonly group: ReplicaGroup
  version: number
}

/** A server as a replica of one provider. */
export class Replica {
  readonly server: ReplicaServer
  readonly health = new ReplicaHealth()
  readonly index = new PrefixIndex(indexBlocksMin)
  /** What of what was believed to be cached there was, by what the provider tells of usage. */
  readonly kept = new Average(1)
  /** Of the server, when the index was begun. */
  restartCount: number

  constructor(server: ReplicaServer) {
    this.server = server
    this.restartCount = server.restartCount
  }

  /**
   * What to make of what is believed, 0..1. Replicas differ a little all the time, and comparing them by that would move
   * requests for nothing; one that mostly breaks its word has no prefix caching, or less memory than it says.
   */
  get beliefRatio(): number {
    return this.kept.value >= keptMin ? 1 : this.kept.value
  }
}

/** One provider's replicas and what is known of its requests. */
export class ProviderReplicas {
  readonly id: string
  readonly byUrl = new Map<string, Replica>()
  readonly charactersPerToken = new Average(charactersPerTokenFirst)
  /** Of one request: its prompt, and what of it was believed to be missing where it went. */
  readonly promptTokens = new Average(1_024)
  readonly missingTokens = new Average(512)
  turn = 0
  lastPickedUs = 0

  constructor(id: string) {
    this.id = id
  }

  get hasIndex(): boolean {
    for (const { index } of this.byUrl.values()) if (index.bytes > 0) return true
    return false
  }
}

/** Forgets slowly. */
export class Average {
  value: number

  constructor(first: number) {
    this.value = first
  }

  add(sample: number): void {
    this.value += (sample - this.value) / averagedOver
  }
}

function tableAt(provider: ProviderTable, { origin, basePath }: ReplicaPlace): ProviderTable {
  if (origin === provider.origin && basePath === provider.basePath) return provider
  return Object.freeze({ ...provider, origin, basePath })
}
