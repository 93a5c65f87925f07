import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { must } from '../../../proto/std/assert.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import { makeGraph } from '../../../test/harness/graph.js'
import { actorOf, type Intent, refusalOf, startIntent } from '../../../test/harness/intent.js'
import { IntentReader } from '../snapshots/load-intent.js'
import { ApiKeyStore } from '../tenancy/api-key-store.js'
import { TargetUsageReader } from '../usage/target-usage-reader.js'
import { ExplanationResolver } from './explanation-resolver.js'
import { ExplanationService } from './explanation-service.js'
import { type Route, targetsOf } from './route.js'
import { RouteReader } from './route-reader.js'
import { RoutingTables } from './routing-tables.js'
import { SavingResolver } from './saving-resolver.js'
import { SavingService } from './saving-service.js'

let intent: Intent
let explanations: ExplanationService
let savings: SavingService
let ask: Awaited<ReturnType<typeof makeGraph>>
let route: Route
const clock = new VirtualClock()

beforeAll(async () => {
  intent = await startIntent()
  const { database, routes, providers, models, tenant } = intent
  const reader = new RouteReader(database)
  const tables = new RoutingTables(new IntentReader(database))
  const keys = new ApiKeyStore(database)
  explanations = new ExplanationService({ reader, tables, clock, findApiKey: (_, id) => keys.find(id) })
  savings = new SavingService({ routes, reader, tables, clock, usage: new TargetUsageReader(database) })
  ask = await makeGraph([new ExplanationResolver(explanations), new SavingResolver(savings)])

  const { admin, tenantId, environmentId } = tenant
  const at = async (name: string, external: boolean) =>
    (
      await providers.create(admin, {
        tenantId,
        name,
        kind: 'vllm',
        baseUrl: 'http://vllm:8000/v1',
        region: 'local',
        external,
      })
    ).provider.id
  const model = async (name: string, usd: string) =>
    (
      await models.create(admin, {
        tenantId,
        name,
        capabilities: ['chat'],
        price: { inputUsdPerMillion: usd, outputUsdPerMillion: usd },
      })
    ).model.id
  const [inside, outside] = [await at('inside', false), await at('outside', true)]
  const tiers = {
    low: await model('small', '1'),
    medium: await model('middle', '10'),
    high: await model('large', '100'),
  }
  route = (
    await routes.create(admin, {
      ...{ environmentId, name: 'chat' },
      rules: [
        {
          ...{ name: 'gold', condition: 'headers["x-tier"] == "gold"' },
          targets: [{ providerId: outside, modelId: tiers.high }],
        },
        {
          ...{ name: 'tiers', strategy: 'complexity' },
          targets: [
            { providerId: inside, modelId: tiers.low, tier: 'low' },
            { providerId: outside, modelId: tiers.medium, tier: 'medium' },
            { providerId: outside, modelId: tiers.high, tier: 'high' },
          ],
        },
      ],
    })
  ).route
})
afterAll(() => intent.drop())

const idAt = (index: number) => targetsOf(route)[index]?.id ?? ''

