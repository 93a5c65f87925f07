import type { Database, Transaction } from '../database/database.js'
import { decodeCursor, encodeCursor, type Page, type PageArgs, pageOf } from '../database/page.js'
import type { Provider } from './provider.js'
import { providerOf, withCredential } from './provider-store.js'

/** One route that has a target at a provider, or whose prompts it measures. */
export interface RouteAtProvider {
  readonly name: string
  readonly environmentName: string
  readonly permittedRegions: readonly string[]
}

export interface ProviderFilter {
  readonly kind?: string | null | undefined
  readonly region?: string | null | undefined
  readonly includeArchived?: boolean | null | undefined
}

/** Questions about providers that join or page. */
export class ProviderReader {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** In order of creation; without archived ones unless asked for. */
  async page(tenantId: string, filter: ProviderFilter, args: PageArgs): Promise<Page<Provider>> {
    const [afterId] = decodeCursor(args.after, 1) ?? []
    const rows = await this.#database.rows.provider.findMany({
      where: {
        tenantId,
        ...(filter.kind == null ? {} : { kind: filter.kind }),
        ...(filter.region == null ? {} : { region: filter.region }),
        ...(filter.includeArchived ? {} : { archivedAt: null }),
        ...(afterId === undefined ? {} : { id: { gt: afterId } }),
      },
      orderBy: { id: 'asc' },
      take: args.first + 1,
      include: withCredential,
    })
    return pageOf(rows.map(providerOf), args, (provider) => encodeCursor(provider.id))
  }

  /** Routes with a target at the provider, or with it as their classifier, by environment and name; in the transaction that decides by them. */
  async findRoutesAt(transaction: Transaction, providerId: string): Promise<readonly RouteAtProvider[]> {
    const rows = await transaction.rows.route.findMany({
      where: { OR: [{ targets: { some: { providerId } } }, { classifierProviderId: providerId }] },
      select: { name: true, environment: { select: { name: true, permittedRegions: true } } },
      orderBy: [{ environment: { name: 'asc' } }, { name: 'asc' }],
    })
    return rows.map((row) => ({
      name: row.name,
      environmentName: row.environment.name,
      permittedRegions: row.environment.permittedRegions,
    }))
  }

  /** Those of `ids` that are the tenant's and not archived; they stay so until the transaction ends. */
  async findUsable(
    transaction: Transaction,
    tenantId: string,
    ids: readonly string[],
  ): Promise<ReadonlyMap<string, Provider>> {
    await transaction.rows.$queryRaw`
      SELECT id FROM "Provider" WHERE id = ANY(${[...new Set(ids)]}) AND "tenantId" = ${tenantId} ORDER BY id FOR SHARE`
    const rows = await transaction.rows.provider.findMany({
      where: { id: { in: [...ids] }, tenantId, archivedAt: null },
      include: withCredential,
    })
    return new Map(rows.map((row) => [row.id, providerOf(row)]))
  }

  async isTenantActive(transaction: Transaction, tenantId: string): Promise<boolean> {
    return (await transaction.rows.tenant.count({ where: { id: tenantId, archivedAt: null } })) === 1
  }
}
