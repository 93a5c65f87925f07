import { must } from '../../../proto/std/assert.js'
import type { Database, Transaction } from '../database/database.js'
import type {
  Prisma,
  Route as RouteRow,
  RouteRule as RuleRow,
  RouteTarget as TargetRow,
} from '../database/generated/client.js'
import { type Classifier, type Hedging, type LastResort, type Route, unsupportedSettingsChoices } from './route.js'
import { type Rule, stickyNames, strategies, thresholdDefaults } from './rule.js'
import { type Breaker, type Target, tiers } from './target.js'

/** Rules in the order they are looked at, targets in the order they are tried. */
export const withRules = {
  rules: { orderBy: { position: 'asc' } },
  targets: { orderBy: { position: 'asc' } },
} as const satisfies Prisma.RouteInclude

type Row = RouteRow & { rules: RuleRow[]; targets: TargetRow[] }

/** Rows of `Route` with its rules and targets: one aggregate, read and written whole. */
export class RouteStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async findMany(ids: readonly string[]): Promise<readonly Route[]> {
    const rows = await this.#database.rows.route.findMany({ where: { id: { in: [...ids] } }, include: withRules })
    return rows.map(routeOf)
  }

  /** Locks the row until the transaction ends; null when it was deleted meanwhile. */
  async findLocked(transaction: Transaction, id: string): Promise<Route | null> {
    await transaction.rows.$queryRaw`SELECT id FROM "Route" WHERE id = ${id} FOR UPDATE`
    const row = await transaction.rows.route.findUnique({ where: { id }, include: withRules })
    return row === null ? null : routeOf(row)
  }

  /** As they are in the transaction, without locking them. */
  async findWithin(transaction: Transaction, ids: readonly string[]): Promise<readonly Route[]> {
    const rows = await transaction.rows.route.findMany({ where: { id: { in: [...ids] } }, include: withRules })
    return rows.map(routeOf)
  }

  countOfEnvironment(transaction: Transaction, environmentId: string): Promise<number> {
    return transaction.rows.route.count({ where: { environmentId } })
  }

  /** Names of routes that take their defaults from this one, in order. */
  async findDependents(transaction: Transaction, id: string): Promise<readonly string[]> {
    const where = { defaultRouteId: id }
    const rows = await transaction.rows.route.findMany({ where, select: { name: true }, orderBy: { name: 'asc' } })
    return rows.map((row) => row.name)
  }

  async insert(transaction: Transaction, route: Route): Promise<void> {
    const { id, tenantId, environmentId, name, createdAt } = route
    await transaction.rows.route.create({ data: { id, tenantId, environmentId, name, createdAt, ...conductOf(route) } })
    await this.#insertRules(transaction, route)
  }

  /** Writes everything that can change; the caller has raised `rowVersion`. */
  async replace(transaction: Transaction, route: Route): Promise<void> {
    const where = { routeId: route.id }
    await transaction.rows.routeTarget.deleteMany({ where })
    await transaction.rows.routeRule.deleteMany({ where })
    await transaction.rows.route.update({ where: { id: route.id }, data: conductOf(route) })
    await this.#insertRules(transaction, route)
  }

  async delete(transaction: Transaction, id: string): Promise<void> {
    await transaction.rows.route.delete({ where: { id } })
  }

  async #insertRules(transaction: Transaction, { id: routeId, rules }: Route): Promise<void> {
    await transaction.rows.routeRule.createMany({
      data: rules.map(({ targets: _, complexityLow, complexityHigh, ...rule }, position) => ({
        ...{ ...rule, routeId, position },
        complexityLowPpm: ppmOf(complexityLow),
        complexityHighPpm: ppmOf(complexityHigh),
      })),
    })
    const targets = rules.flatMap((rule) => rule.targets.map((target) => ({ target, ruleId: rule.id })))
    await transaction.rows.routeTarget.createMany({
      data: targets.map(({ target: { breaker, tasks, ...target }, ruleId }, position) => ({
        ...{ ...target, routeId, ruleId, position, tasks: [...tasks] },
        breakerFailures: breaker?.failures ?? null,
        breakerOpenMs: breaker?.openMs ?? null,
        breakerFailurePpm: breaker && ppmOf(breaker.failureRatio),
        breakerWindowMs: breaker?.windowMs ?? null,
        breakerRequestsMin: breaker?.requestsMin ?? null,
      })),
    })
  }
}

