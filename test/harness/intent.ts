import { KeyRing } from '../../control-plane/src/access/encryption.js'
import type { Actor, Role } from '../../control-plane/src/access/principal.js'
import { AuditStore } from '../../control-plane/src/audit/audit-store.js'
import { Database } from '../../control-plane/src/database/database.js'
import { ModelReader } from '../../control-plane/src/models/model-reader.js'
import { ModelService } from '../../control-plane/src/models/model-service.js'
import { ModelStore } from '../../control-plane/src/models/model-store.js'
import { ProviderReader } from '../../control-plane/src/providers/provider-reader.js'
import { ProviderService } from '../../control-plane/src/providers/provider-service.js'
import { ProviderStore } from '../../control-plane/src/providers/provider-store.js'
import { ProviderTester } from '../../control-plane/src/providers/provider-tester.js'
import { RouteReader } from '../../control-plane/src/routes/route-reader.js'
import { RouteService } from '../../control-plane/src/routes/route-service.js'
import { RouteStore } from '../../control-plane/src/routes/route-store.js'
import { ApiKeyStore } from '../../control-plane/src/tenancy/api-key-store.js'
import { EnvironmentService } from '../../control-plane/src/tenancy/environment-service.js'
import { EnvironmentStore } from '../../control-plane/src/tenancy/environment-store.js'
import { TenantStore } from '../../control-plane/src/tenancy/tenant-store.js'
import { systemClock } from '../../proto/std/clock.js'
import { newId } from '../../proto/std/ids.js'
import { RefusalError } from '../../proto/std/refusal.js'
import { testDatabase } from './postgres.js'

/** Services of providers, models and routes on a database of their own, with one tenant to play in. */
export interface Intent {
  readonly database: Database
  readonly keyRing: KeyRing
  readonly providers: ProviderService
  readonly models: ModelService
  readonly routes: RouteService
  readonly environments: EnvironmentService
  readonly tenant: Estate
  /** How often the reconciler was woken. */
  readonly ringCount: () => number
  /** Another tenant with two environments. */
  makeTenant(): Promise<Estate>
  drop(): Promise<void>
}

export interface Estate {
  readonly tenantId: string
  /** Permits `eu-central-1` and `local`. */
  readonly environmentId: string
  /** Permits `us-east-1` only. */
  readonly otherEnvironmentId: string
  readonly admin: Actor
}

export function actorOf(tenantId: string | null, ...roles: Role[]): Actor {
  const subject = `${roles.join('+') || 'nobody'}@${tenantId ?? 'installation'}`
  return { principal: { subject, kind: 'token', tenantId, roles: new Set(roles) }, requestId: newId('request', 0) }
}

export const platformAdmin = actorOf(null, 'platform-admin')

/** The refusal that `work` ends with; throws when it ends otherwise. */
export async function refusalOf(work: () => Promise<unknown>) {
  try {
    await work()
  } catch (error) {
    if (error instanceof RefusalError) return error.refusal
    throw error
  }
  throw new Error('was not refused')
}

export async function startIntent(): Promise<Intent> {
  const clone = await testDatabase()
  const database = new Database({ url: clone.url, poolMax: 4, sqlPoolMax: 2 })
  const keyRing = KeyRing.parse([`test:${Buffer.alloc(32, 7).toString('base64')}`])
  let ringCount = 0
  const bell = { ring: () => void ringCount++ }
  const common = { database, audit: new AuditStore(), clock: systemClock, bell }
  const providerReader = new ProviderReader(database)
  const modelReader = new ModelReader(database)
  const makeTenant = () => insertTenant(database)
  return {
    database,
    keyRing,
    providers: new ProviderService({
      ...{ ...common, keyRing, providers: new ProviderStore(database), reader: providerReader },
      tester: new ProviderTester({ clock: systemClock, connectTimeoutMs: 1_000, totalTimeoutMs: 1_500 }),
    }),
    models: new ModelService({ ...common, models: new ModelStore(database), reader: modelReader }),
    routes: new RouteService({
      ...{ ...common, routes: new RouteStore(database), reader: new RouteReader(database) },
      ...{ providers: providerReader, models: modelReader },
    }),
    environments: new EnvironmentService({
      ...{ ...common, tenants: new TenantStore(database), environments: new EnvironmentStore(database) },
      apiKeys: new ApiKeyStore(database),
    }),
    tenant: await makeTenant(),
    ringCount: () => ringCount,
    makeTenant,
    drop: async () => {
      await database.close()
      await clone.drop()
    },
  }
}

async function insertTenant(database: Database): Promise<Estate> {
  const tenantId = newId('tenant', systemClock.nowMs())
  await database.rows.tenant.create({ data: { id: tenantId, slug: tenantId.replace('_', '-'), name: 'Test tenant' } })
  const environment = async (name: string, permittedRegions: string[]) => {
    const id = newId('environment', systemClock.nowMs())
    await database.rows.environment.create({ data: { id, tenantId, name, permittedRegions } })
    return id
  }
  return {
    tenantId,
    environmentId: await environment('production', ['eu-central-1', 'local']),
    otherEnvironmentId: await environment('america', ['us-east-1']),
    admin: actorOf(tenantId, 'tenant-admin'),
  }
}
