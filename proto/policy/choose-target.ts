import { type Refusal, refuse } from '../std/refusal.js'
import { matchRule } from './match-rule.js'
import type { ApiKeyTable, RouteTable, TargetTable } from './tables.js'

/**
 * Which targets may serve a request, in which order. Pure: the agent enforces it, the control plane explains it with the
 * very same call. The list of targets is the rule's own frozen array whenever nothing had to be left out, so the usual
 * case allocates one small object.
 */
export interface RequestFacts {
  readonly operation: 'chat_completions' | 'embeddings'
  /** What the client put into `model`: the name of a route. */
  readonly model: string
}

export type ExclusionReason = 'capability_missing' | 'region_not_permitted'

export interface Exclusion {
  readonly target: TargetTable
  readonly reason: ExclusionReason
}

export interface Choice {
  readonly route: RouteTable
  readonly ruleId: string
  /** Hops in order; never empty. */
  readonly targets: readonly TargetTable[]
  readonly excluded: readonly Exclusion[]
}

export type ChoiceRefusalCode = 'model_not_found' | 'operation_not_supported' | 'no_eligible_target'

/**
 * The ordered hops of a request made with `key`, or why there are none. A route that the key may not use is answered
 * exactly like one that does not exist, so that nobody can feel for names.
 */
export function chooseTarget(facts: RequestFacts, key: ApiKeyTable): Choice | Refusal<ChoiceRefusalCode> {
  const route = findRoute(facts.model, key)
  if (route === null) {
    return refuse('model_not_found', `The model \`${facts.model}\` does not exist or you do not have access to it.`, {
      field: 'model',
    })
  }
  for (const rule of route.rules) {
    if (!matchRule(rule.condition)) continue
    const excluded = exclusionsOf(rule.targets, facts, key)
    if (excluded.length === 0 && rule.targets.length > 0) {
      return { route, ruleId: rule.id, targets: rule.targets, excluded }
    }
    const targets = rule.targets.filter((target) => !excluded.some((exclusion) => exclusion.target === target))
    if (targets.length > 0) return { route, ruleId: rule.id, targets, excluded }
    return refuseAll(route.name, facts, excluded)
  }
  return refuse('no_eligible_target', `No rule of the model \`${route.name}\` applies to this request.`, {
    field: 'model',
  })
}

/** The route of that name if the key may use it. */
export function findRoute(name: string, key: ApiKeyTable): RouteTable | null {
  const route = key.environment.routes.get(name)
  if (route === undefined) return null
  return key.allowedRoutes === null || key.allowedRoutes.has(name) ? route : null
}

/** Every route that the key may use, in the environment's order. */
export function listRoutes(key: ApiKeyTable): RouteTable[] {
  const routes: RouteTable[] = []
  for (const route of key.environment.routes.values()) {
    if (key.allowedRoutes === null || key.allowedRoutes.has(route.name)) routes.push(route)
  }
  return routes
}

/**
 * The instant at which a hop must be over: the sooner of its own total deadline and what is left of the route's, both in
 * microseconds of one monotonic clock.
 */
export function hopDueUs(target: TargetTable, hopStartedUs: number, routeDueUs: number): number {
  return Math.min(hopStartedUs + target.deadlines.totalMs * 1000, routeDueUs)
}

const nothingExcluded: readonly Exclusion[] = Object.freeze([])

function exclusionsOf(targets: readonly TargetTable[], facts: RequestFacts, key: ApiKeyTable): readonly Exclusion[] {
  let excluded: Exclusion[] | null = null
  for (const target of targets) {
    const reason = exclusionOf(target, facts, key)
    if (reason === null) continue
    excluded ??= []
    excluded.push({ target, reason })
  }
  return excluded ?? nothingExcluded
}

function exclusionOf(target: TargetTable, facts: RequestFacts, key: ApiKeyTable): ExclusionReason | null {
  if (!target.model.capabilities.has(facts.operation === 'embeddings' ? 'embeddings' : 'chat')) {
    return 'capability_missing'
  }
  // An environment without a list of regions is not restricted; with one, data never leaves it whatever a route says.
  const regions = key.environment.permittedRegions
  return regions.size === 0 || regions.has(target.provider.region) ? null : 'region_not_permitted'
}

function refuseAll(name: string, facts: RequestFacts, excluded: readonly Exclusion[]): Refusal<ChoiceRefusalCode> {
  if (excluded.length > 0 && excluded.every((exclusion) => exclusion.reason === 'capability_missing')) {
    const operation = facts.operation === 'embeddings' ? 'embeddings' : 'chat completions'
    return refuse('operation_not_supported', `The model \`${name}\` does not serve ${operation}.`, { field: 'model' })
  }
  return refuse('no_eligible_target', `No target of the model \`${name}\` may serve this environment.`, {
    field: 'model',
  })
}
