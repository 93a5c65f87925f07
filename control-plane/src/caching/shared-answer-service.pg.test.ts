import { createHash } from 'node:crypto'
import grpc from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { KeptLog } from '../../../agent/src/config/config-fixture.js'
import { loadContract, unaryCall } from '../../../agent/src/config/grpc-client.js'
import type { CacheGetResponse__Output } from '../../../proto/gen/switchyard/v1/CacheGetResponse.js'
import type { CachePutRequest, CachePutRequest__Output } from '../../../proto/gen/switchyard/v1/CachePutRequest.js'
import type { CachePutResponse__Output } from '../../../proto/gen/switchyard/v1/CachePutResponse.js'
import { type Clock, systemClock } from '../../../proto/std/clock.js'
import { enrolAt, silentLog, TestAgent, TestReplica, testOperator } from '../../../test/harness/fleet.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import { Database } from '../database/database.js'
import type { PeerCall } from '../fleet/grpc-stream.js'
import { Metrics } from '../observability/metrics.js'
import { answerOverheadBytes } from './shared-answer.js'
import { SharedAnswerService } from './shared-answer-service.js'
import { SharedAnswerStore } from './shared-answer-store.js'
import { SharedAnswerSweeper } from './shared-answer-sweeper.js'

/** The system's, ahead by what a test says. */
class AheadClock implements Clock {
  aheadMs = 0
  nowMs = () => systemClock.nowMs() + this.aheadMs
  monotonicUs = systemClock.monotonicUs
  sleep = systemClock.sleep
  after = systemClock.after
}

/** An agent as the service sees it: a certificate and a connection. */
class Caller {
  readonly #client

  constructor(
    readonly agent: TestAgent,
    port: number,
  ) {
    const { CacheService } = loadContract()
    const options = { 'grpc.use_local_subchannel_pool': 1 }
    this.#client = new CacheService(`localhost:${port}`, agent.channelCredentials, options)
  }

  async get(name: string | Buffer, bytesMax = 2 ** 20): Promise<string | null> {
    const { value } = await unaryCall<CacheGetResponse__Output>((done) =>
      this.#client.get({ name: named(name), bytesMax }, done),
    )
    return value === undefined ? null : value.toString()
  }

  async put(name: string | Buffer, value: string | Buffer, more: CachePutRequest = {}): Promise<boolean> {
    const { kept } = await unaryCall<CachePutResponse__Output>((done) =>
      this.#client.put(
        {
          ...{ name: named(name), value: Buffer.from(value), ttlSeconds: 60, bornAtUnixMs: Date.now() - 1_000 },
          ...more,
        },
        done,
      ),
    )
    return kept
  }

  close(): void {
    this.#client.close()
  }
}

const named = (name: string | Buffer) => (typeof name === 'string' ? createHash('sha256').update(name).digest() : name)

let testDb: TestDatabase
let database: Database
let replica: TestReplica
let clock: AheadClock
let store: SharedAnswerStore
let clusterIds: { eu: string; euToo: string; us: string }
const callers: Caller[] = []
const replicas: TestReplica[] = []
const clusterBytesMax = 1 << 20
/** Of a sweep that has no puts beside it. */
const inTurn = <T>(work: () => Promise<T>) => work()

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 8, sqlPoolMax: 8 })
  store = new SharedAnswerStore(database)
})
afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})
beforeEach(async () => {
  await database.sql.query('TRUNCATE "SharedAnswer", "SharedAnswerShelf"')
  clock = new AheadClock()
  replica = await startReplica('eu')
  const cluster = async (region: string) =>
    (
      await replica.service.createCluster(testOperator, {
        ...{ name: `c-${Math.random().toString(36).slice(2)}`, kind: 'egress', cloud: 'test', region },
      })
    ).id
  clusterIds = { eu: await cluster('eu'), euToo: await cluster('eu'), us: await cluster('us') }
})
afterEach(async () => {
  for (const caller of callers.splice(0)) caller.close()
  await Promise.all(replicas.splice(0).map((each) => each.stop()))
})

async function startReplica(region: string | null, log = silentLog): Promise<TestReplica> {
  const regionOf = async (clusterId: string) => (await replica.reader.findCluster(clusterId))?.region ?? null
  const service = new SharedAnswerService({
    ...{ store, region, regionOf, clusterBytesMax, putsAtOnceMax: 2, metrics: new Metrics(), clock },
  })
  const started = await TestReplica.start(database, { log, services: (contract) => [service.registration(contract)] })
  replicas.push(started)
  return started
}

async function caller(clusterId: string, at = replica): Promise<Caller> {
  const { text } = await replica.service.createJoinToken(testOperator, { clusterId })
  return callerOf(new TestAgent(await enrolAt(replica.server.addresses.enrol, text)), at)
}

