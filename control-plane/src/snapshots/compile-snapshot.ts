import { resourceCodec } from '../../../proto/gen/codec.js'
import type { CachePolicy } from '../../../proto/gen/switchyard/v1/CachePolicy.js'
import type { CachePurge__Output } from '../../../proto/gen/switchyard/v1/CachePurge.js'
import type { Resource } from '../../../proto/gen/switchyard/v1/Resource.js'
import type { RouteResource } from '../../../proto/gen/switchyard/v1/RouteResource.js'
import type { Rule } from '../../../proto/gen/switchyard/v1/Rule.js'
import type { Target } from '../../../proto/gen/switchyard/v1/Target.js'
import {
  clusterSection,
  decodeResource,
  denySection,
  environmentSection,
  type NamedResource,
  type ResourceKind,
  resourceName,
} from '../../../proto/snapshot/consistency.js'
import { hashContent, sortedByName } from '../../../proto/snapshot/hash.js'
import type { SnapshotRefusal } from '../../../proto/snapshot/snapshot-refusal.js'
import { findSectionFlaws } from './section-check.js'
import type { CompiledResource, CompiledSection } from './snapshot.js'

/**
 * Rows → sections. Pure: the same rows give the same bytes on every replica, which is what lets replicas agree without
 * talking. Encoded bytes and hashes are kept by row id and row version, so a section of ten thousand keys costs what
 * changed in it.
 */
export interface ClusterRow {
  readonly id: string
  readonly name: string
  readonly cloud: string
  readonly region: string
}

export interface EnvironmentRow {
  readonly id: string
  readonly tenantId: string
  readonly tenantName: string
  readonly name: string
  readonly permittedRegions: readonly string[]
  /** `cheapest`, `balanced` or `best`. */
  readonly routingPreference: string
  readonly intentRevision: number
  /** Itself or its tenant. */
  readonly archived: boolean
}

export interface ProviderRow {
  readonly id: string
  readonly rowVersion: number
  readonly name: string
  readonly kind: string
  readonly baseUrl: string
  readonly region: string
  readonly connectionsMax: number
  readonly credentialId: string | null
  readonly credentialVersion: number | null
  /** These three: null where the vendor has no such thing. */
  readonly apiVersion: string | null
  readonly vendorRegion: string | null
  readonly vendorProject: string | null
  readonly external: boolean
  readonly replicaUrls: readonly string[]
  /** Null: as agents do. */
  readonly replicaScrapeMs: number | null
}

export interface ModelRow {
  readonly id: string
  readonly rowVersion: number
  readonly name: string
  readonly upstreamModel: string
  readonly capabilities: readonly string[]
  readonly contextTokensMax: number
  /** 0: not known. */
  readonly outputTokensMax: number
  /** Null: no price yet. */
  readonly price: {
    readonly version: number
    readonly input: number
    readonly cachedInput: number
    readonly output: number
    /** Null: as other input. */
    readonly cacheWriteInput: number | null
  } | null
}

export interface TargetRow {
  readonly id: string
  readonly providerId: string
  readonly modelId: string
  readonly upstreamModel: string | null
  readonly connectMs: number
  readonly firstTokenMs: number
  readonly idleMs: number
  readonly totalMs: number
  readonly weight: number
  readonly tier: string | null
  readonly tasks: readonly string[]
  readonly quality: number | null
  readonly nodePool: string | null
  readonly owner: string | null
  readonly temperature: number | null
  readonly outputTokensMax: number | null
  /** These five: all or none. */
  readonly breakerFailures: number | null
  readonly breakerOpenMs: number | null
  readonly breakerFailurePpm: number | null
  readonly breakerWindowMs: number | null
  readonly breakerRequestsMin: number | null
  readonly warmUpIntervalMs: number | null
  readonly batchSize: number | null
  readonly batchWaitMs: number
}

export interface RuleRow {
  readonly id: string
  readonly name: string
  readonly condition: string | null
  readonly strategy: string
  readonly stickyBy: string | null
  readonly complexityLowPpm: number
  readonly complexityHighPpm: number
  /** In order. */
  readonly targets: readonly TargetRow[]
}

