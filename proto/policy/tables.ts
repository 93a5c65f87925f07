import type { Condition } from './condition.js'

/**
 * Decision tables: what a snapshot compiles to. Frozen, joined (a target holds its provider and model, not their ids),
 * and the only thing a decision reads besides the request's facts and `now`.
 */
export interface ClusterTable {
  readonly id: string
  readonly name: string
  readonly region: string
  readonly cloud: string
  readonly spanSamplePpm: number
}

export interface ProviderTable {
  readonly id: string
  readonly name: string
  readonly kind: string
  /** Scheme, host and port: what a connection pool is keyed by. */
  readonly origin: string
  /** Path of the base URL without a trailing slash, for example `/v1`. */
  readonly basePath: string
  readonly region: string
  /** Null: the provider wants no credential. */
  readonly credential: { readonly id: string; readonly version: number } | null
  readonly connectionsMax: number
  /** Azure OpenAI's `api-version`; empty for other kinds. */
  readonly apiVersion: string
  /** Region at the vendor that requests are signed for or that stands in their paths; empty where the vendor has none. */
  readonly vendorRegion: string
  /** Project at the vendor; empty where the vendor has none. */
  readonly vendorProject: string
  /** Outside the tenant's own walls. */
  readonly external: boolean
  /** Servers that are alike, of which each request goes to one; never empty: without any of its own, the provider itself. */
  readonly replicas: readonly ReplicaPlace[]
  /** Milliseconds between two readings of each replica's metrics; null: nobody said. */
  readonly replicaScrapeMs: number | null
}

/** Where one of a provider's servers lives, as the provider's own members of these names. */
export interface ReplicaPlace {
  readonly origin: string
  readonly basePath: string
}

export interface PriceTable {
  readonly version: number
  readonly inputNanoUsdPerMillion: bigint
  readonly cachedInputNanoUsdPerMillion: bigint
  readonly outputNanoUsdPerMillion: bigint
  /** Null: written to the vendor's prompt cache costs as other input does. */
  readonly cacheWriteInputNanoUsdPerMillion: bigint | null
}

export interface ModelTable {
  readonly id: string
  readonly name: string
  readonly upstreamModel: string
  readonly capabilities: ReadonlySet<string>
  /** Null: no price, so no cost. */
  readonly price: PriceTable | null
  /** Most tokens of one answer; null when not known. */
  readonly outputTokensMax: number | null
  /** Most tokens of prompt and answer together; null when not known. */
  readonly contextTokensMax: number | null
}

/** How dear and able a target is, for `complexity`. */
export type Tier = 'low' | 'medium' | 'high'

export interface TargetTable {
  readonly id: string
  readonly provider: ProviderTable
  readonly model: ModelTable
  readonly upstreamModel: string
  readonly deadlines: {
    readonly connectMs: number
    readonly firstTokenMs: number
    readonly idleMs: number
    readonly totalMs: number
  }
  /** Share of the sum of a `weighted` rule; 0: never first. */
  readonly weight: number
  readonly tier: Tier | null
  /** Prompt classes or tasks that it is for; empty: any. */
  readonly tasks: ReadonlySet<string>
  /** 0..100; null when not known. */
  readonly quality: number | null
  readonly nodePool: string
  readonly owner: string
  /** Sent where the client said nothing; `outputTokensMax` is also the most that a client may ask for. */
  readonly parameters: { readonly temperature: number | null; readonly outputTokensMax: number | null }
  /** Null: the agent's defaults. */
  readonly breaker: BreakerTable | null
  /** Milliseconds without a request after which a synthetic one is sent; null: never. */
  readonly warmUpIntervalMs: number | null
  /** Most requests that run there at once, per request worker; null: as many as come. */
  readonly batchSize: number | null
  /** How long a request waits for a place among them before the next target is asked; 0: not at all. */
  readonly batchWaitMs: number
}

/** When a target is left alone, and when it is tried again. */
export interface BreakerTable {
  /** Failures in a row that open it. */
  readonly failures: number
  /** Until one request may try it again; doubled each time that fails, up to sixteen times this. */
  readonly openMs: number
  /** Share of failures (0..1) in the last `windowMs` that opens it as well, from `requestsMin` requests on. */
  readonly failureRatio: number
  readonly windowMs: number
  readonly requestsMin: number
}

export interface LastResortTable {
  /** An answer to the same request kept by the cache may be given up to this age; 0: none. */
  readonly cachedAgeMaxSeconds: number
  readonly apology: string
  /** Empty: none. */
  readonly safeAnswer: string
}

