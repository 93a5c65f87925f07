import { describe, expect, test } from 'vitest'
import { AgentMetrics } from './metrics.js'
import { combinationsMax, type TargetGauges } from './target-metrics.js'

const gauges: TargetGauges = { breakerState: 2, inFlightCount: 3, coldStartUs: 1_500_000, batch: null }
const labels = { route: 'r', rule: 'u', target: 't' }

const linesOf = (text: string, name: string) =>
  text.split('\n').filter((line) => line.startsWith(`switchyard_agent_${name}`))

describe('numbers of targets', () => {
  test('are in a scrape with the ids of route, rule and target', async () => {
    const metrics = new AgentMetrics()
    const series = metrics.targets.open(labels, gauges)
    series.count('ok')
    series.count('ok')
    series.count('timeout_idle')
    series.firstToken.observeUs(400_000)
    const text = await metrics.text()
    const shown = 'route="r",rule="u",target="t"'
    expect(linesOf(text, 'target_hops_total{')).toEqual([
      `switchyard_agent_target_hops_total{${shown},outcome="ok"} 2`,
      `switchyard_agent_target_hops_total{${shown},outcome="timeout_idle"} 1`,
    ])
    expect(linesOf(text, 'target_breaker_state{')).toEqual([`switchyard_agent_target_breaker_state{${shown}} 2`])
    expect(linesOf(text, 'target_in_flight{')).toEqual([`switchyard_agent_target_in_flight{${shown}} 3`])
    expect(linesOf(text, 'target_cold_start_seconds{')).toEqual([
      `switchyard_agent_target_cold_start_seconds{${shown}} 1.5`,
    ])
    expect(linesOf(text, 'target_first_token_seconds_bucket{')).toContain(
      `switchyard_agent_target_first_token_seconds_bucket{${shown},le="0.5"} 1`,
    )
    expect(text).toContain('# TYPE switchyard_agent_target_breaker_state gauge')
  })

  test('that nobody counted show no histogram, and none of what has no state', async () => {
    const metrics = new AgentMetrics()
    metrics.targets.open(labels, { ...gauges, coldStartUs: null })
    const text = await metrics.text()
    expect(linesOf(text, 'target_first_token_seconds_')).toEqual([])
    expect(linesOf(text, 'target_cold_start_seconds{')).toEqual([])
  })

  test('show size, places and queue of a batch, and waits of nothing, only where there is a limit', async () => {
    const metrics = new AgentMetrics()
    const batch = { sizeMax: 32, runningCount: 32, waitingCount: 5 }
    const series = metrics.targets.open(labels, { ...gauges, batch })
    metrics.targets.open({ ...labels, target: 'unlimited' }, gauges)
    const lifted = { ...batch, sizeMax: Number.POSITIVE_INFINITY, waitingCount: 0 }
    metrics.targets.open({ ...labels, target: 'lifted' }, { ...gauges, batch: lifted })
    series.observeBatchWait(0)
    series.observeBatchWait(400_000)
    const text = await metrics.text()
    const shown = 'route="r",rule="u",target="t"'
    expect(linesOf(text, 'target_batch_size{')).toEqual([`switchyard_agent_target_batch_size{${shown}} 32`])
    expect(linesOf(text, 'target_batch_running{')).toHaveLength(2)
    expect(linesOf(text, 'target_queue_length{')[0]).toBe(`switchyard_agent_target_queue_length{${shown}} 5`)
    expect(linesOf(text, 'target_batch_wait_seconds_')).toEqual(
      expect.arrayContaining([
        `switchyard_agent_target_batch_wait_seconds_bucket{${shown},le="0.05"} 1`,
        `switchyard_agent_target_batch_wait_seconds_bucket{${shown},le="0.5"} 2`,
        `switchyard_agent_target_batch_wait_seconds_sum{${shown}} 0.4`,
        `switchyard_agent_target_batch_wait_seconds_count{${shown}} 2`,
      ]),
    )
    expect(text).not.toContain('target="unlimited",le')
  })

  test('have a bounded number of lines, however many targets there are', async () => {
    const metrics = new AgentMetrics()
    for (let number = 0; number < combinationsMax * 3; number++) {
      const series = metrics.targets.open({ ...labels, target: `t${number}` }, gauges)
      series.count('ok')
      series.firstToken.observeUs(1)
    }
    const text = await metrics.text()
    expect(linesOf(text, 'target_hops_total{')).toHaveLength(combinationsMax + 1)
    expect(text).toContain('target_hops_total{route="other",rule="other",target="other",outcome="ok"} 1000')
  })
})

test('queues of providers are summed over their pools, and bounded', async () => {
  const metrics = new AgentMetrics()
  const none = () => 0
  metrics.watch({
    ...{ inFlight: none, connections: none, upstreamConnections: none, upstreamQueued: none },
    upstreamQueues: () => [
      ['p0', 2],
      ['p0', 3],
      ...Array.from({ length: 600 }, (_, index) => [`p${index}`, 1] as const),
    ],
  })
  const lines = linesOf(await metrics.text(), 'provider_queued_requests{')
  expect(lines).toHaveLength(501)
  expect(lines[0]).toBe('switchyard_agent_provider_queued_requests{provider="p0"} 6')
  expect(lines.at(-1)).toBe('switchyard_agent_provider_queued_requests{provider="other"} 100')
})
