import {
  type Choice,
  type ChoiceRefusalCode,
  chooseTarget,
  findRoute,
  type RequestFacts,
} from '../../../proto/policy/choose-target.js'
import type { HealthFacts } from '../../../proto/policy/health.js'
import type { ApiKeyTable, RouteTable, RuleTable, TargetTable } from '../../../proto/policy/tables.js'
import { isRefusal, type Refusal, refuse } from '../../../proto/std/refusal.js'
import { targetName } from './header-names.js'
import type { ClientCall } from './ports.js'
import type { RequestRefusal } from './request-refusal.js'

/**
 * What a client decides itself of the routing, by header, where its key may: which target of the route is asked
 * (`x-switchyard-target`: its id, or `provider/model` as responses name it), and that no other is tried
 * (`x-switchyard-fallback: none`). For whoever looks for a fault: what is pinned is asked alone, also when it is left alone,
 * and neither hedged nor stood in for by a last resort, so that the answer shows how the target is.
 *
 * It overrides preferences, never permissions: what the environment's regions, the key and the model's abilities exclude
 * stays excluded.
 */
export interface RoutingOverride {
  /** Null: the route chooses. */
  readonly target: string | null
  readonly withoutFallback: boolean
}

export const targetHeader = 'x-switchyard-target'
export const fallbackHeader = 'x-switchyard-fallback'
const headerLengthMax = 512

/** Null: the client leaves it to the route. */
export function readOverride(call: ClientCall, key: ApiKeyTable): RoutingOverride | RequestRefusal | null {
  const target = call.header(targetHeader)
  const fallback = call.header(fallbackHeader)
  if (target === undefined && fallback === undefined) return null
  const field = target === undefined ? fallbackHeader : targetHeader
  if (!key.mayPin) {
    return refuse('pin_not_permitted', `This API key may not route by header: leave '${field}' out.`, { field })
  }
  if (fallback !== undefined && fallback !== 'none') {
    return refuse('invalid_value', `'${fallbackHeader}' can only be 'none'.`, { field: fallbackHeader })
  }
  if (target !== undefined && (target === '' || target.length > headerLengthMax)) return unknownTarget(null)
  return { target: target ?? null, withoutFallback: fallback === 'none' }
}

export interface OverrideQuestion {
  readonly override: RoutingOverride
  readonly facts: RequestFacts
  readonly key: ApiKeyTable
  readonly health: HealthFacts
}

/** The choice that the override leaves: one target of the route. */
export function chooseOverridden({
  override,
  facts,
  key,
  health,
}: OverrideQuestion): Choice | Refusal<ChoiceRefusalCode> | RequestRefusal {
  if (override.target === null) {
    const choice = chooseTarget(facts, key, health)
    return isRefusal(choice) ? choice : { ...choice, route: bare(choice.route), targets: choice.targets.slice(0, 1) }
  }
  const route = findRoute(facts.model, key)
  // Refuses in the words of any other request.
  if (route === null) return chooseTarget(facts, key, health)
  const found = findTarget(route, override.target)
  if (found === null) return unknownTarget(route.name)
  // The same decision over a route that has nothing else, so that every exclusion holds as it always does.
  const rule: RuleTable = { ...found.rule, condition: null, strategy: 'ordered', targets: [found.target] }
  const pinned: RouteTable = { ...bare(route), rules: [rule] }
  const environment = { ...key.environment, routes: new Map([[route.name, pinned]]) }
  return chooseTarget(facts, { ...key, environment }, health)
}

/** For the record. */
export function overrideText({ withoutFallback }: RoutingOverride, pinned: TargetTable | null): string {
  const words = [pinned === null ? '' : `target=${pinned.id}`, withoutFallback ? 'fallback=none' : '']
  return words.filter((word) => word !== '').join(' ')
}

function bare(route: RouteTable): RouteTable {
  return { ...route, hedging: null, lastResort: null }
}

/** By id, else the first that is called so, in the route's order. */
function findTarget(route: RouteTable, text: string): { rule: RuleTable; target: TargetTable } | null {
  let byName: { rule: RuleTable; target: TargetTable } | null = null
  for (const rule of route.rules) {
    for (const target of rule.targets) {
      if (target.id === text) return { rule, target }
      if (byName === null && targetName(target) === text) byName = { rule, target }
    }
  }
  return byName
}

function unknownTarget(routeName: string | null): RequestRefusal {
  const where = routeName === null ? '' : ` of the model \`${routeName}\``
  return refuse(
    'invalid_value',
    `'${targetHeader}' names no target${where}: give the id of one, or provider/model as responses name it.`,
    { field: targetHeader },
  )
}
