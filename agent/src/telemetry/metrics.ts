import { collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'

/**
 * What the data plane counts about itself. Every name begins with `switchyard_agent_`, so that it is never taken for the
 * control plane's. Every label has a closed set of values: operations, outcomes, codes, kinds; never a tenant, key or
 * route, which are for usage records.
 *
 * prom-client hashes a label set on every increment; on the request path that would cost as much as the rest of it. So
 * the counts live in plain numbers, with one object per label set (two labels at most) made on first use, and are handed over at a scrape.
 */
const prefix = 'switchyard_agent_'

/** Bounds in seconds: from a cache hit to a long reasoning answer. */
const secondsBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
] as const

/** A family bounded to this many label sets; a further one falls into the first. Sets are closed, so this is a net. */
const seriesMax = 512

interface Snapshot {
  name: string
  help: string
  type: 'counter' | 'histogram'
  aggregator: 'sum'
  values: { metricName?: string; value: number; labels: Record<string, string | number> }[]
}

export class CounterSeries {
  value = 0
  add(count: number): void {
    this.value += count
  }
}

export class HistogramSeries {
  readonly counts = new Float64Array(secondsBuckets.length + 1)
  sum = 0
  observeUs(durationUs: number): void {
    const seconds = durationUs / 1_000_000
    let at = 0
    while (at < secondsBuckets.length && seconds > (secondsBuckets[at] ?? 0)) at += 1
    this.counts[at] = (this.counts[at] ?? 0) + 1
    this.sum += seconds
  }
}

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
    let total = 0
    for (const [index, bound] of secondsBuckets.entries()) {
      total += series.counts[index] ?? 0
      into.push({ metricName: `${this.name}_bucket`, value: total, labels: { ...labels, le: bound } })
    }
    total += series.counts[secondsBuckets.length] ?? 0
    into.push({ metricName: `${this.name}_bucket`, value: total, labels: { ...labels, le: '+Inf' } })
    into.push({ metricName: `${this.name}_sum`, value: series.sum, labels })
    into.push({ metricName: `${this.name}_count`, value: total, labels })
  }
}

/** Numbers that others hold and a scrape asks for. */
export interface GaugeSources {
  inFlight(): number
  connections(): number
  upstreamConnections(): number
  upstreamQueued(): number
}

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
    ]
    // The registry asks a metric for its name and its numbers and nothing else.
    for (const family of families) this.#registry.registerMetric(family as unknown as Metric)
  }

  /** Shows numbers that are held elsewhere; called once, by the composition root. */
  watch(sources: GaugeSources): void {
    this.gauge('in_flight_requests', 'Requests running now.', () => sources.inFlight())
    this.gauge('client_connections', 'Connections of clients open now.', () => sources.connections())
    this.gauge('upstream_connections', 'Connections to upstreams open now.', () => sources.upstreamConnections())
    this.gauge('upstream_queued_requests', 'Requests waiting for an upstream connection.', () =>
      sources.upstreamQueued(),
    )
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

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Calls `task` before numbers are read, so that who counts in batches can catch up. One task. */
  beforeScrape(task: () => void): void {
    this.#beforeScrape = task
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
  text(): Promise<string> {
    this.#beforeScrape()
    return this.#registry.metrics()
  }
}
