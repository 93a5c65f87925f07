import type { ResolverClass } from './api/schema.js'
import { AuditResolver } from './audit/audit-resolver.js'
import { CachingResolver, RouteCacheResolver } from './caching/caching-resolver.js'
import { DeliveryResolver } from './fleet/delivery-resolver.js'
import { AgentResolver, AgentTargetResolver, FleetResolver } from './fleet/fleet-resolver.js'
import { ModelResolver } from './models/model-resolver.js'
import { ProviderResolver } from './providers/provider-resolver.js'
import { ExplanationResolver } from './routes/explanation-resolver.js'
import { RouteResolver, TargetResolver } from './routes/route-resolver.js'
import { SavingResolver } from './routes/saving-resolver.js'
import { ApiKeyResolver } from './tenancy/api-key-resolver.js'
import { EnvironmentResolver } from './tenancy/environment-resolver.js'
import { MemberResolver } from './tenancy/member-resolver.js'
import { TeamResolver } from './tenancy/team-resolver.js'
import { TenantResolver } from './tenancy/tenant-resolver.js'
import { UsageResolver } from './usage/usage-resolver.js'

/** Every resolver class: what the schema is made of. The composition root makes one instance of each. */
export const resolverClasses: readonly ResolverClass[] = [
  TenantResolver,
  EnvironmentResolver,
  TeamResolver,
  MemberResolver,
  ApiKeyResolver,
  ProviderResolver,
  ModelResolver,
  RouteResolver,
  TargetResolver,
  ExplanationResolver,
  SavingResolver,
  CachingResolver,
  RouteCacheResolver,
  UsageResolver,
  FleetResolver,
  AgentResolver,
  AgentTargetResolver,
  DeliveryResolver,
  AuditResolver,
]
