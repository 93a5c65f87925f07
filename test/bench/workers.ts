import os from 'node:os'
import { parseArgs } from 'node:util'
import { systemClock } from '../../proto/std/clock.js'
import { checked, type Mode, modes, round, type Slice, summaryOf, tableOf, warmUp } from './agent-contest.js'
import { ClosedLoad, type LoadResult } from './agent-load.js'
import { BenchProcess } from './agent-process.js'
import { median, medianInterval, percentile } from './agent-statistics.js'
import { AgentTree } from './agent-tree.js'
import { PacedLoad } from './paced-load.js'

/**
 * What a second request worker costs: the agent as one process under a steady load, and the same agent with two workers
 * under twice that, in front of the same upstream, in turns of short slices. A request costs the less the more of them an
 * event loop finds in a turn (writes, syncs, log lines and reports are shared), by half between a light and a heavy load; so
 * processes are compared that serve equally much, at a rate that leaves cores for load and upstream. All processes of an
 * agent count, its primary too. CPU time is what the kernel counted for their threads; statistics as in `bench:agent`.
 */
const help = `Measures an agent with two request workers against the same agent of one process under half the load.

Usage: npm run bench:workers -- [--starts 2] [--pairs 8] [--slices 6] [--step-ms 8] [--quick] [--scaling]

  --starts    times that every process is started anew
  --pairs     pairs of turns per start, for whole answers and for streams each
  --slices    slices of a turn
  --step-ms   milliseconds between two chunks of a stream
  --quick     one start, three pairs: for a look, judges nothing
  --scaling   throughput scaling also with fewer than 6 cores, where it says nothing

Limit: CPU per request with two workers ≤ 1.15 × one process, for whole answers and for streams of 100 chunks (upper end of
the 95 % interval of the median). Throughput scaling is measured where there are 6 cores or more. Last line: one JSON object.`

