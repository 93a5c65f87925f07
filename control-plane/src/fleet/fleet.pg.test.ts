import { createHash, createPrivateKey, sign as signBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import { isComplete, type Manifest } from '../../../proto/snapshot/manifest.js'
import { snapshotRefusal } from '../../../proto/snapshot/snapshot-refusal.js'
import { systemClock } from '../../../proto/std/clock.js'
import {
  authorityOf,
  enrolAt,
  makeRequest,
  refusalForGood,
  TestAgent,
  TestReplica,
  testKeyRing,
  testOperator,
} from '../../../test/harness/fleet.js'
import { IntentRows } from '../../../test/harness/intent-rows.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import { Database } from '../database/database.js'
import type { AgentView } from './agent-status.js'
import { parseJoinToken } from './join-token.js'

let testDb: TestDatabase
let database: Database
let rows: IntentRows
let replica: TestReplica
let clusterId: string
const agents: TestAgent[] = []
const replicas: TestReplica[] = []
const deadline = () => AbortSignal.timeout(20_000)

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 8, sqlPoolMax: 16 })
  rows = await IntentRows.make(database)
  await rows.addRoute('fast')
})

afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})

beforeEach(async () => {
  replica = await startReplica()
  const cluster = await replica.service.createCluster(testOperator, {
    ...{ name: `c-${createHash('sha256').update(String(Math.random())).digest('hex').slice(0, 8)}`, kind: 'egress' },
    ...{ cloud: 'test', region: 'eu' },
  })
  clusterId = cluster.id
})

afterEach(async () => {
  for (const agent of agents.splice(0)) agent.disconnect()
  await Promise.all(replicas.splice(0).map((each) => each.stop()))
})

async function startReplica(options: { pollMs?: number } = {}): Promise<TestReplica> {
  const started = await TestReplica.start(database, options)
  replicas.push(started)
  return started
}

async function joinToken(): Promise<string> {
  return (await replica.service.createJoinToken(testOperator, { clusterId })).text
}

async function newAgent(): Promise<TestAgent> {
  const agent = new TestAgent(await enrolAt(replica.server.addresses.enrol, await joinToken()))
  agents.push(agent)
  return agent
}

async function connectedAgent(to = replica): Promise<TestAgent> {
  const agent = await newAgent()
  agent.connect(to.server.addresses.fleet)
  await agent.manifest.until((manifest) => manifest !== null, deadline())
  return agent
}

const sectionName = () => environmentSection(rows.tenantId, rows.environmentId)
const revisionOf = (manifest: Manifest | null, name = sectionName()) =>
  manifest?.sections.find((section) => section.name === name)?.intentRevision ?? -1
const namesOf = (manifest: Manifest | null, name: string) =>
  manifest?.sections.find((section) => section.name === name)?.resources.map((resource) => resource.name) ?? []

/** Until the agent has what intent says now. */
async function applied(agent: TestAgent): Promise<Manifest> {
  const revision = await rows.revision()
  const manifest = await agent.manifest.until((held) => revisionOf(held) >= revision, deadline())
  if (manifest === null) throw new Error('nothing held')
  return manifest
}

async function viewOf(agent: TestAgent, is: (view: AgentView) => boolean): Promise<AgentView> {
  for (const until = deadline(); !until.aborted; await systemClock.sleep(20)) {
    const view = await replica.reader.findAgent(agent.id)
    if (view !== null && is(view)) return view
  }
  throw new Error(
    `never so: ${JSON.stringify(await replica.reader.findAgent(agent.id), (_, v) => (typeof v === 'bigint' ? Number(v) : v))}`,
  )
}

async function endedWith(agent: TestAgent): Promise<string> {
  const status = await agent.ended.until((value) => value !== null, deadline())
  return status?.details ?? ''
}

