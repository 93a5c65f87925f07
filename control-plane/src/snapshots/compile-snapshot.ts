import { resourceCodec } from '../../../proto/gen/codec.js'
import type { Resource } from '../../../proto/gen/switchyard/v1/Resource.js'
import {
  checkSection,
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
}

export interface RouteRow {
  readonly id: string
  readonly name: string
  readonly totalTimeoutMs: number
  /** `refuse` or `drop`. */
  readonly unsupportedSettings: string
  /** In order: the first is tried first. */
  readonly targets: readonly TargetRow[]
}

export interface ApiKeyRow {
  readonly id: string
  readonly rowVersion: number
  readonly secretHash: Buffer
  readonly teamId: string | null
  readonly allowedRoutes: readonly string[]
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
  const targets = intent.routes.flatMap((route) => route.targets)
  const providerIds = new Set(targets.map((target) => target.providerId))
  const modelIds = new Set(targets.map((target) => target.modelId))
  const structure = [
    compileNamed('environment', environment.id, {
      environment: {
        tenantId: environment.tenantId,
        tenantName: environment.tenantName,
        environmentId: environment.id,
        environmentName: environment.name,
        permittedRegions: [...environment.permittedRegions].sort(),
      },
    }),
    ...intent.providers.filter(({ id }) => providerIds.has(id)).map(compileProvider),
    ...intent.models.filter(({ id }) => modelIds.has(id)).map(compileModel),
    ...intent.routes.map(compileRoute),
  ]
  const name = environmentSection(environment.tenantId, environment.id)
  // Keys were compiled from rows that Postgres constrains; what can contradict itself is the structure.
  const refusals = checkSection(
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
  const targets = row.targets.map((target) => ({
    id: target.id,
    providerId: target.providerId,
    modelId: target.modelId,
    upstreamModel: target.upstreamModel ?? '',
    deadlines: {
      connectMs: target.connectMs,
      firstTokenMs: target.firstTokenMs,
      idleMs: target.idleMs,
      totalMs: target.totalMs,
    },
  }))
  // One rule without a condition, until routes can have more.
  const rules = [{ id: 'default', condition: '', targets }]
  const { id, name, totalTimeoutMs, unsupportedSettings } = row
  return compileNamed('route', id, { route: { id, name, rules, totalTimeoutMs, unsupportedSettings } })
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
