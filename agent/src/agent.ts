import fs from 'node:fs/promises'
import { must } from '../../proto/std/assert.js'
import type { Clock } from '../../proto/std/clock.js'
import { randomUnit } from '../../proto/std/ids.js'
import { pauseEvery } from '../../proto/std/pause.js'
import { throwRefusal } from '../../proto/std/refusal.js'
import type { Log, Service } from '../../proto/std/service.js'
import { ControlPlaneStore } from './cache/control-plane-store.js'
import { SnapshotApplier } from './config/apply-snapshot.js'
import { ConfigClient } from './config/config-client.js'
import { CredentialVault } from './config/credential-vault.js'
import { TablesHolder } from './config/decision-tables.js'
import { Identity } from './config/identity.js'
import { LastKnownGood } from './config/last-known-good.js'
import { Quarantine } from './config/quarantine.js'
import { StateFolder } from './config/state-folder.js'
import { agentWaitingBytes, HeapBound } from './heap.js'
import { newPrefixKey } from './replicas/replica-picker.js'
import { RequestWorker } from './request-worker.js'
import { OpsServer } from './server/ops-server.js'
import type { AgentSettings } from './settings.js'
import { Meter } from './usage/meter.js'
import { Spool } from './usage/spool.js'
import { UsageReporter } from './usage/usage-reporter.js'
import { AgentHealth } from './workers/agent-health.js'
import { AgentMetricsOfAll } from './workers/agent-metrics-of-all.js'
import { ClusterWorkers } from './workers/cluster-workers.js'
import type { LineOutput } from './workers/line-output.js'
import { WorkerPool } from './workers/worker-pool.js'
import { outliveWorkers, WorkerRegistry } from './workers/worker-registry.js'

/** Also what content is quarantined under: raise it with every release. */
export const agentVersion = '0.1.0'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface AgentOptions {
  readonly clock: Clock
  readonly log: Log
  /** Needed from two request workers on. */
  readonly workers?: {
    /** The main module, which serves requests instead of this where `isRequestWorker`. */
    readonly script: string
    readonly output: LineOutput
  }
}

/**
 * The composition root: every `new` of the agent but those between clients and upstreams (`RequestWorker`), in order of start
 * and stopped in reverse. Tests start this very class.
 *
 * The order has reasons. The operators' door first, so that an agent that waits for its first enrolment can be asked how it
 * is. Then the folder (one process owns it), identity, spool and last-known-good, and only then the door for clients: the
 * first request already meets tables, credentials and a place to be written down. The control plane comes last, because
 * nothing before it needs it.
 *
 * Requests are served by a `RequestWorker`: in this process, or, from two workers on, by one in each of as many
 * others, and then by none in this.
 */
export class Agent {
  readonly #settings: AgentSettings
  readonly #clock: Clock
  readonly #log: Log
  readonly #stopping = new AbortController()
  /** In order of start. */
  readonly #running: { readonly name: string; stop(): Promise<void> }[] = []
  readonly #health = new AgentHealth()
  readonly #options: AgentOptions
  #door: Door | null = null
  #ops: OpsServer | null = null
  #spool: Spool | null = null
  #reporter: UsageReporter | null = null
  #stopped: Promise<void> | null = null

  constructor(settings: AgentSettings, options: AgentOptions) {
    this.#settings = settings
    this.#options = options
    this.#clock = options.clock
    this.#log = options.log
  }

  /** Null until the door in question listens. */
  get addresses(): { readonly http: Address | null; readonly metrics: Address | null } {
    return { http: this.#door?.address ?? null, metrics: this.#ops?.address ?? null }
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

    const isAlone = settings.workers === 1
    const tls = await readTls(settings)
    const metrics = new AgentMetricsOfAll()
    this.#ops = new OpsServer({
      host: settings.metricsHost,
      port: settings.metricsPort,
      metrics,
      health: this.#health,
    })
    await this.#run(this.#ops)

