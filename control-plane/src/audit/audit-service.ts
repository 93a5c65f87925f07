import { checkInput } from '../access/check-input.js'
import { requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import type { Page, PageArgs } from '../database/page.js'
import { type AuditEntry, type AuditFilter, auditFilterInput } from './audit-entry.js'
import type { AuditFeed } from './audit-feed.js'
import type { AuditReader } from './audit-reader.js'

/** Who may read the audit trail: a platform admin all of it, a tenant admin what happened in the own tenant. */
export class AuditService {
  readonly #reader: AuditReader
  readonly #feed: AuditFeed

  constructor(reader: AuditReader, feed: AuditFeed) {
    this.#reader = reader
    this.#feed = feed
  }

  async list(actor: Actor, args: PageArgs, filter: AuditFilter): Promise<Page<AuditEntry>> {
    return this.#reader.page(args, narrowed(actor, filter))
  }

  /** What is appended from now on, on any replica, within the poll interval. Ends when the caller returns it. */
  subscribe(actor: Actor, tenantId: string | null): AsyncIterableIterator<AuditEntry> {
    const own = narrowed(actor, { tenantId }).tenantId ?? null
    return this.#feed.subscribe((entry) => own === null || entry.tenantId === own)
  }
}

function narrowed(actor: Actor, input: AuditFilter): AuditFilter {
  const filter = checkInput(auditFilterInput, input, 'filter')
  const tenantId = filter.tenantId ?? actor.principal.tenantId
  requirePermission(actor, 'audit.read', tenantId)
  return { ...filter, tenantId }
}
