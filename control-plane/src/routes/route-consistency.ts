import type { Resource__Output } from '../../../proto/gen/switchyard/v1/Resource.js'
import { classifierKind, environmentSection, type NamedResource, nameOf } from '../../../proto/snapshot/consistency.js'
import { must } from '../../../proto/std/assert.js'
import { type Refusal, refuse } from '../../../proto/std/refusal.js'
import type { Model } from '../models/model.js'
import type { Provider } from '../providers/provider.js'
import { findSectionFlaws } from '../snapshots/section-check.js'
import { type Route, targetsOf } from './route.js'
import type { Rule } from './rule.js'
import type { HopDeadlines, Target } from './target.js'

/**
 * Whether a route can work, asked in the mutation that would make it so. The last word belongs to the same functions that
 * the compiler and the agents ask (`snapshots/section-check.ts`): what is accepted here is never refused there. Before them
 * come the questions about deadlines, which are about sense, not about safety.
 */
export interface RouteSurroundings {
  readonly environment: {
    readonly id: string
    readonly tenantId: string
    readonly name: string
    readonly permittedRegions: readonly string[]
  }
  /** By id: those of the tenant that are not archived. */
  readonly providers: ReadonlyMap<string, Provider>
  readonly models: ReadonlyMap<string, Model>
  /** What the caller wrote: `input.targets[1]` or `input.rules[0].targets[1]`. */
  readonly form: 'targets' | 'rules'
}

/** The first thing that keeps `route` from working, as a refusal of `input`, or null. Pure. */
export function findFlaw(route: Route, around: RouteSurroundings): Refusal<'bad_input'> | null {
  for (const [index, rule] of route.rules.entries()) {
    const path = around.form === 'targets' ? 'input' : `input.rules[${index}]`
    const flaw = findMissing(rule, path, around) ?? findDeadlineFlaw(rule, path, route)
    if (flaw !== null) return flaw
  }
  return findClassifierFlaw(route, around) ?? findSectionFlaw(route, around)
}

function no(field: string, message: string): Refusal<'bad_input'> {
  return refuse('bad_input', `${field}: ${message}`, { field })
}

function findMissing(rule: Rule, rulePath: string, around: RouteSurroundings): Refusal<'bad_input'> | null {
  for (const [index, target] of rule.targets.entries()) {
    const path = `${rulePath}.targets[${index}]`
    const provider = around.providers.get(target.providerId)
    if (provider === undefined) return no(`${path}.providerId`, 'no such provider')
    if (provider.kind === classifierKind) {
      return no(
        `${path}.providerId`,
        `the provider ${provider.name} is of kind ${provider.kind}, which serves no model`,
      )
    }
    if (!around.models.has(target.modelId)) return no(`${path}.modelId`, 'no such model')
    const flaw = findRegionFlaw(provider, `${path}.providerId`, around)
    if (flaw !== null) return flaw
  }
  return null
}

function findRegionFlaw(provider: Provider, path: string, around: RouteSurroundings): Refusal<'bad_input'> | null {
  const { permittedRegions, name } = around.environment
  if (permittedRegions.includes(provider.region)) return null
  return no(
    path,
    `the provider ${provider.name} is in ${provider.region}, but ${name} permits only ${permittedRegions.join(', ') || 'no region at all'}`,
  )
}

/** Prompts go to it, so it has to be where targets have to be. */
function findClassifierFlaw(
  { classifier, totalTimeoutMs }: Route,
  around: RouteSurroundings,
): Refusal<'bad_input'> | null {
  if (classifier === null) return null
  const path = 'input.classifier'
  const provider = around.providers.get(classifier.providerId)
  if (provider === undefined) return no(`${path}.providerId`, 'no such provider')
  if (provider.kind !== classifierKind) {
    return no(`${path}.providerId`, `the provider ${provider.name} is of kind ${provider.kind}, not ${classifierKind}`)
  }
  if (classifier.timeoutMs >= totalTimeoutMs) {
    const message = `${classifier.timeoutMs} ms leaves nothing of the route's total of ${totalTimeoutMs} ms`
    return no(`${path}.timeoutMs`, message)
  }
  return findRegionFlaw(provider, `${path}.providerId`, around)
}

const within = ['connectTimeoutMs', 'firstTokenTimeoutMs', 'idleTimeoutMs'] as const satisfies (keyof HopDeadlines)[]

function findDeadlineFlaw(rule: Rule, rulePath: string, route: Route): Refusal<'bad_input'> | null {
  let connectMs = 0
  for (const [index, target] of rule.targets.entries()) {
    const path = `${rulePath}.targets[${index}]`
    const longer = within.find((deadline) => target[deadline] > target.totalTimeoutMs)
    if (longer !== undefined) {
      return no(
        `${path}.${longer}`,
        `${target[longer]} ms is longer than the target's total of ${target.totalTimeoutMs} ms`,
      )
    }
    if (target.totalTimeoutMs > route.totalTimeoutMs) {
      return no(
        `${path}.totalTimeoutMs`,
        `${target.totalTimeoutMs} ms is longer than the route's total of ${route.totalTimeoutMs} ms`,
      )
    }
    if (target.batchWaitMs >= route.totalTimeoutMs) {
      return no(
        `${path}.batchWaitMs`,
        `${target.batchWaitMs} ms leaves nothing of the route's total of ${route.totalTimeoutMs} ms: raise its totalTimeoutMs`,
      )
    }
    // Any other strategy may try the last one first.
    if (rule.strategy === 'ordered' && connectMs >= route.totalTimeoutMs) {
      return no(
        path,
        `never reached: the targets before it may spend ${connectMs} ms on connecting alone, and the route's total is ${route.totalTimeoutMs} ms`,
      )
    }
    connectMs += target.connectTimeoutMs
  }
  return null
}

