import { randomUnit } from '../../proto/std/ids.js'
import type { Service } from '../../proto/std/service.js'
import { AnswerCache } from './cache/answer-cache.js'
import { RouteEmbedder } from './cache/embedder.js'
import { RedisStore } from './cache/redis-store.js'
import { SharedAnswers, type SharedStore } from './cache/shared-answers.js'
import { AccessTokens } from './providers/access-tokens.js'
import { Dialects } from './providers/dialects.js'
import { TokenClient } from './providers/token-client.js'
import { MetricsClient } from './replicas/metrics-client.js'
import { replicaGauges } from './replicas/replica-gauges.js'
import { newPrefixKey, ReplicaPicker } from './replicas/replica-picker.js'
import { ReplicaScraper } from './replicas/replica-scraper.js'
import type { ReplicaTelling } from './replicas/replica-telling.js'
import { ThreadTokenCounter } from './request/count-tokens.js'
import { createRequestHandler } from './request/handle-request.js'
import { TargetHealths } from './request/target-health.js'
import { Upstreams } from './request/upstreams.js'
import { WarmUp } from './request/warm-up.js'
import { HttpServer } from './server/http-server.js'
import { AgentMetrics } from './telemetry/metrics.js'
import { RequestTelemetry } from './telemetry/request-telemetry.js'
import { AgentHealth } from './workers/agent-health.js'
import { droppedPrefixes } from './workers/dropped-prefixes.js'
import type { RequestServing, ServingParts } from './workers/worker-process.js'

/**
 * The composition root of what serves requests, in an agent of one process or in a process of its own: every `new` between
 * clients and upstreams. Configuration, credentials and the place for records come from outside; whatever is here, every
 * request worker has its own. A file of its own, so that a worker loads nothing of what only the primary needs: gRPC,
 * certificates and the rest of `agent.ts` are 8 MB.
 */
export class RequestWorker implements RequestServing {
  readonly name = 'request-worker'
  readonly #parts: ServingParts
  readonly #metrics: AgentMetrics
  readonly #health: AgentHealth
  readonly #sharedStore: (SharedStore & Service) | null
  /** In order of start. */
  readonly #running: { readonly name: string; stop(): Promise<void> }[] = []
  #http: HttpServer | null = null
  #warmUp: WarmUp | null = null
  #replicas: ReplicaPicker | null = null
  #draining = false
  #stopped = false

  /**
   * Without `health` (the agent's, where there is one in this process) it has its own. `sharedStore`: of answers; null or
   * none makes the one that settings name.
   */
  constructor(
    parts: ServingParts & {
      readonly metrics?: AgentMetrics
      readonly health?: AgentHealth
      readonly sharedStore?: (SharedStore & Service) | null
    },
  ) {
    this.#parts = parts
    this.#sharedStore = parts.sharedStore ?? null
    this.#metrics = parts.metrics ?? new AgentMetrics()
    this.#health = parts.health ?? new AgentHealth()
  }

  get address(): { readonly host: string; readonly port: number } {
    return this.#http?.address ?? { host: this.#parts.settings.host, port: this.#parts.settings.port }
  }

  get inFlightCount(): number {
    return this.#http?.inFlightCount ?? 0
  }

  get connectionCount(): number {
    return this.#http?.connectionCount ?? 0
  }

  metricsText(): Promise<string> {
    return this.#metrics.text()
  }

  countDroppedConnection(): void {
    this.#metrics.refusals.of('connections_max').add(1)
  }

  learn({ prefixes, loads }: ReplicaTelling): void {
    for (const prefix of prefixes) this.#replicas?.learn(prefix)
    for (const load of loads) this.#replicas?.hearPeers(load)
  }

