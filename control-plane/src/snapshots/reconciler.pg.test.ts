import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { snapshotUpdateCodec } from '../../../proto/gen/codec.js'
import { decodeResource, environmentSection } from '../../../proto/snapshot/consistency.js'
import { diffSnapshot, rebuild } from '../../../proto/snapshot/manifest.js'
import { rawPublicKeyOf } from '../../../proto/snapshot/raw-keys.js'
import { signHeader } from '../../../proto/snapshot/sign.js'
import { type Clock, systemClock } from '../../../proto/std/clock.js'
import { newId } from '../../../proto/std/ids.js'
import type { Log } from '../../../proto/std/service.js'
import { IntentRows } from '../../../test/harness/intent-rows.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import { Database } from '../database/database.js'
import { IntentReader } from './load-intent.js'
import { Reconciler } from './reconciler.js'
import { SectionFailureStore } from './section-failure-store.js'
import { type StoredSnapshot, viewOf } from './snapshot.js'
import { SnapshotStore } from './snapshot-store.js'

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet }
const signingKey = Buffer.alloc(32, 7)
const deadline = () => AbortSignal.timeout(20_000)

let testDb: TestDatabase
let database: Database
let rows: IntentRows
let clusterId: string
const running: Reconciler[] = []

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 5, sqlPoolMax: 10 })
  await database.rows.installation.create({
    data: { id: 'ins_1', caKey: new Uint8Array(1), caKeyWrapId: 'k', caCertificate: new Uint8Array(1) },
  })
  await database.rows.signingKey.create({
    data: { id: 'sig_1', publicKey: new Uint8Array(32), privateKey: new Uint8Array(1), wrapKeyId: 'k' },
  })
  rows = await IntentRows.make(database)
  clusterId = await rows.addCluster('eu')
})

afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})

afterEach(async () => {
  await Promise.all(running.splice(0).map((reconciler) => reconciler.stop()))
})

async function start(options: { pollMs?: number; quietMs?: number; compilerVersion?: number; freshMs?: number } = {}) {
  const store = new SnapshotStore(database)
  const reconciler = new Reconciler({
    intent: new IntentReader(database),
    store,
    failures: new SectionFailureStore(database),
    signer: { open: async () => (header) => signHeader(header, signingKey) },
    clock: systemClock,
    log: quiet,
    pollMs: 50,
    quietMs: 20,
    ...options,
  })
  running.push(reconciler)
  await reconciler.run()
  return { reconciler, store }
}

const sectionOf = (snapshot: StoredSnapshot | null, environmentId = rows.environmentId) =>
  snapshot?.sections.find((section) => section.name === environmentSection(rows.tenantId, environmentId))
const names = (snapshot: StoredSnapshot | null, environmentId?: string) =>
  sectionOf(snapshot, environmentId)?.resources.map((resource) => resource.name) ?? []
const denied = (snapshot: StoredSnapshot | null) =>
  snapshot?.sections.find((section) => section.name === 'deny')?.resources.map((resource) => resource.name) ?? []

/** Waits until the view has applied the environment's revision of now. */
async function settled(reconciler: Reconciler, environmentId = rows.environmentId, cluster = clusterId) {
  const revision = await rows.revision(environmentId)
  const snapshot = await reconciler
    .desired(viewOf(cluster))
    .until((s) => (sectionOf(s, environmentId)?.intentRevision ?? -1) >= revision, deadline())
  if (snapshot === null) throw new Error('no snapshot')
  return snapshot
}

