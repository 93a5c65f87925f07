import { systemClock } from '../../proto/std/clock.js'
import { ClosedLoad, type LoadResult, type LoadTarget } from './agent-load.js'
import { median, percentile } from './agent-statistics.js'

/** A process under load: where it listens and what it has used. */
export interface Contestant {
  readonly name: string
  readonly target: LoadTarget
  usage(): Promise<{ readonly cpuUs: number; readonly rssBytes: number }>
}

export type Mode = 'plain' | 'stream'
export const modes = ['plain', 'stream'] as const
const connectionCounts = { plain: 32, stream: 48 }
/** Milliseconds; a slice of streams is one stream on each connection, however long that takes. */
const sliceMs = { plain: 100, stream: 0 }
/** By then everything put off has been done: log pages wait longest, 200 ms. */
const putOffMs = 300
/** How long an idle contestant is looked at. */
const idleSampleMs = 500
/** Requests after which the compiler has seen what requests do. */
const warmUpCounts = { plain: 12_000, stream: 2_000 }
/** Turns after which it has also seen connections come and go, and compiled anew what that taught it. */
const warmUpTurnCounts = { plain: 3, stream: 2 }

export interface Slice {
  readonly cpuUsPerRequest: number
  readonly rps: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly rssBytes: number
}

/** Runs a contestant until it is warm, at most `limitMs` per mode. */
export async function warmUp(contestant: Contestant, limitMs: number): Promise<void> {
  for (const mode of modes) {
    const load = open(contestant, mode)
    let done = 0
    for (let spentMs = 0; done < warmUpCounts[mode] && spentMs < limitMs; spentMs += 500) {
      done += checked(await load.run(500)).requestCount
    }
    load.close()
  }
}

/** Turns that nobody measures: what the compiler does once is not what a request costs. */
export async function warmUpTurns(
  contestants: readonly Contestant[],
  sliceCounts: Readonly<Record<Mode, number>>,
): Promise<void> {
  for (const mode of modes) {
    for (let turn = 0; turn < warmUpTurnCounts[mode]; turn++) {
      await measureTurn(contestants, mode, turn, sliceCounts[mode])
    }
  }
}

/**
 * One turn of load on every contestant, in `sliceCount` short slices each that take turns, beginning with the contestant
 * at `turn`: what else happens on the machine comes and goes within seconds, and so falls on all of them alike. CPU is
 * counted from before the first slice to after the last, and a while longer, so that what a contestant puts off until
 * after an answer (reports, log pages, syncs) is its own; what it uses while it has nothing to do is taken off again.
 */
export async function measureTurn(
  contestants: readonly Contestant[],
  mode: Mode,
  turn: number,
  sliceCount: number,
): Promise<ReadonlyMap<string, Slice>> {
  const entrants = await Promise.all(
    contestants.map(async (contestant) => ({
      contestant,
      load: open(contestant, mode),
      before: await contestant.usage(),
      startUs: systemClock.monotonicUs(),
      seconds: 0,
      latenciesMs: [] as number[],
    })),
  )
  for (let slice = 0; slice < sliceCount; slice++) {
    for (let i = 0; i < entrants.length; i++) {
      const entrant = entrants[(turn + slice + i) % entrants.length]
      if (entrant === undefined) continue
      const result = checked(await entrant.load.run(sliceMs[mode]))
      entrant.seconds += result.seconds
      entrant.latenciesMs.push(...result.latenciesMs)
    }
  }
  await systemClock.sleep(putOffMs)
  const rested = await Promise.all(
    entrants.map(async ({ contestant, startUs, seconds }) => {
      const after = await contestant.usage()
      const idleSeconds = (systemClock.monotonicUs() - startUs) / 1_000_000 - seconds
      await systemClock.sleep(idleSampleMs)
      const idle = await contestant.usage()
      return { after, idleUs: ((idle.cpuUs - after.cpuUs) * idleSeconds * 1000) / idleSampleMs }
    }),
  )
  const slices = new Map<string, Slice>()
  for (const [index, { contestant, load, before, seconds, latenciesMs }] of entrants.entries()) {
    const { after, idleUs } = rested[index] ?? { after: before, idleUs: 0 }
    load.close()
    latenciesMs.sort((a, b) => a - b)
    slices.set(contestant.name, {
      cpuUsPerRequest: (after.cpuUs - before.cpuUs - idleUs) / latenciesMs.length,
      rps: latenciesMs.length / seconds,
      p50Ms: percentile(latenciesMs, 0.5),
      p99Ms: percentile(latenciesMs, 0.99),
      rssBytes: after.rssBytes,
    })
  }
  return slices
}

/** Each figure's median over the slices. */
export function summaryOf(slices: readonly Slice[]): Slice {
  const middle = (name: keyof Slice) => median(slices.map((one) => one[name]))
  return {
    rps: middle('rps'),
    p50Ms: middle('p50Ms'),
    p99Ms: middle('p99Ms'),
    cpuUsPerRequest: middle('cpuUsPerRequest'),
    rssBytes: middle('rssBytes'),
  }
}

/** Rows for `console.table`. */
export function tableOf(
  summaries: Readonly<Record<string, Readonly<Partial<Record<Mode, Slice>>>>>,
): Record<string, Record<string, number>> {
  const rows: Record<string, Record<string, number>> = {}
  for (const mode of modes) {
    for (const [name, summary] of Object.entries(summaries)) {
      const slice = summary[mode]
      if (slice === undefined) continue
      rows[`${name} ${mode}`] = {
        'requests/s': Math.round(slice.rps),
        'p50 ms': round(slice.p50Ms),
        'p99 ms': round(slice.p99Ms),
        'CPU µs/request': Math.round(slice.cpuUsPerRequest),
        'RSS MiB': Math.round(slice.rssBytes / 1024 / 1024),
      }
    }
  }
  return rows
}

/** A bench that measures failures measures nothing. */
export function checked(result: LoadResult): LoadResult {
  if (result.failedCount > 0) throw new Error(`${result.failedCount} requests failed`)
  return result
}

export function round(value: number): number {
  return Math.round(value * 1000) / 1000
}

function open(contestant: Contestant, mode: Mode): ClosedLoad {
  return new ClosedLoad(contestant.target, {
    stream: mode === 'stream',
    connectionCount: connectionCounts[mode],
  })
}
