import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeGraph } from '../../../test/harness/graph.js'
import { actorOf, type Intent, platformAdmin, refusalOf, startIntent } from '../../../test/harness/intent.js'
import type { Prisma } from '../database/generated/client.js'
import { UsageReader } from './usage-reader.js'
import { UsageResolver } from './usage-resolver.js'
import { UsageService } from './usage-service.js'

let intent: Intent
let ask: Awaited<ReturnType<typeof makeGraph>>
/** What clients decided themselves: by sequence. */
const overrides = new Map([
  [3, { routingOverride: 'target=tgt_1 fallback=none' }],
  [6, { routingOverride: 'fallback=none', apiKeyId: 'key_2' }],
])
const startedAt = (second: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, second))

beforeAll(async () => {
  intent = await startIntent()
  const { database, providers, environments } = intent
  ask = await makeGraph([new UsageResolver(new UsageService(new UsageReader(database)), environments, providers)])
  // Three in the same millisecond, so that only the whole key tells them apart.
  for (let sequence = 0; sequence < 10; sequence++) {
    await insert(sequence, {
      startedAt: startedAt(Math.max(0, sequence - 2)),
      ...overrides.get(sequence),
    })
  }
  await insert(10, { tenantId: 'ten_other', requestId: 'req-3', startedAt: startedAt(9) })
})
afterAll(() => intent.drop())

async function insert(sequence: number, more: Partial<Prisma.UsageRecordUncheckedCreateInput> = {}) {
  const { tenantId, environmentId } = intent.tenant
  await intent.database.rows.usageRecord.create({
    data: {
      ...{ agentId: 'agt_1', bootEpoch: 1n, lane: 0, sequence: BigInt(sequence), requestId: `req-${sequence}` },
      ...{ traceId: 'f'.repeat(32), spanId: '', startedAt: startedAt(sequence), tenantId, environmentId },
      ...{ apiKeyId: 'key_1', teamId: null, userId: sequence % 2 ? 'anonymous' : 'ada', operation: 'chat_completions' },
      ...{ routeId: 'rte_1', routeName: 'chat', providerId: null, modelId: 'mdl_1', requestedModel: 'chat' },
      ...{ actualModel: 'gpt-4o-2024-08-06', clusterId: 'clu_1', region: 'local', tokensIn: 1000n, tokensOut: 500n },
      ...{
        tokensInCached: 100n,
        tokensInCacheWrite: 30n,
        tokensOutReasoning: 50n,
        usageSource: 'provider',
        costNanoUsd: 12_500n,
      },
      ...{ priceVersion: 3, latencyUs: 1_234_567n, providerLatencyUs: 1_200_000n, guardrailLatencyUs: 0n },
      ...{ firstTokenUs: 200_500n, status: 'ok', code: null, httpStatus: 200, fallbackUsed: true, stream: true },
      hops: [
        {
          ...{ index: 0, targetId: 'tgt_1', providerId: 'prv_1', modelId: 'mdl_1', upstreamModel: 'gpt' },
          ...{ outcome: 'connect_error', httpStatus: 0, startedUs: 100, durationUs: 2500 },
        },
        {
          ...{ index: 1, targetId: 'tgt_2', providerId: 'prv_1', modelId: 'mdl_1', upstreamModel: 'gpt' },
          ...{ outcome: 'ok', httpStatus: 200, startedUs: 2600, durationUs: 1000 },
          ...{ tokensIn: 1000, tokensOut: 0, costNanoUsd: 9_007_199_254_740_991 },
        },
      ],
      ...{ temperature: 0.5, snapshotGeneration: 7n, contentHash: new Uint8Array(32), ...more },
    },
  })
}

const node = `requestId timestamp userId tokensIn inputTokens tokensOut outputTokens tokensInCached tokensInCacheWrite tokensOutReasoning
  costNanoUsd costUsd priceVersion latencyMs providerLatencyMs guardrailLatencyMs ownLatencyMs firstTokenMs model modelId
  status code httpStatus fallbackUsed hops { index outcome httpStatus startedMs durationMs tokensIn tokensOut costNanoUsd costUsd } stream temperature
  promptId cacheHit routingOverride snapshotGeneration environment { name } provider { name }`

