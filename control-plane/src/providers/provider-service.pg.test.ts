import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { actorOf, type Intent, platformAdmin, refusalOf, startIntent } from '../../../test/harness/intent.js'
import { credentialContext } from './credential.js'

let intent: Intent
beforeAll(async () => {
  intent = await startIntent()
})
afterAll(() => intent.drop())

let count = 0
function fields(more: object = {}) {
  return {
    ...{ tenantId: intent.tenant.tenantId, name: `provider-${++count}`, kind: 'vllm' as const },
    ...{ baseUrl: 'http://vllm:8000/v1/', region: 'eu-central-1', ...more },
  }
}

describe('creating a provider', () => {
  test('stores it, seals the secret, bumps every environment and wakes the reconciler', async () => {
    const rung = intent.ringCount()
    const { provider, intentRevisions } = await intent.providers.create(
      intent.tenant.admin,
      fields({ credential: { secret: 'sk-very-secret' } }),
    )
    expect(provider).toMatchObject({ baseUrl: 'http://vllm:8000/v1', connectionsMax: 256, rowVersion: 1 })
    expect(provider.credential).toMatchObject({ version: 1, kind: 'secret', reference: null })
    expect([...intentRevisions.keys()].sort()).toEqual(
      [intent.tenant.environmentId, intent.tenant.otherEnvironmentId].sort(),
    )
    expect(intent.ringCount()).toBe(rung + 1)
    const row = await intent.database.rows.credential.findFirstOrThrow({ where: { providerId: provider.id } })
    expect(Buffer.from(row.ciphertext ?? []).toString('latin1')).not.toContain('sk-very-secret')
    const opened = intent.keyRing.open(
      row.ciphertext ?? new Uint8Array(),
      row.wrapKeyId ?? '',
      credentialContext(row.id, 1),
    )
    expect(Buffer.from(opened).toString()).toBe('sk-very-secret')
  })

  test('leaves an audit entry that does not hold the secret', async () => {
    const { provider } = await intent.providers.create(
      intent.tenant.admin,
      fields({ credential: { secret: 'sk-audited' } }),
    )
    await intent.providers.rotateCredential(intent.tenant.admin, {
      providerId: provider.id,
      credential: { secret: 'sk-audited-too' },
    })
    const entries = await intent.database.rows.auditEntry.findMany({ where: { subjectId: provider.id } })
    expect(entries.map((entry) => entry.action).sort()).toEqual(['provider.create', 'provider.rotate-credential'])
    expect(JSON.stringify(entries)).not.toContain('sk-audited')
    expect(JSON.stringify(entries)).toContain('"version":2')
  })

  test.each([
    [{ name: 'No Spaces' }, 'input.name'],
    [{ kind: 'telepathy' }, 'input.kind'],
    [{ kind: 'bedrock' }, 'input.vendorRegion'],
    [{ kind: 'azure-openai' }, 'input.apiVersion'],
    [{ apiVersion: 'v1' }, 'input.apiVersion'],
    [{ baseUrl: null }, 'input.baseUrl'],
    [{ slaAvailabilityPpm: 1_000_001 }, 'input.slaAvailabilityPpm'],
    [{ slaNote: 'n'.repeat(501) }, 'input.slaNote'],
    [{ slaNote: 'backwards\u202e' }, 'input.slaNote'],
    [{ vendorRequestsPerMinute: 0 }, 'input.vendorRequestsPerMinute'],
    [{ vendorTokensPerMinute: 2 ** 31 }, 'input.vendorTokensPerMinute'],
    [{ kind: 'bedrock', vendorRegion: 'eu-central-1', credential: { secret: 'AKIA' } }, 'input.credential.secret'],
    [{ credential: { reference: 'ambient:aws' } }, 'input.credential.reference'],
    [{ baseUrl: 'http://169.254.169.254/' }, 'input.baseUrl'],
    [{ region: 'EU' }, 'input.region'],
    [{ connectionsMax: 0 }, 'input.connectionsMax'],
    [{ replicaUrls: ['http://a/v1', 'b'] }, 'input.replicaUrls[1]'],
    [{ replicaScrapeMs: 249 }, 'input.replicaScrapeMs'],
    [{ replicaScrapeMs: 60_001 }, 'input.replicaScrapeMs'],
    [{ kind: 'openai', baseUrl: null, replicaUrls: ['https://a.example.com'] }, 'input.replicaUrls'],
    [{ credential: {} }, 'input.credential'],
    [{ credential: { secret: 'a', reference: 'env:A' } }, 'input.credential'],
    [{ credential: { secret: 'two words' } }, 'input.credential.secret'],
    [{ credential: { secret: 'line\r\nx-evil: 1' } }, 'input.credential.secret'],
    [{ credential: { reference: 'file:/etc/../etc/shadow' } }, 'input.credential.reference'],
    [{ credential: { reference: 'vault:x' } }, 'input.credential.reference'],
  ])('refuses %j by its field', async (wrong, field) => {
    const refusal = await refusalOf(() => intent.providers.create(platformAdmin, fields(wrong)))
    expect(refusal).toMatchObject({ code: 'bad_input', field })
  })

  test('refuses a taken name', async () => {
    const { provider } = await intent.providers.create(intent.tenant.admin, fields())
    const again = await refusalOf(() => intent.providers.create(intent.tenant.admin, fields({ name: provider.name })))
    expect(again).toMatchObject({ code: 'conflict', field: 'input.name' })
  })

  test('leaves references to platform admins', async () => {
    const reference = { credential: { reference: 'env:UPSTREAM_KEY' } }
    expect(await refusalOf(() => intent.providers.create(intent.tenant.admin, fields(reference)))).toMatchObject({
      code: 'forbidden',
    })
    const { provider } = await intent.providers.create(platformAdmin, fields(reference))
    expect(provider.credential).toMatchObject({ kind: 'reference', reference: 'env:UPSTREAM_KEY' })
  })
})

