import { z } from 'zod'
import { shapes } from '../access/check-input.js'
import type { roles } from '../access/principal.js'

/** A person or service account of a tenant, by the `sub` of its token. */
export interface Member {
  readonly id: string
  readonly tenantId: string
  readonly subject: string
  readonly email: string | null
  readonly displayName: string
  /** Count only when the token carries none. */
  readonly roles: readonly string[]
  readonly createdAt: Date
  /** Refused whatever its token says. */
  readonly disabledAt: Date | null
}

export const membersPerTenantMax = 10_000

/** Nobody inside a tenant can be a platform admin. */
export const memberRoles = ['tenant-admin', 'developer', 'viewer'] as const satisfies readonly (typeof roles)[number][]

const rolesOfMember = z
  .array(
    z
      .string()
      .refine((role) => memberRoles.some((known) => known === role), `expected one of ${memberRoles.join(', ')}`),
  )
  .min(1, 'expected at least one role')
  .max(memberRoles.length, 'expected each role once')
  .transform((chosen) => memberRoles.filter((role) => chosen.includes(role)))
const email = z.email('expected an e-mail address').max(254, 'expected at most 254 characters')

export const createMemberInput = z.object({
  tenantId: shapes.id.nullish(),
  subject: z
    .string()
    .min(1, 'expected the `sub` of its token')
    .max(255, 'expected at most 255 characters')
    .regex(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/, 'expected printable ASCII without spaces at the ends'),
  email: email.nullish(),
  displayName: shapes.title,
  roles: rolesOfMember,
})

export const updateMemberInput = z.object({
  memberId: shapes.id,
  email: email.nullish(),
  displayName: shapes.title.nullish(),
  roles: rolesOfMember.nullish(),
  disabled: z.boolean().nullish(),
})

export function auditMember(member: Member) {
  const { subject, email: address, displayName, roles: held, disabledAt } = member
  return { subject, email: address, displayName, roles: held, disabledAt: disabledAt?.toISOString() ?? null }
}
