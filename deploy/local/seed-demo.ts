import { must } from '../../proto/std/assert.js'
import type { Clock } from '../../proto/std/clock.js'
import { throwRefusal } from '../../proto/std/refusal.js'
import type { GraphqlCall } from './graphql-call.js'
import { demoProviderNames, type Upstream, type UpstreamModel } from './upstream.js'

/** What the demo needs from one start to the next, kept in `.switchyard/state.json`. */
export interface DemoSeed {
  readonly tenantId: string
  readonly environmentId: string
  readonly clusterId: string
  readonly apiKeyId: string
  /** The whole key: the control plane keeps only its hash. */
  readonly apiKey: string
}

const demo = {
  tenant: { slug: 'acme', name: 'Acme (demo)' },
  region: 'local',
  environments: ['production', 'development'],
  team: 'assistants',
  cluster: { name: 'local', kind: 'GPU', cloud: 'local', region: 'local' },
}

/**
 * Makes the demo tenant true over the same API that everybody uses: what is there stays, what is missing is made. The
 * demo's routes lead to `upstream`: one that an earlier start pointed at another of the demo's providers is moved to a model
 * that does the same, or deleted where there is none. Safe to run at every start; routes and providers of the user's own
 * stay as they are.
 */
export async function seedDemo(call: GraphqlCall, upstream: Upstream, known: DemoSeed | null): Promise<DemoSeed> {
  const tenantId = await ensureTenant(call)
  const environments = new Map<string, string>()
  for (const name of demo.environments) environments.set(name, await ensureEnvironment(call, tenantId, name))
  const environmentId = must(environments.get('production'), 'the demo has a production environment')
  const teamId = await ensureTeam(call, tenantId)
  const clusterId = await ensureCluster(call)
  const providerId = await ensureProvider(call, tenantId, upstream)
  const served: ServedModel[] = []
  for (const model of upstream.models) {
    const modelId = await ensureModel(call, tenantId, model)
    served.push({ capability: model.capability, providerId, modelId })
    for (const id of environments.values())
      await ensureRoute(call, { tenantId, environmentId: id, name: model.route }, { providerId, modelId })
  }
  const absent = await loadAbsentProviders(call, tenantId, upstream)
  for (const id of environments.values()) await moveRoutes(call, { tenantId, environmentId: id }, absent, served)
  const key = await ensureApiKey(call, { tenantId, environmentId, teamId }, known)
  return { tenantId, environmentId, clusterId, ...key }
}

/** A fresh one-time token for an agent of the demo's cluster. */
export async function createJoinToken(call: GraphqlCall, clusterId: string): Promise<string> {
  const answer = await call<{ createJoinToken: { secret: string } }>(
    `mutation ($input: CreateJoinTokenInput!) { createJoinToken(input: $input) { secret } }`,
    { input: { clusterId, lifetimeMinutes: 60 } },
  )
  return answer.createJoinToken.secret
}

interface Delivery {
  environment: { delivery: { upToDateCount: number; failure: { message: string; path: string } | null }[] } | null
}

/** Waits until an agent has the newest intent of the demo's environment, so that the first request meets what was seeded. */
export async function awaitDelivery(call: GraphqlCall, environmentId: string, clock: Clock): Promise<void> {
  const startedUs = clock.monotonicUs()
  for (;;) {
    const { environment } = await call<Delivery>(
      `query ($id: ID!) { environment(id: $id) { delivery { upToDateCount failure { message path } } } }`,
      { id: environmentId },
    )
    const deliveries = environment?.delivery ?? []
    if (deliveries.some(({ upToDateCount }) => upToDateCount > 0)) return
    const failure = deliveries.find((delivery) => delivery.failure !== null)?.failure
    if (failure)
      throwRefusal('unavailable', `the configuration cannot be delivered: ${failure.message} (${failure.path})`)
    if (clock.monotonicUs() - startedUs > deliveryTimeoutMs * 1_000)
      throwRefusal(
        'unavailable',
        `no agent applied the configuration within ${deliveryTimeoutMs / 1_000} s; see the logs`,
      )
    await clock.sleep(50)
  }
}

const deliveryTimeoutMs = 60_000

interface List<Node> {
  edges: { node: Node }[]
}

function nodesOf<Node>(list: List<Node>): Node[] {
  return list.edges.map((edge) => edge.node)
}

