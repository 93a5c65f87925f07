import { randomInt } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import grpc from '@grpc/grpc-js'
import pg from 'pg'
import { Meter } from '../../agent/src/usage/meter.js'
import { Spool } from '../../agent/src/usage/spool.js'
import { UsageReporter } from '../../agent/src/usage/usage-reporter.js'
import { Database } from '../../control-plane/src/database/database.js'
import { JobQueues } from '../../control-plane/src/jobs/job-queues.js'
import { Metrics } from '../../control-plane/src/observability/metrics.js'
import { SpanStore } from '../../control-plane/src/traces/span-store.js'
import { BatchService } from '../../control-plane/src/usage/batch-service.js'
import { LaneStore } from '../../control-plane/src/usage/lane-store.js'
import { PlacementReader } from '../../control-plane/src/usage/placement-reader.js'
import { RollupStore } from '../../control-plane/src/usage/rollup-store.js'
import { RollupWorker } from '../../control-plane/src/usage/rollup-worker.js'
import { UsageIntake } from '../../control-plane/src/usage/usage-intake.js'
import { UsageStore } from '../../control-plane/src/usage/usage-store.js'
import { type UsageAlarm, UsageWorker } from '../../control-plane/src/usage/usage-worker.js'
import { WatermarkReader } from '../../control-plane/src/usage/watermark-reader.js'
import type { UsageRecord } from '../../proto/gen/switchyard/v1/UsageRecord.js'
import { systemClock } from '../../proto/std/clock.js'
import type { Log } from '../../proto/std/service.js'
import { serveReports } from './usage-report-server.js'

/** Both ends of the usage path without the rest of their planes. */
const clock = systemClock
const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const random = () => randomInt(1 << 30) / (1 << 30)

export const peer = { agentId: 'agt_one', clusterId: 'clu_one' }

/** Two tenants; the agent's cluster is in `eu`, where only `env_one` may be. */
export const seedStatements = `
  INSERT INTO "Tenant" (id, slug, name) VALUES ('ten_one', 'one', 'One'), ('ten_two', 'two', 'Two');
  INSERT INTO "Environment" (id, "tenantId", name, "permittedRegions")
    VALUES ('env_one', 'ten_one', 'production', '{eu}'), ('env_us', 'ten_one', 'us', '{us}'),
           ('env_two', 'ten_two', 'production', '{us}');
  INSERT INTO "Cluster" (id, name, kind, cloud, region) VALUES ('clu_one', 'one', 'gpu', 'local', 'eu')`

/** For looking; a connection that dies is nobody's failure. */
export function openSql(connectionString: string): pg.Pool {
  const sql = new pg.Pool({ connectionString, max: 2 })
  sql.on('error', () => {})
  sql.on('connect', (client) => client.on('error', () => {}))
  return sql
}

export async function until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 2_400; tries++) {
    if (await is()) return
    await clock.sleep(25)
  }
  throw new Error(`never came to pass: ${what}`)
}

export function recordOf(requestId: string, more: Partial<UsageRecord> = {}): UsageRecord {
  return {
    ...{ requestId, traceId: '0af7651916cd43dd8448eb211c80319c', startedAtUnixMs: clock.nowMs() },
    ...{ tenantId: 'ten_one', environmentId: 'env_one', apiKeyId: 'key_one', userId: 'anonymous' },
    ...{ operation: 'chat_completions', routeName: 'chat', requestedModel: 'chat', actualModel: 'tiny' },
    ...{ clusterId: peer.clusterId, region: 'eu', tokensIn: 10, tokensOut: 20, usageSource: 'provider' },
    ...{ costNanoUsd: 1_500, priceVersion: 1, latencyUs: 1_000, status: 'ok', httpStatus: 200 },
    ...more,
  }
}

export interface Servers {
  databaseUrl: string
  redisUrl: string | null
  /** Of the report service. */
  port: number
}

/** One consumer of usage by itself. */
export async function startUsageWorker(databaseUrl: string, queues: JobQueues): Promise<() => Promise<void>> {
  const database = new Database({ url: databaseUrl, poolMax: 1, sqlPoolMax: 4 })
  const placement = new PlacementReader(database, clock)
  const batches = new BatchService({ database, sink: new UsageStore(), lanes: new LaneStore(), placement })
  const worker = new UsageWorker({ queues, queue: 'usage', batches, clock, random, log: quiet })
  await worker.run()
  return async () => {
    await worker.stop()
    await database.close()
  }
}

