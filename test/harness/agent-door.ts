import { hash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { AnswerCache } from '../../agent/src/cache/answer-cache.js'
import { AccessTokens } from '../../agent/src/providers/access-tokens.js'
import type { AmbientSources } from '../../agent/src/providers/ambient.js'
import { Dialects } from '../../agent/src/providers/dialects.js'
import type { ProviderSecret } from '../../agent/src/providers/provider-dialect.js'
import { TokenClient } from '../../agent/src/providers/token-client.js'
import type { TokenCounter } from '../../agent/src/request/count-tokens.js'
import { createRequestHandler, type RequestHandler } from '../../agent/src/request/handle-request.js'
import type { FallbackAnswers, UsageMeter } from '../../agent/src/request/ports.js'
import { Upstreams } from '../../agent/src/request/upstreams.js'
import { type DoorLimits, HttpServer } from '../../agent/src/server/http-server.js'
import { AgentMetrics } from '../../agent/src/telemetry/metrics.js'
import { RequestTelemetry } from '../../agent/src/telemetry/request-telemetry.js'
import type { Span } from '../../proto/gen/switchyard/v1/Span.js'
import type { UsageRecord } from '../../proto/gen/switchyard/v1/UsageRecord.js'
import { makeApiKeyText } from '../../proto/policy/api-key-text.js'
import type {
  ApiKeyTable,
  DecisionTables,
  DenyTable,
  EnvironmentTable,
  ProviderTable,
  RouteTable,
  RuleTable,
  TargetTable,
} from '../../proto/policy/tables.js'
import { type Clock, systemClock } from '../../proto/std/clock.js'
import type { Log } from '../../proto/std/service.js'

/** For tests: a door in this process, on planted tables, with a meter in memory and an upstream that does as told. */

export const silentLog: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLog,
}

/** Keeps what it is given, in order, and what it was called with first. */
export class MemoryMeter implements UsageMeter {
  accepting = true
  readonly opened: UsageRecord[] = []
  readonly closed: UsageRecord[] = []
  readonly spans: Span[] = []
  open(facts: UsageRecord): unknown {
    this.opened.push(structuredClone(facts))
    return { closed: false }
  }
  close(open: unknown, record: UsageRecord): void {
    const once = open as { closed: boolean }
    if (once.closed) throw new Error('closed twice')
    once.closed = true
    this.closed.push(structuredClone(record))
  }
  record(record: UsageRecord): void {
    this.closed.push(structuredClone(record))
  }
  span(span: Span): void {
    this.spans.push(span)
  }
  written(): null {
    return null
  }
  /** The last record. */
  get last(): UsageRecord {
    const record = this.closed.at(-1)
    if (record === undefined) throw new Error('no record yet')
    return record
  }
}

/** One token per four characters, at once. */
export const quickCounter: TokenCounter = { count: async (text) => Math.ceil(text.length / 4) }

export interface TargetSpec {
  origin: string
  kind?: string
  name?: string
  upstreamModel?: string
  region?: string
  capabilities?: string[]
  deadlines?: Partial<TargetTable['deadlines']>
  credential?: { id: string; version: number } | null
  connectionsMax?: number
  apiVersion?: string
  vendorRegion?: string
  vendorProject?: string
  basePath?: string
  /** Origins; `origin` alone when left out. */
  replicas?: string[]
  replicaScrapeMs?: number
  outputTokensMax?: number | null
  /** Members that only routing reads. */
  routing?: Partial<TargetTable>
}

let targetCount = 0

export function makeTarget(spec: TargetSpec): TargetTable {
  const id = `tgt_${++targetCount}`
  const provider: ProviderTable = {
    id: `prv_${targetCount}`,
    name: spec.name ?? `provider-${targetCount}`,
    kind: spec.kind ?? 'vllm',
    origin: spec.origin,
    basePath: spec.basePath ?? '/v1',
    region: spec.region ?? 'local',
    credential: spec.credential ?? null,
    connectionsMax: spec.connectionsMax ?? 64,
    apiVersion: spec.apiVersion ?? '',
    vendorRegion: spec.vendorRegion ?? '',
    vendorProject: spec.vendorProject ?? '',
    external: false,
    replicas: (spec.replicas ?? [spec.origin]).map((origin) => ({ origin, basePath: spec.basePath ?? '/v1' })),
    replicaScrapeMs: spec.replicaScrapeMs ?? null,
  }
  return {
    id,
    provider,
    model: {
      id: `mdl_${targetCount}`,
      name: 'm',
      upstreamModel: spec.upstreamModel ?? 'upstream-model',
      capabilities: new Set(spec.capabilities ?? ['chat', 'embeddings']),
      price: {
        version: 3,
        inputNanoUsdPerMillion: 1_000_000_000n,
        cachedInputNanoUsdPerMillion: 500_000_000n,
        outputNanoUsdPerMillion: 2_000_000_000n,
        cacheWriteInputNanoUsdPerMillion: 1_250_000_000n,
      },
      outputTokensMax: spec.outputTokensMax ?? null,
      contextTokensMax: null,
    },
    upstreamModel: spec.upstreamModel ?? 'upstream-model',
    deadlines: { connectMs: 2_000, firstTokenMs: 2_000, idleMs: 2_000, totalMs: 10_000, ...spec.deadlines },
    ...{ weight: 0, tier: null, tasks: new Set<string>(), quality: null, nodePool: '', owner: '' },
    ...{ parameters: { temperature: null, outputTokensMax: null }, breaker: null, warmUpIntervalMs: null },
    ...{ batchSize: null, batchWaitMs: 0 },
    ...spec.routing,
  }
}