async function ensureTenant(call: GraphqlCall): Promise<string> {
  // The demo's tenant was the first of its installation; a hundred later ones do not hide it.
  const { tenants } = await call<{ tenants: List<{ id: string; slug: string }> }>(
    `{ tenants(first: 100) { edges { node { id slug } } } }`,
  )
  const found = nodesOf(tenants).find((tenant) => tenant.slug === demo.tenant.slug)
  if (found) return found.id
  const made = await call<{ createTenant: { tenant: { id: string } } }>(
    `mutation ($input: CreateTenantInput!) { createTenant(input: $input) { tenant { id } } }`,
    { input: demo.tenant },
  )
  return made.createTenant.tenant.id
}

async function ensureEnvironment(call: GraphqlCall, tenantId: string, name: string): Promise<string> {
  const { environments } = await call<{ environments: List<{ id: string; name: string }> }>(
    `query ($tenantId: ID) { environments(tenantId: $tenantId, first: 100) { edges { node { id name } } } }`,
    { tenantId },
  )
  const found = nodesOf(environments).find((environment) => environment.name === name)
  if (found) return found.id
  const made = await call<{ createEnvironment: { environment: { id: string } } }>(
    `mutation ($input: CreateEnvironmentInput!) { createEnvironment(input: $input) { environment { id } } }`,
    { input: { tenantId, name, permittedRegions: [demo.region] } },
  )
  return made.createEnvironment.environment.id
}

async function ensureTeam(call: GraphqlCall, tenantId: string): Promise<string> {
  const { teams } = await call<{ teams: List<{ id: string; name: string }> }>(
    `query ($tenantId: ID) { teams(tenantId: $tenantId, first: 100) { edges { node { id name } } } }`,
    { tenantId },
  )
  const found = nodesOf(teams).find((team) => team.name === demo.team)
  if (found) return found.id
  const made = await call<{ createTeam: { team: { id: string } } }>(
    `mutation ($input: CreateTeamInput!) { createTeam(input: $input) { team { id } } }`,
    { input: { tenantId, name: demo.team } },
  )
  return made.createTeam.team.id
}

async function ensureCluster(call: GraphqlCall): Promise<string> {
  const { clusters } = await call<{ clusters: List<{ id: string; name: string }> }>(
    `{ clusters(first: 100) { edges { node { id name } } } }`,
  )
  const found = nodesOf(clusters).find((cluster) => cluster.name === demo.cluster.name)
  if (found) return found.id
  const made = await call<{ createCluster: { cluster: { id: string } } }>(
    `mutation ($input: CreateClusterInput!) { createCluster(input: $input) { cluster { id } } }`,
    { input: demo.cluster },
  )
  return made.createCluster.cluster.id
}

async function ensureProvider(call: GraphqlCall, tenantId: string, upstream: Upstream): Promise<string> {
  const { providers } = await call<{ providers: List<{ id: string; name: string; baseUrl: string }> }>(
    `query ($tenantId: ID) { providers(tenantId: $tenantId, first: 100) { edges { node { id name baseUrl } } } }`,
    { tenantId },
  )
  const credential = upstream.secret === null ? null : { secret: upstream.secret }
  const found = nodesOf(providers).find((provider) => provider.name === upstream.providerName)
  if (!found) {
    const { providerName: name, kind, baseUrl } = upstream
    const made = await call<{ createProvider: { provider: { id: string } } }>(
      `mutation ($input: CreateProviderInput!) { createProvider(input: $input) { provider { id } } }`,
      { input: { tenantId, name, kind, baseUrl, region: demo.region, credential } },
    )
    return made.createProvider.provider.id
  }
  // Another port base, another server, or another key: the provider follows.
  if (found.baseUrl !== upstream.baseUrl || credential !== null)
    await call(`mutation ($input: UpdateProviderInput!) { updateProvider(input: $input) { provider { id } } }`, {
      input: { providerId: found.id, baseUrl: upstream.baseUrl, credential },
    })
  return found.id
}

async function ensureModel(call: GraphqlCall, tenantId: string, model: Upstream['models'][number]): Promise<string> {
  const { models } = await call<{ models: List<{ id: string; name: string }> }>(
    `query ($tenantId: ID) { models(tenantId: $tenantId, first: 100) { edges { node { id name } } } }`,
    { tenantId },
  )
  const found = nodesOf(models).find((candidate) => candidate.name === model.name)
  if (found) return found.id
  const { name, capability, inputUsdPerMillion, outputUsdPerMillion } = model
  const made = await call<{ createModel: { model: { id: string } } }>(
    `mutation ($input: CreateModelInput!) { createModel(input: $input) { model { id } } }`,
    { input: { tenantId, name, capabilities: [capability], price: { inputUsdPerMillion, outputUsdPerMillion } } },
  )
  return made.createModel.model.id
}

