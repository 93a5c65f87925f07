import type { z } from 'zod'
import { must } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { throwRefusal } from '../../../proto/std/refusal.js'
import { checkInput } from '../access/check-input.js'
import { isPermitted, requirePermission } from '../access/permission.js'
import type { Actor } from '../access/principal.js'
import { tenantScope } from '../access/tenant-scope.js'
import type { AuditStore } from '../audit/audit-store.js'
import type { Database, Transaction } from '../database/database.js'
import type { Route } from '../routes/route.js'
import type { RouteReader } from '../routes/route-reader.js'
import type { RouteService } from '../routes/route-service.js'
import { type Bell, bumpIntentRevisions } from '../tenancy/intent-revision.js'
import {
  afterPurge,
  auditPurge,
  type CachePurge,
  type CachePurgeChange,
  type PurgeScope,
  purgeCacheInput,
  scopesOf,
} from './cache-purge.js'
import { type CacheStatistics, cacheStatisticsInput, sumOf } from './cache-statistics.js'
import type { CachingReader } from './caching-reader.js'
import type { CachingStore } from './caching-store.js'
import {
  auditRouteCache,
  completeRouteCache,
  type RouteCache,
  type RouteCacheChange,
  setRouteCacheInput,
} from './route-cache.js'

export interface CachingServiceOptions {
  readonly database: Database
  readonly caches: CachingStore
  readonly reader: CachingReader
  readonly routes: Pick<RouteService, 'find' | 'byId'>
  readonly environments: Pick<RouteReader, 'findEnvironment'>
  readonly audit: AuditStore
  readonly clock: Clock
  readonly bell: Bell
}

/** Use cases of what agents keep of answers and give again. */
export class CachingService {
  readonly #options: CachingServiceOptions

  /** For data loaders: by route; null where nothing is kept, or the route is not the actor's to see. */
  readonly byRoute = Object.freeze({
    load: async (actor: Actor, routeIds: readonly string[]): Promise<readonly (RouteCache | null)[]> => {
      const routes = await this.#options.routes.byId.load(actor, routeIds)
      const visible = routes.flatMap((route) =>
        route !== null && isPermitted(actor, 'cache.read', route.tenantId) ? [route.id] : [],
      )
      const found = new Map((await this.#options.caches.findMany(visible)).map((cache) => [cache.routeId, cache]))
      return routeIds.map((routeId) => found.get(routeId) ?? null)
    },
  })

  /** For data loaders, of routes that `byRoute` gave: whether there is a route to compare questions by. */
  readonly isComparing = Object.freeze({
    load: async (_actor: Actor, routeIds: readonly string[]): Promise<readonly boolean[]> => {
      const ready = await this.#options.reader.findComparing(routeIds)
      return routeIds.map((routeId) => ready.has(routeId))
    },
  })

  constructor(options: CachingServiceOptions) {
    this.#options = options
  }

  /** Purges that agents of the environment know of, the oldest first. */
  async listPurges(actor: Actor, environmentId: string): Promise<readonly CachePurge[]> {
    const environment = await this.#options.environments.findEnvironment(environmentId)
    if (environment === null) return throwRefusal('not_found', 'no such environment', { field: 'environmentId' })
    requirePermission(actor, 'cache.read', environment.tenantId, {
      message: 'no such environment',
      field: 'environmentId',
    })
    return this.#options.caches.findPurges(environmentId)
  }

  /** The route's whole policy: what is left out is as a new one has it. */
  async set(actor: Actor, input: z.input<typeof setRouteCacheInput>): Promise<RouteCacheChange> {
    const checked = checkInput(setRouteCacheInput, input)
    return this.#change(actor, checked.routeId, 'input.routeId', async (transaction, route) => {
      const { reader, caches } = this.#options
      const cache = completeRouteCache(checked, transaction.now)
      if (cache.semantic !== null) await this.#requireEmbeddings(transaction, route, cache.semantic.embeddingRoute)
      const [unknown] = await reader.unknownApiKeys(transaction, route.environmentId, cache.detailApiKeyIds)
      if (unknown !== undefined) {
        const index = checked.detailApiKeyIds?.indexOf(unknown) ?? 0
        const field = `input.detailApiKeyIds[${index}]`
        throwRefusal('bad_input', `${field}: no such key in the route's environment`, { field })
      }
      const before = await caches.find(transaction, route.id)
      await caches.put(transaction, cache)
      await this.#record(transaction, actor, route, { action: 'route-cache.set', before, after: cache })
      return cache
    })
  }

