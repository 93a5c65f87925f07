import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { actorOf, type Intent, refusalOf, startIntent } from '../../../test/harness/intent.js'

let intent: Intent
let provider: string
let american: string
let chat: string
let embeddings: string

beforeAll(async () => {
  intent = await startIntent()
  const { tenantId, admin } = intent.tenant
  const at = async (name: string, region: string) =>
    (await intent.providers.create(admin, { tenantId, name, kind: 'vllm', baseUrl: 'http://vllm:8000/v1', region }))
      .provider.id
  const model = async (name: string, ...capabilities: ('chat' | 'embeddings')[]) =>
    (await intent.models.create(admin, { tenantId, name, capabilities })).model.id
  provider = await at('here', 'eu-central-1')
  american = await at('there', 'us-east-1')
  chat = await model('gpt', 'chat')
  embeddings = await model('embedder', 'embeddings')
})
afterAll(() => intent.drop())

let count = 0
function fields(targets: object[] = [{}], more: object = {}) {
  return {
    ...{ environmentId: intent.tenant.environmentId, name: `route-${++count}`, ...more },
    targets: targets.map((target) => ({ providerId: provider, modelId: chat, ...target })),
  }
}
const create = (targets?: object[], more?: object) => intent.routes.create(intent.tenant.admin, fields(targets, more))

describe('creating a route', () => {
  test('completes the deadlines and returns the revision of its environment only', async () => {
    const rows = () =>
      intent.database.rows.environment.findMany({ where: { tenantId: intent.tenant.tenantId }, orderBy: { id: 'asc' } })
    const before = await rows()
    const { route, intentRevision } = await create([{}, { upstreamModel: 'gpt-large', totalTimeoutMs: 8_000 }])
    const after = await rows()
    expect(after.map((row, index) => row.intentRevision - (before[index]?.intentRevision ?? 0n))).toEqual([1n, 0n])
    expect(intentRevision).toBe(after[0]?.intentRevision)
    expect(route).toMatchObject({
      ...{ totalTimeoutMs: 128_000, unsupportedSettings: 'refuse', rowVersion: 1 },
      targets: [
        {
          ...{ connectTimeoutMs: 2_000, firstTokenTimeoutMs: 30_000, idleTimeoutMs: 30_000, totalTimeoutMs: 120_000 },
          upstreamModel: null,
        },
        {
          ...{ connectTimeoutMs: 2_000, firstTokenTimeoutMs: 8_000, idleTimeoutMs: 8_000, totalTimeoutMs: 8_000 },
          upstreamModel: 'gpt-large',
        },
      ],
    })
    expect(await intent.routes.find(intent.tenant.admin, route.id)).toEqual(route)
  })

  const nobody = (prefix: string) => `${prefix}_${'0'.repeat(26)}`
  test.each<[string, object[], object, string, string]>([
    ['an unknown model', [{}, { modelId: nobody('mdl') }], {}, 'input.targets[1].modelId', 'no such model'],
    ['an unknown provider', [{ providerId: nobody('prv') }], {}, 'input.targets[0].providerId', 'no such provider'],
    ['something that is no id', [{ providerId: 'x' }], {}, 'input.targets[0].providerId', 'expected an id'],
    ['no target', [], {}, 'input.targets', 'at least one'],
    ['too many targets', new Array(17).fill({}), {}, 'input.targets', 'at most 16'],
    [
      ...(['conduct that does not exist', [{}], { unsupportedSettings: 'guess' }] as const),
      ...(['input.unsupportedSettings', 'expected one of refuse, drop'] as const),
    ] as never,
    ['a name that no client could send', [{}], { name: 'a b' }, 'input.name', 'expected'],
    [
      ...(['a hop longer than the route', [{ totalTimeoutMs: 5_000 }], { totalTimeoutMs: 4_000 }] as const),
      ...(['input.targets[0].totalTimeoutMs', "route's total of 4000 ms"] as const),
    ] as never,
    [
      ...(['a step longer than its hop', [{ totalTimeoutMs: 5_000, idleTimeoutMs: 6_000 }], {}] as const),
      ...(['input.targets[0].idleTimeoutMs', "target's total of 5000 ms"] as const),
    ] as never,
    [
      ...(['a hop out of reach', [{ connectTimeoutMs: 2_000 }, {}], { totalTimeoutMs: 2_000 }] as const),
      ...(['input.targets[1]', 'never reached'] as const),
    ] as never,
  ])('refuses %s with its path', async (_, targets, more, field, words) => {
    const refusal = await refusalOf(() => create(targets, more))
    expect(refusal).toMatchObject({ code: 'bad_input', field })
    expect(refusal.message).toContain(words)
  })

  test('refuses a provider outside the permitted regions, naming them', async () => {
    const refusal = await refusalOf(() => create([{}, { providerId: american }]))
    expect(refusal).toMatchObject({ code: 'bad_input', field: 'input.targets[1].providerId' })
    expect(refusal.message).toContain('permits only eu-central-1, local')
    const { environmentId } = await create([{ providerId: american }], {
      environmentId: intent.tenant.otherEnvironmentId,
    }).then(({ route }) => route)
    expect(environmentId).toBe(intent.tenant.otherEnvironmentId)
  })

  test('refuses models that share no capability', async () => {
    const refusal = await refusalOf(() => create([{}, { modelId: embeddings }]))
    expect(refusal).toMatchObject({ code: 'bad_input', field: 'input.targets' })
  })

  test("refuses another tenant's model and environment as if there were none", async () => {
    const other = await intent.makeTenant()
    const theirs = await intent.models.create(other.admin, {
      ...{ tenantId: other.tenantId, name: 'theirs', capabilities: ['chat'] },
    })
    expect(await refusalOf(() => create([{ modelId: theirs.model.id }]))).toMatchObject({
      ...{ field: 'input.targets[0].modelId', message: 'input.targets[0].modelId: no such model' },
    })
    const missing = await refusalOf(() => create([{}], { environmentId: nobody('env') }))
    expect(await refusalOf(() => create([{}], { environmentId: other.environmentId }))).toEqual(missing)
  })

  test('refuses a taken name, and whoever may not write', async () => {
    const { route } = await create()
    expect(await refusalOf(() => create([{}], { name: route.name }))).toMatchObject({ code: 'conflict' })
    const viewer = actorOf(intent.tenant.tenantId, 'viewer')
    expect(await refusalOf(() => intent.routes.create(viewer, fields()))).toMatchObject({ code: 'forbidden' })
    const developer = actorOf(intent.tenant.tenantId, 'developer')
    expect((await intent.routes.create(developer, fields())).route.rowVersion).toBe(1)
  })
})

