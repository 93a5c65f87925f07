import type { CachePolicy__Output } from '../../../proto/gen/switchyard/v1/CachePolicy.js'
import type { Resource__Output } from '../../../proto/gen/switchyard/v1/Resource.js'
import type { RouteResource__Output } from '../../../proto/gen/switchyard/v1/RouteResource.js'
import {
  type CompiledStructure,
  compileCachePurges,
  compileResource,
  decodedResource,
  type EnvironmentIntent,
  type RouteCacheRow,
  type RouteRow,
} from './compile-snapshot.js'
import { findSectionFlaws } from './section-check.js'
import type { CompiledResource } from './snapshot.js'

/**
 * What a section that is held back may go on to serve. Its newest intent cannot be compiled, so it keeps what it has; but
 * what that intent has *taken away* must not outlive it: a region that is no longer permitted, an archived provider or
 * model, a route or target or classifier or key that is gone, a route's leave to keep answers as it did. Those are left out,
 * never is anything added or changed for the wider, and what contradicts itself afterwards goes as a whole: closed is the way
 * to fail. Pure, and doing it twice does nothing more.
 *
 * `held` itself when there is nothing to take away.
 */
export function withdrawFrom(
  section: string,
  held: readonly CompiledResource[],
  intent: EnvironmentIntent,
): readonly CompiledResource[] {
  const keys = new Map(intent.apiKeys.map((key) => [key.name, key]))
  const structure = held.filter(({ name }) => !isKey(name)).map((resource) => decodedResource(section, resource))
  const narrowed = new Map(narrowStructure(section, structure, intent).map(({ name, resource }) => [name, resource]))
  const before = new Map(structure.map(({ name, resource }) => [name, resource]))
  let same = true
  const kept = held.flatMap((resource): CompiledResource[] => {
    const { name } = resource
    if (isKey(name)) {
      // A key is what its row says: it may do less now, and whatever else it may do is bound by the routes that are left.
      const now = keys.get(name)
      if (now === undefined || !now.hash.equals(resource.hash)) same = false
      return now === undefined ? [] : [now.hash.equals(resource.hash) ? resource : now]
    }
    const now = narrowed.get(name)
    if (now === before.get(name)) return [resource]
    same = false
    return now === undefined ? [] : [compileResource(name, now)]
  })
  return same ? held : kept
}

const isKey = (name: string) => name.startsWith('api_key/')

/** Resources that stay as they are stay the same objects. */
function narrowStructure(section: string, held: CompiledStructure, intent: EnvironmentIntent): CompiledStructure {
  const regions = new Set(intent.environment.permittedRegions)
  const permitted = new Set(intent.providers.filter(({ region }) => regions.has(region)).map(({ id }) => id))
  const providers = new Set(
    held.flatMap(({ resource: { provider } }) =>
      provider && permitted.has(provider.id) && regions.has(provider.region) ? [provider.id] : [],
    ),
  )
  const kept = new Map(
    held.flatMap(({ name, resource }) => {
      const route = resource.route && narrowRoute(resource.route, providers, intent)
      return route ? [[name, { resource, route }] as const] : []
    }),
  )
  const ids = new Set([...kept.values()].map(({ route }) => route.id))
  const routes = new Map(
    [...kept].map(([name, { resource, route }]) => {
      const narrowed = withoutLostDefaults(route, ids)
      return [name, narrowed === resource.route ? resource : { ...resource, route: narrowed }] as const
    }),
  )
  const targets = [...routes.values()].flatMap(({ route }) => route?.rules.flatMap((rule) => rule.targets) ?? [])
  const used = new Set(targets.flatMap(({ providerId, modelId }) => [providerId, modelId]))
  for (const { route } of routes.values()) if (route?.classifier) used.add(route.classifier.providerId)
  const narrowed = held.flatMap(({ name, resource }) => {
    const { environment, provider, model, route } = resource
    if (route) return [routes.get(name) ?? []].flat().map((kept) => ({ name, resource: kept }))
    if (provider || model) return used.has(provider?.id ?? model?.id ?? '') ? [{ name, resource }] : []
    return [{ name, resource: environment ? narrowEnvironment(resource, environment, intent) : resource }]
  })
  if (findSectionFlaws(section, narrowed).length === 0) return narrowed
  return narrowed.filter(({ resource }) => resource.environment)
}

