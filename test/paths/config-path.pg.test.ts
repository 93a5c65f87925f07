import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Agent } from '../../agent/src/agent.js'
import { KeptLog, temporaryFolder } from '../../agent/src/config/config-fixture.js'
import { readAgentSettings } from '../../agent/src/settings.js'
import { bumpDenyRevision } from '../../control-plane/src/access/deny-revision.js'
import { Database } from '../../control-plane/src/database/database.js'
import type { AgentView } from '../../control-plane/src/fleet/agent-status.js'
import { bumpIntentRevisions } from '../../control-plane/src/tenancy/intent-revision.js'
import { snapshotHeaderCodec } from '../../proto/gen/codec.js'
import { makeApiKeyText } from '../../proto/policy/api-key-text.js'
import { systemClock } from '../../proto/std/clock.js'
import { newId } from '../../proto/std/ids.js'
import { TestReplica, testKeyRing, testOperator } from '../harness/fleet.js'
import { IntentRows } from '../harness/intent-rows.js'
import { type TestDatabase, testDatabase } from '../harness/postgres.js'

/** Path B with nothing pretended: Postgres, reconciler, gRPC over mutual TLS, and the very agent that production runs. */
let testDb: TestDatabase
let database: Database
let rows: IntentRows
let clusterId: string
let replica: TestReplica
let folder: Awaited<ReturnType<typeof temporaryFolder>>
let log: KeptLog
const agents: Agent[] = []

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 6, sqlPoolMax: 8 })
})
afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})
beforeEach(async () => {
  rows = await IntentRows.make(database)
  await rows.addRoute('fast')
  clusterId = await rows.addCluster()
  replica = await TestReplica.start(database)
  folder = await temporaryFolder()
  log = new KeptLog()
})
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.stop()
  await replica.stop()
  await folder.remove()
})

async function startAgent(over: Record<string, string> = {}): Promise<Agent> {
  const agent = new Agent(
    readAgentSettings({
      SWITCHYARD_AGENT_PORT: '0',
      SWITCHYARD_AGENT_METRICS_PORT: '0',
      SWITCHYARD_AGENT_NAME: 'under-test',
      SWITCHYARD_AGENT_DATA_DIR: folder.path,
      SWITCHYARD_CONTROL_PLANE: `localhost:${replica.server.addresses.fleet}`,
      SWITCHYARD_ENROL: `localhost:${replica.server.addresses.enrol}`,
      SWITCHYARD_AGENT_STATUS_INTERVAL_MS: '100',
      SWITCHYARD_AGENT_RECONNECT_MIN_MS: '20',
      SWITCHYARD_AGENT_RECONNECT_MAX_MS: '100',
      ...over,
    }),
    { clock: systemClock, log },
  )
  agents.push(agent)
  await agent.start()
  return agent
}

async function enrolledAgent(): Promise<Agent> {
  const { text } = await replica.service.createJoinToken(testOperator, { clusterId })
  const agent = await startAgent({ SWITCHYARD_JOIN_TOKEN: text })
  await eventually(() => isReady(agent), 'ready')
  return agent
}

async function stopAgent(agent: Agent): Promise<void> {
  await agent.stop()
  agents.splice(agents.indexOf(agent), 1)
}

/** A key as the product makes them; the text is what a client sends. */
async function addKey(): Promise<{ id: string; text: string }> {
  const text = makeApiKeyText('production', randomBytes(32).toString('base64url'))
  const id = newId('apiKey', systemClock.nowMs())
  await rows.change((tables) =>
    tables.apiKey.create({
      data: {
        ...{
          id,
          tenantId: rows.tenantId,
          environmentId: rows.environmentId,
          name: id,
          prefix: 'sy',
          createdBy: 'test',
        },
        ...{ secretHash: new Uint8Array(createHash('sha256').update(text).digest()), allowedRoutes: [] },
        ...{ inFlightMax: 10, requestsPerMinuteMax: 10_000 },
      },
    }),
  )
  replica.reconciler.ring()
  return { id, text }
}

async function revoke(id: string): Promise<void> {
  await database.transaction(new Date(), async (transaction) => {
    await transaction.rows.apiKey.update({
      where: { id },
      data: { revokedAt: transaction.now, rowVersion: { increment: 1 } },
    })
    await bumpIntentRevisions(transaction, [rows.environmentId])
    await bumpDenyRevision(transaction)
  })
  replica.reconciler.ring()
}