export interface WorldSpec {
  routes: Record<string, TargetTable[]>
  totalTimeoutMs?: number
  dropsUnsupported?: boolean
  /** Members of every route, and of its one rule. */
  route?: Partial<Omit<RouteTable, 'rules'>>
  rule?: Partial<RuleTable>
  /** Of a route by its name, in the place of its one rule. */
  rules?: Record<string, readonly Partial<RuleTable>[]>
  routingPreference?: EnvironmentTable['routingPreference']
  permittedRegions?: string[]
  spanSamplePpm?: number
  key?: Partial<Omit<ApiKeyTable, 'id' | 'environment'>>
}

const plainRule: Omit<RuleTable, 'targets'> = Object.freeze({
  ...{ id: 'rule', name: 'all', condition: null, program: null, strategy: 'ordered', stickyBy: null },
  ...{ complexityLow: 0.3, complexityHigh: 0.7 },
} as const)

/** Tables with one key, and that key. */
export function makeTables(spec: WorldSpec): { tables: DecisionTables; apiKey: string; secretHash: string } {
  const routes = new Map<string, RouteTable>(
    Object.entries(spec.routes).map(([name, targets]) => [
      name,
      {
        id: `rte_${name}`,
        name,
        totalTimeoutMs: spec.totalTimeoutMs ?? 20_000,
        dropsUnsupported: spec.dropsUnsupported ?? false,
        ...{ lastResort: null, hedging: null, cache: null, classifier: null },
        ...spec.route,
        rules: (spec.rules?.[name] ?? [{}]).map((rule) => ({ ...plainRule, targets, ...spec.rule, ...rule })),
        ...{ ownRuleCount: 1, measures: spec.route?.measures ?? new Set() },
      },
    ]),
  )
  const environment: EnvironmentTable = {
    tenantId: 'ten_a',
    tenantName: 'acme',
    environmentId: 'env_a',
    environmentName: 'production',
    permittedRegions: new Set(spec.permittedRegions ?? []),
    routingPreference: spec.routingPreference ?? 'balanced',
    cachePurges: [],
    routes,
  }
  const apiKey = makeApiKeyText('production', randomBytes(32).toString('base64url'))
  const secretHash = hash('sha256', apiKey, 'hex')
  const key: ApiKeyTable = {
    id: 'key_a',
    teamId: null,
    environment,
    allowedRoutes: null,
    expiresAtMs: Number.POSITIVE_INFINITY,
    ...{ allowExternal: true, mayPin: false },
    inFlightMax: 1_000,
    requestsPerMinuteMax: 1_000_000,
    ...spec.key,
  }
  const tables: DecisionTables = {
    epoch: 1,
    generation: 7,
    rootHash: 'root',
    cluster: { id: 'clu_a', name: 'c', region: 'local', cloud: 'none', spanSamplePpm: spec.spanSamplePpm ?? 0 },
    environments: new Map([['environment', environment]]),
    keys: new Map([[secretHash, key]]),
    denied: new Map(),
  }
  return { tables, apiKey, secretHash }
}

/** The same tables with a key denied. */
export function denyKey(tables: DecisionTables, secretHash: string, abort: boolean): DecisionTables {
  const denied: DenyTable = { subjectId: 'key_a', abort, expiresAtMs: Number.POSITIVE_INFINITY }
  return { ...tables, generation: tables.generation + 1, denied: new Map([[secretHash, denied]]) }
}

