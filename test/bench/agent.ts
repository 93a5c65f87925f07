import { parseArgs } from 'node:util'
import { type LoadResult, type LoadTarget, loadClosed, loadOpen } from './agent-load.js'
import { BenchProcess } from './agent-process.js'
import { median, medianInterval, percentile } from './agent-statistics.js'

/**
 * What the agent costs on top of a bare proxy. Both are processes of their own in front of the same upstream, under the
 * same load, in turns: a pair is one slice of load on each, the order changes from pair to pair, and everything is started
 * anew several times, because a process keeps for life the luck it had at its start. Judged is CPU time per request
 * (`process.cpuUsage`, every thread), which other work on the machine disturbs less than it does latency.
 */
const help = `Measures the agent against a bare proxy.

Usage: npm run bench:agent -- [--starts 3] [--pairs 10] [--slice-ms 700] [--step-ms 4] [--kind openai] [--quick]

  --starts    times that every process is started anew
  --pairs     pairs of slices per start, for whole answers and for streams each
  --slice-ms  length of one slice
  --step-ms   milliseconds between two chunks of a stream (0: as fast as the upstream can)
  --kind      kind of the agent's provider: openai (usage told at the end) or vllm (running totals)
  --quick     one start, four pairs: for a look, judges nothing

Limits: CPU per request ≤ 1.8 × the floor for whole answers, ≤ 1.25 × for streams of 100 chunks (upper end of the 95 %
interval of the median); added p50 ≤ 1 ms at half the saturated rate. Last line: one JSON object.`

