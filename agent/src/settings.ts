import {
  describeSettings,
  readSettings,
  SettingsError,
  type SettingsOf,
  setting,
} from '../../proto/std/settings-table.js'
import { describeUnknownVariables } from '../../proto/std/unknown-variables.js'
import { ambientIn } from './ambient-settings.js'
import type { AmbientSources } from './providers/ambient.js'
import { replicaDefaults } from './replicas/replica-picker.js'

/**
 * Every environment variable of the agent; nothing else in it reads the environment. Bounds stand beside their defaults,
 * and `checkRelations` holds what one row alone cannot say.
 */
const address = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/

export const settingsTable = {
  prefixIndexBytesMax: setting.integer('SWITCHYARD_AGENT_PREFIX_INDEX_BYTES_MAX', {
    fallback: replicaDefaults.indexBytesMax,
    min: 1024 * 1024,
    max: 4 * 1024 * 1024 * 1024,
    sentence: 'Memory for what replicas are believed to have cached, of each request worker.',
  }),
  replicaCacheTokens: setting.integer('SWITCHYARD_AGENT_REPLICA_CACHE_TOKENS', {
    fallback: replicaDefaults.cacheTokensAssumed,
    min: 1_000,
    max: 1_000_000_000,
    sentence: 'Tokens that a replica’s prefix cache is taken to hold where it does not say so itself.',
  }),
  host: setting.text('SWITCHYARD_AGENT_HOST', {
    fallback: '127.0.0.1',
    sentence: 'Interface that clients connect to; 0.0.0.0 for all.',
  }),
  port: setting.integer('SWITCHYARD_AGENT_PORT', {
    fallback: 7404,
    min: 0,
    max: 65_535,
    sentence: 'Port that clients connect to; 0 takes any free one.',
  }),
  metricsHost: setting.text('SWITCHYARD_AGENT_METRICS_HOST', {
    fallback: '127.0.0.1',
    sentence: 'Interface of /metrics, /healthz and /readyz.',
  }),
  metricsPort: setting.integer('SWITCHYARD_AGENT_METRICS_PORT', {
    fallback: 7405,
    min: 0,
    max: 65_535,
    sentence: 'Port of /metrics, /healthz and /readyz; 0 takes any free one.',
  }),
  workers: setting.integer('SWITCHYARD_WORKERS', {
    fallback: 1,
    min: 1,
    max: 64,
    sentence:
      'Request workers of this agent; from 2 on each is a process of its own, for as many cores. Limits of clients and keys hold for all together; caches are each one’s own.',
  }),
  controlPlane: setting.text<string>('SWITCHYARD_CONTROL_PLANE', {
    pattern: address,
    shape: 'host:port',
    sentence: 'The control plane’s fleet port: configuration and reports, over mutual TLS.',
  }),
  enrol: setting.text('SWITCHYARD_ENROL', {
    fallback: null,
    pattern: address,
    shape: 'host:port',
    sentence: 'The control plane’s enrolment port; needed only together with a join token.',
  }),
  joinToken: setting.text('SWITCHYARD_JOIN_TOKEN', {
    fallback: null,
    secret: true,
    pattern: /^sjt_[^.\s]{1,64}\.[A-Za-z0-9_-]{16,128}\.[A-Za-z0-9_-]{43}$/,
    shape: 'a join token sjt_….….…',
    sentence: 'One-time token of `createJoinToken`; used only while there is no valid certificate, ignored otherwise.',
  }),
  agentName: setting.text('SWITCHYARD_AGENT_NAME', {
    fallback: 'agent',
    pattern: /^[a-z0-9-]{1,63}$/,
    shape: '1 to 63 of a-z, 0-9 and -',
    sentence: 'Shown in the fleet. Not an identity: the certificate is.',
  }),
  dataDir: setting.text('SWITCHYARD_AGENT_DATA_DIR', {
    fallback: '.switchyard/agent',
    sentence: 'Folder of this agent alone: identity, last-known-good and spool. Keep it across restarts.',
  }),
  stateKey: setting.text('SWITCHYARD_AGENT_STATE_KEY', {
    fallback: null,
    secret: true,
    pattern: /^[A-Za-z0-9+/]{43}=$/,
    shape: '32 bytes in base64',
    sentence: 'Encrypts what the agent keeps on disk. When absent a key is made once and kept 0600 in the data folder.',
  }),
  tlsCertFile: setting.text('SWITCHYARD_AGENT_TLS_CERT_FILE', {
    fallback: null,
    sentence: 'PEM chain for the client door; set together with the key file. When absent the door speaks plain HTTP.',
  }),
  tlsKeyFile: setting.text('SWITCHYARD_AGENT_TLS_KEY_FILE', {
    fallback: null,
    sentence: 'PEM private key for the client door.',
  }),
  credentialVariables: setting.list('SWITCHYARD_AGENT_CREDENTIAL_VARIABLES', {
    pattern: /^[A-Za-z_][A-Za-z0-9_]{0,127}$/,
    shape: 'comma-separated variable names',
    sentence:
      'Environment variables that a credential reference `env:NAME` may name. Others are refused: who writes providers must not read this process.',
  }),
  ambientCredentials: setting.list('SWITCHYARD_AGENT_AMBIENT_CREDENTIALS', {
    pattern: /^(aws|azure|google)$/,
    shape: 'aws, azure, google',
    sentence:
      'Clouds whose identity of this machine a credential reference `ambient:…` may use. Others are refused: who writes providers must not act as this machine.',
  }),
  credentialFolders: setting.list('SWITCHYARD_AGENT_CREDENTIAL_FOLDERS', {
    pattern: /^\//,
    shape: 'comma-separated absolute folders',
    sentence: 'Folders inside which a credential reference `file:/path` may point. Others are refused.',
  }),
  connectionsMax: setting.integer('SWITCHYARD_AGENT_CONNECTIONS_MAX', {
    fallback: 4_096,
    min: 1,
    max: 1_000_000,
    sentence: 'Client connections open at once; beyond it new ones are closed.',
  }),
  inFlightMax: setting.integer('SWITCHYARD_AGENT_IN_FLIGHT_MAX', {
    fallback: 1_024,
    min: 1,
    max: 100_000,
    sentence: 'Requests running at once; beyond it 503 before the body is read.',
  }),
  bodyBytesMax: setting.integer('SWITCHYARD_AGENT_BODY_BYTES_MAX', {
    fallback: 16 * 1024 * 1024,
    min: 1_024,
    max: 256 * 1024 * 1024,
    sentence: 'Bytes of one request body; beyond it 413.',
  }),
  headerBytesMax: setting.integer('SWITCHYARD_AGENT_HEADER_BYTES_MAX', {
    fallback: 16 * 1024,
    min: 1_024,
    max: 256 * 1024,
    sentence: 'Bytes of one request head; beyond it 431.',
  }),
  requestTimeoutMs: setting.integer('SWITCHYARD_AGENT_REQUEST_TIMEOUT_MS', {
    fallback: 30_000,
    min: 100,
    max: 600_000,
    sentence: 'Milliseconds in which a client must have sent its whole request.',
  }),
  idleTimeoutMs: setting.integer('SWITCHYARD_AGENT_IDLE_TIMEOUT_MS', {
    fallback: 65_000,
    min: 100,
    max: 3_600_000,
    sentence: 'Milliseconds that a kept-alive client connection may be silent.',
  }),
  answerBytesMax: setting.integer('SWITCHYARD_AGENT_ANSWER_BYTES_MAX', {
    fallback: 64 * 1024 * 1024,
    min: 1_024,
    max: 1024 * 1024 * 1024,
    sentence: 'Bytes of one whole answer that are held until it is sent; a streamed answer is never held whole.',
  }),
  cacheBytesMax: setting.integer('SWITCHYARD_AGENT_CACHE_BYTES_MAX', {
    fallback: 32 * 1024 * 1024,
    min: 1024 * 1024,
    max: 64 * 1024 * 1024 * 1024,
    sentence: 'Bytes of answers that each request worker keeps to give again, by the policies of routes.',
  }),
  cacheAnswerBytesMax: setting.integer('SWITCHYARD_AGENT_CACHE_ANSWER_BYTES_MAX', {
    fallback: 256 * 1024,
    min: 1_024,
    max: 16 * 1024 * 1024,
    sentence: 'Bytes of one answer; a larger one is not kept.',
  }),
  cacheEntriesMax: setting.integer('SWITCHYARD_AGENT_CACHE_ENTRIES_MAX', {
    fallback: 50_000,
    min: 1,
    max: 10_000_000,
    sentence: 'Answers that each request worker keeps.',
  }),
  cacheVectorBytesMax: setting.integer('SWITCHYARD_AGENT_CACHE_VECTOR_BYTES_MAX', {
    fallback: 32 * 1024 * 1024,
    min: 64 * 1024,
    max: 64 * 1024 * 1024 * 1024,
    sentence: 'Bytes of vectors by which each request worker finds questions that mean the same.',
  }),
  cacheStore: setting.choice('SWITCHYARD_AGENT_CACHE_STORE', {
    fallback: 'redis',
    among: ['redis', 'control-plane'],
    sentence:
      'Where agents share answers, once there is a secret: in a Redis, or with the control plane, which has to be in the region of the cluster and keeps them by cluster.',
  }),
  cacheRedisUrl: setting.text('SWITCHYARD_AGENT_CACHE_REDIS_URL', {
    fallback: null,
    secret: true,
    pattern: /^rediss?:\/\//,
    shape: 'redis://… or rediss://…',
    sentence: 'A Redis or Valkey that agents share answers in, where a route permits it; set together with the secret.',
  }),
  cacheSecret: setting.text('SWITCHYARD_AGENT_CACHE_SECRET', {
    fallback: null,
    secret: true,
    pattern: /^[A-Za-z0-9+/]{43}=$/,
    shape: '32 bytes in base64',
    sentence: 'Encrypts and names shared answers; the same for every agent that shares.',
  }),
  clientStallMs: setting.integer('SWITCHYARD_AGENT_CLIENT_STALL_MS', {
    fallback: 60_000,
    min: 100,
    max: 3_600_000,
    sentence: 'Milliseconds that a client may take nothing of a stream before it is ended.',
  }),
  drainTimeoutMs: setting.integer('SWITCHYARD_AGENT_DRAIN_TIMEOUT_MS', {
    fallback: 30_000,
    min: 0,
    max: 3_600_000,
    sentence: 'Milliseconds after SIGTERM in which running streams may end by themselves.',
  }),
  snapshotBytesMax: setting.integer('SWITCHYARD_AGENT_SNAPSHOT_BYTES_MAX', {
    fallback: 128 * 1024 * 1024,
    min: 64 * 1024,
    max: 1024 * 1024 * 1024,
    sentence: 'Bytes of configuration that this agent takes; beyond it only revocations advance.',
  }),
  resourcesMax: setting.integer('SWITCHYARD_AGENT_RESOURCES_MAX', {
    fallback: 500_000,
    min: 100,
    max: 10_000_000,
    sentence: 'Resources of configuration that this agent takes; beyond it only revocations advance.',
  }),
  statusIntervalMs: setting.integer('SWITCHYARD_AGENT_STATUS_INTERVAL_MS', {
    fallback: 3_000,
    min: 100,
    max: 60_000,
    sentence: 'Milliseconds between two status messages to the control plane.',
  }),
  keepaliveIntervalMs: setting.integer('SWITCHYARD_AGENT_KEEPALIVE_INTERVAL_MS', {
    fallback: 10_000,
    min: 500,
    max: 600_000,
    sentence: 'Milliseconds of silence after which the connection to the control plane is probed.',
  }),
  keepaliveTimeoutMs: setting.integer('SWITCHYARD_AGENT_KEEPALIVE_TIMEOUT_MS', {
    fallback: 5_000,
    min: 100,
    max: 600_000,
    sentence: 'Milliseconds that a probe may stay unanswered before the connection is given up.',
  }),
  reconnectMinMs: setting.integer('SWITCHYARD_AGENT_RECONNECT_MIN_MS', {
    fallback: 250,
    min: 10,
    max: 60_000,
    sentence: 'First wait, in milliseconds, before a lost control plane is tried again; doubles with jitter.',
  }),
  reconnectMaxMs: setting.integer('SWITCHYARD_AGENT_RECONNECT_MAX_MS', {
    fallback: 15_000,
    min: 10,
    max: 600_000,
    sentence: 'Longest wait, in milliseconds, between two tries of the control plane.',
  }),
  spoolBytesMax: setting.integer('SWITCHYARD_AGENT_SPOOL_BYTES_MAX', {
    fallback: 4 * 1024 * 1024 * 1024,
    min: 1024 * 1024,
    max: 1024 * 1024 * 1024 * 1024,
    sentence: 'Bytes of unstored usage kept on disk; when full, new requests are refused with usage_spool_full.',
  }),
  spoolSpanBytesMax: setting.integer('SWITCHYARD_AGENT_SPOOL_SPAN_BYTES_MAX', {
    fallback: 256 * 1024 * 1024,
    min: 1024 * 1024,
    max: 1024 * 1024 * 1024 * 1024,
    sentence: 'Bytes of unstored spans kept on disk; when full, the oldest are dropped and counted.',
  }),
  spoolSegmentBytes: setting.integer('SWITCHYARD_AGENT_SPOOL_SEGMENT_BYTES', {
    fallback: 16 * 1024 * 1024,
    min: 64 * 1024,
    max: 1024 * 1024 * 1024,
    sentence: 'Bytes after which a spool file is closed and the next begun.',
  }),
  spoolRetainMs: setting.integer('SWITCHYARD_AGENT_SPOOL_RETAIN_MS', {
    fallback: 24 * 3_600_000,
    min: 0,
    max: 30 * 24 * 3_600_000,
    sentence: 'Milliseconds that stored spool files are kept, for reading again after a database restore.',
  }),
  logRequests: setting.flag('SWITCHYARD_AGENT_LOG_REQUESTS', {
    fallback: true,
    sentence: 'One log line for every request, without its text.',
  }),
  logLevel: setting.choice('SWITCHYARD_LOG_LEVEL', {
    fallback: 'info',
    among: ['debug', 'info', 'warn', 'error', 'silent'],
    sentence: 'Least severe log line that is written.',
  }),
} as const