export class FixtureTables {
  current: DecisionTables | null
  readonly #listeners = new Set<(next: DecisionTables) => void>()
  constructor(current: DecisionTables | null) {
    this.current = current
  }
  onSwap(listener: (next: DecisionTables) => void): void {
    this.#listeners.add(listener)
  }
  swap(next: DecisionTables): void {
    this.current = next
    for (const listener of this.#listeners) listener(next)
  }
}

export interface DoorSpec {
  tables: DecisionTables | null
  secrets?: Record<string, ProviderSecret>
  ambient?: Partial<AmbientSources>
  limits?: Partial<DoorLimits>
  counter?: TokenCounter
  clientStallMs?: number
  answerBytesMax?: number
  tls?: { cert: string; key: string }
  /** The system's unless given. */
  clock?: Clock
  answers?: FallbackAnswers
  cache?: AnswerCache
}

export interface Door {
  readonly url: string
  readonly port: number
  readonly meter: MemoryMeter
  readonly metrics: AgentMetrics
  readonly tables: FixtureTables
  readonly handler: RequestHandler
  readonly upstreams: Upstreams
  readonly server: HttpServer
  stop(): Promise<void>
}

export async function openDoor(spec: DoorSpec): Promise<Door> {
  const clock = spec.clock ?? systemClock
  const meter = new MemoryMeter()
  const metrics = new AgentMetrics()
  const telemetry = new RequestTelemetry({ metrics, log: silentLog, clock, logRequests: false })
  await telemetry.run()
  const tables = new FixtureTables(spec.tables)
  const upstreams = new Upstreams(clock)
  const client = new TokenClient()
  const ambient = { aws: null, azure: null, google: null, ...spec.ambient }
  const dialects = new Dialects({ clock, tokens: new AccessTokens(clock), client, ambient })
  const handler = createRequestHandler({
    tables,
    vault: {
      get: (id, version) => spec.secrets?.[`${id}/${version}`] ?? null,
      reportRejected: () => {},
      reportAccepted: () => {},
    },
    meter,
    upstreams,
    dialects,
    limits: { answerBytesMax: spec.answerBytesMax ?? 8 * 1024 * 1024, clientStallMs: spec.clientStallMs ?? 5_000 },
    clock,
    log: silentLog,
    metrics,
    telemetry,
    counter: spec.counter ?? quickCounter,
    ...(spec.answers === undefined ? {} : { answers: spec.answers }),
    ...(spec.cache === undefined ? {} : { cache: spec.cache }),
  })
  const server = new HttpServer({
    host: '127.0.0.1',
    port: 0,
    tls: spec.tls ?? null,
    limits: {
      connectionsMax: 1_000,
      inFlightMax: 1_000,
      bodyBytesMax: 1024 * 1024,
      headerBytesMax: 16 * 1024,
      requestTimeoutMs: 5_000,
      idleTimeoutMs: 5_000,
      ...spec.limits,
    },
    handler,
    health: { unreadyReason: () => (tables.current === null ? 'no_configuration' : null) },
    clock,
    log: silentLog,
    metrics,
  })
  await server.run()
  const { port } = server.address
  return {
    url: `${spec.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    meter,
    metrics,
    tables,
    handler,
    upstreams,
    server,
    stop: async () => {
      await server.stop()
      await upstreams.stop()
      await client.stop()
      await telemetry.stop()
    },
  }
}

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  closedByAgent: boolean
}

export type Script = (received: Received, response: ServerResponse, socket: Socket) => void | Promise<void>

/** An HTTP server that keeps what it received and answers as the script says. */
export class ScriptedUpstream {
  readonly received: Received[] = []
  script: Script
  readonly #server: Server

  constructor(script: Script) {
    this.script = script
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const received: Received = {
          method: request.method ?? '',
          path: request.url ?? '',
          headers: request.headers,
          body: Buffer.concat(chunks),
          closedByAgent: false,
        }
        this.received.push(received)
        response.on('close', () => {
          received.closedByAgent = !response.writableFinished
        })
        void this.script(received, response, request.socket)
      })
    })
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }
}

export function answerJson(response: ServerResponse, status: number, value: unknown, headers = {}): void {
  const body = JSON.stringify(value)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...headers,
  })
  response.end(body)
}

export const chatAnswer = Object.freeze({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'upstream-model-2026-01-01',
  choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }],
  usage: {
    prompt_tokens: 11,
    completion_tokens: 5,
    total_tokens: 16,
    prompt_tokens_details: { cached_tokens: 4 },
    completion_tokens_details: { reasoning_tokens: 2 },
  },
})

/** Waits until `is` holds; a generous deadline, never a fixed sleep. */
export async function until(is: () => boolean, what: string, deadlineMs = 10_000): Promise<void> {
  const dueUs = systemClock.monotonicUs() + deadlineMs * 1000
  while (!is()) {
    if (systemClock.monotonicUs() > dueUs) throw new Error(`never happened: ${what}`)
    await systemClock.sleep(5)
  }
}