const { values } = parseArgs({
  options: {
    starts: { type: 'string', default: '2' },
    pairs: { type: 'string', default: '8' },
    slices: { type: 'string', default: '6' },
    'step-ms': { type: 'string', default: '8' },
    quick: { type: 'boolean', default: false },
    scaling: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(help)
  process.exit(0)
}
const limit = 1.15
const scalingCoresMin = 6
const startCount = values.quick ? 1 : Number(values.starts)
const pairCount = values.quick ? 3 : Number(values.pairs)
const sliceCount = Number(values.slices)
/** For each worker: four requests every 8 ms, 32 bursts in a slice; 32 streams at a time. */
const burstEach = 4
const burstEveryMs = 8
const burstsPerSlice = 32
const streamsEach = 32
/** By then everything put off has been done: log pages wait longest, 200 ms. */
const putOffMs = 300
/** How long an idle agent is looked at. */
const idleSampleMs = 500
/** What a primary does it does twenty times a second, so that the compiler takes a minute until it has seen it. */
const warmUpSlices = { plain: 240, stream: 8 }

interface Pair {
  readonly one: Slice
  readonly two: Slice
}

const pairs: Record<Mode, Pair[]> = { plain: [], stream: [] }
let isFailed = false
const loadBefore = os.loadavg()[0] ?? Number.NaN

for (let start = 0; start < startCount; start++) {
  console.log(`start ${start + 1} of ${startCount}`)
  const upstream = await BenchProcess.start('upstream', './agent-upstream.js', [values['step-ms']])
  const planes = [await startPlane(upstream), await startPlane(upstream)]
  const one = await AgentTree.start('one', planes[0] as BenchProcess, 1)
  const two = await AgentTree.start('two', planes[1] as BenchProcess, 2)
  for (const mode of modes) await measurePair(one, two, mode, start, values.quick ? 4 : warmUpSlices[mode])
  for (let turn = 0; turn < pairCount; turn++) {
    for (const mode of modes) pairs[mode].push(await measurePair(one, two, mode, turn + start, sliceCount))
  }
  const uses = two.processes().map(({ cpuUs, rssBytes }) => `${Math.round(cpuUs / 1000)} ms, ${mib(rssBytes)} MiB`)
  console.log(`  primary: ${uses[0]}; workers: ${uses.slice(1).join(' and ')}`)
  for (const process of [one, two, ...planes, upstream]) await process.stop()
}

const summary = {
  one: { plain: summaryOf(pairs.plain.map(({ one }) => one)), stream: summaryOf(pairs.stream.map(({ one }) => one)) },
  two: { plain: summaryOf(pairs.plain.map(({ two }) => two)), stream: summaryOf(pairs.stream.map(({ two }) => two)) },
}
console.log('')
console.table(tableOf(summary))
const ratios = { plain: ratioOf('plain'), stream: ratioOf('stream') }
for (const mode of modes) {
  const { median: middle, low, high } = ratios[mode]
  judge(
    `CPU per request, ${mode}: with two workers ${round(middle)} × one process (95 %: ${round(low)} to ${round(high)}), limit ${limit}`,
    high <= limit,
  )
}
const coreCount = os.availableParallelism()
const scaling = coreCount >= scalingCoresMin || values.scaling ? await measureScaling() : null
if (scaling === null) {
  console.log(`not run: throughput scaling wants ${scalingCoresMin} cores or more, and here are ${coreCount}`)
} else {
  for (const { workers, rps } of scaling) {
    console.log(
      `throughput with ${workers} workers: ${Math.round(rps)} requests/s, ${round(rps / (scaling[0]?.rps ?? 1))} × one`,
    )
  }
}
console.log(`load of the machine: ${round(loadBefore)} before, on ${coreCount} cores; others may have used it`)
console.log(
  JSON.stringify({
    ...summary,
    ratio: { plain: ratios.plain.median, stream: ratios.stream.median },
    interval: { plain: [ratios.plain.low, ratios.plain.high], stream: [ratios.stream.low, ratios.stream.high] },
    scaling: scaling ?? 'not run',
    pairCount: pairs.plain.length,
    ...{ startCount, coreCount, loadBefore, passed: !isFailed },
  }),
)
process.exitCode = isFailed && !values.quick ? 1 : 0

/**
 * One turn of load on both, in slices that take turns. CPU is counted from before the first slice to after the last and a
 * while longer, so that what an agent puts off is its own; what it uses while it has nothing to do is taken off again.
 */
async function measurePair(one: AgentTree, two: AgentTree, mode: Mode, turn: number, slices: number): Promise<Pair> {
  const entrants = await Promise.all(
    [one, two].map(async (agent, index) => ({
      agent,
      load: openLoad(agent, mode, index + 1),
      before: await agent.usage(),
      startUs: systemClock.monotonicUs(),
      seconds: 0,
      latenciesMs: [] as number[],
    })),
  )
  for (let slice = 0; slice < slices; slice++) {
    for (let i = 0; i < entrants.length; i++) {
      const entrant = entrants[(turn + slice + i) % entrants.length]
      if (entrant === undefined) continue
      const result = checked(await entrant.load.run())
      entrant.seconds += result.seconds
      entrant.latenciesMs.push(...result.latenciesMs)
    }
  }
  await systemClock.sleep(putOffMs)
  const measured = await Promise.all(
    entrants.map(async ({ agent, load, before, startUs, seconds, latenciesMs }): Promise<Slice> => {
      const after = await agent.usage()
      const idleSeconds = (systemClock.monotonicUs() - startUs) / 1_000_000 - seconds
      await systemClock.sleep(idleSampleMs)
      const idle = await agent.usage()
      const idleUs = ((idle.cpuUs - after.cpuUs) * idleSeconds * 1000) / idleSampleMs
      load.close()
      latenciesMs.sort((a, b) => a - b)
      return {
        cpuUsPerRequest: (after.cpuUs - before.cpuUs - idleUs) / latenciesMs.length,
        rps: latenciesMs.length / seconds,
        p50Ms: percentile(latenciesMs, 0.5),
        p99Ms: percentile(latenciesMs, 0.99),
        rssBytes: after.rssBytes,
      }
    }),
  )
  const [ofOne, ofTwo] = measured
  if (ofOne === undefined || ofTwo === undefined) throw new Error('two agents were measured')
  return { one: ofOne, two: ofTwo }
}

/** A slice at a time, as much of it as `workers` are to serve. */
function openLoad(agent: AgentTree, mode: Mode, workers: number): { run(): Promise<LoadResult>; close(): void } {
  if (mode === 'plain') {
    const load = new PacedLoad(agent.target, { burst: burstEach * workers, everyMs: burstEveryMs })
    return { run: () => load.run(burstsPerSlice), close: () => load.close() }
  }
  const load = new ClosedLoad(agent.target, { stream: true, connectionCount: streamsEach * workers })
  return { run: () => load.run(0), close: () => load.close() }
}

/** Requests per second that 1, 2 and 4 workers serve; the load comes from this process, which one core is for. */
async function measureScaling(): Promise<{ workers: number; rps: number }[]> {
  const measured: { workers: number; rps: number }[] = []
  for (const workers of [1, 2, 4].filter((count) => count <= Math.max(2, os.availableParallelism() - 2))) {
    const upstream = await BenchProcess.start('upstream', './agent-upstream.js', ['0'])
    const plane = await startPlane(upstream)
    const agent = await AgentTree.start(`${workers} workers`, plane, workers)
    await warmUp(agent, values.quick ? 2_000 : 10_000)
    const load = new ClosedLoad(agent.target, { stream: false, connectionCount: 32 * workers })
    const result = checked(await load.run(values.quick ? 2_000 : 10_000))
    measured.push({ workers, rps: result.requestCount / result.seconds })
    load.close()
    await systemClock.sleep(100)
    for (const process of [agent, plane, upstream]) await process.stop()
  }
  return measured
}

function startPlane(upstream: BenchProcess): Promise<BenchProcess> {
  return BenchProcess.start('plane', './agent-plane.js', [upstream.ready.url, '1', '1', '1'])
}

function ratioOf(mode: Mode): { median: number; low: number; high: number } {
  const each = pairs[mode].map(({ one, two }) => two.cpuUsPerRequest / one.cpuUsPerRequest)
  return { median: median(each), ...medianInterval(each) }
}

function judge(line: string, holds: boolean): void {
  console.log(`${holds ? 'ok  ' : 'OVER'} ${line}`)
  if (!holds) isFailed = true
}

function mib(bytes: number): number {
  return Math.round(bytes / 1024 / 1024)
}
