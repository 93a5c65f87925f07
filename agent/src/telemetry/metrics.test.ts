import { describe, expect, test } from 'vitest'
import { AgentMetrics } from './metrics.js'

const name = 'switchyard_agent_condition_failures_total'
const linesOf = async (metrics: AgentMetrics) =>
  (await metrics.text()).split('\n').filter((line) => line.startsWith(`${name}{`))

describe('conditions of which nobody could say whether they hold', () => {
  test('are counted by route', async () => {
    const metrics = new AgentMetrics()
    metrics.countConditionFailures('rte_a', 2)
    metrics.countConditionFailures('rte_b', 1)
    metrics.countConditionFailures('rte_a', 1)
    expect(await linesOf(metrics)).toEqual([`${name}{route="rte_a"} 3`, `${name}{route="rte_b"} 1`])
  })

  test('of more routes than are worth a series share one, and those that have one keep it', async () => {
    const metrics = new AgentMetrics()
    for (let route = 0; route < 2_000; route++) metrics.countConditionFailures(`rte_${route}`, 1)
    metrics.countConditionFailures('rte_7', 1)
    const lines = await linesOf(metrics)
    expect(lines).toHaveLength(501)
    expect(lines).toContain(`${name}{route="rte_7"} 2`)
    expect(lines).toContain(`${name}{route="other"} 1500`)
  })
})
