import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Agent } from '../../agent/src/agent.js'
import { ControlPlaneStore } from '../../agent/src/cache/control-plane-store.js'
import { KeptLog, temporaryFolder } from '../../agent/src/config/config-fixture.js'
import { readAgentSettings } from '../../agent/src/settings.js'
import { SharedAnswerService } from '../../control-plane/src/caching/shared-answer-service.js'
import { SharedAnswerStore } from '../../control-plane/src/caching/shared-answer-store.js'
import { Database } from '../../control-plane/src/database/database.js'
import { Metrics } from '../../control-plane/src/observability/metrics.js'
import { makeApiKeyText } from '../../proto/policy/api-key-text.js'
import { systemClock } from '../../proto/std/clock.js'
import { newId } from '../../proto/std/ids.js'
import { answerJson, chatAnswer, ScriptedUpstream } from '../harness/agent-door.js'
import { enrolAt, TestAgent, TestReplica, testOperator } from '../harness/fleet.js'
import { IntentRows } from '../harness/intent-rows.js'
import { type TestDatabase, testDatabase } from '../harness/postgres.js'
import { describeSharedStore, sharedName } from '../harness/shared-store-contract.js'

/** Answers that agents share through the control plane, with nothing pretended but the model. */
let testDb: TestDatabase
let database: Database
let rows: IntentRows
let replica: TestReplica
let upstream: ScriptedUpstream
let apiKey: string
let clusters: { eu: string; euToo: string; us: string }
let open: { stop(): Promise<void> }[] = []

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 8, sqlPoolMax: 8 })
})
afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})
beforeEach(async () => {
  await database.sql.query('TRUNCATE "SharedAnswer", "SharedAnswerShelf"')
  upstream = await new ScriptedUpstream((_received, response) => answerJson(response, 200, chatAnswer)).start()
  rows = await IntentRows.make(database)
  clusters = { eu: await rows.addCluster(), euToo: await rows.addCluster(), us: await rows.addCluster('us') }
  replica = await startReplica()
  open = [upstream]
})
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.stop()
  await replica.stop()
})

function startReplica(): Promise<TestReplica> {
  const regionOf = async (id: string) => (await database.rows.cluster.findUnique({ where: { id } }))?.region ?? null
  const service = new SharedAnswerService({
    ...{ store: new SharedAnswerStore(database), region: 'eu', regionOf, clusterBytesMax: 1 << 24, putsAtOnceMax: 2 },
    ...{ metrics: new Metrics(), clock: systemClock },
  })
  return TestReplica.start(database, { services: (contract) => [service.registration(contract)] })
}

/** A route whose answers are shared, and a key for it. */
async function addIntent(): Promise<void> {
  const routeId = await rows.addRoute('fast')
  apiKey = makeApiKeyText('production', randomBytes(32).toString('base64url'))
  await rows.change(async (tables) => {
    await tables.environment.update({ where: { id: rows.environmentId }, data: { permittedRegions: ['eu', 'us'] } })
    await tables.provider.update({ where: { id: rows.providerId }, data: { baseUrl: `${upstream.origin}/v1` } })
    await tables.routeCache.create({ data: { routeId, ttlSeconds: 3_600, ageMaxSeconds: 86_400, shared: true } })
    await tables.apiKey.create({
      data: {
        ...{ id: newId('apiKey', systemClock.nowMs()), tenantId: rows.tenantId, environmentId: rows.environmentId },
        ...{ name: 'key', prefix: 'sy', createdBy: 'test', allowedRoutes: [] },
        secretHash: new Uint8Array(createHash('sha256').update(apiKey).digest()),
        ...{ inFlightMax: 10, requestsPerMinuteMax: 100_000 },
      },
    })
  })
  replica.reconciler.ring()
}