describe('enrolment', () => {
  it('gives an agent its name, its certificate and the keys to trust, and makes the CA known by the token', async () => {
    const token = await joinToken()
    const presented = await authorityOf(replica.server.addresses.enrol)
    const der = Buffer.from(presented.toString().replace(/-----[A-Z ]+-----|\n/g, ''), 'base64')
    expect(createHash('sha256').update(der).digest()).toEqual(parseJoinToken(token)?.certificateSha256)

    const { response } = await enrolAt(replica.server.addresses.enrol, token)
    expect(response).toMatchObject({ clusterId, installationId: replica.authority.installationId })
    expect(response.certificate?.chainDer).toHaveLength(1)
    expect((response.certificate?.notAfterUnixMs ?? 0) - Date.now()).toBeGreaterThan(23 * 3_600_000)
    expect(response.signingKeys).toHaveLength(1)
    const entries = await database.rows.auditEntry.findMany({ where: { subjectId: response.agentId } })
    expect(entries.map((entry) => entry.action)).toEqual(['agent.enrol'])
  })

  it('answers a token once, however many ask at the same moment', async () => {
    const token = await joinToken()
    const results = await Promise.allSettled(
      Array.from({ length: 6 }, () => enrolAt(replica.server.addresses.enrol, token)),
    )
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
    const reasons = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason.details)] : []))
    expect(new Set(reasons)).toEqual(new Set(['unauthenticated: the join token is not valid: make a new one']))
  })

  it.each([
    ['a token that is none', { joinToken: 'sjt_x' }, 'not a join token'],
    ['a request that is none', { csrDer: Buffer.from('x') }, 'PKCS#10'],
    ['a sealing key that is none', { sealingPublicKey: Buffer.alloc(32) }, 'X25519'],
    ['a name that would break a screen', { agentName: 'a\nb' }, 'lower-case letters'],
  ])('refuses %s and leaves the token as it was', async (_, over, message) => {
    const token = await joinToken()
    await expect(enrolAt(replica.server.addresses.enrol, token, over)).rejects.toThrow(message)
    await expect(enrolAt(replica.server.addresses.enrol, token)).resolves.toBeDefined()
  })

  it('refuses a token that is too old', async () => {
    const token = await joinToken()
    await database.rows.joinToken.updateMany({ data: { expiresAt: new Date(Date.now() - 1000) } })
    await expect(enrolAt(replica.server.addresses.enrol, token)).rejects.toThrow('not valid')
  })

  it('lets an agent whose certificate lapsed stay who it was, and nobody else', async () => {
    const agent = await newAgent()
    const lapsedCertificateDer = agent.enrolled.response.certificate?.chainDer[0] ?? Buffer.alloc(0)
    const request = await makeRequest()
    const key = createPrivateKey({ key: agent.enrolled.privateKey, format: 'der', type: 'pkcs8' })
    const proof = {
      csrDer: request.csrDer,
      lapsedCertificateDer,
      lapsedKeySignature: signBytes('sha256', request.csrDer, key),
    }
    const again = await enrolAt(replica.server.addresses.enrol, await joinToken(), proof)
    expect(again.response.agentId).toBe(agent.id)

    const stolen = { ...proof, lapsedKeySignature: Buffer.alloc(70, 1) }
    expect((await enrolAt(replica.server.addresses.enrol, await joinToken(), stolen)).response.agentId).not.toBe(
      agent.id,
    )
    await replica.service.revokeAgent(testOperator, agent.id)
    expect((await enrolAt(replica.server.addresses.enrol, await joinToken(), proof)).response.agentId).not.toBe(
      agent.id,
    )
  })

  it('makes one installation however many replicas start at once', async () => {
    const [a, b] = await Promise.all([startReplica(), startReplica()])
    expect(a.authority.certificateDer).toEqual(b.authority.certificateDer)
  })
})