interface Route {
  id: string
  name: string
  targets: { providerId: string; modelId: string }[]
}

interface ServedModel {
  capability: UpstreamModel['capability']
  providerId: string
  modelId: string
}

/** What the demo calls its routes, and what each of them is for. */
const demoRoutes: ReadonlyMap<string, UpstreamModel['capability']> = new Map([
  ['chat', 'CHAT'],
  ['chat-large', 'CHAT'],
  ['embed', 'EMBEDDINGS'],
])

/** Ids of the demo's providers that nobody runs behind this start. */
async function loadAbsentProviders(
  call: GraphqlCall,
  tenantId: string,
  upstream: Upstream,
): Promise<ReadonlySet<string>> {
  const { providers } = await call<{ providers: List<{ id: string; name: string }> }>(
    `query ($tenantId: ID) { providers(tenantId: $tenantId, first: 100) { edges { node { id name } } } }`,
    { tenantId },
  )
  const absent: readonly string[] = demoProviderNames.filter((name) => name !== upstream.providerName)
  return new Set(
    nodesOf(providers)
      .filter(({ name }) => absent.includes(name))
      .map(({ id }) => id),
  )
}

async function moveRoutes(
  call: GraphqlCall,
  place: { tenantId: string; environmentId: string },
  absent: ReadonlySet<string>,
  served: readonly ServedModel[],
): Promise<void> {
  for (const route of await loadRoutes(call, place)) {
    const capability = demoRoutes.get(route.name)
    if (capability === undefined || !route.targets.some(({ providerId }) => absent.has(providerId))) continue
    const model = served.find((candidate) => candidate.capability === capability)
    if (model === undefined) {
      await call(`mutation ($routeId: ID!) { deleteRoute(routeId: $routeId) { route { id } } }`, { routeId: route.id })
      continue
    }
    const { providerId, modelId } = model
    await call(`mutation ($input: UpdateRouteInput!) { updateRoute(input: $input) { route { id } } }`, {
      input: { routeId: route.id, targets: [{ providerId, modelId }] },
    })
  }
}

async function loadRoutes(call: GraphqlCall, place: { tenantId: string; environmentId: string }): Promise<Route[]> {
  const { routes } = await call<{ routes: List<Route> }>(
    `query ($tenantId: ID, $environmentId: ID) {
      routes(tenantId: $tenantId, filter: { environmentId: $environmentId }, first: 100) { edges { node { id name targets { providerId modelId } } } }
    }`,
    { ...place },
  )
  return nodesOf(routes)
}

async function ensureRoute(
  call: GraphqlCall,
  { tenantId, environmentId, name }: { tenantId: string; environmentId: string; name: string },
  target: { providerId: string; modelId: string },
): Promise<void> {
  const found = (await loadRoutes(call, { tenantId, environmentId })).find((route) => route.name === name)
  if (!found) {
    await call(`mutation ($input: CreateRouteInput!) { createRoute(input: $input) { route { id } } }`, {
      input: { environmentId, name, targets: [target] },
    })
    return
  }
  const [first] = found.targets
  if (first?.providerId === target.providerId && first.modelId === target.modelId) return
  await call(`mutation ($input: UpdateRouteInput!) { updateRoute(input: $input) { route { id } } }`, {
    input: { routeId: found.id, targets: [target] },
  })
}

async function ensureApiKey(
  call: GraphqlCall,
  owner: { tenantId: string; environmentId: string; teamId: string },
  known: DemoSeed | null,
): Promise<{ apiKeyId: string; apiKey: string }> {
  if (known && known.tenantId === owner.tenantId) {
    const { apiKey } = await call<{ apiKey: { revokedAt: string | null; expiresAt: string | null } | null }>(
      `query ($id: ID!) { apiKey(id: $id) { revokedAt expiresAt } }`,
      { id: known.apiKeyId },
    )
    if (apiKey && apiKey.revokedAt === null && apiKey.expiresAt === null)
      return { apiKeyId: known.apiKeyId, apiKey: known.apiKey }
  }
  const made = await call<{ createApiKey: { apiKey: { id: string }; secret: string } }>(
    `mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } secret } }`,
    { input: { environmentId: owner.environmentId, teamId: owner.teamId, name: 'demo' } },
  )
  return { apiKeyId: made.createApiKey.apiKey.id, apiKey: made.createApiKey.secret }
}
