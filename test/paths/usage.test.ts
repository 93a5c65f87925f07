import { randomInt } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import grpc from '@grpc/grpc-js'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
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
import { freePort } from '../harness/free-port.js'
import { type TestDatabase, testDatabase } from '../harness/postgres.js'
import { type TestRedis, testRedis } from '../harness/redis.js'
import { type ReportServer, serveReports } from './usage-report-server.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const clock = systemClock
const random = () => randomInt(1 << 30) / (1 << 30)
const peer = { agentId: 'agt_one', clusterId: 'clu_one' }

async function until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 2_400; tries++) {
    if (await is()) return
    await clock.sleep(25)
  }
  throw new Error(`never came to pass: ${what}`)
}

function recordOf(requestId: string, more: Partial<UsageRecord> = {}): UsageRecord {
  return {
    requestId,
    traceId: '0af7651916cd43dd8448eb211c80319c',
    startedAtUnixMs: clock.nowMs(),
    tenantId: 'ten_one',
    environmentId: 'env_one',
    apiKeyId: 'key_one',
    userId: 'anonymous',
    operation: 'chat_completions',
    routeName: 'chat',
    requestedModel: 'chat',
    actualModel: 'tiny',
    clusterId: peer.clusterId,
    region: 'eu',
    tokensIn: 10,
    tokensOut: 20,
    usageSource: 'provider',
    costNanoUsd: 1_500,
    priceVersion: 1,
    latencyUs: 1_000,
    status: 'ok',
    httpStatus: 200,
    ...more,
  }
}