const urlOf = (agent: Agent, door: 'http' | 'metrics') => `http://127.0.0.1:${agent.addresses[door]?.port}`

async function isReady(agent: Agent): Promise<boolean> {
  return (await fetch(`${urlOf(agent, 'metrics')}/readyz`)).status === 200
}

/** HTTP status of a request that needs nothing but a decision. */
async function answerTo(agent: Agent, key: { text: string }): Promise<number> {
  const response = await fetch(`${urlOf(agent, 'http')}/v1/models`, {
    headers: { authorization: `Bearer ${key.text}` },
  })
  await response.arrayBuffer()
  return response.status
}

async function generationOf(agent: Agent): Promise<number> {
  const text = await (await fetch(`${urlOf(agent, 'metrics')}/metrics`)).text()
  return Number(/^switchyard_agent_applied_generation (\d+)$/m.exec(text)?.[1])
}

async function eventually<T>(probe: () => Promise<T | null | false>, what: string): Promise<T> {
  for (const until = AbortSignal.timeout(30_000); !until.aborted; await systemClock.sleep(20)) {
    const found = await probe()
    if (found) return found
  }
  throw new Error(
    `never ${what}; the agent says ${JSON.stringify(log.lines.filter((line) => !line.message.startsWith('usage')).slice(-12))}`,
  )
}

async function agentView(is: (view: AgentView) => boolean = () => true): Promise<AgentView> {
  const { id } = await database.rows.agent.findFirstOrThrow({ where: { clusterId } })
  return eventually(async () => {
    const view = await replica.reader.findAgent(id)
    return view !== null && is(view) && view
  }, 'shown so')
}

const isKnown = (agent: Agent, key: { text: string }) =>
  eventually(async () => (await answerTo(agent, key)) === 200, 'known')
const isDenied = (agent: Agent, key: { text: string }) =>
  eventually(async () => (await answerTo(agent, key)) === 401, 'denied')

describe('path B', () => {
  it('leads from a row to a decision, and the fleet shows it', async () => {
    const key = await addKey()
    const agent = await enrolledAgent()
    await isKnown(agent, key)
    const view = await agentView((seen) => seen.inSync && seen.connected && seen.lastAttempt !== null)
    expect(view.applied?.rootHash).toBe(view.desired?.rootHash)
    expect(view.lastAttempt).toMatchObject({ outcome: 'applied', refusals: [] })
    expect(view).toMatchObject({ name: 'under-test', version: '0.1.0' })
    // Nobody takes usage here, so the record of the request above is still on the agent's disk, and the fleet says so.
    await agentView((seen) => seen.spool.recordCount > 0n)
    expect(await generationOf(agent)).toBe(view.applied?.generation)
    expect(log.at('error')).toEqual([])
  })

  it('carries a revocation to the decision without a restart, the last key of a tenant too', async () => {
    const [first, last] = [await addKey(), await addKey()]
    const agent = await enrolledAgent()
    await isKnown(agent, first)
    await isKnown(agent, last)
    await revoke(first.id)
    await isDenied(agent, first)
    expect(await answerTo(agent, last)).toBe(200)
    await revoke(last.id)
    await isDenied(agent, last)
  })

  it('is not needed to decide: the control plane is gone, the agent restarts, and decides the same', async () => {
    const [good, bad] = [await addKey(), await addKey()]
    const first = await enrolledAgent()
    await isKnown(first, good)
    await revoke(bad.id)
    await isDenied(first, bad)
    await agentView((seen) => seen.inSync)
    const generation = await generationOf(first)
    await replica.stop()
    expect(await answerTo(first, good)).toBe(200)
    await stopAgent(first)

    const second = await startAgent()
    expect(await isReady(second)).toBe(true)
    expect([await answerTo(second, good), await answerTo(second, bad), await generationOf(second)]).toEqual([
      200,
      401,
      generation,
    ])
    await stopAgent(second)

    // The control plane is back, and something changed while nobody listened.
    replica = await TestReplica.start(database)
    const added = await addKey()
    const third = await startAgent()
    await isKnown(third, added)
    expect(await answerTo(third, bad)).toBe(401)
    expect(await database.rows.agent.count({ where: { clusterId } })).toBe(1)
  })

  it('survives a new epoch and a change of signing keys, on the stream and on the disk', async () => {
    const key = await addKey()
    const agent = await enrolledAgent()
    await isKnown(agent, key)
    const epoch = await replica.service.newEpoch(testOperator)
    await agentView((seen) => seen.applied?.epoch === epoch && seen.inSync)
    const [before] = await database.rows.signingKey.findMany({ where: { retiredAt: null } })
    await replica.service.addSigningKey(testOperator)
    const added = await addKey()
    await isKnown(agent, added)
    await replica.service.retireSigningKey(testOperator, before?.id ?? '')
    const later = await addKey()
    await isKnown(agent, later)
    await replica.stop()
    await stopAgent(agent)
    const offline = await startAgent()
    expect(log.lines.filter((line) => line.message.includes('last-known-good') && line.level === 'warn')).toEqual([])
    expect([await answerTo(offline, key), await answerTo(offline, later)]).toEqual([200, 200])
  })

  it('brings credentials sealed, and tells which provider could be called', async () => {
    const agent = await enrolledAgent()
    const id = newId('credential', systemClock.nowMs())
    const { ciphertext, wrapKeyId } = testKeyRing.seal(Buffer.from('sk-upstream'), `credential/${id}/1`)
    await rows.change((tables) =>
      tables.credential.create({
        data: { id, version: 1, providerId: rows.providerId, ciphertext: new Uint8Array(ciphertext), wrapKeyId },
      }),
    )
    await rows.change((tables) =>
      tables.provider.update({ where: { id: rows.providerId }, data: { rowVersion: { increment: 1 } } }),
    )
    replica.reconciler.ring()
    const view = await agentView((seen) =>
      seen.targets.some((target) => target.providerId === rows.providerId && target.ready),
    )
    expect(view.targets).toContainEqual({ providerId: rows.providerId, ready: true, reason: 'ok' })
    expect(JSON.stringify(log.lines)).not.toContain('sk-upstream')
    await stopAgent(agent)
  })
})