describe('configuration', () => {
  it('is full at first, then a difference, and every answer shows in the record', async () => {
    const agent = await connectedAgent()
    const first = await applied(agent)
    expect(agent.updates[0]?.baseRootHash).toHaveLength(0)
    const [key] = await rows.addKeys(1)
    replica.reconciler.ring()
    const second = await applied(agent)
    const update = agent.updates.at(-1)
    expect(update?.baseRootHash).toEqual(first.rootHash)
    expect(update?.sections.map((section) => section.changed.map((change) => change.name))).toEqual([
      [`api_key/${key}`],
    ])
    const view = await viewOf(agent, (v) => v.inSync)
    expect(view).toMatchObject({
      connected: true,
      desired: { generation: second.header.generation },
      applied: { generation: second.header.generation, rootHash: second.rootHash.toString('hex') },
      lastAttempt: { outcome: 'applied', refusals: [] },
    })
  })

  it('says nothing to an agent that comes back with what it should have, and only what is missing to one that does not', async () => {
    const agent = await connectedAgent()
    await applied(agent)
    agent.disconnect()
    await viewOf(agent, (v) => !v.connected)
    const count = agent.updates.length
    agent.connect(replica.server.addresses.fleet)
    await viewOf(agent, (v) => v.connected)
    await rows.addRoute(`back-${count}-${agent.id.slice(-4)}`)
    await applied(agent)
    expect(agent.updates).toHaveLength(count + 1)
    expect(agent.updates.at(-1)?.baseRootHash).toHaveLength(32)
  })

  it('skips a slow agent to the newest, and counts its late answer', async () => {
    const agent = await connectedAgent()
    await applied(agent)
    agent.hold = true
    const count = agent.updates.length
    for (let index = 0; index < 3; index++) {
      await rows.addKeys(1)
      replica.reconciler.ring()
      await systemClock.sleep(250)
    }
    await agent.messages.until(() => agent.updates.length > count, deadline())
    expect(agent.updates).toHaveLength(count + 1)
    const revision = await rows.revision()
    await replica.reconciler
      .desired(`${clusterId}/main`)
      .until(
        (snapshot) => (snapshot?.sections.find((s) => s.name === sectionName())?.intentRevision ?? 0) >= revision,
        deadline(),
      )
    agent.hold = false
    const late = agent.updates.at(-1)
    if (late) agent.answer(late)
    await applied(agent)
    expect(agent.updates).toHaveLength(count + 2)
    await viewOf(agent, (v) => v.inSync)
  })

  it('is the same from every replica, and a revocation on one ends the streams on all', async () => {
    const other = await startReplica()
    const [here, there] = [await connectedAgent(replica), await connectedAgent(other)]
    await rows.addKeys(1)
    replica.reconciler.ring()
    expect((await applied(here)).header).toEqual((await applied(there)).header)
    await replica.service.revokeAgent(testOperator, there.id)
    expect(await endedWith(there)).toContain('revoked')
    there.connect(other.server.addresses.fleet)
    expect(await endedWith(there)).toContain('revoked')
    expect(here.ended.value).toBeNull()
  })

  it('carries a revoked key as a denial at once', async () => {
    const agent = await connectedAgent()
    const [key] = await rows.addKeys(1)
    await applied(agent)
    await rows.revokeKey(key ?? '')
    replica.reconciler.ring()
    await agent.manifest.until((held) => namesOf(held, 'deny').includes(`deny/${key}`), deadline())
  })

  it('sends everything to an agent that asks, and starts over with one that has been away too long', async () => {
    const agent = await connectedAgent()
    await applied(agent)
    const count = agent.updates.length
    agent.send({ resync: { reason: 'a test wants it' } })
    await agent.messages.until(() => agent.updates.length > count, deadline())
    expect(agent.updates.at(-1)).toMatchObject({ baseRootHash: Buffer.alloc(0), resync: false })
    await rows.addKeys(1)
    replica.reconciler.ring()
    await applied(agent)
    await database.rows.snapshot.updateMany({ data: { createdAt: new Date(Date.now() - 100 * 86_400_000) } })
    agent.disconnect()
    const before = agent.updates.length
    agent.connect(replica.server.addresses.fleet, { rootHash: Buffer.alloc(0), sections: [], generation: 1 })
    await agent.messages.until(() => agent.updates.length > before, deadline())
    expect(agent.updates.at(-1)).toMatchObject({ resync: true })
  })

  it('follows a new epoch', async () => {
    const agent = await connectedAgent()
    const before = await applied(agent)
    const epoch = await replica.service.newEpoch(testOperator)
    await agent.manifest.until((held) => held?.header.epoch === epoch, deadline())
    expect(agent.manifest.value?.rootHash).toEqual(before.rootHash)
    await viewOf(agent, (v) => v.inSync && v.applied?.epoch === epoch)
  })

  it('follows a new signing key, also after the old one was retired', async () => {
    const agent = await connectedAgent()
    const before = await applied(agent)
    const keyId = await replica.service.addSigningKey(testOperator)
    await agent.manifest.until((held) => held?.header.keyId === keyId, deadline())
    await replica.service.retireSigningKey(testOperator, before.header.keyId)
    await agent.messages.until(
      (messages) => messages.some((m) => m.signingKeys?.keys.length === 1 && m.signingKeys.keys[0]?.keyId === keyId),
      deadline(),
    )
    await rows.addKeys(1)
    replica.reconciler.ring()
    await applied(agent)
    await expect(replica.service.retireSigningKey(testOperator, keyId)).rejects.toThrow('only one')
  })

  it('is offered what another replica signed only with the key to it', async () => {
    // It looks at keys when it must, never by itself; what is stored it sees at once.
    const slow = await startReplica({ pollMs: 600_000 })
    const agent = await connectedAgent(slow)
    await applied(agent)
    const offerCount = agent.updates.length
    const keyId = await replica.service.addSigningKey(testOperator)
    await agent.manifest.until((held) => held?.header.keyId === keyId, deadline())
    expect(agent.updates).toHaveLength(offerCount + 1)
    await viewOf(agent, (v) => v.inSync && v.lastAttempt?.refusals.length === 0)
  })
})

