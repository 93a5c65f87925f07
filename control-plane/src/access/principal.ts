/** Who asks, as proven by a token; never by an argument. */
export interface Principal {
  /** `sub` of the token, or `bootstrap`. */
  readonly subject: string
  readonly kind: 'bootstrap' | 'token' | 'system'
  /** Null only for platform admins and the system itself. */
  readonly tenantId: string | null
  readonly roles: ReadonlySet<Role>
}

export const roles = ['platform-admin', 'tenant-admin', 'developer', 'viewer'] as const
export type Role = (typeof roles)[number]

/** A principal and the request it asks in; first argument of every use case. */
export interface Actor {
  readonly principal: Principal
  readonly requestId: string
}

/** What the product itself does without being asked (migrations of data, rotation by command). */
export const systemPrincipal: Principal = Object.freeze({
  subject: 'system',
  kind: 'system',
  tenantId: null,
  roles: new Set<Role>(['platform-admin']),
})
