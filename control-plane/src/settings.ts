import {
  describeSettings,
  readSettings,
  SettingsError,
  type SettingsOf,
  setting,
} from '../../proto/std/settings-table.js'
import { describeUnknownVariables } from '../../proto/std/unknown-variables.js'

/**
 * Every variable of the control plane; the only file of it that reads the environment. A bad value is refused at start
 * with its name, what was given and what is expected.
 */
export const settingsTable = {
  databaseUrl: setting.text('DATABASE_URL', {
    sentence: 'PostgreSQL 14 or newer; holds everything. Migrations are applied at start.',
    shape: 'postgresql://user:password@host:port/database',
    pattern: /^postgres(?:ql)?:\/\/\S+$/,
    secret: true,
  }),
  databasePoolMax: setting.integer('SWITCHYARD_DATABASE_POOL_MAX', {
    sentence: 'Connections for the rows that people edit.',
    fallback: 10,
    min: 2,
    max: 500,
  }),
  databaseSqlPoolMax: setting.integer('SWITCHYARD_DATABASE_SQL_POOL_MAX', {
    sentence: 'Connections for ingest, rollups and snapshots; apart, so that usage cannot starve the API.',
    fallback: 10,
    min: 2,
    max: 500,
  }),
  databaseAnswersPoolMax: setting.integer('SWITCHYARD_DATABASE_ANSWERS_POOL_MAX', {
    sentence: 'Connections for answers that agents share, made when there are any; half of them at most write.',
    fallback: 4,
    min: 2,
    max: 500,
  }),
  databaseWaitMs: setting.integer('SWITCHYARD_DATABASE_WAIT_MS', {
    sentence: 'How long to wait at start for a database that is not up yet.',
    fallback: 30_000,
    min: 0,
    max: 600_000,
  }),
  redisUrl: setting.text('REDIS_URL', {
    sentence: 'Redis 6.2 or newer (noeviction) or Valkey for the queues; without it they are in PostgreSQL.',
    shape: 'redis://host:port or rediss://host:port',
    pattern: /^rediss?:\/\/\S+$/,
    fallback: null,
    secret: true,
  }),

  httpHost: setting.text('SWITCHYARD_HTTP_HOST', {
    sentence: 'Address that GraphQL is served on; 0.0.0.0 for all.',
    fallback: '127.0.0.1',
  }),
  httpPort: setting.integer('SWITCHYARD_HTTP_PORT', {
    sentence: 'Port of /graphql, /explorer, /healthz and /readyz; 0 takes any free one.',
    fallback: 7400,
    min: 0,
    max: 65_535,
  }),
  metricsHost: setting.text('SWITCHYARD_METRICS_HOST', {
    sentence: 'Address that /metrics is served on.',
    fallback: '127.0.0.1',
  }),
  metricsPort: setting.integer('SWITCHYARD_METRICS_PORT', {
    sentence: 'Port of /metrics, apart from the API; 0 takes any free one.',
    fallback: 7401,
    min: 0,
    max: 65_535,
  }),
  grpcHost: setting.text('SWITCHYARD_GRPC_HOST', {
    sentence: 'Address that agents are served on; 0.0.0.0 for all.',
    fallback: '127.0.0.1',
  }),
  fleetPort: setting.integer('SWITCHYARD_FLEET_PORT', {
    sentence: 'Port of configuration and reporting (mutual TLS); 0 takes any free one.',
    fallback: 7402,
    min: 0,
    max: 65_535,
  }),
  enrolPort: setting.integer('SWITCHYARD_ENROL_PORT', {
    sentence: 'Port of enrolment (TLS); 0 takes any free one.',
    fallback: 7403,
    min: 0,
    max: 65_535,
  }),
  grpcNames: setting.list('SWITCHYARD_GRPC_NAMES', {
    sentence: 'Names and addresses by which agents reach the two ports above: what their certificate is made out to.',
    shape: 'comma-separated host names and IP addresses',
    pattern: /^[A-Za-z0-9.:*-]{1,253}$/,
    fallback: ['localhost', '127.0.0.1'],
  }),
  tlsCertFile: setting.text('SWITCHYARD_TLS_CERT_FILE', {
    sentence: 'PEM certificate chain for GraphQL; with the key file, HTTPS is served instead of HTTP.',
    fallback: null,
  }),
  tlsKeyFile: setting.text('SWITCHYARD_TLS_KEY_FILE', {
    sentence: 'PEM private key of that certificate.',
    fallback: null,
  }),
  corsOrigins: setting.list('SWITCHYARD_CORS_ORIGINS', {
    sentence: 'Origins of web pages that may call the API with a token, or *; the default lets Apollo Sandbox in.',
    shape: 'comma-separated origins such as https://example.com, or *',
    pattern: /^(?:\*|https?:\/\/[A-Za-z0-9.:[\]-]+)$/,
    fallback: ['https://studio.apollographql.com'],
  }),
  introspection: setting.flag('SWITCHYARD_INTROSPECTION', {
    sentence: 'Whether the API describes its own schema to callers.',
    fallback: true,
  }),
  explorer: setting.flag('SWITCHYARD_EXPLORER', {
    sentence: 'Whether the in-browser explorer is served at /explorer.',
    fallback: true,
  }),

  adminToken: setting.text('SWITCHYARD_ADMIN_TOKEN', {
    sentence: 'Bootstrap platform admin: whoever sends it may do everything. Leave it out once tokens work.',
    shape: 'at least 32 printable characters without spaces',
    pattern: /^[\x21-\x7e]{32,512}$/,
    fallback: null,
    secret: true,
  }),
  wrapKeys: setting.list('SWITCHYARD_WRAP_KEYS', {
    sentence: 'Keys that secrets in the database are sealed under, newest first; see the command rotate-keys.',
    shape: 'comma-separated id:base64 of 32 bytes each',
    pattern: /^[A-Za-z0-9._-]{1,40}:[A-Za-z0-9+/]{43}=$/,
    required: true,
    secret: true,
  }),
  jwtHs256Secret: setting.text('SWITCHYARD_JWT_HS256_SECRET', {
    sentence: 'Accept tokens signed with this shared secret (HS256); for local use.',
    shape: 'at least 32 characters',
    pattern: /^.{32,}$/,
    fallback: null,
    secret: true,
  }),
  jwtJwksUrl: setting.text('SWITCHYARD_JWT_JWKS_URL', {
    sentence: "Accept tokens signed with the keys published there (your identity provider's JWKS).",
    shape: 'an http or https URL',
    pattern: /^https?:\/\/\S+$/,
    fallback: null,
  }),
  jwtJwksCooldownMs: setting.integer('SWITCHYARD_JWT_JWKS_COOLDOWN_MS', {
    sentence: 'Least time between two fetches of the published keys: how soon a new key is known.',
    fallback: 10_000,
    min: 100,
    max: 600_000,
  }),
  jwtJwksOutageMsMax: setting.integer('SWITCHYARD_JWT_JWKS_OUTAGE_MS_MAX', {
    sentence: 'How long the last published keys go on being used while they cannot be fetched; 0: not at all.',
    fallback: 86_400_000,
    min: 0,
    max: 604_800_000,
  }),
  jwtIssuer: setting.text('SWITCHYARD_JWT_ISSUER', {
    sentence: 'Required iss of tokens; without it any.',
    fallback: null,
  }),
  jwtAudience: setting.text('SWITCHYARD_JWT_AUDIENCE', {
    sentence: 'Required aud of tokens; without it any.',
    fallback: null,
  }),
  jwtClockSkewSeconds: setting.integer('SWITCHYARD_JWT_CLOCK_SKEW_SECONDS', {
    sentence: "How far the issuer's clock may be from ours.",
    fallback: 30,
    min: 0,
    max: 300,
  }),
  jwtTenantClaim: setting.text('SWITCHYARD_JWT_TENANT_CLAIM', {
    sentence: "Claim with the tenant's id or slug; dots walk into objects.",
    fallback: 'tenant',
  }),
  jwtRolesClaim: setting.text('SWITCHYARD_JWT_ROLES_CLAIM', {
    sentence:
      'Claim with the roles (platform-admin, tenant-admin, developer, viewer); without it the member row decides.',
    fallback: 'roles',
  }),

  graphBodyBytesMax: setting.integer('SWITCHYARD_GRAPHQL_BODY_BYTES_MAX', {
    sentence: 'Largest request body.',
    fallback: 1_048_576,
    min: 1_024,
    max: 67_108_864,
  }),
  graphTokensMax: setting.integer('SWITCHYARD_GRAPHQL_TOKENS_MAX', {
    sentence: 'Most lexical tokens of a document.',
    fallback: 5_000,
    min: 500,
    max: 100_000,
  }),
  graphDepthMax: setting.integer('SWITCHYARD_GRAPHQL_DEPTH_MAX', {
    sentence: 'Deepest nesting of fields.',
    fallback: 12,
    min: 5,
    max: 50,
  }),
  graphAliasesMax: setting.integer('SWITCHYARD_GRAPHQL_ALIASES_MAX', {
    sentence: 'Most renamed fields of a document.',
    fallback: 50,
    min: 0,
    max: 1_000,
  }),
  graphComplexityMax: setting.integer('SWITCHYARD_GRAPHQL_COMPLEXITY_MAX', {
    sentence: 'Most fields that one answer may hold, lists counted by their first.',
    fallback: 20_000,
    min: 100,
    max: 1_000_000,
  }),
  requestTimeoutMs: setting.integer('SWITCHYARD_HTTP_REQUEST_TIMEOUT_MS', {
    sentence: 'How long a client may take to send its request.',
    fallback: 30_000,
    min: 1_000,
    max: 600_000,
  }),
  socketsMax: setting.integer('SWITCHYARD_SUBSCRIPTION_SOCKETS_MAX', {
    sentence: 'Most WebSocket connections of this replica.',
    fallback: 1_000,
    min: 1,
    max: 100_000,
  }),
  subscriptionsPerSocketMax: setting.integer('SWITCHYARD_SUBSCRIPTIONS_PER_SOCKET_MAX', {
    sentence: 'Most subscriptions on one connection.',
    fallback: 20,
    min: 1,
    max: 1_000,
  }),
  recheckMs: setting.integer('SWITCHYARD_SUBSCRIPTION_RECHECK_MS', {
    sentence: 'How often the token behind a connection is judged again.',
    fallback: 15_000,
    min: 100,
    max: 600_000,
  }),
  auditPollMs: setting.integer('SWITCHYARD_AUDIT_POLL_MS', {
    sentence: 'How often the audit trail is read for subscribers, while there are any.',
    fallback: 500,
    min: 50,
    max: 60_000,
  }),
  reconcilerPollMs: setting.integer('SWITCHYARD_RECONCILER_POLL_MS', {
    sentence: 'How often each replica looks whether intent moved.',
    fallback: 250,
    min: 20,
    max: 60_000,
  }),
  region: setting.text('SWITCHYARD_REGION', {
    sentence:
      'Region that this control plane and its database are in, as clusters name theirs; without it no answers are kept for agents.',
    shape: '1 to 63 of a-z, 0-9 and -',
    pattern: /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
    fallback: null,
  }),
  answersClusterBytesMax: setting.integer('SWITCHYARD_ANSWERS_CLUSTER_BYTES_MAX', {
    sentence: 'Bytes in the database that the shared answers of one cluster take; beyond it the oldest go.',
    fallback: 1_073_741_824,
    min: 16_777_216,
    max: 1_099_511_627_776,
  }),
  providerPrivateAddresses: setting.flag('SWITCHYARD_PROVIDER_PRIVATE_ADDRESSES', {
    sentence: 'Whether testing a provider may call loopback and private networks; false where strangers are tenants.',
    fallback: true,
  }),

  drainTimeoutMs: setting.integer('SWITCHYARD_DRAIN_TIMEOUT_MS', {
    sentence: 'How long requests under way may finish after SIGTERM.',
    fallback: 10_000,
    min: 0,
    max: 600_000,
  }),
  logLevel: setting.choice('SWITCHYARD_LOG_LEVEL', {
    sentence: 'Least severe events that are logged.',
    fallback: 'info',
    among: ['debug', 'info', 'warn', 'error'],
  }),
  otlpEndpoint: setting.text('SWITCHYARD_OTLP_ENDPOINT', {
    sentence: "Send traces of the control plane's own work to this OTLP/HTTP endpoint; without it none are made.",
    shape: 'an http or https URL',
    pattern: /^https?:\/\/\S+$/,
    fallback: null,
  }),
} as const