describe('what must not be followed', () => {
  it('a broken signature is refused, the old stays in effect, and the fleet shows it within five seconds', async () => {
    const key = await addKey()
    const agent = await enrolledAgent()
    await isKnown(agent, key)
    await agentView((seen) => seen.inSync)
    const newest = await newestSnapshot()
    const generation = newest.generation + 1n
    const header = snapshotHeaderCodec.encode({
      ...snapshotHeaderCodec.decode(newest.header),
      generation: Number(generation),
    })
    const startedUs = systemClock.monotonicUs()
    const { sections, ...rest } = newest
    await database.rows.snapshot.create({
      data: { ...rest, generation, header: new Uint8Array(header), sections: sections ?? [] },
    })
    replica.reconciler.ring()
    const view = await agentView((seen) => seen.lastAttempt?.outcome === 'refused')
    expect(systemClock.monotonicUs() - startedUs).toBeLessThan(5_000_000)
    expect(view.lastAttempt?.refusals).toMatchObject([{ code: 'signature_invalid', retryable: true }])
    expect([await answerTo(agent, key), view.inSync]).toEqual([200, false])
  })

  it('a generation that comes back with other content is refused, and somebody is woken', async () => {
    const key = await addKey()
    const agent = await enrolledAgent()
    await isKnown(agent, key)
    const { generation } = (await agentView((seen) => seen.inSync)).applied ?? { generation: -1 }
    await replica.stop()
    await stopAgent(agent)
    // As after a restore of yesterday's database for which nobody opened a new epoch.
    const { view, epoch } = await newestSnapshot()
    await database.rows.snapshot.deleteMany({ where: { view, epoch, generation: BigInt(generation) } })
    const added = await addKey()
    replica = await TestReplica.start(database)
    const again = await startAgent()
    // The generation before it may be offered first, and is refused as older.
    await agentView((seen) => seen.lastAttempt?.refusals[0]?.code === 'generation_reused')
    expect([await answerTo(again, key), await answerTo(again, added)]).toEqual([200, 401])
    expect(log.at('error')).toContain('a generation came back changed')
    await replica.service.newEpoch(testOperator)
    await isKnown(again, added)
  })
})

function newestSnapshot() {
  return database.rows.snapshot.findFirstOrThrow({
    where: { view: { startsWith: `${clusterId}/` } },
    orderBy: [{ epoch: 'desc' }, { generation: 'desc' }],
  })
}
