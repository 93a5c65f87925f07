import { parseArgs } from 'node:util'
import {
  checked,
  type Mode,
  measureTurn,
  modes,
  round,
  type Slice,
  summaryOf,
  tableOf,
  warmUp,
  warmUpTurns,
} from './agent-contest.js'
import { type LoadTarget, loadOpen } from './agent-load.js'
import { BenchProcess } from './agent-process.js'
import { median, medianInterval, percentile } from './agent-statistics.js'

/**
 * What the agent costs on top of a bare proxy. Both are processes of their own in front of the same upstream, under the
 * same load, in turns: a pair is one turn of load on each, in short slices that alternate; the order changes from slice to
 * slice, and everything is started anew several times, because a process keeps for life the luck it had at its start. Judged
 * is CPU time per request (`process.cpuUsage`, every thread), which other work on the machine disturbs less than it does
 * latency.
 */
const help = `Measures the agent against a bare proxy.

Usage: npm run bench:agent -- [--starts 3] [--pairs 10] [--slices 6] [--step-ms 4] [--kind openai] [--quick]

  --starts    times that every process is started anew
  --pairs     pairs of turns per start, for whole answers and for streams each
  --slices    slices of a turn of streams, a third of those of a turn of whole answers; those of the two take turns, so
              that both see the same machine
  --step-ms   milliseconds between two chunks of a stream (0: as fast as the upstream can)
  --kind      kind of the agent's provider: openai (usage told at the end) or vllm (running totals)
  --quick     one start, four pairs: for a look, judges nothing

Limits: CPU per request ≤ 1.6 × the floor for whole answers, ≤ 1.25 × for streams of 100 chunks (upper end of the 95 %
interval of the median); added p50 ≤ 1 ms at half the saturated rate. Last line: one JSON object.`

const { values } = parseArgs({
  options: {
    starts: { type: 'string', default: '3' },
    pairs: { type: 'string', default: '10' },
    slices: { type: 'string', default: '6' },
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
/** Slices of whole answers are shorter than those of streams, so a turn takes more of them. */
const sliceCounts = { plain: 3 * Number(values.slices), stream: Number(values.slices) }
const openSliceCount = values.quick ? 2 : 10
const openSliceMs = 500
const limits = { plain: 1.6, stream: 1.25, addedP50Ms: 1 }

interface Pair {
  readonly floor: Slice
  readonly agent: Slice
}

const pairs: Record<Mode, Pair[]> = { plain: [], stream: [] }
const latency: { direct: number; floor: number; agent: number }[] = []
let isFailed = false

for (let start = 0; start < startCount; start++) {
  console.log(`start ${start + 1} of ${startCount}`)
  const upstream = await BenchProcess.start('upstream', './agent-upstream.js', [values['step-ms']])
  const sink = await BenchProcess.start('sink', './agent-report-sink.js', [])
  const floor = await BenchProcess.start('floor', './agent-floor.js', [upstream.ready.url])
  const agent = await BenchProcess.startAgent(upstream, sink, values.kind)
  for (const contestant of [floor, agent]) await warmUp(contestant, values.quick ? 2_000 : 20_000)
  if (!values.quick) await warmUpTurns([floor, agent], sliceCounts)
  for (let turn = 0; turn < pairCount; turn++) {
    for (const mode of modes) {
      const slices = await measureTurn([floor, agent], mode, turn + start, sliceCounts[mode])
      const [ofFloor, ofAgent] = [slices.get('floor'), slices.get('agent')]
      if (ofFloor && ofAgent) pairs[mode].push({ floor: ofFloor, agent: ofAgent })
    }
  }
  const ratePerSecond = median(pairs.plain.map((pair) => pair.agent.rps)) / 2
  for (let slice = 0; slice < openSliceCount; slice++) {
    latency.push({
      direct: await openP50(upstream.target, ratePerSecond),
      floor: await openP50(floor.target, ratePerSecond),
      agent: await openP50(agent.target, ratePerSecond),
    })
  }
  const { facts } = await agent.usage()
  console.log(`  records sent ${facts['sent']}, waiting ${facts['waiting']}`)
  for (const process of [agent, floor, sink, upstream]) await process.stop()
}

const of = (who: keyof Pair) => ({
  plain: summaryOf(pairs.plain.map((pair) => pair[who])),
  stream: summaryOf(pairs.stream.map((pair) => pair[who])),
})
const summary = { floor: of('floor'), agent: of('agent') }
const ratio = { plain: ratioOf('plain'), stream: ratioOf('stream') }
const p50Ms = {
  direct: median(latency.map((one) => one.direct)),
  floor: median(latency.map((one) => one.floor)),
  agent: median(latency.map((one) => one.agent)),
}
// Slice by slice, so that a moment in which the machine is slow counts once and not for all.
const addedP50Ms = median(latency.map((one) => one.agent - one.direct))

console.log('')
console.table(tableOf(summary))
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

async function openP50(target: LoadTarget, ratePerSecond: number): Promise<number> {
  return percentile(checked(await loadOpen(target, { ratePerSecond, durationMs: openSliceMs })).latenciesMs, 0.5)
}

function ratioOf(mode: Mode): { median: number; low: number; high: number } {
  const ratios = pairs[mode].map((pair) => pair.agent.cpuUsPerRequest / pair.floor.cpuUsPerRequest)
  return { median: median(ratios), ...medianInterval(ratios) }
}

function judge(line: string, holds: boolean): void {
  console.log(`${holds ? 'ok  ' : 'OVER'} ${line}`)
  if (!holds) isFailed = true
}