function callerOf(agent: TestAgent, at = replica): Caller {
  const made = new Caller(agent, at.server.addresses.fleet)
  callers.push(made)
  return made
}

const shelves = async () =>
  (
    await database.sql.query(
      `SELECT s.bytes::int AS counted, coalesce(sum(octet_length(a.value) + $1), 0)::int AS there
       FROM "SharedAnswerShelf" s LEFT JOIN "SharedAnswer" a USING ("clusterId") GROUP BY s."clusterId", s.bytes`,
      [answerOverheadBytes],
    )
  ).rows
const rowCount = async () => (await database.sql.query('SELECT count(*)::int AS n FROM "SharedAnswer"')).rows[0].n

/** Whoever writes for the cluster waits until it is let go. */
async function holdShelf(clusterId: string): Promise<() => Promise<void>> {
  const client = await database.sql.connect()
  await client.query('BEGIN')
  await client.query(`SELECT pg_advisory_xact_lock(hashtextextended('shared-answers ' || $1, 0))`, [clusterId])
  return async () => {
    await client.query('COMMIT')
    client.release()
  }
}

describe('an answer that an agent put', () => {
  it('is given to the agents of its cluster, and to nobody else', async () => {
    const [one, two, stranger] = [
      await caller(clusterIds.eu),
      await caller(clusterIds.eu),
      await caller(clusterIds.euToo),
    ]
    expect(await one.put('a', 'sealed')).toBe(true)
    expect([await one.get('a'), await two.get('a'), await two.get('b')]).toEqual(['sealed', 'sealed', null])
    expect(await stranger.get('a')).toBeNull()
    await stranger.put('a', 'another')
    expect([await two.get('a'), await stranger.get('a')]).toEqual(['sealed', 'another'])
  })

  it('gives way to a newer one, not to an older one, unless it has expired', async () => {
    const agent = await caller(clusterIds.eu)
    const bornAtUnixMs = Date.now() - 60_000
    expect(await agent.put('a', 'new', { bornAtUnixMs })).toBe(true)
    expect(await agent.put('a', 'old', { bornAtUnixMs: bornAtUnixMs - 1 })).toBe(false)
    expect(await agent.get('a')).toBe('new')
    expect(await agent.put('a', 'same age', { bornAtUnixMs })).toBe(true)
    expect(await agent.put('a', 'newer', { bornAtUnixMs: bornAtUnixMs + 1 })).toBe(true)
    expect(await agent.get('a')).toBe('newer')
    clock.aheadMs = 61_000
    expect(await agent.put('a', 'old', { bornAtUnixMs: bornAtUnixMs - 1 })).toBe(true)
    expect(await agent.get('a')).toBe('old')
    for (const { counted, there } of await shelves()) expect(counted).toBe(there)
  })

  it('that says it was born tomorrow keeps out nothing that is put later', async () => {
    const agent = await caller(clusterIds.eu)
    await agent.put('a', 'ahead', { bornAtUnixMs: Date.now() + 86_400_000 })
    expect(await agent.put('a', 'later', { bornAtUnixMs: Date.now() + 1_000 })).toBe(true)
    expect(await agent.get('a')).toBe('later')
  })

  it('is absent to who takes fewer bytes than it has', async () => {
    const agent = await caller(clusterIds.eu)
    await agent.put('a', 'x'.repeat(100))
    expect([await agent.get('a', 99), await agent.get('a', 100)]).toEqual([null, 'x'.repeat(100)])
  })

  it('is absent once it has expired, and swept away', async () => {
    const agent = await caller(clusterIds.eu)
    await agent.put('short', 'x', { ttlSeconds: 1 })
    await agent.put('long', 'x', { ttlSeconds: 3_600 })
    clock.aheadMs = 2_000
    expect([await agent.get('short'), await agent.get('long')]).toEqual([null, 'x'])
    expect(await rowCount()).toBe(2)
    const sweeper = new SharedAnswerSweeper({ store, inTurn, clusterBytesMax, clock, log: silentLog })
    await sweeper.sweep()
    expect([await rowCount(), await agent.get('long')]).toEqual([1, 'x'])
    expect(await shelves()).toEqual([{ counted: 1 + answerOverheadBytes, there: 1 + answerOverheadBytes }])
  })
})

