import { readFileSync } from 'node:fs'
import { must } from '../../proto/std/assert.js'
import type { Clock } from '../../proto/std/clock.js'
import type { Log, Service } from '../../proto/std/service.js'
import { Authenticator } from './access/authenticate.js'
import { KeyRing } from './access/encryption.js'
import { ApiServer } from './api/api-server.js'
import { ResolverInstances } from './api/resolver-instances.js'
import { buildGraphSchema } from './api/schema.js'
import { AuditFeed } from './audit/audit-feed.js'
import { AuditReader } from './audit/audit-reader.js'
import { AuditResolver } from './audit/audit-resolver.js'
import { AuditService } from './audit/audit-service.js'
import { AuditStore } from './audit/audit-store.js'
import { applyMigrations } from './database/apply-migrations.js'
import { Database } from './database/database.js'
import { GrpcServer } from './fleet/grpc-server.js'
import { openInstallation } from './fleet/installation.js'
import { PeerGate } from './fleet/peer-gate.js'
import { SigningKeys } from './fleet/signing-keys.js'
import { ModelReader } from './models/model-reader.js'
import { ModelResolver } from './models/model-resolver.js'
import { ModelService } from './models/model-service.js'
import { ModelStore } from './models/model-store.js'
import { Metrics } from './observability/metrics.js'
import { MetricsServer } from './observability/metrics-server.js'
import { startTelemetry } from './observability/telemetry.js'
import { ProviderReader } from './providers/provider-reader.js'
import { ProviderResolver } from './providers/provider-resolver.js'
import { ProviderService } from './providers/provider-service.js'
import { ProviderStore } from './providers/provider-store.js'
import { ProviderTester } from './providers/provider-tester.js'
import { resolverClasses } from './resolvers.js'
import { RouteReader } from './routes/route-reader.js'
import { RouteResolver, TargetResolver } from './routes/route-resolver.js'
import { RouteService } from './routes/route-service.js'
import { RouteStore } from './routes/route-store.js'
import type { Settings } from './settings.js'
import { IntentReader } from './snapshots/load-intent.js'
import { Reconciler } from './snapshots/reconciler.js'
import { SectionFailureStore } from './snapshots/section-failure-store.js'
import { SnapshotStore } from './snapshots/snapshot-store.js'
import { SnapshotSweeper } from './snapshots/snapshot-sweeper.js'
import { ApiKeyResolver } from './tenancy/api-key-resolver.js'
import { ApiKeyService } from './tenancy/api-key-service.js'
import { ApiKeyStore } from './tenancy/api-key-store.js'
import { EnvironmentResolver } from './tenancy/environment-resolver.js'
import { EnvironmentService } from './tenancy/environment-service.js'
import { EnvironmentStore } from './tenancy/environment-store.js'
import type { Bell } from './tenancy/intent-revision.js'
import { MemberResolver } from './tenancy/member-resolver.js'
import { MemberService } from './tenancy/member-service.js'
import { MemberStore } from './tenancy/member-store.js'
import { StandingReader } from './tenancy/standing-reader.js'
import { TeamResolver } from './tenancy/team-resolver.js'
import { TeamService } from './tenancy/team-service.js'
import { TeamStore } from './tenancy/team-store.js'
import { TenantResolver } from './tenancy/tenant-resolver.js'
import { TenantService } from './tenancy/tenant-service.js'
import { TenantStore } from './tenancy/tenant-store.js'
import { UsageReader } from './usage/usage-reader.js'
import { UsageResolver } from './usage/usage-resolver.js'
import { UsageService } from './usage/usage-service.js'

export interface ControlPlaneOptions {
  readonly clock: Clock
  readonly log: Log
}

/** Where it listens, as bound: URLs for HTTP, `host:port` for gRPC. */
export interface ControlPlaneAddresses {
  readonly http: string
  readonly metrics: string
  readonly fleet: string
  readonly enrol: string
}

/** Something that was started, and how it ends; ended in the reverse order of starting. */
interface Started {
  readonly name: string
  readonly drain?: ((deadlineMs: number) => Promise<void>) | undefined
  readonly stop: () => Promise<void>
}

/**
 * The composition root: every `new` of the control plane, in the order in which things need each other, stopped in
 * reverse. `main.ts` runs it in a process, tests run this very class.
 */
export class ControlPlane {
  readonly #settings: Settings
  readonly #clock: Clock
  readonly #log: Log
  readonly #started: Started[] = []
  #addresses: ControlPlaneAddresses | null = null