describe('the reconciler', () => {
  it('makes a signed snapshot that an agent takes, of what intent says', async () => {
    const { reconciler } = await start()
    await rows.addRoute('fast')
    const [key] = await rows.addKeys(2)
    const snapshot = await settled(reconciler)
    expect(names(snapshot)).toEqual(
      expect.arrayContaining([
        `environment/${rows.environmentId}`,
        `provider/${rows.providerId}`,
        `model/${rows.modelId}`,
        `api_key/${key}`,
      ]),
    )
    const update = snapshotUpdateCodec.decode(
      snapshotUpdateCodec.encode(diffSnapshot(snapshot, null, { resync: false })),
    )
    const result = rebuild({
      ...{ held: null, update, clusterId },
      keys: new Map([['sig_1', rawPublicKeyOf('ed25519', signingKey)]]),
      limits: { contentBytesMax: 1e6, resourcesMax: 1e4 },
    })
    expect(result.outcome).toBe('rebuilt')
    const model = sectionOf(snapshot)?.resources.find((r) => r.name === `model/${rows.modelId}`)
    const decoded = model && decodeResource(model.content, { section: '', resource: '' })
    expect(decoded).toMatchObject({
      model: { price: { version: 1, inputNanoUsdPerMillion: 5, outputNanoUsdPerMillion: 9 } },
    })
  })

  it('allocates no generation when content is the same, and follows a change made without a bell', async () => {
    const { reconciler } = await start({ freshMs: 10 })
    const before = await settled(reconciler)
    await systemClock.sleep(200)
    expect(reconciler.desired(viewOf(clusterId)).value?.generation).toBe(before.generation)
    await rows.addRoute('slow')
    expect((await settled(reconciler)).generation).toBeGreaterThan(before.generation)
  })

  it('declares what went and names no provider that no route uses', async () => {
    const { reconciler } = await start()
    const id = await rows.addRoute('passing')
    await settled(reconciler)
    await rows.change((tx) => tx.route.delete({ where: { id } }))
    const snapshot = await settled(reconciler)
    expect(sectionOf(snapshot)?.removed).toContain(`route/${id}`)
    const unused = await rows.addEnvironment()
    expect(names(await settled(reconciler, unused), unused)).toEqual([`environment/${unused}`])
  })

  it('keeps the last good content of a section that cannot work, says why, and lets the others advance', async () => {
    const { reconciler } = await start()
    const other = await rows.addEnvironment()
    const before = await settled(reconciler, other)
    const elsewhere = 'prv_elsewhere'
    await database.rows.provider.create({
      data: {
        ...{ id: elsewhere, tenantId: rows.tenantId, name: elsewhere, kind: 'openai' },
        ...{ baseUrl: 'https://h/v1', region: 'us' },
      },
    })
    const id = await rows.addRoute('broken', { providerId: elsewhere })
    await rows.addRoute('fine', { environmentId: other })
    const after = await settled(reconciler, other)
    expect(sectionOf(after)?.hash).toEqual(sectionOf(before)?.hash)
    const failures = new SectionFailureStore(database)
    expect(await failures.findOfEnvironment(rows.environmentId)).toMatchObject([
      {
        code: 'target_region_not_permitted',
        path: `route/${id} rules[0].targets[0].providerId`,
        view: viewOf(clusterId),
      },
    ])
    // A revocation goes out although its own environment is held back.
    const [key] = await rows.addKeys(1)
    if (!key) throw new Error('no key')
    await rows.revokeKey(key)
    const snapshot = await reconciler
      .desired(viewOf(clusterId))
      .until((s) => denied(s).includes(`deny/${key}`), deadline())
    expect(sectionOf(snapshot)?.hash).toEqual(sectionOf(before)?.hash)

    await rows.change((tx) => tx.route.delete({ where: { id } }))
    await settled(reconciler)
    expect(await failures.findOfEnvironment(rows.environmentId)).toEqual([])
  })

  it('lets nothing that was withdrawn outlive its withdrawal in a section that is held back', async () => {
    const [{ reconciler }, other] = await Promise.all([start(), start()])
    const environmentId = await rows.addEnvironment(['eu', 'us'])
    const far = newId('provider', Date.now())
    await database.rows.provider.create({
      data: {
        ...{ id: far, tenantId: rows.tenantId, name: far, kind: 'openai', baseUrl: 'https://far/v1', region: 'us' },
      },
    })
    const stays = await rows.addRoute('stays', { environmentId })
    const leaves = await rows.addRoute('leaves', { environmentId, providerId: far })
    const deleted = await rows.addRoute('deleted', { environmentId })
    const [key, spare] = await rows.addKeys(2, environmentId)
    const before = await settled(reconciler, environmentId)
    expect(names(before, environmentId)).toEqual(expect.arrayContaining([`route/${leaves}`, `provider/${far}`]))

    await rows.change(async (tx) => {
      await tx.environment.update({ where: { id: environmentId }, data: { permittedRegions: ['eu'] } })
      await tx.route.delete({ where: { id: deleted } })
      await tx.apiKey.delete({ where: { id: spare ?? '' } })
    }, environmentId)
    const kept = [`environment/${environmentId}`, `provider/${rows.providerId}`, `model/${rows.modelId}`]
    const after = await reconciler
      .desired(viewOf(clusterId))
      .until((s) => !names(s, environmentId).includes(`provider/${far}`), deadline())
    expect(names(after, environmentId)).toEqual([...kept, `route/${stays}`, `api_key/${key}`].sort())
    const section = sectionOf(after, environmentId)
    expect(section?.intentRevision).toBe(sectionOf(before, environmentId)?.intentRevision)
    expect(section?.removed).toEqual(
      [`provider/${far}`, `route/${leaves}`, `route/${deleted}`, `api_key/${spare}`].sort(),
    )
    expect(await new SectionFailureStore(database).findOfEnvironment(environmentId)).toMatchObject([
      { code: 'target_region_not_permitted' },
    ])
    // It is said once: nobody makes another generation of it, not from memory and not from rows read afresh.
    await start({ freshMs: 20 })
    other.reconciler.ring()
    await systemClock.sleep(300)
    expect(other.reconciler.desired(viewOf(clusterId)).value?.generation).toBe(after?.generation)

    await rows.change((tx) => tx.route.delete({ where: { id: leaves } }), environmentId)
    expect(names(await settled(reconciler, environmentId), environmentId)).toContain(`route/${stays}`)
  })

  it('places environments by region, and denies keys of one that was archived', async () => {
    const { reconciler } = await start()
    const us = await rows.addCluster('us')
    const both = await rows.addEnvironment(['eu', 'us'])
    await rows.addKeys(1, both)
    await settled(reconciler, both, us)
    const snapshot = reconciler.desired(viewOf(us)).value
    expect(snapshot?.sections.map((section) => section.name)).toEqual([
      'cluster',
      'deny',
      environmentSection(rows.tenantId, both),
    ])
    await rows.change((tx) => tx.environment.update({ where: { id: both }, data: { archivedAt: new Date() } }), both)
    const without = await reconciler.desired(viewOf(us)).until((s) => s?.sections.length === 2, deadline())
    expect(without?.removedSections).toEqual([environmentSection(rows.tenantId, both)])
  })

  it('makes one generation of a burst, and sends revocations without waiting for it', async () => {
    const { reconciler } = await start({ quietMs: 400, pollMs: 20 })
    const [key] = await rows.addKeys(3)
    if (!key) throw new Error('no key')
    const before = await settled(reconciler)
    for (let index = 0; index < 5; index++) await rows.addRoute(`burst-${index}`)
    await rows.revokeKey(key)
    const denying = await reconciler
      .desired(viewOf(clusterId))
      .until((s) => denied(s).includes(`deny/${key}`), deadline())
    expect(denying?.generation).toBe(before.generation + 1)
    const after = await settled(reconciler)
    expect(after.generation).toBe(before.generation + 2)
    expect(names(after)).not.toContain(`api_key/${key}`)
  })

  it('drops a denial once its key has expired', async () => {
    const { reconciler } = await start({ freshMs: 50 })
    const [key] = await rows.addKeys(1)
    if (!key) throw new Error('no key')
    await rows.revokeKey(key)
    await reconciler.desired(viewOf(clusterId)).until((s) => denied(s).includes(`deny/${key}`), deadline())
    await database.rows.apiKey.update({ where: { id: key }, data: { expiresAt: new Date(Date.now() - 1000) } })
    const dropped = await reconciler
      .desired(viewOf(clusterId))
      .until((s) => !denied(s).includes(`deny/${key}`), deadline())
    expect(dropped?.sections.find((section) => section.name === 'deny')?.removed).toContain(`deny/${key}`)
  })

  it('converges with other replicas on the same stored rows', async () => {
    const replicas = await Promise.all([start(), start(), start()])
    for (let index = 0; index < 5; index++) {
      await Promise.all([rows.addRoute(`both-${index}`), rows.addKeys(1)])
      replicas[index % 3]?.reconciler.ring()
      const snapshots = await Promise.all(replicas.map(({ reconciler }) => settled(reconciler)))
      const newest = Math.max(...snapshots.map((s) => s.generation))
      const held = await Promise.all(
        replicas.map(({ reconciler }) =>
          reconciler.desired(viewOf(clusterId)).until((s) => (s?.generation ?? 0) >= newest, deadline()),
        ),
      )
      expect(
        new Set(held.map((s) => `${s?.generation} ${s?.rootHash.toString('hex')} ${s?.signature.toString('hex')}`))
          .size,
      ).toBe(1)
    }
  })

  it('does not fight with a replica that runs another release', async () => {
    const [older, newer] = await Promise.all([
      start({ compilerVersion: 1, freshMs: 30 }),
      start({ compilerVersion: 2, freshMs: 30 }),
    ])
    await rows.addRoute('released')
    await Promise.all([settled(older.reconciler), settled(newer.reconciler)])
    await systemClock.sleep(300)
    const generation = newer.reconciler.desired(viewOf(clusterId)).value?.generation
    await systemClock.sleep(300)
    expect(newer.reconciler.desired(viewOf(clusterId)).value?.generation).toBe(generation)
  })

  it('opens a new epoch with a new header, whatever the content', async () => {
    const { reconciler } = await start()
    const before = await settled(reconciler)
    await database.rows.installation.updateMany({ data: { epoch: { increment: 1 } } })
    const after = await reconciler.desired(viewOf(clusterId)).until((s) => s?.epoch === before.epoch + 1, deadline())
    expect(after?.rootHash).toEqual(before.rootHash)
    expect(after?.generation).toBe(before.generation + 1)
  })

  it('goes on where another process stopped, without a new generation', async () => {
    const first = await start()
    const before = await settled(first.reconciler)
    await first.reconciler.stop()
    const second = await start()
    const after = await settled(second.reconciler)
    expect(after).toEqual(before)
  })

  it('stores a large section as what changed in it, and reads it back whole', async () => {
    const { reconciler, store } = await start()
    const large = await rows.addEnvironment()
    const keys = await rows.addKeys(200, large)
    await settled(reconciler, large)
    let newest: StoredSnapshot | null = null
    for (let index = 0; index < 20; index++) {
      await rows.revokeKey(keys[index] ?? '')
      await rows.addKeys(1, large)
      reconciler.ring()
      newest = await settled(reconciler, large)
    }
    const name = environmentSection(rows.tenantId, large)
    const sections = await database.rows.snapshotSection.findMany({ where: { name } })
    const whole = sections.filter((section) => section.baseHash === null)
    expect(sections.length).toBeGreaterThan(20)
    expect(whole.length).toBeLessThan(4)

    const elsewhere = new SnapshotStore(database)
    const reloaded = await elsewhere.loadBase(viewOf(clusterId))
    expect(reloaded.newest).toEqual(newest)
    const hash = sectionOf(newest, large)?.hash ?? Buffer.alloc(0)
    const listed = sectionOf(newest, large)?.resources.map((resource) => ({ name: resource.name, hash: resource.hash }))
    expect(await new SnapshotStore(database).findSectionNames(hash)).toEqual(listed)

    await database.rows.snapshot.updateMany({ data: { createdAt: new Date(Date.now() - 7_200_000) } })
    await store.sweep(1)
    expect((await new SnapshotStore(database).loadBase(viewOf(clusterId))).newest?.sections).toEqual(newest?.sections)
  })

  it('gives the event loop back while it compiles and stores many keys', async () => {
    const environmentId = await rows.addEnvironment()
    await rows.addKeys(500, environmentId)
    // Each look at the clock is an offer to pause; time stands still, so that none is taken.
    let offered = 0
    const clock: Clock = {
      ...{ nowMs: () => 0, sleep: async () => {}, after: () => () => {} },
      monotonicUs: () => {
        offered += 1
        return 0
      },
    }
    const reader = new IntentReader(database, clock)
    const intent = (await reader.loadEnvironments(({ id }) => id === environmentId)).get(environmentId)
    expect(intent?.apiKeys).toHaveLength(500)
    expect(offered).toBeGreaterThanOrEqual(500)
    const { reconciler } = await start()
    await settled(reconciler, environmentId)
    offered = 0
    await new SnapshotStore(database, clock).loadBase(viewOf(clusterId))
    expect(offered).toBeGreaterThanOrEqual(500)
  })

  it('sweeps what nobody needs and nothing else', async () => {
    const { reconciler, store } = await start()
    for (let index = 0; index < 4; index++) {
      await rows.addKeys(1)
      await settled(reconciler)
    }
    const newest = await settled(reconciler)
    await database.rows.snapshot.updateMany({ data: { createdAt: new Date(Date.now() - 7_200_000) } })
    expect(await store.sweep(2)).toBeGreaterThan(0)
    const reloaded = await new SnapshotStore(database).loadBase(viewOf(clusterId))
    expect(reloaded.newest?.rootHash).toEqual(newest.rootHash)
    expect(reloaded.newest?.sections).toEqual(newest.sections)
    expect(await store.reachesBack(viewOf(clusterId), newest.epoch, newest.generation)).toBe(true)
    expect(await store.reachesBack(viewOf(clusterId), newest.epoch, 0)).toBe(false)
    expect(await store.reachesBack(viewOf(clusterId), newest.epoch + 1, newest.generation)).toBe(false)
  })
})
