import { readFileSync } from 'node:fs'
import { must } from '../../proto/std/assert.js'
import type { Clock } from '../../proto/std/clock.js'
import { randomUnit } from '../../proto/std/ids.js'
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
import { CachingReader } from './caching/caching-reader.js'
import { CachingResolver, RouteCacheResolver } from './caching/caching-resolver.js'
import { CachingService } from './caching/caching-service.js'
import { CachingStore } from './caching/caching-store.js'
import { SharedAnswerService } from './caching/shared-answer-service.js'
import { SharedAnswerStore } from './caching/shared-answer-store.js'
import { SharedAnswerSweeper } from './caching/shared-answer-sweeper.js'
import { applyMigrations } from './database/apply-migrations.js'
import { Database } from './database/database.js'
import { AgentStatusStore } from './fleet/agent-status-store.js'
import type { CertificateAuthority } from './fleet/certificate-authority.js'
import { ConfigDelivery } from './fleet/config-delivery.js'
import { DeliveryReader } from './fleet/delivery-reader.js'
import { DeliveryResolver } from './fleet/delivery-resolver.js'
import { DeliveryService } from './fleet/delivery-service.js'
import { Enrolment } from './fleet/enrolment.js'
import { Envelopes } from './fleet/envelopes.js'
import { FleetFactsWatcher } from './fleet/fleet-facts.js'
import { FleetReader } from './fleet/fleet-reader.js'
import { AgentResolver, AgentTargetResolver, FleetResolver } from './fleet/fleet-resolver.js'
import { FleetService } from './fleet/fleet-service.js'
import { loadGrpcContract } from './fleet/grpc-contract.js'
import { type GrpcRegistration, GrpcServer } from './fleet/grpc-server.js'
import { openInstallation } from './fleet/installation.js'
import { PeerGate } from './fleet/peer-gate.js'
import { QuarantineStore } from './fleet/quarantine-store.js'
import { SigningKeys } from './fleet/signing-keys.js'
import { JobQueues } from './jobs/job-queues.js'
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
import { ExplanationResolver } from './routes/explanation-resolver.js'
import { ExplanationService } from './routes/explanation-service.js'
import { RouteReader } from './routes/route-reader.js'
import { RouteResolver, TargetResolver } from './routes/route-resolver.js'
import { RouteService } from './routes/route-service.js'
import { RouteStore } from './routes/route-store.js'
import { RoutingTables } from './routes/routing-tables.js'
import { SavingResolver } from './routes/saving-resolver.js'
import { SavingService } from './routes/saving-service.js'
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
import { SpanStore } from './traces/span-store.js'
import { BatchService } from './usage/batch-service.js'
import { LaneStore } from './usage/lane-store.js'
import { PlacementReader } from './usage/placement-reader.js'
import { RollupStore } from './usage/rollup-store.js'
import { RollupWorker } from './usage/rollup-worker.js'
import { TargetUsageReader } from './usage/target-usage-reader.js'
import { UsageIntake } from './usage/usage-intake.js'
import { UsageReader } from './usage/usage-reader.js'
import { UsageResolver } from './usage/usage-resolver.js'
import { UsageService } from './usage/usage-service.js'
import { UsageStore } from './usage/usage-store.js'
import { type UsageAlarm, UsageWorker } from './usage/usage-worker.js'
import { WatermarkReader } from './usage/watermark-reader.js'

export interface ControlPlaneOptions {
  readonly clock: Clock
  readonly log: Log
}

/** Where it listens, as bound: a URL for GraphQL, `host:port` for the others. */
export interface ControlPlaneAddresses {
  readonly http: string
  readonly metrics: string
  readonly fleet: string
  readonly enrol: string
}

/** Something that was started, and how it ends. */
interface Started {
  readonly name: string
  readonly drain?: ((deadlineMs: number) => Promise<void>) | undefined
  readonly stop: () => Promise<void>
}