function findSectionFlaw(route: Route, around: RouteSurroundings): Refusal<'bad_input'> | null {
  const { environment } = around
  const [flaw] = findSectionFlaws(environmentSection(environment.tenantId, environment.id), sectionOf(route, around))
  if (flaw === undefined) return null
  const path = around.form === 'targets' ? flaw.path.replace(/^rules\[0\]\.?/, '') : flaw.path
  // Shares travel in parts per million; people write them from 0 to 1.
  return no(path === '' ? 'input' : `input.${path.replace(/Ppm$/, '')}`, flaw.message)
}

/** The smallest section that holds the route: what the compiler would make if there were nothing else. */
function sectionOf(route: Route, around: RouteSurroundings): readonly NamedResource[] {
  const { environment } = around
  const targets = targetsOf(route)
  const used = {
    providers: new Set([
      ...targets.map((target) => target.providerId),
      ...(route.classifier === null ? [] : [route.classifier.providerId]),
    ]),
    models: new Set(targets.map((target) => target.modelId)),
  }
  const resources: Resource__Output[] = [
    {
      kind: 'environment',
      environment: {
        ...{ tenantId: environment.tenantId, tenantName: '', permittedRegions: [...environment.permittedRegions] },
        ...{ environmentId: environment.id, environmentName: environment.name, routingPreference: '', cachePurges: [] },
      },
    },
    ...[...used.providers].map((id) =>
      providerResource(must(around.providers.get(id), 'missing ones are found before')),
    ),
    ...[...used.models].map((id) => modelResource(must(around.models.get(id), 'missing ones are found before'))),
    routeResource(route),
  ]
  return resources.map((resource) => ({ name: nameOf(resource) ?? '', resource }))
}

function providerResource(provider: Provider): Resource__Output {
  const { id, name, kind, baseUrl, region, connectionsMax, external } = provider
  return {
    kind: 'provider',
    provider: {
      ...{ id, name, kind, baseUrl, region, connectionsMax, external, credentialId: '', credentialVersion: 0 },
      ...{ replicaUrls: [], replicaScrapeMs: 0 },
      apiVersion: provider.apiVersion ?? '',
      vendorRegion: provider.vendorRegion ?? '',
      vendorProject: provider.vendorProject ?? '',
    },
  }
}

function modelResource(model: Model): Resource__Output {
  const { id, name, upstreamModel, contextTokensMax, outputTokensMax } = model
  const capabilities = [...model.capabilities]
  return {
    kind: 'model',
    model: { id, name, upstreamModel, contextTokensMax, outputTokensMax, capabilities, price: null },
  }
}

/** Of the route alone: the one that it takes defaults from is looked at by itself. */
function routeResource(route: Route): Resource__Output {
  const { id, name, totalTimeoutMs, unsupportedSettings } = route
  const rules = route.rules.map((rule) => ({
    ...{ id: rule.id, name: rule.name, condition: rule.condition ?? '', strategy: rule.strategy },
    stickyBy: rule.stickyBy ?? '',
    complexityLowPpm: Math.round(rule.complexityLow * 1_000_000),
    complexityHighPpm: Math.round(rule.complexityHigh * 1_000_000),
    targets: rule.targets.map(targetResource),
  }))
  return {
    kind: 'route',
    route: {
      ...{ id, name, totalTimeoutMs, unsupportedSettings, rules },
      ...{ defaultRouteId: '', lastResort: null, hedging: null, cache: null },
      classifier: route.classifier && { ...route.classifier },
    },
  }
}

function targetResource(target: Target) {
  const { id, providerId, modelId, weight, breaker } = target
  return {
    ...{ id, providerId, modelId, weight, upstreamModel: target.upstreamModel ?? '', tier: target.tier ?? '' },
    ...{ tasks: [...target.tasks], quality: target.quality ?? 0 },
    ...{ nodePool: target.nodePool ?? '', owner: target.owner ?? '' },
    deadlines: {
      ...{ connectMs: target.connectTimeoutMs, firstTokenMs: target.firstTokenTimeoutMs },
      ...{ idleMs: target.idleTimeoutMs, totalMs: target.totalTimeoutMs },
    },
    ...{ parameters: null, warmUp: null, batchSize: target.batchSize ?? 0, batchWaitMs: target.batchWaitMs },
    breaker: breaker && {
      ...{ failures: breaker.failures, openMs: breaker.openMs },
      failurePpm: Math.round(breaker.failureRatio * 1_000_000),
      ...{ windowMs: breaker.windowMs, requestsMin: breaker.requestsMin },
    },
  }
}
