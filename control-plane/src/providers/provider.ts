import { z } from 'zod'
import { shapes } from '../access/check-input.js'
import { type Credential, credentialInput } from './credential.js'
import {
  defaultBaseUrl,
  type endpointInput,
  type ProviderKind,
  providerKinds,
  type ReplicaFields,
  replicaScrapeMsMax,
  replicaScrapeMsMin,
  type VendorFields,
} from './provider-kind.js'

/** What the vendor states of an account or endpoint. For people to read: nothing is decided by it, and agents never hear of it. */
export interface VendorStatement {
  /** Parts per million: 999_000 is 99.9 %. */
  readonly slaAvailabilityPpm: number | null
  readonly slaNote: string | null
  /** The vendor's own limits, over everything that calls it; ours are those of keys and quotas. */
  readonly vendorRequestsPerMinute: number | null
  readonly vendorTokensPerMinute: number | null
}

/** What people set of a provider. */
export interface ProviderFields extends VendorFields, ReplicaFields, VendorStatement {
  readonly name: string
  readonly kind: ProviderKind
  /** Without a trailing slash, for example `https://api.openai.com/v1`. */
  readonly baseUrl: string
  readonly region: string
  /** Connections that each agent may hold open to it. */
  readonly connectionsMax: number
  /** Runs outside the tenant's own walls: keys that are `internalOnly` never call it. */
  readonly external: boolean
}

/** An account or endpoint of one kind in one region. */
export interface Provider extends ProviderFields {
  readonly id: string
  readonly tenantId: string
  /** The version in force; null when the provider wants none. */
  readonly credential: Credential | null
  readonly createdAt: Date
  readonly archivedAt: Date | null
  /** Rises with each change, credential included. */
  readonly rowVersion: number
}

export const providersPerTenantMax = 1_000
export const connectionsMaxDefault = 256
export const slaNoteCharactersMax = 500
const int4Max = 2 ** 31 - 1

const connectionsMax = shapes.integer(1, 10_000)
const slaNote = z
  .string()
  .trim()
  .min(1, 'expected at least one character')
  .max(slaNoteCharactersMax, `expected at most ${slaNoteCharactersMax} characters`)
  // Lines are what notes are made of; anything else that is not seen could make one read as what it does not say.
  .refine((text) => !/[^\P{Cc}\n\t]|[\p{Cf}\p{Zl}\p{Zp}]/u.test(text), 'expected no control characters')
const statement = {
  slaAvailabilityPpm: shapes.integer(0, 1_000_000).nullish(),
  slaNote: slaNote.nullish(),
  vendorRequestsPerMinute: shapes.integer(1, int4Max).nullish(),
  vendorTokensPerMinute: shapes.integer(1, int4Max).nullish(),
}
/** Checked by kind, together: see `endpointInput`. */
const endpoint = {
  baseUrl: z.string().nullish(),
  apiVersion: z.string().nullish(),
  vendorRegion: z.string().nullish(),
  vendorProject: z.string().nullish(),
  replicaUrls: z.array(z.string()).nullish(),
  replicaScrapeMs: shapes.integer(replicaScrapeMsMin, replicaScrapeMsMax).nullish(),
}

export const createProviderInput = z.object({
  tenantId: shapes.id.nullish(),
  name: shapes.slug,
  kind: z.enum(providerKinds, `expected one of ${providerKinds.join(', ')}`),
  ...endpoint,
  region: shapes.region,
  connectionsMax: connectionsMax.nullish(),
  external: z.boolean().nullish(),
  ...statement,
  credential: credentialInput.nullish(),
})

/** Absent members stay as they are. Null ones too, except what the vendor states: that is taken away. */
export const updateProviderInput = z.object({
  providerId: shapes.id,
  /** Refused with `conflict` unless the row still has this version. */
  rowVersion: z.number().int().nullish(),
  name: shapes.slug.nullish(),
  ...endpoint,
  region: shapes.region.nullish(),
  connectionsMax: connectionsMax.nullish(),
  external: z.boolean().nullish(),
  ...statement,
  credential: credentialInput.nullish(),
})

export const rotateProviderCredentialInput = z.object({ providerId: shapes.id, credential: credentialInput })

/** What `given` says of the vendor's statement, else what `before` said. */
export function completeStatement(
  given: { readonly [Member in keyof VendorStatement]?: VendorStatement[Member] | undefined },
  before: VendorStatement | null,
): VendorStatement {
  const pick = <Member extends keyof VendorStatement>(member: Member): VendorStatement[Member] | null =>
    given[member] === undefined ? (before?.[member] ?? null) : (given[member] ?? null)
  return {
    slaAvailabilityPpm: pick('slaAvailabilityPpm'),
    slaNote: pick('slaNote'),
    vendorRequestsPerMinute: pick('vendorRequestsPerMinute'),
    vendorTokensPerMinute: pick('vendorTokensPerMinute'),
  }
}

type GivenEndpoint = {
  readonly [Member in keyof typeof endpoint]?: z.output<(typeof endpoint)[Member]>
}

/** Whether anything is said of where the provider lives and what its requests need. */
export function givesEndpoint(given: GivenEndpoint): boolean {
  const { baseUrl, apiVersion, vendorRegion, vendorProject, replicaUrls, replicaScrapeMs } = given
  return (baseUrl ?? apiVersion ?? vendorRegion ?? vendorProject ?? replicaUrls ?? replicaScrapeMs) != null
}

/** What `endpointInput` is to check: as given, else as before, but the kind's own address follows the vendor's region. */
export function changedEndpoint(given: GivenEndpoint, before: ProviderFields): z.input<typeof endpointInput> {
  const { kind, baseUrl, apiVersion, vendorRegion, vendorProject } = before
  const written = baseUrl === defaultBaseUrl(kind, vendorRegion) ? null : baseUrl
  return {
    kind,
    baseUrl: given.baseUrl ?? written,
    apiVersion: given.apiVersion ?? apiVersion,
    vendorRegion: given.vendorRegion ?? vendorRegion,
    vendorProject: given.vendorProject ?? vendorProject,
    replicaUrls: given.replicaUrls ?? [...before.replicaUrls],
    replicaScrapeMs: given.replicaScrapeMs ?? before.replicaScrapeMs,
  }
}

/** What the audit trail keeps of it: of the credential version and kind, nothing else. */
export function auditProvider(provider: Provider) {
  const { name, kind, baseUrl, region, connectionsMax, external, credential, archivedAt, rowVersion } = provider
  const { apiVersion, vendorRegion, vendorProject, replicaUrls, replicaScrapeMs } = provider
  return {
    ...{ name, kind, baseUrl, apiVersion, vendorRegion, vendorProject, region, connectionsMax, external, rowVersion },
    ...{ replicaUrls, replicaScrapeMs, ...completeStatement({}, provider) },
    credential: credential && { version: credential.version, kind: credential.kind },
    archivedAt: archivedAt?.toISOString() ?? null,
  }
}