describe('vendors with a wire of their own', () => {
  const statement = { slaAvailabilityPpm: 999_000, slaNote: '99.9 %\nper month', vendorRequestsPerMinute: 600 }
  const bedrock = { kind: 'bedrock' as const, baseUrl: null, vendorRegion: 'eu-central-1' }
  const keys = { accessKeyId: 'AKIA', secretAccessKey: 'zz-audited' }

  test('are stored with what they need, shown again, and audited without the secret', async () => {
    const { provider } = await intent.providers.create(
      intent.tenant.admin,
      fields({ ...bedrock, ...statement, credential: { secret: JSON.stringify(keys, null, 2) } }),
    )
    const expected = {
      ...{ kind: 'bedrock', baseUrl: 'https://bedrock-runtime.eu-central-1.amazonaws.com', external: true },
      ...{ apiVersion: null, vendorRegion: 'eu-central-1', vendorProject: null },
      ...{ ...statement, vendorTokensPerMinute: null },
    }
    expect(provider).toMatchObject(expected)
    expect(await intent.providers.find(intent.tenant.admin, provider.id)).toEqual(provider)
    const row = await intent.database.rows.credential.findFirstOrThrow({ where: { providerId: provider.id } })
    const context = credentialContext(row.id, 1)
    const opened = intent.keyRing.open(row.ciphertext ?? new Uint8Array(), row.wrapKeyId ?? '', context)
    expect(Buffer.from(opened).toString()).toBe(JSON.stringify(keys))
    const entries = await intent.database.rows.auditEntry.findMany({ where: { subjectId: provider.id } })
    expect(entries[0]?.after).toMatchObject(expected)
    expect(JSON.stringify(entries)).not.toMatch(/AKIA|zz-audited/)
  })

  test('are external, others are not, and either may be said to be the other', async () => {
    const external = async (more: object) =>
      (await intent.providers.create(intent.tenant.admin, fields(more))).provider.external
    expect([await external(bedrock), await external({})]).toEqual([true, false])
    expect([await external({ ...bedrock, external: false }), await external({ external: true })]).toEqual([false, true])
  })

  test('what a vendor states is changed, taken away by null, and left alone when not given', async () => {
    const { provider } = await intent.providers.create(intent.tenant.admin, fields({ ...bedrock, ...statement }))
    const change = (more: object) => intent.providers.update(intent.tenant.admin, { providerId: provider.id, ...more })
    const changed = await change({ slaNote: null, vendorTokensPerMinute: 5, external: false })
    const expected = { ...statement, slaNote: null, vendorTokensPerMinute: 5, external: false }
    expect(changed.provider).toMatchObject(expected)
    expect((await change({ connectionsMax: 7 })).provider).toMatchObject({ ...expected, connectionsMax: 7 })
    expect(await refusalOf(() => change({ apiVersion: 'v1' }))).toMatchObject({ field: 'input.apiVersion' })
  })

  test("the vendor's own address follows the region, another one stays, and the credential is asked for again", async () => {
    const { provider } = await intent.providers.create(
      intent.tenant.admin,
      fields({ ...bedrock, credential: { secret: JSON.stringify(keys) } }),
    )
    const change = (more: object) => intent.providers.update(intent.tenant.admin, { providerId: provider.id, ...more })
    const far = { vendorRegion: 'us-east-1' }
    expect(await refusalOf(() => change(far))).toMatchObject({
      ...{ code: 'bad_input', field: 'input.vendorRegion' },
      message: expect.stringContaining('give the credential again'),
    })
    const moved = await change({ ...far, credential: { secret: JSON.stringify(keys) } })
    expect(moved.provider).toMatchObject({ ...far, baseUrl: 'https://bedrock-runtime.us-east-1.amazonaws.com' })
    const own = { baseUrl: 'https://vpce.example.com' }
    await change({ ...own, credential: { secret: JSON.stringify(keys) } })
    expect((await change({ vendorRegion: 'us-west-2' })).provider).toMatchObject({ ...own, vendorRegion: 'us-west-2' })
    expect(await refusalOf(() => change({ credential: { secret: 'AKIA' } }))).toMatchObject({
      field: 'input.credential.secret',
    })
  })

  test('a rename is not refused over a stored address whose rule came later', async () => {
    const { provider } = await intent.providers.create(intent.tenant.admin, fields(bedrock))
    await intent.database.rows.provider.update({ where: { id: provider.id }, data: { vendorRegion: 'of-yore' } })
    const change = (more: object) => intent.providers.update(intent.tenant.admin, { providerId: provider.id, ...more })
    const name = `renamed-${++count}`
    expect((await change({ name })).provider).toMatchObject({ name, vendorRegion: 'of-yore' })
    expect(await refusalOf(() => change({ baseUrl: 'https://h' }))).toMatchObject({ field: 'input.vendorRegion' })
  })

  test('a credential is not used in another project than it was given for', async () => {
    const { provider } = await intent.providers.create(platformAdmin, {
      ...fields({ kind: 'vertex', baseUrl: null, vendorRegion: 'global', vendorProject: 'acme-prod-1' }),
      credential: { reference: 'ambient:google' },
    })
    expect(provider).toMatchObject({ baseUrl: 'https://aiplatform.googleapis.com', credential: { kind: 'reference' } })
    const elsewhere = { providerId: provider.id, vendorProject: 'acme-prod-2' }
    expect(await refusalOf(() => intent.providers.update(intent.tenant.admin, elsewhere))).toMatchObject({
      ...{ code: 'bad_input', field: 'input.vendorProject' },
    })
    const again = { ...elsewhere, credential: { reference: 'ambient:google' } }
    expect(await refusalOf(() => intent.providers.update(intent.tenant.admin, again))).toMatchObject({
      code: 'forbidden',
    })
    expect((await intent.providers.update(platformAdmin, again)).provider.vendorProject).toBe('acme-prod-2')
    const rotated = { providerId: provider.id, credential: { reference: 'ambient:aws' } }
    expect(await refusalOf(() => intent.providers.rotateCredential(platformAdmin, rotated))).toMatchObject({
      ...{ code: 'bad_input', field: 'input.credential.reference' },
    })
  })
})