describe('what an agent refuses', () => {
  it('for good is shown, quarantined for its version, and offered again only when lifted', async () => {
    const agent = await connectedAgent()
    await applied(agent)
    agent.verdict = () => [refusalForGood(sectionName())]
    await rows.addKeys(1)
    replica.reconciler.ring()
    const view = await viewOf(agent, (v) => v.lastAttempt?.outcome === 'partial')
    expect(view.lastAttempt?.refusals).toMatchObject([{ code: 'resource_malformed', retryable: false }])
    expect(view.inSync).toBe(false)

    // Not to it, not after a reconnect, once only to another of its version; to one of another version, yes.
    const count = agent.updates.length
    agent.disconnect()
    agent.connect(replica.server.addresses.fleet)
    const sibling = await newAgent()
    sibling.verdict = agent.verdict
    sibling.connect(replica.server.addresses.fleet)
    await viewOf(sibling, (v) => v.lastAttempt?.outcome === 'partial')
    const newer = await newAgent()
    newer.version = '0.2.0'
    newer.connect(replica.server.addresses.fleet)
    await newer.manifest.until((manifest) => manifest !== null, deadline())
    await systemClock.sleep(300)
    expect(agent.updates).toHaveLength(count)
    expect(sibling.updates).toHaveLength(1)

    const quarantines = await replica.service.listQuarantines(testOperator)
    const quarantine = quarantines.find(({ view: name }) => name.startsWith(clusterId))
    if (!quarantine) throw new Error('no quarantine')
    agent.verdict = () => []
    sibling.verdict = () => []
    await replica.service.liftQuarantine(testOperator, quarantine)
    await agent.messages.until((messages) => messages.some((message) => message.lift), deadline())
    await applied(agent)
    await applied(sibling)
    const actions = await database.rows.auditEntry.findMany({ where: { action: 'quarantine.lift' } })
    expect(actions.map((entry) => entry.subjectId)).toContain(quarantine.rootHash)
  })

  it.each([
    ['the whole snapshot', () => refusalForGood('')],
    ['a section by a code of its own', () => ({ ...refusalForGood(sectionName()), code: 'because' as 'malformed' })],
    ['a section for what may pass', () => ({ ...snapshotRefusal('disk_failed', 'full'), section: sectionName() })],
  ])('for good by its own word only is for now: %s', async (_what, refusal) => {
    const agent = await connectedAgent()
    await applied(agent)
    agent.verdict = () => [{ ...refusal(), retryable: false }]
    const [key] = await rows.addKeys(1)
    await rows.revokeKey(key ?? '')
    replica.reconciler.ring()
    await viewOf(
      agent,
      (v) => v.lastAttempt?.outcome !== 'applied' && v.lastAttempt?.refusals.every((r) => r.retryable) === true,
    )
    const sibling = await connectedAgent()
    await sibling.manifest.until((held) => namesOf(held, 'deny').includes(`deny/${key}`), deadline())
    await applied(sibling)
    expect((await replica.service.listQuarantines(testOperator)).filter((q) => q.view.startsWith(clusterId))).toEqual(
      [],
    )
  })

  it('in part keeps nothing else back: not for it, not for others', async () => {
    const agent = await connectedAgent()
    await applied(agent)
    agent.verdict = () => [refusalForGood(sectionName())]
    const [key] = await rows.addKeys(1)
    replica.reconciler.ring()
    await viewOf(agent, (v) => v.lastAttempt?.outcome === 'partial')
    await rows.revokeKey(key ?? '')
    replica.reconciler.ring()
    await agent.manifest.until((held) => namesOf(held, 'deny').includes(`deny/${key}`), deadline())
    expect(agent.updates.at(-1)?.baseRootHash).toHaveLength(32)
    const sibling = await newAgent()
    sibling.verdict = agent.verdict
    sibling.connect(replica.server.addresses.fleet)
    await sibling.manifest.until((held) => namesOf(held, 'deny').includes(`deny/${key}`), deadline())
    agent.verdict = () => []
    await rows.addKeys(1)
    replica.reconciler.ring()
    await applied(agent)
    await viewOf(agent, (v) => v.inSync)
    expect(agent.manifest.value && isComplete(agent.manifest.value)).toBe(true)
  })

  it('for now is offered again, with the same content', async () => {
    const agent = await connectedAgent()
    await applied(agent)
    let refusals = 1
    agent.verdict = () => (refusals-- > 0 ? [snapshotRefusal('disk_failed', 'full')] : [])
    await rows.addKeys(1)
    replica.reconciler.ring()
    await viewOf(agent, (v) => v.lastAttempt?.outcome === 'refused' && v.lastAttempt.refusals[0]?.retryable === true)
    await applied(agent)
    await viewOf(agent, (v) => v.inSync)
    expect((await replica.service.listQuarantines(testOperator)).filter((q) => q.view.startsWith(clusterId))).toEqual(
      [],
    )
  })
})

