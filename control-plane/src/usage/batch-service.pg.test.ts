import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { batchCodec, usageRecordCodec } from '../../../proto/gen/codec.js'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import { systemClock, VirtualClock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import { Database } from '../database/database.js'
import { JobQueues } from '../jobs/job-queues.js'
import { Metrics } from '../observability/metrics.js'
import { BatchService, type ReportBatch } from './batch-service.js'
import { LaneStore } from './lane-store.js'
import { packBatch } from './packed-batch.js'
import { PlacementReader } from './placement-reader.js'
import type { ReportLane } from './report-lane.js'
import { RollupStore } from './rollup-store.js'
import { RollupWorker } from './rollup-worker.js'
import { UsageStore } from './usage-store.js'
import { type UsageAlarm, UsageWorker } from './usage-worker.js'
import { WatermarkReader } from './watermark-reader.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const startedAtUnixMs = Date.UTC(2026, 4, 1, 12, 30, 30)
const lane: ReportLane = { agentId: 'agt_one', bootEpoch: 7, lane: 0, class: 'usage' }

let testDb: TestDatabase
let database: Database
let service: BatchService<unknown>

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 1, sqlPoolMax: 6 })
  await database.sql.query(`
    INSERT INTO "Tenant" (id, slug, name) VALUES ('ten_one', 'one', 'One');
    INSERT INTO "Environment" (id, "tenantId", name, "permittedRegions") VALUES
      ('env_one', 'ten_one', 'production', '{eu}'), ('env_us', 'ten_one', 'us', '{us}'), ('env_was', 'ten_one', 'was', '{us}'),
      ('env_long', 'ten_one', 'long-ago', '{us}');
    INSERT INTO "Cluster" (id, name, kind, cloud, region) VALUES ('clu_one', 'one', 'gpu', 'local', 'eu');
    INSERT INTO "Snapshot" (view, epoch, generation, "rootHash", header, signature, sections, "removedSections")
      VALUES ('clu_one/main', 1, 1, sha256(''), '', '', '[{"name": "environment/ten_one/env_was", "hash": "00"}]', '{}');
    INSERT INTO "Tombstone" (view, "sectionName", "resourceName") VALUES ('clu_one/main', 'environment/ten_one/env_long', '')`)
})
afterAll(async () => {
  await database.close()
  await testDb.drop()
})
beforeEach(async () => {
  await database.sql.query(
    'TRUNCATE "UsageRecord", "DeadLetter", "SpoolLane", "SpoolDrop", "RollupMark", "UsageRollup"',
  )
  service = new BatchService({
    ...{ database, sink: new UsageStore(), lanes: new LaneStore() },
    placement: new PlacementReader(database, systemClock),
  })
})

function payloadOf(requestId: string, more: Partial<UsageRecord> = {}): Uint8Array {
  return usageRecordCodec.encode({
    ...{
      requestId,
      startedAtUnixMs,
      tenantId: 'ten_one',
      environmentId: 'env_one',
      apiKeyId: 'key_one',
      clusterId: 'clu_one',
    },
    ...{
      operation: 'chat_completions',
      usageSource: 'provider',
      status: 'ok',
      tokensIn: 1,
      tokensOut: 2,
      costNanoUsd: 3,
    },
    ...more,
  })
}

function batchOf(sequences: readonly number[], more: Partial<UsageRecord> = {}): ReportBatch {
  return {
    lane,
    clusterId: 'clu_one',
    records: sequences.map((sequence) => ({ sequence, payload: payloadOf(`r-${sequence}`, more) })),
  }
}

const rowsOf = async (query: string) => (await database.sql.query(query)).rows
const watermark = async () => (await new WatermarkReader(database).loadWatermarks([lane]))[0]
const letters = () => rowsOf(`SELECT sequence::int, code FROM "DeadLetter" ORDER BY sequence, code`)
const storedSequences = async () =>
  (await rowsOf(`SELECT sequence::int FROM "UsageRecord" ORDER BY sequence`)).map((row) => row.sequence)