/** The evidence side of a control plane. */
export async function startEvidence({ databaseUrl, redisUrl, port }: Servers) {
  const database = new Database({ url: databaseUrl, poolMax: 1, sqlPoolMax: 8 })
  const queues = new JobQueues({ redisUrl, databaseUrl, clock, log: quiet })
  await queues.run()
  const alarms: UsageAlarm[] = []
  const intake = new UsageIntake({
    queues: { usage: queues.queue('usage'), spans: queues.queue('spans') },
    watermarks: new WatermarkReader(database),
    metrics: new Metrics(),
    missingAfterMs: 1_000,
    ...{ clock, random, log: quiet },
  })
  await intake.run()
  const stores = { database, lanes: new LaneStore(), placement: new PlacementReader(database, clock) }
  const shared = {
    ...{ queues, clock, random, log: quiet },
    onStored: () => intake.wake(),
    onAlarm: (alarm: UsageAlarm) => alarms.push(alarm),
  }
  const workers = [
    new UsageWorker({ ...shared, queue: 'usage', batches: new BatchService({ ...stores, sink: new UsageStore() }) }),
    new UsageWorker({ ...shared, queue: 'spans', batches: new BatchService({ ...stores, sink: new SpanStore() }) }),
  ]
  for (const worker of workers) await worker.run()
  const rollups = new RollupWorker({
    ...{ database, rollups: new RollupStore(), metrics: new Metrics(), clock, log: quiet },
    pollMs: 100,
    openBucketMs: 200,
  })
  await rollups.run()
  const server = await serveReports(intake, () => peer.agentId, peer.clusterId, port)
  let stopped = false
  return {
    ...{ alarms, queues, workers },
    stop: async () => {
      if (stopped) return
      stopped = true
      server.stop()
      await rollups.stop()
      for (const worker of workers) await worker.stop()
      await intake.stop()
      await queues.stop()
      await database.close()
    },
  }
}

export function freshAgentFolder(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-agent-'))
}

/** The evidence side of an agent; a second one on the same folder is its next life. */
export async function startReporting(directory: string, port: number) {
  const sizes = { segmentBytes: 16_384, usageBytesMax: 64 << 20, spanBytesMax: 4 << 20 }
  const spool = new Spool({ directory, clock, log: quiet, ...sizes })
  await spool.run()
  const reporter = new UsageReporter({
    identity: {
      agentId: peer.agentId,
      fleetAddress: `127.0.0.1:${port}`,
      credentials: () => grpc.credentials.createInsecure(),
      whenValid: async () => {},
      onRenewed: () => () => {},
    },
    ...{ spool, agentVersion: 'test', clock, random, log: quiet },
    reconnectMaxMs: 500,
    stallMs: 1_500,
  })
  await reporter.run()
  return {
    ...{ spool, reporter, meter: new Meter(spool, quiet) },
    stop: async () => {
      await reporter.stop()
      await spool.stop()
    },
  }
}

/** Waits until the sums of both granularities are those of the records, and no mark is left. */
export async function expectRollupsToAgree(sql: pg.Pool): Promise<void> {
  for (const granularity of ['minute', 'hour']) {
    await until(`${granularity} rollups agree with records`, async () => {
      const { rows } = await sql.query<{ agree: boolean }>(
        `SELECT (SELECT (count(*), sum("tokensIn"), sum("tokensOut"), sum("costNanoUsd"), sum("latencyUs"))::text
                 FROM "UsageRecord") =
                (SELECT (sum("requestCount")::bigint, sum("tokensIn"), sum("tokensOut"), sum("costNanoUsd"), sum("latencyUs"))::text
                 FROM "UsageRollup" WHERE granularity = $1) AS agree`,
        [granularity],
      )
      return rows[0]?.agree === true
    })
  }
  await until('no mark is left', async () => {
    const { rows } = await sql.query(`SELECT 1 FROM "RollupMark" LIMIT 1`)
    return rows.length === 0
  })
}
