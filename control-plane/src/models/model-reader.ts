import type { Database, Transaction } from '../database/database.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import type { Model } from './model.js'
import { modelOf, withPrice } from './model-store.js'

/** One route that has a target with a model, and what the models can do that stand in for it. */
export interface RouteWithModel {
  readonly name: string
  readonly environmentName: string
  /** For each rule with the model: capabilities of the other models among that rule's targets. */
  readonly otherCapabilities: readonly (readonly (readonly string[])[])[]
}

export interface ModelFilter {
  readonly capability?: string | null | undefined
  readonly name?: string | null | undefined
  readonly includeArchived?: boolean | null | undefined
}

/** Questions about models that join or page. */
export class ModelReader {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** In order of creation; without archived ones unless asked for. */
  async page(tenantId: string, filter: ModelFilter, args: PageArgs): Promise<Page<Model>> {
    const [afterId] = decodeCursor(args.after, 1) ?? []
    const rows = await this.#database.rows.model.findMany({
      where: {
        tenantId,
        ...(filter.capability == null ? {} : { capabilities: { has: filter.capability } }),
        ...(filter.name == null ? {} : { name: filter.name }),
        ...(filter.includeArchived ? {} : { archivedAt: null }),
        ...(afterId === undefined ? {} : { id: { gt: afterId } }),
      },
      orderBy: { id: 'asc' },
      take: args.first + 1,
      include: withPrice,
    })
    return pageOf(rows.map(modelOf), args, (model) => encodeCursor(model.id))
  }

  /** Routes with a target that uses the model, by environment and name; in the transaction that decides by them. */
  async findRoutesWith(transaction: Transaction, modelId: string): Promise<readonly RouteWithModel[]> {
    const rows = await transaction.rows.route.findMany({
      where: { targets: { some: { modelId } } },
      select: {
        name: true,
        environment: { select: { name: true } },
        targets: { select: { ruleId: true, modelId: true, model: { select: { capabilities: true } } } },
      },
      orderBy: [{ environment: { name: 'asc' } }, { name: 'asc' }],
    })
    return rows.map((row) => ({
      name: row.name,
      environmentName: row.environment.name,
      otherCapabilities: [
        ...new Set(row.targets.filter((target) => target.modelId === modelId).map(({ ruleId }) => ruleId)),
      ].map((ruleId) =>
        row.targets
          .filter((target) => target.ruleId === ruleId && target.modelId !== modelId)
          .map((target) => target.model.capabilities),
      ),
    }))
  }

  /** Those of `ids` that are the tenant's and not archived; they stay so until the transaction ends. */
  async findUsable(
    transaction: Transaction,
    tenantId: string,
    ids: readonly string[],
  ): Promise<ReadonlyMap<string, Model>> {
    await transaction.rows.$queryRaw`
      SELECT id FROM "Model" WHERE id = ANY(${[...new Set(ids)]}) AND "tenantId" = ${tenantId} ORDER BY id FOR SHARE`
    const rows = await transaction.rows.model.findMany({
      where: { id: { in: [...ids] }, tenantId, archivedAt: null },
      include: withPrice,
    })
    return new Map(rows.map((row) => [row.id, modelOf(row)]))
  }

  async isTenantActive(transaction: Transaction, tenantId: string): Promise<boolean> {
    return (await transaction.rows.tenant.count({ where: { id: tenantId, archivedAt: null } })) === 1
  }
}
