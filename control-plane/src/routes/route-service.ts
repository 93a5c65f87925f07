import type { z } from 'zod'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { RefusalError, throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { isPermitted, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database, Transaction } from '../database/database.js'
import type { Page, PageArgs } from '../database/page.js'
import { isUniqueViolation } from '../database/unique-violation.js'
import type { ModelReader } from '../models/model-reader.js'
import type { ProviderReader } from '../providers/provider-reader.js'
import { type Bell, bumpIntentRevisions } from '../tenancy/intent-revision.js'
import {
  auditRoute,
  completeDeadlines,
  completeTotal,
  createRouteInput,
  type Route,
  routesPerEnvironmentMax,
  type Target,
  type TargetInput,
  updateRouteInput,
} from './route.js'
import { findFlaw } from './route-consistency.js'
import type { EnvironmentOfRoute, RouteFilter, RouteReader } from './route-reader.js'
import type { RouteStore } from './route-store.js'

export interface RouteServiceOptions {
  readonly database: Database
  readonly routes: RouteStore
  readonly reader: RouteReader
  readonly providers: ProviderReader
  readonly models: ModelReader
  readonly audit: AuditStore
  readonly clock: Clock
  readonly bell: Bell
}

/** A route, and the intent revision of its environment from which on agents follow it. */
export interface RouteChange {
  readonly route: Route
  readonly intentRevision: bigint
}

/** Use cases of routes. A route that cannot work is refused here, with the path of what is wrong. */
export class RouteService {
  readonly #options: RouteServiceOptions

  /** For data loaders: null for routes that are not the actor's to see. */
  readonly byId = Object.freeze({
    load: async (actor: Actor, ids: readonly string[]): Promise<readonly (Route | null)[]> => {
      const found = await this.#options.routes.findMany(ids)
      const visible = found.filter((route) => isPermitted(actor, 'route.read', route.tenantId))
      const byId = new Map(visible.map((route) => [route.id, route]))
      return ids.map((id) => byId.get(id) ?? null)
    },
  })

  constructor(options: RouteServiceOptions) {
    this.#options = options
  }

  /** Null when there is none or it is not the actor's. */
  async find(actor: Actor, id: string): Promise<Route | null> {
    const [route] = await this.byId.load(actor, [id])
    return route ?? null
  }

  /** Of the named tenant, else of the actor's own. */
  async list(
    actor: Actor,
    tenantId: string | null | undefined,
    filter: RouteFilter,
    args: PageArgs,
  ): Promise<Page<Route>> {
    const scope = tenantScope(actor, tenantId, 'tenantId')
    requirePermission(actor, 'route.read', scope)
    return this.#options.reader.page(scope, filter, args)
  }

  /** Refuses `bad_input` with the path of what cannot work, `conflict` for a taken name, `limit_exceeded`. */
  async create(actor: Actor, input: z.input<typeof createRouteInput>): Promise<RouteChange> {
    const { environmentId, name, targets, totalTimeoutMs, unsupportedSettings } = checkInput(createRouteInput, input)
    const seen = await this.#options.reader.findEnvironment(environmentId)
    if (seen === null || !isPermitted(actor, 'route.read', seen.tenantId)) {
      return throwRefusal('not_found', 'no such environment', { field: 'input.environmentId' })
    }
    requirePermission(actor, 'route.write', seen.tenantId)
    return this.#change(environmentId, async (transaction, environment) => {
      const { routes } = this.#options
      if ((await routes.countOfEnvironment(transaction, environmentId)) >= routesPerEnvironmentMax) {
        throwRefusal('limit_exceeded', `an environment has at most ${routesPerEnvironmentMax} routes; delete one first`)
      }
      const total = completeTotal(totalTimeoutMs, targets)
      const route: Route = {
        id: newId('route', transaction.now.getTime()),
        ...{ tenantId: environment.tenantId, environmentId, name, totalTimeoutMs: total },
        targets: completeTargets(targets, total, [], transaction.now),
        unsupportedSettings,
        ...{ createdAt: transaction.now, rowVersion: 1 },
      }
      await this.#requireWorks(transaction, route, environment)
      await routes.insert(transaction, route)
      await this.#record(transaction, actor, 'route.create', null, route)
      return route
    })
  }

  /** Changes what is given; the name is what clients call, so it never changes. */
  async update(actor: Actor, input: z.input<typeof updateRouteInput>): Promise<RouteChange> {
    const { routeId, rowVersion, targets, totalTimeoutMs, unsupportedSettings } = checkInput(updateRouteInput, input)
    const { environmentId } = await this.#requireWritable(actor, routeId, 'input.routeId')
    return this.#change(environmentId, async (transaction, environment) => {
      const before = requireFound(await this.#options.routes.findLocked(transaction, routeId), 'input.routeId')
      if (rowVersion != null && rowVersion !== before.rowVersion) {
        throwRefusal('conflict', `changed meanwhile (version ${before.rowVersion}); read it again and repeat`, {
          field: 'input.rowVersion',
        })
      }
      const total = totalTimeoutMs ?? before.totalTimeoutMs
      const route: Route = {
        ...before,
        totalTimeoutMs: total,
        unsupportedSettings: unsupportedSettings ?? before.unsupportedSettings,
        targets: targets ? completeTargets(targets, total, before.targets, transaction.now) : before.targets,
        rowVersion: before.rowVersion + 1,
      }
      await this.#requireWorks(transaction, route, environment)
      await this.#options.routes.replace(transaction, route)
      await this.#record(transaction, actor, 'route.update', before, route)
      return route
    })
  }

  /** Requests for its name are refused as soon as agents have applied the returned revision. */
  async delete(actor: Actor, routeId: string): Promise<RouteChange> {
    const { environmentId } = await this.#requireWritable(actor, routeId, 'routeId')
    return this.#change(environmentId, async (transaction) => {
      const route = requireFound(await this.#options.routes.findLocked(transaction, routeId), 'routeId')
      await this.#options.routes.delete(transaction, routeId)
      await this.#record(transaction, actor, 'route.delete', route, null)
      return route
    })
  }

  async #requireWorks(transaction: Transaction, route: Route, environment: EnvironmentOfRoute): Promise<void> {
    const { tenantId } = environment
    // Providers before models, everywhere; both stay as they are until this transaction ends.
    const providers = await this.#options.providers.findUsable(
      transaction,
      tenantId,
      route.targets.map((target) => target.providerId),
    )
    const models = await this.#options.models.findUsable(
      transaction,
      tenantId,
      route.targets.map((target) => target.modelId),
    )
    const flaw = findFlaw(route, { environment, providers, models })
    if (flaw !== null) throw new RefusalError(flaw)
  }

  /** The route, of a tenant in which the actor may write; refuses `not_found` for another's, exactly as for none. */
  async #requireWritable(actor: Actor, routeId: string, field: string): Promise<Route> {
    const route = requireFound(await this.find(actor, routeId), field)
    requirePermission(actor, 'route.write', route.tenantId)
    return route
  }

  #record(
    transaction: Transaction,
    actor: Actor,
    action: string,
    before: Route | null,
    after: Route | null,
  ): Promise<void> {
    const { tenantId, id } = must(after ?? before, 'a change has a side')
    return this.#options.audit.append(transaction, {
      ...{ actor, tenantId, action, subjectKind: 'route', subjectId: id },
      ...(before === null ? {} : { before: auditRoute(before) }),
      ...(after === null ? {} : { after: auditRoute(after) }),
    })
  }

  /** One transaction that begins with the environment's lock; wakes the reconciler after the commit. */
  async #change(
    environmentId: string,
    work: (transaction: Transaction, environment: EnvironmentOfRoute) => Promise<Route>,
  ): Promise<RouteChange> {
    const { database, reader, clock, bell } = this.#options
    try {
      const change = await database.transaction(new Date(clock.nowMs()), async (transaction) => {
        const revisions = await bumpIntentRevisions(transaction, [environmentId])
        const environment = await reader.findEnvironment(environmentId, transaction)
        if (environment === null || !environment.active) {
          return throwRefusal('conflict', 'the environment is archived', { field: 'input.environmentId' })
        }
        const route = await work(transaction, environment)
        return { route, intentRevision: must(revisions.get(environmentId), 'its revision was just bumped') }
      })
      bell.ring()
      return change
    } catch (error) {
      if (isUniqueViolation(error)) {
        throwRefusal('conflict', 'input.name: the environment has a route of this name', { field: 'input.name' })
      }
      throw error
    }
  }
}

/** Targets with their deadlines; one that was there before (same provider, model and name) keeps its id in the evidence. */
function completeTargets(
  inputs: readonly TargetInput[],
  totalTimeoutMs: number,
  before: readonly Target[],
  now: Date,
): readonly Target[] {
  const free = [...before]
  return inputs.map((input) => {
    const upstreamModel = input.upstreamModel ?? null
    const index = free.findIndex(
      (target) =>
        target.providerId === input.providerId &&
        target.modelId === input.modelId &&
        target.upstreamModel === upstreamModel,
    )
    const [same] = index === -1 ? [] : free.splice(index, 1)
    return {
      id: same?.id ?? newId('target', now.getTime()),
      ...{ providerId: input.providerId, modelId: input.modelId, upstreamModel },
      ...completeDeadlines(input, totalTimeoutMs),
    }
  })
}

function requireFound(route: Route | null, field: string): Route {
  return route ?? throwRefusal('not_found', 'no such route', { field })
}
