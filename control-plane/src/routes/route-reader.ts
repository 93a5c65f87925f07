import type { Database, Transaction } from '../database/database.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import type { Route } from './route.js'
import { routeOf, withRules } from './route-store.js'

export interface RouteFilter {
  readonly environmentId?: string | null | undefined
  readonly name?: string | null | undefined
  readonly providerId?: string | null | undefined
  readonly modelId?: string | null | undefined
}

/** What a route needs to know of the environment it belongs to. */
export interface EnvironmentOfRoute {
  readonly id: string
  readonly tenantId: string
  readonly name: string
  readonly permittedRegions: readonly string[]
  /** False: it or its tenant is archived. */
  readonly active: boolean
  /** Rises with everything that its decision tables are made of. */
  readonly intentRevision: bigint
}

/** Questions about routes that join or page. */
export class RouteReader {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** In order of creation. */
  async page(tenantId: string, filter: RouteFilter, args: PageArgs): Promise<Page<Route>> {
    const [afterId] = decodeCursor(args.after, 1) ?? []
    const { providerId, modelId } = filter
    const target = { ...(providerId == null ? {} : { providerId }), ...(modelId == null ? {} : { modelId }) }
    const uses = [
      ...(Object.keys(target).length === 0 ? [] : [{ targets: { some: target } }]),
      // Who is asked for no model serves none.
      ...(providerId == null || modelId != null ? [] : [{ classifierProviderId: providerId }]),
    ]
    const rows = await this.#database.rows.route.findMany({
      where: {
        tenantId,
        ...(filter.environmentId == null ? {} : { environmentId: filter.environmentId }),
        ...(filter.name == null ? {} : { name: filter.name }),
        ...(uses.length === 0 ? {} : { OR: uses }),
        ...(afterId === undefined ? {} : { id: { gt: afterId } }),
      },
      orderBy: { id: 'asc' },
      take: args.first + 1,
      include: withRules,
    })
    return pageOf(rows.map(routeOf), args, (route) => encodeCursor(route.id))
  }

  /** Those of `names` that are no route of the environment. */
  async unknownNames(environmentId: string, names: readonly string[]): Promise<readonly string[]> {
    const where = { environmentId, name: { in: [...names] } }
    const known = new Set(
      (await this.#database.rows.route.findMany({ where, select: { name: true } })).map((row) => row.name),
    )
    return names.filter((name) => !known.has(name))
  }

  /** The environment, or null; without a transaction as it is now, with one as it is under that transaction's locks. */
  async findEnvironment(id: string, transaction?: Transaction): Promise<EnvironmentOfRoute | null> {
    const row = await (transaction?.rows ?? this.#database.rows).environment.findUnique({
      where: { id },
      select: {
        ...{ id: true, tenantId: true, name: true, permittedRegions: true, archivedAt: true },
        intentRevision: true,
        tenant: { select: { archivedAt: true } },
      },
    })
    if (row === null) return null
    const { tenant, archivedAt, ...environment } = row
    return { ...environment, active: archivedAt === null && tenant.archivedAt === null }
  }
}
