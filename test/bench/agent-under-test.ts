import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import grpc from '@grpc/grpc-js'
import { AnswerCache } from '../../agent/src/cache/answer-cache.js'
import { agentWaitingBytes, HeapBound, tuneHeap } from '../../agent/src/heap.js'
import { AccessTokens } from '../../agent/src/providers/access-tokens.js'
import { Dialects } from '../../agent/src/providers/dialects.js'
import { TokenClient } from '../../agent/src/providers/token-client.js'
import { ThreadTokenCounter } from '../../agent/src/request/count-tokens.js'
import { createRequestHandler } from '../../agent/src/request/handle-request.js'
import { TargetHealths } from '../../agent/src/request/target-health.js'
import { Upstreams } from '../../agent/src/request/upstreams.js'
import { HttpServer } from '../../agent/src/server/http-server.js'
import { OpsServer } from '../../agent/src/server/ops-server.js'
import { readAgentSettings } from '../../agent/src/settings.js'
import { createAgentLog } from '../../agent/src/telemetry/log.js'
import { AgentMetrics } from '../../agent/src/telemetry/metrics.js'
import { RequestTelemetry } from '../../agent/src/telemetry/request-telemetry.js'
import { Meter } from '../../agent/src/usage/meter.js'
import { Spool } from '../../agent/src/usage/spool.js'
import { UsageReporter } from '../../agent/src/usage/usage-reporter.js'
import { cacheDefaults } from '../../proto/policy/cache-policy.js'
import { compileCondition, isCondition } from '../../proto/policy/condition.js'
import { systemClock } from '../../proto/std/clock.js'
import { randomUnit } from '../../proto/std/ids.js'
import { FixtureTables, makeTables, makeTarget } from '../harness/agent-door.js'
import { type ReportTls, serveChild } from './agent-child.js'

/**
 * The agent with everything on, at its default settings: keys, limits, deadlines, metrics, one log line per request, spans
 * of one request in a hundred, the spool on disk and the report stream over mutual TLS. Only its configuration is planted,
 * so that no control plane and no Postgres run beside what is measured.
 */
