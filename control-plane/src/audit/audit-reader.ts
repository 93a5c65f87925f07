import type { Json } from '../../../proto/std/canonical-json.js'
import { newId } from '../../../proto/std/ids.js'
import type { Database } from '../database/database.js'
import type { Prisma } from '../database/generated/client.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import type { AuditEntry, AuditFilter } from './audit-entry.js'

/** Questions to the audit trail. */
export class AuditReader {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Newest first. */
  async page(args: PageArgs, filter: AuditFilter): Promise<Page<AuditEntry>> {
    const [afterId] = decodeCursor(args.after, 1) ?? []
    const { tenantId, action, actor, subjectKind, subjectId, since, until } = filter
    const rows = await this.#database.rows.auditEntry.findMany({
      where: {
        ...(tenantId ? { tenantId } : {}),
        ...(action ? { action } : {}),
        ...(actor ? { actor } : {}),
        ...(subjectKind ? { subjectKind } : {}),
        ...(subjectId ? { subjectId } : {}),
        createdAt: { ...(since ? { gte: since } : {}), ...(until ? { lt: until } : {}) },
        ...(afterId === undefined ? {} : { id: { lt: afterId } }),
      },
      orderBy: { id: 'desc' },
      take: args.first + 1,
    })
    return pageOf(rows.map(entryOf), args, (entry) => encodeCursor(entry.id))
  }

  /**
   * At most `countMax` entries made at or after `since` and behind the entry `afterId`, oldest first. In order of id, which
   * is the order of (instant, random), along the primary key: any number within one instant can be paged through.
   */
  async since(since: Date, afterId: string | null, countMax: number): Promise<readonly AuditEntry[]> {
    const rows = await this.#database.rows.auditEntry.findMany({
      where: { createdAt: { gte: since }, id: { gt: afterId ?? firstIdOf(since) } },
      orderBy: { id: 'asc' },
      take: countMax,
    })
    return rows.map(entryOf)
  }
}

/** Sorts before every id of an entry of that instant or later. */
function firstIdOf(instant: Date): string {
  return newId('audit', instant.getTime()).slice(0, -randomLength)
}

/** Of an id's characters, those behind its instant. */
const randomLength = 16

function entryOf(row: Prisma.AuditEntryModel): AuditEntry {
  return { ...row, before: row.before as Json, after: row.after as Json }
}
