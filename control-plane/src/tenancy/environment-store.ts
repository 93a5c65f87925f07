import { must } from '../../../proto/std/assert.js'
import type { Database, Transaction } from '../database/database.js'
import type { Environment as EnvironmentRow } from '../database/generated/client.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import { type Environment, routingPreferences } from './environment.js'

/** Rows of environments. `intentRevision` is changed by `bumpIntentRevisions` only. */
export class EnvironmentStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async find(id: string): Promise<Environment | null> {
    const row = await this.#database.rows.environment.findUnique({ where: { id } })
    return row === null ? null : environmentOf(row)
  }

  async findMany(ids: readonly string[]): Promise<readonly Environment[]> {
    const rows = await this.#database.rows.environment.findMany({ where: { id: { in: [...ids] } } })
    return rows.map(environmentOf)
  }

  /** In order of creation. */
  async page(args: PageArgs, tenantId: string): Promise<Page<Environment>> {
    const [afterId] = decodeCursor(args.after, 1) ?? []
    const rows = await this.#database.rows.environment.findMany({
      where: { tenantId, ...(afterId === undefined ? {} : { id: { gt: afterId } }) },
      orderBy: { id: 'asc' },
      take: args.first + 1,
    })
    return pageOf(rows.map(environmentOf), args, (row) => encodeCursor(row.id))
  }

  /** Locks the row until the transaction ends. */
  async findLocked(transaction: Transaction, id: string): Promise<Environment | null> {
    await transaction.rows.$queryRaw`SELECT id FROM "Environment" WHERE id = ${id} FOR UPDATE`
    const row = await transaction.rows.environment.findUnique({ where: { id } })
    return row === null ? null : environmentOf(row)
  }

  /** Ids of the tenant's environments that are not archived. */
  async activeIds(transaction: Transaction, tenantId: string): Promise<readonly string[]> {
    const where = { tenantId, archivedAt: null }
    const rows = await transaction.rows.environment.findMany({ where, select: { id: true }, orderBy: { id: 'asc' } })
    return rows.map((row) => row.id)
  }

  async insert(transaction: Transaction, environment: Environment): Promise<void> {
    await transaction.rows.environment.create({
      data: { ...environment, permittedRegions: [...environment.permittedRegions] },
    })
  }

  async update(transaction: Transaction, environment: Environment): Promise<void> {
    const { id, permittedRegions, routingPreference, archivedAt } = environment
    await transaction.rows.environment.update({
      where: { id },
      data: { permittedRegions: [...permittedRegions], routingPreference, archivedAt },
    })
  }

  async archive(transaction: Transaction, ids: readonly string[]): Promise<void> {
    await transaction.rows.environment.updateMany({
      where: { id: { in: [...ids] }, archivedAt: null },
      data: { archivedAt: transaction.now },
    })
  }

  /** A route of the environment with a target or classifier whose provider is in none of `regions`, or null. */
  async findRouteOutside(
    transaction: Transaction,
    environmentId: string,
    regions: readonly string[],
  ): Promise<{ readonly routeName: string; readonly providerName: string; readonly region: string } | null> {
    const outside = { region: { notIn: [...regions] } }
    const provider = { select: { name: true, region: true } } as const
    const target = await transaction.rows.routeTarget.findFirst({
      where: { route: { environmentId }, provider: outside },
      select: { route: { select: { name: true } }, provider },
      orderBy: [{ routeId: 'asc' }, { position: 'asc' }],
    })
    if (target !== null) {
      return { routeName: target.route.name, providerName: target.provider.name, region: target.provider.region }
    }
    const route = await transaction.rows.route.findFirst({
      where: { environmentId, classifierProvider: outside },
      select: { name: true, classifierProvider: provider },
      orderBy: { id: 'asc' },
    })
    if (!route?.classifierProvider) return null
    return {
      routeName: route.name,
      providerName: route.classifierProvider.name,
      region: route.classifierProvider.region,
    }
  }
}

function environmentOf(row: EnvironmentRow): Environment {
  const routingPreference = must(
    routingPreferences.find((one) => one === row.routingPreference),
    'a preference is one of three: a check of the table',
  )
  return { ...row, routingPreference }
}
