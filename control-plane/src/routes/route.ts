import { z } from 'zod'
import { shapes } from '../access/check-input.js'
import { modelName } from '../models/model.js'
import { type Rule, ruleList } from './rule.js'
import {
  batchWaitMsDefault,
  deadlineDefaults,
  ratio,
  type Target,
  type TargetInput,
  targetList,
  totalTimeoutMs,
} from './target.js'

/**
 * What becomes of a setting (seed, penalties, logprobs, …) that a target's vendor has no word for. `refuse`: the target is
 * passed over, and the request refused if no other is left. `drop`: it is left out, and a header says so.
 */
export const unsupportedSettingsChoices = ['refuse', 'drop'] as const
export type UnsupportedSettings = (typeof unsupportedSettingsChoices)[number]

/** What a client gets when every target failed. */
export interface LastResort {
  /** An answer to the same request that the cache keeps may be given up to this age; 0: none. */
  readonly cachedAgeMaxSeconds: number
  /** Said before it. */
  readonly apology: string
  /** Given when there is no kept one; empty: the error. */
  readonly safeAnswer: string
}

/** When a second target is asked although the first has not failed. */
export interface Hedging {
  /** Share of requests, 0 to 1, that may be asked twice. */
  readonly budgetRatio: number
  readonly delayMinMs: number
}

/** Who is asked how hard a prompt is and what it asks for. Agents estimate it while no answer comes. */
export interface Classifier {
  /** A provider of kind `classifier`. */
  readonly providerId: string
  /** Longest that a request waits for it. */
  readonly timeoutMs: number
}

/** What a client puts into `model`: ordered rules, of which the first whose condition holds names the targets. */
export interface Route {
  readonly id: string
  readonly tenantId: string
  readonly environmentId: string
  readonly name: string
  /** Never empty. */
  readonly rules: readonly Rule[]
  /** A route of the same environment whose rules are looked at when none of its own applies. */
  readonly defaultRouteId: string | null
  /** Over all hops. */
  readonly totalTimeoutMs: number
  readonly unsupportedSettings: UnsupportedSettings
  /** Null: the error. */
  readonly lastResort: LastResort | null
  /** Null: never. */
  readonly hedging: Hedging | null
  /** Null: nobody, agents estimate. */
  readonly classifier: Classifier | null
  readonly createdAt: Date
  /** Rises with each change. */
  readonly rowVersion: number
}

export const routesPerEnvironmentMax = 1_000
/** Over all rules. */
export const targetsPerRouteMax = 64
export const safeAnswerCharactersMax = 10_000
export const apologyCharactersMax = 1_000
export const hedgingDefaults: Hedging = Object.freeze({ budgetRatio: 0.05, delayMinMs: 100 })
export const classifierTimeoutMsMin = 5
export const classifierTimeoutMsMax = 2_000
export const classifierTimeoutMsDefault = 100
const routeTimeoutMsDefaultMax = 600_000

/** Every target of its rules, in order. */
export function targetsOf({ rules }: Pick<Route, 'rules'>): readonly Target[] {
  return rules.flatMap((rule) => rule.targets)
}

const unsupportedSettings = z.enum(
  unsupportedSettingsChoices,
  `expected one of ${unsupportedSettingsChoices.join(', ')}`,
)
const said = (charactersMax: number) =>
  z
    .string()
    .trim()
    .max(charactersMax, `expected at most ${charactersMax} characters`)
    .refine((text) => !/[^\P{Cc}\n\t]/u.test(text), 'expected no control characters')
const lastResort = z
  .object({
    cachedAgeMaxSeconds: shapes.integer(0, 30 * 86_400).nullish(),
    apology: said(apologyCharactersMax).nullish(),
    safeAnswer: said(safeAnswerCharactersMax).nullish(),
  })
  .transform(
    (given): LastResort => ({
      cachedAgeMaxSeconds: given.cachedAgeMaxSeconds ?? 0,
      apology: given.apology ?? '',
      safeAnswer: given.safeAnswer ?? '',
    }),
  )
  .refine(
    ({ cachedAgeMaxSeconds, safeAnswer }) => cachedAgeMaxSeconds > 0 || safeAnswer !== '',
    'expected cachedAgeMaxSeconds above 0, a safeAnswer, or both: otherwise there is nothing to give',
  )
