import { describe, expect, it } from 'vitest'
import { AgentMetrics } from '../telemetry/metrics.js'
import { AgentMetricsOfAll } from './agent-metrics-of-all.js'
import { countedOf, formatMetrics, mergeMetrics, parseMetrics } from './merge-metrics.js'

const merged = (...texts: string[]) => formatMetrics(mergeMetrics(texts.map(parseMetrics)))

describe('scrapes of several processes', () => {
  it.each([
    [
      'counters are added, by labels',
      'counter',
      'n_total',
      'n_total{a="x y"} 2',
      'n_total{a="x y"} 3',
      'n_total{a="x y"} 5',
    ],
    ['gauges are added', 'gauge', 'in_flight', 'in_flight 2', 'in_flight 3', 'in_flight 5'],
    [
      'places and lines of targets are added',
      'gauge',
      'target_batch_size',
      'target_batch_size{t="1"} 8',
      'target_batch_size{t="1"} 8',
      'target_batch_size{t="1"} 16',
    ],
    [
      'states are the worst',
      'gauge',
      'breaker_state',
      'breaker_state{t="1"} 2',
      'breaker_state{t="1"} 1',
      'breaker_state{t="1"} 2',
    ],
    [
      'an instant is the latest',
      'gauge',
      'process_start_time_seconds',
      'process_start_time_seconds 7',
      'process_start_time_seconds 9',
      'process_start_time_seconds 9',
    ],
    [
      'a bucket is a count',
      'histogram',
      's',
      's_bucket{le="+Inf"} 1',
      's_bucket{le="+Inf"} 2',
      's_bucket{le="+Inf"} 3',
    ],
    ['a series of one only stays', 'counter', 'n', 'n{a="1"} 2', 'n{a="2"} 3', 'n{a="1"} 2\nn{a="2"} 3'],
  ])('%s', (_, type, name, one, other, sum) => {
    const head = `# HELP ${name} What it is.\n# TYPE ${name} ${type}\n`
    expect(merged(head + one, head + other)).toBe(`${head}${sum}\n`)
  })

  it('are the same text when there is one', async () => {
    const metrics = new AgentMetrics()
    metrics.requests.of('chat_completions', 'ok').add(3)
    metrics.requestSeconds.of('chat_completions', 'false').observeUs(1_500)
    const text = await metrics.text()
    expect(merged(text).trim().split(/\n+/)).toEqual(text.trim().split(/\n+/))
  })

  it('lose no count when a process is gone', () => {
    const text = '# HELP a A.\n# TYPE a counter\na 2\n\n# HELP b B.\n# TYPE b gauge\nb 3\n'
    expect(formatMetrics(countedOf(parseMetrics(text)))).toBe('# HELP a A.\n# TYPE a counter\na 2\n')
  })
})

describe('the metrics of an agent with workers', () => {
  const counter = (count: number) =>
    `# HELP switchyard_agent_x_total X.\n# TYPE switchyard_agent_x_total counter\nswitchyard_agent_x_total ${count}\n`
  const gauge = (value: number) =>
    `# HELP switchyard_agent_y Y.\n# TYPE switchyard_agent_y gauge\nswitchyard_agent_y ${value}\n`
  const valuesIn = async (metrics: AgentMetricsOfAll) => {
    const text = await metrics.text()
    return ['x_total', 'y', 'worker_restarts_total'].map(
      (name) => new RegExp(`^switchyard_agent_${name} (.*)$`, 'm').exec(text)?.[1],
    )
  }

  it('never fall: not when a worker does not answer, nor when it begins anew', async () => {
    const metrics = new AgentMetricsOfAll()
    const answers = new Map<number, string>([
      [0, counter(5) + gauge(1)],
      [1, counter(7) + gauge(2)],
    ])
    let restartCount = 0
    metrics.watchWorkers({
      scrape: async () => answers,
      get restartCount() {
        return restartCount
      },
      droppedPrefixCount: 0,
    })
    expect(await valuesIn(metrics)).toEqual(['12', '3', '0'])
    answers.delete(1)
    expect(await valuesIn(metrics)).toEqual(['12', '1', '0'])
    metrics.workerEnded(1)
    restartCount = 1
    expect(await valuesIn(metrics)).toEqual(['12', '1', '1'])
    // The next process of the same worker.
    answers.set(2, counter(1) + gauge(2))
    expect(await valuesIn(metrics)).toEqual(['13', '3', '1'])
  })

  it('count nothing twice when a worker ends while they are gathered', async () => {
    const metrics = new AgentMetricsOfAll()
    let answer: (texts: ReadonlyMap<number, string>) => void = () => {}
    let scrapeCount = 0
    metrics.watchWorkers({
      scrape: () => {
        scrapeCount += 1
        return new Promise((resolve) => {
          answer = resolve
        })
      },
      ...{ restartCount: 0, droppedPrefixCount: 0 },
    })
    const scrape = async (texts: readonly [number, string][], meanwhile = () => {}) => {
      // Several who ask at once get one answer, so that an older one never comes after a newer one.
      const values = Promise.all([valuesIn(metrics), valuesIn(metrics)])
      meanwhile()
      answer(new Map(texts))
      const [first, second] = await values
      expect(second).toEqual(first)
      return first
    }
    expect(await scrape([[0, counter(5) + gauge(1)]])).toEqual(['5', '1', '0'])
    expect(await scrape([[0, counter(8) + gauge(1)]], () => metrics.workerEnded(0))).toEqual(['8', undefined, '0'])
    expect(await scrape([[1, counter(2) + gauge(4)]])).toEqual(['10', '4', '0'])
    // One that ends without having answered again.
    expect(await scrape([], () => metrics.workerEnded(1))).toEqual(['10', undefined, '0'])
    expect(scrapeCount).toBe(4)
  })

  it('show sums that others keep as counters, which stay', async () => {
    const metrics = new AgentMetrics()
    metrics.counter('cache_kept_total', 'Answers kept.', () => 3)
    const text = await metrics.text()
    expect(text).toContain(
      '# HELP switchyard_agent_cache_kept_total Answers kept.\n# TYPE switchyard_agent_cache_kept_total counter\nswitchyard_agent_cache_kept_total 3\n',
    )
    expect([...countedOf(parseMetrics(text)).keys()]).toContain('switchyard_agent_cache_kept_total')
  })
})