describe('replicas', () => {
  const replicaUrls = ['http://vllm-0:8000/v1', 'http://vllm-1:8000/v1']

  test('are stored, shown, audited, left alone by other changes, and taken away by an empty list', async () => {
    const { provider } = await intent.providers.create(
      intent.tenant.admin,
      fields({ replicaUrls: ['http://vllm-0:8000/v1/', 'http://vllm-1:8000/v1'], replicaScrapeMs: 500 }),
    )
    expect(provider).toMatchObject({ replicaUrls, replicaScrapeMs: 500 })
    expect(await intent.providers.find(intent.tenant.admin, provider.id)).toEqual(provider)
    const entries = await intent.database.rows.auditEntry.findMany({ where: { subjectId: provider.id } })
    expect(entries[0]?.after).toMatchObject({ replicaUrls, replicaScrapeMs: 500 })
    const change = (more: object) => intent.providers.update(intent.tenant.admin, { providerId: provider.id, ...more })
    expect((await change({ connectionsMax: 7 })).provider).toMatchObject({ replicaUrls, replicaScrapeMs: 500 })
    expect((await change({ replicaScrapeMs: 2_000 })).provider).toMatchObject({ replicaUrls, replicaScrapeMs: 2_000 })
    expect((await change({ replicaUrls: [] })).provider).toMatchObject({ replicaUrls: [], replicaScrapeMs: 2_000 })
    expect(await refusalOf(() => change({ replicaUrls: ['http://169.254.169.254/'] }))).toMatchObject({
      ...{ code: 'bad_input', field: 'input.replicaUrls[0]' },
    })
  })

  test('get the credential, so a server that was none of them needs it given again', async () => {
    const { provider } = await intent.providers.create(
      intent.tenant.admin,
      fields({ replicaUrls, credential: { secret: 'sk-1' } }),
    )
    const change = (more: object) => intent.providers.update(intent.tenant.admin, { providerId: provider.id, ...more })
    const harvest = { replicaUrls: [...replicaUrls, 'http://evil:8000/v1'] }
    expect(await refusalOf(() => change(harvest))).toMatchObject({
      ...{ code: 'bad_input', field: 'input.replicaUrls[2]' },
      message: expect.stringContaining('give the credential again'),
    })
    const known = { replicaUrls: ['http://vllm-1:8000/v2', 'http://vllm:8000/v1'] }
    expect((await change(known)).provider).toMatchObject(known)
    const again = await change({ ...harvest, credential: { secret: 'sk-2' } })
    expect(again.provider).toMatchObject({ ...harvest, credential: { version: 2 } })
  })
})

