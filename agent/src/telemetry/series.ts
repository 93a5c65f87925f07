/**
 * The plain numbers that are counted on the request path, and how they are handed to prom-client at a scrape. It hashes a
 * label set on every increment, which there would cost as much as the rest of a request.
 */

/** Bounds in seconds: from a cache hit to a long reasoning answer. */
const secondsBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
] as const
/** Of series that there are hundreds of: a scrape writes a line per bucket. */
const fewSecondsBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const

export type LabelValues = Readonly<Record<string, string>>

/** What prom-client's registry reads of a metric. */
export interface Snapshot {
  name: string
  help: string
  type: 'counter' | 'histogram' | 'gauge'
  aggregator: 'sum'
  values: { metricName?: string; value: number; labels: Record<string, string | number> }[]
}

/** What the registry asks a metric for, and nothing else. */
export interface MetricFamily {
  readonly name: string
  get(): Promise<Snapshot>
}

export class CounterSeries {
  value = 0
  add(count: number): void {
    this.value += count
  }
}

export class HistogramSeries {
  readonly bounds: readonly number[]
  readonly counts: Float64Array
  sum = 0

  constructor(buckets: 'many' | 'few' = 'many') {
    this.bounds = buckets === 'many' ? secondsBuckets : fewSecondsBuckets
    this.counts = new Float64Array(this.bounds.length + 1)
  }

  observeUs(durationUs: number): void {
    const { bounds } = this
    const seconds = durationUs / 1_000_000
    let at = 0
    while (at < bounds.length && seconds > (bounds[at] ?? 0)) at += 1
    this.counts[at] = (this.counts[at] ?? 0) + 1
    this.sum += seconds
  }

  write(name: string, labels: LabelValues, into: Snapshot['values']): void {
    let total = 0
    for (const [index, bound] of this.bounds.entries()) {
      total += this.counts[index] ?? 0
      into.push({ metricName: `${name}_bucket`, value: total, labels: { ...labels, le: bound } })
    }
    total += this.counts[this.bounds.length] ?? 0
    into.push({ metricName: `${name}_bucket`, value: total, labels: { ...labels, le: '+Inf' } })
    into.push({ metricName: `${name}_sum`, value: this.sum, labels })
    into.push({ metricName: `${name}_count`, value: total, labels })
  }
}
