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
}

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
}

export interface RouteTable {
  readonly id: string
  readonly name: string
  readonly totalTimeoutMs: number
  /** A setting that a vendor has no word for is left out, with a header that says so; otherwise the target is passed over. */
  readonly dropsUnsupported: boolean
  /** Ordered; the first whose condition holds decides. A null condition always holds. */
  readonly rules: readonly {
    readonly id: string
    readonly condition: string | null
    readonly targets: readonly TargetTable[]
  }[]
}

export interface EnvironmentTable {
  readonly tenantId: string
  readonly tenantName: string
  readonly environmentId: string
  readonly environmentName: string
  readonly permittedRegions: ReadonlySet<string>
  readonly routes: ReadonlyMap<string, RouteTable>
}

export interface ApiKeyTable {
  readonly id: string
  readonly teamId: string | null
  readonly environment: EnvironmentTable
  /** Null: every route of the environment. */
  readonly allowedRoutes: ReadonlySet<string> | null
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
