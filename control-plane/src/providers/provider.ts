import { z } from 'zod'
import { isRefusal } from '../../../proto/std/refusal.js'
import { shapes } from '../access/check-input.js'
import { parseBaseUrl } from './base-url.js'
import { type Credential, credentialInput } from './credential.js'

export const providerKinds = ['openai', 'vllm', 'ollama', 'openai-compatible'] as const
export type ProviderKind = (typeof providerKinds)[number]

/** What people set of a provider. */
export interface ProviderFields {
  readonly name: string
  readonly kind: ProviderKind
  /** Without a trailing slash, for example `https://api.openai.com/v1`. */
  readonly baseUrl: string
  readonly region: string
  /** Connections that each agent may hold open to it. */
  readonly connectionsMax: number
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

const baseUrl = z.string().transform((text, context) => {
  const parsed = parseBaseUrl(text)
  if (!isRefusal(parsed)) return parsed
  context.addIssue({ code: 'custom', message: parsed.message })
  return z.NEVER
})
const connectionsMax = shapes.integer(1, 10_000)

export const createProviderInput = z.object({
  tenantId: shapes.id.nullish(),
  name: shapes.slug,
  kind: z.enum(providerKinds, `expected one of ${providerKinds.join(', ')}`),
  baseUrl,
  region: shapes.region,
  connectionsMax: connectionsMax.nullish().transform((value) => value ?? connectionsMaxDefault),
  credential: credentialInput.nullish(),
})

/** Absent or null members stay as they are. */
export const updateProviderInput = z.object({
  providerId: shapes.id,
  /** Refused with `conflict` unless the row still has this version. */
  rowVersion: z.number().int().nullish(),
  name: shapes.slug.nullish(),
  baseUrl: baseUrl.nullish(),
  region: shapes.region.nullish(),
  connectionsMax: connectionsMax.nullish(),
  credential: credentialInput.nullish(),
})

export const rotateProviderCredentialInput = z.object({ providerId: shapes.id, credential: credentialInput })

/** What the audit trail keeps of it: of the credential version and kind, nothing else. */
export function auditProvider(provider: Provider) {
  const { name, kind, baseUrl, region, connectionsMax, credential, archivedAt, rowVersion } = provider
  return {
    ...{ name, kind, baseUrl, region, connectionsMax, rowVersion },
    credential: credential && { version: credential.version, kind: credential.kind },
    archivedAt: archivedAt?.toISOString() ?? null,
  }
}