export type AgentSettings = SettingsOf<typeof settingsTable> & {
  /** Values of the variables named in `credentialVariables`; absent ones left out. */
  readonly credentialEnvironment: ReadonlyMap<string, string>
  /** Identities of this machine, of the clouds that are permitted. */
  readonly ambient: AmbientSources
  /** What the environment of a request worker must not have: all but a few names, for secrets are among the rest. */
  readonly variablesKeptBack: Readonly<Record<string, undefined>>
}

/** Variables that a request worker is given: of Node itself, and of the libraries that it stands on. */
const workerVariables =
  /^(PATH|HOME|LANG|LC_[A-Z]+|TZ|TMPDIR|NODE_OPTIONS|NODE_EXTRA_CA_CERTS|NODE_V8_COVERAGE|SSL_CERT_(FILE|DIR)|LD_LIBRARY_PATH|UV_THREADPOOL_SIZE)$/

export type Environment = Readonly<Record<string, string | undefined>>

/** Settings from `environment` (the process's own unless a test gives another); `SettingsError` names every wrong one. */
export function readAgentSettings(environment: Environment = process.env): AgentSettings {
  const values = readSettings(settingsTable, environment)
  checkRelations(values)
  const credentialEnvironment = new Map<string, string>()
  for (const name of values.credentialVariables) {
    const value = environment[name]
    if (value !== undefined && value !== '') credentialEnvironment.set(name, value)
  }
  const ambient = ambientIn(environment, values.ambientCredentials)
  const keptBack = Object.keys(environment).filter((name) => !workerVariables.test(name))
  const variablesKeptBack = Object.freeze(Object.fromEntries(keptBack.map((name) => [name, undefined])))
  return Object.freeze({ ...values, credentialEnvironment, ambient, variablesKeptBack })
}

