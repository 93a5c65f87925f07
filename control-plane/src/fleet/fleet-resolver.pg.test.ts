import { afterAll, beforeAll, expect, test } from 'vitest'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import { enrolAt, refusalForGood, TestAgent, TestReplica } from '../../../test/harness/fleet.js'
import { makeGraph } from '../../../test/harness/graph.js'
import { type Intent, platformAdmin, startIntent } from '../../../test/harness/intent.js'
import { eventually } from '../../../test/harness/process.js'
import { AgentResolver, AgentTargetResolver, FleetResolver } from './fleet-resolver.js'

let intent: Intent
let replica: TestReplica
let agent: TestAgent
let ask: Awaited<ReturnType<typeof makeGraph>>

beforeAll(async () => {
  intent = await startIntent()
  replica = await TestReplica.start(intent.database)
  ask = await makeGraph([
    new FleetResolver(replica.service),
    new AgentResolver(replica.service),
    new AgentTargetResolver(intent.providers),
  ])
})
afterAll(async () => {
  agent?.disconnect()
  await replica?.stop()
  await intent?.drop()
})

const agentFields = `id name version connected revokedAt inSync inFlightCount cluster { name }
  desired { generation rootHash } applied { generation rootHash }
  lastAttempt { outcome generation refusals { code section resource path message retryable } }
  spool { bytes bytesMax recordCount } limits { snapshotBytesMax resourcesMax } certificateNotAfter`

interface Shown {
  readonly agents: { readonly edges: readonly { readonly node: Record<string, unknown> }[] }
}

async function shownAgent(): Promise<Record<string, unknown> | undefined> {
  const { data, refusals } = await ask(platformAdmin, `{ agents { edges { node { ${agentFields} } } } }`)
  expect(refusals).toEqual([])
  return (data as unknown as Shown).agents.edges[0]?.node
}

test('a cluster is made, an agent joins it, refuses, is quarantined, and is revoked: all of it to be seen', async () => {
  const { data: made } = await ask(
    platformAdmin,
    'mutation { createCluster(input: { name: "frankfurt", kind: EGRESS, cloud: "aws", region: "eu-central-1" }) { cluster { id kind } } }',
  )
  const { cluster } = (made as { createCluster: { cluster: { id: string; kind: string } } }).createCluster
  expect(cluster.kind).toBe('EGRESS')
  const { data: invited } = await ask(
    platformAdmin,
    'mutation ($input: CreateJoinTokenInput!) { createJoinToken(input: $input) { id expiresAt secret } }',
    { input: { clusterId: cluster.id } },
  )
  const { secret } = (invited as { createJoinToken: { secret: string } }).createJoinToken
  const rows = await intent.database.rows.joinToken.findMany()
  const entries = await intent.database.rows.auditEntry.findMany()
  expect(JSON.stringify([rows, entries])).not.toContain(secret.split('.')[1])

  agent = new TestAgent(await enrolAt(replica.server.addresses.enrol, secret))
  agent.connect(replica.server.addresses.fleet)
  const inSync = await eventually('the agent has what it should have', async () => {
    const shown = await shownAgent()
    return shown?.['inSync'] === true && shown
  })
  const { generation } = inSync['desired'] as { generation: string }
  expect(inSync).toMatchObject({
    ...{ id: agent.id, name: 'test', version: '0.1.0', connected: true, cluster: { name: 'frankfurt' } },
    ...{ applied: { generation }, lastAttempt: { outcome: 'APPLIED', refusals: [] } },
    ...{ spool: { bytes: '0' }, limits: { snapshotBytesMax: '100000000', resourcesMax: 1_000_000 } },
  })

  const section = environmentSection(intent.tenant.tenantId, intent.tenant.environmentId)
  agent.verdict = () => [refusalForGood(section)]
  await intent.environments.update(intent.tenant.admin, {
    ...{ environmentId: intent.tenant.environmentId, permittedRegions: ['eu-central-1'] },
  })
  replica.reconciler.ring()
  const refused = await eventually('the refusal is shown', async () => {
    const shown = await shownAgent()
    return (shown?.['lastAttempt'] as { outcome: string } | null)?.outcome === 'PARTIAL' ? shown : null
  })
  expect(refused).toMatchObject({
    inSync: false,
    lastAttempt: { refusals: [{ code: 'resource_malformed', section, path: null, retryable: false }] },
  })

  const quarantines =
    'query ($lifted: Boolean!) { quarantines(includeLifted: $lifted) { agentVersion view rootHash liftedBy } }'
  const inForce = await eventually('the quarantine is shown', async () => {
    const { data } = await ask(platformAdmin, quarantines, { lifted: false })
    return (data as { quarantines: Record<string, unknown>[] }).quarantines[0]
  })
  const { liftedBy, ...key } = inForce
  expect(liftedBy).toBeNull()
  // Newer ones, more than a list holds: the one that is lifted is still found.
  const newer = Array.from({ length: 100 }, (_, index) => ({
    ...{ agentVersion: `9.9.${index}`, view: `${cluster.id}/other`, rootHash: new Uint8Array(32), refusals: [] },
  }))
  await intent.database.rows.quarantine.createMany({ data: newer })
  agent.verdict = () => []
  const lift = 'mutation ($input: LiftQuarantineInput!) { liftQuarantine(input: $input) { quarantine { liftedBy } } }'
  const { data: lifted } = await ask(platformAdmin, lift, { input: key })
  expect(lifted).toEqual({ liftQuarantine: { quarantine: { liftedBy: platformAdmin.principal.subject } } })
  await eventually('the agent follows again', async () => (await shownAgent())?.['inSync'] === true)

  const revoke = 'mutation ($id: ID!) { revokeAgent(agentId: $id) { agent { id revokedAt } } }'
  const { data: revoked } = await ask(platformAdmin, revoke, { id: agent.id })
  expect(revoked).toMatchObject({ revokeAgent: { agent: { id: agent.id, revokedAt: expect.any(String) } } })
  expect(await shownAgent()).toBeUndefined()
  await agent.ended.until((status) => status !== null, AbortSignal.timeout(20_000))
})

test('an epoch and signing keys are for operators after a restore or a leak', async () => {
  expect((await ask(platformAdmin, 'mutation { newEpoch { epoch } }')).data).toEqual({ newEpoch: { epoch: '2' } })
  const { data } = await ask(platformAdmin, 'mutation { addSigningKey { keyId } }')
  const { keyId } = (data as { addSigningKey: { keyId: string } }).addSigningKey
  const retire = 'mutation ($id: ID!) { retireSigningKey(keyId: $id) { keyId } }'
  expect((await ask(platformAdmin, retire, { id: keyId })).data).toEqual({ retireSigningKey: { keyId } })
  const again = await ask(platformAdmin, retire, { id: keyId })
  expect(again.refusals).toMatchObject([{ code: 'not_found', field: 'keyId' }])
})

test('the fleet is for platform admins only', async () => {
  const { admin } = intent.tenant
  for (const query of ['{ clusters { edges { node { id } } } }', 'mutation { newEpoch { epoch } }']) {
    expect((await ask(admin, query)).refusals).toMatchObject([{ code: 'forbidden' }])
  }
})
