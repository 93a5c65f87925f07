import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import { type TestRedis, testRedis } from '../../../test/harness/redis.js'
import { JobQueues } from './job-queues.js'
import { JobWorker } from './job-worker.js'
import type { BatchJob } from './queue-table.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const job = (agentId: string): BatchJob => ({ agentId, clusterId: 'c', batch: '', drop: null })

async function until(is: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1_500; tries++) {
    if (await is()) return
    await systemClock.sleep(20)
  }
  throw new Error('it did not come to pass')
}

describe.each(['redis', 'postgres'] as const)('job queues on %s', (backend) => {
  let database: TestDatabase
  let redis: TestRedis | null = null
  const stops: (() => Promise<void>)[] = []

  beforeAll(async () => {
    database = await testDatabase()
    if (backend === 'redis') redis = await testRedis()
  })
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop()
  })
  afterAll(async () => {
    await redis?.stop()
    await database.drop()
  })

  async function started() {
    const queues = new JobQueues({
      redisUrl: redis?.url ?? null,
      databaseUrl: database.url,
      clock: systemClock,
      log: quiet,
    })
    await queues.run()
    stops.push(() => queues.stop())
    return queues
  }

  async function worked(queues: JobQueues, process: (data: BatchJob, attempt: number) => Promise<void>) {
    const worker = new JobWorker({
      queues,
      queue: 'usage',
      process: (data, attempt) => process(data, attempt.number),
      clock: systemClock,
      random: () => 0.5,
      log: quiet,
    })
    await worker.run()
    stops.push(() => worker.stop())
    return worker
  }

  it('carries jobs, forgets them when done, and does not queue the same id twice while it is there', async () => {
    const queues = await started()
    const queue = queues.queue('usage')
    await queue.add('b1', job('a'))
    await queue.add('b1', job('a'))
    await queue.add('b2', job('b'))
    expect(await queue.count()).toBe(2)
    expect(await queue.has('b1')).toBe(true)
    expect(await queue.has('b9')).toBe(false)
    const seen: string[] = []
    await worked(queues, async (data) => void seen.push(data.agentId))
    await until(async () => (await queue.count()) === 0)
    expect(seen.sort()).toEqual(['a', 'b'])
    expect(await queue.has('b1')).toBe(false)
    await queue.add('b1', job('again'))
    await until(() => seen.includes('again'))
  })

  it('tries a failing job again, with its attempt counted', async () => {
    const queues = await started()
    const attempts: number[] = []
    await worked(queues, async (_data, attempt) => {
      attempts.push(attempt)
      if (attempt < 3) throw new Error('not yet')
    })
    await queues.queue('usage').add('b1', job('a'))
    await until(() => attempts.length === 3)
    expect(attempts).toEqual([1, 2, 3])
    await until(async () => (await queues.queue('usage').count()) === 0)
  })

  it('hands a running job over when its worker stops, and finishes what runs first', async () => {
    const queues = await started()
    let running = false
    let finished = false
    const worker = await worked(queues, async () => {
      running = true
      await systemClock.sleep(200)
      finished = true
    })
    await queues.queue('usage').add('b1', job('a'))
    await until(() => running)
    await worker.stop()
    expect(finished).toBe(true)
  })
})