describe('bounds', () => {
  it.each([
    ['a short name', { name: Buffer.alloc(31) }],
    ['a long name', { name: Buffer.alloc(33) }],
    ['no value', { value: Buffer.alloc(0) }],
    ['a long value', { value: Buffer.alloc(2 ** 20 + 1) }],
    ['no time', { ttlSeconds: 0 }],
    ['more than thirty days', { ttlSeconds: 30 * 86_400 + 1 }],
  ])('%s is refused', async (_name, over) => {
    const agent = await caller(clusterIds.eu)
    await expect(agent.put('a', 'x', over)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await rowCount()).toBe(0)
  })

  it('what is looked for has a name of the right length', async () => {
    const agent = await caller(clusterIds.eu)
    await expect(agent.get(Buffer.alloc(31))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('the answers of a cluster take so many bytes, the oldest go, and those of others stay', async () => {
    const [agent, other] = [await caller(clusterIds.eu), await caller(clusterIds.euToo)]
    await other.put('mine', 'x')
    for (let index = 0; index < 40; index++) await agent.put(`a${index}`, Buffer.alloc(64 * 1024, 1))
    const sums = await shelves()
    for (const { counted, there } of sums) expect([counted, counted <= clusterBytesMax]).toEqual([there, true])
    const there = await Promise.all(
      Array.from({ length: 40 }, (_, index) => index).map(async (index) => (await agent.get(`a${index}`)) !== null),
    )
    const oldest = there.indexOf(true)
    expect(oldest).toBeGreaterThan(20)
    expect(there.slice(oldest)).not.toContain(false)
    expect(there.length - oldest).toBeGreaterThanOrEqual(13)
    expect(await other.get('mine')).toBe('x')
  })

  it('the largest answer makes its room among the shortest', async () => {
    await database.sql.query(
      `WITH put AS (
         INSERT INTO "SharedAnswer" SELECT $1, sha256(n::text::bytea), 'x', now(), now(), now() + interval '1 hour'
         FROM generate_series(1, 2044) n RETURNING 1)
       INSERT INTO "SharedAnswerShelf" SELECT $1, count(*) * (1 + ${answerOverheadBytes}) FROM put`,
      [clusterIds.eu],
    )
    const answer = { clusterId: clusterIds.eu, name: named('big'), value: Buffer.alloc(2 ** 20 - answerOverheadBytes) }
    const now = new Date()
    const bornAt = now
    await store.put({ ...answer, bornAt, expiresAt: new Date(Date.now() + 60_000) }, { bytesMax: 2 ** 20, now })
    for (const { counted, there } of await shelves()) expect([counted, counted <= 2 ** 20]).toEqual([there, true])
  })

  it('a bound that was lowered holds after a sweep', async () => {
    const agent = await caller(clusterIds.eu)
    for (let index = 0; index < 10; index++) await agent.put(`a${index}`, Buffer.alloc(64 * 1024, 1))
    await new SharedAnswerSweeper({ store, inTurn, clusterBytesMax: 200_000, clock, log: silentLog }).sweep()
    const [shelf] = await shelves()
    expect(shelf.counted).toBe(shelf.there)
    expect(shelf.counted).toBeLessThanOrEqual(200_000)
    expect(await agent.get('a9')).not.toBeNull()
  })

  it('what is counted is what is there, however many write at once', async () => {
    const agents = [await caller(clusterIds.eu), await caller(clusterIds.eu), await caller(clusterIds.eu)]
    const write = async (agent: Caller, seed: number) => {
      for (let round = 0; round < 30; round++) {
        const bornAtUnixMs = Date.now() - ((seed * 7 + round * 13) % 5)
        await agent.put(`a${(seed + round * 5) % 11}`, Buffer.alloc(1 + ((seed * 31 + round * 17) % 90_000), 1), {
          bornAtUnixMs,
        })
      }
    }
    const sweeper = new SharedAnswerSweeper({ store, inTurn, clusterBytesMax: 300_000, clock, log: silentLog })
    await Promise.all([...agents.map(write), ...[0, 1, 2].map(() => sweeper.sweep())])
    const [shelf] = await shelves()
    expect(shelf.counted).toBe(shelf.there)
    expect(shelf.counted).toBeLessThanOrEqual(clusterBytesMax)
  })
})

describe('calls under way', () => {
  it('no put keeps a look-up waiting, and an agent has so many of them', async () => {
    const [agent, other] = [await caller(clusterIds.eu), await caller(clusterIds.euToo)]
    await agent.put('a', 'x')
    const letGo = await holdShelf(clusterIds.eu)
    const puts = Array.from({ length: 8 }, (_, index) => agent.put(`b${index}`, 'x'))
    const settled = Promise.all(puts.map((put) => put.catch((fault: unknown) => fault)))
    await expect(eventuallyRefused(agent)).resolves.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    // The bound is the agent's, not its connection's.
    await expect(callerOf(agent.agent).put('c', 'x')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
    expect([await agent.get('a'), await other.get('a')]).toEqual(['x', null])
    await letGo()
    await settled
    expect(await agent.put('d', 'x')).toBe(true)
  })

  it('a sweep waits its turn among the puts: at the smallest pool one connection is left for look-ups', async () => {
    const small = new Database({ url: testDb.url, poolMax: 1, sqlPoolMax: 1, answersPoolMax: 2 })
    try {
      const store = new SharedAnswerStore(small)
      const peer = { agentId: 'a', clusterId: clusterIds.eu } as PeerCall<CachePutRequest__Output>['peer']
      const service = new SharedAnswerService({
        ...{ store, region: 'eu', regionOf: async () => 'eu', clusterBytesMax, putsAtOnceMax: 1 },
        ...{ metrics: new Metrics(), clock },
      })
      const put = () => {
        const value = { value: Buffer.from('x'), ttlSeconds: 60, bornAtUnixMs: Date.now() - 1_000 }
        return service.put({ peer, request: { name: named('a'), ...value }, isOver: () => false })
      }
      await put()
      const sweeper = new SharedAnswerSweeper({
        ...{ store, inTurn: service.inTurn.bind(service), clusterBytesMax, clock, log: silentLog },
      })
      const letGo = await holdShelf(clusterIds.eu)
      const settled = Promise.allSettled([sweeper.sweep(), put()])
      try {
        const endUs = systemClock.monotonicUs() + 300_000
        while (systemClock.monotonicUs() < endUs) {
          // Without a connection it would throw after a second.
          const { value } = await service.get({ peer, request: { name: named('a'), bytesMax: 10 } })
          expect(value?.toString()).toBe('x')
        }
      } finally {
        await letGo()
        await settled
      }
      expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
    } finally {
      await small.close()
    }
  })

  it('a put that waits too long for the others is refused, and wakes nobody', async () => {
    const log = new KeptLog()
    const agent = await caller(clusterIds.eu, await startReplica('eu', log))
    const letGo = await holdShelf(clusterIds.eu)
    await expect(agent.put('a', 'x')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await letGo()
    expect(await agent.put('a', 'x')).toBe(true)
    expect(log.at('error')).toEqual([])
  })

  /** The puts before it may still be on their way. */
  async function eventuallyRefused(agent: Caller): Promise<unknown> {
    for (;;) {
      const refused = await Promise.race([
        agent.put('c', 'x').then(
          () => null,
          (fault: unknown) => fault,
        ),
        systemClock.sleep(200).then(() => null),
      ])
      if (refused !== null) return refused
    }
  }
})

describe('who is served', () => {
  it('clusters of the control plane’s own region', async () => {
    const agent = await caller(clusterIds.us)
    const refused = { code: 'FAILED_PRECONDITION', message: expect.stringContaining('in eu, not in us') }
    await expect(agent.get('a')).rejects.toMatchObject(refused)
    await expect(agent.put('a', 'x')).rejects.toMatchObject(refused)
    expect(await rowCount()).toBe(0)
  })

  it('nobody where it was not told its region', async () => {
    const agent = await caller(clusterIds.eu, await startReplica(null))
    const refused = { code: 'FAILED_PRECONDITION', message: expect.stringContaining('SWITCHYARD_REGION') }
    await expect(agent.get('a')).rejects.toMatchObject(refused)
  })

  it('not an agent that was revoked, a second later', async () => {
    const agent = await caller(clusterIds.eu)
    await agent.put('a', 'x')
    await replica.service.revokeAgent(testOperator, agent.agent.id)
    for (;;) {
      const fault = await agent.get('a').then(
        () => null,
        (error: unknown) => error,
      )
      if (fault === null) {
        await systemClock.sleep(20)
        continue
      }
      expect(fault).toMatchObject({ code: 'UNAUTHENTICATED' })
      return
    }
  })

  it('not who has no certificate', async () => {
    const { CacheService } = loadContract()
    const known = await caller(clusterIds.eu)
    const ca = known.agent.enrolled.response.certificate?.caDer[0] ?? Buffer.alloc(0)
    const root = `-----BEGIN CERTIFICATE-----\n${Buffer.from(ca).toString('base64')}\n-----END CERTIFICATE-----\n`
    const client = new CacheService(
      `localhost:${replica.server.addresses.fleet}`,
      grpc.credentials.createSsl(Buffer.from(root)),
    )
    const call = unaryCall<CacheGetResponse__Output>((done) =>
      client.get({ name: named('a'), bytesMax: 10 }, { deadline: Date.now() + 3_000 }, done),
    )
    await expect(call).rejects.toThrow()
    client.close()
  })
})
