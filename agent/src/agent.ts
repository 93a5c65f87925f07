import fs from 'node:fs/promises'
import type { Clock } from '../../proto/std/clock.js'
import { randomUnit } from '../../proto/std/ids.js'
import { pauseEvery } from '../../proto/std/pause.js'
import { throwRefusal } from '../../proto/std/refusal.js'
import type { Log, Service } from '../../proto/std/service.js'
import { SnapshotApplier } from './config/apply-snapshot.js'
import { ConfigClient } from './config/config-client.js'
import { CredentialVault } from './config/credential-vault.js'
import { TablesHolder } from './config/decision-tables.js'
import { Identity } from './config/identity.js'
import { LastKnownGood } from './config/last-known-good.js'
import { Quarantine } from './config/quarantine.js'
import { StateFolder } from './config/state-folder.js'
import { AccessTokens } from './providers/access-tokens.js'
import { Dialects } from './providers/dialects.js'
import { TokenClient } from './providers/token-client.js'
import { ThreadTokenCounter } from './request/count-tokens.js'
import { createRequestHandler } from './request/handle-request.js'
import { Upstreams } from './request/upstreams.js'
import type { Health } from './server/health.js'
import { HttpServer } from './server/http-server.js'
import { OpsServer } from './server/ops-server.js'
import type { AgentSettings } from './settings.js'
import { AgentMetrics } from './telemetry/metrics.js'
import { RequestTelemetry } from './telemetry/request-telemetry.js'
import { Meter } from './usage/meter.js'
import { Spool } from './usage/spool.js'
import { UsageReporter } from './usage/usage-reporter.js'

/** Also what content is quarantined under: raise it with every release. */
export const agentVersion = '0.1.0'

export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * The composition root: every `new` of the agent, in order of start and stopped in reverse. Tests start this very class.
 *
 * The order has reasons. The operators' door first, so that an agent that waits for its first enrolment can be asked how it
 * is. Then the folder (one process owns it), identity, spool and last-known-good, and only then the door for clients: the
 * first request already meets tables, credentials and a place to be written down. The control plane comes last, because
 * nothing before it needs it.
 */
export class Agent {
  readonly #settings: AgentSettings
  readonly #clock: Clock
  readonly #log: Log
  readonly #stopping = new AbortController()
  /** In order of start. */
  readonly #running: { readonly name: string; stop(): Promise<void> }[] = []
  readonly #health = new AgentHealth()
  #http: HttpServer | null = null
  #ops: OpsServer | null = null
  #spool: Spool | null = null
  #reporter: UsageReporter | null = null
  #stopped: Promise<void> | null = null

  constructor(settings: AgentSettings, options: { clock: Clock; log: Log }) {
    this.#settings = settings
    this.#clock = options.clock
    this.#log = options.log
  }

  /** Null until the door in question listens. */
  get addresses(): { readonly http: Address | null; readonly metrics: Address | null } {
    return { http: this.#http?.address ?? null, metrics: this.#ops?.address ?? null }
  }

  /**
   * Returns when clients are served, or would be if there were configuration: `/readyz` says. Refuses (RefusalError) with
   * what to do; what was started until then is stopped by `stop`.
   */
  async start(): Promise<void> {
    const settings = this.#settings
    const clock = this.#clock
    const log = this.#log
    const { signal } = this.#stopping

    const tls = await readTls(settings)
    const metrics = new AgentMetrics()
    this.#ops = new OpsServer({
      host: settings.metricsHost,
      port: settings.metricsPort,
      metrics,
      health: this.#health,
    })
    await this.#run(this.#ops)

    const folder = await StateFolder.open(settings.dataDir, settings.stateKey)
    this.#running.push({ name: 'state-folder', stop: () => folder.close() })
    const identity = await Identity.open(
      {
        folder,
        enrolAddress: settings.enrol,
        joinToken: settings.joinToken,
        fleetAddress: settings.controlPlane,
        agentName: settings.agentName,
        agentVersion,
        reconnectMinMs: settings.reconnectMinMs,
        reconnectMaxMs: settings.reconnectMaxMs,
        enrolTimeoutMs,
        clock,
        random: randomUnit,
        log: log.child({ service: 'identity' }),
      },
      signal,
    )