function checkRelations(values: SettingsOf<typeof settingsTable>): void {
  const faults: string[] = []
  if ((values.tlsCertFile === null) !== (values.tlsKeyFile === null)) {
    faults.push('SWITCHYARD_AGENT_TLS_CERT_FILE and SWITCHYARD_AGENT_TLS_KEY_FILE are set together or not at all')
  }
  if (values.joinToken !== null && values.enrol === null) {
    faults.push('SWITCHYARD_JOIN_TOKEN needs SWITCHYARD_ENROL: host:port of the control plane’s enrolment port')
  }
  if (values.reconnectMinMs > values.reconnectMaxMs) {
    faults.push('SWITCHYARD_AGENT_RECONNECT_MIN_MS is at most SWITCHYARD_AGENT_RECONNECT_MAX_MS')
  }
  if (values.spoolSegmentBytes > Math.min(values.spoolBytesMax / 4, values.spoolSpanBytesMax / 2)) {
    faults.push(
      'SWITCHYARD_AGENT_SPOOL_SEGMENT_BYTES is at most a quarter of SWITCHYARD_AGENT_SPOOL_BYTES_MAX and half of SWITCHYARD_AGENT_SPOOL_SPAN_BYTES_MAX',
    )
  }
  // Each worker has a growing segment of its own, which cannot be dropped; one more is what can.
  if (values.spoolSegmentBytes * (values.workers + 1) > values.spoolSpanBytesMax) {
    faults.push(
      'SWITCHYARD_AGENT_SPOOL_SPAN_BYTES_MAX holds a segment (SWITCHYARD_AGENT_SPOOL_SEGMENT_BYTES) for each of SWITCHYARD_WORKERS, and one more',
    )
  }
  if (values.workers > Math.min(values.connectionsMax, values.inFlightMax)) {
    faults.push(
      'SWITCHYARD_WORKERS is at most SWITCHYARD_AGENT_CONNECTIONS_MAX and SWITCHYARD_AGENT_IN_FLIGHT_MAX: a worker without any would be idle',
    )
  }
  if (values.cacheAnswerBytesMax > values.cacheBytesMax / 4) {
    faults.push('SWITCHYARD_AGENT_CACHE_ANSWER_BYTES_MAX is at most a quarter of SWITCHYARD_AGENT_CACHE_BYTES_MAX')
  }
  if (values.cacheStore === 'control-plane') faults.push(...controlPlaneStoreFaults(values))
  else if ((values.cacheRedisUrl === null) !== (values.cacheSecret === null)) {
    faults.push(
      'SWITCHYARD_AGENT_CACHE_REDIS_URL and SWITCHYARD_AGENT_CACHE_SECRET are set together or not at all, unless SWITCHYARD_AGENT_CACHE_STORE is control-plane',
    )
  }
  if (faults.length > 0) throw new SettingsError(faults.join('\n'))
}

