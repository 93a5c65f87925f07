import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import { CounterSeries, HistogramSeries, type MetricFamily, type Snapshot } from './series.js'
import { TargetMetrics } from './target-metrics.js'

/**
 * What the data plane counts about itself. Every name begins with `switchyard_agent_`, so that it is never taken for the
 * control plane's. Every label has a closed set of values (operations, outcomes, codes, kinds) or a bounded number of them
 * (routes, rules, targets, providers); never a tenant, key or user, which are for usage records.
 *
 * Counts live in plain numbers, with one object per label set (two labels at most) made on first use.
 */
const prefix = 'switchyard_agent_'

/** A family bounded to this many label sets; a further one falls into the first. Sets are closed, so this is a net. */
const seriesMax = 512

abstract class Family<Series> {
  readonly #entries: { labels: Record<string, string>; series: Series }[] = []
  /** First label, then second: a look-up makes no text. */
  readonly #series = new Map<string, Map<string, Series>>()
  readonly name: string
  readonly help: string
  readonly #labelNames: readonly string[]

  constructor(name: string, help: string, labelNames: readonly string[]) {
    this.name = prefix + name
    this.help = help
    this.#labelNames = labelNames
  }

  /** The series of these label values, in the order of the names; absent ones are empty. */
  of(first = '', second = ''): Series {
    let bySecond = this.#series.get(first)
    if (bySecond === undefined) {
      bySecond = new Map()
      this.#series.set(first, bySecond)
    }
    return bySecond.get(second) ?? this.#add(bySecond, first, second)
  }

