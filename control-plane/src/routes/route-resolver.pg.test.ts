import { readFileSync } from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { makeGraph } from '../../../test/harness/graph.js'
import { type Intent, startIntent } from '../../../test/harness/intent.js'
import { ModelResolver } from '../models/model-resolver.js'
import { ProviderResolver } from '../providers/provider-resolver.js'
import { RouteResolver, TargetResolver } from './route-resolver.js'

let intent: Intent
let ask: Awaited<ReturnType<typeof makeGraph>>
beforeAll(async () => {
  intent = await startIntent()
  const { providers, models, routes, environments } = intent
  ask = await makeGraph([
    new ProviderResolver(providers),
    new ModelResolver(models),
    new RouteResolver(routes, environments),
    new TargetResolver(providers, models),
  ])
})
afterAll(() => intent.drop())

test('a provider, a model and a route, made and asked back in the graph', async () => {
  const { admin, environmentId, tenantId } = intent.tenant
  const made = await ask(
    admin,
    `mutation {
      createProvider(input: { name: "here", kind: OPENAI_COMPATIBLE, baseUrl: "https://example.com/v1/", region: "local",
        credential: { secret: "sk-hidden" } }) {
        provider { id tenantId kind baseUrl credential { version kind reference } }
        intentRevisions { environmentId intentRevision }
      }
      createModel(input: { name: "gpt", capabilities: [CHAT], price: { inputUsdPerMillion: "0.15", outputUsdPerMillion: "0.6" } }) {
        model { id capabilities contextTokensMax price { version inputUsdPerMillion cachedInputUsdPerMillion outputUsdPerMillion } prices { version } }
      }
    }`,
  )
  expect(made.refusals).toEqual([])
  expect(JSON.stringify(made)).not.toContain('sk-hidden')
  const { createProvider, createModel } = made.data as {
    createProvider: { provider: { id: string }; intentRevisions: { environmentId: string; intentRevision: string }[] }
    createModel: { model: { id: string } }
  }
  expect(createProvider).toMatchObject({
    provider: {
      ...{ tenantId, kind: 'OPENAI_COMPATIBLE', baseUrl: 'https://example.com/v1' },
      credential: { version: 1, kind: 'SECRET', reference: null },
    },
  })
  expect(createProvider.intentRevisions).toContainEqual({ environmentId, intentRevision: '1' })
  expect(createModel.model).toMatchObject({
    ...{ capabilities: ['CHAT'], contextTokensMax: null, prices: [{ version: 1 }] },
    price: {
      ...{ version: 1, inputUsdPerMillion: '0.150000000', cachedInputUsdPerMillion: '0.150000000' },
      outputUsdPerMillion: '0.600000000',
    },
  })
  const target = { providerId: createProvider.provider.id, modelId: createModel.model.id }
  const create = `mutation ($input: CreateRouteInput!) {
    createRoute(input: $input) { intentRevision route { name environment { name } targets { connectTimeoutMs provider { name } model { name } } } }
  }`
  expect((await ask(admin, create, { input: { environmentId, name: 'chat', targets: [target] } })).data).toEqual({
    createRoute: {
      intentRevision: '3',
      route: {
        ...{ name: 'chat', environment: { name: 'production' } },
        targets: [{ connectTimeoutMs: 2000, provider: { name: 'here' }, model: { name: 'gpt' } }],
      },
    },
  })
  const missing = { ...target, modelId: `mdl_${'0'.repeat(26)}` }
  const refused = await ask(admin, create, { input: { environmentId, name: 'broken', targets: [target, missing] } })
  expect(refused.refusals).toEqual([
    { code: 'bad_input', field: 'input.targets[1].modelId', message: 'input.targets[1].modelId: no such model' },
  ])
})

test('a vendor with a wire of its own, its prices and a route that drops, made and asked back in the graph', async () => {
  const { admin, environmentId } = intent.tenant
  const made = await ask(
    admin,
    `mutation ($secret: String!) {
      createProvider(input: { name: "aws", kind: BEDROCK, vendorRegion: "eu-central-1", region: "local",
        credential: { secret: $secret }, slaAvailabilityPpm: 999000, slaNote: "monthly", vendorRequestsPerMinute: 600,
        vendorTokensPerMinute: 200000 }) {
        provider { id kind baseUrl apiVersion vendorRegion vendorProject external slaAvailabilityPpm slaNote
          vendorRequestsPerMinute vendorTokensPerMinute }
      }
      createModel(input: { name: "claude", capabilities: [CHAT], outputTokensMax: 64000,
        price: { inputUsdPerMillion: "3", outputUsdPerMillion: "15", cacheWriteInputUsdPerMillion: "3.75" } }) {
        model { id outputTokensMax price { cacheWriteInputUsdPerMillion } }
      }
    }`,
    { secret: '{"accessKeyId": "AKIA", "secretAccessKey": "hidden"}' },
  )
  expect(made.refusals).toEqual([])
  expect(JSON.stringify(made)).not.toMatch(/AKIA|hidden/)
  const { createProvider, createModel } = made.data as {
    createProvider: { provider: { id: string } }
    createModel: { model: { id: string } }
  }
  expect(createProvider.provider).toMatchObject({
    ...{ kind: 'BEDROCK', baseUrl: 'https://bedrock-runtime.eu-central-1.amazonaws.com', external: true },
    ...{ apiVersion: null, vendorRegion: 'eu-central-1', vendorProject: null, slaAvailabilityPpm: 999_000 },
    ...{ slaNote: 'monthly', vendorRequestsPerMinute: 600, vendorTokensPerMinute: 200_000 },
  })
  expect(createModel.model).toMatchObject({
    ...{ outputTokensMax: 64_000, price: { cacheWriteInputUsdPerMillion: '3.750000000' } },
  })
  const changed = await ask(
    admin,
    `mutation ($id: ID!) { updateProvider(input: { providerId: $id, slaNote: null, external: false }) {
      provider { slaNote slaAvailabilityPpm external } } }`,
    { id: createProvider.provider.id },
  )
  expect(changed.data).toEqual({
    updateProvider: { provider: { slaNote: null, slaAvailabilityPpm: 999_000, external: false } },
  })
  const targets = [{ providerId: createProvider.provider.id, modelId: createModel.model.id }]
  const route = await ask(
    admin,
    'mutation ($input: CreateRouteInput!) { createRoute(input: $input) { route { id unsupportedSettings } } }',
    { input: { environmentId, name: 'claude', targets, unsupportedSettings: 'DROP' } },
  )
  expect(route).toMatchObject({ refusals: [], data: { createRoute: { route: { unsupportedSettings: 'DROP' } } } })
  const { id } = (route.data as { createRoute: { route: { id: string } } }).createRoute.route
  // What is paged through below is one model and no route more.
  await ask(admin, 'mutation ($id: ID!) { deleteRoute(routeId: $id) { route { id } } }', { id })
  await ask(admin, 'mutation ($id: ID!) { archiveModel(modelId: $id) { model { id } } }', { id: createModel.model.id })
})

