import { describe, expect, it } from 'vitest'
import { systemClock } from '../../proto/std/clock.js'
import { KeptLog } from './config/config-fixture.js'
import { TablesHolder } from './config/decision-tables.js'
import { RequestWorker } from './request-worker.js'
import { readAgentSettings } from './settings.js'
import { AgentMetrics } from './telemetry/metrics.js'

function makeWorker() {
  const settings = readAgentSettings({ SWITCHYARD_CONTROL_PLANE: 'localhost:7402', SWITCHYARD_AGENT_PORT: '0' })
  const nothing = () => {}
  const metrics = new AgentMetrics()
  const worker = new RequestWorker({
    ...{ settings, tls: null, limits: settings, tables: new TablesHolder(), metrics },
    vault: { get: () => null, reportRejected: nothing, reportAccepted: nothing },
    meter: { accepting: true, open: nothing, close: nothing, record: nothing, span: nothing, written: () => null },
    ...{ peers: null, isFirst: true, clock: systemClock, log: new KeptLog() },
  })
  return { worker, metrics }
}

describe('what serves requests', () => {
  it('opens no door when it was told to drain before', async () => {
    const { worker } = makeWorker()
    await worker.drain(1_000)
    await worker.run()
    // Port 0 is what the settings say; an open door has another.
    expect(worker.address.port).toBe(0)
    await worker.stop()
  })

  it('shows sums as counters, by names that say so', async () => {
    const { worker, metrics } = makeWorker()
    await worker.run()
    expect(worker.address.port).toBeGreaterThan(0)
    const text = await metrics.text()
    await worker.stop()
    const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]))
    const cache = [...types].filter(([name]) => name?.startsWith('switchyard_agent_cache_'))
    expect(Object.fromEntries(cache)).toMatchObject({
      switchyard_agent_cache_answers: 'gauge',
      switchyard_agent_cache_exact_hits_total: 'counter',
      switchyard_agent_cache_misses_total: 'counter',
      switchyard_agent_cache_evictions_total: 'counter',
    })
    for (const [name, type] of cache) expect([name, name?.endsWith('_total')]).toEqual([name, type === 'counter'])
  })
})