const hedging = z
  .object({ budgetRatio: ratio(0.000001).nullish(), delayMinMs: shapes.integer(0, 600_000).nullish() })
  .transform(
    (given): Hedging => ({
      budgetRatio: given.budgetRatio ?? hedgingDefaults.budgetRatio,
      delayMinMs: given.delayMinMs ?? hedgingDefaults.delayMinMs,
    }),
  )

const classifier = z
  .object({
    providerId: shapes.id,
    timeoutMs: shapes.integer(classifierTimeoutMsMin, classifierTimeoutMsMax).nullish(),
  })
  .transform(
    ({ providerId, timeoutMs }): Classifier => ({ providerId, timeoutMs: timeoutMs ?? classifierTimeoutMsDefault }),
  )

/** Either targets, which are one rule that always applies, or rules. */
const either = {
  targets: targetList.nullish(),
  rules: ruleList.nullish(),
}

export const createRouteInput = z.object({
  environmentId: shapes.id,
  name: modelName,
  ...either,
  defaultRouteId: shapes.id.nullish(),
  totalTimeoutMs: totalTimeoutMs.nullish(),
  unsupportedSettings: unsupportedSettings.nullish().transform((choice) => choice ?? 'refuse'),
  lastResort: lastResort.nullish(),
  hedging: hedging.nullish(),
  classifier: classifier.nullish(),
})

/**
 * Absent members stay as they are, and so do null ones, except the last four: null takes them away. `rules` (or `targets`,
 * of a route that never had rules) replaces the whole list.
 */
export const updateRouteInput = z.object({
  routeId: shapes.id,
  /** Refused with `conflict` unless the row still has this version. */
  rowVersion: z.number().int().nullish(),
  ...either,
  totalTimeoutMs: totalTimeoutMs.nullish(),
  unsupportedSettings: unsupportedSettings.nullish(),
  defaultRouteId: shapes.id.nullish(),
  lastResort: lastResort.nullish(),
  hedging: hedging.nullish(),
  classifier: classifier.nullish(),
})

/**
 * The route's total: as given, else what the targets of one rule may take together at most, with the waits for their places,
 * ten minutes at the longest.
 */
export function completeTotal(
  given: number | null | undefined,
  rules: readonly { readonly targets: readonly TargetInput[] }[],
): number {
  const waitOf = ({ batchWaitMs }: TargetInput) => batchWaitMs ?? batchWaitMsDefault
  const sums = rules.map(({ targets }) =>
    targets.reduce(
      (sum, target) => sum + (target.totalTimeoutMs ?? deadlineDefaults.totalTimeoutMs) + waitOf(target),
      0,
    ),
  )
  const asked = rules.flatMap(({ targets }) => targets.map((target) => (target.totalTimeoutMs ?? 0) + waitOf(target)))
  return given ?? Math.max(...asked, Math.min(Math.max(...sums), routeTimeoutMsDefaultMax))
}

/** What the audit trail keeps of it. */
export function auditRoute(route: Route) {
  const { name, environmentId, defaultRouteId, unsupportedSettings: conduct, lastResort: resort, rowVersion } = route
  return {
    ...{ name, environmentId, defaultRouteId, totalTimeoutMs: route.totalTimeoutMs, unsupportedSettings: conduct },
    ...{ lastResort: resort && { ...resort }, hedging: route.hedging && { ...route.hedging }, rowVersion },
    classifier: route.classifier && { ...route.classifier },
    rules: route.rules.map(({ id: _rule, targets, ...rule }) => ({
      ...rule,
      targets: targets.map(({ id: _target, breaker, ...target }) => ({
        ...target,
        breaker: breaker && { ...breaker },
      })),
    })),
  }
}