    const spool = new Spool({
      directory: folder.at('spool'),
      clock,
      log,
      usageBytesMax: settings.spoolBytesMax,
      spanBytesMax: settings.spoolSpanBytesMax,
      segmentBytes: settings.spoolSegmentBytes,
      gatherWrites: true,
      retainMs: settings.spoolRetainMs,
    })
    this.#spool = spool
    await this.#run(spool)
    const meter = new Meter(spool, log)

    const tables = new TablesHolder()
    const vault = new CredentialVault({
      folder,
      recipient: identity,
      environment: settings.credentialEnvironment,
      folders: settings.credentialFolders,
      ambient: settings.ambientCredentials,
      filePollMs: credentialFilePollMs,
      clock,
      log: log.child({ service: 'credential-vault' }),
    })
    await this.#run(vault)
    const quarantine = new Quarantine(folder, agentVersion)
    await quarantine.load()
    const limits = { contentBytesMax: settings.snapshotBytesMax, resourcesMax: settings.resourcesMax }
    const applier = new SnapshotApplier({
      tables,
      store: new LastKnownGood(folder, pauseEvery(sliceMs, clock)),
      quarantine,
      trust: identity,
      limits,
      pause: pauseEvery(sliceMs, clock),
      log: log.child({ service: 'apply-snapshot' }),
      onEffect: ({ compiled }) => {
        const providers = [...compiled.sections.values()].flatMap((section) => [...section.providers.values()])
        void vault.retain(providers)
      },
    })
    this.#running.push({ name: 'apply-snapshot', stop: () => applier.stop() })
    await applier.loadLastKnownGood()

    const upstreams = new Upstreams(clock)
    this.#running.push({ name: 'upstreams', stop: () => upstreams.stop() })
    const tokenClient = new TokenClient()
    this.#running.push({ name: 'token-client', stop: () => tokenClient.stop() })
    const { ambient } = settings
    const dialects = new Dialects({ clock, tokens: new AccessTokens(clock), client: tokenClient, ambient })
    const requestLog = log.child({ service: 'request' })
    const telemetry = new RequestTelemetry({ metrics, log: requestLog, clock, logRequests: settings.logRequests })
    await this.#run(telemetry)
    const counter = new ThreadTokenCounter({ clock, log })
    this.#running.push({ name: 'token-counter', stop: () => counter.stop() })
    const handler = createRequestHandler({
      tables,
      vault,
      meter,
      upstreams,
      dialects,
      limits: { answerBytesMax: settings.answerBytesMax, clientStallMs: settings.clientStallMs },
      clock,
      log: requestLog,
      metrics,
      telemetry,
      counter,
    })
    const http = new HttpServer({
      host: settings.host,
      port: settings.port,
      tls,
      limits: settings,
      handler,
      health: this.#health,
      clock,
      log: log.child({ service: 'http-server' }),
      metrics,
    })
    this.#http = http
    await this.#run(http)
    this.#health.watch({ tables, meter })

