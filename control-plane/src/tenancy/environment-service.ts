import type { z } from 'zod'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { bumpDenyRevision } from '../access/deny-revision.js'
import { isPermitted, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import { isUniqueViolation } from '../database/unique-violation.js'
import type { ApiKeyStore } from './api-key-store.js'
import {
  archiveEnvironmentInput,
  auditEnvironment,
  createEnvironmentInput,
  type Environment,
  environmentsPerTenantMax,
  updateEnvironmentInput,
} from './environment.js'
import type { EnvironmentStore } from './environment-store.js'
import { type Bell, bumpIntentRevisions } from './intent-revision.js'
import { requireActive } from './tenant-service.js'
import type { TenantStore } from './tenant-store.js'

export interface EnvironmentServiceOptions {
  readonly database: Database
  readonly tenants: TenantStore
  readonly environments: EnvironmentStore
  readonly apiKeys: ApiKeyStore
  readonly audit: AuditStore
  readonly clock: Clock
  readonly bell: Bell
}

/** Use cases of environments. */
export class EnvironmentService {
  readonly #options: EnvironmentServiceOptions

  readonly byId = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (Environment | null)[]> => {
      const rows = await this.#options.environments.findMany(ids)
      const visible = rows.filter((row) => isPermitted(actor, 'environment.read', row.tenantId))
      const byId = new Map(visible.map((row) => [row.id, row]))
      return ids.map((id) => byId.get(id) ?? null)
    },
  })

  constructor(options: EnvironmentServiceOptions) {
    this.#options = options
  }

  async find(actor: Actor, id: string): Promise<Environment | null> {
    const environment = await this.#options.environments.find(id)
    return environment !== null && isPermitted(actor, 'environment.read', environment.tenantId) ? environment : null
  }

  async list(actor: Actor, args: PageArgs, tenantId?: string | null): Promise<Page<Environment>> {
    const scope = tenantScope(actor, tenantId, 'tenantId')
    requirePermission(actor, 'environment.read', scope)
    return this.#options.environments.page(args, scope)
  }

  /** Refuses `conflict` when the name is taken, `limit_exceeded` beyond 50 in one tenant. */
  async create(actor: Actor, input: z.input<typeof createEnvironmentInput>): Promise<Environment> {
    const checked = checkInput(createEnvironmentInput, input)
    const tenantId = tenantScope(actor, checked.tenantId)
    requirePermission(actor, 'environment.write', tenantId, { message: 'no such tenant', field: 'input.tenantId' })
    const { database, tenants, environments, audit, clock, bell } = this.#options
    const now = new Date(clock.nowMs())
    const { name, permittedRegions } = checked
    const routingPreference = checked.routingPreference ?? 'balanced'
    const id = newId('environment', now.getTime())
    try {
      const created = await database.transaction(now, async (transaction) => {
        requireActive(await tenants.findLocked(transaction, tenantId), 'input.tenantId')
        if ((await environments.activeIds(transaction, tenantId)).length >= environmentsPerTenantMax) {
          throwRefusal(
            'limit_exceeded',
            `a tenant has at most ${environmentsPerTenantMax} environments; archive one first`,
          )
        }
        const environment = {
          id,
          tenantId,
          name,
          permittedRegions,
          routingPreference,
          intentRevision: 0n,
          createdAt: now,
          archivedAt: null,
        }
        await environments.insert(transaction, environment)
        await audit.append(transaction, {
          ...{ actor, tenantId, action: 'environment.create', subjectKind: 'environment', subjectId: id },
          after: auditEnvironment(environment),
        })
        return { ...environment, intentRevision: await bumpOne(transaction, id) }
      })
      bell.ring()
      return created
    } catch (error) {
      if (isUniqueViolation(error)) throwRefusal('conflict', `the name ${name} is taken`, { field: 'input.name' })
      throw error
    }
  }

  /**
   * Where it may be served, and what its routing looks for. Clusters that drop out lose its whole section with the next snapshot. Refused while a route has
   * a target in a region that would no longer be permitted.
   */
  async update(actor: Actor, input: z.input<typeof updateEnvironmentInput>): Promise<Environment> {
    const { environmentId, ...given } = checkInput(updateEnvironmentInput, input)
    const { database, environments, audit, clock, bell } = this.#options
    const changed = await database.transaction(new Date(clock.nowMs()), async (transaction) => {
      const environment = requireActiveEnvironment(
        actor,
        await environments.findLocked(transaction, environmentId),
        'input.environmentId',
      )
      const permittedRegions = given.permittedRegions ?? environment.permittedRegions
      const routingPreference = given.routingPreference ?? environment.routingPreference
      const outside = await environments.findRouteOutside(transaction, environmentId, permittedRegions)
      if (outside !== null) {
        const { routeName, providerName, region } = outside
        throwRefusal(
          'bad_input',
          `input.permittedRegions: the route ${routeName} uses ${providerName} in ${region}; change the route first or keep the region`,
          { field: 'input.permittedRegions' },
        )
      }
      const next: Environment = { ...environment, permittedRegions, routingPreference }
      await environments.update(transaction, next)
      await audit.append(transaction, {
        ...{ actor, tenantId: next.tenantId, action: 'environment.update' },
        ...{ subjectKind: 'environment', subjectId: environmentId },
        ...{ before: auditEnvironment(environment), after: auditEnvironment(next) },
      })
      return { ...next, intentRevision: await bumpOne(transaction, environmentId) }
    })
    bell.ring()
    return changed
  }

  /** Out of service for good, with its keys revoked. Its name stays taken. Archiving twice changes nothing. */
  async archive(actor: Actor, environmentId: string): Promise<Environment> {
    checkInput(archiveEnvironmentInput, environmentId, 'environmentId')
    const { database, environments, apiKeys, audit, clock, bell } = this.#options
    const changed = await database.transaction(new Date(clock.nowMs()), async (transaction) => {
      const environment = requireEnvironment(
        actor,
        await environments.findLocked(transaction, environmentId),
        'environmentId',
      )
      if (environment.archivedAt !== null) return environment
      const next: Environment = { ...environment, archivedAt: transaction.now }
      await environments.update(transaction, next)
      const revokedKeyCount = await apiKeys.revokeAllOf(transaction, [environmentId])
      await audit.append(transaction, {
        ...{ actor, tenantId: next.tenantId, action: 'environment.archive' },
        ...{ subjectKind: 'environment', subjectId: environmentId },
        ...{ before: auditEnvironment(environment), after: { ...auditEnvironment(next), revokedKeyCount } },
      })
      const intentRevision = await bumpOne(transaction, environmentId)
      await bumpDenyRevision(transaction)
      return { ...next, intentRevision }
    })
    bell.ring()
    return changed
  }
}

/** The environment if the actor may change it, or a refusal: `not_found` for another tenant's, `forbidden` for lesser roles. */
function requireEnvironment(actor: Actor, environment: Environment | null, field: string): Environment {
  const missing = { message: 'no such environment', field }
  if (environment === null) return throwRefusal('not_found', missing.message, { field })
  requirePermission(actor, 'environment.write', environment.tenantId, missing)
  return environment
}

function requireActiveEnvironment(actor: Actor, environment: Environment | null, field: string): Environment {
  const found = requireEnvironment(actor, environment, field)
  if (found.archivedAt !== null) throwRefusal('conflict', 'the environment is archived', { field })
  return found
}

async function bumpOne(transaction: Parameters<typeof bumpIntentRevisions>[0], id: string): Promise<bigint> {
  return must((await bumpIntentRevisions(transaction, [id])).get(id), 'the environment was locked a moment ago')
}
