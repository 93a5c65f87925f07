import { must } from '../../../proto/std/assert.js'
import type { Database, Transaction } from '../database/database.js'
import type { Prisma, Route as RouteRow, RouteTarget as TargetRow } from '../database/generated/client.js'
import { type Route, type Target, unsupportedSettingsChoices } from './route.js'

/** The targets, in the order they are tried. */
export const withTargets = { targets: { orderBy: { position: 'asc' } } } as const satisfies Prisma.RouteInclude

type Row = RouteRow & { targets: TargetRow[] }

/** Rows of `Route` with its targets: one aggregate, read and written whole. */
export class RouteStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async findMany(ids: readonly string[]): Promise<readonly Route[]> {
    const rows = await this.#database.rows.route.findMany({ where: { id: { in: [...ids] } }, include: withTargets })
    return rows.map(routeOf)
  }

  /** Locks the row until the transaction ends; null when it was deleted meanwhile. */
  async findLocked(transaction: Transaction, id: string): Promise<Route | null> {
    await transaction.rows.$queryRaw`SELECT id FROM "Route" WHERE id = ${id} FOR UPDATE`
    const row = await transaction.rows.route.findUnique({ where: { id }, include: withTargets })
    return row === null ? null : routeOf(row)
  }

  countOfEnvironment(transaction: Transaction, environmentId: string): Promise<number> {
    return transaction.rows.route.count({ where: { environmentId } })
  }

  async insert(transaction: Transaction, route: Route): Promise<void> {
    const { targets, ...row } = route
    await transaction.rows.route.create({ data: { ...row, targets: { create: targets.map(targetRow) } } })
  }

  /** Writes total, conduct and targets; the caller has raised `rowVersion`. */
  async replace(transaction: Transaction, route: Route): Promise<void> {
    await transaction.rows.routeTarget.deleteMany({ where: { routeId: route.id } })
    await transaction.rows.route.update({
      where: { id: route.id },
      data: {
        totalTimeoutMs: route.totalTimeoutMs,
        unsupportedSettings: route.unsupportedSettings,
        rowVersion: route.rowVersion,
        targets: { create: route.targets.map(targetRow) },
      },
    })
  }

  async delete(transaction: Transaction, id: string): Promise<void> {
    await transaction.rows.route.delete({ where: { id } })
  }
}

function targetRow(target: Target, position: number) {
  return { ...target, position }
}

export function routeOf(row: Row): Route {
  const { id, tenantId, environmentId, name, totalTimeoutMs, createdAt, rowVersion } = row
  const unsupportedSettings = must(
    unsupportedSettingsChoices.find((choice) => choice === row.unsupportedSettings),
    `route ${id} has a known conduct`,
  )
  return {
    ...{ id, tenantId, environmentId, name, totalTimeoutMs, unsupportedSettings, createdAt, rowVersion },
    targets: row.targets.map(({ routeId, position, ...target }) => target),
  }
}
