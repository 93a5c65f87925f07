import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { environmentSection } from '../../../proto/snapshot/consistency.js'
import { systemClock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import { makeGraph } from '../../../test/harness/graph.js'
import { type Intent, startIntent } from '../../../test/harness/intent.js'
import { AuditStore } from '../audit/audit-store.js'
import { viewOf } from '../snapshots/snapshot.js'
import { ApiKeyStore } from '../tenancy/api-key-store.js'
import { EnvironmentResolver } from '../tenancy/environment-resolver.js'
import { EnvironmentService } from '../tenancy/environment-service.js'
import { EnvironmentStore } from '../tenancy/environment-store.js'
import { TenantService } from '../tenancy/tenant-service.js'
import { TenantStore } from '../tenancy/tenant-store.js'
import { DeliveryReader } from './delivery-reader.js'
import { DeliveryResolver } from './delivery-resolver.js'
import { DeliveryService } from './delivery-service.js'

let intent: Intent
let ask: Awaited<ReturnType<typeof makeGraph>>
let clusterId: string

beforeAll(async () => {
  intent = await startIntent()
  const { database } = intent
  const stores = {
    tenants: new TenantStore(database),
    environments: new EnvironmentStore(database),
    apiKeys: new ApiKeyStore(database),
  }
  const shared = { database, audit: new AuditStore(), clock: systemClock, bell: { ring: () => {} } }
  const tenants = new TenantService({ ...shared, ...stores })
  const environments = new EnvironmentService({ ...shared, ...stores })
  ask = await makeGraph([
    new EnvironmentResolver(environments, tenants),
    new DeliveryResolver(new DeliveryService(new DeliveryReader(database))),
  ])
  clusterId = newId('cluster', systemClock.nowMs())
  await database.rows.cluster.create({
    data: { id: clusterId, name: 'frankfurt', kind: 'egress', cloud: 'aws', region: 'eu-central-1' },
  })
  await database.rows.cluster.create({
    data: {
      id: newId('cluster', systemClock.nowMs()),
      name: 'virginia',
      kind: 'egress',
      cloud: 'aws',
      region: 'us-east-1',
    },
  })
})
afterAll(() => intent.drop())

async function insertSnapshot(generation: number, intentRevision: number): Promise<Uint8Array<ArrayBuffer>> {
  const { tenantId, environmentId } = intent.tenant
  const name = environmentSection(tenantId, environmentId)
  const [hash, rootHash] = [randomBytes(32), new Uint8Array(randomBytes(32))]
  const { rows } = intent.database
  await rows.snapshotSection.create({
    data: { hash: new Uint8Array(hash), name, intentRevision, resources: [], removed: [] },
  })
  await rows.snapshot.create({
    data: {
      ...{ view: viewOf(clusterId), epoch: 1, generation, rootHash, removedSections: [] },
      ...{ header: new Uint8Array(), signature: new Uint8Array(), sections: [{ name, hash: hash.toString('hex') }] },
    },
  })
  return rootHash
}

async function insertAgent(applied: { generation: number; rootHash: Uint8Array<ArrayBuffer> } | null): Promise<string> {
  const id = newId('agent', systemClock.nowMs())
  await intent.database.rows.agent.create({
    data: {
      ...{ id, clusterId, name: 'one', sealingPublicKey: new Uint8Array(32) },
      status: {
        create: {
          desiredView: viewOf(clusterId),
          ...(applied && { appliedEpoch: 1, appliedGeneration: applied.generation, appliedRootHash: applied.rootHash }),
        },
      },
    },
  })
  return id
}

async function delivery(): Promise<unknown> {
  const { admin, environmentId } = intent.tenant
  const { data, refusals } = await ask(
    admin,
    `{ environment(id: "${environmentId}") { delivery {
      clusterName region desiredRevision appliedRevision agentCount upToDateCount failure { intentRevision code path message }
    } } }`,
  )
  expect(refusals).toEqual([])
  return (data as { environment: { delivery: unknown } }).environment.delivery
}

test('tells a tenant where its intent is, cluster by cluster, and why it is not further', async () => {
  const { environmentId, tenantId } = intent.tenant
  const place = { clusterName: 'frankfurt', region: 'eu-central-1', failure: null }
  await intent.database.rows.environment.update({ where: { id: environmentId }, data: { intentRevision: 5 } })
  const nothing = { ...place, desiredRevision: null, appliedRevision: null, agentCount: 0, upToDateCount: 0 }
  expect(await delivery()).toEqual([nothing])

  const older = await insertSnapshot(1, 4)
  await insertAgent({ generation: 1, rootHash: older })
  expect(await delivery()).toEqual([{ ...nothing, desiredRevision: '4', appliedRevision: '4', agentCount: 1 }])

  const newer = await insertSnapshot(2, 5)
  await insertAgent({ generation: 2, rootHash: newer })
  const behind = { ...nothing, desiredRevision: '5', appliedRevision: '4', agentCount: 2, upToDateCount: 1 }
  expect(await delivery()).toEqual([behind])

  // One that applied a part of it, and one that never said anything: nobody knows what they have.
  const strange = await insertAgent({ generation: 2, rootHash: new Uint8Array(32) })
  expect(await delivery()).toEqual([{ ...behind, appliedRevision: null, agentCount: 3 }])
  await intent.database.rows.agent.update({ where: { id: strange }, data: { revokedAt: new Date() } })

  const failure = { intentRevision: 6, code: 'target_model_missing', path: 'route/x rules[0]', message: 'not there' }
  await intent.database.rows.sectionFailure.create({
    data: {
      ...failure,
      view: viewOf(clusterId),
      sectionName: environmentSection(tenantId, environmentId),
      tenantId,
      environmentId,
    },
  })
  expect(await delivery()).toEqual([{ ...behind, failure: { ...failure, intentRevision: '6' } }])
})

test('tells nobody else', async () => {
  const other = await intent.makeTenant()
  const { environmentId } = intent.tenant
  const { data } = await ask(other.admin, `{ environment(id: "${environmentId}") { delivery { clusterId } } }`)
  expect(data).toEqual({ environment: null })
  const service = new DeliveryService(new DeliveryReader(intent.database))
  expect(await service.byEnvironmentId.load(other.admin, [environmentId])).toEqual([null])
})
