import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { newPrefixKey, ReplicaPicker, replicaDefaults } from '../../agent/src/replicas/replica-picker.js'
import { systemClock } from '../../proto/std/clock.js'
import { makeTarget } from '../harness/agent-door.js'

/**
 * What picking a replica costs beyond the parse of the body, at prompts of about 100,000 tokens (400,000 characters of
 * English, fewer of other scripts), and how much memory it takes when it is full. Fails where a pick takes a millisecond of
 * processor on average.
 *
 *     npm run bench:replicas
 */
const rounds = 300
const warmUpRounds = 60
const budgetUs = 1_000

interface Case {
  readonly name: string
  readonly replicas: number
  /** One message of about 10,000 characters. */
  readonly message: (index: number) => string
  readonly messages: number
}

const words = (letters: string) => (seed: number) => {
  const said: string[] = []
  for (let i = 0, length = 0; length < 10_000; i++) {
    const word = `${letters}${((seed + 1) * (i + 7)) % 9_973}`
    said.push(word)
    length += word.length + 1
  }
  return said.join(' ').slice(0, 10_000)
}
const chinese = (seed: number) => {
  let said = ''
  for (let i = 0; i < 10_000; i++) said += String.fromCharCode(0x4e00 + (((seed + 3) * (i + 11)) % 8_000))
  return said
}

const cases: readonly Case[] = [
  { name: 'English, 400,000 characters, 4 replicas', replicas: 4, message: words('token'), messages: 40 },
  { name: 'English, 400,000 characters, 64 replicas', replicas: 64, message: words('token'), messages: 40 },
  { name: 'German, 330,000 characters, 4 replicas', replicas: 4, message: words('größe'), messages: 33 },
  { name: 'Chinese, 150,000 characters, 4 replicas', replicas: 4, message: chinese, messages: 15 },
]

const fullCacheTokens = 10_000_000

function picker(cacheTokensAssumed = replicaDefaults.cacheTokensAssumed): ReplicaPicker {
  return new ReplicaPicker({ clock: systemClock, key: newPrefixKey(), ...replicaDefaults, cacheTokensAssumed })
}

function percentile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((a, b) => a - b)
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
}

/** Microseconds of processor that this process has used, its collector's threads included. */
function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

interface Row {
  readonly case: string
  readonly 'parse µs': number
  readonly 'new prompt µs': number
  readonly 'p99 µs': number
  readonly 'next turn µs': number
  readonly 'CPU µs beyond the parse': number
}

function measure({ name, replicas, message, messages }: Case): Row {
  const urls = Array.from({ length: replicas }, (_, index) => `http://replica-${index}:8000`)
  const target = makeTarget({ origin: 'http://replicas:8000', replicas: urls })
  const replicaPicker = picker()
  const times = { parse: [] as number[], first: [] as number[], next: [] as number[] }
  let cpuSumUs = 0
  for (let round = 0; round < rounds + warmUpRounds; round++) {
    const turns = Array.from({ length: messages }, (_, index) => ({
      role: index % 2 === 0 ? 'user' : 'assistant',
      content: message(index === 0 ? round * 977 : index),
    }))
    // As a request comes: text that was just parsed, no string seen before. The same conversation once more is the next turn.
    const bytes = Buffer.from(JSON.stringify({ model: 'chat', messages: turns }))
    for (const turn of ['first', 'next'] as const) {
      const parseStart = performance.now()
      const fields = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>
      const pickStart = performance.now()
      const cpuStartUs = cpuUs()
      const pick = replicaPicker.pick({
        ...{ target, environmentId: 'env_1', operation: 'chat_completions', failed: null },
        body: { bytes, fields, stream: true },
      })
      const cpuEndUs = cpuUs()
      const end = performance.now()
      pick.end('ok', null)
      if (round < warmUpRounds) continue
      cpuSumUs += cpuEndUs - cpuStartUs
      times.parse.push((pickStart - parseStart) * 1000)
      times[turn].push((end - pickStart) * 1000)
    }
  }
  return {
    case: name,
    'parse µs': percentile(times.parse, 0.5),
    'new prompt µs': percentile(times.first, 0.5),
    'p99 µs': percentile(times.first, 0.99),
    'next turn µs': percentile(times.next, 0.5),
    'CPU µs beyond the parse': Math.round(cpuSumUs / (rounds * 2)),
  }
}

/** Memory of indexes that are full: 64 replicas, each taken to hold more than is ever believed. */
function measureMemory(): { readonly blockCount: number; readonly indexBytes: number; readonly grownBytes: number } {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const urls = Array.from({ length: 64 }, (_, index) => `http://replica-${index}:8000`)
  const target = makeTarget({ origin: 'http://replicas:8000', replicas: urls })
  const replicaPicker = picker(fullCacheTokens)
  const held = () => {
    collect()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const before = held()
  const filler = 'memory '.repeat(20_000)
  for (let prompt = 0; prompt < 12_000; prompt++) {
    const content = `${prompt} ${filler}`
    const pick = replicaPicker.pick({
      ...{ target, environmentId: `env_${prompt % 50}`, operation: 'chat_completions', failed: null },
      body: { bytes: { length: content.length }, fields: { messages: [{ role: 'user', content }] }, stream: true },
    })
    pick.end('ok', null)
  }
  const blockCount = replicaPicker.shown(64).reduce((sum, shown) => sum + shown.blockCount, 0)
  return { blockCount, indexBytes: replicaPicker.indexBytes, grownBytes: held() - before }
}

const rows = cases.map(measure)
console.table(rows)
const memory = measureMemory()
const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`
console.log(
  `memory when full, 64 replicas: ${memory.blockCount} blocks, indexes ${mib(memory.indexBytes)}, process ${mib(memory.grownBytes)}`,
)
const worstUs = Math.max(...rows.map((row) => row['CPU µs beyond the parse']))
console.log(JSON.stringify({ budgetUs, worstUs, rows, memory }))
process.exit(worstUs < budgetUs ? 0 : 1)