export interface RouteRow {
  readonly id: string
  readonly name: string
  readonly totalTimeoutMs: number
  /** `refuse` or `drop`. */
  readonly unsupportedSettings: string
  readonly defaultRouteId: string | null
  /** These three: all or none. */
  readonly lastResortCachedAgeMaxSeconds: number | null
  readonly lastResortApology: string | null
  readonly lastResortSafeAnswer: string | null
  /** These two: both or none. */
  readonly hedgingBudgetPpm: number | null
  readonly hedgingDelayMinMs: number | null
  /** These two: both or none. */
  readonly classifierProviderId: string | null
  readonly classifierTimeoutMs: number | null
  /** In order: the first whose condition holds decides. */
  readonly rules: readonly RuleRow[]
  /** Null: nothing of its answers is kept. */
  readonly cache: RouteCacheRow | null
}

export interface RouteCacheRow {
  readonly anyTemperature: boolean
  readonly sharedBy: string
  /** By class of prompt. */
  readonly ttls: Readonly<Record<string, number>>
  readonly ttlSeconds: number
  readonly ageMaxSeconds: number
  readonly staleSeconds: number
  readonly shared: boolean
  /** These two: both or none. */
  readonly semanticThresholdPpm: number | null
  readonly semanticEmbeddingRoute: string | null
  readonly detailApiKeyIds: readonly string[]
  readonly tags: readonly string[]
}

/** A null member fits everything. */
export interface CachePurgeRow {
  readonly id: string
  readonly atMs: number
  readonly routeId: string | null
  readonly promptId: string | null
  readonly promptVersion: string | null
  readonly tag: string | null
  readonly documentId: string | null
}

export interface ApiKeyRow {
  readonly id: string
  readonly rowVersion: number
  readonly secretHash: Buffer
  readonly teamId: string | null
  readonly allowedRoutes: readonly string[]
  readonly internalOnly: boolean
  readonly mayPin: boolean
  readonly expiresAtMs: number
  readonly inFlightMax: number
  readonly requestsPerMinuteMax: number
}

export interface DenyRow {
  /** Of the revoked key. */
  readonly id: string
  readonly environmentId: string
  readonly secretHash: Buffer
  readonly abort: boolean
  /** 0: never. */
  readonly expiresAtMs: number
}

/** Everything that one environment's section is made of, read in one transaction. */
export interface EnvironmentIntent {
  readonly environment: EnvironmentRow
  readonly routes: readonly RouteRow[]
  /** At least those that the routes name and that are not archived. */
  readonly providers: readonly ProviderRow[]
  readonly models: readonly ModelRow[]
  /** Compiled already: they are many, and few of them change. */
  readonly apiKeys: readonly CompiledResource[]
  /** In order of instant, then id. */
  readonly cachePurges: readonly CachePurgeRow[]
}

/** Whether `cluster` serves `environment`: its residency policy names the region, and nothing of it is archived. */
export function isPlaced(environment: EnvironmentRow, cluster: ClusterRow): boolean {
  return !environment.archived && environment.permittedRegions.includes(cluster.region)
}

/** One part per hundred of requests keeps its spans, until there is a place to say otherwise. */
const spanSamplePpmDefault = 10_000

export function compileCluster(cluster: ClusterRow): CompiledSection {
  const { id, name, cloud, region } = cluster
  const resource: Resource = { cluster: { id, name, cloud, region, spanSamplePpm: spanSamplePpmDefault } }
  return Object.freeze({
    name: clusterSection,
    intentRevision: 0,
    resources: [compileNamed('cluster', id, resource)],
  })
}

/** The deny section of a view: `rows` are what concerns its environments. */
export function compileDeny(rows: readonly CompiledResource[], denyRevision: number): CompiledSection {
  return Object.freeze({ name: denySection, intentRevision: denyRevision, resources: sortedByName(rows) })
}

export function compileDenyEntry(row: DenyRow): CompiledResource {
  return compileNamed('deny', row.id, {
    deny: {
      subjectKind: 'api_key',
      subjectId: row.id,
      secretHash: row.secretHash,
      abort: row.abort,
      expiresAtUnixMs: row.expiresAtMs,
    },
  })
}

export function compileApiKey(row: ApiKeyRow): CompiledResource {
  return compileNamed('api_key', row.id, {
    apiKey: {
      id: row.id,
      secretHash: row.secretHash,
      teamId: row.teamId ?? '',
      allowedRoutes: [...row.allowedRoutes].sort(),
      expiresAtUnixMs: row.expiresAtMs,
      inFlightMax: row.inFlightMax,
      requestsPerMinuteMax: row.requestsPerMinuteMax,
      internalOnly: row.internalOnly,
      mayPin: row.mayPin,
    },
  })
}