describe('changing a route', () => {
  test('keeps the ids of targets that stay, and the rest of what is not given', async () => {
    const { route } = await create([{}, { upstreamModel: 'b' }])
    const [first, second] = route.targets
    const { route: next, intentRevision } = await intent.routes.update(intent.tenant.admin, {
      routeId: route.id,
      targets: [
        { providerId: provider, modelId: chat, upstreamModel: 'b' },
        { providerId: provider, modelId: chat, upstreamModel: 'c' },
        { providerId: provider, modelId: chat },
      ],
    })
    expect(next.targets.map((target) => target.id)).toEqual([second?.id, expect.any(String), first?.id])
    expect(next).toMatchObject({ totalTimeoutMs: route.totalTimeoutMs, rowVersion: 2, name: route.name })
    expect(await intent.routes.find(intent.tenant.admin, route.id)).toEqual(next)
    const shorter = intent.routes.update(intent.tenant.admin, { routeId: route.id, rowVersion: 1, totalTimeoutMs: 100 })
    expect(await refusalOf(() => shorter)).toMatchObject({ code: 'conflict' })
    const deleted = await intent.routes.delete(intent.tenant.admin, route.id)
    expect(deleted.intentRevision).toBe(intentRevision + 1n)
    expect(await intent.routes.find(intent.tenant.admin, route.id)).toBeNull()
    const entries = await intent.database.rows.auditEntry.findMany({ where: { subjectId: route.id } })
    expect(entries.map((entry) => entry.action).sort()).toEqual(['route.create', 'route.delete', 'route.update'])
  })

  test('what becomes of settings that a vendor has no word for is said, changed, audited, and else stays', async () => {
    const { route } = await create([{}], { unsupportedSettings: 'drop' })
    const change = async (more: object) =>
      (await intent.routes.update(intent.tenant.admin, { routeId: route.id, ...more })).route
    expect(route.unsupportedSettings).toBe('drop')
    expect((await change({ totalTimeoutMs: 200_000 })).unsupportedSettings).toBe('drop')
    const changed = await change({ unsupportedSettings: 'refuse' })
    expect(changed).toMatchObject({ unsupportedSettings: 'refuse', totalTimeoutMs: 200_000 })
    expect(await intent.routes.find(intent.tenant.admin, route.id)).toEqual(changed)
    const entries = await intent.database.rows.auditEntry.findMany({
      where: { subjectId: route.id, action: 'route.update' },
    })
    expect(entries.at(-1)).toMatchObject({
      before: { unsupportedSettings: 'drop' },
      after: { unsupportedSettings: 'refuse' },
    })
  })

  test('a total shorter than a hop is refused', async () => {
    const { route } = await create()
    const refusal = await refusalOf(() =>
      intent.routes.update(intent.tenant.admin, { routeId: route.id, totalTimeoutMs: 100 }),
    )
    expect(refusal).toMatchObject({ code: 'bad_input', field: 'input.targets[0].totalTimeoutMs' })
  })
})

