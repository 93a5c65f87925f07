import fs from 'node:fs'
import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Meter } from '../../agent/src/usage/meter.js'
import { systemClock } from '../../proto/std/clock.js'
import { freePort } from '../harness/free-port.js'
import { testDatabase } from '../harness/postgres.js'
import { type TestRedis, testRedis } from '../harness/redis.js'
import {
  expectRollupsToAgree,
  freshAgentFolder,
  openSql,
  recordOf,
  type Servers,
  seedStatements,
  startEvidence,
  startReporting,
  startUsageWorker,
  until,
} from './usage-parts.js'

const clock = systemClock

describe.each(['postgres', 'redis'] as const)(
  'usage, from the meter to the rollup, with the queue on %s',
  (backend) => {
    let redis: TestRedis | null = null
    let sql: pg.Pool
    let servers: Servers
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
      const database = await testDatabase()
      servers = { databaseUrl: database.url, redisUrl: redis?.url ?? null, port: await freePort() }
      sql = openSql(database.url)
      cleanups.push(() => database.drop())
      cleanups.push(() => sql.end())
      await sql.query(seedStatements)
      if (redis) await flushRedis()
    }

    async function flushRedis() {
      const { Redis } = await import('ioredis')
      const client = new Redis(redis?.url ?? '')
      await client.flushall()
      client.disconnect()
    }

    async function startControlPlane() {
      const plane = await startEvidence(servers)
      cleanups.push(plane.stop)
      return plane
    }

    async function startAgent(directory = freshAgentFolder()) {
      cleanups.push(async () => fs.rmSync(directory, { recursive: true, force: true }))
      const agent = await startReporting(directory, servers.port)
      cleanups.push(agent.stop)
      return { directory, ...agent }
    }

    const count = async (query: string) => Number((await sql.query<{ n: string }>(query)).rows[0]?.n)
    const recordCount = () => count(`SELECT count(*) AS n FROM "UsageRecord"`)

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
      await expectRollupsToAgree(sql)
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
      await expectRollupsToAgree(sql)
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
      const again = await startUsageWorker(servers.databaseUrl, plane.queues)
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
      await expectRollupsToAgree(sql)
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
