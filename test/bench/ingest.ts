import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import grpc from '@grpc/grpc-js'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { reportMessageCodec, reportReplyCodec, usageRecordCodec } from '../../proto/gen/codec.js'
import { systemClock } from '../../proto/std/clock.js'
import { newId, newTraceId } from '../../proto/std/ids.js'
import { startTestPostgres } from '../harness/postgres.js'
import { testRedis } from '../harness/redis.js'

/**
 * Usage records per second from gRPC to *stored* (the agents were told so, by a watermark read from Postgres), beside a
 * raw COPY of the very same rows into the same table with the same indexes, in the same run on the same server.
 */
const help = `Measures ingestion of usage records.

Usage: npm run bench:ingest -- [--records 40000] [--agents 4] [--rounds 3] [--backend postgres,redis]

Promise: ratio ≥ 0.2 on both queue backends. Last line: one JSON object.`

const promisedRatio = 0.2
const batchRecords = 500
const lane = { bootEpoch: 1, lane: 0, class: 1 } as const
const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '40000' },
    agents: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    backend: { type: 'string', default: 'postgres,redis' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(help)
  process.exit(0)
}
const agentCount = Number(values.agents)
const recordsPerAgent = Math.ceil(Number(values.records) / agentCount)
const recordCount = recordsPerAgent * agentCount
const roundCount = Number(values.rounds)
const backends = values.backend.split(',')

interface Measured {
  recordsPerSecond: number
  copyRowsPerSecond: number
  ratio: number
}

const postgres = await startTestPostgres({ durable: true })
const redis = backends.includes('redis') ? await testRedis() : null
const results: Record<string, Measured> = {}
try {
  console.log(`${recordCount} records from ${agentCount} agents in batches of ${batchRecords}, ${roundCount} rounds`)
  for (const backend of backends) results[backend] = await measureBackend(backend)
} finally {
  await redis?.stop()
  await postgres.stop()
}

console.log('\nqueue      records/s   COPY rows/s   ratio')
for (const [backend, { recordsPerSecond, copyRowsPerSecond, ratio }] of Object.entries(results)) {
  console.log(
    `${backend.padEnd(10)}${String(recordsPerSecond).padStart(10)}${String(copyRowsPerSecond).padStart(14)}${ratio.toFixed(3).padStart(8)}`,
  )
}
const worst = Object.values(results).sort((a, b) => a.ratio - b.ratio)[0] as Measured
console.log(worst.ratio >= promisedRatio ? `kept: ratio ≥ ${promisedRatio}` : `BROKEN: ratio < ${promisedRatio}`)
console.log(JSON.stringify({ ...worst, backends: results }))
process.exitCode = worst.ratio >= promisedRatio ? 0 : 1

async function measureBackend(backend: string): Promise<Measured> {
  const database = await postgres.database()
  const sql = new pg.Client({ connectionString: database.url })
  await sql.connect()
  await sql.query(`
    INSERT INTO "Tenant" (id, slug, name) VALUES ('ten_bench', 'bench', 'Bench');
    INSERT INTO "Environment" (id, "tenantId", name, "permittedRegions") VALUES ('env_bench', 'ten_bench', 'production', '{eu}');
    INSERT INTO "Cluster" (id, name, kind, cloud, region) VALUES ('clu_bench', 'bench', 'gpu', 'local', 'eu')`)
  const plane = await startPlane(database.url, backend === 'redis' ? (redis?.url ?? '-') : '-')
  const rounds: { ingest: number; copy: number }[] = []
  try {
    // The first, small round warms what a running system has warm; it does not count.
    for (let round = 0; round <= roundCount; round++) {
      const perAgent = round === 0 ? Math.min(2_000, recordsPerAgent) : recordsPerAgent
      const ingest = await measureIngest(plane.address, round, perAgent)
      const found = await sql.query<{ n: string }>(`SELECT count(*) AS n FROM "UsageRecord"`)
      if (Number(found.rows[0]?.n) !== perAgent * agentCount) throw new Error('not every record is a row')
      const copy = await measureCopy(sql)
      if (round === 0) continue
      rounds.push({ ingest, copy })
      console.log(`  ${backend} round ${round}: ${Math.round(ingest)} records/s, COPY ${Math.round(copy)} rows/s`)
    }
  } finally {
    plane.process.disconnect()
    await once(plane.process, 'exit')
    await sql.end()
    await database.drop()
  }
  const recordsPerSecond = median(rounds.map((round) => round.ingest))
  const copyRowsPerSecond = median(rounds.map((round) => round.copy))
  const ratio = median(rounds.map((round) => round.ingest / round.copy))
  return {
    recordsPerSecond: Math.round(recordsPerSecond),
    copyRowsPerSecond: Math.round(copyRowsPerSecond),
    ratio: Math.round(ratio * 1000) / 1000,
  }
}

async function startPlane(databaseUrl: string, redisUrl: string): Promise<{ process: ChildProcess; address: string }> {
  const child = fork(fileURLToPath(new URL('./ingest-plane.js', import.meta.url)), [databaseUrl, redisUrl])
  const [ready] = (await once(child, 'message')) as [{ address: string }]
  return { process: child, address: ready.address }
}