test('a record in both vocabularies, with exact money', async () => {
  const { data, refusals } = await ask(intent.tenant.admin, `{ usageRecord(requestId: "req-3") { ${node} } }`)
  expect(refusals).toEqual([])
  expect(data?.usageRecord).toEqual({
    ...{ requestId: 'req-3', timestamp: '2026-01-01T12:00:01.000Z', userId: 'anonymous' },
    ...{ tokensIn: 1000, inputTokens: 1000, tokensOut: 500, outputTokens: 500 },
    ...{ tokensInCached: 100, tokensInCacheWrite: 30, tokensOutReasoning: 50 },
    ...{ costNanoUsd: '12500', costUsd: '0.000012500', priceVersion: 3 },
    ...{
      latencyMs: 1234.567,
      providerLatencyMs: 1200,
      guardrailLatencyMs: 0,
      ownLatencyMs: 34.567,
      firstTokenMs: 200.5,
    },
    ...{ model: 'gpt-4o-2024-08-06', modelId: 'mdl_1', status: 'OK', code: null, httpStatus: 200, fallbackUsed: true },
    hops: [
      {
        ...{ index: 0, outcome: 'connect_error', httpStatus: null, startedMs: 0.1, durationMs: 2.5 },
        ...{ tokensIn: null, tokensOut: null, costNanoUsd: null, costUsd: null },
      },
      {
        ...{ index: 1, outcome: 'ok', httpStatus: 200, startedMs: 2.6, durationMs: 1, tokensIn: 1000, tokensOut: 0 },
        ...{ costNanoUsd: '9007199254740991', costUsd: '9007199.254740991' },
      },
    ],
    ...{ stream: true, temperature: 0.5, promptId: null, cacheHit: null, snapshotGeneration: '7' },
    ...{ routingOverride: 'target=tgt_1 fallback=none', environment: { name: 'production' }, provider: null },
  })
})

async function list(filter: object, first = 100): Promise<string[]> {
  const found: string[] = []
  for (let after: string | null = null; ; ) {
    const { data, refusals }: { data: unknown; refusals: unknown } = await ask(
      intent.tenant.admin,
      'query ($filter: UsageFilterInput, $first: Int!, $after: String) { usage(filter: $filter, first: $first, after: $after) { edges { node { requestId } } pageInfo { hasNextPage endCursor } } }',
      { filter, first, after },
    )
    expect(refusals).toEqual([])
    const page = (
      data as {
        usage: { edges: { node: { requestId: string } }[]; pageInfo: { hasNextPage: boolean; endCursor: string } }
      }
    ).usage
    found.push(...page.edges.map((edge) => edge.node.requestId))
    if (!page.pageInfo.hasNextPage) return found
    after = page.pageInfo.endCursor
  }
}

test('lists newest first, each once, whatever the page, and never another tenant', async () => {
  const all = Array.from({ length: 10 }, (_, index) => `req-${9 - index}`)
  expect(await list({})).toEqual(all)
  expect(await list({}, 3)).toEqual(all)
})

test.each([
  [{ userId: 'ada' }, ['req-8', 'req-6', 'req-4', 'req-2', 'req-0']],
  [{ from: startedAt(6) }, ['req-9', 'req-8']],
  [{ to: startedAt(1) }, ['req-2', 'req-1', 'req-0']],
  [{ model: 'chat', requestId: 'req-4' }, ['req-4']],
  [{ model: 'gpt-4o-2024-08-06', from: startedAt(7) }, ['req-9']],
  [{ traceId: 'e'.repeat(32) }, []],
  [{ status: 'FAILED' }, []],
  [{ routingOverridden: true }, ['req-6', 'req-3']],
  [{ routingOverridden: true, apiKeyId: 'key_2' }, ['req-6']],
  [{ routingOverridden: true, to: startedAt(1) }, []],
  [{ routingOverridden: false, from: startedAt(3) }, ['req-9', 'req-8', 'req-7', 'req-5']],
  [{ routingOverridden: null, requestId: 'req-3' }, ['req-3']],
])('filters by %j', async (filter, expected) => {
  expect(await list(filter)).toEqual(expected)
})

test('sums rollups by bucket and group, exactly', async () => {
  const { tenantId, environmentId } = intent.tenant
  const key = {
    tenantId,
    environmentId,
    apiKeyId: 'key_1',
    teamId: '',
    routeName: 'chat',
    clusterId: 'clu_1',
    region: 'local',
  }
  for (const [hour, providerId, cost] of [
    [10, 'prv_1', 9_007_199_254_740_993n],
    [10, 'prv_2', 1n],
    [11, 'prv_1', 1n],
  ] as const) {
    await intent.database.rows.usageRollup.create({
      data: {
        ...{
          ...key,
          granularity: 'hour',
          bucketAt: new Date(Date.UTC(2026, 0, 1, hour)),
          providerId,
          actualModel: 'gpt',
        },
        ...{ requestCount: 4n, refusedCount: 1n, failedCount: 0n, fallbackCount: 0n, unpricedCount: 0n, tokensIn: 10n },
        ...{ tokensOut: 5n, tokensInCached: 1n, tokensInCacheWrite: 2n, tokensOutReasoning: 0n, costNanoUsd: cost },
        latencyUs: 8_000n,
      },
    })
  }
  const query = `query ($groupBy: [UsageGroup!], $byBucket: Boolean!, $from: DateTime!) {
    usageTotals(filter: { from: $from, to: "2026-01-02T00:00:00Z" }, groupBy: $groupBy, byBucket: $byBucket) {
      bucketAt providerId teamId requestCount inputTokens tokensInCached tokensInCacheWrite costNanoUsd
      costUsd latencyMsMean } }`
  const totals = async (variables: object) =>
    (await ask(intent.tenant.admin, query, { from: '2026-01-01T00:00:00Z', ...variables })).data?.usageTotals
  const at = (hour: number) => `2026-01-01T${hour}:00:00.000Z`
  expect(await totals({ groupBy: ['PROVIDER', 'TEAM'], byBucket: true })).toMatchObject([
    {
      bucketAt: at(10),
      providerId: 'prv_1',
      teamId: null,
      costNanoUsd: '9007199254740993',
      costUsd: '9007199.254740993',
    },
    { bucketAt: at(10), providerId: 'prv_2', costNanoUsd: '1' },
    { bucketAt: at(11), providerId: 'prv_1', costNanoUsd: '1', latencyMsMean: 2 },
  ])
  expect(await totals({ groupBy: [], byBucket: false })).toEqual([
    {
      ...{ bucketAt: null, providerId: null, teamId: null, requestCount: '12', inputTokens: '30' },
      ...{ tokensInCached: '3', tokensInCacheWrite: '6' },
      ...{ costNanoUsd: '9007199254740995', costUsd: '9007199.254740995', latencyMsMean: 2 },
    },
  ])
  const tooLong = await ask(intent.tenant.admin, query, { from: '2024-01-01T00:00:00Z', groupBy: [], byBucket: true })
  expect(tooLong.refusals).toMatchObject([{ code: 'limit_exceeded', field: 'filter.from' }])
})

