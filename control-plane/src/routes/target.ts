import { z } from 'zod'
import { defaultBreaker } from '../../../proto/policy/breaker.js'
import { shapes } from '../access/check-input.js'
import { modelName } from '../models/model.js'

/** How long one hop may take, in milliseconds from its start, except `idle`: between two chunks. */
export interface HopDeadlines {
  readonly connectTimeoutMs: number
  readonly firstTokenTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly totalTimeoutMs: number
}

export const tiers = ['low', 'medium', 'high'] as const
export type Tier = (typeof tiers)[number]

/** When a target is left alone, and when it is tried again. */
export interface Breaker {
  /** Failures in a row that open it. */
  readonly failures: number
  /** Until one request may try it again; doubled each time that fails, up to sixteen times this. */
  readonly openMs: number
  /** Share of failures, 0 to 1, in the last `windowMs` that opens it as well, from `requestsMin` requests on. */
  readonly failureRatio: number
  readonly windowMs: number
  readonly requestsMin: number
}

/** A model at a provider: one hop, if it is tried. */
export interface Target extends HopDeadlines {
  readonly id: string
  readonly providerId: string
  readonly modelId: string
  /** Sent upstream instead of the model's own `upstreamModel`; null: that one. */
  readonly upstreamModel: string | null
  /** With `weighted`: its share of the sum; 0: never first. */
  readonly weight: number
  /** With `complexity`. */
  readonly tier: Tier | null
  /** With `task`: prompt classes that it is for; empty: any. */
  readonly tasks: readonly string[]
  /** With `preference`: 1 to 100; null: not known. */
  readonly quality: number | null
  /** Hardware, node pool: where it runs. For people and traces. */
  readonly nodePool: string | null
  readonly owner: string | null
  /** Sent where the client said nothing. */
  readonly temperature: number | null
  /** Sent where the client said nothing, and the most that it may ask for. */
  readonly outputTokensMax: number | null
  /** Null: the defaults of the agent. */
  readonly breaker: Breaker | null
  /** Without a request for as long, a synthetic one is sent; null: never. */
  readonly warmUpIntervalMs: number | null
  /** Most requests that run there at once, per request worker of an agent; null: as many as come. */
  readonly batchSize: number | null
  /** How long a request waits for a place among them before the next target is asked; 0: not at all. */
  readonly batchWaitMs: number
}

export const targetsPerRuleMax = 16
export const tasksMax = 16
export const deadlineDefaults: HopDeadlines = Object.freeze({
  connectTimeoutMs: 2_000,
  firstTokenTimeoutMs: 30_000,
  idleTimeoutMs: 30_000,
  totalTimeoutMs: 120_000,
})
export const weightDefault = 1
/** An engine's batch is a few hundred; more is no limit. */
export const batchSizeMax = 10_000
/** Whoever waits longer than a minute is better told to come again. */
export const batchWaitMsMax = 60_000
export const batchWaitMsDefault = 0
/** What agents take for a target that says nothing: to say one number of it changes none of the others. */
export const breakerDefaults: Breaker = defaultBreaker

/** A share as people write it, kept to a millionth because that is what agents get. */
export function ratio(min: number) {
  return z
    .number()
    .min(min, `expected a number from ${min} to 1`)
    .max(1, `expected a number from ${min} to 1`)
    .transform((value) => Math.round(value * 1_000_000) / 1_000_000)
}

export const totalTimeoutMs = shapes.integer(100, 3_600_000)
const breaker = z.object({
  failures: shapes.integer(1, 10_000).nullish(),
  openMs: shapes.integer(100, 3_600_000).nullish(),
  failureRatio: ratio(0.000001).nullish(),
  windowMs: shapes.integer(1_000, 3_600_000).nullish(),
  requestsMin: shapes.integer(1, 1_000_000).nullish(),
})

const targetMembers = z.object({
  providerId: shapes.id,
  modelId: shapes.id,
  upstreamModel: modelName.nullish(),
  connectTimeoutMs: shapes.integer(10, 60_000).nullish(),
  firstTokenTimeoutMs: shapes.integer(10, 600_000).nullish(),
  idleTimeoutMs: shapes.integer(10, 600_000).nullish(),
  totalTimeoutMs: totalTimeoutMs.nullish(),
  weight: shapes.integer(0, 1_000_000).nullish(),
  tier: z.enum(tiers, `expected one of ${tiers.join(', ')}`).nullish(),
  tasks: z.array(shapes.slug).max(tasksMax, `expected at most ${tasksMax} tasks`).nullish(),
  quality: shapes.integer(1, 100).nullish(),
  nodePool: shapes.title.nullish(),
  owner: shapes.title.nullish(),
  parameters: z
    .object({
      temperature: z.number().min(0, 'expected a number from 0 to 2').max(2, 'expected a number from 0 to 2').nullish(),
      outputTokensMax: shapes.integer(1, 10_000_000).nullish(),
    })
    .nullish(),
  breaker: breaker.nullish(),
  warmUp: z.object({ intervalMs: shapes.integer(1_000, 86_400_000) }).nullish(),
  batchSize: shapes.integer(1, batchSizeMax, 'expected at least 1; leave it out for no limit').nullish(),
  batchWaitMs: shapes.integer(0, batchWaitMsMax).nullish(),
})
const targetInput = targetMembers.refine(({ batchSize, batchWaitMs }) => !batchWaitMs || batchSize != null, {
  path: ['batchWaitMs'],
  message: 'only with batchSize, without which there is always a place: give that, or leave this out',
})

export const targetList = z
  .array(targetInput)
  .min(1, 'expected at least one target')
  .max(targetsPerRuleMax, `expected at most ${targetsPerRuleMax} targets`)

export type TargetInput = z.output<typeof targetInput>

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

/** Everything of a target but its id: as given, else the defaults. */
export function completeTarget(target: TargetInput, routeTotalTimeoutMs: number): Omit<Target, 'id'> {
  const { providerId, modelId, parameters, breaker: given } = target
  return {
    ...{ providerId, modelId, upstreamModel: target.upstreamModel ?? null },
    ...completeDeadlines(target, routeTotalTimeoutMs),
    ...{ weight: target.weight ?? weightDefault, tier: target.tier ?? null, tasks: [...new Set(target.tasks ?? [])] },
    ...{ quality: target.quality ?? null, nodePool: target.nodePool ?? null, owner: target.owner ?? null },
    ...{ temperature: parameters?.temperature ?? null, outputTokensMax: parameters?.outputTokensMax ?? null },
    breaker: given
      ? {
          failures: given.failures ?? breakerDefaults.failures,
          openMs: given.openMs ?? breakerDefaults.openMs,
          failureRatio: given.failureRatio ?? breakerDefaults.failureRatio,
          windowMs: given.windowMs ?? breakerDefaults.windowMs,
          requestsMin: given.requestsMin ?? breakerDefaults.requestsMin,
        }
      : null,
    warmUpIntervalMs: target.warmUp?.intervalMs ?? null,
    ...{ batchSize: target.batchSize ?? null, batchWaitMs: target.batchWaitMs ?? batchWaitMsDefault },
  }
}
