import { afterAll, beforeAll, expect, test } from 'vitest'
import { ControlPlane } from '../../control-plane/src/control-plane.js'
import { loadSettings } from '../../control-plane/src/settings.js'
import { type GraphqlCall, graphqlCall } from '../../deploy/local/graphql-call.js'
import { type DemoSeed, seedDemo } from '../../deploy/local/seed-demo.js'
import { simulatorUpstream, type Upstream } from '../../deploy/local/upstream.js'
import { systemClock } from '../../proto/std/clock.js'
import { silentLog } from '../harness/agent-door.js'
import { type TestDatabase, testDatabase } from '../harness/postgres.js'

const adminToken = 'an-admin-token-of-at-least-32-characters'
let database: TestDatabase
let plane: ControlPlane
let call: GraphqlCall
let seed: DemoSeed

beforeAll(async () => {
  database = await testDatabase()
  const ports = ['HTTP', 'METRICS', 'FLEET', 'ENROL'].map((door) => [`SWITCHYARD_${door}_PORT`, '0'])
  const settings = loadSettings({
    DATABASE_URL: database.url,
    SWITCHYARD_WRAP_KEYS: `k1:${Buffer.alloc(32, 1).toString('base64')}`,
    SWITCHYARD_ADMIN_TOKEN: adminToken,
    ...Object.fromEntries(ports),
  })
  plane = new ControlPlane(settings, { clock: systemClock, log: silentLog })
  await plane.start()
  call = graphqlCall(`${plane.addresses.http}/graphql`, adminToken)
  seed = await seedDemo(call, simulatorUpstream('http://127.0.0.1:7406'), null)
})

afterAll(async () => {
  await plane?.stop()
  await database?.drop()
})

interface Listed {
  routes: { edges: { node: { name: string; targets: { provider: { name: string }; model: { name: string } }[] } }[] }
}

/** Where each route of both environments leads, by name; both must say the same. */
async function routes(): Promise<Record<string, string>> {
  const { environments } = await call<{ environments: { edges: { node: { id: string } }[] } }>(
    `query ($tenantId: ID) { environments(tenantId: $tenantId, first: 100) { edges { node { id } } } }`,
    { tenantId: seed.tenantId },
  )
  const found: Record<string, string>[] = []
  for (const { node } of environments.edges) {
    const answer = await call<Listed>(
      `query ($tenantId: ID, $environmentId: ID) { routes(tenantId: $tenantId, filter: { environmentId: $environmentId }, first: 100) {
        edges { node { name targets { provider { name } model { name } } } } } }`,
      { tenantId: seed.tenantId, environmentId: node.id },
    )
    const entries = answer.routes.edges.map(({ node: { name, targets } }) => [
      name,
      targets.map(({ provider, model }) => `${provider.name}/${model.name}`).join(' '),
    ])
    found.push(Object.fromEntries(entries.sort()))
  }
  expect(found).toHaveLength(2)
  expect(found[1]).toEqual(found[0])
  return found[0] ?? {}
}

const simulated = {
  chat: 'simulator/simulator-small',
  'chat-large': 'simulator/simulator-large',
  embed: 'simulator/simulator-embedding',
}

test('another upstream takes over every route of the demo that it can serve; the others are gone', async () => {
  expect(await routes()).toEqual(simulated)
  const model = { route: 'chat', name: 'llama', capability: 'CHAT', inputUsdPerMillion: '0', outputUsdPerMillion: '0' }
  const upstream = {
    ...{ providerName: 'upstream', kind: 'OPENAI_COMPATIBLE', baseUrl: 'http://127.0.0.1:8000/v1', secret: null },
    models: [model],
  } as Upstream
  const again = await seedDemo(call, upstream, seed)
  expect(again).toEqual(seed)
  expect(await routes()).toEqual({ chat: 'upstream/llama', 'chat-large': 'upstream/llama' })
  expect(await seedDemo(call, upstream, seed)).toEqual(seed)
  expect(await routes()).toEqual({ chat: 'upstream/llama', 'chat-large': 'upstream/llama' })
})

test('the simulator takes them back', async () => {
  expect(await seedDemo(call, simulatorUpstream('http://127.0.0.1:7406'), seed)).toEqual(seed)
  expect(await routes()).toEqual(simulated)
})