const [, , upstream = '', reportAddress = '', reportTls = '', kind = 'openai'] = process.argv
const tls = JSON.parse(reportTls) as ReportTls
tuneHeap()
const settings = readAgentSettings({ SWITCHYARD_CONTROL_PLANE: reportAddress })
const clock = systemClock
const log = createAgentLog({ level: settings.logLevel, agentName: settings.agentName, clock })
const folder = mkdtempSync(path.join(os.tmpdir(), 'switchyard-bench-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

const metrics = new AgentMetrics()
const telemetry = new RequestTelemetry({ metrics, log, clock, logRequests: settings.logRequests })
await telemetry.run()
const spool = new Spool({
  directory: path.join(folder, 'spool'),
  clock,
  log,
  usageBytesMax: settings.spoolBytesMax,
  spanBytesMax: settings.spoolSpanBytesMax,
  segmentBytes: settings.spoolSegmentBytes,
  gatherWrites: true,
  retainMs: settings.spoolRetainMs,
})
await spool.run()
/** An exact cache at its defaults, for every request; no two requests of the load are the same, so it is always missing. */
const cache = {
  anyTemperature: true,
  sharedBy: 'environment' as const,
  ttlSeconds: new Map(Object.entries(cacheDefaults.ttls)),
  otherTtlSeconds: cacheDefaults.ttlSeconds,
  ageMaxSeconds: cacheDefaults.ageMaxSeconds,
  staleSeconds: 0,
  shared: false,
  semantic: null,
  detailApiKeys: new Set<string>(),
  tags: [],
}
/** Three targets with breakers behind the last of ten rules; what the first nine ask for is looked at and does not hold. */
const conditions = [
  'team == "research"',
  'user == "ada" || user.startsWith("batch-")',
  '"x-debug" in headers && headers["x-debug"] == "on"',
  'tokens_in > 200000',
  'stream && hour > 30',
  'region == "mars"',
  'environment == "staging"',
  'key in ["key_1", "key_2", "key_3"]',
  'session != "" && user.endsWith("@example.com")',
]
const breaker = { failures: 5, openMs: 5_000, failureRatio: 0.5, windowMs: 30_000, requestsMin: 20 }
const targetAt = (upstreamModel: string) =>
  makeTarget({
    ...{ origin: upstream, kind, upstreamModel, connectionsMax: 256, credential: { id: 'crd', version: 1 } },
    routing: { breaker },
  })
const targets = [targetAt('bench-model'), targetAt('bench-second'), targetAt('bench-third')]
const rules = [...conditions, null].map((condition, index) => ({
  id: `rul_${index}`,
  name: `rule ${index}`,
  condition,
}))
const { tables, apiKey } = makeTables({
  routes: { chat: targets },
  rules: { chat: rules.map(({ condition, ...rule }) => ({ ...rule, ...conditionOf(condition) })) },
  route: { cache },
  spanSamplePpm: 10_000,
  totalTimeoutMs: 120_000,
  key: { inFlightMax: 100_000, requestsPerMinuteMax: 100_000_000 },
})
const upstreams = new Upstreams(clock)
const handler = createRequestHandler({
  tables: new FixtureTables(tables),
  vault: { get: () => 'sk-bench-0123456789', reportRejected: () => {}, reportAccepted: () => {} },
  meter: new Meter(spool, log),
  upstreams,
  dialects: new Dialects({
    clock,
    tokens: new AccessTokens(clock),
    client: new TokenClient(),
    ambient: settings.ambient,
  }),
  limits: { answerBytesMax: settings.answerBytesMax, clientStallMs: settings.clientStallMs },
  clock,
  log,
  metrics,
  telemetry,
  counter: new ThreadTokenCounter({ clock, log }),
  healths: new TargetHealths({ clock, metrics: metrics.targets, log }),
  cache: new AnswerCache({
    clock,
    shared: null,
    embedder: null,
    limits: {
      bytesMax: settings.cacheBytesMax,
      answerBytesMax: settings.cacheAnswerBytesMax,
      entriesMax: settings.cacheEntriesMax,
      vectorBytesMax: settings.cacheVectorBytesMax,
    },
  }),
})
const health = { unreadyReason: () => null }
const http = new HttpServer({
  host: '127.0.0.1',
  port: 0,
  tls: null,
  limits: settings,
  handler,
  health,
  clock,
  log,
  metrics,
})
await http.run()
const ops = new OpsServer({ host: '127.0.0.1', port: 0, metrics, health })
await ops.run()
metrics.watch({
  inFlight: () => http.inFlightCount,
  connections: () => http.connectionCount,
  upstreamConnections: () => upstreams.connectionCount,
  upstreamQueued: () => upstreams.queuedCount,
})
const reporter = new UsageReporter({
  identity: {
    agentId: 'agt_bench',
    fleetAddress: reportAddress,
    credentials: () => grpc.credentials.createSsl(Buffer.from(tls.ca), Buffer.from(tls.key), Buffer.from(tls.cert)),
    whenValid: async () => {},
    onRenewed: () => () => {},
  },
  spool,
  agentVersion: 'bench',
  clock,
  random: randomUnit,
  log,
})
await reporter.run()
// As an agent does with each configuration.
new HeapBound(agentWaitingBytes).adapt()

serveChild({ url: `http://127.0.0.1:${http.address.port}`, apiKey }, () => ({
  waiting: spool.stats().usageWaitingCount,
  sent: reporter.stats().sentRecordCount,
}))

function conditionOf(condition: string | null) {
  const program = condition === null ? null : compileCondition(condition)
  if (program !== null && !isCondition(program)) throw new Error(`${condition}: ${program.message}`)
  return { condition, program }
}