describe.each(['postgres', 'redis'] as const)(
  'usage, from the meter to the rollup, with the queue on %s',
  (backend) => {
    let testDb: TestDatabase
    let redis: TestRedis | null = null
    let sql: pg.Pool
    let port: number
    const cleanups: (() => Promise<unknown>)[] = []

    beforeAll(async () => {
      if (backend === 'redis') redis = await testRedis()
    })
    afterAll(async () => {
      await redis?.stop()
    })
    afterEach(async () => {
      for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
    })

    async function fresh() {
      testDb = await testDatabase()
      sql = new pg.Pool({ connectionString: testDb.url, max: 2 })
      port = await freePort()
      cleanups.push(() => testDb.drop())
      cleanups.push(() => sql.end())
      await sql.query(`
      INSERT INTO "Tenant" (id, slug, name) VALUES ('ten_one', 'one', 'One'), ('ten_two', 'two', 'Two');
      INSERT INTO "Environment" (id, "tenantId", name, "permittedRegions")
        VALUES ('env_one', 'ten_one', 'production', '{eu}'), ('env_us', 'ten_one', 'us', '{us}'),
               ('env_two', 'ten_two', 'production', '{us}');
      INSERT INTO "Cluster" (id, name, kind, cloud, region) VALUES ('clu_one', 'one', 'gpu', 'local', 'eu')`)
      if (redis) await flushRedis()
    }

    async function flushRedis() {
      const { Redis } = await import('ioredis')
      const client = new Redis(redis?.url ?? '')
      await client.flushall()
      client.disconnect()
    }

    /** The evidence side of a control plane; `kill` ends it without letting anything finish. */
    async function startControlPlane() {
      const database = new Database({ url: testDb.url, poolMax: 1, sqlPoolMax: 8 })
      const queues = new JobQueues({ redisUrl: redis?.url ?? null, databaseUrl: testDb.url, clock, log: quiet })
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
      const lanes = new LaneStore()
      const placement = new PlacementReader(database, clock)
      const workers = [
        new UsageWorker({
          ...{ queues, queue: 'usage', clock, random, log: quiet },
          batches: new BatchService({ database, sink: new UsageStore(), lanes, placement }),
          onStored: () => intake.wake(),
          onAlarm: (alarm) => alarms.push(alarm),
        }),
        new UsageWorker({
          ...{ queues, queue: 'spans', clock, random, log: quiet },
          batches: new BatchService({ database, sink: new SpanStore(), lanes, placement }),
          onStored: () => intake.wake(),
          onAlarm: (alarm) => alarms.push(alarm),
        }),
      ]
      for (const worker of workers) await worker.run()
      const rollups = new RollupWorker({
        database,
        rollups: new RollupStore(),
        clock,
        log: quiet,
        pollMs: 100,
        openBucketMs: 200,
      })
      await rollups.run()
      const server: ReportServer = await serveReports(intake, () => peer.agentId, peer.clusterId, port)
      let stopped = false
      const stop = async () => {
        if (stopped) return
        stopped = true
        server.stop()
        await rollups.stop()
        for (const worker of workers) await worker.stop()
        await intake.stop()
        await queues.stop()
        await database.close()
      }
      cleanups.push(stop)
      return { alarms, stop, queues, workers }
    }

    async function startAgent(directory = fs.mkdtempSync(path.join(os.tmpdir(), 'switchyard-agent-'))) {
      cleanups.push(async () => fs.rmSync(directory, { recursive: true, force: true }))
      const spool = new Spool({
        directory,
        clock,
        log: quiet,
        segmentBytes: 16_384,
        usageBytesMax: 64 << 20,
        spanBytesMax: 4 << 20,
      })
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
      cleanups.push(async () => {
        await reporter.stop()
        await spool.stop()
      })
      return { directory, spool, reporter, meter: new Meter(spool, quiet) }
    }

    const count = async (query: string) => Number((await sql.query<{ n: string }>(query)).rows[0]?.n)
    const recordCount = () => count(`SELECT count(*) AS n FROM "UsageRecord"`)

    async function expectRollupsToAgree() {
      for (const granularity of ['minute', 'hour']) {
        await until(`${granularity} rollups agree`, async () => {
          const { rows } = await sql.query(
            `SELECT (SELECT (count(*), sum("tokensIn"), sum("tokensOut"), sum("costNanoUsd"), sum("latencyUs"))::text FROM "UsageRecord") =
                  (SELECT (sum("requestCount")::bigint, sum("tokensIn"), sum("tokensOut"), sum("costNanoUsd"), sum("latencyUs"))::text
                   FROM "UsageRollup" WHERE granularity = $1) AS agree`,
            [granularity],
          )
          return rows[0].agree === true
        })
      }
      await until('no mark is left', async () => (await count(`SELECT count(*) AS n FROM "RollupMark"`)) === 0)
    }

    it('stores every record once, tells the agent, and sums', async () => {
      await fresh()
      await startControlPlane()
      const { meter, spool } = await startAgent()
      const long = meter.open(recordOf('long'))
      for (let i = 0; i < 1_200; i++) {
        if (i % 3 === 0)
          meter.record(recordOf(`refused-${i}`, { status: 'refused', code: 'rate_limited', tokensIn: 0 }))
        else meter.close(meter.open(recordOf(`r-${i}`)), recordOf(`r-${i}`, { tokensOut: i }))
        if (i % 4 === 0)
          meter.span({
            traceId: `t-${i}`,
            spanId: 's',
            name: 'request',
            startUnixUs: clock.nowMs() * 1000,
            endUnixUs: clock.nowMs() * 1000 + 5,
          })
      }
      await until('all but the long one are stored', async () => (await recordCount()) === 1_200)
      expect(spool.usage.storedNext).toBe(0)
      meter.close(long, recordOf('long'))
      await until(
        'the agent knows',
        () => spool.stats().usageWaitingCount === 0 && spool.stats().spanWaitingCount === 0,
      )
      expect(await recordCount()).toBe(1_201)
      expect(await count(`SELECT count(DISTINCT "requestId") AS n FROM "UsageRecord"`)).toBe(1_201)
      expect(await count(`SELECT count(*) AS n FROM "TraceSpan"`)).toBe(300)
      expect(await count(`SELECT count(*) AS n FROM "DeadLetter"`)).toBe(0)
      await expectRollupsToAgree()
    })

    it('comes to the same end when agent and control plane are killed at random', async () => {
      await fresh()
      let plane = await startControlPlane()
      let agent = await startAgent()
      const expected = new Set<string>()
      const open: { id: string; record: ReturnType<Meter['open']> }[] = []
      for (let i = 0; i < 3_000; i++) {
        const id = `r-${i}`
        expected.add(id)
        const record = agent.meter.open(recordOf(id))
        if (i % 7 === 0) open.push({ id, record })
        else agent.meter.close(record, recordOf(id))
        if (i % 50 === 0) await clock.sleep(5)
        if (i % 700 === 350) {
          await plane.stop()
          plane = await startControlPlane()
        }
        if (i % 1_000 === 900) {
          // The process is gone: nothing of it writes any more, and what was open stays open.
          await agent.reporter.stop()
          open.length = 0
          agent = await startAgent(agent.directory)
        }
      }
      for (const { id, record } of open) agent.meter.close(record, recordOf(id))
      await until('everything is stored', () => agent.spool.stats().usageWaitingCount === 0)
      const { rows } = await sql.query<{ requestId: string; n: string }>(
        `SELECT "requestId", count(*) AS n FROM "UsageRecord" GROUP BY 1`,
      )
      expect(rows.filter((row) => row.n !== '1')).toEqual([])
      expect(new Set(rows.map((row) => row.requestId))).toEqual(expected)
      expect(await count(`SELECT count(*) AS n FROM "DeadLetter"`)).toBe(0)
      expect(await count(`SELECT count(*) AS n FROM "UsageRecord" WHERE status = 'interrupted'`)).toBeGreaterThan(0)
      await expectRollupsToAgree()
    })

    it('sends again what the queue forgot', async () => {
      await fresh()
      const plane = await startControlPlane()
      const { meter, spool, reporter } = await startAgent()
      meter.record(recordOf('first'))
      await until('the way is open', async () => (await recordCount()) === 1)
      for (const worker of plane.workers) await worker.stop()
      for (let i = 0; i < 500; i++) meter.record(recordOf(`r-${i}`))
      await until('it is queued', async () => (await plane.queues.queue('usage').count()) > 0)
      if (redis) await flushRedis()
      else await sql.query(`DELETE FROM bullmq.${await jobTable()}`)
      const again = await startControlPlaneWorkers(plane.queues)
      await until('everything is stored', () => spool.stats().usageWaitingCount === 0)
      expect(await recordCount()).toBe(501)
      expect(reporter.stats().resendCount).toBeGreaterThan(0)
      await again()
    })

    async function jobTable(): Promise<string> {
      const { rows } = await sql.query<{ table_name: string }>(
        `SELECT table_name FROM information_schema.tables WHERE table_schema = 'bullmq'`,
      )
      return rows.map((row) => row.table_name).find((name) => name === 'job' || name === 'jobs') ?? 'jobs'
    }

    async function startControlPlaneWorkers(queues: JobQueues) {
      const database = new Database({ url: testDb.url, poolMax: 1, sqlPoolMax: 4 })
      const worker = new UsageWorker({
        ...{ queues, queue: 'usage', clock, random, log: quiet },
        batches: new BatchService({
          ...{ database, sink: new UsageStore(), lanes: new LaneStore() },
          placement: new PlacementReader(database, clock),
        }),
      })
      await worker.run()
      return async () => {
        await worker.stop()
        await database.close()
      }
    }

    it('fills in what a restored database lost', async () => {
      await fresh()
      const plane = await startControlPlane()
      const { meter, spool } = await startAgent()
      for (let i = 0; i < 300; i++) meter.record(recordOf(`r-${i}`))
      await until('everything is stored', () => spool.stats().usageWaitingCount === 0)
      await plane.stop()
      // A backup from when 100 were stored.
      await sql.query(`DELETE FROM "UsageRecord" WHERE sequence >= 100; DELETE FROM "UsageRollup"; DELETE FROM "RollupMark";
      UPDATE "SpoolLane" SET ranges = '{[0,100)}', "nextSequence" = 100 WHERE class = 'usage';
      INSERT INTO "RollupMark" (granularity, "bucketAt", "tenantId")
        SELECT DISTINCT 'minute', date_trunc('minute', "startedAt", 'UTC'), "tenantId" FROM "UsageRecord"`)
      await startControlPlane()
      await until('everything is stored again', async () => (await recordCount()) === 300)
      await until('the agent knows', () => spool.stats().usageWaitingCount === 0)
      await expectRollupsToAgree()
    })

    it('keeps what cannot be a row as a dead letter, and moves on', async () => {
      await fresh()
      const { alarms } = await startControlPlane()
      const { meter, spool } = await startAgent()
      meter.record(recordOf('good'))
      meter.record(recordOf('wrong-region', { environmentId: 'env_us' }))
      meter.record(recordOf('wrong-tenant', { environmentId: 'env_two', tenantId: 'ten_two' }))
      meter.record(recordOf('stolen-environment', { tenantId: 'ten_two' }))
      meter.record(recordOf('wrong-cluster', { clusterId: 'clu_two' }))
      meter.record(recordOf('no-status', { status: 'excellent' }))
      meter.record(recordOf('also-good'))
      await until('the agent may forget them all', () => spool.stats().usageWaitingCount === 0)
      const { rows } = await sql.query(`SELECT "requestId" FROM "UsageRecord" ORDER BY sequence`)
      expect(rows.map((row) => row.requestId)).toEqual(['good', 'also-good'])
      const letters = await sql.query(`SELECT sequence::int, code FROM "DeadLetter" ORDER BY sequence`)
      expect(letters.rows).toEqual([
        { sequence: 1, code: 'placement' },
        { sequence: 2, code: 'placement' },
        { sequence: 3, code: 'placement' },
        { sequence: 4, code: 'placement' },
        { sequence: 5, code: 'malformed' },
      ])
      expect(new Set(alarms.map((alarm) => alarm.code))).toEqual(new Set(['placement', 'malformed']))
    })
  },
)