test('asks Postgres as often for twenty routes as for two', async () => {
  const { admin, tenantId, environmentId } = await intent.makeTenant()
  const { models, providers, routes } = intent
  for (let index = 0; index < 20; index++) {
    const { model } = await models.create(admin, { tenantId, name: `m${index}`, capabilities: ['chat'] })
    const { provider } = await providers.create(admin, {
      ...{ tenantId, name: `p${index}`, kind: 'vllm', baseUrl: 'http://vllm:8000/v1', region: 'local' },
    })
    const target = { providerId: provider.id, modelId: model.id }
    await routes.create(admin, { environmentId, name: `r${index}`, targets: [target, target] })
  }
  const statementsFor = async (first: number) => {
    const query = vi.spyOn(pg.Client.prototype, 'query')
    const { data, refusals } = await ask(
      admin,
      `query ($first: Int!) { routes(first: $first) { edges { node {
        name environment { name } targets { provider { name credential { version } } model { name price { version } prices { version } } }
      } } } }`,
      { first },
    )
    const count = query.mock.calls.length
    query.mockRestore()
    expect(refusals).toEqual([])
    expect((data as { routes: { edges: unknown[] } }).routes.edges).toHaveLength(first)
    return count
  }
  await statementsFor(1)
  const [two, twenty] = [await statementsFor(2), await statementsFor(20)]
  expect(two).toBeGreaterThan(0)
  expect(twenty).toBe(two)
})

test('pages through routes, each once', async () => {
  const { admin } = intent.tenant
  const names: string[] = []
  for (let after: string | null = null; ; ) {
    const { data }: { data: unknown } = await ask(
      admin,
      'query ($after: String) { models(first: 1, after: $after, filter: { capability: CHAT }) { edges { node { name } } pageInfo { hasNextPage endCursor } } }',
      { after },
    )
    const { edges, pageInfo } = (
      data as { models: { edges: { node: { name: string } }[]; pageInfo: { hasNextPage: boolean; endCursor: string } } }
    ).models
    names.push(...edges.map((edge) => edge.node.name))
    if (!pageInfo.hasNextPage) break
    after = pageInfo.endCursor
  }
  expect(names).toEqual(['gpt'])
})

test('nobody known is unauthenticated', async () => {
  expect((await ask(null, '{ routes { edges { node { id } } } }')).refusals).toMatchObject([
    { code: 'unauthenticated' },
  ])
})

test('targets with limits, as the page on resilience has them', async () => {
  const { admin, environmentId, tenantId } = intent.tenant
  const page = readFileSync(path.join(import.meta.dirname, '../../../agent/docs/resilience.md'), 'utf8')
  const [, example = ''] = /^```graphql\n([\s\S]*?)^```$/m.exec(page) ?? []
  const kind = 'vllm' as const
  const at = { tenantId, kind, baseUrl: 'http://vllm:8000/v1', region: 'local' }
  const { provider } = await intent.providers.create(admin, { ...at, name: 'own' })
  const { model } = await intent.models.create(admin, { tenantId, name: 'served', capabilities: ['chat'] })
  const text = example
    .replace('env_…', environmentId)
    .replaceAll(/prv_\w+…/g, provider.id)
    .replaceAll(/mdl_\w+…/g, model.id)
    .replace('"chat"', '"own-first"')
  const { data, refusals } = await ask(admin, text)
  expect(refusals).toEqual([])
  expect(data).toMatchObject({
    createRoute: {
      route: {
        rules: [
          {
            targets: [
              { batchSize: 32, batchWaitMs: 500 },
              { batchSize: null, batchWaitMs: 0 },
            ],
          },
        ],
      },
    },
  })
  const refused = await ask(admin, text.replace('batchSize: 32, ', ''))
  expect(refused.refusals).toMatchObject([
    {
      ...{ code: 'bad_input', field: 'input.targets[0].batchWaitMs' },
      message: expect.stringContaining('only with batchSize'),
    },
  ])
})
