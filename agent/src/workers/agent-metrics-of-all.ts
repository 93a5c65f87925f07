import { AgentMetrics } from '../telemetry/metrics.js'
import { countedOf, formatMetrics, type MetricFamilies, mergeMetrics, parseMetrics } from './merge-metrics.js'

/** Scrapes of the workers that answered. */
export interface ScrapedWorkers {
  /** By worker, its text; who does not answer in time is left out. Never rejects. */
  scrape(): Promise<ReadonlyMap<number, string>>
  readonly restartCount: number
}

/**
 * `/metrics` of an agent with request workers: this process's numbers and those of all workers as one. What a worker
 * counted is kept when it ends (as of its last scrape) or does not answer, so that no sum ever falls, which would be taken
 * for an agent that started anew.
 */
export class AgentMetricsOfAll extends AgentMetrics {
  #workers: ScrapedWorkers | null = null
  /** By worker, what it said last. */
  readonly #last = new Map<number, MetricFamilies>()
  #ended: MetricFamilies = new Map()

  /** Called once, when there are workers. */
  watchWorkers(workers: ScrapedWorkers): void {
    this.#workers = workers
  }

  /** The worker's process has ended; the next one of its number counts from zero. */
  workerEnded(index: number): void {
    const last = this.#last.get(index)
    if (last === undefined) return
    this.#last.delete(index)
    this.#ended = mergeMetrics([this.#ended, countedOf(last)])
  }

  override async text(): Promise<string> {
    const own = await super.text()
    const workers = this.#workers
    if (workers === null) return own
    const answers = await workers.scrape()
    const live: MetricFamilies[] = []
    for (const [index, text] of answers) this.#last.set(index, parseMetrics(text))
    for (const [index, families] of this.#last) live.push(answers.has(index) ? families : countedOf(families))
    const restarts: MetricFamilies = new Map([
      [
        'switchyard_agent_worker_restarts_total',
        {
          help: 'Request workers that ended unasked and were started anew.',
          type: 'counter',
          samples: new Map([['switchyard_agent_worker_restarts_total', workers.restartCount]]),
        },
      ],
    ])
    return formatMetrics(mergeMetrics([parseMetrics(own), this.#ended, ...live, restarts]))
  }
}
