import { afterTurn } from '../../../proto/std/turn.js'
import { CounterSeries, HistogramSeries } from './series.js'

/**
 * Numbers per target of a rule, labelled with the ids of route, rule and target. Ids come from configuration and come and
 * go with it, so these labels are bounded by number: `combinationsMax` of them have series of their own, whatever comes
 * beyond shares one that says `other`; who is forgotten makes room. Who counts holds its series, so counting is no look-up.
 */
export const combinationsMax = 500

export interface TargetLabels {
  readonly route: string
  readonly rule: string
  readonly target: string
}

/** What a scrape asks of the target itself. */
export interface TargetGauges {
  /** 0 closed, 1 half open, 2 open. */
  readonly breakerState: number
  readonly inFlightCount: number
  /** Of the last warm-up, microseconds; null: there was none. */
  readonly coldStartUs: number | null
  /** Null: nothing limits what runs there. */
  readonly batch: BatchGauges | null
}

export interface BatchGauges {
  /** Infinite: the limit was taken away. */
  readonly sizeMax: number
  readonly runningCount: number
  readonly waitingCount: number
}

const other: TargetLabels = Object.freeze({ route: 'other', rule: 'other', target: 'other' })

export class TargetSeries {
  readonly labels: TargetLabels
  /** Null: the series that is shared; the states of many have no sum. */
  readonly gauges: TargetGauges | null
  readonly firstToken = new HistogramSeries('few')
  /** Null: nobody took a place in its batch yet; most targets have no limit. */
  batchWait: HistogramSeries | null = null
  readonly outcomes = new Map<string, CounterSeries>()

  constructor(labels: TargetLabels, gauges: TargetGauges | null) {
    this.labels = labels
    this.gauges = gauges
  }

  get isShared(): boolean {
    return this.gauges === null
  }

  /** One try of the target ended so. Outcomes are a closed set. */
  count(outcome: string): void {
    const series = this.outcomes.get(outcome)
    if (series === undefined) this.outcomes.set(outcome, new CounterSeries()).get(outcome)?.add(1)
    else series.add(1)
  }

  /** A request has a place in the batch, after so long. */
  observeBatchWait(durationUs: number): void {
    this.batchWait ??= new HistogramSeries('few')
    this.batchWait.observeUs(durationUs)
  }
}

/** How many targets are written between two turns of the event loop: a scrape of all of them takes tens of milliseconds. */
const targetsPerTurn = 25

interface Family {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  /** The lines of one target. `labels` as they stand between the braces. */
  write(series: TargetSeries, name: string, labels: string): string
}

const gauge = (name: string, help: string, read: (gauges: TargetGauges) => number | null): Family => ({
  ...{ name, type: 'gauge', help },
  write: ({ gauges }, fullName, labels) => {
    const value = gauges && read(gauges)
    return value === null ? '' : `${fullName}{${labels}} ${value}\n`
  },
})

const families: readonly Family[] = [
  {
    ...{ name: 'target_hops_total', type: 'counter', help: 'Tries of a target by outcome.' },
    write: ({ outcomes }, name, labels) => {
      let lines = ''
      for (const [outcome, { value }] of outcomes) lines += `${name}{${labels},outcome="${outcome}"} ${value}\n`
      return lines
    },
  },
  {
    ...{ name: 'target_first_token_seconds', type: 'histogram' },
    help: 'Time of a target to its first token; of a whole answer, to its end.',
    write: ({ firstToken }, name, labels) => (firstToken.sum === 0 ? '' : histogramLines(firstToken, name, labels)),
  },
  gauge(
    'target_breaker_state',
    'Whether a target is asked: 0 closed, 1 half open (one request tries it), 2 open (left alone).',
    ({ breakerState }) => breakerState,
  ),
  gauge('target_in_flight', 'Requests running at a target.', ({ inFlightCount }) => inFlightCount),
  gauge('target_cold_start_seconds', 'Time to the answer of the last warm-up of a target.', ({ coldStartUs }) =>
    coldStartUs === null ? null : coldStartUs / 1_000_000,
  ),
  gauge(
    'target_batch_size',
    'Most requests that run at a target at once, where it has such a limit.',
    ({ batch }) => batch && (batch.sizeMax === Number.POSITIVE_INFINITY ? null : batch.sizeMax),
  ),
  gauge('target_batch_running', 'Requests that have a place in the batch of a target.', ({ batch }) =>
    batch === null ? null : batch.runningCount,
  ),
  gauge('target_queue_length', 'Requests that wait for a place in the batch of a target.', ({ batch }) =>
    batch === null ? null : batch.waitingCount,
  ),
  {
    ...{ name: 'target_batch_wait_seconds', type: 'histogram' },
    help: 'Time that requests waited for a place in the batch of a target, of those that got one.',
    write: ({ batchWait }, name, labels) => (batchWait === null ? '' : histogramLines(batchWait, name, labels)),
  },
]

function histogramLines({ bounds, counts, sum }: HistogramSeries, name: string, labels: string): string {
  let lines = ''
  let total = 0
  for (let index = 0; index <= bounds.length; index++) {
    total += counts[index] ?? 0
    lines += `${name}_bucket{${labels},le="${bounds[index] ?? '+Inf'}"} ${total}\n`
  }
  return `${lines}${name}_sum{${labels}} ${sum}\n${name}_count{${labels}} ${total}\n`
}

export class TargetMetrics {
  readonly #prefix: string
  readonly #own = new Set<TargetSeries>()
  readonly #shared = new TargetSeries(other, null)

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  /** Series for these labels, to be given back with `close`. */
  open(labels: TargetLabels, gauges: TargetGauges): TargetSeries {
    if (this.#own.size >= combinationsMax) return this.#shared
    const series = new TargetSeries(labels, gauges)
    this.#own.add(series)
    return series
  }

  /** The target is forgotten: its numbers are shown no more. */
  close(series: TargetSeries): void {
    this.#own.delete(series)
  }

  /** Everything in Prometheus' text format, written in slices. */
  async text(): Promise<string> {
    let text = ''
    const all = [...this.#own, this.#shared].map((series) => ({ series, labels: labelText(series.labels) }))
    for (const { name, type, help, write } of families) {
      const fullName = this.#prefix + name
      text += `# HELP ${fullName} ${help}\n# TYPE ${fullName} ${type}\n`
      for (const [index, { series, labels }] of all.entries()) {
        if (index % targetsPerTurn === targetsPerTurn - 1) await nextTurn()
        text += write(series, fullName, labels)
      }
    }
    return text
  }
}

function labelText({ route, rule, target }: TargetLabels): string {
  return `route="${escaped(route)}",rule="${escaped(rule)}",target="${escaped(target)}"`
}

/** As Prometheus' text format demands of label values. */
function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (unit) => (unit === '\n' ? '\\n' : `\\${unit}`))
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => afterTurn(resolve))
}