describe('what a route rests on', () => {
  test('is neither archived, nor moved, nor made unfit', async () => {
    const { tenantId, admin } = intent.tenant
    const model = await intent.models.create(admin, {
      tenantId,
      name: 'rested-on',
      capabilities: ['chat', 'embeddings'],
    })
    const { route } = await create([{ modelId: model.model.id }, {}], { name: 'resting' })
    const inUse = { code: 'conflict', detail: { reason: 'in_use' } }
    const ofModel = await refusalOf(() => intent.models.archive(admin, model.model.id))
    expect(ofModel).toMatchObject(inUse)
    expect(ofModel.message).toContain('resting (production)')
    expect(await refusalOf(() => intent.providers.archive(admin, provider))).toMatchObject(inUse)
    const moved = await refusalOf(() => intent.providers.update(admin, { providerId: provider, region: 'us-east-1' }))
    expect(moved).toMatchObject({ code: 'bad_input', field: 'input.region' })
    const unfit = { modelId: model.model.id, capabilities: ['embeddings' as const] }
    expect(await refusalOf(() => intent.models.update(admin, unfit))).toMatchObject({ field: 'input.capabilities' })
    await intent.routes.delete(admin, route.id)
    await intent.models.update(admin, unfit)
    await intent.models.archive(admin, model.model.id)
  })

  test('lies in a region that its environment goes on permitting', async () => {
    const { tenantId, admin, otherEnvironmentId: environmentId } = intent.tenant
    const { provider: asian } = await intent.providers.create(admin, {
      ...{ tenantId, name: 'asian', kind: 'vllm', baseUrl: 'http://vllm:8000/v1', region: 'ap-south-1' },
    })
    const permit = (permittedRegions: string[]) =>
      intent.environments.update(admin, { environmentId, permittedRegions })
    await permit(['us-east-1', 'ap-south-1'])
    const { route } = await create([{ providerId: asian.id }], { environmentId, name: 'far-east' })
    const refusal = await refusalOf(() => permit(['us-east-1']))
    expect(refusal).toMatchObject({ code: 'bad_input', field: 'input.permittedRegions' })
    expect(refusal.message).toContain('the route far-east uses asian in ap-south-1')
    await intent.routes.delete(admin, route.id)
    await permit(['us-east-1'])
  })

  test('is not archived by a race either', async () => {
    const { tenantId, admin } = intent.tenant
    for (let round = 0; round < 5; round++) {
      const { model } = await intent.models.create(admin, { tenantId, name: `raced-${round}`, capabilities: ['chat'] })
      const outcomes = await Promise.allSettled([
        create([{ modelId: model.id }], { environmentId: intent.tenant.environmentId }),
        intent.models.archive(admin, model.id),
      ])
      const archived = (await intent.models.find(admin, model.id))?.archivedAt !== null
      const used = await intent.database.rows.routeTarget.count({ where: { modelId: model.id } })
      expect([archived, used]).toEqual(archived ? [true, 0] : [false, 1])
      expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    }
  })
})
