import type { Database, Transaction } from '../database/database.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import type { Team } from './team.js'

/** Rows of teams. */
export class TeamStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async find(id: string): Promise<Team | null> {
    return this.#database.rows.team.findUnique({ where: { id } })
  }

  async findMany(ids: readonly string[]): Promise<readonly Team[]> {
    return this.#database.rows.team.findMany({ where: { id: { in: [...ids] } } })
  }

  /** In order of creation. */
  async page(args: PageArgs, tenantId: string): Promise<Page<Team>> {
    const [afterId] = decodeCursor(args.after, 1) ?? []
    const rows = await this.#database.rows.team.findMany({
      where: { tenantId, ...(afterId === undefined ? {} : { id: { gt: afterId } }) },
      orderBy: { id: 'asc' },
      take: args.first + 1,
    })
    return pageOf(rows, args, (row) => encodeCursor(row.id))
  }

  async count(transaction: Transaction, tenantId: string): Promise<number> {
    return transaction.rows.team.count({ where: { tenantId } })
  }

  /** Locks the row until the transaction ends. */
  async findLocked(transaction: Transaction, id: string): Promise<Team | null> {
    await transaction.rows.$queryRaw`SELECT id FROM "Team" WHERE id = ${id} FOR UPDATE`
    return transaction.rows.team.findUnique({ where: { id } })
  }

  async insert(transaction: Transaction, team: Team): Promise<void> {
    await transaction.rows.team.create({ data: team })
  }

  async rename(transaction: Transaction, team: Team): Promise<void> {
    await transaction.rows.team.update({ where: { id: team.id }, data: { name: team.name } })
  }
}