  constructor(settings: Settings, options: ControlPlaneOptions) {
    this.#settings = settings
    this.#clock = options.clock
    this.#log = options.log
  }

  /** Known once `start` has resolved. */
  get addresses(): ControlPlaneAddresses {
    return must(this.#addresses, 'the control plane has started')
  }

  /** Applies migrations, then serves. What was started before a failure is stopped again. */
  async start(): Promise<void> {
    try {
      await this.#start()
    } catch (fault) {
      await this.stop()
      throw fault
    }
  }

  /** Unready at once, requests under way finish within the deadline, then everything stops. */
  async drain(deadlineMs = this.#settings.drainTimeoutMs): Promise<void> {
    const endUs = this.#clock.monotonicUs() + deadlineMs * 1_000
    for (const { name, drain } of [...this.#started].reverse()) {
      const leftMs = Math.max(0, (endUs - this.#clock.monotonicUs()) / 1_000)
      await drain?.(leftMs).catch((fault: unknown) => this.#log.warn({ service: name, fault }, 'did not drain cleanly'))
    }
    await this.stop()
  }

  async stop(): Promise<void> {
    for (let last = this.#started.pop(); last !== undefined; last = this.#started.pop()) {
      const { name, stop } = last
      await stop().catch((fault: unknown) => this.#log.warn({ service: name, fault }, 'did not stop cleanly'))
    }
  }

  async #start(): Promise<void> {
    const settings = this.#settings
    const clock = this.#clock
    const log = this.#log
    const keyRing = KeyRing.parse(settings.wrapKeys)

    // — machinery —
    if (settings.otlpEndpoint !== null) this.#own('telemetry', await startTelemetry(settings.otlpEndpoint, log))
    const metrics = new Metrics()
    await applyMigrations({ url: settings.databaseUrl, waitMs: settings.databaseWaitMs, clock, log })
    const database = new Database({
      url: settings.databaseUrl,
      poolMax: settings.databasePoolMax,
      sqlPoolMax: settings.databaseSqlPoolMax,
      clock,
    })
    this.#own('database', { stop: () => database.close() })

    // — delivery: made before intent, which rings its bell —
    const authority = await openInstallation({ database, keyRing, clock })
    const snapshotStore = new SnapshotStore(database)
    const reconciler = new Reconciler({
      intent: new IntentReader(database),
      store: snapshotStore,
      failures: new SectionFailureStore(database),
      signer: new SigningKeys({ database, keyRing, clock }),
      pollMs: settings.reconcilerPollMs,
      ...{ clock, log },
    })
    await this.#run(reconciler)
    await this.#run(new SnapshotSweeper({ store: snapshotStore, clock, log }))
    const gate = new PeerGate({ database, installationId: authority.installationId, clock, log })
    await this.#run(gate)
    const bell: Bell = {
      ring: () => {
        reconciler.ring()
        gate.ring()
      },
    }

    // — audit —
    const audit = new AuditStore()
    const auditReader = new AuditReader(database)
    const auditFeed = new AuditFeed({ reader: auditReader, clock, log, pollMs: settings.auditPollMs })
    await this.#run(auditFeed)

    // — intent: tenancy —
    const tenantStore = new TenantStore(database)
    const environmentStore = new EnvironmentStore(database)
    const teamStore = new TeamStore(database)
    const apiKeyStore = new ApiKeyStore(database)
    const shared = { database, audit, clock, bell }
    const tenants = new TenantService({
      ...{ ...shared, tenants: tenantStore, environments: environmentStore, apiKeys: apiKeyStore },
    })
    const environments = new EnvironmentService({
      ...{ ...shared, tenants: tenantStore, environments: environmentStore, apiKeys: apiKeyStore },
    })
    const teams = new TeamService({ ...shared, tenants: tenantStore, teams: teamStore })
    const members = new MemberService({ ...shared, tenants: tenantStore, members: new MemberStore(database) })

    // — intent: providers, models, routes —
    const providerReader = new ProviderReader(database)
    const modelReader = new ModelReader(database)
    const routeReader = new RouteReader(database)
    const tester = new ProviderTester({ clock, privateAddresses: settings.providerPrivateAddresses })
    const providers = new ProviderService({
      ...{ ...shared, providers: new ProviderStore(database), reader: providerReader, keyRing, tester },
    })
    const models = new ModelService({ ...shared, models: new ModelStore(database), reader: modelReader })
    const routes = new RouteService({
      ...{ ...shared, routes: new RouteStore(database), reader: routeReader },
      ...{ providers: providerReader, models: modelReader },
    })
    const apiKeys = new ApiKeyService({
      ...{ ...shared, environments: environmentStore, teams: teamStore, apiKeys: apiKeyStore },
      unknownRoutes: (environmentId, names) => routeReader.unknownNames(environmentId, names),
    })

    // — the front door —
    const failures = metrics.counter({
      name: 'authentication_failures_total',
      help: 'Requests whose token was refused, by reason.',
      labels: ['reason'],
    })
    const standing = new StandingReader(database)
    const authentication = new Authenticator({
      adminToken: settings.adminToken,
      hs256Secret: settings.jwtHs256Secret,
      jwksUrl: settings.jwtJwksUrl,
      jwksCooldownMs: settings.jwtJwksCooldownMs,
      jwksTimeoutMs: 5_000,
      jwksAgeMsMax: 600_000,
      issuer: settings.jwtIssuer,
      audience: settings.jwtAudience,
      clockSkewSeconds: settings.jwtClockSkewSeconds,
      tenantClaim: settings.jwtTenantClaim,
      rolesClaim: settings.jwtRolesClaim,
      standing: (tenant, subject) => standing.find(tenant, subject),
      clock,
      onFailure: (reason) => failures.inc({ reason }),
    })
    const resolvers = new ResolverInstances([
      new TenantResolver(tenants),
      new EnvironmentResolver(environments, tenants),
      new TeamResolver(teams),
      new MemberResolver(members),
      new ApiKeyResolver({ apiKeys, environments, teams, clock }),
      new ProviderResolver(providers),
      new ModelResolver(models),
      new RouteResolver(routes, environments),
      new TargetResolver(providers, models),
      new UsageResolver(new UsageService(new UsageReader(database)), environments, providers),
      new AuditResolver(new AuditService(auditReader, auditFeed)),
    ])
    for (const resolverClass of resolverClasses) resolvers.get(resolverClass)

    const grpc = new GrpcServer({
      host: settings.grpcHost,
      fleetPort: settings.fleetPort,
      enrolPort: settings.enrolPort,
      names: settings.grpcNames,
      services: [],
      ...{ authority, gate, clock, log },
    })
    await this.#run(grpc)
    const metricsServer = new MetricsServer({ metrics, host: settings.metricsHost, port: settings.metricsPort })
    await this.#run(metricsServer)
    const api = new ApiServer({
      host: settings.httpHost,
      port: settings.httpPort,
      tls: tlsOf(settings),
      schema: await buildGraphSchema(resolverClasses, resolvers),
      resolvers,
      authentication,
      limits: {
        bodyBytesMax: settings.graphBodyBytesMax,
        tokensMax: settings.graphTokensMax,
        depthMax: settings.graphDepthMax,
        aliasesMax: settings.graphAliasesMax,
        complexityMax: settings.graphComplexityMax,
      },
      introspection: settings.introspection,
      explorer: settings.explorer,
      corsOrigins: settings.corsOrigins,
      requestTimeoutMs: settings.requestTimeoutMs,
      socketsMax: settings.socketsMax,
      subscriptionsPerSocketMax: settings.subscriptionsPerSocketMax,
      recheckMs: settings.recheckMs,
      readiness: async () => ({ database: await answers(database) }),
      ...{ metrics, clock, log },
    })
    await this.#run(api)
    this.#addresses = {
      http: api.url,
      metrics: metricsServer.address,
      fleet: `${settings.grpcHost}:${grpc.addresses.fleet}`,
      enrol: `${settings.grpcHost}:${grpc.addresses.enrol}`,
    }
  }

  async #run(service: Service): Promise<void> {
    // Owned first: what failed half way is stopped too.
    this.#own(service.name, {
      drain: service.drain === undefined ? undefined : (deadlineMs) => service.drain?.(deadlineMs) ?? Promise.resolve(),
      stop: () => service.stop(),
    })
    await service.run()
  }

  #own(name: string, end: Omit<Started, 'name'>): void {
    this.#started.push({ name, drain: end.drain, stop: () => end.stop() })
  }
}

async function answers(database: Database): Promise<boolean> {
  try {
    await database.sql.query('SELECT 1')
    return true
  } catch {
    return false
  }
}

function tlsOf({ tlsCertFile, tlsKeyFile }: Settings): { certificate: string; key: string } | null {
  if (tlsCertFile === null || tlsKeyFile === null) return null
  return { certificate: readFileSync(tlsCertFile, 'utf8'), key: readFileSync(tlsKeyFile, 'utf8') }
}