  #add(bySecond: Map<string, Series>, first: string, second: string): Series {
    const eldest = this.#entries[0]
    if (this.#entries.length >= seriesMax && eldest !== undefined) return eldest.series
    const values = [first, second]
    const labels = Object.fromEntries(this.#labelNames.map((name, index) => [name, values[index] ?? '']))
    const series = this.make()
    this.#entries.push({ labels, series })
    bySecond.set(second, series)
    return series
  }

  /** Whether there is one of this first label's value already. */
  has(first: string): boolean {
    return this.#series.has(first)
  }

  /** Label sets that there are. */
  get size(): number {
    return this.#entries.length
  }

  /** What the registry asks at a scrape. */
  async get(): Promise<Snapshot> {
    const snapshot = this.describe()
    for (const { labels, series } of this.#entries) this.write(series, labels, snapshot.values)
    return snapshot
  }

  protected abstract make(): Series
  protected abstract describe(): Snapshot
  protected abstract write(series: Series, labels: Record<string, string>, into: Snapshot['values']): void
}

class CounterFamily extends Family<CounterSeries> {
  protected make(): CounterSeries {
    return new CounterSeries()
  }
  protected describe(): Snapshot {
    return { name: this.name, help: this.help, type: 'counter', aggregator: 'sum', values: [] }
  }
  protected write(series: CounterSeries, labels: Record<string, string>, into: Snapshot['values']): void {
    into.push({ value: series.value, labels })
  }
}

class HistogramFamily extends Family<HistogramSeries> {
  protected make(): HistogramSeries {
    return new HistogramSeries()
  }
  protected describe(): Snapshot {
    return { name: this.name, help: this.help, type: 'histogram', aggregator: 'sum', values: [] }
  }
  protected write(series: HistogramSeries, labels: Record<string, string>, into: Snapshot['values']): void {
    series.write(this.name, labels, into)
  }
}

export interface LabelledNumber {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Numbers that others hold and a scrape asks for. */
export interface GaugeSources {
  inFlight(): number
  connections(): number
  upstreamConnections(): number
  upstreamQueued(): number
  /** Requests that wait for a connection, by provider; left out: nobody knows. */
  upstreamQueues?(): Iterable<readonly [providerId: string, queuedCount: number]>
}

/** Providers with a series of their own; those beyond share one that says `other`. */
const providersMax = 500
/** Routes with a series of their own, likewise. Fewer than `seriesMax`, so that `other` has its place. */
const routesMax = 500

export class AgentMetrics {
  readonly requests = new CounterFamily('requests_total', 'Authenticated requests by how they ended.', [
    'operation',
    'status',
  ])
  readonly refusals = new CounterFamily('refusals_total', 'Requests answered with an error of our own, by code.', [
    'code',
  ])
  readonly authenticationFailures = new CounterFamily(
    'authentication_failures_total',
    'Requests without a valid API key, by code.',
    ['code'],
  )
  readonly hops = new CounterFamily('hops_total', 'Tries of a target, by kind of provider and outcome.', [
    'provider_kind',
    'outcome',
  ])
  readonly tokens = new CounterFamily('tokens_total', 'Tokens of recorded requests.', ['direction'])
  readonly requestSeconds = new HistogramFamily(
    'request_duration_seconds',
    'Head read to last byte, of authenticated requests.',
    ['operation', 'stream'],
  )
  readonly overheadSeconds = new HistogramFamily(
    'overhead_seconds',
    'Part of a request that was spent here and not in an upstream.',
    ['operation', 'stream'],
  )
  readonly firstTokenSeconds = new HistogramFamily(
    'first_token_seconds',
    'Head read to first event of a streamed answer.',
    [],
  )
  readonly hedges = new CounterFamily(
    'hedges_total',
    'Second targets asked because the first was slow: sent, won, lost, failed; over_budget, no_place: not sent for the budget of the route, or as the batch of the target was full.',
    ['event'],
  )
  readonly lastResorts = new CounterFamily(
    'last_resorts_total',
    'Requests of which every target failed, answered with a kept or a fixed answer.',
    ['kind'],
  )
  readonly warmUps = new CounterFamily('warm_ups_total', 'Synthetic requests that keep targets warm, by outcome.', [
    'outcome',
  ])
  readonly warmUpTokens = new CounterFamily('warm_up_tokens_total', 'Tokens of synthetic requests.', ['direction'])
  readonly warmUpNanoUsd = new CounterFamily(
    'warm_up_cost_nano_usd_total',
    'Nano-dollars that synthetic requests cost; those to targets without a price are not in it.',
    [],
  )
  readonly warmUpSeconds = new HistogramFamily(
    'warm_up_seconds',
    'Time to the answer of synthetic requests: cold starts where they came late.',
    [],
  )
  readonly routingOverrides = new CounterFamily(
    'routing_overrides_total',
    'Requests whose client overrode the routing by header.',
    ['kind'],
  )
  readonly conditionFailures = new CounterFamily(
    'condition_failures_total',
    'Conditions of rules that counted as false because nobody could say whether they hold, by route.',
    ['route'],
  )
  readonly classifierCalls = new CounterFamily(
    'classifier_calls_total',
    'Prompts that a classifier was to measure, by what came of it; without an answer the built-in estimates count.',
    ['outcome'],
  )
  readonly classifierSeconds = new HistogramFamily(
    'classifier_seconds',
    'Time that requests waited for a classifier, whatever came of it.',
    [],
  )
  /** Per target of a rule. */
  readonly targets = new TargetMetrics(prefix)
  readonly #registry = new Registry()
  #beforeScrape = () => {}

  constructor() {
    collectDefaultMetrics({ register: this.#registry, prefix })
    const families = [
      this.requests,
      this.refusals,
      this.authenticationFailures,
      this.hops,
      this.tokens,
      this.requestSeconds,
      this.overheadSeconds,
      this.firstTokenSeconds,
      this.hedges,
      this.lastResorts,
      this.warmUps,
      this.warmUpTokens,
      this.warmUpNanoUsd,
      this.warmUpSeconds,
      this.routingOverrides,
      this.conditionFailures,
      this.classifierCalls,
      this.classifierSeconds,
    ]
    for (const family of families) this.#register(family)
  }

  /** The registry asks a metric for its name and its numbers and nothing else. */
  #register(family: MetricFamily): void {
    this.#registry.registerMetric(family as unknown as Metric)
  }

  /** Shows numbers that are held elsewhere; called once, by the composition root. */
  watch(sources: GaugeSources): void {
    this.gauge('in_flight_requests', 'Requests running now.', () => sources.inFlight())
    this.gauge('client_connections', 'Connections of clients open now.', () => sources.connections())
    this.gauge('upstream_connections', 'Connections to upstreams open now.', () => sources.upstreamConnections())
    this.gauge('upstream_queued_requests', 'Requests waiting for an upstream connection.', () =>
      sources.upstreamQueued(),
    )
    const { upstreamQueues } = sources
    if (upstreamQueues !== undefined) this.#register(providerQueues(() => upstreamQueues.call(sources)))
  }

  /** Shows one more number, read at each scrape, as `switchyard_agent_<name>`. */
  gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name: prefix + name,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read())
      },
    })
  }

  /** Shows a sum that never falls, read at each scrape, as `switchyard_agent_<name>`; the name ends with `_total`. */
  counter(name: string, help: string, read: () => number): void {
    new Counter({
      name: prefix + name,
      help,
      registers: [this.#registry],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  }

  /** Shows one number of each of several things, read at each scrape, as `switchyard_agent_<name>`; `read` bounds how many. */
  gauges(name: string, help: string, read: () => readonly LabelledNumber[]): void {
    const values = () => read().map(({ labels, value }) => ({ labels: { ...labels }, value }))
    this.#register({
      name: prefix + name,
      get: async () => ({ name: prefix + name, help, type: 'gauge', aggregator: 'sum', values: values() }),
    })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Calls `task` before numbers are read, so that who counts in batches can catch up. One task. */
  beforeScrape(task: () => void): void {
    this.#beforeScrape = task
  }

  /** Conditions of the route's rules of which nobody could say whether they hold for one request. */
  countConditionFailures(routeId: string, failureCount: number): void {
    const { conditionFailures } = this
    const isOwn = conditionFailures.has(routeId) || conditionFailures.size < routesMax
    conditionFailures.of(isOwn ? routeId : 'other').add(failureCount)
  }

  /** A closed record. */
  countRecord(record: UsageRecord): void {
    const { operation, status, latencyUs, providerLatencyUs, tokensIn, tokensOut } = record
    const stream = record.stream ? 'true' : 'false'
    this.requests.of(operation, status).add(1)
    this.requestSeconds.of(operation, stream).observeUs(Number(latencyUs))
    this.overheadSeconds.of(operation, stream).observeUs(Number(latencyUs) - Number(providerLatencyUs))
    if (typeof tokensIn === 'number') this.tokens.of('in').add(tokensIn)
    if (typeof tokensOut === 'number') this.tokens.of('out').add(tokensOut)
  }

  /** Everything in Prometheus' text format. */
  async text(): Promise<string> {
    this.#beforeScrape()
    return (await this.#registry.metrics()) + (await this.targets.text())
  }
}

/** Requests that wait for a connection, per provider. */
function providerQueues(read: () => Iterable<readonly [string, number]>): MetricFamily {
  const head = {
    name: `${prefix}provider_queued_requests`,
    help: 'Requests waiting for a connection to a provider.',
    type: 'gauge',
    aggregator: 'sum',
  } as const
  return {
    name: head.name,
    get: async () => {
      const counts = new Map<string, number>()
      for (const [providerId, queuedCount] of read()) {
        const provider = counts.size < providersMax || counts.has(providerId) ? providerId : 'other'
        counts.set(provider, (counts.get(provider) ?? 0) + queuedCount)
      }
      return { ...head, values: [...counts].map(([provider, value]) => ({ value, labels: { provider } })) }
    },
  }
}
