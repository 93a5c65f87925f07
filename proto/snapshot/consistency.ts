import { resourceCodec } from '../gen/codec.js'
import type { Classifier__Output } from '../gen/switchyard/v1/Classifier.js'
import type { Resource__Output } from '../gen/switchyard/v1/Resource.js'
import type { RouteResource__Output } from '../gen/switchyard/v1/RouteResource.js'
import type { Target__Output } from '../gen/switchyard/v1/Target.js'
import { type SnapshotRefusal, type SnapshotRefusalCode, snapshotRefusal } from './snapshot-refusal.js'

/**
 * Whether a section makes sense by itself: everything it names is in it, and nothing in it contradicts the rest. The control
 * plane asks before it signs, the agent asks again before it applies. A section stands alone on purpose, so that a broken
 * one can keep its last good content while the others advance. What the words of its rules mean (strategies, conditions) is
 * the business of `proto/policy/compile-tables.ts`, which both ask next.
 */
export interface NamedResource {
  /** `<kind>/<id>`. */
  readonly name: string
  readonly resource: Resource__Output
}

/** Section of the cluster itself. */
export const clusterSection = 'cluster'
/** Section of revocations and kill switches. */
export const denySection = 'deny'

/** `environment/<tenant id>/<environment id>`. */
export function environmentSection(tenantId: string, environmentId: string): string {
  return `environment/${tenantId}/${environmentId}`
}

/** Tenant and environment of a section's name, or null for the sections that are nobody's. */
export function environmentOfSection(
  name: string,
): { readonly tenantId: string; readonly environmentId: string } | null {
  const [kind, tenantId, environmentId, ...rest] = name.split('/')
  if (kind !== 'environment' || !tenantId || !environmentId || rest.length > 0) return null
  return { tenantId, environmentId }
}

export const resourceKinds = ['cluster', 'environment', 'provider', 'model', 'route', 'api_key', 'deny'] as const
export type ResourceKind = (typeof resourceKinds)[number]

/** The name a resource of `kind` must have. */
export function resourceName(kind: ResourceKind, id: string): string {
  return `${kind}/${id}`
}

/** The decoded resource, or a refusal when the bytes are none or hold a kind that this version does not know. */
export function decodeResource(
  content: Uint8Array,
  place: { section: string; resource: string },
): Resource__Output | SnapshotRefusal {
  try {
    const resource = resourceCodec.decode(content)
    if (resource.kind !== undefined) return resource
    return snapshotRefusal('resource_malformed', 'a kind of resource that this version does not know', place)
  } catch {
    return snapshotRefusal('resource_malformed', 'the content does not decode', place)
  }
}

/**
 * Everything wrong with a section, at most `refusalsMax` of it; empty means it may be applied.
 */
export function checkSection(section: string, resources: readonly NamedResource[]): readonly SnapshotRefusal[] {
  const found: SnapshotRefusal[] = []
  const report: Report = (code, message, resource, path = '') => {
    if (found.length < refusalsMax) found.push(snapshotRefusal(code, message, { section, resource, path }))
  }
  for (const { name, resource } of resources) checkName(section, name, resource, report)
  if (environmentOfSection(section) !== null) checkEnvironment(section, resources, report)
  if (section === clusterSection && !resources.some(({ resource }) => resource.cluster)) {
    report('resource_malformed', 'the cluster section holds no cluster', '')
  }
  checkHashes(resources, report)
  return found
}

const refusalsMax = 20
type Report = (code: SnapshotRefusalCode, message: string, resource: string, path?: string) => void

const kindsBySection: Readonly<Record<string, ReadonlySet<string>>> = {
  cluster: new Set(['cluster']),
  deny: new Set(['deny']),
  environment: new Set(['environment', 'provider', 'model', 'route', 'apiKey']),
}

function checkName(section: string, name: string, resource: Resource__Output, report: Report): void {
  const permitted = kindsBySection[section.split('/')[0] ?? '']
  if (!permitted?.has(resource.kind ?? '')) {
    report('resource_misplaced', `a resource of kind ${resource.kind} has no place in this section`, name)
    return
  }
  const expected = nameOf(resource)
  if (name !== expected) report('name_mismatch', `the content calls itself ${expected}`, name)
}