/** Records per second from the first byte sent to the last watermark received. */
async function measureIngest(address: string, round: number, perAgent: number): Promise<number> {
  const batches = Array.from({ length: agentCount }, () => encodeBatches(perAgent))
  const startUs = systemClock.monotonicUs()
  await Promise.all(
    batches.map((agentBatches, agent) => report(address, `agt_${round}_${agent}`, agentBatches, perAgent)),
  )
  return (perAgent * agentCount * 1e6) / (systemClock.monotonicUs() - startUs)
}

interface EncodedBatch {
  message: Buffer
  payloadBytes: number
}

function encodeBatches(perAgent: number): EncodedBatch[] {
  const batches: EncodedBatch[] = []
  for (let first = 0; first < perAgent; first += batchRecords) {
    const records = Array.from({ length: Math.min(batchRecords, perAgent - first) }, (_, index) => ({
      sequence: first + index,
      payload: encodeRecord(),
    }))
    const message = Buffer.from(reportMessageCodec.encode({ batch: { lane, records } }))
    batches.push({ message, payloadBytes: records.reduce((sum, record) => sum + record.payload.length, 0) })
  }
  return batches
}

function encodeRecord(): Uint8Array {
  const nowMs = systemClock.nowMs()
  return usageRecordCodec.encode({
    ...{ requestId: newId('request', nowMs), traceId: newTraceId(), startedAtUnixMs: nowMs },
    ...{
      tenantId: 'ten_bench',
      environmentId: 'env_bench',
      apiKeyId: 'key_bench',
      teamId: 'team_bench',
      userId: 'anonymous',
    },
    ...{ operation: 'chat_completions', routeId: 'rte_bench', routeName: 'chat', providerId: 'prv_bench' },
    ...{ requestedModel: 'chat', actualModel: 'tiny-1', modelId: 'mdl_bench', clusterId: 'clu_bench', region: 'eu' },
    ...{
      tokensIn: 321,
      tokensOut: 123,
      tokensInCached: 0,
      usageSource: 'provider',
      costNanoUsd: 123_456,
      priceVersion: 1,
    },
    ...{ latencyUs: 812_345, providerLatencyUs: 801_000, guardrailLatencyUs: 0, firstTokenUs: 90_000, status: 'ok' },
    ...{ httpStatus: 200, stream: true, temperature: 0.7, snapshotGeneration: 12, spanId: '00f067aa0ba902b7' },
    hops: [
      {
        ...{ index: 0, targetId: 'tgt_bench', providerId: 'prv_bench', modelId: 'mdl_bench', upstreamModel: 'tiny-1' },
        ...{ outcome: 'ok', httpStatus: 200, startedUs: 300, durationUs: 801_000 },
      },
    ],
  })
}

/** One agent's stream: sends within its credit, resolves when the watermark is past the last record. */
async function report(address: string, agent: string, batches: readonly EncodedBatch[], count: number): Promise<void> {
  const client = new grpc.Client(address, grpc.credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
  const metadata = new grpc.Metadata()
  metadata.set('agent', agent)
  const call = client.makeBidiStreamRequest(
    '/switchyard.v1.ReportService/Report',
    (bytes: Buffer) => bytes,
    (bytes) => reportReplyCodec.decode(bytes),
    metadata,
  )
  let credit = 0
  let next = 0
  const sendWithinCredit = () => {
    for (let batch = batches[next]; batch && credit > 0; batch = batches[next]) {
      call.write(batch.message)
      credit -= batch.payloadBytes
      next += 1
    }
  }
  call.write(
    Buffer.from(reportMessageCodec.encode({ hello: { protocolVersion: 1, agentVersion: 'bench', lanes: [lane] } })),
  )
  await new Promise<void>((resolve, reject) => {
    call.on('error', reject)
    call.on('data', (reply: ReturnType<typeof reportReplyCodec.decode>) => {
      if (reply.credit?.class === 'USAGE') credit += reply.credit.bytes
      if ((reply.stored?.nextSequence ?? 0) >= count) resolve()
      sendWithinCredit()
    })
  })
  call.removeAllListeners('error')
  call.on('error', () => {})
  call.cancel()
  client.close()
}

/** Takes the rows out as COPY text, empties the table, and puts them back: rows per second of the latter. */
async function measureCopy(sql: pg.Client): Promise<number> {
  const chunks: Buffer[] = []
  await pipeline(sql.query(copyTo('COPY "UsageRecord" TO STDOUT')), async (source) => {
    for await (const chunk of source) chunks.push(chunk as Buffer)
  })
  await empty(sql)
  const startUs = systemClock.monotonicUs()
  const target = sql.query(copyFrom('COPY "UsageRecord" FROM STDIN'))
  await pipeline(Readable.from(chunks), target)
  const seconds = (systemClock.monotonicUs() - startUs) / 1e6
  await empty(sql)
  return target.rowCount / seconds
}

/** Also what the next round would otherwise pay for: dead rows and a full write-ahead log. */
async function empty(sql: pg.Client): Promise<void> {
  await sql.query(`TRUNCATE "UsageRecord", "RollupMark"`)
  await sql.query('CHECKPOINT')
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? 0
}