/** The route with the targets that intent still names and permits, itself when these are all; null when none is left. */
function narrowRoute(
  route: RouteResource__Output,
  providers: ReadonlySet<string>,
  intent: EnvironmentIntent,
): RouteResource__Output | null {
  const wanted = intent.routes.find(({ id, name }) => id === route.id && name === route.name)
  if (wanted === undefined) return null
  const models = new Set(intent.models.map(({ id }) => id))
  const named = new Set(
    wanted.rules.flatMap(({ targets }) => targets.map(({ providerId, modelId }) => `${providerId} ${modelId}`)),
  )
  const rules = route.rules.flatMap((rule) => {
    const targets = rule.targets.filter(
      ({ providerId, modelId }) =>
        providers.has(providerId) && models.has(modelId) && named.has(`${providerId} ${modelId}`),
    )
    if (targets.length === rule.targets.length) return [rule]
    return targets.length === 0 ? [] : [{ ...rule, targets }]
  })
  if (rules.length === 0) return null
  const isWhole = rules.length === route.rules.length && rules.every((rule, index) => rule === route.rules[index])
  const keeps = route.cache === null || isCacheOf(route.cache, wanted.cache)
  const asks = isAsked(route.classifier, wanted, providers)
  if (isWhole && keeps && asks) return route
  return {
    ...{ ...route, rules: isWhole ? route.rules : rules, cache: keeps ? route.cache : null },
    classifier: asks ? route.classifier : null,
  }
}

/** Whether prompts may still go to the classifier, if there is one: the newest intent names it, and permits where it is. */
function isAsked(
  classifier: RouteResource__Output['classifier'],
  { classifierProviderId }: RouteRow,
  providers: ReadonlySet<string>,
): boolean {
  if (!classifier) return true
  return classifier.providerId === classifierProviderId && providers.has(classifier.providerId)
}

/**
 * Whether what is kept of a route's answers is still what its newest intent says. Where it is anything else nothing is kept
 * or given: who shares what with whom, and for how long, is not to be wider than it was last said to be, and which of two
 * policies is the wider one is not asked.
 */
function isCacheOf(cache: CachePolicy__Output, row: RouteCacheRow | null): boolean {
  if (row === null) return false
  const { semantic } = cache
  const ttls = Object.entries(row.ttls)
  const seconds = new Map(cache.ttls.map(({ promptClass, seconds }) => [promptClass, seconds]))
  const isComparing = row.semanticThresholdPpm !== null && row.semanticEmbeddingRoute !== null
  const isSame: Readonly<Record<keyof CachePolicy__Output, boolean>> = {
    anyTemperature: cache.anyTemperature === row.anyTemperature,
    sharedBy: cache.sharedBy === row.sharedBy,
    ttls: ttls.length === seconds.size && ttls.every(([promptClass, ttl]) => seconds.get(promptClass) === ttl),
    ttlSeconds: cache.ttlSeconds === row.ttlSeconds,
    ageMaxSeconds: cache.ageMaxSeconds === row.ageMaxSeconds,
    staleSeconds: cache.staleSeconds === row.staleSeconds,
    shared: cache.shared === row.shared,
    semantic: isComparing
      ? semantic?.thresholdPpm === row.semanticThresholdPpm && semantic.embeddingRoute === row.semanticEmbeddingRoute
      : semantic === null,
    detailApiKeyIds: areSame(cache.detailApiKeyIds, row.detailApiKeyIds),
    tags: areSame(cache.tags, row.tags),
  }
  return Object.values(isSame).every((same) => same)
}

function areSame(some: readonly string[], others: readonly string[]): boolean {
  const all = new Set(others)
  return new Set(some).size === all.size && some.every((one) => all.has(one))
}

/** Rules behind its own that are gone with their route leave it with its own. */
function withoutLostDefaults(route: RouteResource__Output, ids: ReadonlySet<string>): RouteResource__Output {
  return route.defaultRouteId === '' || ids.has(route.defaultRouteId) ? route : { ...route, defaultRouteId: '' }
}

/** Fewer regions; and purges take away, so the newest intent's are in effect whatever else of it is not. */
function narrowEnvironment(
  resource: Resource__Output,
  environment: NonNullable<Resource__Output['environment']>,
  intent: EnvironmentIntent,
): Resource__Output {
  const regions = new Set(intent.environment.permittedRegions)
  const permittedRegions = environment.permittedRegions.filter((region) => regions.has(region))
  const cachePurges = compileCachePurges(intent.cachePurges)
  const isSame =
    permittedRegions.length === environment.permittedRegions.length &&
    JSON.stringify(cachePurges) === JSON.stringify(environment.cachePurges)
  return isSame ? resource : { ...resource, environment: { ...environment, permittedRegions, cachePurges } }
}
