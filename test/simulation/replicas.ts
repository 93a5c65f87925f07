import { parseArgs } from 'node:util'
import { choosers, enginesDefault, runTrace } from './replicas-run.js'
import { makeTrace, traceDefault } from './replicas-trace.js'

const help = `Picks replicas for a seeded trace on four simulated vLLM servers, by the agent's picker, an oracle and round robin.

Usage: npm run sim:replicas -- [--seeds 5] [--requests 12000] [--rate 3] [--agents 1] [--sharing]

--rate is new conversations a second; with several --agents each request goes through any of them, and none knows what the
others did but by reading the replicas. With --sharing they are request workers of one agent, which tell each other what they
sent where and have running there, over their primary and as late as they do it.

Promise: at least 95 % of the oracle's hit ratio, and no replica above 1.5 times the mean load. Last line: one JSON object.`

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '5' },
    requests: { type: 'string', default: String(traceDefault.requestCount) },
    agents: { type: 'string', default: '1' },
    sharing: { type: 'boolean', default: false },
    rate: { type: 'string', default: String(traceDefault.conversationsPerSecond) },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(help)
  process.exit(0)
}
const seedCount = Number(values.seeds)
const requestCount = Number(values.requests)
const conversationsPerSecond = Number(values.rate)
const agents = Number(values.agents)
const { sharing } = values
if (
  !(Number.isInteger(seedCount) && seedCount >= 1 && requestCount >= 1 && conversationsPerSecond > 0 && agents >= 1)
) {
  console.error(help)
  process.exit(2)
}

const results = []
for (let seed = 1; seed <= seedCount; seed++) {
  const trace = makeTrace({ ...traceDefault, seed, requestCount, conversationsPerSecond })
  const runs = choosers.map((chooser) => ({
    seed,
    chooser,
    ...runTrace(trace, chooser, { engines: enginesDefault, seed, agents, sharing }),
  }))
  const oracle = runs.find(({ chooser }) => chooser === 'oracle')?.hitRatio ?? 1
  for (const run of runs) results.push({ ...run, ofOracle: run.hitRatio / oracle })
}
const percent = (ratio: number) => `${(ratio * 100).toFixed(1)} %`
console.table(
  results.map((run) => ({
    seed: run.seed,
    chooser: run.chooser,
    'hit ratio': percent(run.hitRatio),
    'of the oracle': percent(run.ofOracle),
    'max load / mean': run.loadRatio.toFixed(2),
    'worst 30 s': run.windowLoadRatio.toFixed(2),
    'above bound': run.boundBroken,
    'first token p50 / p99 ms': `${run.firstTokenMsP50.toFixed(0)} / ${run.firstTokenMsP99.toFixed(0)}`,
    requests: run.requestsPerReplica.join(' '),
  })),
)
console.log(JSON.stringify({ results }))
const ours = results.filter(({ chooser }) => chooser === 'ours')
process.exit(ours.every((run) => run.ofOracle >= 0.95 && run.loadRatio <= 1.5) ? 0 : 1)
