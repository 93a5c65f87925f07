import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defaultBreaker } from '../../../proto/policy/breaker.js'
import { actorOf, type Intent, refusalOf, startIntent } from '../../../test/harness/intent.js'
import { targetsOf } from './route.js'

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
      ...{ defaultRouteId: null, lastResort: null, hedging: null },
      rules: [{ name: 'rule-1', condition: null, strategy: 'ordered', stickyBy: null }],
    })
    expect(targetsOf(route)).toMatchObject([
      {
        ...{ connectTimeoutMs: 2_000, firstTokenTimeoutMs: 30_000, idleTimeoutMs: 30_000, totalTimeoutMs: 120_000 },
        upstreamModel: null,
      },
      {
        ...{ connectTimeoutMs: 2_000, firstTokenTimeoutMs: 8_000, idleTimeoutMs: 8_000, totalTimeoutMs: 8_000 },
        upstreamModel: 'gpt-large',
      },
    ])
    expect(targetsOf(route)[0]).toMatchObject({
      ...{ weight: 1, tier: null, tasks: [], quality: null, breaker: null, batchSize: null, batchWaitMs: 0 },
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
      ...(['a wait for no limit', [{}, { batchWaitMs: 100 }], {}] as const),
      ...(['input.targets[1].batchWaitMs', 'only with batchSize'] as const),
    ] as never,
    [
      ...(['a wait as long as the route', [{ batchSize: 1, batchWaitMs: 4_000 }], { totalTimeoutMs: 4_000 }] as const),
      ...(['input.targets[0].batchWaitMs', "nothing of the route's total of 4000 ms"] as const),
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
    const [first, second] = targetsOf(route)
    const { route: next, intentRevision } = await intent.routes.update(intent.tenant.admin, {
      routeId: route.id,
      targets: [
        { providerId: provider, modelId: chat, upstreamModel: 'b' },
        { providerId: provider, modelId: chat, upstreamModel: 'c' },
        { providerId: provider, modelId: chat },
      ],
    })
    expect(targetsOf(next).map((target) => target.id)).toEqual([second?.id, expect.any(String), first?.id])
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
    // Two entries of one millisecond stand in no order.
    expect(entries).toContainEqual(
      expect.objectContaining({
        before: expect.objectContaining({ unsupportedSettings: 'drop' }),
        after: expect.objectContaining({ unsupportedSettings: 'refuse' }),
      }),
    )
  })

  test('a total that is left out has room for the targets of the longest rule and the waits for their places', async () => {
    const { route } = await create([{ totalTimeoutMs: 5_000, batchSize: 1, batchWaitMs: 60_000 }])
    expect(route.totalTimeoutMs).toBe(65_000)
  })

  test('a limit of a target is set, changed and taken away, and a wait of 0 needs none', async () => {
    const { route } = await create([{ batchWaitMs: 0 }])
    const [before] = targetsOf(route)
    const set = async (more: object) => {
      const targets = [{ providerId: provider, modelId: chat, ...more }]
      const { route: next } = await intent.routes.update(intent.tenant.admin, { routeId: route.id, targets })
      expect(await intent.routes.find(intent.tenant.admin, route.id)).toEqual(next)
      return targetsOf(next)[0]
    }
    // The same target all along: agents keep who runs and waits there.
    const same = { id: before?.id }
    expect(await set({ batchSize: 8, batchWaitMs: 500 })).toMatchObject({ ...same, batchSize: 8, batchWaitMs: 500 })
    expect(await set({ batchSize: 16 })).toMatchObject({ ...same, batchSize: 16, batchWaitMs: 0 })
    expect(await set({})).toMatchObject({ ...same, batchSize: null, batchWaitMs: 0 })
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

describe('rules', () => {
  const update = (routeId: string, more: object) => intent.routes.update(intent.tenant.admin, { routeId, ...more })
  const one = (more: object = {}) => ({ providerId: provider, modelId: chat, ...more })
  const make = (rules: object[], more: object = {}) =>
    intent.routes.create(intent.tenant.admin, {
      ...{ environmentId: intent.tenant.environmentId, name: `ruled-${++count}` },
      ...({ rules, ...more } as object),
    })

  test('are kept whole, with everything that can be said, and completed', async () => {
    const { route } = await make(
      [
        {
          ...{
            name: 'law',
            condition: ' team == "team_1" && complexity >= 0.7 ',
            strategy: 'weighted',
            stickyBy: 'user',
          },
          targets: [
            one({
              ...{ weight: 90, tier: 'high', tasks: ['code', 'code'], quality: 80, nodePool: 'a100', owner: 'ml' },
              ...{ parameters: { temperature: 0.2, outputTokensMax: 500 }, breaker: { failures: 3 } },
              warmUp: { intervalMs: 60_000 },
              ...{ batchSize: 64, batchWaitMs: 2_000 },
            }),
            one({ weight: 10, batchSize: 10_000 }),
          ],
        },
        { strategy: 'complexity', complexityHigh: 0.9, targets: [one({ tier: 'low' })] },
      ],
      {
        lastResort: { cachedAgeMaxSeconds: 3_600, apology: 'We apologize.' },
        hedging: {},
      },
    )
    expect(route).toMatchObject({
      lastResort: { cachedAgeMaxSeconds: 3_600, apology: 'We apologize.', safeAnswer: '' },
      hedging: { budgetRatio: 0.05, delayMinMs: 100 },
      rules: [
        {
          ...{
            name: 'law',
            condition: 'team == "team_1" && complexity >= 0.7',
            strategy: 'weighted',
            stickyBy: 'user',
          },
          targets: [
            {
              ...{ weight: 90, tier: 'high', tasks: ['code'], quality: 80, nodePool: 'a100', owner: 'ml' },
              ...{ temperature: 0.2, outputTokensMax: 500, warmUpIntervalMs: 60_000 },
              ...{ batchSize: 64, batchWaitMs: 2_000 },
              // As agents have it where a target says nothing.
              breaker: { ...defaultBreaker, failures: 3 },
            },
            { weight: 10, breaker: null, batchSize: 10_000, batchWaitMs: 0 },
          ],
        },
        { name: 'rule-2', complexityLow: 0.3, complexityHigh: 0.9 },
      ],
    })
    expect(await intent.routes.find(intent.tenant.admin, route.id)).toEqual(route)
    const [entry] = await intent.database.rows.auditEntry.findMany({ where: { subjectId: route.id } })
    expect(entry?.after).toMatchObject({
      rules: [{ name: 'law', targets: [{ owner: 'ml', batchSize: 64, batchWaitMs: 2_000 }, {}] }, { name: 'rule-2' }],
    })
  })

  test('keep their ids by name, targets theirs by what they are, and what is null is taken away', async () => {
    const { route } = await make(
      [
        { name: 'a', targets: [one()] },
        { name: 'b', targets: [one({ upstreamModel: 'x' })] },
      ],
      {
        hedging: { delayMinMs: 5 },
      },
    )
    const [a, b] = route.rules
    const { route: next } = await update(route.id, {
      rules: [
        { name: 'b', targets: [one()] },
        { name: 'c', targets: [one({ upstreamModel: 'x' })] },
      ],
      hedging: null,
    })
    expect(next.rules.map(({ id }) => id)).toEqual([b?.id, expect.not.stringMatching(a?.id ?? '')])
    expect(targetsOf(next).map(({ id }) => id)).toEqual(targetsOf(route).map(({ id }) => id))
    expect(next.hedging).toBeNull()
    expect((await update(route.id, { totalTimeoutMs: 300_000 })).route.rules).toEqual(next.rules)
  })

  const rule = (more: object = {}) => ({ targets: [one()], ...more })
  test.each<[string, () => object, object, string, string]>([
    [
      'a condition',
      () => rule({ condition: 'team = "a"' }),
      {},
      'input.rules[0].condition',
      'at character 6: a single =',
    ],
    [
      'a condition on a variable that is not',
      () => rule({ condition: 'teem == "a"' }),
      {},
      'input.rules[0].condition',
      'there is no teem',
    ],
    ['a strategy', () => rule({ strategy: 'fastest' }), {}, 'input.rules[0].strategy', 'expected one of ordered'],
    [
      'weights that are all 0',
      () => rule({ strategy: 'weighted', targets: [one({ weight: 0 })] }),
      {},
      'input.rules[0].targets',
      'weights are all 0',
    ],
    [
      'complexity without tiers',
      () => rule({ strategy: 'complexity' }),
      {},
      'input.rules[0].targets',
      'no target says',
    ],
    [
      ...([
        'thresholds out of order',
        () => rule({ strategy: 'complexity', complexityLow: 0.8, targets: [one({ tier: 'low' })] }),
      ] as const),
      ...([{}, 'input.rules[0].complexityLow', 'the lower threshold'] as const),
    ] as never,
    ['a threshold beyond 1', () => rule({ complexityHigh: 1.1 }), {}, 'input.rules[0].complexityHigh', 'from 0 to 1'],
    [
      'sticking without weights',
      () => rule({ stickyBy: 'user' }),
      {},
      'input.rules[0].stickyBy',
      'only with the strategy weighted',
    ],
    ['a name for no label', () => rule({ name: 'A B' }), {}, 'input.rules[0].name', 'lower-case'],
    [
      'an unknown model',
      () => rule({ targets: [one(), one({ modelId: `mdl_${'0'.repeat(26)}` })] }),
      {},
      'input.rules[0].targets[1].modelId',
      'no such model',
    ],
    [
      'a quality beyond 100',
      () => rule({ targets: [one({ quality: 101 })] }),
      {},
      'input.rules[0].targets[0].quality',
      'at most 100',
    ],
    [
      'a breaker that never opens',
      () => rule({ targets: [one({ breaker: { failures: 0 } })] }),
      {},
      'input.rules[0].targets[0].breaker.failures',
      'at least 1',
    ],
    ...(
      [
        ['a batch beyond any', { batchSize: 10_001 }, 'batchSize', 'at most 10000'],
        ['a batch of nobody', { batchSize: 0 }, 'batchSize', 'leave it out for no limit'],
        ['a wait beyond a minute', { batchSize: 1, batchWaitMs: 60_001 }, 'batchWaitMs', 'at most 60000'],
        ['a wait for no limit', { batchWaitMs: 1 }, 'batchWaitMs', 'only with batchSize'],
      ] as const
    ).map(
      ([words, more, field, message]) =>
        [words, () => rule({ targets: [one(more)] }), {}, `input.rules[0].targets[0].${field}`, message] as never,
    ),
    [
      'a last resort of nothing',
      () => rule(),
      { lastResort: { apology: 'sorry' } },
      'input.lastResort',
      'there is nothing to give',
    ],
    [
      'targets beside rules',
      () => rule(),
      { targets: [{ providerId: `prv_${'0'.repeat(26)}`, modelId: `mdl_${'0'.repeat(26)}` }] },
      'input.rules',
      'not both',
    ],
    ['neither', () => [], { rules: null }, 'input.targets', 'or rules'],
  ])('are refused with their path: %s', async (_, bad, more, field, words) => {
    const refusal = await refusalOf(() => make([bad()], more))
    expect(refusal).toMatchObject({ code: 'bad_input', field })
    expect(refusal.message).toContain(words)
  })

  test('keep the ids of their targets to themselves, whatever becomes of the rules around them', async () => {
    const [large, small] = [one({ upstreamModel: 'large' }), one({ upstreamModel: 'small' })]
    const { route } = await make([
      { name: 'a', condition: 'stream', targets: [large, small] },
      { name: 'b', targets: [small, large] },
    ])
    const idsOf = ({ rules }: typeof route) =>
      new Map(rules.map(({ name, targets }) => [name, targets.map(({ id }) => id)]))
    const before = idsOf(route)
    // The order of rules changes, and a new one in front has the same targets.
    const { route: sorted } = await update(route.id, {
      rules: [
        { name: 'new', condition: '!stream', targets: [large, small] },
        { name: 'b', condition: 'stream', targets: [small, large] },
        { name: 'a', targets: [large] },
      ],
    })
    const after = idsOf(sorted)
    expect(after.get('b')).toEqual(before.get('b'))
    expect(after.get('a')).toEqual(before.get('a')?.slice(0, 1))
    // What a dropped is found again where it is now; the other one is new.
    expect(after.get('new')?.[1]).toBe(before.get('a')?.[1])
    expect([...before.values()].flat()).not.toContain(after.get('new')?.[0])
    // A rule that gets another name is one that is gone: its targets are found again.
    const { route: named } = await update(route.id, {
      rules: [
        { name: 'other', condition: 'stream', targets: [small, large] },
        { name: 'a', targets: [large, small] },
      ],
    })
    expect(idsOf(named).get('other')).toEqual([after.get('new')?.[1], after.get('new')?.[0]])
    expect(idsOf(named).get('a')?.[0]).toBe(before.get('a')?.[0])
    expect(await intent.routes.find(intent.tenant.admin, route.id)).toEqual(named)
  })

  test('of an order that is not theirs to say may have a target that its order would never reach', async () => {
    const rule = (strategy: string) => ({
      ...{ strategy, targets: [one({ connectTimeoutMs: 2_000, weight: 1 }), one({ tier: 'low', weight: 1 })] },
    })
    const total = { totalTimeoutMs: 2_000 }
    for (const strategy of ['weighted', 'least_latency', 'cheapest', 'preference', 'complexity', 'task']) {
      expect((await make([rule(strategy)], total)).route.rules[0]?.strategy).toBe(strategy)
    }
    expect(await refusalOf(() => make([rule('ordered')], total))).toMatchObject({
      field: 'input.rules[0].targets[1]',
    })
  })

  test('of one name are refused, and targets alone do not replace them', async () => {
    const twice = await refusalOf(() => make([rule({ name: 'a' }), rule({ name: 'a' })]))
    expect(twice).toMatchObject({ code: 'bad_input', field: 'input.rules[1].name' })
    const { route } = await make([rule({ condition: 'stream' }), rule()])
    expect(await refusalOf(() => update(route.id, { targets: [one()] }))).toMatchObject({ field: 'input.targets' })
  })

  test('of another route follow as defaults: of the same environment, one step, and it stays while they do', async () => {
    const { route: base } = await make([rule()])
    const { route } = await make([rule({ condition: 'team == "a"' })], { defaultRouteId: base.id })
    const deny = async (work: () => Promise<unknown>, words: string) => {
      const refusal = await refusalOf(work)
      expect(refusal).toMatchObject({ field: 'input.defaultRouteId' })
      expect(refusal.message).toContain(words)
    }
    await deny(() => make([rule()], { defaultRouteId: route.id }), 'has defaults itself')
    await deny(() => update(base.id, { defaultRouteId: base.id }), 'its own default')
    const { route: third } = await make([rule()])
    await deny(() => update(base.id, { defaultRouteId: third.id }), 'takes its defaults from this one')
    await deny(() => make([rule()], { defaultRouteId: `rte_${'0'.repeat(26)}` }), 'no such route')
    const kept = await refusalOf(() => intent.routes.delete(intent.tenant.admin, base.id))
    expect(kept).toMatchObject({ code: 'conflict', detail: { reason: 'in_use' } })
    expect((await update(route.id, { defaultRouteId: null })).route.defaultRouteId).toBeNull()
    await intent.routes.delete(intent.tenant.admin, base.id)
  })

  test('of different capabilities stand side by side, and each holds its models to its own', async () => {
    const { tenantId, admin } = intent.tenant
    const { model } = await intent.models.create(admin, {
      tenantId,
      name: 'both',
      capabilities: ['chat', 'embeddings'],
    })
    await make([{ targets: [one({ modelId: model.id }), one()] }, { targets: [one({ modelId: embeddings })] }])
    await intent.models.update(admin, { modelId: model.id, capabilities: ['chat'] })
    const unfit = { modelId: model.id, capabilities: ['embeddings' as const] }
    expect(await refusalOf(() => intent.models.update(admin, unfit))).toMatchObject({ field: 'input.capabilities' })
  })
})

describe('the classifier of a route', () => {
  let judge: string
  let moved: string
  const makeJudge = async (name: string, region: string) =>
    (
      await intent.providers.create(intent.tenant.admin, {
        ...{ tenantId: intent.tenant.tenantId, name, kind: 'classifier', baseUrl: 'http://judge:8080', region },
      })
    ).provider
  beforeAll(async () => {
    judge = (await makeJudge('judge', 'eu-central-1')).id
    moved = (await makeJudge('american-judge', 'us-east-1')).id
  })
  const update = (routeId: string, more: object) => intent.routes.update(intent.tenant.admin, { routeId, ...more })

  test('is a provider of its own kind, which waits a tenth of a second unless said otherwise', async () => {
    const { route } = await create([{}], { classifier: { providerId: judge } })
    expect(route.classifier).toEqual({ providerId: judge, timeoutMs: 100 })
    expect(await intent.routes.find(intent.tenant.admin, route.id)).toEqual(route)
    const { route: slower } = await update(route.id, { classifier: { providerId: judge, timeoutMs: 2_000 } })
    expect(slower.classifier).toEqual({ providerId: judge, timeoutMs: 2_000 })
    expect((await update(route.id, { totalTimeoutMs: 240_000 })).route.classifier).toEqual(slower.classifier)
    const [entry] = await intent.database.rows.auditEntry.findMany({
      where: { subjectId: route.id, action: 'route.update' },
      orderBy: { id: 'desc' },
    })
    expect(entry?.after).toMatchObject({ classifier: { providerId: judge, timeoutMs: 2_000 } })
    expect((await update(route.id, { classifier: null })).route.classifier).toBeNull()
    expect((await create()).route.classifier).toBeNull()
  })

  test.each<[string, () => object, object, string, string]>([
    ['nobody', () => ({ providerId: nobody }), {}, 'providerId', 'no such provider'],
    ['who serves models', () => ({ providerId: provider }), {}, 'providerId', 'is of kind vllm, not classifier'],
    ['who is elsewhere', () => ({ providerId: moved }), {}, 'providerId', 'permits only eu-central-1, local'],
    ['who waits for nothing', () => ({ providerId: judge, timeoutMs: 4 }), {}, 'timeoutMs', 'at least 5'],
    ['who waits for ever', () => ({ providerId: judge, timeoutMs: 2_001 }), {}, 'timeoutMs', 'at most 2000'],
    [
      'who leaves no time',
      () => ({ providerId: judge, timeoutMs: 1_000 }),
      { totalTimeoutMs: 1_000 },
      'timeoutMs',
      "leaves nothing of the route's total of 1000 ms",
    ],
  ])('is refused with its path: %s', async (_, classifier, more, field, words) => {
    const deadlines = { totalTimeoutMs: 500, connectTimeoutMs: 100, firstTokenTimeoutMs: 200, idleTimeoutMs: 200 }
    const refusal = await refusalOf(() => create([deadlines], { ...more, classifier: classifier() }))
    expect(refusal).toMatchObject({ code: 'bad_input', field: `input.classifier.${field}` })
    expect(refusal.message).toContain(words)
  })

  test("is not another tenant's", async () => {
    const other = await intent.makeTenant()
    const theirs = await intent.providers.create(other.admin, {
      ...{ tenantId: other.tenantId, name: 'theirs', kind: 'classifier', baseUrl: 'http://judge', region: 'local' },
    })
    const refusal = await refusalOf(() => create([{}], { classifier: { providerId: theirs.provider.id } }))
    expect(refusal).toMatchObject({ field: 'input.classifier.providerId' })
    expect(refusal.message).toContain('no such provider')
  })

  test('serves no model', async () => {
    const refusal = await refusalOf(() => create([{}, { providerId: judge }]))
    expect(refusal).toMatchObject({ code: 'bad_input', field: 'input.targets[1].providerId' })
    expect(refusal.message).toContain('which serves no model')
  })

  test('stays, and where it is, while a route is measured by it', async () => {
    const { admin, tenantId, environmentId } = intent.tenant
    const { id } = await makeJudge('kept-judge', 'eu-central-1')
    const { route } = await create([{}], { classifier: { providerId: id } })
    const archived = await refusalOf(() => intent.providers.archive(admin, id))
    expect(archived).toMatchObject({ code: 'conflict', detail: { reason: 'in_use', routeCount: 1 } })
    expect(archived.message).toContain(route.name)
    const away = { providerId: id, region: 'us-east-1' }
    expect(await refusalOf(() => intent.providers.update(admin, away))).toMatchObject({ field: 'input.region' })
    const page = await intent.routes.list(admin, tenantId, { providerId: id }, { first: 10, after: null })
    expect(page.items.map(({ item }) => item.id)).toEqual([route.id])
    await update(route.id, { targets: [{ providerId: await localProvider(), modelId: chat }] })
    const only = await intent.routes.list(admin, tenantId, { environmentId }, { first: 100, after: null })
    for (const { item } of only.items) if (item.id !== route.id) await intent.routes.delete(admin, item.id)
    const local = { environmentId, permittedRegions: ['local'] }
    const narrowed = await refusalOf(() => intent.environments.update(admin, local))
    expect(narrowed).toMatchObject({ field: 'input.permittedRegions' })
    expect(narrowed.message).toContain('uses kept-judge in eu-central-1')
    await update(route.id, { classifier: null })
    await intent.providers.archive(admin, id)
    expect(await refusalOf(() => update(route.id, { classifier: { providerId: id } }))).toMatchObject({
      field: 'input.classifier.providerId',
    })
  })

  const localProvider = async () =>
    (
      await intent.providers.create(intent.tenant.admin, {
        ...{ tenantId: intent.tenant.tenantId, name: `local-${++count}`, kind: 'vllm' },
        ...{ baseUrl: 'http://vllm:8000/v1', region: 'local' },
      })
    ).provider.id
})

const nobody = `prv_${'0'.repeat(26)}`

test('what a release without rules wrote is one rule that always applies', async () => {
  const { route } = await create([{}, { upstreamModel: 'b' }])
  await intent.database.rows.routeTarget.updateMany({ where: { routeId: route.id }, data: { ruleId: null } })
  const found = await intent.routes.find(intent.tenant.admin, route.id)
  expect(found?.rules).toEqual([{ ...route.rules[0], id: `rul_${route.id.slice(4)}` }])
  const { route: next } = await intent.routes.update(intent.tenant.admin, {
    routeId: route.id,
    totalTimeoutMs: 250_000,
  })
  expect(await intent.routes.find(intent.tenant.admin, route.id)).toEqual(next)
  expect(await intent.database.rows.routeTarget.count({ where: { routeId: route.id, ruleId: null } })).toBe(0)
})
