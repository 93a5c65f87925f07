import type { DecisionTables, EnvironmentTable, ProviderTable } from '../../../proto/policy/tables.js'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log, Service } from '../../../proto/std/service.js'
import { readEngineMetrics } from './engine-metrics.js'
import type { MetricsSource } from './metrics-client.js'
import type { WatchedServer } from './replica-registry.js'
import { type ReplicaServer, type ServerSpeech, urlOf } from './replica-server.js'

/**
 * Reads the metrics of every replica that is worth it, each on its own and one reading at a time: a server that is slow to
 * tell is read less often and holds up nobody else. Readings are spread over the interval, so that sixty-four replicas are
 * not parsed in one turn of the event loop, nor by all agents at once.
 *
 * What a server has to say is said once in the log when it changes: numbers under names that we do not know (another version
 * than those in `engine-metrics`) are a warning, because from then on nothing is known of its queue and memory.
 */
export interface ReplicaScraperOptions {
  /** `ReplicaPicker`: what is in effect, and so what is to be read. */
  readonly replicas: { retain(providers: Iterable<ProviderTable>): readonly WatchedServer[] }
  readonly source: MetricsSource
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
}

/** Servers read at most; those beyond are chosen by what we know of them ourselves. */
const serversMax = 1_024
/** A reading that takes longer found nobody. */
const readTimeoutMs = 2_000
/** A page that is too large to be read is asked for ever less often, at last so often. */
const largePauseMsMax = 60_000

interface Loop {
  intervalMs: number
  /** Between two tries of a page that is too large; 0: it is not. */
  largePauseMs: number
  readonly abort: AbortController
  over: Promise<void>
}

export class ReplicaScraper implements Service {
  readonly name = 'replica-scraper'
  readonly #options: ReplicaScraperOptions
  readonly #loops = new Map<ReplicaServer, Loop>()
  readonly #ending = new Set<Promise<void>>()
  /** To be read, at most `serversMax`. */
  #watched: readonly WatchedServer[] = []
  #leftOutCount = 0
  #environments: DecisionTables['environments'] | null = null
  #isRunning = false
  #tooManyCount = 0

  constructor(options: ReplicaScraperOptions) {
    this.#options = options
  }

  /** Servers read now. */
  get serverCount(): number {
    return this.#loops.size
  }

  reads(server: ReplicaServer): boolean {
    return this.#loops.has(server)
  }

  /** The tables in effect: what their routes lead to is in effect. Costs nothing where no route changed. */
  follow(tables: DecisionTables): void {
    if (tables.environments === this.#environments) return
    this.#environments = tables.environments
    this.#take([...tables.environments.values()].map(providersOf))
  }

  /** Providers in effect: begins to read their replicas, and leaves others alone. */
  retain(providers: Iterable<ProviderTable>): void {
    this.#take([new Set(providers)])
  }

  #take(environments: readonly ReadonlySet<ProviderTable>[]): void {
    const watched = this.#options.replicas.retain(new Set(environments.flatMap((providers) => [...providers])))
    this.#watched = watched.length <= serversMax ? watched : inTurn(watched, environments, serversMax)
    this.#leftOutCount = watched.length - this.#watched.length
    if (this.#isRunning) this.#follow()
  }

  async run(): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    this.#follow()
  }

