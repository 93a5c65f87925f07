import type { Database, Transaction } from '../database/database.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import type { ApiKey } from './api-key.js'

/** Everything but `secretHash`: it is written once and read by the snapshot compiler only. */
const columns = {
  ...{ id: true, tenantId: true, environmentId: true, teamId: true, name: true, prefix: true, allowedRoutes: true },
  ...{ internalOnly: true, mayPin: true },
  ...{ inFlightMax: true, requestsPerMinuteMax: true, expiresAt: true, revokedAt: true, abortOnRevoke: true },
  ...{ rotatedFromId: true, createdBy: true, createdAt: true, rowVersion: true },
} as const

/** Rows of API keys. */
export class ApiKeyStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async find(id: string): Promise<ApiKey | null> {
    return this.#database.rows.apiKey.findUnique({ where: { id }, select: columns })
  }

  async findMany(ids: readonly string[]): Promise<readonly ApiKey[]> {
    return this.#database.rows.apiKey.findMany({ where: { id: { in: [...ids] } }, select: columns })
  }

  /** Newest first. */
  async page(args: PageArgs, filter: { tenantId: string; environmentId: string | null }): Promise<Page<ApiKey>> {
    const [afterId] = decodeCursor(args.after, 1) ?? []
    const rows = await this.#database.rows.apiKey.findMany({
      where: {
        tenantId: filter.tenantId,
        ...(filter.environmentId === null ? {} : { environmentId: filter.environmentId }),
        ...(afterId === undefined ? {} : { id: { lt: afterId } }),
      },
      select: columns,
      orderBy: { id: 'desc' },
      take: args.first + 1,
    })
    return pageOf(rows, args, (row) => encodeCursor(row.id))
  }

  /** Keys of the environment that are not revoked, expired ones included. */
  async countUnrevoked(transaction: Transaction, environmentId: string): Promise<number> {
    return transaction.rows.apiKey.count({ where: { environmentId, revokedAt: null } })
  }

  /** Revoked keys of the environment that agents still have to deny: those that have not expired. */
  async countDenied(transaction: Transaction, environmentId: string): Promise<number> {
    return transaction.rows.apiKey.count({
      where: {
        ...{ environmentId, revokedAt: { not: null } },
        OR: [{ expiresAt: null }, { expiresAt: { gt: transaction.now } }],
      },
    })
  }

  /** Locks the row until the transaction ends. */
  async findLocked(transaction: Transaction, id: string): Promise<ApiKey | null> {
    await transaction.rows.$queryRaw`SELECT id FROM "ApiKey" WHERE id = ${id} FOR UPDATE`
    return transaction.rows.apiKey.findUnique({ where: { id }, select: columns })
  }

  async insert(transaction: Transaction, key: ApiKey, secretHash: Uint8Array<ArrayBuffer>): Promise<void> {
    await transaction.rows.apiKey.create({ data: { ...key, allowedRoutes: [...key.allowedRoutes], secretHash } })
  }

  /** Writes what may change and returns the key with its next row version. */
  async update(transaction: Transaction, key: ApiKey): Promise<ApiKey> {
    const { id, name, teamId, internalOnly, mayPin, inFlightMax, requestsPerMinuteMax } = key
    const { expiresAt, revokedAt, abortOnRevoke } = key
    return transaction.rows.apiKey.update({
      where: { id },
      data: {
        ...{ name, teamId, internalOnly, mayPin, inFlightMax, requestsPerMinuteMax },
        ...{ expiresAt, revokedAt, abortOnRevoke },
        allowedRoutes: [...key.allowedRoutes],
        rowVersion: { increment: 1 },
      },
      select: columns,
    })
  }

  /** Revokes every key of the environments that is not revoked yet, and returns how many these were. */
  async revokeAllOf(transaction: Transaction, environmentIds: readonly string[]): Promise<number> {
    const { count } = await transaction.rows.apiKey.updateMany({
      where: { environmentId: { in: [...environmentIds] }, revokedAt: null },
      data: { revokedAt: transaction.now, rowVersion: { increment: 1 } },
    })
    return count
  }
}
