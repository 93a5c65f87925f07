import { type LoadResult, type LoadTarget, loadClosed } from './agent-load.js'
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
/** Requests after which the compiler has seen what it will see. */
const warmUpCounts = { plain: 12_000, stream: 400 }

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
    let done = 0
    for (let spentMs = 0; done < warmUpCounts[mode] && spentMs < limitMs; spentMs += 500) {
      done += (await load(contestant.target, mode, 500)).requestCount
    }
  }
}

/** One slice of load on each contestant, beginning with the one at `turn`. */
export async function measureTurn(
  contestants: readonly Contestant[],
  mode: Mode,
  turn: number,
  sliceMs: number,
): Promise<ReadonlyMap<string, Slice>> {
  const slices = new Map<string, Slice>()
  for (let i = 0; i < contestants.length; i++) {
    const contestant = contestants[(turn + i) % contestants.length]
    if (contestant === undefined) continue
    const before = await contestant.usage()
    const result = checked(await load(contestant.target, mode, sliceMs))
    const after = await contestant.usage()
    slices.set(contestant.name, {
      cpuUsPerRequest: (after.cpuUs - before.cpuUs) / result.requestCount,
      rps: result.requestCount / result.seconds,
      p50Ms: percentile(result.latenciesMs, 0.5),
      p99Ms: percentile(result.latenciesMs, 0.99),
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

function load(target: LoadTarget, mode: Mode, durationMs: number): Promise<LoadResult> {
  return loadClosed(target, { stream: mode === 'stream', connectionCount: connectionCounts[mode], durationMs })
}
