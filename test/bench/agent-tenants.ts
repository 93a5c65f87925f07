import os from 'node:os'
import { parseArgs } from 'node:util'
import { systemClock } from '../../proto/std/clock.js'
import { eventually } from '../harness/process.js'
import { checked, round, type Slice, summaryOf, tableOf } from './agent-contest.js'
import { apiKeyOf } from './agent-keys.js'
import { ClosedLoad, type LoadResult } from './agent-load.js'
import { BenchProcess } from './agent-process.js'
import { median, medianInterval, percentile } from './agent-statistics.js'
import { AgentTree } from './agent-tree.js'

/**
 * An agent with many tenants: what it takes of memory, and whether it is as quick as with one. Both agents are processes of
 * their own, loaded in turns by 32 connections, each with a key of its own: of 32 tenants, or of the one. CPU time per
 * request decides, as in `bench:agent`.
 */
const help = `Measures an agent with 1,000 tenants, 10,000 keys and 5,000 routes.

Usage: npm run bench:tenants -- [--pairs 10] [--workers 2] [--quick]

  --pairs     pairs of turns
  --workers   request workers of the agent whose workers are weighed
  --quick     three short pairs: for a look, judges nothing

Limits: RSS of each request worker ≤ 160 MB with everything loaded and after load, and ≤ 80 MB more once it has counted tokens;
CPU per request ≤ 1.05 × that with one tenant (lower end of the 95 % interval of the median). Last line: one JSON object.`

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '10' },
    workers: { type: 'string', default: '2' },
    quick: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(help)
  process.exit(0)
}
const tenantCount = 1_000
const keyCount = 10_000
const routeCount = 5_000
const workerCount = Number(values.workers)
const limits = { workerMb: 160, tokenizerMb: 80, ratio: 1.05 }
const pairCount = values.quick ? 3 : Number(values.pairs)
const connectionCount = 32
const slicesPerTurn = values.quick ? 4 : 16
const sliceMs = 100
const warmUpMs = values.quick ? 3_000 : 15_000
const putOffMs = 300
const idleSampleMs = 500
let isFailed = false
const loadBefore = os.loadavg()[0] ?? Number.NaN

const upstream = await BenchProcess.start('upstream', './agent-upstream.js', ['0'])
const onePlane = await BenchProcess.start('plane', './agent-plane.js', [upstream.ready.url, '1', '10', '5'])
const manyPlane = await startManyPlane()

// — as quick as with one tenant —

const one = await AgentTree.start('one tenant', onePlane, 1)
const many = await AgentTree.start('1000 tenants', manyPlane, 1)
await eventually('all keys are loaded', async () => (await many.metric('api_keys')) === keyCount)
await eventually('the one tenant is loaded', async () => (await one.metric('api_keys')) === 10)
const loads = { one: openLoad(one, () => 0), many: openLoad(many, (index) => index * 31) }
for (const load of Object.values(loads)) await run(load, warmUpMs)
const pairs: { one: Slice; many: Slice }[] = []
for (let turn = 0; turn < pairCount; turn++) pairs.push(await measurePair(turn))
const aloneMb = mb(many.processes()[0]?.rssBytes ?? Number.NaN)
for (const load of [...loads.one, ...loads.many]) load.close()
for (const process of [one, many, onePlane, manyPlane]) await process.stop()

// — what its request workers weigh —

const plane = await startManyPlane()
const agent = await AgentTree.start('workers', plane, workerCount)
await eventually('all keys are loaded', async () => (await agent.metric('api_keys')) === keyCount)
const loadedMb = workersMb()
const load = openLoad(agent, (index) => index * 31)
await run(load, warmUpMs)
for (const each of load) each.close()
await systemClock.sleep(2_000)
const workedMb = workersMb()
await countTokens()
const countedMb = workersMb()
const primaryMb = mb(agent.processes()[0]?.rssBytes ?? Number.NaN)
for (const process of [agent, plane, upstream]) await process.stop()

const summary = {
  one: { plain: summaryOf(pairs.map((pair) => pair.one)) },
  many: { plain: summaryOf(pairs.map((pair) => pair.many)) },
}
const ratios = pairs.map((pair) => pair.many.cpuUsPerRequest / pair.one.cpuUsPerRequest)
const ratio = { median: median(ratios), ...medianInterval(ratios) }
const tokenizerMb = Math.max(...countedMb.map((value, index) => value - (workedMb[index] ?? 0)))