const { values } = parseArgs({
  options: {
    starts: { type: 'string', default: '3' },
    pairs: { type: 'string', default: '10' },
    'slice-ms': { type: 'string', default: '700' },
    'step-ms': { type: 'string', default: '4' },
    kind: { type: 'string', default: 'openai' },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(help)
  process.exit(0)
}
const startCount = values.quick ? 1 : Number(values.starts)
const pairCount = values.quick ? 4 : Number(values.pairs)
const sliceMs = Number(values['slice-ms'])
const limits = { plain: 1.8, stream: 1.25, addedP50Ms: 1 }
const connectionCounts = { plain: 32, stream: 48 }

type Mode = 'plain' | 'stream'
const modes = ['plain', 'stream'] as const

interface Slice {
  readonly cpuUsPerRequest: number
  readonly rps: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly rssBytes: number
}

interface Pair {
  readonly floor: Slice
  readonly agent: Slice
}

const pairs: Record<Mode, Pair[]> = { plain: [], stream: [] }
const latency: { direct: number; floor: number; agent: number }[] = []
let isFailed = false

for (let start = 0; start < startCount; start++) {
  console.log(`start ${start + 1} of ${startCount}`)
  const upstream = await BenchProcess.start('./agent-upstream.js', [values['step-ms']])
  const floor = await BenchProcess.start('./agent-floor.js', [upstream.ready.url])
  const agent = await BenchProcess.start('./agent-under-test.js', [
    upstream.ready.url,
    upstream.ready.reportAddress ?? '',
    values.kind,
  ])
  for (const process of [floor, agent]) {
    for (const mode of modes) await load(process.target, mode, values.quick ? 1_000 : 2_500)
  }
  for (let pair = 0; pair < pairCount; pair++) {
    for (const mode of modes) {
      const isFloorFirst = (pair + start) % 2 === 0
      const first = await slice(isFloorFirst ? floor : agent, mode)
      const second = await slice(isFloorFirst ? agent : floor, mode)
      pairs[mode].push(isFloorFirst ? { floor: first, agent: second } : { floor: second, agent: first })
    }
  }
  const ratePerSecond = median(pairs.plain.map((pair) => pair.agent.rps)) / 2
  const p50 = async (target: LoadTarget) =>
    percentile(checked(await loadOpen(target, { ratePerSecond, durationMs: 3_000 })).latenciesMs, 0.5)
  latency.push({
    direct: await p50(upstream.target),
    floor: await p50(floor.target),
    agent: await p50(agent.target),
  })
  const { facts } = await agent.usage()
  console.log(`  agent: ${JSON.stringify(facts)}`)
  for (const process of [agent, floor, upstream]) await process.stop()
}

const summary = { floor: summaryOf('floor'), agent: summaryOf('agent') }
const ratio = { plain: ratioOf('plain'), stream: ratioOf('stream') }
const p50Ms = {
  direct: median(latency.map((one) => one.direct)),
  floor: median(latency.map((one) => one.floor)),
  agent: median(latency.map((one) => one.agent)),
}
const addedP50Ms = p50Ms.agent - p50Ms.direct

console.log('')
console.table(
  Object.fromEntries(
    modes.flatMap((mode) =>
      (['floor', 'agent'] as const).map((who) => {
        const { rps, p50Ms: p50, p99Ms: p99, cpuUsPerRequest, rssBytes } = summary[who][mode]
        return [
          `${who} ${mode}`,
          {
            'requests/s': Math.round(rps),
            'p50 ms': round(p50),
            'p99 ms': round(p99),
            'CPU µs/request': Math.round(cpuUsPerRequest),
            'RSS MiB': Math.round(rssBytes / 1024 / 1024),
          },
        ]
      }),
    ),
  ),
)
for (const mode of modes) {
  const { median: middle, low, high } = ratio[mode]
  judge(
    `CPU per request, ${mode}: ${round(middle)} × the floor (95 %: ${round(low)} to ${round(high)}), limit ${limits[mode]}`,
    high <= limits[mode],
  )
}
judge(
  `added p50 at half the saturated rate: ${round(addedP50Ms)} ms (direct ${round(p50Ms.direct)}, floor ${round(p50Ms.floor)}, agent ${round(p50Ms.agent)}), limit ${limits.addedP50Ms} ms`,
  addedP50Ms <= limits.addedP50Ms,
)
console.log(
  JSON.stringify({
    ...summary,
    ratio: { plain: ratio.plain.median, stream: ratio.stream.median },
    interval: { plain: [ratio.plain.low, ratio.plain.high], stream: [ratio.stream.low, ratio.stream.high] },
    addedP50Ms,
    pairCount: pairs.plain.length,
    startCount,
    passed: !isFailed,
  }),
)
process.exitCode = isFailed && !values.quick ? 1 : 0

function load(target: LoadTarget, mode: Mode, durationMs: number): Promise<LoadResult> {
  return loadClosed(target, { stream: mode === 'stream', connectionCount: connectionCounts[mode], durationMs })
}

async function slice(process: BenchProcess, mode: Mode): Promise<Slice> {
  const before = await process.usage()
  const result = checked(await load(process.target, mode, sliceMs))
  const after = await process.usage()
  return {
    cpuUsPerRequest: (after.cpuUs - before.cpuUs) / result.requestCount,
    rps: result.requestCount / result.seconds,
    p50Ms: percentile(result.latenciesMs, 0.5),
    p99Ms: percentile(result.latenciesMs, 0.99),
    rssBytes: after.rssBytes,
  }
}

/** A bench that measures failures measures nothing. */
function checked(result: LoadResult): LoadResult {
  if (result.failedCount > 0) throw new Error(`${result.failedCount} requests failed`)
  return result
}

function summaryOf(who: 'floor' | 'agent'): Record<Mode, Slice> {
  const of = (mode: Mode): Slice => {
    const slices = pairs[mode].map((pair) => pair[who])
    const middle = (name: keyof Slice) => median(slices.map((one) => one[name]))
    return {
      rps: middle('rps'),
      p50Ms: middle('p50Ms'),
      p99Ms: middle('p99Ms'),
      cpuUsPerRequest: middle('cpuUsPerRequest'),
      rssBytes: middle('rssBytes'),
    }
  }
  return { plain: of('plain'), stream: of('stream') }
}

function ratioOf(mode: Mode): { median: number; low: number; high: number } {
  const ratios = pairs[mode].map((pair) => pair.agent.cpuUsPerRequest / pair.floor.cpuUsPerRequest)
  return { median: median(ratios), ...medianInterval(ratios) }
}

function judge(line: string, holds: boolean): void {
  console.log(`${holds ? 'ok  ' : 'OVER'} ${line}`)
  if (!holds) isFailed = true
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}
