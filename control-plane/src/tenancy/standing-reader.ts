import type { Standing } from '../access/authenticate.js'
import type { Database } from '../database/database.js'

/** What the record knows of the tenant (by id or slug) and the subject of a token; one query, asked per request. */
export class StandingReader {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async find(tenant: string, subject: string): Promise<Standing | null> {
    const row = await this.#database.rows.tenant.findFirst({
      where: { OR: [{ id: tenant }, { slug: tenant }] },
      select: {
        id: true,
        archivedAt: true,
        members: { where: { subject }, select: { roles: true, disabledAt: true }, take: 1 },
      },
    })
    if (row === null) return null
    const member = row.members[0]
    return {
      tenantId: row.id,
      archived: row.archivedAt !== null,
      member: member === undefined ? null : { roles: member.roles, disabled: member.disabledAt !== null },
    }
  }
}
