/**
 * Who must be able to see what, written down by hand and apart from the product's own classification, so that loosening a
 * rule there is a decision here too. From the most to the least: whoever has a level has those behind it.
 */
export const levels = ['platform-admin', 'tenant-admin', 'developer', 'viewer', 'authenticated', 'public'] as const
export type Level = (typeof levels)[number]

/** True when somebody of `level` sees what `needed` is needed for. */
export function reaches(level: Level, needed: Level): boolean {
  return levels.indexOf(level) <= levels.indexOf(needed)
}

/** The stricter of two. */
export function stricter(a: Level, b: Level): Level {
  return reaches(a, b) ? a : b
}

/**
 * By type, for all fields of it, or by `Type.field`. Connections and edges follow their node. A field that is in neither is
 * unclassified, and the test fails.
 */
export const neededLevel: Readonly<Record<string, Level>> = {
  // — what is asked —
  'Query.viewer': 'authenticated',
  ...forEach('Query', 'viewer', [
    ...[
      'tenant',
      'tenants',
      'environment',
      'environments',
      'team',
      'teams',
      'provider',
      'providers',
      'model',
      'models',
    ],
    ...['route', 'routes', 'usage', 'usageRecord', 'usageTotals'],
    ...['explainRoute', 'tierReport', 'preferenceSaving', 'cachePurges', 'cacheStatistics'],
  ]),
  ...forEach('Query', 'developer', ['apiKey', 'apiKeys']),
  ...forEach('Query', 'tenant-admin', ['member', 'members', 'auditEntries']),
  ...forEach('Query', 'platform-admin', ['usageLanes', 'cluster', 'clusters', 'agent', 'agents', 'quarantines']),

  // — what is done —
  ...forEach('Mutation', 'developer', [
    ...['createRoute', 'updateRoute', 'deleteRoute', 'createApiKey', 'updateApiKey', 'revokeApiKey', 'rotateApiKey'],
    ...['setRouteCache', 'removeRouteCache', 'purgeCache'],
  ]),
  ...forEach('Mutation', 'tenant-admin', [
    ...['createEnvironment', 'updateEnvironment', 'archiveEnvironment', 'createTeam', 'renameTeam'],
    ...['createMember', 'updateMember', 'createProvider', 'updateProvider', 'rotateProviderCredential'],
    ...['removeProviderCredential', 'archiveProvider', 'testProvider'],
    ...['createModel', 'updateModel', 'setModelPrice', 'archiveModel'],
  ]),
  ...forEach('Mutation', 'platform-admin', [
    ...['createTenant', 'updateTenant', 'archiveTenant', 'createCluster', 'createJoinToken', 'revokeAgent'],
    ...['liftQuarantine', 'newEpoch', 'addSigningKey', 'retireSigningKey'],
  ]),

  // — what is listened to —
  'Subscription.auditAppended': 'tenant-admin',

  // — nouns —
  Viewer: 'authenticated',
  PageInfo: 'authenticated',
  Tenant: 'viewer',
  TenantPayload: 'viewer',
  Environment: 'viewer',
  EnvironmentPayload: 'viewer',
  EnvironmentRevision: 'viewer',
  EnvironmentDelivery: 'viewer',
  DeliveryFailure: 'viewer',
  Team: 'viewer',
  TeamPayload: 'viewer',
  Member: 'tenant-admin',
  MemberPayload: 'tenant-admin',
  ApiKey: 'developer',
  ApiKeyPayload: 'developer',
  ApiKeyMadePayload: 'developer',
  Provider: 'viewer',
  Credential: 'viewer',
  ProviderPayload: 'viewer',
  ProviderTestPayload: 'tenant-admin',
  Model: 'viewer',
  ModelPrice: 'viewer',
  ModelPayload: 'viewer',
  Route: 'viewer',
  Rule: 'viewer',
  Target: 'viewer',
  TargetParameters: 'viewer',
  Breaker: 'viewer',
  WarmUp: 'viewer',
  LastResort: 'viewer',
  Hedging: 'viewer',
  Classifier: 'viewer',
  RouteExplanation: 'viewer',
  RuleStep: 'viewer',
  SeenValue: 'viewer',
  TargetStep: 'viewer',
  ExcludedTarget: 'viewer',
  TierReport: 'viewer',
  TierUsage: 'viewer',
  PreferenceSaving: 'viewer',
  PreferenceOption: 'viewer',
  RoutePayload: 'viewer',
  RouteCache: 'viewer',
  CacheTtl: 'viewer',
  SemanticCache: 'viewer',
  RouteCachePayload: 'viewer',
  CachePurge: 'viewer',
  CachePurgePayload: 'viewer',
  CacheStatistics: 'viewer',
  RouteCacheStatistics: 'viewer',
  UsageRecord: 'viewer',
  Hop: 'viewer',
  UsageTotal: 'viewer',
  UsageLane: 'platform-admin',
  Cluster: 'platform-admin',
  ClusterPayload: 'platform-admin',
  Agent: 'platform-admin',
  DesiredGeneration: 'platform-admin',
  AppliedGeneration: 'platform-admin',
  ApplyAttempt: 'platform-admin',
  SnapshotRefusal: 'platform-admin',
  AgentSpool: 'platform-admin',
  AgentLimits: 'platform-admin',
  AgentTarget: 'platform-admin',
  AgentPayload: 'platform-admin',
  Quarantine: 'platform-admin',
  QuarantinePayload: 'platform-admin',
  JoinTokenPayload: 'platform-admin',
  NewEpochPayload: 'platform-admin',
  SigningKeyPayload: 'platform-admin',
  AuditEntry: 'tenant-admin',
}

function forEach(type: string, level: Level, fields: readonly string[]): Record<string, Level> {
  return Object.fromEntries(fields.map((field) => [`${type}.${field}`, level]))
}

/** The level written down for a field, or undefined: nobody classified it. */
export function levelOf(typeName: string, fieldName: string): Level | undefined {
  const node = typeName.replace(/(Connection|Edge)$/, '')
  return neededLevel[`${typeName}.${fieldName}`] ?? neededLevel[typeName] ?? neededLevel[node]
}
