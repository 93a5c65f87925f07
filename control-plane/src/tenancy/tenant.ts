import { z } from 'zod'
import { shapes } from '../access/check-input.js'

/** The isolation boundary: a customer or a business unit. Archived, it and all it owns is out of service for good. */
export interface Tenant {
  readonly id: string
  readonly slug: string
  readonly name: string
  readonly createdAt: Date
  readonly archivedAt: Date | null
}

export const createTenantInput = z.object({ slug: shapes.slug, name: shapes.title })
export const updateTenantInput = z.object({ tenantId: shapes.id, name: shapes.title })

/** What the audit trail keeps of it. */
export function auditTenant(tenant: Tenant) {
  return { slug: tenant.slug, name: tenant.name, archivedAt: tenant.archivedAt?.toISOString() ?? null }
}