/** What every part is given. */
interface Machinery {
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  readonly database: Database
  readonly keyRing: KeyRing
  readonly audit: AuditStore
}

/** What delivery gives to the rest. */
interface Delivery {
  readonly authority: CertificateAuthority
  readonly signingKeys: SigningKeys
  readonly gate: PeerGate
  readonly registrations: readonly GrpcRegistration[]
  /** Rung after every commit that changes what agents should do. */
  readonly bell: Bell
  /** Rung after a commit that concerns live streams. */
  readonly fleetBell: Bell
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

  /** Unready at once, work under way finishes within the deadline, then everything stops. */
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
    const machinery = await this.#startMachinery()
    const delivery = await this.#startDelivery(machinery)
    const reports = await this.#startEvidence(machinery)
    const resolvers = await this.#startIntent(machinery, delivery)
    const { fleet, enrol } = await this.#openGrpc(machinery, delivery, reports)
    const metricsServer = new MetricsServer({
      ...{ metrics: machinery.metrics, host: this.#settings.metricsHost, port: this.#settings.metricsPort },
    })
    await this.#run(metricsServer)
    const http = await this.#openApi(machinery, resolvers)
    this.#addresses = { http, metrics: metricsServer.address, fleet, enrol }
  }

  async #startMachinery(): Promise<Machinery> {
    const settings = this.#settings
    const [clock, log] = [this.#clock, this.#log]
    const keyRing = KeyRing.parse(settings.wrapKeys)
    if (settings.otlpEndpoint !== null) this.#own('telemetry', await startTelemetry(settings.otlpEndpoint, log))
    await applyMigrations({ url: settings.databaseUrl, waitMs: settings.databaseWaitMs, clock, log })
    const database = new Database({
      url: settings.databaseUrl,
      poolMax: settings.databasePoolMax,
      sqlPoolMax: settings.databaseSqlPoolMax,
      answersPoolMax: settings.databaseAnswersPoolMax,
      clock,
    })
    this.#own('database', { stop: () => database.close() })
    return { clock, log, metrics: new Metrics(), database, keyRing, audit: new AuditStore() }
  }

  /** Intent becomes snapshots, snapshots become streams. */
  async #startDelivery({ clock, log, metrics, database, keyRing, audit }: Machinery): Promise<Delivery> {
    const authority = await openInstallation({ database, keyRing, clock })
    const signingKeys = new SigningKeys({ database, keyRing })
    const store = new SnapshotStore(database)
    const reconciler = new Reconciler({
      intent: new IntentReader(database),
      store,
      failures: new SectionFailureStore(database),
      signer: signingKeys,
      pollMs: this.#settings.reconcilerPollMs,
      ...{ clock, log },
    })
    await this.#run(reconciler)
    await this.#run(new SnapshotSweeper({ store, clock, log }))