describe('credentials', () => {
  it('reach the agent sealed to its own key, never in a snapshot, and again when they change', async () => {
    const agent = await connectedAgent()
    const put = (version: number, secret: string) =>
      rows.change(async (tx) => {
        await tx.credential.updateMany({ where: { providerId: rows.providerId }, data: { retiredAt: new Date() } })
        const { ciphertext, wrapKeyId } = testKeyRing.seal(Buffer.from(secret), `credential/crd_1/${version}`)
        await tx.credential.create({
          data: { id: 'crd_1', version, providerId: rows.providerId, ciphertext, wrapKeyId },
        })
      })
    await put(1, 'hunter-one')
    replica.reconciler.ring()
    await applied(agent)
    expect(agent.envelopes.map((envelope) => agent.open(envelope))).toEqual(['hunter-one'])
    await put(2, 'hunter-two')
    replica.reconciler.ring()
    await applied(agent)
    expect(agent.envelopes.map((envelope) => agent.open(envelope))).toEqual(['hunter-one', 'hunter-two'])
    const sent = Buffer.concat(agent.updates.flatMap((u) => u.sections.flatMap((s) => s.changed.map((c) => c.content))))
    expect(sent.includes('hunter')).toBe(false)

    // References pass through; what is missing is sent again when the agent says so.
    await rows.change((tx) =>
      tx.credential.create({ data: { id: 'crd_1', version: 3, providerId: rows.providerId, reference: 'env:KEY' } }),
    )
    replica.reconciler.ring()
    await applied(agent)
    expect(agent.envelopes.at(-1)).toMatchObject({ version: 3, reference: 'env:KEY' })
    agent.send({ status: { targets: [{ providerId: rows.providerId, ready: false, reason: 'credential_missing' }] } })
    const count = agent.envelopes.length
    await agent.messages.until(() => agent.envelopes.length > count, deadline())
    await rows.change((tx) => tx.credential.deleteMany({}))
  })
})

