import type { Database, Transaction } from '../database/database.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import type { Tenant } from './tenant.js'

/** Rows of tenants. */
export class TenantStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async find(id: string): Promise<Tenant | null> {
    return this.#database.rows.tenant.findUnique({ where: { id } })
  }

  async findMany(ids: readonly string[]): Promise<readonly Tenant[]> {
    return this.#database.rows.tenant.findMany({ where: { id: { in: [...ids] } } })
  }

  /** In order of creation; `onlyId` narrows to one tenant. */
  async page(args: PageArgs, onlyId: string | null): Promise<Page<Tenant>> {
    const [afterId] = decodeCursor(args.after, 1) ?? []
    const rows = await this.#database.rows.tenant.findMany({
      where: {
        ...(onlyId === null ? {} : { id: onlyId }),
        ...(afterId === undefined ? {} : { AND: { id: { gt: afterId } } }),
      },
      orderBy: { id: 'asc' },
      take: args.first + 1,
    })
    return pageOf(rows, args, (row) => encodeCursor(row.id))
  }

  /** Locks the row until the transaction ends, so that a check and the write after it see the same tenant. */
  async findLocked(transaction: Transaction, id: string): Promise<Tenant | null> {
    await transaction.rows.$queryRaw`SELECT id FROM "Tenant" WHERE id = ${id} FOR UPDATE`
    return transaction.rows.tenant.findUnique({ where: { id } })
  }

  async insert(transaction: Transaction, tenant: Tenant): Promise<void> {
    await transaction.rows.tenant.create({ data: tenant })
  }

  async update(transaction: Transaction, tenant: Tenant): Promise<void> {
    const { id, ...data } = tenant
    await transaction.rows.tenant.update({ where: { id }, data })
  }
}