test('shows platform admins, and nobody else, where a lane has gaps', async () => {
  await intent.database.sql.query(
    `INSERT INTO "SpoolLane" ("agentId", "bootEpoch", lane, class, "nextSequence", ranges, "updatedAt")
     VALUES ('agt_1', 1, 0, 'usage', 10, '{[0,10),[12,15),[20,21)}', now()), ('agt_1', 1, 1, 'usage', 5, '{[0,5)}', now())`,
  )
  const query =
    '{ usageLanes { edges { node { lane nextSequence aheadCount missingCount droppedCount deadLetterCount } } } }'
  const none = { droppedCount: '0', deadLetterCount: '0' }
  expect((await ask(platformAdmin, query)).data?.usageLanes).toEqual({
    edges: [
      { node: { lane: 1, nextSequence: '5', aheadCount: '0', missingCount: '0', ...none } },
      { node: { lane: 0, nextSequence: '10', aheadCount: '4', missingCount: '7', ...none } },
    ],
  })
  expect((await ask(intent.tenant.admin, query)).refusals).toMatchObject([{ code: 'forbidden' }])
})

test('another tenant sees nothing, a cursor of ours is the only one', async () => {
  const other = await intent.makeTenant()
  expect(
    (await ask(other.admin, '{ usageRecord(requestId: "req-3") { id } usage { edges { node { id } } } }')).data,
  ).toEqual({
    ...{ usageRecord: null, usage: { edges: [] } },
  })
  const { tenantId } = intent.tenant
  const theirs = await ask(other.admin, `{ usage(tenantId: "${tenantId}") { edges { node { id } } } }`)
  expect(theirs.refusals).toMatchObject([{ code: 'not_found' }])
  const after = Buffer.from('["2026-01-01T00:00:00Z","a","x","0","0"]').toString('base64url')
  const cursor = await ask(intent.tenant.admin, `{ usage(after: "${after}") { edges { node { id } } } }`)
  expect(cursor.refusals).toMatchObject([{ code: 'bad_input', field: 'after' }])
  const nobody = actorOf(intent.tenant.tenantId)
  expect((await ask(nobody, '{ usage { edges { node { id } } } }')).refusals).toMatchObject([{ code: 'forbidden' }])
})

test('a question that takes too long is refused with what to do', async () => {
  const { database } = intent
  const impatient = new UsageService(new UsageReader(database, { readMsMax: 100 }))
  const held = await database.sql.connect()
  try {
    // As slow as a question can be: it waits for the table.
    await held.query('BEGIN; LOCK TABLE "UsageRecord", "UsageRollup" IN ACCESS EXCLUSIVE MODE')
    const [from, to] = [startedAt(0), startedAt(60)]
    const totals = { granularity: 'minute', groupBy: [], byBucket: false, filter: { from, to } } as const
    for (const question of [
      () => impatient.list(intent.tenant.admin, null, {}, { first: 10, after: null }),
      () => impatient.findByRequestId(intent.tenant.admin, null, 'req-3'),
      () => impatient.totals(intent.tenant.admin, null, totals),
    ]) {
      expect(await refusalOf(question)).toMatchObject({
        ...{ code: 'unavailable', message: expect.stringMatching(/longer than 0.1 s: narrow the time range/) },
      })
    }
  } finally {
    await held.query('ROLLBACK')
    held.release()
  }
  const { items } = await impatient.list(intent.tenant.admin, null, {}, { first: 1, after: null })
  expect(items).toHaveLength(1)
})
