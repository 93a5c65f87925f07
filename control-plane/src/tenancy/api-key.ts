import { z } from 'zod'
import { shapes } from '../access/check-input.js'

/** What a program of the tenant proves itself with to the agents. Its text is shown once; its hash is what we keep. */
export interface ApiKey {
  readonly id: string
  readonly tenantId: string
  readonly environmentId: string
  readonly teamId: string | null
  readonly name: string
  readonly prefix: string
  /** Empty: every route of the environment. */
  readonly allowedRoutes: readonly string[]
  /** May not call models at providers that are external. */
  readonly internalOnly: boolean
  /**
   * May name its target with the header `x-switchyard-target`, and switch fallbacks off with `x-switchyard-fallback: none`.
   * Each use is on the usage record as `routingOverride`.
   */
  readonly mayPin: boolean
  /** Per agent. */
  readonly inFlightMax: number
  /** Per agent. */
  readonly requestsPerMinuteMax: number
  readonly expiresAt: Date | null
  readonly revokedAt: Date | null
  readonly abortOnRevoke: boolean
  readonly rotatedFromId: string | null
  readonly createdBy: string
  readonly createdAt: Date
  readonly rowVersion: number
}

export type ApiKeyState = 'active' | 'expired' | 'revoked'

export function apiKeyState(key: ApiKey, now: Date): ApiKeyState {
  if (key.revokedAt !== null) return 'revoked'
  return key.expiresAt !== null && key.expiresAt <= now ? 'expired' : 'active'
}

/** Every agent that serves the environment holds all of them. */
export const apiKeysPerEnvironmentMax = 50_000
/**
 * Revoked keys that have not expired: each is an entry in the deny section, which every agent of a cluster holds for all of
 * its tenants. Beyond it nothing is made any more; revoking is never refused.
 *
 * A denial of a key without an expiry never ends, not even after the tombstones of its name: an agent that cannot use the
 * environment's newer sections (they are in quarantine for its version, or beyond its limits) keeps the one that still holds
 * the key, for as long as that lasts and through a full snapshot, and there the denial alone refuses it.
 */
export const deniedKeysPerEnvironmentMax = 10_000
export const inFlightMaxDefault = 200
export const requestsPerMinuteMaxDefault = 12_000
const overlapMinutesMax = 30 * 24 * 60

const routeName = z.string().min(1, 'expected a route name').max(200, 'expected at most 200 characters')
const allowedRoutes = z
  .array(routeName)
  .max(500, 'expected at most 500 routes')
  .transform((names) => [...new Set(names)].sort())
const inFlightMax = shapes.integer(1, 100_000)
const requestsPerMinuteMax = shapes.integer(1, 100_000_000)

export const createApiKeyInput = z.object({
  environmentId: shapes.id,
  name: shapes.title,
  teamId: shapes.id.nullish(),
  allowedRoutes: allowedRoutes.nullish(),
  internalOnly: z.boolean().nullish(),
  mayPin: z.boolean().nullish(),
  inFlightMax: inFlightMax.nullish(),
  requestsPerMinuteMax: requestsPerMinuteMax.nullish(),
  expiresAt: z.date().nullish(),
})

/** What is left out stays; null takes a team or an expiry away. */
export const updateApiKeyInput = z.object({
  apiKeyId: shapes.id,
  name: shapes.title.nullish(),
  teamId: shapes.id.nullish(),
  allowedRoutes: allowedRoutes.nullish(),
  internalOnly: z.boolean().nullish(),
  mayPin: z.boolean().nullish(),
  inFlightMax: inFlightMax.nullish(),
  requestsPerMinuteMax: requestsPerMinuteMax.nullish(),
  expiresAt: z.date().nullish(),
})

export const revokeApiKeyInput = z.object({ apiKeyId: shapes.id, abort: z.boolean().nullish() })
export const rotateApiKeyInput = z.object({
  apiKeyId: shapes.id,
  overlapMinutes: shapes.integer(0, overlapMinutesMax),
})

/** Never the hash: it would let whoever reads the audit trail test guesses. */
export function auditApiKey(key: ApiKey) {
  return {
    environmentId: key.environmentId,
    teamId: key.teamId,
    name: key.name,
    prefix: key.prefix,
    allowedRoutes: key.allowedRoutes,
    internalOnly: key.internalOnly,
    mayPin: key.mayPin,
    inFlightMax: key.inFlightMax,
    requestsPerMinuteMax: key.requestsPerMinuteMax,
    expiresAt: key.expiresAt?.toISOString() ?? null,
    revokedAt: key.revokedAt?.toISOString() ?? null,
    abortOnRevoke: key.abortOnRevoke,
    rotatedFromId: key.rotatedFromId,
  }
}
