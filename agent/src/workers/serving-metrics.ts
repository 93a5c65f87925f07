import { AgentMetrics } from '../telemetry/metrics.js'

/** Metrics that also show sums which others keep: counters, so that they stay in the sums of an agent when a worker ends. */
export class ServingMetrics extends AgentMetrics {
  readonly #counters: { readonly name: string; readonly help: string; readonly read: () => number }[] = []

  /** Shows a sum that never falls, read at each scrape, as `switchyard_agent_<name>`; the name ends with `_total`. */
  counter(name: string, help: string, read: () => number): void {
    this.#counters.push({ name: `switchyard_agent_${name}`, help, read })
  }

  override async text(): Promise<string> {
    const text = await super.text()
    const blocks = this.#counters.map(
      ({ name, help, read }) => `# HELP ${name} ${help}\n# TYPE ${name} counter\n${name} ${read()}\n`,
    )
    return blocks.length === 0 ? text : `${text.trimEnd()}\n\n${blocks.join('\n')}`
  }
}

/** Counted by workers, of what they told, and by the primary, of what it passed on. */
export const droppedPrefixes = {
  name: 'prefixes_not_shared_total',
  help: 'Beginnings of prompts that another request worker was not told of, because more came than it takes.',
} as const