/** The name that content gives itself; null for a kind that this version does not know. */
export function nameOf(resource: Resource__Output): string | null {
  if (resource.cluster) return resourceName('cluster', resource.cluster.id)
  if (resource.environment) return resourceName('environment', resource.environment.environmentId)
  if (resource.provider) return resourceName('provider', resource.provider.id)
  if (resource.model) return resourceName('model', resource.model.id)
  if (resource.route) return resourceName('route', resource.route.id)
  if (resource.apiKey) return resourceName('api_key', resource.apiKey.id)
  if (resource.deny) return resourceName('deny', resource.deny.subjectId)
  return null
}

function checkEnvironment(section: string, resources: readonly NamedResource[], report: Report): void {
  const environments = resources.flatMap(({ resource }) => resource.environment ?? [])
  const environment = environments[0]
  const expected = environmentOfSection(section)
  if (environment === undefined || environments.length > 1) {
    report('environment_missing', `the section holds ${environments.length} environments instead of one`, '')
    return
  }
  if (environment.tenantId !== expected?.tenantId || environment.environmentId !== expected.environmentId) {
    report('environment_missing', 'the environment is not the one the section is named after', '')
  }
  const providers = new Map(
    resources.flatMap(({ resource: { provider } }) => (provider ? [[provider.id, provider]] : [])),
  )
  const models = new Map(resources.flatMap(({ resource: { model } }) => (model ? [[model.id, model]] : [])))
  const routes = new Map<string, string>()
  const routesById = new Map(resources.flatMap(({ resource: { route } }) => (route ? [[route.id, route]] : [])))
  const regions = new Set(environment.permittedRegions)
  for (const { name, resource } of resources) {
    if (resource.provider) checkProvider(name, resource.provider, report)
    if (!resource.route) continue
    const taken = routes.get(resource.route.name)
    if (taken !== undefined) report('route_name_taken', `${taken} has the same name`, name, 'name')
    routes.set(resource.route.name, name)
    checkRoute(name, resource.route, { providers, models, regions, routes: routesById }, report)
  }
}

/** Of providers that measure prompts, and serve no model. */
export const classifierKind = 'classifier'

/** What a vendor's requests cannot be made without. */
const vendorFields: Readonly<Record<string, readonly ('apiVersion' | 'vendorRegion' | 'vendorProject')[]>> = {
  'azure-openai': ['apiVersion'],
  bedrock: ['vendorRegion'],
  vertex: ['vendorRegion', 'vendorProject'],
}

function checkProvider(name: string, provider: NonNullable<Resource__Output['provider']>, report: Report): void {
  if (!isBaseUrl(provider.baseUrl)) {
    report('url_invalid', 'an http or https URL without credentials, query or trailing slash', name, 'baseUrl')
  }
  const fields = Object.hasOwn(vendorFields, provider.kind) ? vendorFields[provider.kind] : undefined
  for (const field of fields ?? []) {
    // Absent where a test or an older release made the resource by hand: as good as empty.
    if ((provider[field] ?? '') === '') report('vendor_field_missing', `${provider.kind} needs it`, name, field)
  }
}

interface Surroundings {
  readonly providers: ReadonlyMap<string, NonNullable<Resource__Output['provider']>>
  readonly models: ReadonlyMap<string, NonNullable<Resource__Output['model']>>
  readonly regions: ReadonlySet<string>
  readonly routes: ReadonlyMap<string, RouteResource__Output>
}

function checkRoute(name: string, route: RouteResource__Output, around: Surroundings, report: Report): void {
  if (route.rules.length === 0) report('rule_missing', 'a route needs at least one rule', name, 'rules')
  if (route.totalTimeoutMs <= 0) report('deadline_invalid', 'a deadline is above zero', name, 'totalTimeoutMs')
  if (route.defaultRouteId) checkDefaults(name, route, around, report)
  if (route.classifier) checkClassifier(name, route.classifier, around, report)
  const targetIds = new Set<string>()
  for (const [ruleIndex, rule] of route.rules.entries()) {
    const rulePath = `rules[${ruleIndex}]`
    if (rule.targets.length === 0)
      report('target_missing', 'a rule needs at least one target', name, `${rulePath}.targets`)
    for (const [targetIndex, target] of rule.targets.entries()) {
      const path = `${rulePath}.targets[${targetIndex}]`
      if (targetIds.has(target.id)) report('target_id_taken', `${target.id} occurs twice`, name, `${path}.id`)
      targetIds.add(target.id)
      checkTarget(target, around, (code, message, field) => report(code, message, name, `${path}.${field}`))
    }
    checkCapabilities(rule.targets, around, (message) =>
      report('target_capability_mismatch', message, name, `${rulePath}.targets`),
    )
  }
}

