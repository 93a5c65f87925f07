import { AgentMetrics } from '../telemetry/metrics.js'
import { droppedPrefixes } from './dropped-prefixes.js'
import { countedOf, formatMetrics, type MetricFamilies, mergeMetrics, parseMetrics } from './merge-metrics.js'

/** Scrapes of the workers that answered. */
export interface ScrapedWorkers {
  /** By life of a worker's process, its text; who does not answer in time is left out. Never rejects. */
  scrape(): Promise<ReadonlyMap<number, string>>
  readonly restartCount: number
  readonly droppedPrefixCount: number
}

/**
 * `/metrics` of an agent with request workers: this process's numbers and those of all workers as one. What a worker
 * counted is kept when it ends (as of its last scrape) or does not answer, so that no sum ever falls, which would be taken
 * for an agent that started anew.
 *
 * Lives are told apart, not workers, and one scrape is under way at a time for all who ask: an answer that comes when its
 * process has ended, or after a later one, is neither added to the next life's nor put in place of more.
 */
export class AgentMetricsOfAll extends AgentMetrics {
  #workers: ScrapedWorkers | null = null
  /** By life, what it said last. */
  readonly #last = new Map<number, MetricFamilies>()
  /** Who answered the last scrape. */
  #answered: ReadonlySet<number> = new Set()
  /** What lives that have ended counted. */
  #ended: MetricFamilies = new Map()
  #scraping: Promise<void> | null = null
  readonly #endedMeanwhile = new Set<number>()

  /** Called once, when there are workers. */
  watchWorkers(workers: ScrapedWorkers): void {
    this.#workers = workers
    this.counter(
      'worker_restarts_total',
      'Request workers that ended unasked and were started anew.',
      () => workers.restartCount,
    )
    this.counter(droppedPrefixes.name, droppedPrefixes.help, () => workers.droppedPrefixCount)
  }

  /** The process of that life has ended. */
  workerEnded(life: number): void {
    // Its answer may be among those that are being gathered.
    if (this.#scraping !== null) this.#endedMeanwhile.add(life)
    else this.#keepCounted(life)
  }

  override async text(): Promise<string> {
    if (this.#workers === null) return super.text()
    this.#scraping ??= this.#scrape(this.#workers)
    await this.#scraping
    const own = parseMetrics(await super.text())
    const lives = [...this.#last].map(([life, families]) => (this.#answered.has(life) ? families : countedOf(families)))
    return formatMetrics(mergeMetrics([own, this.#ended, ...lives]))
  }

  async #scrape(workers: ScrapedWorkers): Promise<void> {
    try {
      const answers = await workers.scrape()
      for (const [life, text] of answers) this.#last.set(life, parseMetrics(text))
      this.#answered = new Set(answers.keys())
    } finally {
      for (const life of this.#endedMeanwhile) this.#keepCounted(life)
      this.#endedMeanwhile.clear()
      this.#scraping = null
    }
  }

  #keepCounted(life: number): void {
    const last = this.#last.get(life)
    if (last === undefined) return
    this.#last.delete(life)
    this.#ended = mergeMetrics([this.#ended, countedOf(last)])
  }
}
