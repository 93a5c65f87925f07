import { parseArgs } from 'node:util'
import { runKillScenario } from '../scenarios/kills/kill-scenario.js'

const help = `Kills parts of Switchyard with SIGKILL at random moments under load and reconciles the books afterwards.

Usage: npm run sim:kills -- [--kills 200] [--queue postgres|redis|both] [--seed 1]

Example: npm run sim:kills -- --kills 20 --queue redis --seed 7
Prints a table and, as its last line, one JSON object. Exits 1 when the books do not agree.`

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    queue: { type: 'string', default: 'both' },
    seed: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(help)
  process.exit(0)
}
const kills = Number(values.kills)
const seed = Number(values.seed)
const queues = (['postgres', 'redis'] as const).filter((queue) => values.queue === 'both' || values.queue === queue)
if (!Number.isInteger(kills) || kills < 1 || !Number.isInteger(seed) || queues.length === 0) {
  console.error(help)
  process.exit(2)
}

const results = []
for (const queue of queues) {
  console.log(`BullMQ on ${queue}, seed ${seed}:`)
  const result = await runKillScenario({ queue, kills, seed, report: (line) => console.log(`  ${line}`) })
  results.push({ queue, ...result })
}
console.table(
  results.map((r) => ({
    queue: r.queue,
    kills: Object.values(r.kills).reduce((sum, count) => sum + count, 0),
    accepted: r.acceptedCount,
    records: r.recordCount,
    missing: r.missing.length,
    duplicated: r.duplicated.length,
    'wrong tokens': r.wrongTokens.length,
    overcounted: r.overcounted.length,
    'dead letters': r.deadLetterCount,
    'unclaimed tokens': r.unclaimedTokens,
    'rollups agree': r.rollupsAgree,
  })),
)
console.log(JSON.stringify({ seed, results }))
const wrong = results.some(
  (r) =>
    r.missing.length + r.duplicated.length + r.wrongTokens.length + r.overcounted.length + r.invented.length > 0 ||
    r.deadLetterCount > 0 ||
    !r.rollupsAgree,
)
process.exit(wrong ? 1 : 0)