/** Rules that follow a route's own: of a route that is there, and one step only, so that no circle can be written. */
function checkDefaults(name: string, route: RouteResource__Output, around: Surroundings, report: Report): void {
  const { defaultRouteId } = route
  const defaults = around.routes.get(defaultRouteId)
  if (defaults === undefined) {
    report('default_route_missing', `route ${defaultRouteId} is not there`, name, 'defaultRouteId')
  } else if (defaults.id === route.id || defaults.defaultRouteId) {
    report('default_route_missing', `${defaults.name} has no rules that end with it`, name, 'defaultRouteId')
  }
}

/** Who is asked about prompts reads them, so it is bound as targets are. */
function checkClassifier(
  name: string,
  { providerId, timeoutMs }: Classifier__Output,
  around: Surroundings,
  report: Report,
): void {
  const provider = around.providers.get(providerId)
  if (provider === undefined) {
    report('classifier_provider_missing', `provider ${providerId} is not there`, name, 'classifier.providerId')
  } else if (provider.kind !== classifierKind) {
    const message = `a provider of kind ${provider.kind} measures no prompts`
    report('classifier_provider_missing', message, name, 'classifier.providerId')
  } else if (!around.regions.has(provider.region)) {
    const message = `the environment does not permit ${provider.region}`
    report('classifier_region_not_permitted', message, name, 'classifier.providerId')
  }
  if (timeoutMs <= 0) report('deadline_invalid', 'a deadline is above zero', name, 'classifier.timeoutMs')
}

function checkTarget(
  target: Target__Output,
  around: Surroundings,
  report: (code: SnapshotRefusalCode, message: string, field: string) => void,
): void {
  const provider = around.providers.get(target.providerId)
  if (provider === undefined) {
    report('target_provider_missing', `provider ${target.providerId} is not there`, 'providerId')
  } else if (provider.kind === classifierKind) {
    report('target_provider_missing', `a provider of kind ${provider.kind} serves no model`, 'providerId')
  } else if (!around.regions.has(provider.region)) {
    report('target_region_not_permitted', `the environment does not permit ${provider.region}`, 'providerId')
  }
  if (!around.models.has(target.modelId)) {
    report('target_model_missing', `model ${target.modelId} is not there`, 'modelId')
  }
  const deadlines = target.deadlines
  const values = deadlines ? [deadlines.connectMs, deadlines.firstTokenMs, deadlines.idleMs, deadlines.totalMs] : [0]
  if (values.some((value) => value <= 0)) report('deadline_invalid', 'every deadline is above zero', 'deadlines')
}

/** Targets of one rule stand in for each other: something must be asked for that all of them can do. */
function checkCapabilities(
  targets: readonly Target__Output[],
  around: Surroundings,
  report: (message: string) => void,
): void {
  const sets = targets.flatMap((target) => around.models.get(target.modelId)?.capabilities ?? [])
  const known = targets.filter((target) => around.models.has(target.modelId))
  if (known.length === 0) return
  const shared = [...new Set(sets)].filter((capability) =>
    known.every((target) => around.models.get(target.modelId)?.capabilities.includes(capability)),
  )
  if (shared.length === 0) report('no capability is shared by all targets of the rule')
}

function checkHashes(resources: readonly NamedResource[], report: Report): void {
  const keys = new Map<string, string>()
  for (const { name, resource } of resources) {
    const hash = resource.apiKey?.secretHash ?? resource.deny?.secretHash
    if (hash === undefined) continue
    if (hash.length !== 32) report('key_hash_invalid', 'a SHA-256 has 32 bytes', name, 'secretHash')
    const text = hash.toString('hex')
    const taken = keys.get(text)
    if (taken !== undefined) report('key_hash_taken', `${taken} has the same hash`, name, 'secretHash')
    keys.set(text, name)
  }
}

function isBaseUrl(text: string): boolean {
  if (!URL.canParse(text) || text.endsWith('/')) return false
  const url = new URL(text)
  return (
    /^https?:$/.test(url.protocol) && url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  )
}