/** What is kept of a route's answers and given again. */
export interface CacheTable {
  /** Also where the temperature is not 0 and the client does not ask for it. */
  readonly anyTemperature: boolean
  readonly sharedBy: 'environment' | 'team' | 'api_key' | 'user'
  /** Seconds that an answer is fresh, by class of its prompt. */
  readonly ttlSeconds: ReadonlyMap<string, number>
  /** For prompts of none of those classes. */
  readonly otherTtlSeconds: number
  readonly ageMaxSeconds: number
  /** Beyond its freshness, while a new one is fetched. */
  readonly staleSeconds: number
  readonly shared: boolean
  /** Null: only the very same request gets a kept answer. */
  readonly semantic: { readonly threshold: number; readonly embeddingRoute: string } | null
  /** Ids of keys whose clients are told similarity and matched question. */
  readonly detailApiKeys: ReadonlySet<string>
  readonly tags: readonly string[]
}

/** What was kept before `atMs` and fits is not given any more; a null member fits everything. */
export interface CachePurgeTable {
  readonly id: string
  readonly atMs: number
  readonly routeId: string | null
  readonly promptId: string | null
  readonly promptVersion: string | null
  readonly tag: string | null
  readonly documentId: string | null
}

export interface HedgingTable {
  /** Share of requests (0..1) that may be asked twice. */
  readonly budgetRatio: number
  readonly delayMinMs: number
}

/** Who is asked to measure prompts, instead of the built-in estimates. */
export interface ClassifierTable {
  /** Of a kind that serves nothing else. */
  readonly provider: ProviderTable
  /** Longest that a request waits for it. */
  readonly timeoutMs: number
}

export type Strategy = 'ordered' | 'weighted' | 'least_latency' | 'cheapest' | 'preference' | 'complexity' | 'task'

export interface RouteTable {
  readonly id: string
  readonly name: string
  readonly totalTimeoutMs: number
  /** A setting that a vendor has no word for is left out, with a header that says so; otherwise the target is passed over. */
  readonly dropsUnsupported: boolean
  /** Null: the error. */
  readonly lastResort: LastResortTable | null
  /** Null: never. */
  readonly hedging: HedgingTable | null
  /** Null: nothing is kept and given again. */
  readonly cache: CacheTable | null
  /** Null: nobody is asked, the built-in estimates count. */
  readonly classifier: ClassifierTable | null
  /**
   * Ordered; the first whose condition holds decides. A null condition always holds. Its own ones, then those of the route
   * that it takes its defaults from.
   */
  readonly rules: readonly RuleTable[]
  /** How many of `rules` are its own. */
  readonly ownRuleCount: number
  /** What must be measured of a prompt to decide; whoever measures by asking somebody else asks only for that. */
  readonly measures: ReadonlySet<Measure>
}

export type Measure = 'complexity' | 'prompt_class' | 'tokens_in'

export interface RuleTable {
  readonly id: string
  readonly name: string
  readonly condition: string | null
  /** `condition`, compiled; null where there is none. */
  readonly program: Condition | null
  readonly strategy: Strategy
  /** With `weighted`: who always draws the same; null: each request draws anew. */
  readonly stickyBy: 'user' | 'session' | null
  /** With `complexity`, 0..1: below the first the tier is low, below the second medium, otherwise high. */
  readonly complexityLow: number
  readonly complexityHigh: number
  readonly targets: readonly TargetTable[]
}

export interface EnvironmentTable {
  readonly tenantId: string
  readonly tenantName: string
  readonly environmentId: string
  readonly environmentName: string
  readonly permittedRegions: ReadonlySet<string>
  readonly routingPreference: 'cheapest' | 'balanced' | 'best'
  readonly cachePurges: readonly CachePurgeTable[]
  readonly routes: ReadonlyMap<string, RouteTable>
}

export interface ApiKeyTable {
  readonly id: string
  readonly teamId: string | null
  readonly environment: EnvironmentTable
  /** Null: every route of the environment. */
  readonly allowedRoutes: ReadonlySet<string> | null
  /** May call models outside the tenant's own walls. */
  readonly allowExternal: boolean
  /** May choose a target and go without fallbacks by header. */
  readonly mayPin: boolean
  /** Infinity: never. */
  readonly expiresAtMs: number
  readonly inFlightMax: number
  readonly requestsPerMinuteMax: number
}

export interface DenyTable {
  readonly subjectId: string
  readonly abort: boolean
  readonly expiresAtMs: number
}

export interface DecisionTables {
  readonly epoch: number
  readonly generation: number
  readonly rootHash: string
  readonly cluster: ClusterTable | null
  /** By section. The same map while only keys and denials change. */
  readonly environments: ReadonlyMap<string, EnvironmentTable>
  /** By SHA-256 of the whole key, lower-case hexadecimal. */
  readonly keys: LookupTable<ApiKeyTable>
  /** By the same hash; looked at first. An entry past its `expiresAtMs` may stay: denying an expired key harms nobody. */
  readonly denied: LookupTable<DenyTable>
}

/**
 * The part of a map that a decision needs. Not a `Map`: behind it, generations share their shards, so that one denied key
 * among a hundred thousand copies a few hundred entries instead of all.
 */
export interface LookupTable<T> {
  get(secretHash: string): T | undefined
  readonly size: number
}
