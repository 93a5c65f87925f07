import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../../proto/std/clock.js'
import { type TestDatabase, testDatabase } from '../../../test/harness/postgres.js'
import { Database } from '../database/database.js'
import { openInstallation } from '../fleet/installation.js'
import { SigningKeys } from '../fleet/signing-keys.js'
import { KeyRing } from './encryption.js'
import { WrappedSecretStore } from './wrapped-secret-store.js'

let testDb: TestDatabase
let database: Database

beforeAll(async () => {
  testDb = await testDatabase()
  database = new Database({ url: testDb.url, poolMax: 4, sqlPoolMax: 4 })
})
afterAll(async () => {
  await database?.close()
  await testDb?.drop()
})

const [old, young] = ['old', 'young'].map((id) => `${id}:${randomBytes(32).toString('base64')}`) as [string, string]

test('every secret is sealed anew while readers and writers go on; afterwards the old key can go', async () => {
  const [before, both, after] = [[old], [young, old], [young]].map((texts) => KeyRing.parse(texts)) as [
    KeyRing,
    KeyRing,
    KeyRing,
  ]
  const authority = await openInstallation({ database, keyRing: before, clock: systemClock })
  await database.rows.tenant.create({ data: { id: 'ten_1', slug: 'a', name: 'A' } })
  await database.rows.provider.create({
    data: { id: 'prv_1', tenantId: 'ten_1', name: 'p', kind: 'openai', baseUrl: 'https://x/v1', region: 'eu' },
  })
  const secretOf = (id: string, version: number) => `secret of ${id} version ${version}`
  const write = async (ring: KeyRing, id: string, version: number) => {
    const { ciphertext, wrapKeyId } = ring.seal(Buffer.from(secretOf(id, version)), `credential/${id}/${version}`)
    await database.rows.credential.create({ data: { id, version, providerId: 'prv_1', ciphertext, wrapKeyId } })
  }
  for (let i = 0; i < 60; i++) await write(before, `crd_${i}`, 1 + (i % 3))
  await database.rows.credential.create({
    data: { id: 'crd_ref', version: 1, providerId: 'prv_1', reference: 'env:X' },
  })

  const readAll = async (ring: KeyRing) => {
    const rows = await database.rows.credential.findMany({ where: { ciphertext: { not: null } } })
    for (const { id, version, ciphertext, wrapKeyId } of rows) {
      const opened = ring.open(ciphertext ?? Buffer.alloc(0), wrapKeyId ?? '', `credential/${id}/${version}`)
      expect(Buffer.from(opened).toString()).toBe(secretOf(id, version))
    }
    return rows.length
  }

  const store = new WrappedSecretStore(database)
  let done = false
  const reading = (async () => {
    let rounds = 0
    for (; !done; rounds++) await readAll(both)
    return rounds
  })()
  // A replica that still seals under the old key does so in the middle of it.
  const writing = (async () => {
    for (let i = 100; i < 120; i++) await write(before, `crd_${i}`, 1)
  })()
  const [first] = await Promise.all([store.rewrapAll(both, 7), writing])
  const second = await store.rewrapAll(both, 7)
  done = true
  expect(await reading).toBeGreaterThan(0)

  const counts = first.map(({ name, rewrapped }, i) => [name, rewrapped + (second[i]?.rewrapped ?? 0)])
  expect(counts).toEqual([
    ['provider credentials', 80],
    ['certificate authority keys', 1],
    ['signing keys', 1],
  ])
  expect(await readAll(after)).toBe(80)
  expect(await store.countByKey()).toEqual(new Map([['young', 82]]))
  expect((await openInstallation({ database, keyRing: after, clock: systemClock })).certificatePem).toBe(
    authority.certificatePem,
  )
  const keys = new SigningKeys({ database, keyRing: after })
  for (const { keyId } of await keys.loadTrusted()) await keys.open(keyId)
})

test('a secret whose key is not given is left as it is, and named', async () => {
  const stranger = KeyRing.parse([`stranger:${randomBytes(32).toString('base64')}`])
  await expect(new WrappedSecretStore(database).rewrapAll(stranger, 10)).rejects.toThrow(/credential\/.*wrap key young/)
  expect(await new WrappedSecretStore(database).countByKey()).toEqual(new Map([['young', 82]]))
})