function conductOf(route: Route) {
  const { totalTimeoutMs, unsupportedSettings, defaultRouteId, lastResort, hedging, classifier, rowVersion } = route
  return {
    ...{ totalTimeoutMs, unsupportedSettings, defaultRouteId, rowVersion },
    lastResortCachedAgeMaxSeconds: lastResort?.cachedAgeMaxSeconds ?? null,
    lastResortApology: lastResort?.apology ?? null,
    lastResortSafeAnswer: lastResort?.safeAnswer ?? null,
    hedgingBudgetPpm: hedging && ppmOf(hedging.budgetRatio),
    hedgingDelayMinMs: hedging?.delayMinMs ?? null,
    classifierProviderId: classifier?.providerId ?? null,
    classifierTimeoutMs: classifier?.timeoutMs ?? null,
  }
}

function ppmOf(ratio: number): number {
  return Math.round(ratio * 1_000_000)
}

export function routeOf(row: Row): Route {
  const { id, tenantId, environmentId, name, totalTimeoutMs, defaultRouteId, createdAt, rowVersion } = row
  return {
    ...{ id, tenantId, environmentId, name, totalTimeoutMs, defaultRouteId, createdAt, rowVersion },
    unsupportedSettings: known(row.unsupportedSettings, unsupportedSettingsChoices),
    ...{ rules: rulesOf(row), lastResort: lastResortOf(row), hedging: hedgingOf(row) },
    classifier: classifierOf(row),
  }
}

/**
 * A release without rules writes targets that name none, and leaves rules behind that have no targets any more: such targets
 * are one rule that always applies, under the same id that the migration gave it.
 */
function rulesOf(row: Row): readonly Rule[] {
  if (row.targets.some(({ ruleId }) => ruleId === null)) {
    const plain = { name: 'rule-1', condition: null, strategy: 'ordered', stickyBy: null } as const
    return [{ id: plainRuleId(row.id), ...plain, ...thresholdDefaults, targets: row.targets.map(targetOf) }]
  }
  return row.rules.map((rule) => ({
    ...{ id: rule.id, name: rule.name, condition: rule.condition },
    strategy: known(rule.strategy, strategies),
    stickyBy: rule.stickyBy === null ? null : known(rule.stickyBy, stickyNames),
    complexityLow: rule.complexityLowPpm / 1_000_000,
    complexityHigh: rule.complexityHighPpm / 1_000_000,
    targets: row.targets.filter(({ ruleId }) => ruleId === rule.id).map(targetOf),
  }))
}

function plainRuleId(routeId: string): string {
  return `rul_${routeId.slice(4)}`
}

function targetOf(row: TargetRow): Target {
  const { routeId: _route, ruleId: _rule, position: _position, ...target } = row
  const { breakerFailures, breakerOpenMs, breakerFailurePpm, breakerWindowMs, breakerRequestsMin, ...rest } = target
  const breaker: Breaker | null =
    breakerFailures === null
      ? null
      : {
          failures: breakerFailures,
          openMs: must(breakerOpenMs, wholeBreaker),
          failureRatio: must(breakerFailurePpm, wholeBreaker) / 1_000_000,
          windowMs: must(breakerWindowMs, wholeBreaker),
          requestsMin: must(breakerRequestsMin, wholeBreaker),
        }
  return { ...rest, tier: row.tier === null ? null : known(row.tier, tiers), breaker }
}

const wholeBreaker = 'a breaker is there whole or not at all: a check of the table'

function lastResortOf(row: RouteRow): LastResort | null {
  const { lastResortCachedAgeMaxSeconds, lastResortApology, lastResortSafeAnswer } = row
  if (lastResortCachedAgeMaxSeconds === null) return null
  return {
    cachedAgeMaxSeconds: lastResortCachedAgeMaxSeconds,
    ...{ apology: lastResortApology ?? '', safeAnswer: lastResortSafeAnswer ?? '' },
  }
}

function hedgingOf({ hedgingBudgetPpm, hedgingDelayMinMs }: RouteRow): Hedging | null {
  if (hedgingBudgetPpm === null) return null
  return { budgetRatio: hedgingBudgetPpm / 1_000_000, delayMinMs: hedgingDelayMinMs ?? 0 }
}

function classifierOf({ classifierProviderId, classifierTimeoutMs }: RouteRow): Classifier | null {
  if (classifierProviderId === null) return null
  const timeoutMs = must(classifierTimeoutMs, 'a classifier is there whole or not at all: a check of the table')
  return { providerId: classifierProviderId, timeoutMs }
}

/** A word of a closed set that a check of the table holds. */
function known<const Word extends string>(word: string, words: readonly Word[]): Word {
  return must(
    words.find((one) => one === word),
    `${word} is one of ${words.join(', ')}`,
  )
}
