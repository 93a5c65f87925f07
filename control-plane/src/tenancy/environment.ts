import { z } from 'zod'
import { shapes } from '../access/check-input.js'

/** Where routes, keys and policies of a tenant live. Clusters in its permitted regions serve it; nothing else places it. */
export interface Environment {
  readonly id: string
  readonly tenantId: string
  readonly name: string
  readonly permittedRegions: readonly string[]
  readonly routingPreference: RoutingPreference
  readonly intentRevision: bigint
  readonly createdAt: Date
  readonly archivedAt: Date | null
}

/** What rules that go by preference look for: what an answer costs, how good it is, or both. */
export const routingPreferences = ['cheapest', 'balanced', 'best'] as const
export type RoutingPreference = (typeof routingPreferences)[number]

/** Each one is a section of every snapshot it is placed in. */
export const environmentsPerTenantMax = 50

const permittedRegions = z
  .array(shapes.region)
  .min(1, 'expected at least one region')
  .max(50, 'expected at most 50 regions')
  .transform((regions) => [...new Set(regions)].sort())

const routingPreference = z.enum(routingPreferences, `expected one of ${routingPreferences.join(', ')}`)

export const createEnvironmentInput = z.object({
  tenantId: shapes.id.nullish(),
  name: shapes.slug,
  permittedRegions,
  routingPreference: routingPreference.nullish(),
})
/** What is left out, or null, stays. */
export const updateEnvironmentInput = z.object({
  environmentId: shapes.id,
  permittedRegions: permittedRegions.nullish(),
  routingPreference: routingPreference.nullish(),
})
export const archiveEnvironmentInput = shapes.id

export function auditEnvironment(environment: Environment) {
  return {
    name: environment.name,
    permittedRegions: environment.permittedRegions,
    routingPreference: environment.routingPreference,
    archivedAt: environment.archivedAt?.toISOString() ?? null,
  }
}