describe('a batch', () => {
  it('is stored once, however often it comes', async () => {
    expect(await service.store(batchOf([0, 1, 2]))).toMatchObject({ storedCount: 3, repeatedCount: 0 })
    expect(await service.store(batchOf([0, 1, 2]))).toMatchObject({ storedCount: 0, repeatedCount: 3 })
    expect(await service.store(batchOf([1, 2, 3]))).toMatchObject({ storedCount: 1, repeatedCount: 2 })
    expect(await storedSequences()).toEqual([0, 1, 2, 3])
    expect(await watermark()).toBe(4)
    expect(await letters()).toEqual([])
  })

  it('keeps what a client decided of the routing and what each hop served; one that served less than nothing is a dead letter', async () => {
    const lost = { index: 0, targetId: 'tgt_a', outcome: 'hedge_lost', tokensIn: 5, tokensOut: 0, costNanoUsd: 9 }
    const won = { index: 1, targetId: 'tgt_b', outcome: 'ok' }
    await service.store(batchOf([0], { routingOverride: 'target=tgt_b fallback=none', hops: [lost, won] }))
    await service.store(batchOf([1], { hops: [won] }))
    await service.store(batchOf([2], { hops: [{ ...lost, costNanoUsd: -1 }] }))
    const rows = await rowsOf(`SELECT "routingOverride", hops FROM "UsageRecord" ORDER BY sequence`)
    expect(rows).toMatchObject([
      { routingOverride: 'target=tgt_b fallback=none', hops: [lost, won] },
      { routingOverride: null, hops: [won] },
    ])
    expect(rows[0].hops[1]).not.toHaveProperty('tokensIn')
    expect(await letters()).toEqual([{ sequence: 2, code: 'malformed' }])
    expect(await watermark()).toBe(3)
  })

  it('moves the watermark only over what is whole', async () => {
    await service.store(batchOf([5, 6]))
    expect(await watermark()).toBe(0)
    await service.store(batchOf([0, 1, 3]))
    expect(await watermark()).toBe(2)
    await service.store(batchOf([2]))
    expect(await watermark()).toBe(4)
    await service.store(batchOf([4]))
    expect(await watermark()).toBe(7)
  })

  it('keeps the first of two records under one key and buries the other', async () => {
    await service.store(batchOf([0, 1]))
    const outcome = await service.store(batchOf([0, 1, 2], { tokensOut: 999 }))
    expect(outcome.deadLetters.map((letter) => letter.code)).toEqual(['conflict', 'conflict'])
    await service.store(batchOf([0, 1, 2], { tokensOut: 999 }))
    expect(await letters()).toEqual([
      { sequence: 0, code: 'conflict' },
      { sequence: 1, code: 'conflict' },
    ])
    expect(await rowsOf(`SELECT "tokensOut"::int AS t FROM "UsageRecord" ORDER BY sequence`)).toEqual([
      { t: 2 },
      { t: 2 },
      { t: 999 },
    ])
    const [letter] = await rowsOf(`SELECT payload FROM "DeadLetter" WHERE sequence = 1`)
    expect(usageRecordCodec.decode(letter.payload).tokensOut).toBe(999)
  })

  it('does not turn a dead letter into a row when it comes again', async () => {
    const bad: ReportBatch = { ...batchOf([]), records: [{ sequence: 0, payload: new Uint8Array([255, 255]) }] }
    await service.store(bad)
    await service.store(bad)
    await service.store(batchOf([0]))
    expect(await letters()).toEqual([{ sequence: 0, code: 'malformed' }])
    expect(await storedSequences()).toEqual([])
    expect(await watermark()).toBe(1)
  })

  it('accepts environments placed now, or served before, and no others', async () => {
    for (const [index, environmentId] of ['env_one', 'env_was', 'env_long', 'env_us', 'env_none'].entries()) {
      await service.store(batchOf([index], { environmentId }))
    }
    expect(await storedSequences()).toEqual([0, 1, 2])
    expect(await letters()).toEqual([
      { sequence: 3, code: 'placement' },
      { sequence: 4, code: 'placement' },
    ])
  })

  it('stores texts that PostgreSQL would refuse, and long ones, without losing the record', async () => {
    await service.store(
      batchOf([0], { userId: `a\0b${'x'.repeat(5_000)}`, requestId: 'r'.repeat(9_000), routeName: '\u{1f600}' }),
    )
    const [row] = await rowsOf(`SELECT "userId", length("requestId") AS long, "routeName" FROM "UsageRecord"`)
    expect(row.userId.startsWith('a\ufffdbxxx')).toBe(true)
    expect(row.long).toBe(128)
    expect(row.routeName).toBe('\u{1f600}')
  })

  it('refuses numbers that cannot be, and knows 2^53 - 1', async () => {
    await service.store(batchOf([0], { costNanoUsd: Number.MAX_SAFE_INTEGER, tokensOut: 2 ** 40 }))
    await service.store(batchOf([1], { costNanoUsd: -1 }))
    await service.store(batchOf([2], { tokensIn: '18446744073709551615' }))
    await service.store(batchOf([3], { startedAtUnixMs: 0 }))
    expect(await rowsOf(`SELECT "costNanoUsd"::text AS c FROM "UsageRecord"`)).toEqual([{ c: '9007199254740991' }])
    expect((await letters()).map((letter) => letter.code)).toEqual(['malformed', 'malformed', 'malformed'])
  })
})

