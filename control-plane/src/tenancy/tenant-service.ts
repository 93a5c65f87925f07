import type { z } from 'zod'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { bumpDenyRevision } from '../access/deny-revision.js'
import { isPermitted, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import { isUniqueViolation } from '../database/unique-violation.js'
import type { ApiKeyStore } from './api-key-store.js'
import type { EnvironmentStore } from './environment-store.js'
import { type Bell, bumpIntentRevisions, bumpTenantIntentRevisions } from './intent-revision.js'
import { auditTenant, createTenantInput, type Tenant, updateTenantInput } from './tenant.js'
import type { TenantStore } from './tenant-store.js'

export interface TenantServiceOptions {
  readonly database: Database
  readonly tenants: TenantStore
  readonly environments: EnvironmentStore
  readonly apiKeys: ApiKeyStore
  readonly audit: AuditStore
  readonly clock: Clock
  readonly bell: Bell
}

/** Use cases of tenants. Making, changing and archiving them is for platform admins; reading one's own for its members. */
export class TenantService {
  readonly #options: TenantServiceOptions

  /** For data loaders: null for tenants that are not the actor's to see. */
  readonly byId = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (Tenant | null)[]> => {
      const visible = ids.filter((id) => isPermitted(actor, 'tenant.read', id))
      const found = new Map((await this.#options.tenants.findMany(visible)).map((tenant) => [tenant.id, tenant]))
      return ids.map((id) => found.get(id) ?? null)
    },
  })

  constructor(options: TenantServiceOptions) {
    this.#options = options
  }

  /** Null when there is none or it is not the actor's. */
  async find(actor: Actor, id: string): Promise<Tenant | null> {
    if (!isPermitted(actor, 'tenant.read', id)) return null
    return this.#options.tenants.find(id)
  }

  /** All of them for a platform admin, the own one for everybody else. */
  async list(actor: Actor, args: PageArgs): Promise<Page<Tenant>> {
    const { tenantId } = actor.principal
    requirePermission(actor, 'tenant.read', tenantId)
    return this.#options.tenants.page(args, tenantId)
  }

  /** Refuses `conflict` when the slug is taken. */
  async create(actor: Actor, input: z.input<typeof createTenantInput>): Promise<Tenant> {
    requirePermission(actor, 'tenant.write', null)
    const { slug, name } = checkInput(createTenantInput, input)
    const { database, tenants, audit, clock } = this.#options
    const now = new Date(clock.nowMs())
    const tenant: Tenant = { id: newId('tenant', now.getTime()), slug, name, createdAt: now, archivedAt: null }
    try {
      await database.transaction(now, async (transaction) => {
        await tenants.insert(transaction, tenant)
        await audit.append(transaction, {
          ...{ actor, tenantId: tenant.id, action: 'tenant.create', subjectKind: 'tenant', subjectId: tenant.id },
          after: auditTenant(tenant),
        })
      })
    } catch (error) {
      if (isUniqueViolation(error)) throwRefusal('conflict', `the slug ${slug} is taken`, { field: 'input.slug' })
      throw error
    }
    return tenant
  }

  /** The name reaches agents (it is in every usage record), so the intent of every environment moves. */
  async update(actor: Actor, input: z.input<typeof updateTenantInput>): Promise<Tenant> {
    const { tenantId, name } = checkInput(updateTenantInput, input)
    requirePermission(actor, 'tenant.write', tenantId, { message: 'no such tenant', field: 'input.tenantId' })
    const { database, tenants, audit, clock, bell } = this.#options
    const changed = await database.transaction(new Date(clock.nowMs()), async (transaction) => {
      const tenant = requireActive(await tenants.findLocked(transaction, tenantId), 'input.tenantId')
      const next: Tenant = { ...tenant, name }
      await tenants.update(transaction, next)
      await audit.append(transaction, {
        ...{ actor, tenantId, action: 'tenant.update', subjectKind: 'tenant', subjectId: tenantId },
        ...{ before: auditTenant(tenant), after: auditTenant(next) },
      })
      await bumpTenantIntentRevisions(transaction, tenantId)
      return next
    })
    bell.ring()
    return changed
  }

  /** Out of service for good, with its environments and keys; running streams end by themselves. Archiving twice changes nothing. */
  async archive(actor: Actor, tenantId: string): Promise<Tenant> {
    checkInput(updateTenantInput.shape.tenantId, tenantId, 'tenantId')
    requirePermission(actor, 'tenant.write', tenantId, { message: 'no such tenant', field: 'tenantId' })
    const { database, tenants, environments, apiKeys, audit, clock, bell } = this.#options
    const changed = await database.transaction(new Date(clock.nowMs()), async (transaction) => {
      const tenant = await tenants.findLocked(transaction, tenantId)
      if (tenant === null) return throwRefusal('not_found', 'no such tenant', { field: 'tenantId' })
      if (tenant.archivedAt !== null) return tenant
      const next: Tenant = { ...tenant, archivedAt: transaction.now }
      await tenants.update(transaction, next)
      const environmentIds = await environments.activeIds(transaction, tenantId)
      await bumpIntentRevisions(transaction, environmentIds)
      await environments.archive(transaction, environmentIds)
      const revokedKeyCount = await apiKeys.revokeAllOf(transaction, environmentIds)
      await audit.append(transaction, {
        ...{ actor, tenantId, action: 'tenant.archive', subjectKind: 'tenant', subjectId: tenantId },
        ...{ before: auditTenant(tenant), after: { ...auditTenant(next), environmentIds, revokedKeyCount } },
      })
      await bumpDenyRevision(transaction)
      return next
    })
    bell.ring()
    return changed
  }
}

/** The tenant, or a refusal: `not_found`, or `conflict` when it is archived. */
export function requireActive(tenant: Tenant | null, field: string): Tenant {
  if (tenant === null) return throwRefusal('not_found', 'no such tenant', { field })
  if (tenant.archivedAt !== null) return throwRefusal('conflict', 'the tenant is archived', { field })
  return tenant
}