    const channel = {
      messageBytesMax: settings.snapshotBytesMax * 2,
      keepaliveIntervalMs: settings.keepaliveIntervalMs,
      keepaliveTimeoutMs: settings.keepaliveTimeoutMs,
    }
    const configClient = new ConfigClient({
      identity,
      applier,
      vault,
      quarantine,
      agentVersion,
      bootEpoch: spool.stats().bootEpoch,
      limits,
      channel,
      statusIntervalMs: settings.statusIntervalMs,
      reconnectMinMs: settings.reconnectMinMs,
      reconnectMaxMs: settings.reconnectMaxMs,
      connectTimeoutMs,
      statusFacts: () => {
        const { usageUnstoredBytes, usageBytesMax, usageWaitingCount } = spool.stats()
        return {
          spoolBytes: usageUnstoredBytes,
          spoolBytesMax: usageBytesMax,
          spoolRecordCount: usageWaitingCount,
          inFlightCount: http.inFlightCount,
        }
      },
      clock,
      random: randomUnit,
      log,
    })
    await this.#run(configClient)
    this.#reporter = new UsageReporter({
      identity,
      spool,
      agentVersion,
      clock,
      random: randomUnit,
      log,
      reconnectMinMs: settings.reconnectMinMs,
      reconnectMaxMs: settings.reconnectMaxMs,
    })
    await this.#run(this.#reporter)

    metrics.watch({
      inFlight: () => http.inFlightCount,
      connections: () => http.connectionCount,
      upstreamConnections: () => upstreams.connectionCount,
      upstreamQueued: () => upstreams.queuedCount,
    })
    metrics.gauge('control_plane_connected', '1 while the configuration stream stands.', () =>
      configClient.connected ? 1 : 0,
    )
    metrics.gauge('applied_generation', 'Generation of the snapshot in effect; 0 when there is none.', () =>
      tables.current === null ? 0 : tables.current.generation,
    )
    metrics.gauge('api_keys', 'API keys in effect.', () => tables.current?.keys.size ?? 0)
    metrics.gauge('certificate_not_after_seconds', 'When the certificate in use lapses, seconds since 1970.', () =>
      Math.floor(identity.notAfterMs / 1000),
    )
    metrics.gauge(
      'spool_unstored_records',
      'Usage records that the control plane has not stored yet.',
      () => spool.stats().usageWaitingCount,
    )
    metrics.gauge(
      'spool_unstored_bytes',
      'Bytes of usage that the control plane has not stored yet.',
      () => spool.stats().usageUnstoredBytes,
    )
    log.info({ ...this.addresses, agentId: identity.agentId, ready: this.#health.unreadyReason() === null }, 'agent up')
  }

  /** Unready, refuse new requests, let running ones end until their deadline, deliver what can be delivered. */
  async drain(): Promise<void> {
    this.#health.draining = true
    await this.#http?.drain(this.#settings.drainTimeoutMs)
    await this.#spool?.flush()
    await this.#reporter?.drain(deliverMs)
  }

  /** Ends everything at once, in reverse order of start. May be called at any time, also twice. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopAll()
    return this.#stopped
  }

  async #stopAll(): Promise<void> {
    this.#health.draining = true
    this.#stopping.abort(new Error('the agent is stopping'))
    for (let service = this.#running.pop(); service; service = this.#running.pop()) {
      try {
        await service.stop()
      } catch (fault) {
        this.#log.warn({ service: service.name, fault: String(fault) }, 'a service did not stop cleanly')
      }
    }
  }

  async #run(service: Service): Promise<void> {
    // A stop while starting: what is not up yet stays down.
    this.#stopping.signal.throwIfAborted()
    this.#running.push(service)
    await service.run()
  }
}

/** Longest that draining waits for the control plane to take the last records; what is left stays in the spool. */
const deliverMs = 3_000
const enrolTimeoutMs = 10_000
const connectTimeoutMs = 10_000
const credentialFilePollMs = 2_000
/** Of configuration work between two turns of the event loop. */
const sliceMs = 2

/** Why requests would not be served right now. */
class AgentHealth implements Health {
  draining = false
  #sources: { tables: TablesHolder; meter: Meter } | null = null

  watch(sources: { tables: TablesHolder; meter: Meter }): void {
    this.#sources = sources
  }

  unreadyReason(): string | null {
    if (this.draining) return 'draining'
    if (this.#sources === null) return 'starting'
    if (this.#sources.tables.current === null) return 'no_configuration'
    return this.#sources.meter.accepting ? null : 'usage_spool_full'
  }
}

async function readTls(settings: AgentSettings): Promise<{ cert: string; key: string } | null> {
  const { tlsCertFile, tlsKeyFile } = settings
  if (tlsCertFile === null || tlsKeyFile === null) return null
  try {
    return { cert: await fs.readFile(tlsCertFile, 'utf8'), key: await fs.readFile(tlsKeyFile, 'utf8') }
  } catch (fault) {
    return throwRefusal(
      'tls_files_unreadable',
      `SWITCHYARD_AGENT_TLS_CERT_FILE or SWITCHYARD_AGENT_TLS_KEY_FILE: ${(fault as Error).message}`,
    )
  }
}
