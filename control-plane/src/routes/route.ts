import { z } from 'zod'
import { shapes } from '../access/check-input.js'
import { modelName } from '../models/model.js'

/** How long one hop may take, in milliseconds from its start, except `idle`: between two chunks. */
export interface HopDeadlines {
  readonly connectTimeoutMs: number
  readonly firstTokenTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly totalTimeoutMs: number
}

/** A model at a provider: one hop, if it is tried. */
export interface Target extends HopDeadlines {
  readonly id: string
  readonly providerId: string
  readonly modelId: string
  /** Sent upstream instead of the model's own `upstreamModel`; null: that one. */
  readonly upstreamModel: string | null
}

/**
 * What becomes of a setting (seed, penalties, logprobs, …) that a target's vendor has no word for. `refuse`: the target is
 * passed over, and the request refused if no other is left. `drop`: it is left out, and a header says so.
 */
export const unsupportedSettingsChoices = ['refuse', 'drop'] as const
export type UnsupportedSettings = (typeof unsupportedSettingsChoices)[number]

/** What a client puts into `model`: the first target is tried first, the others if it fails before the first byte. */
export interface Route {
  readonly id: string
  readonly tenantId: string
  readonly environmentId: string
  readonly name: string
  readonly targets: readonly Target[]
  /** Over all hops. */
  readonly totalTimeoutMs: number
  readonly unsupportedSettings: UnsupportedSettings
  readonly createdAt: Date
  /** Rises with each change. */
  readonly rowVersion: number
}

export const targetsMax = 16
export const routesPerEnvironmentMax = 1_000
export const deadlineDefaults: HopDeadlines = Object.freeze({
  connectTimeoutMs: 2_000,
  firstTokenTimeoutMs: 30_000,
  idleTimeoutMs: 30_000,
  totalTimeoutMs: 120_000,
})
const routeTimeoutMsDefaultMax = 600_000

const totalTimeoutMs = shapes.integer(100, 3_600_000)
const unsupportedSettings = z.enum(
  unsupportedSettingsChoices,
  `expected one of ${unsupportedSettingsChoices.join(', ')}`,
)
const targetInput = z.object({
  providerId: shapes.id,
  modelId: shapes.id,
  upstreamModel: modelName.nullish(),
  connectTimeoutMs: shapes.integer(10, 60_000).nullish(),
  firstTokenTimeoutMs: shapes.integer(10, 600_000).nullish(),
  idleTimeoutMs: shapes.integer(10, 600_000).nullish(),
  totalTimeoutMs: totalTimeoutMs.nullish(),
})
const targetList = z
  .array(targetInput)
  .min(1, 'expected at least one target')
  .max(targetsMax, `expected at most ${targetsMax} targets`)

export const createRouteInput = z.object({
  environmentId: shapes.id,
  name: modelName,
  targets: targetList,
  totalTimeoutMs: totalTimeoutMs.nullish(),
  unsupportedSettings: unsupportedSettings.nullish().transform((choice) => choice ?? 'refuse'),
})

/** Absent or null members stay as they are; `targets` replaces the whole list. */
export const updateRouteInput = z.object({
  routeId: shapes.id,
  /** Refused with `conflict` unless the row still has this version. */
  rowVersion: z.number().int().nullish(),
  targets: targetList.nullish(),
  totalTimeoutMs: totalTimeoutMs.nullish(),
  unsupportedSettings: unsupportedSettings.nullish(),
})

export type TargetInput = z.output<typeof targetInput>

/** The route's total: as given, else what its targets may take together, at most ten minutes. */
export function completeTotal(given: number | null | undefined, targets: readonly TargetInput[]): number {
  const sum = targets.reduce((total, target) => total + (target.totalTimeoutMs ?? deadlineDefaults.totalTimeoutMs), 0)
  const longest = Math.max(...targets.map((target) => target.totalTimeoutMs ?? 0))
  return given ?? Math.max(longest, Math.min(sum, routeTimeoutMsDefaultMax))
}

/** The deadlines of a target: as given, else the defaults, cut to the total above them. */
export function completeDeadlines(target: TargetInput, routeTotalTimeoutMs: number): HopDeadlines {
  const total = target.totalTimeoutMs ?? Math.min(deadlineDefaults.totalTimeoutMs, routeTotalTimeoutMs)
  const within = (given: number | null | undefined, fallback: number) => given ?? Math.min(fallback, total)
  return {
    connectTimeoutMs: within(target.connectTimeoutMs, deadlineDefaults.connectTimeoutMs),
    firstTokenTimeoutMs: within(target.firstTokenTimeoutMs, deadlineDefaults.firstTokenTimeoutMs),
    idleTimeoutMs: within(target.idleTimeoutMs, deadlineDefaults.idleTimeoutMs),
    totalTimeoutMs: total,
  }
}

/** What the audit trail keeps of it. */
export function auditRoute(route: Route) {
  const { name, environmentId, totalTimeoutMs, unsupportedSettings, rowVersion } = route
  return {
    ...{ name, environmentId, totalTimeoutMs, unsupportedSettings, rowVersion },
    targets: route.targets.map(({ id, ...target }) => target),
  }
}
