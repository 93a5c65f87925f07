import type { Json } from '../../../proto/std/canonical-json.js'
import { newId } from '../../../proto/std/ids.js'
import type { Actor } from '../access/principal.js'
import type { Transaction } from '../database/database.js'
import { Prisma } from '../database/generated/client.js'

export interface AuditFacts {
  readonly actor: Actor
  /** Null: concerns the installation. */
  readonly tenantId: string | null
  /** `<noun>.<verb>`, for example `api-key.revoke`. */
  readonly action: string
  readonly subjectKind: string
  readonly subjectId: string
  /** The subject as it was and as it is; never a secret, a hash of one or a ciphertext. */
  readonly before?: Json
  readonly after?: Json
}

/** Appends to the audit trail. There is no update and no delete. */
export class AuditStore {
  /** In the transaction of the mutation it tells of: both happen or neither. */
  async append(transaction: Transaction, facts: AuditFacts): Promise<void> {
    const { principal, requestId } = facts.actor
    await transaction.rows.auditEntry.create({
      data: {
        id: newId('audit', transaction.now.getTime()),
        tenantId: facts.tenantId,
        actor: principal.subject,
        actorKind: principal.kind,
        action: facts.action,
        subjectKind: facts.subjectKind,
        subjectId: facts.subjectId,
        before: facts.before === undefined ? Prisma.DbNull : toPrismaJson(facts.before),
        after: facts.after === undefined ? Prisma.DbNull : toPrismaJson(facts.after),
        requestId,
        createdAt: transaction.now,
      },
    })
  }
}

function toPrismaJson(value: Json): Prisma.InputJsonValue | typeof Prisma.JsonNull {
  return value === null ? Prisma.JsonNull : (value as Prisma.InputJsonValue)
}
