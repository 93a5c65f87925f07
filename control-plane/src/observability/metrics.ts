import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/** Names say which plane they are of; the agent's begin with `switchyard_agent_`. */
export const metricPrefix = 'switchyard_control_plane_'

interface MetricFacts<Label extends string> {
  /** Without the prefix; ends in its unit, counters in `_total`. */
  readonly name: string
  readonly help: string
  readonly labels?: readonly Label[]
}

/**
 * The metrics of this process. Rooms make theirs through it at construction, so that none can be named without the
 * prefix; labels have few values by construction (never an id, a name or a text of a caller).
 */
export class Metrics {
  readonly #registry = new Registry()

  constructor() {
    collectDefaultMetrics({ register: this.#registry, prefix: metricPrefix })
  }

  counter<Label extends string = never>(facts: MetricFacts<Label>): Counter<Label> {
    return new Counter({ ...this.#named(facts), registers: [this.#registry] })
  }

  /** `collect` is called at each scrape. */
  gauge<Label extends string = never>(
    facts: MetricFacts<Label>,
    collect?: (gauge: Gauge<Label>) => void,
  ): Gauge<Label> {
    return new Gauge({
      ...this.#named(facts),
      registers: [this.#registry],
      ...(collect === undefined
        ? {}
        : {
            collect(this: Gauge<Label>) {
              collect(this)
            },
          }),
    })
  }

  /** `buckets` in the unit that the name ends in. */
  histogram<Label extends string = never>(
    facts: MetricFacts<Label> & { readonly buckets: readonly number[] },
  ): Histogram<Label> {
    return new Histogram({ ...this.#named(facts), buckets: [...facts.buckets], registers: [this.#registry] })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** The text of a scrape. */
  text(): Promise<string> {
    return this.#registry.metrics()
  }

  #named<Label extends string>(facts: MetricFacts<Label>): { name: string; help: string; labelNames: Label[] } {
    return { name: metricPrefix + facts.name, help: facts.help, labelNames: [...(facts.labels ?? [])] }
  }
}