export type Settings = SettingsOf<typeof settingsTable>

/** Throws a `SettingsError` that names every wrong variable. */
export function loadSettings(environment: Readonly<Record<string, string | undefined>> = process.env): Settings {
  const settings = readSettings(settingsTable, environment)
  if ((settings.tlsCertFile === null) !== (settings.tlsKeyFile === null)) {
    throw new SettingsError(
      'SWITCHYARD_TLS_CERT_FILE and SWITCHYARD_TLS_KEY_FILE belong together: give both or neither',
    )
  }
  const ids = settings.wrapKeys.map((text) => text.slice(0, text.indexOf(':')))
  if (new Set(ids).size < ids.length) {
    throw new SettingsError(`SWITCHYARD_WRAP_KEYS names a key id twice: ${ids.join(', ')}`)
  }
  return settings
}

/** All of ours but the agent's, the command line's and the tests'. */
const ownNames = /^SWITCHYARD_(?!AGENT_|TEST_|(?:CONTROL_PLANE|ENROL|JOIN_TOKEN|WORKERS|URL|(?:CLASSIFIER_)?TOKEN)$)/

/** A sentence for each variable that looks like a setting and is none. */
export function describeMisspelt(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): readonly string[] {
  return describeUnknownVariables(settingsTable, environment, ownNames)
}

/** What `--help` prints about them. */
export function describeAllSettings(): string {
  return describeSettings(settingsTable)
}
