import { throwRefusal } from '../../../proto/std/refusal.js'
import type { Actor, Role } from './principal.js'

/**
 * Deny by default: what is not in this table nobody may do. A platform admin may do everything in every tenant; the other
 * roles act inside their own tenant only.
 */
const granted = {
  'tenant.read': ['tenant-admin', 'developer', 'viewer'],
  'tenant.write': [],
  'environment.read': ['tenant-admin', 'developer', 'viewer'],
  'environment.write': ['tenant-admin'],
  'team.read': ['tenant-admin', 'developer', 'viewer'],
  'team.write': ['tenant-admin'],
  'member.read': ['tenant-admin'],
  'member.write': ['tenant-admin'],
  'api-key.read': ['tenant-admin', 'developer'],
  'api-key.write': ['tenant-admin', 'developer'],
  'provider.read': ['tenant-admin', 'developer', 'viewer'],
  'provider.write': ['tenant-admin'],
  // A reference makes agents read their own machine and send what they read to the provider's address.
  'provider.reference': [],
  'model.read': ['tenant-admin', 'developer', 'viewer'],
  'model.write': ['tenant-admin'],
  'route.read': ['tenant-admin', 'developer', 'viewer'],
  'route.write': ['tenant-admin', 'developer'],
  'cache.read': ['tenant-admin', 'developer', 'viewer'],
  'cache.write': ['tenant-admin', 'developer'],
  'cache.purge': ['tenant-admin', 'developer'],
  'usage.read': ['tenant-admin', 'developer', 'viewer'],
  'audit.read': ['tenant-admin'],
  'fleet.read': [],
  'fleet.write': [],
} as const satisfies Record<string, readonly Role[]>

export type Permission = keyof typeof granted

/** True when the actor may do `permission` in `tenantId` (null: in the installation as a whole). */
export function isPermitted(actor: Actor, permission: Permission, tenantId: string | null): boolean {
  const { principal } = actor
  if (principal.roles.has('platform-admin') && principal.tenantId === null) return true
  if (tenantId === null || principal.tenantId !== tenantId) return false
  return (granted[permission] as readonly Role[]).some((role) => principal.roles.has(role))
}

/**
 * Refuses unless permitted. Something of another tenant is `not_found`, exactly as if it did not exist; something of the
 * own tenant that the roles do not reach is `forbidden`. Who looked the object up first gives `missing`: what it says, and
 * of which field, when there is none, so that the two answers cannot be told apart.
 */
export function requirePermission(
  actor: Actor,
  permission: Permission,
  tenantId: string | null,
  missing: Missing = { message: 'no such object' },
): void {
  if (isPermitted(actor, permission, tenantId)) return
  if (tenantId !== null && actor.principal.tenantId !== tenantId) refuseMissing(missing)
  throwRefusal(
    'forbidden',
    `this needs the permission ${permission}; ask an admin of your tenant for a role that has it`,
  )
}

export interface Missing {
  readonly message: string
  readonly field?: string
}

/** What both an object that is not there and another tenant's object are answered with. */
export function refuseMissing({ message, field }: Missing): never {
  throwRefusal('not_found', message, field === undefined ? {} : { field })
}

/** Every permission that the actor holds in its own tenant (a platform admin: all), sorted. */
export function permissionsOf(actor: Actor): readonly Permission[] {
  return (Object.keys(granted) as Permission[])
    .filter((permission) => isPermitted(actor, permission, actor.principal.tenantId))
    .sort()
}