    const quarantines = new QuarantineStore(database)
    const statuses = new AgentStatusStore(database)
    const facts = new FleetFactsWatcher({ signingKeys, quarantines, statuses, clock, log })
    await this.#run(facts)
    const gate = new PeerGate({ database, installationId: authority.installationId, clock, log })
    await this.#run(gate)
    const contract = loadGrpcContract()
    const envelopes = new Envelopes({ database, keyRing, log })
    const delivery = new ConfigDelivery({
      ...{ contract, reconciler, store, facts, statuses, quarantines, envelopes, authority, database, clock, log },
    })
    metrics.gauge({ name: 'config_streams', help: 'Agents connected to this replica.' }, (gauge) =>
      gauge.set(delivery.streamCount),
    )
    const enrolment = new Enrolment({ database, authority, signingKeys, audit, clock, log })
    const answers = await this.#startAnswers({ clock, log, metrics, database })
    return {
      ...{ authority, signingKeys, gate, bell: reconciler },
      registrations: [delivery.registration(), enrolment.registration(contract), answers.registration(contract)],
      fleetBell: { ring: () => [gate, facts].forEach((listener) => void listener.ring()) },
    }
  }

  /** What the agents of a cluster share. */
  async #startAnswers({
    clock,
    log,
    metrics,
    database,
  }: Pick<Machinery, 'clock' | 'log' | 'metrics' | 'database'>): Promise<SharedAnswerService> {
    const { region, answersClusterBytesMax: clusterBytesMax, databaseAnswersPoolMax } = this.#settings
    const store = new SharedAnswerStore(database)
    const fleet = new FleetReader({ database, clock })
    const service = new SharedAnswerService({
      ...{ store, region, clusterBytesMax, metrics, clock },
      regionOf: async (clusterId) => (await fleet.findCluster(clusterId))?.region ?? null,
      putsAtOnceMax: Math.floor(databaseAnswersPoolMax / 2),
    })
    const inTurn = service.inTurn.bind(service)
    await this.#run(new SharedAnswerSweeper({ store, inTurn, clusterBytesMax, clock, log }))
    return service
  }

  /** Reports become rows, rows become sums. */
  async #startEvidence({ clock, log, metrics, database }: Machinery): Promise<GrpcRegistration> {
    const { redisUrl, databaseUrl } = this.#settings
    const random = randomUnit
    const queues = new JobQueues({ redisUrl, databaseUrl, clock, log })
    await this.#run(queues)
    const intake = new UsageIntake({
      queues: { usage: queues.queue('usage'), spans: queues.queue('spans') },
      watermarks: new WatermarkReader(database),
      ...{ metrics, clock, random, log },
    })
    await this.#run(intake)
    const alarms = metrics.counter({
      name: 'usage_alarms_total',
      help: 'Reports that could not be taken as they were, by what was wrong.',
      labels: ['reason'],
    })
    const shared = {
      ...{ queues, clock, random, log },
      onStored: () => intake.wake(),
      onAlarm: ({ code, count }: UsageAlarm) => alarms.inc({ reason: code }, count),
    }
    const lanes = new LaneStore()
    const placement = new PlacementReader(database, clock)
    const usage = new BatchService({ database, sink: new UsageStore(), lanes, placement })
    const spans = new BatchService({ database, sink: new SpanStore(), lanes, placement })
    await this.#run(new UsageWorker({ ...shared, queue: 'usage', batches: usage }))
    await this.#run(new UsageWorker({ ...shared, queue: 'spans', batches: spans }))
    await this.#run(new RollupWorker({ database, rollups: new RollupStore(), metrics, clock, log }))
    return intake.registration()
  }

  /** Services and their resolvers: everything that the graph can do. */
  async #startIntent(machinery: Machinery, delivery: Delivery): Promise<ResolverInstances> {
    const { clock, log, database, keyRing, audit } = machinery
    const shared = { database, audit, clock, bell: delivery.bell }

    const auditReader = new AuditReader(database)
    const auditFeed = new AuditFeed({ reader: auditReader, clock, log, pollMs: this.#settings.auditPollMs })
    await this.#run(auditFeed)

    const tenantStore = new TenantStore(database)
    const environmentStore = new EnvironmentStore(database)
    const teamStore = new TeamStore(database)
    const apiKeyStore = new ApiKeyStore(database)
    const stores = { tenants: tenantStore, environments: environmentStore, apiKeys: apiKeyStore }
    const tenants = new TenantService({ ...shared, ...stores })
    const environments = new EnvironmentService({ ...shared, ...stores })
    const teams = new TeamService({ ...shared, tenants: tenantStore, teams: teamStore })
    const members = new MemberService({ ...shared, tenants: tenantStore, members: new MemberStore(database) })

    const providerReader = new ProviderReader(database)
    const modelReader = new ModelReader(database)
    const routeReader = new RouteReader(database)
    const providers = new ProviderService({
      ...{ ...shared, providers: new ProviderStore(database), reader: providerReader, keyRing },
      tester: new ProviderTester({ clock, privateAddresses: this.#settings.providerPrivateAddresses }),
    })
    const models = new ModelService({ ...shared, models: new ModelStore(database), reader: modelReader })
    const routes = new RouteService({
      ...{ ...shared, routes: new RouteStore(database), reader: routeReader },
      ...{ providers: providerReader, models: modelReader },
    })
    const caching = new CachingService({
      ...{ ...shared, caches: new CachingStore(database), reader: new CachingReader(database) },
      ...{ routes, environments: routeReader },
    })
    const apiKeys = new ApiKeyService({
      ...{ ...shared, environments: environmentStore, teams: teamStore, apiKeys: apiKeyStore },
      unknownRoutes: (environmentId, names) => routeReader.unknownNames(environmentId, names),
    })

    const tables = new RoutingTables(new IntentReader(database, clock))
    const findApiKey = apiKeys.find.bind(apiKeys)
    const explanations = new ExplanationService({ reader: routeReader, tables, findApiKey, clock })
    const usage = new TargetUsageReader(database)
    const savings = new SavingService({ routes, reader: routeReader, tables, usage, clock })

    const fleet = new FleetService({
      ...{ ...shared, reader: new FleetReader({ database, clock }), authority: delivery.authority },
      ...{ signingKeys: delivery.signingKeys, fleetBell: delivery.fleetBell },
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
      new ExplanationResolver(explanations),
      new SavingResolver(savings),
      new CachingResolver(caching),
      new RouteCacheResolver(caching),
      new UsageResolver(new UsageService(new UsageReader(database)), environments, providers),
      new FleetResolver(fleet),
      new AgentResolver(fleet),
      new AgentTargetResolver(providers),
      new DeliveryResolver(new DeliveryService(new DeliveryReader(database))),
      new AuditResolver(new AuditService(auditReader, auditFeed)),
    ])
    for (const resolverClass of resolverClasses) resolvers.get(resolverClass)
    return resolvers
  }

  async #openGrpc(
    { clock, log }: Machinery,
    { authority, gate, registrations }: Delivery,
    reports: GrpcRegistration,
  ): Promise<{ fleet: string; enrol: string }> {
    const { grpcHost: host, fleetPort, enrolPort, grpcNames: names } = this.#settings
    const services = [...registrations, reports]
    const grpc = new GrpcServer({ host, fleetPort, enrolPort, names, services, authority, gate, clock, log })
    await this.#run(grpc)
    const { fleet, enrol } = grpc.addresses
    return { fleet: `${host}:${fleet}`, enrol: `${host}:${enrol}` }
  }

  async #openApi({ clock, log, metrics, database }: Machinery, resolvers: ResolverInstances): Promise<string> {
    const settings = this.#settings
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
      jwksOutageMsMax: settings.jwtJwksOutageMsMax,
      onJwksOutage: ({ fault, fetchedAtMs }) =>
        log.warn(
          { fault: String(fault), fetchedAt: new Date(fetchedAtMs).toISOString() },
          'the published keys cannot be fetched; tokens are checked with those fetched last',
        ),
      issuer: settings.jwtIssuer,
      audience: settings.jwtAudience,
      clockSkewSeconds: settings.jwtClockSkewSeconds,
      tenantClaim: settings.jwtTenantClaim,
      rolesClaim: settings.jwtRolesClaim,
      standing: (tenant, subject) => standing.find(tenant, subject),
      clock,
      onFailure: (reason) => failures.inc({ reason }),
    })
    const api = new ApiServer({
      host: settings.httpHost,
      port: settings.httpPort,
      tls: tlsOf(settings),
      schema: await buildGraphSchema(resolverClasses, resolvers),
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
      ...{ resolvers, authentication, metrics, clock, log },
    })
    await this.#run(api)
    return api.url
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