  async stop(): Promise<void> {
    this.#isRunning = false
    for (const server of [...this.#loops.keys()]) this.#leave(server)
    await this.#options.source.stop()
    await Promise.all(this.#ending)
  }

  #follow(): void {
    const wanted = new Map(this.#watched.map(({ server, intervalMs }) => [server, intervalMs]))
    for (const server of [...this.#loops.keys()]) if (!wanted.has(server)) this.#leave(server)
    for (const [server, intervalMs] of wanted) {
      const loop = this.#loops.get(server)
      if (loop === undefined) this.#begin(server, intervalMs)
      else loop.intervalMs = intervalMs
    }
    this.#tellOfTooMany(this.#leftOutCount)
  }

  #tellOfTooMany(count: number): void {
    if (count > 0 && this.#tooManyCount === 0) {
      this.#options.log.warn({ count, serversMax }, 'more replicas than are read; nothing is known of the rest')
    }
    this.#tooManyCount = count
  }

  #begin(server: ReplicaServer, intervalMs: number): void {
    const loop: Loop = { intervalMs, largePauseMs: 0, abort: new AbortController(), over: Promise.resolve() }
    this.#loops.set(server, loop)
    loop.over = this.#readOn(server, loop)
  }

  #leave(server: ReplicaServer): void {
    const loop = this.#loops.get(server)
    if (loop === undefined) return
    this.#loops.delete(server)
    loop.abort.abort()
    // Nobody would hear that it is there again.
    server.leaveUnread()
    const over = loop.over.finally(() => this.#ending.delete(over))
    this.#ending.add(over)
  }

  async #readOn(server: ReplicaServer, loop: Loop): Promise<void> {
    const { clock, random } = this.#options
    const { signal } = loop.abort
    const pause = (ms: number) => clock.sleep(ms, signal).catch(() => {})
    await pause(loop.intervalMs * random())
    while (!signal.aborted) {
      const isTooLarge = await this.#readOnce(server, signal)
      loop.largePauseMs = isTooLarge ? Math.min(largePauseMsMax, 2 * Math.max(loop.largePauseMs, loop.intervalMs)) : 0
      await pause(Math.max(loop.intervalMs, loop.largePauseMs) * (0.9 + 0.2 * random()))
    }
  }

  /** True when the page was too large. */
  async #readOnce(server: ReplicaServer, signal: AbortSignal): Promise<boolean> {
    const { source, clock } = this.#options
    const page = await source.read(server.metricsUrl, readTimeoutMs)
    if (signal.aborted) return false
    const nowUs = clock.monotonicUs()
    const said = typeof page === 'string' ? page : readEngineMetrics(page.text)
    const before = server.speech
    if (said === 'silent') server.hearSilence()
    else if (typeof said === 'string') server.hearNothing(said, nowUs)
    else server.hear(said, nowUs)
    if (server.speech !== before) this.#tell(server, before)
    return said === 'too_large'
  }

  #tell({ url, metricsUrl, speech }: ReplicaServer, before: ServerSpeech) {
    const { log } = this.#options
    const fields = { replica: url, metricsUrl, before }
    switch (speech) {
      case 'understood':
        if (before !== 'unread') log.info(fields, 'a replica tells its queue and memory again')
        return
      case 'unknown_names':
        return log.warn(
          fields,
          "a replica's metrics have none of the names we know for its queue and memory: it is chosen without them",
        )
      case 'too_large':
        return log.warn(fields, "a replica's metrics are more than is read: it is chosen without them")
      case 'silent':
        return log.warn(fields, 'a replica cannot be reached')
      default:
        return log.info({ ...fields, speech }, 'a replica tells nothing of its queue and memory')
    }
  }
}

function providersOf({ routes }: EnvironmentTable): ReadonlySet<ProviderTable> {
  const providers = new Set<ProviderTable>()
  for (const { rules } of routes.values()) {
    for (const { targets } of rules) for (const { provider } of targets) providers.add(provider)
  }
  return providers
}

/** So many of `watched` that no environment has a place more than another that could use one. */
function inTurn(
  watched: readonly WatchedServer[],
  environments: readonly ReadonlySet<ProviderTable>[],
  countMax: number,
): readonly WatchedServer[] {
  const byUrl = new Map(watched.map((each) => [each.server.url, each]))
  const queues = environments.map((providers) => urlsOf(providers))
  const chosen = new Set<WatchedServer>()
  for (let left = queues; left.length > 0 && chosen.size < countMax; ) {
    left = left.filter((urls) => {
      for (let next = urls.next(); !next.done; next = urls.next()) {
        const each = byUrl.get(next.value)
        // One that another environment has a place for needs no second.
        if (each === undefined || chosen.has(each)) continue
        if (chosen.size < countMax) chosen.add(each)
        return true
      }
      return false
    })
  }
  return [...chosen]
}

function* urlsOf(providers: ReadonlySet<ProviderTable>): Generator<string, undefined> {
  for (const { replicas } of providers) for (const place of replicas) yield urlOf(place)
}
