import { type Refusal, refuse } from '../std/refusal.js'
import { type Exclusion, findExclusions } from './exclude-targets.js'
import { type HealthFacts, nothingKnown } from './health.js'
import { type Candidate, orderTargets } from './order-targets.js'
import { Readings } from './readings.js'
import { capabilityOf, type RequestFacts } from './request-facts.js'
import type { ApiKeyTable, RouteTable, RuleTable, TargetTable } from './tables.js'

export type { RequestFacts } from './request-facts.js'

/**
 * Which targets may serve a request, in which order. Pure: the agent enforces it, the control plane explains it with the
 * very same call, and the same facts give the same answer. The first rule whose condition holds decides; a condition that
 * cannot be said to hold (a header that is not there) does not, and is counted. The list of targets is the rule's own frozen
 * array whenever nothing had to be left out or moved, so the usual case allocates two small objects.
 */
export interface Choice {
  readonly route: RouteTable
  readonly rule: RuleTable
  readonly ruleId: string
  /** Hops in order; never empty. */
  readonly targets: readonly TargetTable[]
  readonly excluded: readonly Exclusion[]
  /** Conditions of which nobody could say whether they hold, before the rule that applied. */
  readonly conditionFailureCount: number
  /** What was read of the request; for explanations. */
  readonly readings: Readings
  /** `targets` with their health as it was; null: nobody asked for it, because nothing depends on it. */
  readonly seen: readonly Candidate[] | null
}

export type ChoiceRefusalCode = 'model_not_found' | 'operation_not_supported' | 'no_eligible_target'

/** A choice, or what of one there was when it was refused. */
export interface Decision extends Omit<Choice, 'route' | 'rule' | 'ruleId'> {
  readonly route: RouteTable | null
  readonly rule: RuleTable | null
  readonly ruleId: string
  readonly refusal: Refusal<ChoiceRefusalCode> | null
}

/**
 * The ordered hops of a request made with `key`, or why there are none. A route that the key may not use is answered
 * exactly like one that does not exist, so that nobody can feel for names.
 */
export function chooseTarget(
  facts: RequestFacts,
  key: ApiKeyTable,
  health: HealthFacts = nothingKnown,
): Choice | Refusal<ChoiceRefusalCode> {
  const decision = decide(facts, key, health)
  return decision.refusal ?? (decision as Choice)
}

/** As `chooseTarget`, with what was looked at when the answer is no. */
export function decide(facts: RequestFacts, key: ApiKeyTable, health: HealthFacts = nothingKnown): Decision {
  const readings = new Readings(facts, key)
  const route = findRoute(facts.model, key)
  if (route === null) {
    const message = `The model \`${facts.model}\` does not exist or you do not have access to it.`
    return refused(readings, null, null, refuse('model_not_found', message, { field: 'model' }))
  }
  let conditionFailureCount = 0
  for (const rule of route.rules) {
    const held = testRule(rule, readings)
    if (typeof held === 'string') conditionFailureCount += 1
    if (held !== true) continue
    const excluded = findExclusions(rule.targets, readings, key)
    if (excluded.length === rule.targets.length) {
      return refused(readings, route, rule, refuseAll(route.name, facts, excluded), excluded, conditionFailureCount)
    }
    const { targets, seen } = order(rule, excluded, readings, health)
    // Member by member: spreading would cost as much as the choice.
    return {
      route,
      rule,
      ruleId: rule.id,
      targets,
      excluded,
      conditionFailureCount,
      readings,
      seen,
      refusal: null,
    }
  }
  const message = `No rule of the model \`${route.name}\` applies to this request.`
  const refusal = refuse('no_eligible_target', message, { field: 'model' })
  return refused(readings, route, null, refusal, nothingExcluded, conditionFailureCount)
}

/** Whether the rule's condition holds, or in words why nobody can say. Without one it always does. */
export function testRule(rule: RuleTable, readings: Readings): boolean | string {
  if (rule.condition === null) return true
  // Tables are compiled with their conditions; one that nobody compiled never holds (closed is the way to fail).
  return rule.program === null ? 'nobody compiled it' : rule.program.test(readings)
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

interface Ordered {
  readonly targets: readonly TargetTable[]
  readonly seen: readonly Candidate[] | null
}

function order(rule: RuleTable, excluded: readonly Exclusion[], readings: Readings, health: HealthFacts): Ordered {
  const eligible =
    excluded.length === 0
      ? rule.targets
      : rule.targets.filter((target) => !excluded.some((exclusion) => exclusion.target === target))
  // While no target is left alone, only latency is worth asking for.
  const asks = rule.strategy === 'least_latency' || health.calm !== true
  if (!asks && (rule.strategy === 'ordered' || eligible.length === 1)) return { targets: eligible, seen: null }
  const from = asks ? health : nothingKnown
  const candidates = eligible.map((target) => ({ target, health: from.of(target) }))
  const ordered = orderTargets(candidates, { rule, readings })
  // What nothing moved stays the rule's own frozen list.
  const targets = ordered === candidates ? eligible : ordered.map(({ target }) => target)
  return { targets, seen: asks && health !== nothingKnown ? ordered : null }
}

function refused(
  readings: Readings,
  route: RouteTable | null,
  rule: RuleTable | null,
  refusal: Refusal<ChoiceRefusalCode>,
  excluded = nothingExcluded,
  conditionFailureCount = 0,
): Decision {
  const nothing = { targets: [], ruleId: rule?.id ?? '', seen: null }
  return { ...nothing, route, rule, excluded, conditionFailureCount, readings, refusal }
}

function refuseAll(name: string, facts: RequestFacts, excluded: readonly Exclusion[]): Refusal<ChoiceRefusalCode> {
  const is = (reason: Exclusion['reason']) => excluded.length > 0 && excluded.every((one) => one.reason === reason)
  if (is('capability_missing')) {
    const operation = capabilityOf(facts) === 'embeddings' ? 'embeddings' : 'chat completions'
    return refuse('operation_not_supported', `The model \`${name}\` does not serve ${operation}.`, { field: 'model' })
  }
  if (excluded.some(({ reason }) => reason === 'external_not_permitted')) {
    const message = `This API key may not call external models, and the model \`${name}\` has no other for it.`
    return refuse('no_eligible_target', message, { field: 'model', detail: { reason: 'external_not_permitted' } })
  }
  return refuse('no_eligible_target', `No target of the model \`${name}\` may serve this environment.`, {
    field: 'model',
  })
}