function controlPlaneStoreFaults(values: SettingsOf<typeof settingsTable>): readonly string[] {
  const faults: string[] = []
  const store = 'SWITCHYARD_AGENT_CACHE_STORE=control-plane'
  if (values.cacheRedisUrl !== null) {
    faults.push(`SWITCHYARD_AGENT_CACHE_REDIS_URL and ${store} exclude each other: answers are shared in one place`)
  }
  if (values.cacheSecret === null) faults.push(`${store} needs SWITCHYARD_AGENT_CACHE_SECRET`)
  if (values.workers > 1) {
    faults.push(
      `SWITCHYARD_WORKERS has to be 1 with ${store}: other processes of an agent have no certificate; share in a Redis instead`,
    )
  }
  return faults
}

/** A sentence for each variable that looks like a setting of an agent and is none. */
export function describeMisspelt(environment: Environment = process.env): readonly string[] {
  return describeUnknownVariables(settingsTable, environment, /^SWITCHYARD_AGENT_/)
}

/** What `--help` prints. */
export function describeAgentSettings(): string {
  return `Switchyard agent: enforces the control plane's configuration on live traffic.

Usage: npm run agent                     settings come from the environment
       npm run agent -- --help           this text

Example, first start:
  SWITCHYARD_CONTROL_PLANE=switchyard.example.com:7402 \\
  SWITCHYARD_ENROL=switchyard.example.com:7403 \\
  SWITCHYARD_JOIN_TOKEN=sjt_… \\
  SWITCHYARD_AGENT_DATA_DIR=/var/lib/switchyard-agent \\
  npm run agent
Afterwards the data folder holds the identity and the join token is not needed.

${describeSettings(settingsTable)}
`
}