describe('a declared drop', () => {
  it('closes a gap and counts what is really gone', async () => {
    await service.store(batchOf([0, 1, 5, 6]))
    expect(await service.drop(lane, 1, 5, 'over_budget')).toBe(3)
    expect(await watermark()).toBe(7)
    expect(await service.drop(lane, 1, 5, 'over_budget')).toBe(0)
    expect(await rowsOf(`SELECT "missingCount"::int AS n, reason FROM "SpoolDrop"`)).toEqual([
      { n: 3, reason: 'over_budget' },
    ])
    // What was declared gone is accounted for; a late copy is not a second account of it.
    await service.store(batchOf([3]))
    expect(await storedSequences()).toEqual([0, 1, 5, 6])
  })
})

it('comes to the same rows in any order, with any repetition, from many at once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uniqueArray(fc.nat(40), { minLength: 1, maxLength: 15 }), { minLength: 1, maxLength: 8 }),
      async (batches) => {
        await database.sql.query('TRUNCATE "UsageRecord", "DeadLetter", "SpoolLane"')
        await Promise.all(batches.map((sequences) => service.store(batchOf([...sequences].sort((a, b) => a - b)))))
        const expected = [...new Set(batches.flat())].sort((a, b) => a - b)
        expect(await storedSequences()).toEqual(expected)
        const firstGap = expected.findIndex((sequence, index) => sequence !== index)
        expect(await watermark()).toBe(firstGap === -1 ? expected.length : firstGap)
      },
    ),
    { numRuns: 25 },
  )
})

