import type { Database, Transaction } from '../database/database.js'
import type { Model as ModelRow, ModelPrice as PriceRow, Prisma } from '../database/generated/client.js'
import { capabilities, type Model, type ModelFields, type ModelPrice, type PriceFields } from './model.js'

/** The price in force, joined. */
export const withPrice = {
  prices: { orderBy: { version: 'desc' }, take: 1 },
} as const satisfies Prisma.ModelInclude

type Row = ModelRow & { prices: PriceRow[] }

/** Rows of `Model` with its price in force. */
export class ModelStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Archived ones included. */
  async findMany(ids: readonly string[]): Promise<readonly Model[]> {
    const rows = await this.#database.rows.model.findMany({ where: { id: { in: [...ids] } }, include: withPrice })
    return rows.map(modelOf)
  }

  /** Locks the row until the transaction ends, so that a check and the write after it see the same model. */
  async findLocked(transaction: Transaction, id: string): Promise<Model | null> {
    await transaction.rows.$queryRaw`SELECT id FROM "Model" WHERE id = ${id} FOR UPDATE`
    const row = await transaction.rows.model.findUnique({ where: { id }, include: withPrice })
    return row === null ? null : modelOf(row)
  }

  countOfTenant(transaction: Transaction, tenantId: string): Promise<number> {
    return transaction.rows.model.count({ where: { tenantId, archivedAt: null } })
  }

  async insert(transaction: Transaction, model: ModelFields & { id: string; tenantId: string }): Promise<void> {
    await transaction.rows.model.create({
      data: { ...model, capabilities: [...model.capabilities], createdAt: transaction.now },
    })
  }

  async update(transaction: Transaction, id: string, fields: Partial<ModelFields>): Promise<Model> {
    const { capabilities, ...rest } = fields
    const row = await transaction.rows.model.update({
      where: { id },
      data: {
        ...rest,
        ...(capabilities === undefined ? {} : { capabilities: [...capabilities] }),
        rowVersion: { increment: 1 },
      },
      include: withPrice,
    })
    return modelOf(row)
  }

  async archive(transaction: Transaction, id: string): Promise<Model> {
    const row = await transaction.rows.model.update({
      where: { id },
      data: { archivedAt: transaction.now, rowVersion: { increment: 1 } },
      include: withPrice,
    })
    return modelOf(row)
  }

  async insertPrice(transaction: Transaction, modelId: string, version: number, price: PriceFields): Promise<void> {
    await transaction.rows.modelPrice.create({ data: { modelId, version, ...price, createdAt: transaction.now } })
  }

  /** Newest first, at most `count`. */
  async findPrices(modelIds: readonly string[], count: number): Promise<ReadonlyMap<string, readonly ModelPrice[]>> {
    const rows = await this.#database.rows.model.findMany({
      where: { id: { in: [...modelIds] } },
      select: { id: true, prices: { orderBy: { version: 'desc' }, take: count } },
    })
    return new Map(rows.map((row) => [row.id, row.prices.map(priceOf)]))
  }
}

export function modelOf(row: Row): Model {
  const price = row.prices[0]
  return {
    ...{ id: row.id, tenantId: row.tenantId, name: row.name, upstreamModel: row.upstreamModel },
    capabilities: capabilities.filter((capability) => row.capabilities.includes(capability)),
    contextTokensMax: row.contextTokensMax,
    outputTokensMax: row.outputTokensMax,
    price: price === undefined ? null : priceOf(price),
    createdAt: row.createdAt,
    archivedAt: row.archivedAt,
    rowVersion: row.rowVersion,
  }
}

function priceOf(row: PriceRow): ModelPrice {
  const { modelId, ...price } = row
  return price
}