describe('explaining', () => {
  const explain = (more: object) =>
    explanations.explain(intent.tenant.admin, { environmentId: intent.tenant.environmentId, model: 'chat', ...more })
  const chosen = async (more: object) => (await explain(more)).explanation.targets.map(({ target }) => target.id)

  test('gives the order of targets for what is supposed, boundaries included', async () => {
    expect(await chosen({ complexity: 0.2999999 })).toEqual([idAt(1), idAt(2), idAt(3)])
    expect(await chosen({ complexity: 0.3 })).toEqual([idAt(2), idAt(3), idAt(1)])
    expect(await chosen({ complexity: 0.7 })).toEqual([idAt(3), idAt(2), idAt(1)])
    expect(await chosen({ headers: [{ name: 'X-Tier', value: 'gold' }] })).toEqual([idAt(0)])
    expect(await chosen({ prompt: 'Hi!' })).toEqual([idAt(1), idAt(2), idAt(3)])
    expect(await chosen({ complexity: 0, health: [{ targetId: idAt(1), state: 'open' }] })).toEqual([
      ...[idAt(2), idAt(3), idAt(1)],
    ])
    expect(await chosen({ complexity: 0.9, internalOnly: true })).toEqual([idAt(1)])
  })

  test('says what was looked at, and answers a refusal with what led to it', async () => {
    const { explanation, complexity, promptClass } = await explain({
      prompt: 'Why? Prove it and compare.',
      internalOnly: true,
    })
    expect(explanation.rules).toMatchObject([
      { name: 'gold', outcome: 'failed', failure: 'the header x-tier is not there', seen: [{ value: 'not known' }] },
      { name: 'tiers', outcome: 'held', condition: null },
    ])
    expect([complexity, promptClass]).toEqual([expect.any(Number), 'reasoning'])
    expect(explanation.excluded.map(({ reason }) => reason)).toEqual([
      'external_not_permitted',
      'external_not_permitted',
    ])
    const refused = await explain({ internalOnly: true, headers: [{ name: 'x-tier', value: 'gold' }] })
    expect(refused.explanation).toMatchObject({ refusal: { code: 'no_eligible_target' }, ruleId: route.rules[0]?.id })
    expect((await explain({ model: 'none' })).explanation.refusal?.code).toBe('model_not_found')
  })

  test('says that a classifier would be asked for what nobody supposes, and by which key it may be', async () => {
    const { admin, tenantId } = intent.tenant
    const { provider } = await intent.providers.create(admin, {
      ...{ tenantId, name: 'judge', kind: 'classifier', baseUrl: 'http://judge:8080', region: 'local', external: true },
    })
    const update = (classifier: { providerId: string } | null) =>
      intent.routes.update(admin, { routeId: route.id, classifier })
    const said = async (more: object) =>
      (await explain(more)).explanation.sentences.filter((sentence) => sentence.startsWith('classifier judge'))
    await update({ providerId: provider.id })
    expect(await said({ prompt: 'Hi!' })).toEqual([
      'classifier judge would be asked for complexity, for at most 100 ms: until then the built-in estimate of complexity counts',
    ])
    expect(await said({ prompt: 'Hi!', complexity: 0.5 })).toEqual([])
    expect(await said({ prompt: 'Hi!', promptClass: 'code' })).toHaveLength(1)
    expect(await said({ prompt: 'Hi!', internalOnly: true })).toEqual([
      'classifier judge may not be asked, it is external: the built-in estimate of complexity counts',
    ])
    await update(null)
    expect(await said({ prompt: 'Hi!' })).toEqual([])
  })

  test('takes team, routes and permission from an API key of the environment, and of no other', async () => {
    const { tenantId, environmentId, otherEnvironmentId } = intent.tenant
    const key = { tenantId, name: 'k', prefix: 'sk', inFlightMax: 1, requestsPerMinuteMax: 1, createdBy: 'test' }
    const id = (letter: string) => `key_${letter.repeat(26)}`
    await intent.database.rows.apiKey.createMany({
      data: [
        { ...key, id: id('a'), environmentId, secretHash: new Uint8Array(32).fill(1), internalOnly: true },
        { ...key, id: id('b'), environmentId, secretHash: new Uint8Array(32).fill(2), allowedRoutes: ['other'] },
        { ...key, id: id('c'), environmentId: otherEnvironmentId, secretHash: new Uint8Array(32).fill(3) },
      ],
    })
    expect(await chosen({ complexity: 0.9, apiKeyId: id('a') })).toEqual([idAt(1)])
    expect((await explain({ apiKeyId: id('b') })).explanation.refusal?.code).toBe('model_not_found')
    expect(await refusalOf(() => explain({ apiKeyId: id('c') }))).toMatchObject({
      ...{ code: 'not_found', field: 'input.apiKeyId' },
    })
  })

  test('reads the headers that agents read, and refuses what it could only pass over', async () => {
    const { environmentId, admin } = intent.tenant
    const place = (index: number) => {
      const { providerId, modelId } = must(targetsOf(route)[index], 'the route has it')
      return { providerId, modelId }
    }
    const { route: people } = await intent.routes.create(admin, {
      ...{ environmentId, name: 'people' },
      rules: [
        { name: 'ada', condition: 'user == "ada" && session == "s1"', targets: [place(0)] },
        { name: 'others', targets: [place(1)] },
      ],
    })
    const asked = (more: object) => explain({ model: 'people', ...more })
    const header = (name: string, value: string) => ({ name, value })
    const headers = [header('X-Switchyard-User', 'ada'), header('x-switchyard-session', 's1')]
    expect((await asked({ headers })).explanation.ruleId).toBe(people.rules[0]?.id)
    // The body is read before the header.
    expect((await asked({ headers, userId: 'bob' })).explanation.ruleId).toBe(people.rules[1]?.id)
    const fieldOf = async (more: object) => (await refusalOf(() => asked(more))).field
    expect(await fieldOf({ headers, sessionId: 's2' })).toBe('input.sessionId')
    expect(await fieldOf({ headers: [header('X-Switchyard-Target', idAt(0))] })).toBe('input.headers[0].name')
    expect(await fieldOf({ headers: [...headers, header('x-switchyard-fallback', 'none')] })).toBe(
      'input.headers[2].name',
    )
    expect(await fieldOf({ headers: [header('x-a', '1'), header('X-A', '2')] })).toBe('input.headers[1].name')
    const apiKeyId = `key_${'a'.repeat(26)}`
    expect(await fieldOf({ apiKeyId, teamId: `team_${'0'.repeat(26)}` })).toBe('input.teamId')
    expect(await fieldOf({ apiKeyId, internalOnly: false })).toBe('input.internalOnly')
    const unknown = [{ targetId: idAt(0) }, { targetId: `tgt_${'0'.repeat(26)}` }]
    expect(await fieldOf({ health: unknown })).toBe('input.health[1].targetId')
    await intent.routes.delete(admin, people.id)
  })

  test("another tenant's environment is none, and what cannot be asked is refused with its field", async () => {
    const other = await intent.makeTenant()
    const { environmentId } = intent.tenant
    const input = { environmentId, model: 'chat' }
    expect(await refusalOf(() => explanations.explain(other.admin, input))).toMatchObject({ code: 'not_found' })
    expect(await refusalOf(() => explain({ draw: 1 }))).toMatchObject({ field: 'input.draw' })
    expect(await refusalOf(() => explain({ complexity: 2 }))).toMatchObject({ field: 'input.complexity' })
    const viewer = actorOf(intent.tenant.tenantId, 'viewer')
    expect((await explanations.explain(viewer, { ...input, complexity: 0 })).explanation.refusal).toBeNull()
  })

  test('in the graph: rules, targets, and sentences', async () => {
    const { data, refusals } = await ask(
      intent.tenant.admin,
      `query ($input: ExplainRouteInput!) { explainRoute(input: $input) {
        outcome routeName ruleName strategy strategyReason intentRevision sentences
        rules { name outcome condition failure seen { name value } } targets { upstreamModel providerName reason state } excluded { reason } } }`,
      { input: { environmentId: intent.tenant.environmentId, model: 'chat', complexity: 0.5, operation: 'MESSAGES' } },
    )
    expect(refusals).toEqual([])
    expect((data as { explainRoute: object }).explainRoute).toMatchObject({
      ...{ outcome: 'chosen', routeName: 'chat', ruleName: 'tiers', strategy: 'COMPLEXITY' },
      strategyReason: 'complexity 0.500 is medium (below 0.3 low, below 0.7 medium, else high)',
      rules: [
        { outcome: 'FAILED', seen: [{ name: 'headers["x-tier"]' }] },
        { outcome: 'HELD', condition: '' },
      ],
      targets: [{ upstreamModel: 'middle', providerName: 'outside', reason: 'tier medium', state: 'CLOSED' }, {}, {}],
    })
  })
})