describe('the worker', () => {
  const alarms: UsageAlarm[] = []
  const worker = (batches: Pick<BatchService<unknown>, 'store' | 'drop' | 'bury'>) => {
    alarms.length = 0
    const shared = { clock: systemClock, random: () => 0.5, log: quiet }
    return new UsageWorker({
      queues: new JobQueues({ redisUrl: null, databaseUrl: testDb.url, ...shared }),
      ...{ queue: 'usage', batches, onAlarm: (alarm) => alarms.push(alarm), ...shared },
    })
  }
  const job = async (sequences: readonly number[]) => ({
    ...{ agentId: lane.agentId, clusterId: 'clu_one', drop: null },
    batch: await packBatch(
      batchCodec.encode({
        lane: { bootEpoch: lane.bootEpoch, lane: 0, class: 1 },
        records: [...batchOf(sequences).records],
      }),
    ),
  })
  /** A store that fails on some sequences in the way given. */
  const failing = (fault: Error, on: (sequence: number) => boolean) => ({
    store: async (batch: ReportBatch) => {
      if (batch.records.some((record) => on(record.sequence))) throw fault
      return service.store(batch)
    },
    drop: service.drop.bind(service),
    bury: service.bury.bind(service),
  })

  it('cuts out what Postgres will never take, at once', async () => {
    const fault = Object.assign(new Error('value out of range'), { code: '22003' })
    await worker(failing(fault, (sequence) => sequence === 3 || sequence === 8)).process(
      await job([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
      { number: 1 },
    )
    expect(await storedSequences()).toEqual([0, 1, 2, 4, 5, 6, 7, 9])
    expect(await letters()).toEqual([
      { sequence: 3, code: 'rejected' },
      { sequence: 8, code: 'rejected' },
    ])
    expect(await watermark()).toBe(10)
    expect(alarms).toHaveLength(2)
  })

  it('tries a fault of our own again, then takes the batch apart', async () => {
    const ours = worker(failing(new TypeError('a bug'), (sequence) => sequence === 1))
    for (const number of [1, 2, 3])
      await expect(ours.process(await job([0, 1, 2]), { number })).rejects.toThrow('a bug')
    await ours.process(await job([0, 1, 2]), { number: 4 })
    expect(await letters()).toEqual([{ sequence: 1, code: 'rejected' }])
    expect(await watermark()).toBe(3)
  })

  it('waits for Postgres for as long as it takes', async () => {
    for (const code of ['57P01', '08006', '53300', '42703', 'ECONNREFUSED']) {
      const away = Object.assign(new Error('away'), { code })
      const patient = worker(failing(away, () => true))
      await expect(patient.process(await job([0]), { number: 1_000 })).rejects.toThrow('away')
    }
    expect(await letters()).toEqual([])
  })

  it('lets go of a job that nobody can read', async () => {
    await worker(service).process({ agentId: 'a', clusterId: 'c', batch: '////', drop: null }, { number: 1 })
    expect(await letters()).toEqual([])
  })
})

describe('rollups', () => {
  const sweeper = (openBucketMs = 0) =>
    new RollupWorker({
      ...{ database, rollups: new RollupStore(), clock: systemClock, log: quiet, openBucketMs },
      metrics: new Metrics(),
    })
  const sums = (granularity: string) =>
    rowsOf(`SELECT "requestCount"::int AS n, "refusedCount"::int AS refused, "failedCount"::int AS failed,
      "unpricedCount"::int AS unpriced, "costNanoUsd"::int AS cost FROM "UsageRollup" WHERE granularity = '${granularity}'`)

  it('are computed anew from records, and hours from minutes', async () => {
    await service.store(batchOf([0, 1, 2]))
    await service.store(batchOf([3], { status: 'refused', tokensIn: 0, tokensOut: 0, costNanoUsd: 0 }))
    await service.store(batchOf([4], { status: 'failed' }))
    const sweep = sweeper()
    expect(await sweep.sweep()).toBe(1)
    expect(await sweep.sweep()).toBe(1)
    expect(await sweep.sweep()).toBe(0)
    const expected = [{ n: 5, refused: 1, failed: 1, unpriced: 0, cost: 12 }]
    expect(await sums('minute')).toEqual(expected)
    expect(await sums('hour')).toEqual(expected)
    await service.store(batchOf([0, 5]))
    await sweep.sweep()
    await sweep.sweep()
    expect((await sums('hour'))[0]).toMatchObject({ n: 6, cost: 15 })
  })

  it('sum what was read from the cache of a provider and what was written into it apart', async () => {
    await service.store(batchOf([0, 1], { tokensIn: 10, tokensInCached: 3, tokensInCacheWrite: 4 }))
    await service.store(batchOf([2], { tokensIn: 10 }))
    const sweep = sweeper()
    while ((await sweep.sweep()) > 0);
    const rows = await rowsOf(`SELECT granularity, "tokensIn"::int AS read, "tokensInCached"::int AS cached,
      "tokensInCacheWrite"::int AS written, "tokensOutReasoning"::int AS reasoning FROM "UsageRollup" ORDER BY granularity`)
    const sum = { read: 30, cached: 6, written: 8, reasoning: 0 }
    expect(rows).toEqual([
      { granularity: 'hour', ...sum },
      { granularity: 'minute', ...sum },
    ])
  })

  it('of a bucket that overflows are tried later, once told of, and keep nobody else waiting', async () => {
    const costNanoUsd = Number.MAX_SAFE_INTEGER
    await service.store(batchOf([0], { costNanoUsd }))
    // As many as it takes for the sum to leave a BIGINT.
    await database.sql.query(`INSERT INTO "UsageRecord" SELECT (jsonb_populate_record(r, jsonb_build_object('sequence', n))).*
      FROM "UsageRecord" r, generate_series(1000, 2100) n`)
    await service.store(batchOf([1], { startedAtUnixMs: startedAtUnixMs + 60_000 }))
    const errors: unknown[] = []
    const log: Log = { ...quiet, error: (fields) => errors.push(fields), child: () => log }
    const metrics = new Metrics()
    const clock = new VirtualClock(systemClock.nowMs())
    const sweep = new RollupWorker({ database, rollups: new RollupStore(), clock, log, metrics, openBucketMs: 0 })
    const failures = async () => /rollup_bucket_failures_total (\d+)/.exec(await metrics.text())?.[1]
    expect(await sweep.sweep()).toBe(1)
    expect(await sweep.sweep()).toBe(1)
    expect(await sweep.sweep()).toBe(0)
    expect(await sums('minute')).toMatchObject([{ n: 1, cost: 3 }])
    expect(await failures()).toBe('1')
    await clock.advance(60_000)
    await sweep.sweep()
    expect(await failures()).toBe('2')
    expect(errors).toMatchObject([{ granularity: 'minute', tenantId: 'ten_one' }])
    // Mended by hand, it is summed by itself.
    await database.sql.query('DELETE FROM "UsageRecord" WHERE sequence >= 1000')
    await clock.advance(60_000)
    expect(await sweep.sweep()).toBe(1)
    expect(await sweep.sweep()).toBe(1)
  })

  it('of an open bucket are computed only now and then', async () => {
    const open = { startedAtUnixMs: systemClock.nowMs() + 60_000 }
    const sweep = sweeper(600_000)
    await service.store(batchOf([0], open))
    await sweep.sweep()
    await service.store(batchOf([1], open))
    await sweep.sweep()
    expect((await sums('minute')).map((row) => row.n)).toEqual([1])
    await sweeper(0).sweep()
    expect((await sums('minute')).map((row) => row.n)).toEqual([2])
  })

  it('agree with the records however writers and sweepers meet', async () => {
    const writers = Array.from({ length: 8 }, (_, writer) =>
      (async () => {
        for (let i = 0; i < 10; i++)
          await service.store(batchOf([writer * 10 + i], { startedAtUnixMs: startedAtUnixMs + writer * 9_000 }))
      })(),
    )
    const sweepers = [sweeper(), sweeper()].map(async (sweep) => {
      for (let i = 0; i < 12; i++) await sweep.sweep()
    })
    await Promise.all([...writers, ...sweepers])
    const last = sweeper()
    while ((await last.sweep()) > 0);
    for (const granularity of ['minute', 'hour']) {
      const rows = await sums(granularity)
      expect(rows.reduce((sum, row) => sum + row.n, 0)).toBe(80)
    }
  })
})
