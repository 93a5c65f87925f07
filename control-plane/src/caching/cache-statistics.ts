import { z } from 'zod'

/** Requests that looked for a kept answer, and what came of it. */
export interface CacheSums {
  readonly exactCount: bigint
  readonly semanticCount: bigint
  readonly missCount: bigint
  /** What the tokens of given answers would have cost. */
  readonly savedNanoUsd: bigint
  readonly savedTokensIn: bigint
  readonly savedTokensOut: bigint
  /** Given answers whose saving nobody knows. */
  readonly unpricedCount: bigint
  /** What the misses cost. */
  readonly missedNanoUsd: bigint
}

export interface RouteCacheSums extends CacheSums {
  readonly routeId: string
  /** As records have it; the newest. */
  readonly routeName: string
}

export interface CacheStatistics extends CacheSums {
  readonly from: Date
  readonly to: Date
  /** Most requests first. */
  readonly routes: readonly RouteCacheSums[]
}

/** Records are looked at one by one: not a year of them. */
const daysMax = 31
const dayMs = 86_400_000
export const statisticsRoutesMax = 1_000

export const cacheStatisticsInput = z
  .object({
    tenantId: z.string().max(64, 'expected an id').nullish(),
    environmentId: z.string().max(64, 'expected an id').nullish(),
    routeId: z.string().max(64, 'expected an id').nullish(),
    from: z.date(),
    to: z.date(),
  })
  .refine(({ from, to }) => from < to, { path: ['to'], message: 'expected an instant after from' })
  .refine(({ from, to }) => to.getTime() - from.getTime() <= daysMax * dayMs, {
    path: ['from'],
    message: `expected at most ${daysMax} days before to`,
  })

/** The sum over routes. */
export function sumOf(routes: readonly RouteCacheSums[]): CacheSums {
  const total = (member: keyof CacheSums) => routes.reduce((sum, route) => sum + route[member], 0n)
  return {
    exactCount: total('exactCount'),
    semanticCount: total('semanticCount'),
    missCount: total('missCount'),
    savedNanoUsd: total('savedNanoUsd'),
    savedTokensIn: total('savedTokensIn'),
    savedTokensOut: total('savedTokensOut'),
    unpricedCount: total('unpricedCount'),
    missedNanoUsd: total('missedNanoUsd'),
  }
}

/** Share of the requests that looked for a kept answer and got one; null where none did. */
export function hitRatioOf({ exactCount, semanticCount, missCount }: CacheSums): number | null {
  const hits = Number(exactCount + semanticCount)
  const all = hits + Number(missCount)
  return all === 0 ? null : hits / all
}