describe('certificates', () => {
  it('are renewed over the stream and let in by their serial', async () => {
    const agent = await connectedAgent()
    const { csrDer, privateKey } = await makeRequest()
    agent.send({ certificateRequest: { csrDer } })
    const messages = await agent.messages.until((all) => all.some((message) => message.certificate), deadline())
    const certificate = messages.find((message) => message.certificate)?.certificate
    agent.disconnect()
    agent.use(certificate?.chainDer[0] ?? Buffer.alloc(0), privateKey)
    agent.connect(replica.server.addresses.fleet)
    await viewOf(agent, (v) => v.connected)
    expect(await database.rows.agentCertificate.count({ where: { agentId: agent.id } })).toBe(2)
  })

  it('of another CA do not pass the handshake, and the stream of one that lapses is ended', async () => {
    const agent = await newAgent()
    const { csrDer, privateKey } = await makeRequest()
    const peer = { clusterId, agentId: agent.id }
    const short = await replica.authority.issueAgentCertificate(csrDer, peer, 2000)
    if ('refused' in short) throw new Error(short.message)
    await database.rows.agentCertificate.create({
      data: { serial: short.serial, agentId: agent.id, notBefore: new Date(0), notAfter: new Date(short.notAfterMs) },
    })
    agent.use(short.chainDer[0] ?? Buffer.alloc(0), privateKey)
    agent.connect(replica.server.addresses.fleet)
    expect(await endedWith(agent)).toContain('lapsed')

    // Signed by our CA but unknown to the record: made up by somebody who has the CA key.
    const unknown = await replica.authority.issueAgentCertificate(csrDer, peer)
    if ('refused' in unknown) throw new Error(unknown.message)
    agent.use(unknown.chainDer[0] ?? Buffer.alloc(0), privateKey)
    agent.connect(replica.server.addresses.fleet)
    expect(await endedWith(agent)).toContain('not in the record')

    const foreign = await makeRequest()
    agent.use(unknown.chainDer[0] ?? Buffer.alloc(0), foreign.privateKey)
    expect(() => agent.connect(replica.server.addresses.fleet)).toThrow()
  })
})

describe('a stream', () => {
  it.each([
    ['that does not begin with a hello', { status: {} }, 'the first message is a hello'],
    ['of a protocol nobody speaks', { hello: { protocolVersion: 99, agentVersion: 'x' } }, 'speaks protocol'],
    ['with a hello that is not well-formed', { hello: { protocolVersion: 1, agentVersion: '' } }, 'not well-formed'],
  ])('%s is refused', async (_, message, text) => {
    const agent = await newAgent()
    const send = agent.send.bind(agent)
    agent.send = () => send(message)
    agent.connect(replica.server.addresses.fleet)
    expect(await endedWith(agent)).toContain(text)
  })

  it('gives way to a newer one of the same agent, whose row it leaves alone', async () => {
    const agent = await connectedAgent()
    const again = new TestAgent(agent.enrolled)
    agents.push(again)
    again.connect(replica.server.addresses.fleet)
    expect(await endedWith(agent)).toContain('newer stream')
    await again.manifest.until((manifest) => manifest !== null, deadline())
    await systemClock.sleep(100)
    expect(await viewOf(again, () => true)).toMatchObject({ connected: true })
  })

  it('shows what the agent says of itself', async () => {
    const agent = await connectedAgent()
    const held = await applied(agent)
    agent.send({
      status: {
        ...{ spoolBytes: 5, spoolBytesMax: 50, spoolRecordCount: 2, inFlightCount: 1, targets: [] },
        ...{ certificateNotAfterUnixMs: 1_900_000_000_000, appliedEpoch: held.header.epoch },
        ...{ appliedGeneration: held.header.generation, appliedRootHash: held.rootHash },
      },
    })
    const view = await viewOf(agent, (v) => v.spool.recordCount === 2n)
    expect(view).toMatchObject({
      inFlightCount: 1,
      spool: { bytes: 5n, bytesMax: 50n },
      certificateNotAfter: new Date(1_900_000_000_000),
    })
  })
})