describe('changing a provider', () => {
  test('another origin needs the credential again, another path does not', async () => {
    const { provider } = await intent.providers.create(intent.tenant.admin, fields({ credential: { secret: 'sk-1' } }))
    const change = (more: object) => intent.providers.update(intent.tenant.admin, { providerId: provider.id, ...more })
    expect((await change({ baseUrl: 'http://vllm:8000/v2' })).provider.rowVersion).toBe(2)
    expect(await refusalOf(() => change({ baseUrl: 'http://evil:8000/v2' }))).toMatchObject({
      ...{ code: 'bad_input', field: 'input.baseUrl' },
    })
    const moved = await change({ baseUrl: 'http://good:8000/v2', credential: { secret: 'sk-2' } })
    expect(moved.provider).toMatchObject({ baseUrl: 'http://good:8000/v2', credential: { version: 2 }, rowVersion: 3 })
  })

  test('a credential is rotated, one retired version is kept, and it is removed', async () => {
    const { provider } = await intent.providers.create(intent.tenant.admin, fields({ credential: { secret: 'sk-1' } }))
    for (const secret of ['sk-2', 'sk-3']) {
      await intent.providers.rotateCredential(intent.tenant.admin, { providerId: provider.id, credential: { secret } })
    }
    const rows = () =>
      intent.database.rows.credential.findMany({ where: { providerId: provider.id }, orderBy: { version: 'asc' } })
    expect((await rows()).map((row) => [row.version, row.retiredAt === null])).toEqual([
      [2, false],
      [3, true],
    ])
    const removed = await intent.providers.removeCredential(intent.tenant.admin, provider.id)
    expect(removed.provider).toMatchObject({ credential: null, rowVersion: 4 })
    const again = await intent.providers.rotateCredential(intent.tenant.admin, {
      ...{ providerId: provider.id, credential: { secret: 'sk-4' } },
    })
    expect(again.provider.credential?.version).toBe(4)
  })

  test('a stale row version is a conflict', async () => {
    const { provider } = await intent.providers.create(intent.tenant.admin, fields())
    const change = { providerId: provider.id, rowVersion: 1, name: `renamed-${++count}` }
    await intent.providers.update(intent.tenant.admin, change)
    expect(await refusalOf(() => intent.providers.update(intent.tenant.admin, change))).toMatchObject({
      ...{ code: 'conflict', field: 'input.rowVersion' },
    })
  })

  test('an archived provider is gone from the list, keeps no credential, and changes no more', async () => {
    const { provider } = await intent.providers.create(intent.tenant.admin, fields({ credential: { secret: 'sk' } }))
    const { provider: archived } = await intent.providers.archive(intent.tenant.admin, provider.id)
    expect(archived).toMatchObject({ credential: null })
    expect(await intent.database.rows.credential.count({ where: { providerId: provider.id } })).toBe(0)
    const page = await intent.providers.list(
      intent.tenant.admin,
      intent.tenant.tenantId,
      {},
      { first: 100, after: null },
    )
    expect(page.items.map(({ item }) => item.id)).not.toContain(provider.id)
    expect(await refusalOf(() => intent.providers.archive(intent.tenant.admin, provider.id))).toMatchObject({
      code: 'conflict',
    })
  })
})

