/**
 * Scrapes of several processes as one, in Prometheus' text format: what is counted is added up, bucket by bucket; a gauge is
 * the sum of all, unless it is among those of which a sum says nothing, and then the largest. Pure.
 */
export interface MetricFamily {
  readonly help: string
  readonly type: string
  /** By name and labels as written. */
  readonly samples: Map<string, number>
}

export type MetricFamilies = Map<string, MetricFamily>

/** Gauges of states, instants, versions and delays; and those that every worker reads off the same thing outside. */
const largest =
  /_(state|info|start_time_seconds|not_after_seconds|max_fds|cold_start_seconds|applied_generation|connected|api_keys)$|_eventloop_lag_|_replica_(?!in_flight)/

export function parseMetrics(text: string): MetricFamilies {
  const families: MetricFamilies = new Map()
  let help = { name: '', text: '' }
  let family: MetricFamily | null = null
  for (const line of text.split('\n')) {
    if (line.startsWith('# HELP ')) {
      const [name = '', ...words] = line.slice(7).split(' ')
      help = { name, text: words.join(' ') }
    } else if (line.startsWith('# TYPE ')) {
      const [name = '', type = 'untyped'] = line.slice(7).split(' ')
      family = families.get(name) ?? { help: help.name === name ? help.text : '', type, samples: new Map() }
      families.set(name, family)
    } else if (family !== null && line !== '' && !line.startsWith('#')) {
      const space = line.lastIndexOf(' ')
      family.samples.set(line.slice(0, space), Number(line.slice(space + 1)))
    }
  }
  return families
}

/** All of `parts` together, in the order in which families first come. */
export function mergeMetrics(parts: readonly MetricFamilies[]): MetricFamilies {
  const merged: MetricFamilies = new Map()
  for (const part of parts) {
    for (const [name, { help, type, samples }] of part) {
      const family = merged.get(name) ?? { help, type, samples: new Map() }
      merged.set(name, family)
      const isLargest = type === 'gauge' && largest.test(name)
      for (const [key, value] of samples) {
        const before = family.samples.get(key)
        if (before === undefined) family.samples.set(key, value)
        else family.samples.set(key, isLargest ? Math.max(before, value) : before + value)
      }
    }
  }
  return merged
}

/** Only what is counted, and so must not fall when the process that counted it is gone. */
export function countedOf(families: MetricFamilies): MetricFamilies {
  return new Map([...families].filter(([, { type }]) => type === 'counter' || type === 'histogram'))
}

export function formatMetrics(families: MetricFamilies): string {
  const blocks: string[] = []
  for (const [name, { help, type, samples }] of families) {
    const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`]
    for (const [key, value] of samples) lines.push(`${key} ${textOf(value)}`)
    blocks.push(lines.join('\n'))
  }
  return `${blocks.join('\n\n')}\n`
}

function textOf(value: number): string {
  if (Number.isNaN(value)) return 'Nan'
  return value === Number.POSITIVE_INFINITY ? '+Inf' : value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value)
}
