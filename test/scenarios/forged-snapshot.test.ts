import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { awaitDelivery } from '../../deploy/local/seed-demo.js'
import { snapshotHeaderCodec } from '../../proto/gen/codec.js'
import { systemClock } from '../../proto/std/clock.js'
import { eventually } from '../harness/process.js'
import { Stack } from '../harness/stack.js'

/**
 * Configuration that must not be followed, on the whole product: what cannot work never becomes a snapshot, and what
 * somebody slipped into the record is refused by a running agent, which goes on with what it had and says so in the graph.
 */
let stack: Stack
/** How long a refusal may take to show in the graph. */
const shownWithinMs = 5_000

beforeAll(async () => {
  stack = new Stack({ queue: 'postgres', seed: 9 })
  await stack.start()
  await awaitDelivery(stack.graphql, stack.seed.environmentId, systemClock)
}, 180_000)
afterAll(() => stack?.stop())

describe('a route that cannot work', () => {
  test.each([
    ['a model that does not exist', 'modelId', () => `mdl_${'0'.repeat(26)}`],
    ['a model of another tenant', 'modelId', () => modelOfAnotherTenant()],
    ['a provider that does not exist', 'providerId', () => `prv_${'0'.repeat(26)}`],
  ])('is refused at the mutation with the path: %s', async (_, member, missing) => {
    const [target] = (await demoRoute()).targets
    const targets = [target, { ...target, [member]: await missing() }]
    const before = await newestSnapshot()
    const refusal = { code: 'BAD_USER_INPUT', field: `input.targets[1].${member}` }
    const created = await mutate('createRoute', 'CreateRouteInput', {
      input: { environmentId: stack.seed.environmentId, name: 'cannot-work', targets },
    })
    expect(created.errors).toMatchObject([{ extensions: refusal }])
    const updated = await mutate('updateRoute', 'UpdateRouteInput', {
      input: { routeId: (await demoRoute()).id, targets },
    })
    expect(updated.errors).toMatchObject([{ extensions: refusal }])
    expect((await newestSnapshot()).generation).toBe(before.generation)
    expect(await statusOf(stack.seed.apiKey)).toBe(200)
  })
})

describe('a forged snapshot', () => {
  test('with a signature that does not hold is refused, and the old one stays', async () => {
    const before = await settled()
    await forgeNextGeneration()
    const agent = await refusedWith('signature_invalid')
    expect(agent.applied).toEqual(before.applied)
    expect(Number(agent.desired?.generation)).toBe(Number(before.applied?.generation) + 1)
    expect(agent.lastAttempt?.generation).toBe(agent.desired?.generation)
    expect(await statusOf(stack.seed.apiKey)).toBe(200)
  })

  test('does not keep the agent from the next honest one', async () => {
    const secret = await makeKey('after-the-forgery')
    await eventually('the key works', async () => (await statusOf(secret)) === 200)
    expect((await settled()).lastAttempt).toMatchObject({ outcome: 'APPLIED', refusals: [] })
  })

  test('that uses a generation again is refused, and the old one stays', async () => {
    const kept = await makeKey('kept')
    await eventually('the key works', async () => (await statusOf(kept)) === 200)
    const before = await settled()
    // As after a restore for which nobody opened a new epoch: the record forgets a generation and makes it again, otherwise.
    await stack.database.query('DELETE FROM "Snapshot" WHERE generation = $1', [before.applied?.generation])
    const other = await makeKey('other')
    const agent = await refusedWith('generation_reused')
    expect(agent.applied).toEqual(before.applied)
    expect(agent.desired?.generation).toBe(before.applied?.generation)
    expect(agent.desired?.rootHash).not.toBe(before.applied?.rootHash)
    expect([await statusOf(kept), await statusOf(other)]).toEqual([200, 401])

    // The way out that the runbook names.
    await stack.graphql('mutation { newEpoch { epoch } }')
    await eventually('the other key works', async () => (await statusOf(other)) === 200)
    expect((await settled()).lastAttempt).toMatchObject({ outcome: 'APPLIED', refusals: [] })
  })
})

/** The next generation with the content of the newest, under a header that nobody signed. */
async function forgeNextGeneration(): Promise<void> {
  const newest = await newestSnapshot()
  const generation = Number(newest.generation) + 1
  const header = snapshotHeaderCodec.encode({ ...snapshotHeaderCodec.decode(newest.header), generation })
  await stack.database.query(
    `INSERT INTO "Snapshot" (view, epoch, generation, "rootHash", header, signature, sections, "removedSections")
     SELECT view, epoch, $2, "rootHash", $3, signature, sections, "removedSections" FROM "Snapshot" WHERE generation = $1`,
    [newest.generation, generation, header],
  )
}