describe('savings', () => {
  const nowMs = Date.UTC(2026, 10, 20)
  beforeAll(async () => {
    const { tenantId, environmentId } = intent.tenant
    const targets = targetsOf(route)
    const hop = (targetId: string, outcome: string, share: object = {}) => {
      const target = targets.find(({ id }) => id === targetId)
      return { targetId, providerId: target?.providerId, modelId: target?.modelId, outcome, ...share }
    }
    const served = (targetId: string) => {
      const target = targets.find(({ id }) => id === targetId)
      return { providerId: target?.providerId ?? null, modelId: target?.modelId ?? null }
    }
    const vector = { targetId: 'tgt_vectors', providerId: 'prv_vectors', modelId: 'mdl_vectors', outcome: 'ok' }
    const record = (sequence: number, hops: object[], more: object = {}) => ({
      ...{
        agentId: 'agt',
        bootEpoch: 1n,
        lane: 0,
        sequence: BigInt(sequence),
        requestId: `req_${sequence}`,
        traceId: 't',
      },
      ...{ startedAt: new Date(nowMs - 60_000), tenantId, environmentId, apiKeyId: 'k', userId: 'u' },
      ...{
        operation: 'chat_completions',
        routeId: route.id,
        routeName: 'chat',
        requestedModel: 'chat',
        clusterId: 'c',
      },
      ...{ region: 'local', usageSource: 'provider', latencyUs: 1n, providerLatencyUs: 1n, guardrailLatencyUs: 0n },
      ...{ status: 'ok', httpStatus: 200, fallbackUsed: false, stream: false, snapshotGeneration: 1n },
      ...{ contentHash: new Uint8Array(32), hops, tokensIn: 1_000n, tokensOut: 0n, costNanoUsd: 1_000_000n, ...more },
    })
    await intent.database.rows.usageRecord.createMany({
      data: [
        record(1, [hop(idAt(1), 'ok')], served(idAt(1))),
        // Failed at one, served by the next.
        record(2, [hop(idAt(2), 'upstream_5xx'), hop(idAt(1), 'ok')], served(idAt(1))),
        // A hedge that lost stands behind the one that won. The record has the sum of both.
        record(
          3,
          [
            hop(idAt(3), 'ok', { tokensIn: 1_000, tokensOut: 0, costNanoUsd: 100_000_000 }),
            hop(idAt(2), 'hedge_lost', { tokensIn: 1_000, tokensOut: 0, costNanoUsd: 10_000_000 }),
          ],
          { ...served(idAt(3)), tokensIn: 2_000n, costNanoUsd: 110_000_000n, tokensInCached: 1_500n },
        ),
        // Cut off: the last hop is who was asked.
        record(4, [hop(idAt(2), 'aborted')], { ...served(idAt(2)), status: 'aborted', costNanoUsd: null }),
        record(5, [hop(idAt(0), 'ok')], served(idAt(0))),
        record(6, [], { status: 'refused' }),
        record(7, [hop(idAt(1), 'ok')], { ...served(idAt(1)), startedAt: new Date(nowMs - 8 * 86_400_000) }),
        record(8, [hop(idAt(1), 'ok')], {
          ...served(idAt(1)),
          environmentId: intent.tenant.otherEnvironmentId,
        }),
        // A vector for the cache came first, and the answer was made all the same.
        record(
          9,
          [
            { ...vector, tokensIn: 500, tokensOut: 0, costNanoUsd: 500_000 },
            hop(idAt(2), 'ok', { tokensIn: 1_000, tokensOut: 0, costNanoUsd: 10_000_000 }),
          ],
          { ...served(idAt(2)), tokensIn: 1_500n, costNanoUsd: 10_500_000n },
        ),
        // The answer was in the cache: its model is told, and no target served it.
        record(10, [{ ...vector, tokensIn: 500, tokensOut: 0, costNanoUsd: 500_000 }], {
          ...{ modelId: served(idAt(2)).modelId, cacheHit: 'semantic', tokensIn: 500n, costNanoUsd: 500_000n },
        }),
        // A vector was made, and nobody answered: the vector's cost is not the target's.
        record(11, [{ ...vector, tokensIn: 500, tokensOut: 0, costNanoUsd: 500_000 }, hop(idAt(2), 'upstream_5xx')], {
          ...served(idAt(2)),
          status: 'failed',
          tokensIn: 500n,
          costNanoUsd: 500_000n,
        }),
      ],
    })
  })

  test('by tier, of what was served in the time', async () => {
    const { data, refusals } = await ask(
      intent.tenant.admin,
      `query ($input: TierReportInput!) { tierReport(input: $input) {
        requestCount unpricedCount otherCount costUsd topTargetId allTopUsd savingUsd savingRatio
        tiers { tier requestCount share costUsdPerRequest } } }`,
      { input: { routeId: route.id, to: new Date(nowMs).toISOString() } },
    )
    expect(refusals).toEqual([])
    expect((data as { tierReport: object }).tierReport).toEqual({
      ...{ requestCount: '6', unpricedCount: '2', otherCount: '1', costUsd: '0.112000000', topTargetId: idAt(3) },
      // Four answers of a thousand tokens, as one request costs there.
      ...{ allTopUsd: '0.400000000', savingUsd: '0.288000000', savingRatio: 0.72 },
      tiers: [
        { tier: 'LOW', requestCount: '2', share: 0.333333, costUsdPerRequest: '0.001000000' },
        { tier: 'MEDIUM', requestCount: '3', share: 0.5, costUsdPerRequest: '0.010000000' },
        { tier: 'HIGH', requestCount: '1', share: 0.166666, costUsdPerRequest: '0.100000000' },
      ],
    })
  })

  test('by preference: none was served by a rule that goes by it', async () => {
    const { environmentId, admin } = intent.tenant
    const saving = await savings.estimatePreferences(admin, { environmentId, to: new Date(nowMs) })
    expect(saving).toMatchObject({ preference: 'balanced', requestCount: 0n })
    const { data } = await ask(
      admin,
      `query ($input: PreferenceSavingInput!) { preferenceSaving(input: $input) { options { preference costUsd savingRatio } } }`,
      { input: { environmentId, to: new Date(nowMs).toISOString() } },
    )
    expect(data).toMatchObject({
      preferenceSaving: { options: [{ preference: 'CHEAPEST', costUsd: '0.000000000', savingRatio: null }, {}, {}] },
    })
  })

  test('are refused for a route without tiers, for too long a time, and to others', async () => {
    const { admin, environmentId } = intent.tenant
    const [first] = targetsOf(route)
    const { route: plain } = await intent.routes.create(admin, {
      ...{ environmentId, name: 'plain' },
      targets: [{ providerId: first?.providerId ?? '', modelId: first?.modelId ?? '' }],
    })
    expect(await refusalOf(() => savings.reportTiers(admin, { routeId: plain.id }))).toMatchObject({
      ...{ code: 'bad_input', field: 'input.routeId' },
    })
    const long = { routeId: route.id, from: new Date(0), to: new Date(nowMs) }
    expect(await refusalOf(() => savings.reportTiers(admin, long))).toMatchObject({ field: 'input.to' })
    const other = await intent.makeTenant()
    expect(await refusalOf(() => savings.reportTiers(other.admin, { routeId: route.id }))).toMatchObject({
      code: 'not_found',
    })
    expect(await refusalOf(() => savings.estimatePreferences(other.admin, { environmentId }))).toMatchObject({
      ...{ code: 'not_found', field: 'input.environmentId' },
    })
  })
})