    const folder = await StateFolder.open(settings.dataDir, settings.stateKey)
    this.#running.push({ name: 'state-folder', stop: () => folder.close() })
    await outliveWorkers(folder, clock, log)
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
      ownLanes: isAlone,
    })
    this.#spool = spool
    await this.#run(spool)

    const tables = new TablesHolder()
    // What follows is told to workers as soon as there are any.
    let pool: WorkerPool | null = null
    const vault = new CredentialVault({
      folder,
      recipient: identity,
      environment: settings.credentialEnvironment,
      folders: settings.credentialFolders,
      ambient: settings.ambientCredentials,
      filePollMs: credentialFilePollMs,
      onValue: (credentialId, version, value) => pool?.tellCredential(credentialId, version, value),
      clock,
      log: log.child({ service: 'credential-vault' }),
    })
    await this.#run(vault)
    const quarantine = new Quarantine(folder, agentVersion)
    await quarantine.load()
    const heap = new HeapBound(agentWaitingBytes)
    const limits = { contentBytesMax: settings.snapshotBytesMax, resourcesMax: settings.resourcesMax }
    const applier = new SnapshotApplier({
      tables,
      store: new LastKnownGood(folder, pauseEvery(sliceMs, clock)),
      quarantine,
      trust: identity,
      limits,
      pause: pauseEvery(sliceMs, clock),
      log: log.child({ service: 'apply-snapshot' }),
      onEffect: async (effect) => {
        heap.adapt()
        await pool?.publish(effect)
        // Only now is there no worker that would look for what is forgotten.
        const sections = [...effect.compiled.sections.values()]
        void vault.retain(sections.flatMap((section) => [...section.providers.values()]))
      },
    })
    this.#running.push({ name: 'apply-snapshot', stop: () => applier.stop() })
    await applier.loadLastKnownGood()

    if (isAlone) {
      const meter = new Meter(spool, log)
      const serving = {
        settings,
        tls,
        limits: settings,
        tables,
        vault,
        meter,
        peers: null,
        isFirst: true,
        clock,
        log,
      }
      const sharedStore = settings.cacheStore === 'control-plane' ? this.#controlPlaneStore(identity) : null
      const alone = new RequestWorker({ ...serving, metrics, health: this.#health, sharedStore })
      this.#door = alone
      await this.#run(alone)
    } else {
      const { joinToken: _, stateKey: __, credentialEnvironment: ___, variablesKeptBack, ...told } = settings
      const { script, output } = must(this.#options.workers, 'an agent with request workers knows how to start them')
      pool = new WorkerPool({
        ...{ count: settings.workers, settings: told, tls, spool, vault, clock, random: randomUnit, log },
        source: new ClusterWorkers({ script, environment: variablesKeptBack }),
        registry: new WorkerRegistry(folder),
        output: () => output.join(),
        onEnded: (life) => metrics.workerEnded(life),
        prefixKey: newPrefixKey(),
      })
      if (applier.effect !== null) await pool.publish(applier.effect)
      this.#door = pool
      await this.#run(pool)
      this.#health.watch({ tables, spool, workers: pool })
      metrics.watchWorkers(pool)
    }

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
          inFlightCount: this.#door?.inFlightCount ?? 0,
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
    await this.#door?.drain(this.#settings.drainTimeoutMs)
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

  #controlPlaneStore(identity: Identity): ControlPlaneStore {
    const { reconnectMinMs, reconnectMaxMs, keepaliveIntervalMs, keepaliveTimeoutMs } = this.#settings
    return new ControlPlaneStore({
      ...{ identity, clock: this.#clock, random: randomUnit, log: this.#log },
      ...{ reconnectMinMs, reconnectMaxMs, keepaliveIntervalMs, keepaliveTimeoutMs },
    })
  }

  async #run(service: Service): Promise<void> {
    // A stop while starting: what is not up yet stays down.
    this.#stopping.signal.throwIfAborted()
    this.#running.push(service)
    await service.run()
  }
}

/** Anything that clients come in by. */
interface Door extends Service {
  readonly address: Address | null
  readonly inFlightCount: number
  drain(deadlineMs: number): Promise<void>
}

/** Longest that draining waits for the control plane to take the last records; what is left stays in the spool. */
const deliverMs = 3_000
const enrolTimeoutMs = 10_000
const connectTimeoutMs = 10_000
const credentialFilePollMs = 2_000
/** Of configuration work between two turns of the event loop. */
const sliceMs = 2

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
