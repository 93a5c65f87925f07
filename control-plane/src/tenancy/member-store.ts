import type { Database, Transaction } from '../database/database.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import type { Member } from './member.js'

/** Rows of members. */
export class MemberStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async find(id: string): Promise<Member | null> {
    return this.#database.rows.member.findUnique({ where: { id } })
  }

  async findBySubject(tenantId: string, subject: string): Promise<Member | null> {
    return this.#database.rows.member.findUnique({ where: { tenantId_subject: { tenantId, subject } } })
  }

  /** In order of creation. */
  async page(args: PageArgs, tenantId: string): Promise<Page<Member>> {
    const [afterId] = decodeCursor(args.after, 1) ?? []
    const rows = await this.#database.rows.member.findMany({
      where: { tenantId, ...(afterId === undefined ? {} : { id: { gt: afterId } }) },
      orderBy: { id: 'asc' },
      take: args.first + 1,
    })
    return pageOf(rows, args, (row) => encodeCursor(row.id))
  }

  async count(transaction: Transaction, tenantId: string): Promise<number> {
    return transaction.rows.member.count({ where: { tenantId } })
  }

  /** Locks the row until the transaction ends. */
  async findLocked(transaction: Transaction, id: string): Promise<Member | null> {
    await transaction.rows.$queryRaw`SELECT id FROM "Member" WHERE id = ${id} FOR UPDATE`
    return transaction.rows.member.findUnique({ where: { id } })
  }

  async insert(transaction: Transaction, member: Member): Promise<void> {
    await transaction.rows.member.create({ data: { ...member, roles: [...member.roles] } })
  }

  async update(transaction: Transaction, member: Member): Promise<void> {
    const { id, email, displayName, roles, disabledAt } = member
    await transaction.rows.member.update({
      where: { id },
      data: { email, displayName, roles: [...roles], disabledAt },
    })
  }
}