async function startAgent(clusterId: string, over: Record<string, string> = {}) {
  const { text } = await replica.service.createJoinToken(testOperator, { clusterId })
  const folder = await temporaryFolder()
  const log = new KeptLog()
  const agent = new Agent(
    readAgentSettings({
      ...{ SWITCHYARD_AGENT_PORT: '0', SWITCHYARD_AGENT_METRICS_PORT: '0', SWITCHYARD_JOIN_TOKEN: text },
      SWITCHYARD_AGENT_DATA_DIR: folder.path,
      SWITCHYARD_CONTROL_PLANE: `localhost:${replica.server.addresses.fleet}`,
      SWITCHYARD_ENROL: `localhost:${replica.server.addresses.enrol}`,
      ...{ SWITCHYARD_AGENT_RECONNECT_MIN_MS: '20', SWITCHYARD_AGENT_RECONNECT_MAX_MS: '100' },
      SWITCHYARD_AGENT_CACHE_STORE: 'control-plane',
      SWITCHYARD_AGENT_CACHE_SECRET: Buffer.alloc(32, 1).toString('base64'),
      ...over,
    }),
    { clock: systemClock, log },
  )
  open.push({
    stop: async () => {
      await agent.stop()
      await folder.remove()
    },
  })
  await agent.start()
  const ask = async (question: string) => {
    const response = await fetch(`http://127.0.0.1:${agent.addresses.http?.port}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'fast', temperature: 0, messages: [{ role: 'user', content: question }] }),
    })
    const body = await response.text()
    return { status: response.status, cache: response.headers.get('x-switchyard-cache'), body }
  }
  await eventually(async () => (await ask('Is it there?')).status === 200)
  // It serves whether it shares or not: until an answer of its own is kept, or it was told that none will be.
  const shares = async (question: string) => {
    const before = await rowCount()
    await ask(question)
    for (let tries = 0; tries < 20; tries++, await systemClock.sleep(20)) {
      if ((await rowCount()) > before || log.lines.some(isRefusal)) return true
    }
    return false
  }
  await eventually(() => shares(`Does it share? ${randomBytes(8).toString('hex')}`))
  return { ask, log }
}

const isRefusal = ({ message }: { readonly message: string }) =>
  message.startsWith('the control plane keeps no answers')
const rowCount = async () => (await database.sql.query('SELECT count(*)::int AS n FROM "SharedAnswer"')).rows[0].n

async function eventually(probe: () => Promise<boolean>): Promise<void> {
  for (const until = AbortSignal.timeout(30_000); !until.aborted; await systemClock.sleep(20)) {
    if (await probe()) return
  }
  throw new Error('never so')
}

describe('agents that share through the control plane', () => {
  it('answer from what another of their cluster kept; one of another cluster asks for itself', async () => {
    await addIntent()
    const [one, two] = [await startAgent(clusters.eu), await startAgent(clusters.eu)]
    const stranger = await startAgent(clusters.euToo)
    const asked: string[] = []
    // A look-up that takes longer than 5 ms is a miss, so on a busy machine the first may be one.
    await eventually(async () => {
      const question = `Why is it so? ${asked.length}`
      asked.push(question)
      const before = await rowCount()
      expect(await one.ask(question)).toMatchObject({ status: 200, cache: 'miss' })
      await eventually(async () => (await rowCount()) > before)
      const toldCount = upstream.received.length
      const { cache, body } = await two.ask(question)
      if (cache !== 'exact') return false
      expect([JSON.parse(body).choices, upstream.received.length]).toEqual([chatAnswer.choices, toldCount])
      return true
    })
    for (const question of asked) expect(await stranger.ask(question)).toMatchObject({ status: 200, cache: 'miss' })
    for (const { log } of [one, two, stranger]) expect(log.at('error')).toEqual([])
  })

  it('of which the database says nothing', async () => {
    await addIntent()
    const { ask } = await startAgent(clusters.eu)
    const before = await rowCount()
    await ask('A secret question')
    await eventually(async () => (await rowCount()) > before)
    const { rows: stored } = await database.sql.query<{ all: string }>(
      `SELECT encode(name, 'escape') || encode(value, 'escape') AS all FROM "SharedAnswer"`,
    )
    const all = stored.map((row) => row.all).join()
    for (const word of ['secret', 'hello', 'content', rows.tenantId, rows.environmentId])
      expect(all).not.toContain(word)
  })

  it('cannot read what agents with another secret kept', async () => {
    await addIntent()
    const one = await startAgent(clusters.eu)
    const other = { SWITCHYARD_AGENT_CACHE_SECRET: Buffer.alloc(32, 2).toString('base64') }
    const two = await startAgent(clusters.eu, other)
    const before = await rowCount()
    await one.ask('Why?')
    await eventually(async () => (await rowCount()) > before)
    expect(await two.ask('Why?')).toMatchObject({ status: 200, cache: 'miss' })
  })

  it('are served while it is away: a miss', async () => {
    await addIntent()
    const { ask, log } = await startAgent(clusters.eu)
    await replica.stop()
    await eventually(async () => log.at('warn').includes('the shared cache is away; answers are looked for here alone'))
    const startedUs = systemClock.monotonicUs()
    for (let index = 0; index < 20; index++) {
      expect(await ask(`Is anybody there? ${index}`)).toMatchObject({ status: 200, cache: 'miss' })
    }
    // Twenty requests that each waited for a connection would take longer than all of this.
    expect(systemClock.monotonicUs() - startedUs).toBeLessThan(5_000_000)
    expect(await ask('Is anybody there? 0')).toMatchObject({ status: 200, cache: 'exact' })
    replica = await startReplica()
  })

  it('are told once that theirs is another region, and served all the same', async () => {
    await addIntent()
    const { ask, log } = await startAgent(clusters.us)
    for (let index = 0; index < 5; index++) {
      expect(await ask(`Why? ${index}`)).toMatchObject({ status: 200, cache: 'miss' })
    }
    expect(log.lines.filter(isRefusal)).toMatchObject([
      {
        level: 'warn',
        fields: { fault: expect.stringMatching(/^FAILED_PRECONDITION: other_region: .* eu, not in us$/) },
      },
    ])
    expect(await rowCount()).toBe(0)
  })
})

describe('the store that an agent uses', () => {
  let store: ControlPlaneStore
  beforeEach(async () => {
    const { text } = await replica.service.createJoinToken(testOperator, { clusterId: clusters.eu })
    const agent = new TestAgent(await enrolAt(replica.server.addresses.enrol, text))
    store = new ControlPlaneStore({
      identity: {
        fleetAddress: `localhost:${replica.server.addresses.fleet}`,
        credentials: () => agent.channelCredentials,
        whenValid: async () => {},
        onRenewed: () => () => {},
      },
      ...{ clock: systemClock, random: Math.random, log: new KeptLog(), reconnectMinMs: 10, reconnectMaxMs: 100 },
      ...{ keepaliveIntervalMs: 10_000, keepaliveTimeoutMs: 5_000, getTimeoutMs: 5_000 },
    })
    await store.run()
    open.push(store)
    await eventually(() =>
      store.get(sharedName('x'), 1).then(
        () => true,
        () => false,
      ),
    )
  })

  describeSharedStore(() => store)
})