describe('who may', () => {
  test("another tenant's provider does not exist, a lesser role is forbidden", async () => {
    const { provider } = await intent.providers.create(intent.tenant.admin, fields())
    const other = await intent.makeTenant()
    expect(await intent.providers.find(other.admin, provider.id)).toBeNull()
    const missing = await refusalOf(() => intent.providers.archive(other.admin, `prv_${'0'.repeat(26)}`))
    expect(await refusalOf(() => intent.providers.archive(other.admin, provider.id))).toEqual(missing)
    for (const role of ['developer', 'viewer'] as const) {
      const actor = actorOf(intent.tenant.tenantId, role)
      expect(await intent.providers.find(actor, provider.id)).toMatchObject({ id: provider.id })
      expect(await refusalOf(() => intent.providers.archive(actor, provider.id))).toMatchObject({ code: 'forbidden' })
      expect(await refusalOf(() => intent.providers.test(actor, provider.id))).toMatchObject({ code: 'forbidden' })
    }
  })
})

test('a test opens the credential and shows it to the provider; a reference is left to the agents', async () => {
  let shown = ''
  const server = createServer((request, response) => {
    shown = request.headers.authorization ?? ''
    response.end('{"data":[{"id":"m"}]}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
  const { provider } = await intent.providers.create(
    intent.tenant.admin,
    fields({ baseUrl, credential: { secret: 'sk-tested' } }),
  )
  const { test: result } = await intent.providers.test(intent.tenant.admin, provider.id)
  server.close()
  expect(result).toMatchObject({ ok: true, models: ['m'] })
  expect(shown).toBe('Bearer sk-tested')
  const { provider: referring } = await intent.providers.create(
    platformAdmin,
    fields({ credential: { reference: 'file:/run/secrets/key' } }),
  )
  const untested = await intent.providers.test(intent.tenant.admin, referring.id)
  expect(untested.test).toMatchObject({ ok: false, step: 'credential' })
  expect(untested.test.sentence).toContain('only agents can read')
})
