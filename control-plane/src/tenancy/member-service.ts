import type { z } from 'zod'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { isPermitted, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import { isUniqueViolation } from '../database/unique-violation.js'
import { auditMember, createMemberInput, type Member, membersPerTenantMax, updateMemberInput } from './member.js'
import type { MemberStore } from './member-store.js'
import { requireActive } from './tenant-service.js'
import type { TenantStore } from './tenant-store.js'

export interface MemberServiceOptions {
  readonly database: Database
  readonly tenants: TenantStore
  readonly members: MemberStore
  readonly audit: AuditStore
  readonly clock: Clock
}

/** Use cases of members. Agents know nothing of members, so no intent moves. */
export class MemberService {
  readonly #options: MemberServiceOptions

  constructor(options: MemberServiceOptions) {
    this.#options = options
  }

  async find(actor: Actor, id: string): Promise<Member | null> {
    const member = await this.#options.members.find(id)
    return member !== null && isPermitted(actor, 'member.read', member.tenantId) ? member : null
  }

  async list(actor: Actor, args: PageArgs, tenantId?: string | null): Promise<Page<Member>> {
    const scope = tenantScope(actor, tenantId, 'tenantId')
    requirePermission(actor, 'member.read', scope)
    return this.#options.members.page(args, scope)
  }

  /** Refuses `conflict` when the subject is a member already, `limit_exceeded` beyond 10,000 in one tenant. */
  async create(actor: Actor, input: z.input<typeof createMemberInput>): Promise<Member> {
    const checked = checkInput(createMemberInput, input)
    const tenantId = tenantScope(actor, checked.tenantId)
    requirePermission(actor, 'member.write', tenantId, { message: 'no such tenant', field: 'input.tenantId' })
    const { database, tenants, members, audit, clock } = this.#options
    const now = new Date(clock.nowMs())
    const member: Member = {
      ...{ id: newId('member', now.getTime()), tenantId, subject: checked.subject, email: checked.email ?? null },
      ...{ displayName: checked.displayName, roles: checked.roles, createdAt: now, disabledAt: null },
    }
    try {
      await database.transaction(now, async (transaction) => {
        requireActive(await tenants.findLocked(transaction, tenantId), 'input.tenantId')
        if ((await members.count(transaction, tenantId)) >= membersPerTenantMax) {
          throwRefusal('limit_exceeded', `a tenant has at most ${membersPerTenantMax} members`)
        }
        await members.insert(transaction, member)
        await audit.append(transaction, {
          ...{ actor, tenantId, action: 'member.create', subjectKind: 'member', subjectId: member.id },
          after: auditMember(member),
        })
      })
    } catch (error) {
      if (isUniqueViolation(error)) {
        throwRefusal('conflict', 'this subject is a member already', { field: 'input.subject' })
      }
      throw error
    }
    return member
  }

  /** Disabling takes effect with the member's next request, whatever its token says; enabling undoes it. */
  async update(actor: Actor, input: z.input<typeof updateMemberInput>): Promise<Member> {
    const { memberId, email, displayName, roles, disabled } = checkInput(updateMemberInput, input)
    const { database, members, audit, clock } = this.#options
    return database.transaction(new Date(clock.nowMs()), async (transaction) => {
      const member = await members.findLocked(transaction, memberId)
      const missing = { message: 'no such member', field: 'input.memberId' }
      if (member === null) return throwRefusal('not_found', missing.message, { field: missing.field })
      requirePermission(actor, 'member.write', member.tenantId, missing)
      if (disabled === true && member.subject === actor.principal.subject && actor.principal.tenantId !== null) {
        throwRefusal('conflict', 'nobody can disable their own membership', { field: 'input.disabled' })
      }
      const disabledAt =
        disabled === undefined || disabled === null
          ? member.disabledAt
          : disabled
            ? (member.disabledAt ?? transaction.now)
            : null
      const next: Member = {
        ...member,
        ...{ email: email === undefined ? member.email : email, displayName: displayName ?? member.displayName },
        ...{ roles: roles ?? member.roles, disabledAt },
      }
      await members.update(transaction, next)
      await audit.append(transaction, {
        ...{ actor, tenantId: member.tenantId, action: 'member.update', subjectKind: 'member', subjectId: memberId },
        ...{ before: auditMember(member), after: auditMember(next) },
      })
      return next
    })
  }
}