console.log('')
console.table(tableOf(summary))
const list = (values: readonly number[]) => values.map(Math.round).join(' and ')
judge(
  `CPU per request: with ${tenantCount} tenants ${round(ratio.median)} × one (95 %: ${round(ratio.low)} to ${round(ratio.high)}), limit ${limits.ratio}`,
  ratio.low <= limits.ratio,
)
judge(`RSS of each request worker, loaded: ${list(loadedMb)} MB, limit ${limits.workerMb}`, allWithin(loadedMb))
judge(`RSS of each request worker, after load: ${list(workedMb)} MB, limit ${limits.workerMb}`, allWithin(workedMb))
judge(
  `a tokenizer in use: ${round(tokenizerMb)} MB more, limit ${limits.tokenizerMb}`,
  tokenizerMb <= limits.tokenizerMb,
)
console.log(
  `     the primary of ${workerCount} workers: ${Math.round(primaryMb)} MB; an agent of one process: ${Math.round(aloneMb)} MB`,
)
console.log(
  `load of the machine: ${round(loadBefore)} before, on ${os.availableParallelism()} cores; others may have used it`,
)
console.log(
  JSON.stringify({
    ...{ ratio: ratio.median, interval: [ratio.low, ratio.high], pairCount },
    ...{ loadedMb, workedMb, countedMb, tokenizerMb, primaryMb, aloneMb },
    ...{ coreCount: os.availableParallelism(), loadBefore, passed: !isFailed },
  }),
)
process.exitCode = isFailed && !values.quick ? 1 : 0

function startManyPlane(): Promise<BenchProcess> {
  const counts = [tenantCount, keyCount, routeCount].map(String)
  return BenchProcess.start('plane', './agent-plane.js', [upstream.ready.url, ...counts])
}

/** A connection per key: the first of the tenant that `tenantOf` says; of one tenant, its ten keys in turn. */
function openLoad(target: AgentTree, tenantOf: (index: number) => number): ClosedLoad[] {
  return Array.from({ length: connectionCount }, (_, index) => {
    const apiKey = apiKeyOf(tenantOf(index), index % 10)
    return new ClosedLoad({ ...target.target, apiKey }, { stream: false, connectionCount: 1 })
  })
}

async function run(each: readonly ClosedLoad[], durationMs: number): Promise<LoadResult> {
  const results = await Promise.all(each.map((one) => one.run(durationMs)))
  return {
    requestCount: results.reduce((sum, { requestCount }) => sum + requestCount, 0),
    failedCount: results.reduce((sum, { failedCount }) => sum + failedCount, 0),
    seconds: Math.max(...results.map(({ seconds }) => seconds)),
    latenciesMs: results.flatMap(({ latenciesMs }) => latenciesMs).sort((a, b) => a - b),
  }
}

/** One turn on both, in slices that take turns; CPU as `agent-contest` counts it. */
async function measurePair(turn: number): Promise<{ one: Slice; many: Slice }> {
  const entrants = await Promise.all(
    [
      { agent: one, load: loads.one },
      { agent: many, load: loads.many },
    ].map(async ({ agent: each, load: of }) => ({
      ...{ agent: each, load: of, before: await each.usage(), startUs: systemClock.monotonicUs() },
      ...{ seconds: 0, latenciesMs: [] as number[] },
    })),
  )
  for (let slice = 0; slice < slicesPerTurn; slice++) {
    for (let i = 0; i < entrants.length; i++) {
      const entrant = entrants[(turn + slice + i) % entrants.length]
      if (entrant === undefined) continue
      const result = checked(await run(entrant.load, sliceMs))
      entrant.seconds += result.seconds
      entrant.latenciesMs.push(...result.latenciesMs)
    }
  }
  await systemClock.sleep(putOffMs)
  const [ofOne, ofMany] = await Promise.all(
    entrants.map(async ({ agent: each, before, startUs, seconds, latenciesMs }): Promise<Slice> => {
      const after = await each.usage()
      const idleSeconds = (systemClock.monotonicUs() - startUs) / 1_000_000 - seconds
      await systemClock.sleep(idleSampleMs)
      const idle = await each.usage()
      const idleUs = ((idle.cpuUs - after.cpuUs) * idleSeconds * 1000) / idleSampleMs
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
  if (ofOne === undefined || ofMany === undefined) throw new Error('two agents were measured')
  return { one: ofOne, many: ofMany }
}

/** Every worker counts: as many requests as it takes to come by each, on connections that are dealt in turn. */
async function countTokens(): Promise<void> {
  for (let request = 0; request < workerCount * 4; request++) {
    const response = await fetch(`${agent.target.url}/v1/messages/count_tokens`, {
      method: 'POST',
      headers: { 'x-api-key': apiKeyOf(0, 0), 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify({
        model: 'chat',
        messages: [{ role: 'user', content: 'How many tokens are these? '.repeat(50) }],
      }),
    })
    if (!response.ok) throw new Error(`counting tokens: ${response.status} ${await response.text()}`)
    await response.arrayBuffer()
  }
}

function workersMb(): number[] {
  return agent
    .processes()
    .slice(1)
    .map(({ rssBytes }) => mb(rssBytes))
}

function mb(bytes: number): number {
  return bytes / 1_000_000
}

function allWithin(values: readonly number[]): boolean {
  return values.every((value) => value <= limits.workerMb)
}

function judge(line: string, holds: boolean): void {
  console.log(`${holds ? 'ok  ' : 'OVER'} ${line}`)
  if (!holds) isFailed = true
}