async function newestSnapshot(): Promise<{ generation: string; header: Buffer }> {
  const { rows } = await stack.database.query<{ generation: string; header: Buffer }>(
    'SELECT generation, header FROM "Snapshot" ORDER BY epoch DESC, generation DESC LIMIT 1',
  )
  const [newest] = rows
  if (newest === undefined) throw new Error('there is no snapshot')
  return newest
}

interface Generation {
  readonly epoch: string
  readonly generation: string
  readonly rootHash: string
}

interface Agent {
  readonly inSync: boolean
  readonly desired: Generation | null
  readonly applied: Generation | null
  readonly lastAttempt: {
    readonly outcome: string
    readonly generation: string
    readonly rootHash: string
    readonly refusals: readonly { readonly code: string }[]
  } | null
}

/** The only agent, as the graph shows it. */
async function shownAgent(): Promise<Agent> {
  const { agents } = await stack.graphql<{ agents: { edges: readonly { node: Agent }[] } }>(
    `{ agents(first: 1) { edges { node {
      inSync desired { epoch generation rootHash } applied { epoch generation rootHash }
      lastAttempt { outcome generation rootHash refusals { code } } } } } }`,
  )
  const [edge] = agents.edges
  if (edge === undefined) throw new Error('no agent is shown')
  return edge.node
}

/** Once the agent has what it should have, and nothing newer is being made. */
function settled(): Promise<Agent> {
  return eventually('the agent is shown in sync', async () => {
    const agent = await shownAgent()
    const isNewest = agent.desired?.generation === (await newestSnapshot()).generation
    return agent.inSync && isNewest && agent.lastAttempt?.rootHash === agent.applied?.rootHash && agent
  })
}

function refusedWith(code: string): Promise<Agent> {
  return eventually(
    `${code} is shown`,
    async () => {
      const agent = await shownAgent()
      const { outcome, refusals = [] } = agent.lastAttempt ?? {}
      return !agent.inSync && outcome === 'REFUSED' && refusals.some((refusal) => refusal.code === code) && agent
    },
    shownWithinMs,
  )
}

interface Route {
  readonly id: string
  readonly targets: readonly { readonly providerId: string; readonly modelId: string }[]
}

async function demoRoute(): Promise<Route> {
  const { routes } = await stack.graphql<{ routes: { edges: readonly { node: Route & { name: string } }[] } }>(
    `query ($tenantId: ID, $filter: RouteFilterInput) { routes(tenantId: $tenantId, filter: $filter, first: 100) {
      edges { node { id name targets { providerId modelId } } } } }`,
    { tenantId: stack.seed.tenantId, filter: { environmentId: stack.seed.environmentId } },
  )
  const found = routes.edges.find(({ node }) => node.name === stack.chatRoute)
  if (found === undefined) throw new Error('the demo has a chat route')
  return found.node
}

let strangerCount = 0

async function modelOfAnotherTenant(): Promise<string> {
  const slug = `stranger-${++strangerCount}`
  const { createTenant } = await stack.graphql<{ createTenant: { tenant: { id: string } } }>(
    'mutation ($input: CreateTenantInput!) { createTenant(input: $input) { tenant { id } } }',
    { input: { slug, name: slug } },
  )
  const { createModel } = await stack.graphql<{ createModel: { model: { id: string } } }>(
    'mutation ($input: CreateModelInput!) { createModel(input: $input) { model { id } } }',
    { input: { tenantId: createTenant.tenant.id, name: 'theirs', capabilities: ['CHAT'] } },
  )
  return createModel.model.id
}

/** A mutation with its errors as they came over the wire. */
async function mutate(name: string, inputType: string, variables: object): Promise<{ errors?: readonly object[] }> {
  const response = await fetch(stack.graphqlUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${stack.adminToken}` },
    body: JSON.stringify({
      query: `mutation ($input: ${inputType}!) { ${name}(input: $input) { intentRevision } }`,
      variables,
    }),
  })
  return (await response.json()) as { errors?: readonly object[] }
}

async function makeKey(name: string): Promise<string> {
  const { createApiKey } = await stack.graphql<{ createApiKey: { secret: string } }>(
    'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }',
    { input: { environmentId: stack.seed.environmentId, name } },
  )
  return createApiKey.secret
}

/** Of a request that needs nothing but a decision. */
async function statusOf(secret: string): Promise<number> {
  const response = await fetch(`${stack.agentUrl}/v1/models`, { headers: { authorization: `Bearer ${secret}` } })
  await response.arrayBuffer()
  return response.status
}