/**
 * An environment's section, or why its intent cannot work. Only what its routes name goes in: a provider that nobody may
 * reach is nobody's business on an agent.
 */
export function compileEnvironment(
  intent: EnvironmentIntent,
): { readonly section: CompiledSection } | { readonly refusals: readonly SnapshotRefusal[] } {
  const { environment } = intent
  const targets = intent.routes.flatMap((route) => route.rules.flatMap((rule) => rule.targets))
  const providerIds = new Set([
    ...targets.map((target) => target.providerId),
    ...intent.routes.flatMap(({ classifierProviderId }) => classifierProviderId ?? []),
  ])
  const modelIds = new Set(targets.map((target) => target.modelId))
  const structure = [
    compileNamed('environment', environment.id, {
      environment: {
        tenantId: environment.tenantId,
        tenantName: environment.tenantName,
        environmentId: environment.id,
        environmentName: environment.name,
        permittedRegions: [...environment.permittedRegions].sort(),
        routingPreference: environment.routingPreference,
        cachePurges: compileCachePurges(intent.cachePurges),
      },
    }),
    ...intent.providers.filter(({ id }) => providerIds.has(id)).map(compileProvider),
    ...intent.models.filter(({ id }) => modelIds.has(id)).map(compileModel),
    ...intent.routes.map(compileRoute),
  ]
  const name = environmentSection(environment.tenantId, environment.id)
  // Keys were compiled from rows that Postgres constrains; what can contradict itself is the structure.
  const refusals = findSectionFlaws(
    name,
    structure.map((resource) => decodedResource(name, resource)),
  )
  if (refusals.length > 0) return { refusals }
  const resources = sortedByName([...structure, ...intent.apiKeys])
  return { section: Object.freeze({ name, intentRevision: environment.intentRevision, resources }) }
}

function compileProvider(row: ProviderRow): CompiledResource {
  return compileNamed('provider', row.id, {
    provider: {
      id: row.id,
      name: row.name,
      kind: row.kind,
      baseUrl: row.baseUrl,
      region: row.region,
      credentialId: row.credentialId ?? '',
      credentialVersion: row.credentialVersion ?? 0,
      connectionsMax: row.connectionsMax,
      apiVersion: row.apiVersion ?? '',
      vendorRegion: row.vendorRegion ?? '',
      vendorProject: row.vendorProject ?? '',
      external: row.external,
      // In the order given: agents call them by it.
      replicaUrls: [...row.replicaUrls],
      replicaScrapeMs: row.replicaScrapeMs ?? 0,
    },
  })
}

function compileModel(row: ModelRow): CompiledResource {
  const { id, name, upstreamModel, contextTokensMax, outputTokensMax, price } = row
  return compileNamed('model', id, {
    model: {
      id,
      name,
      upstreamModel,
      capabilities: [...row.capabilities].sort(),
      contextTokensMax,
      outputTokensMax,
      ...(price && {
        price: {
          version: price.version,
          inputNanoUsdPerMillion: price.input,
          cachedInputNanoUsdPerMillion: price.cachedInput,
          outputNanoUsdPerMillion: price.output,
          ...(price.cacheWriteInput !== null && { cacheWriteInputNanoUsdPerMillion: price.cacheWriteInput }),
        },
      }),
    },
  })
}

function compileRoute(row: RouteRow): CompiledResource {
  const { id, name, totalTimeoutMs, unsupportedSettings, lastResortCachedAgeMaxSeconds, hedgingBudgetPpm } = row
  const { classifierProviderId, classifierTimeoutMs } = row
  const route: RouteResource = {
    ...{ id, name, totalTimeoutMs, unsupportedSettings, defaultRouteId: row.defaultRouteId ?? '' },
    rules: row.rules.map(ruleResource),
    ...(lastResortCachedAgeMaxSeconds !== null && {
      lastResort: {
        cachedAgeMaxSeconds: lastResortCachedAgeMaxSeconds,
        ...{ apology: row.lastResortApology ?? '', safeAnswer: row.lastResortSafeAnswer ?? '' },
      },
    }),
    ...(hedgingBudgetPpm !== null && {
      hedging: { budgetPpm: hedgingBudgetPpm, delayMinMs: row.hedgingDelayMinMs ?? 0 },
    }),
    ...(row.cache !== null && { cache: cacheResource(row.cache) }),
    ...(classifierProviderId !== null && {
      classifier: { providerId: classifierProviderId, timeoutMs: classifierTimeoutMs ?? 0 },
    }),
  }
  return compileNamed('route', id, { route })
}

