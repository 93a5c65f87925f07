import fs from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../proto/std/clock.js'
import { freePort } from '../harness/free-port.js'
import { startTestPostgres } from '../harness/postgres.js'
import { testRedis } from '../harness/redis.js'
import {
  expectRollupsToAgree,
  freshAgentFolder,
  openSql,
  recordOf,
  seedStatements,
  startEvidence,
  startReporting,
  until,
} from './usage-parts.js'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

describe.each(['postgres', 'redis'] as const)('with the queue on %s', (backend) => {
  it('usage is whole after its servers were killed under load', async () => {
    const postgres = await startTestPostgres({ durable: true })
    cleanups.push(() => postgres.stop())
    const redis = backend === 'redis' ? await testRedis() : null
    if (redis) cleanups.push(() => redis.stop())
    const { url } = await postgres.database()
    const sql = openSql(url)
    cleanups.push(() => sql.end())
    await sql.query(seedStatements)
    const port = await freePort()
    const plane = await startEvidence({ databaseUrl: url, redisUrl: redis?.url ?? null, port })
    cleanups.push(plane.stop)
    const directory = freshAgentFolder()
    cleanups.push(async () => fs.rmSync(directory, { recursive: true, force: true }))
    const agent = await startReporting(directory, port)
    cleanups.push(agent.stop)

    const count = 4_000
    const killed = new Map<number, { kill(): Promise<void>; restart(): Promise<void> }>([
      [800, postgres],
      [1_800, redis ?? postgres],
      [2_600, postgres],
      [3_200, redis ?? postgres],
    ])
    let restarted = Promise.resolve()
    for (let i = 0; i < count; i++) {
      agent.meter.close(agent.meter.open(recordOf(`r-${i}`)), recordOf(`r-${i}`, { tokensOut: i }))
      if (i % 40 === 0) await systemClock.sleep(20)
      const server = killed.get(i)
      if (!server) continue
      await restarted
      await server.kill()
      restarted = systemClock.sleep(700).then(() => server.restart())
    }
    await restarted
    await until('everything is stored', () => agent.spool.stats().usageWaitingCount === 0)
    const { rows } = await sql.query(
      `SELECT count(*)::int AS n, count(DISTINCT "requestId")::int AS ids, sum("tokensOut")::int AS tokens FROM "UsageRecord"`,
    )
    expect(rows[0]).toEqual({ n: count, ids: count, tokens: (count * (count - 1)) / 2 })
    expect((await sql.query(`SELECT 1 FROM "DeadLetter"`)).rows).toEqual([])
    await expectRollupsToAgree(sql)
  })
})