  /** Opens the door, unless it is draining by then. Rejects when it cannot be opened. */
  async run(): Promise<void> {
    const { settings, tls, limits, tables, vault, meter, peers, clock, log } = this.#parts
    const metrics = this.#metrics
    const health = this.#health

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
    const healths = new TargetHealths({ clock, metrics: metrics.targets, log: requestLog })
    const replicas = new ReplicaPicker({
      ...{ clock, key: peers?.key ?? newPrefixKey(), indexBytesMax: settings.prefixIndexBytesMax },
      cacheTokensAssumed: settings.replicaCacheTokens,
      ...(peers === null ? {} : { onLearned: peers.teller.onLearned, onLoad: peers.teller.onLoad }),
    })
    this.#replicas = replicas
    const scraper = new ReplicaScraper({
      ...{ replicas, source: new MetricsClient(clock), clock, random: randomUnit },
      log: log.child({ service: 'replica-scraper' }),
    })
    await this.#run(scraper)
    tables.onSwap((next) => scraper.follow(next))
    if (tables.current !== null) scraper.follow(tables.current)
    const { cacheRedisUrl, cacheSecret, cacheAnswerBytesMax } = settings
    const store = this.#sharedStore ?? (cacheRedisUrl === null ? null : new RedisStore({ url: cacheRedisUrl, log }))
    if (store !== null) await this.#run(store)
    const cache = new AnswerCache({
      clock,
      shared:
        store === null || cacheSecret === null
          ? null
          : new SharedAnswers({
              ...{ store, secret: Buffer.from(cacheSecret, 'base64'), clock, bytesMax: cacheAnswerBytesMax },
            }),
      embedder: new RouteEmbedder({ dialects, vault, upstreams, clock, healths }),
      limits: {
        ...{ bytesMax: settings.cacheBytesMax, answerBytesMax: cacheAnswerBytesMax },
        ...{ entriesMax: settings.cacheEntriesMax, vectorBytesMax: settings.cacheVectorBytesMax },
      },
    })
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
      healths,
      replicas,
      cache,
    })
    if (this.#draining) return
    const http = new HttpServer({
      host: settings.host,
      port: settings.port,
      tls,
      limits,
      handler,
      health,
      clock,
      log: log.child({ service: 'http-server' }),
      metrics,
    })
    this.#http = http
    await this.#run(http)
    if (this.#draining) return
    health.watch({ tables, spool: meter })
    if (this.#parts.isFirst) {
      this.#warmUp = new WarmUp({
        ...{ tables, vault, upstreams, dialects, healths, replicas, metrics, clock, random: randomUnit, log },
      })
      await this.#run(this.#warmUp)
    }

    metrics.gauge('cache_answers', 'Answers kept in memory.', () => cache.size)
    metrics.gauge('cache_bytes', 'Bytes of answers kept in memory.', () => cache.bytes)
    metrics.gauge('cache_vector_bytes', 'Bytes of vectors of questions.', () => cache.vectorBytes)
    metrics.gauge('cache_waiting_requests', 'Requests that wait for another one’s answer.', () => cache.followerCount)
    metrics.counter('cache_evictions_total', 'Answers that had to make room.', () => cache.evictedCount)
    for (const [count, name, help] of cacheCounters) {
      metrics.counter(`cache_${name}_total`, help, () => cache.counts[count])
    }
    if (peers !== null) {
      metrics.counter(droppedPrefixes.name, droppedPrefixes.help, () => peers.teller.droppedCount)
    }
    metrics.watch({
      inFlight: () => http.inFlightCount,
      connections: () => http.connectionCount,
      upstreamConnections: () => upstreams.connectionCount,
      upstreamQueued: () => upstreams.queuedCount,
      upstreamQueues: () => upstreams.queues(),
    })
    metrics.gauge(
      'prefix_index_bytes',
      'Memory for what replicas are believed to have cached.',
      () => replicas.indexBytes,
    )
    for (const { name, help, read } of replicaGauges(replicas)) metrics.gauges(name, help, read)
  }

  /** Unready, refuses new requests; resolves when running ones have ended, by themselves or at the deadline. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    this.#health.draining = true
    await this.#warmUp?.drain()
    await this.#http?.drain(deadlineMs)
  }

  async stop(): Promise<void> {
    this.#health.draining = true
    this.#stopped = true
    for (let service = this.#running.pop(); service; service = this.#running.pop()) {
      try {
        await service.stop()
      } catch (fault) {
        this.#parts.log.warn({ service: service.name, fault: String(fault) }, 'a service did not stop cleanly')
      }
    }
  }

  async #run(service: Service): Promise<void> {
    // A stop while starting: what is not up yet stays down.
    if (this.#stopped) throw new Error('the request worker is stopping')
    this.#running.push(service)
    await service.run()
  }
}

/** By route they are in the usage records. */
const cacheCounters = [
  ['exact', 'exact_hits', 'Requests given the answer to the very same one.'],
  ['semantic', 'semantic_hits', 'Requests given the answer to a question that means the same.'],
  ['miss', 'misses', 'Requests that found no kept answer.'],
  ['stale', 'stale_hits', 'Stale answers given while a new one is made.'],
  ['followed', 'followed', 'Requests that waited for another one and got its answer.'],
  ['kept', 'kept', 'Answers kept.'],
  ['guarded', 'guarded', 'Answers held back although the question was close.'],
  ['vectorMissing', 'missing_vectors', 'Questions that could not be compared for want of a vector.'],
] as const