function cacheResource(row: RouteCacheRow): CachePolicy {
  const { anyTemperature, sharedBy, ttlSeconds, ageMaxSeconds, staleSeconds, shared } = row
  const { semanticThresholdPpm, semanticEmbeddingRoute } = row
  return {
    ...{ anyTemperature, sharedBy, ttlSeconds, ageMaxSeconds, staleSeconds, shared },
    ttls: Object.entries(row.ttls)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([promptClass, seconds]) => ({ promptClass, seconds })),
    ...(semanticThresholdPpm !== null &&
      semanticEmbeddingRoute !== null && {
        semantic: { thresholdPpm: semanticThresholdPpm, embeddingRoute: semanticEmbeddingRoute },
      }),
    detailApiKeyIds: [...row.detailApiKeyIds].sort(),
    tags: [...row.tags].sort(),
  }
}

/** Also of a section that is held back: a purge takes away, and waits for nothing. */
export function compileCachePurges(rows: readonly CachePurgeRow[]): CachePurge__Output[] {
  return rows.map(({ id, atMs, routeId, promptId, promptVersion, tag, documentId }) => ({
    ...{ id, atUnixMs: atMs, routeId: routeId ?? '', promptId: promptId ?? '', promptVersion: promptVersion ?? '' },
    ...{ tag: tag ?? '', documentId: documentId ?? '' },
  }))
}

function ruleResource(row: RuleRow): Rule {
  const { id, name, strategy, complexityLowPpm, complexityHighPpm } = row
  return {
    ...{ id, name, condition: row.condition ?? '', strategy, stickyBy: row.stickyBy ?? '' },
    // Other strategies have no thresholds: bytes do not change by a number that nobody reads.
    ...(strategy === 'complexity' && { complexityLowPpm, complexityHighPpm }),
    targets: row.targets.map(targetResource),
  }
}

function targetResource(row: TargetRow): Target {
  const { id, providerId, modelId, weight, temperature, outputTokensMax, breakerFailures, warmUpIntervalMs } = row
  const { batchSize } = row
  return {
    ...{ id, providerId, modelId, upstreamModel: row.upstreamModel ?? '', weight, tier: row.tier ?? '' },
    ...{ tasks: [...row.tasks].sort(), quality: row.quality ?? 0 },
    ...{ nodePool: row.nodePool ?? '', owner: row.owner ?? '' },
    deadlines: {
      connectMs: row.connectMs,
      firstTokenMs: row.firstTokenMs,
      idleMs: row.idleMs,
      totalMs: row.totalMs,
    },
    ...((temperature !== null || outputTokensMax !== null) && {
      parameters: {
        ...(temperature !== null && { temperature }),
        ...(outputTokensMax !== null && { outputTokensMax }),
      },
    }),
    ...(breakerFailures !== null && {
      breaker: {
        failures: breakerFailures,
        ...{ openMs: row.breakerOpenMs ?? 0, failurePpm: row.breakerFailurePpm ?? 0 },
        ...{ windowMs: row.breakerWindowMs ?? 0, requestsMin: row.breakerRequestsMin ?? 0 },
      },
    }),
    ...(warmUpIntervalMs !== null && { warmUp: { intervalMs: warmUpIntervalMs } }),
    // Nothing where there is no limit: the bytes of such targets stay what they were.
    ...(batchSize !== null && { batchSize, batchWaitMs: row.batchWaitMs }),
  }
}

function compileNamed(kind: ResourceKind, id: string, resource: Resource): CompiledResource {
  return compileResource(resourceName(kind, id), resource)
}

/** Bytes and hash of one resource; the same for the same content, on every replica. */
export function compileResource(name: string, resource: Resource): CompiledResource {
  // A buffer of its own: the encoder's is a slice of a pool that would stay alive as a whole.
  const content = Buffer.from(resourceCodec.encode(resource))
  return Object.freeze({ name, hash: hashContent(content), content })
}

/** What a section consists of, without its keys. */
export type CompiledStructure = readonly NamedResource[]

/** What `compileResource` encoded. */
export function decodedResource(section: string, { name, content }: CompiledResource): NamedResource {
  const resource = decodeResource(content, { section, resource: name })
  if ('code' in resource) throw new Error(`${name} does not decode after it was encoded: ${resource.message}`)
  return { name, resource }
}