  /** Nothing of the route is kept or given any more. Refuses `not_found` where nothing is. */
  async remove(actor: Actor, routeId: string): Promise<RouteCacheChange> {
    return this.#change(actor, routeId, 'routeId', async (transaction, route) => {
      const { caches } = this.#options
      const before = await caches.find(transaction, routeId)
      if (before === null) return throwRefusal('not_found', 'the route keeps nothing', { field: 'routeId' })
      await caches.remove(transaction, routeId)
      await this.#record(transaction, actor, route, { action: 'route-cache.remove', before, after: null })
      return null
    })
  }

  /**
   * Kept answers that fit are not given any more once agents have applied the returned revisions. Of one environment, or of
   * all that a tenant has in service.
   */
  async purge(actor: Actor, input: z.input<typeof purgeCacheInput>): Promise<CachePurgeChange> {
    const checked = checkInput(purgeCacheInput, input)
    const { database, reader, clock, bell } = this.#options
    const { tenantId, environmentId } = await this.#scopeOf(actor, checked)
    const scopes = scopesOf(checked)
    const change = await database.transaction(new Date(clock.nowMs()), async (transaction) => {
      const active = await reader.activeEnvironmentIds(transaction, tenantId)
      const environmentIds = environmentId === null ? active : active.filter((id) => id === environmentId)
      if (environmentIds.length === 0) {
        throwRefusal('conflict', 'nothing to purge: what is named is archived', { field: 'input.environmentId' })
      }
      const intentRevisions = await bumpIntentRevisions(transaction, environmentIds)
      const purges: CachePurge[] = []
      for (const id of environmentIds) purges.push(...(await this.#purgeOne(transaction, actor, tenantId, id, scopes)))
      return { at: transaction.now, purges, intentRevisions }
    })
    bell.ring()
    return change
  }

  /** Hit rate and savings, by route. Of the named tenant, else of the actor's own. */
  async findStatistics(actor: Actor, input: z.input<typeof cacheStatisticsInput>): Promise<CacheStatistics> {
    const { tenantId, environmentId, routeId, from, to } = checkInput(cacheStatisticsInput, input)
    const scope = tenantScope(actor, tenantId)
    requirePermission(actor, 'usage.read', scope)
    const question = { tenantId: scope, environmentId: environmentId ?? null, routeId: routeId ?? null, from, to }
    const routes = await this.#options.reader.findStatistics(question)
    return { from, to, routes, ...sumOf(routes) }
  }

  async #purgeOne(
    transaction: Transaction,
    actor: Actor,
    tenantId: string,
    environmentId: string,
    scopes: readonly PurgeScope[],
  ): Promise<readonly CachePurge[]> {
    const { caches, audit } = this.#options
    const { now } = transaction
    const added = scopes.map((scope) => ({
      ...{ id: newId('cachePurge', now.getTime()), environmentId, at: now, ...scope },
      createdBy: actor.principal.subject,
    }))
    const before = await caches.findPurges(environmentId, transaction)
    await caches.replacePurges(transaction, before, afterPurge(before, added, now))
    for (const purge of added) {
      await audit.append(transaction, {
        ...{ actor, tenantId, action: 'cache.purge', subjectKind: 'cache', subjectId: environmentId },
        after: auditPurge(purge),
      })
    }
    return added
  }

  /** Of a tenant in which the actor may purge; another's things are not there. */
  async #scopeOf(
    actor: Actor,
    { tenantId, environmentId, routeId }: z.output<typeof purgeCacheInput>,
  ): Promise<{ readonly tenantId: string; readonly environmentId: string | null }> {
    const { environments, routes } = this.#options
    if (routeId != null) {
      const route = await routes.find(actor, routeId)
      const missing = { message: 'no such route', field: 'input.routeId' }
      if (route === null || (environmentId != null && route.environmentId !== environmentId)) {
        return throwRefusal('not_found', missing.message, { field: missing.field })
      }
      requirePermission(actor, 'cache.purge', route.tenantId, missing)
      return { tenantId: route.tenantId, environmentId: route.environmentId }
    }
    if (environmentId != null) {
      const environment = await environments.findEnvironment(environmentId)
      const missing = { message: 'no such environment', field: 'input.environmentId' }
      if (environment === null) return throwRefusal('not_found', missing.message, { field: missing.field })
      requirePermission(actor, 'cache.purge', environment.tenantId, missing)
      return { tenantId: environment.tenantId, environmentId }
    }
    const scope = tenantScope(actor, tenantId)
    requirePermission(actor, 'cache.purge', scope, { message: 'no such tenant', field: 'input.tenantId' })
    return { tenantId: scope, environmentId: null }
  }

  async #requireEmbeddings(transaction: Transaction, route: Route, name: string): Promise<void> {
    if (await this.#options.reader.makesEmbeddings(route.environmentId, name, transaction)) return
    const field = 'input.semantic.embeddingRoute'
    throwRefusal('bad_input', `${field}: no route of that name in the environment makes embeddings`, { field })
  }

  #record(
    transaction: Transaction,
    actor: Actor,
    { tenantId, id }: Route,
    change: { action: string; before: RouteCache | null; after: RouteCache | null },
  ): Promise<void> {
    const { action, before, after } = change
    return this.#options.audit.append(transaction, {
      ...{ actor, tenantId, action, subjectKind: 'route-cache', subjectId: id },
      ...(before === null ? {} : { before: auditRouteCache(before) }),
      ...(after === null ? {} : { after: auditRouteCache(after) }),
    })
  }

  /** One transaction that begins with the environment's lock; wakes the reconciler after the commit. */
  async #change(
    actor: Actor,
    routeId: string,
    field: string,
    work: (transaction: Transaction, route: Route) => Promise<RouteCache | null>,
  ): Promise<RouteCacheChange> {
    const { database, routes, environments, clock, bell } = this.#options
    const missing = { message: 'no such route', field }
    const route = await routes.find(actor, routeId)
    if (route === null) return throwRefusal('not_found', missing.message, { field })
    requirePermission(actor, 'cache.write', route.tenantId, missing)
    const { environmentId } = route
    const change = await database.transaction(new Date(clock.nowMs()), async (transaction) => {
      const revisions = await bumpIntentRevisions(transaction, [environmentId])
      const environment = await environments.findEnvironment(environmentId, transaction)
      if (environment === null || !environment.active) {
        return throwRefusal('conflict', 'the environment of the route is archived', { field })
      }
      // Under the environment's lock a route comes and goes no more.
      if (!(await this.#options.reader.hasRoute(transaction, routeId))) {
        return throwRefusal('not_found', missing.message, { field })
      }
      const cache = await work(transaction, route)
      return { routeId, cache, intentRevision: must(revisions.get(environmentId), 'its revision was just bumped') }
    })
    bell.ring()
    return change
  }
}
