import { newId } from '../../../proto/std/ids.js'
import type { Estate } from './estate.js'
import type { World } from './world.js'

export type Args = Readonly<Record<string, unknown>>

/**
 * How each root field is asked so that it answers about the owner's estate with something in every field. A mutation makes
 * what it needs anew each time, since it uses it up. A root field without a probe fails the test.
 */
export const probes: Readonly<Record<string, (world: World) => Args | Promise<Args>>> = {
  viewer: () => ({}),
  tenant: ({ owner }) => ({ id: owner.tenantId }),
  tenants: () => ({ first: 20 }),
  environment: ({ owner }) => ({ id: owner.archivedEnvironmentId }),
  environments: ofTenant,
  team: ({ owner }) => ({ id: owner.teamId }),
  teams: ofTenant,
  member: ({ owner }) => ({ id: owner.memberId }),
  members: ofTenant,
  apiKey: ({ owner }) => ({ id: owner.apiKeyId }),
  apiKeys: ofTenant,
  provider: ({ owner }) => ({ id: owner.providerId }),
  providers: (world) => ({ ...ofTenant(world), filter: { includeArchived: true } }),
  model: ({ owner }) => ({ id: owner.modelId }),
  models: (world) => ({ ...ofTenant(world), filter: { includeArchived: true } }),
  route: ({ owner }) => ({ id: owner.routeId }),
  routes: ofTenant,
  explainRoute: async ({ owner }) => {
    const { environmentId, model } = await owner.routing()
    return input({ environmentId, model, prompt: 'Why?', internalOnly: true })
  },
  tierReport: async ({ owner }) => input({ routeId: (await owner.routing()).routeId, ...january }),
  preferenceSaving: async ({ owner }) => input({ environmentId: (await owner.routing()).environmentId, ...january }),
  cachePurges: ({ owner }) => ({ environmentId: owner.environmentId }),
  cacheStatistics: ({ owner }) =>
    input({ tenantId: owner.tenantId, from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' }),
  auditEntries: ({ owner }) => ({ first: 20, filter: { tenantId: owner.tenantId, action: `${owner.mark}.done` } }),
  usage: ofTenant,
  usageRecord: ({ owner }) => ({ tenantId: owner.tenantId, requestId: owner.requestId }),
  usageTotals: ({ owner }) => ({
    tenantId: owner.tenantId,
    filter: { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' },
    groupBy: ['ENVIRONMENT', 'API_KEY', 'TEAM', 'ROUTE', 'PROVIDER', 'MODEL', 'CLUSTER', 'REGION'],
    ...{ granularity: 'HOUR', byBucket: true },
  }),
  cluster: ({ fleet }) => ({ id: fleet.clusterId }),
  clusters: () => ({ first: 20 }),
  agent: ({ fleet }) => ({ id: fleet.agentId }),
  agents: ({ fleet }) => ({ first: 20, filter: { clusterId: fleet.clusterId, includeRevoked: true } }),
  quarantines: async ({ fleet }) => {
    await fleet.quarantine({ liftedAt: new Date(), liftedBy: 'planted-subject' })
    return { includeLifted: true }
  },
  usageLanes: ({ owner }) => ({ first: 1, agentId: owner.agentId }),

  createCluster: ({ fleet }) => input({ name: fleet.name(), kind: 'GPU', cloud: 'planted', region: 'planted' }),
  createJoinToken: ({ fleet }) => input({ clusterId: fleet.clusterId }),
  revokeAgent: async ({ fleet }) => ({ agentId: await fleet.agent() }),
  liftQuarantine: async ({ fleet }) => input({ agentVersion: fleet.agentVersion, ...(await fleet.quarantine()) }),
  newEpoch: () => ({}),
  addSigningKey: () => ({}),
  retireSigningKey: async ({ fleet }) => ({ keyId: await fleet.signingKey() }),

  createTenant: ({ owner }) => input({ slug: `${owner.name()}-made`, name: `Tenant ${owner.name()}` }),
  updateTenant: ({ owner }) => input({ tenantId: owner.tenantId, name: `Tenant ${owner.mark}` }),
  archiveTenant: async (world) => ({ tenantId: await makeTenant(world) }),
  createEnvironment: ({ owner }) =>
    input({ tenantId: owner.tenantId, name: owner.name(), permittedRegions: ['local'] }),
  updateEnvironment: ({ owner }) =>
    input({
      ...{ environmentId: owner.environmentId, permittedRegions: [owner.mark, 'local'], routingPreference: 'BEST' },
    }),
  archiveEnvironment: async ({ owner }) => ({ environmentId: await owner.environment() }),
  createTeam: ({ owner }) => input({ tenantId: owner.tenantId, name: owner.name() }),
  renameTeam: async ({ owner }) => input({ teamId: await owner.team(), name: owner.name() }),
  createMember: ({ owner }) =>
    input({
      ...{ tenantId: owner.tenantId, subject: `subject-${owner.name()}`, displayName: owner.name() },
      ...{ email: `${owner.name()}@example.com`, roles: ['viewer'] },
    }),
  updateMember: async ({ owner }) => input({ memberId: await owner.member(), displayName: owner.name() }),
  createApiKey: ({ owner }) => input({ environmentId: owner.environmentId, name: owner.name(), teamId: owner.teamId }),
  updateApiKey: async ({ owner }) => input({ apiKeyId: await owner.apiKey(), name: owner.name(), allowedRoutes: [] }),
  revokeApiKey: async ({ owner }) => input({ apiKeyId: await owner.apiKey(), abort: true }),
  rotateApiKey: async ({ owner }) => input({ apiKeyId: await owner.apiKey(), overlapMinutes: 5 }),
  createProvider: ({ owner }) =>
    input({
      ...{
        tenantId: owner.tenantId,
        name: owner.name(),
        kind: 'VLLM',
        baseUrl: 'http://vllm:8000/v1',
        region: owner.mark,
      },
      credential: { secret: 'sk-planted' },
    }),
  updateProvider: async ({ owner }) => input({ providerId: await owner.provider(), name: owner.name() }),
  rotateProviderCredential: async ({ owner }) =>
    input({ providerId: await owner.provider(), credential: { secret: 'sk-planted' } }),
  removeProviderCredential: async ({ owner }) => ({ providerId: await owner.provider() }),
  archiveProvider: async ({ owner }) => ({ providerId: await owner.provider() }),
  testProvider: async ({ owner }) => ({ providerId: await owner.provider({ credential: false }) }),
  createModel: ({ owner }) => input({ tenantId: owner.tenantId, name: owner.name(), capabilities: ['CHAT'] }),
  updateModel: async ({ owner }) => input({ modelId: await owner.model(), name: owner.name() }),
  setModelPrice: async ({ owner }) =>
    input({ modelId: await owner.model(), price: { inputUsdPerMillion: '1', outputUsdPerMillion: '2' } }),
  archiveModel: async ({ owner }) => ({ modelId: await owner.model() }),
  createRoute: async ({ owner }) =>
    input({
      ...{ environmentId: owner.environmentId, name: owner.name(), defaultRouteId: owner.defaultRouteId },
      rules: [{ name: 'planted', condition: 'stream', targets: [await target(owner)] }],
      ...{ lastResort: { safeAnswer: 'planted' }, hedging: {} },
      classifier: { providerId: await owner.provider({ kind: 'classifier' }) },
    }),
  updateRoute: async ({ owner }) =>
    input({ routeId: await owner.route(), rules: [{ targets: [await target(owner)] }], totalTimeoutMs: 200_000 }),
  deleteRoute: async ({ owner }) => ({ routeId: await owner.route() }),
  setRouteCache: async ({ owner }) =>
    input({
      ...{ routeId: await owner.route(), tags: [owner.mark], detailApiKeyIds: [owner.apiKeyId] },
      semantic: { embeddingRoute: await owner.embeddingRoute() },
    }),
  removeRouteCache: async ({ owner }) => ({ routeId: await owner.route() }),
  purgeCache: ({ owner }) =>
    input({
      ...{ tenantId: owner.tenantId, environmentId: owner.environmentId, routeId: owner.routeId, tag: owner.mark },
      documentIds: [owner.mark],
    }),

  auditAppended: ({ owner }) => ({ tenantId: owner.tenantId }),
}

/** Fields that have a value only behind one root field. */
export const through: Readonly<Record<string, string>> = {
  'ApiKeyMadePayload.previous': 'rotateApiKey',
  'RouteCachePayload.cache': 'setRouteCache',
  // Of an environment that is not archived.
  'Environment.delivery': 'usageRecord',
  'EnvironmentDelivery.desiredRevision': 'usageRecord',
  'EnvironmentDelivery.appliedRevision': 'usageRecord',
  'EnvironmentDelivery.failure': 'usageRecord',
  'DeliveryFailure.intentRevision': 'usageRecord',
  'DeliveryFailure.code': 'usageRecord',
  'DeliveryFailure.path': 'usageRecord',
  'DeliveryFailure.message': 'usageRecord',
  'DeliveryFailure.since': 'usageRecord',
}

/** Fields that an owner could not see any more once they have a value: who sees them then, and where. */
export const exceptions: Readonly<
  Record<string, { readonly needed: 'platform-admin'; readonly args: (world: World) => Args; readonly why: string }>
> = {
  'Tenant.archivedAt': {
    needed: 'platform-admin',
    args: ({ archivedTenantId }) => ({ id: archivedTenantId }),
    why: 'nobody of an archived tenant is let in',
  },
}

/** When the estates' usage was. */
const january = { from: '2026-01-01T00:00:00Z', to: '2026-01-31T00:00:00Z' }

function ofTenant({ owner }: World): Args {
  return { tenantId: owner.tenantId, first: 20 }
}

function input(fields: Args): Args {
  return { input: fields }
}

async function target(owner: Estate): Promise<Args> {
  return { providerId: await owner.provider(), modelId: await owner.model() }
}

async function makeTenant({ database }: World): Promise<string> {
  const id = newId('tenant', Date.now())
  await database.rows.tenant.create({ data: { id, slug: id.replace('_', '-'), name: 'To be archived' } })
  return id
}
