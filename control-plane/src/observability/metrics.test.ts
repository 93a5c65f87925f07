import { describe, expect, test } from 'vitest'
import { Metrics, metricPrefix } from './metrics.js'
import { MetricsServer } from './metrics-server.js'

describe('metrics', () => {
  test('every name says that it is of the control plane', async () => {
    const metrics = new Metrics()
    metrics.counter({ name: 'refusals_total', help: 'h', labels: ['reason'] }).inc({ reason: 'a' })
    metrics.gauge({ name: 'open', help: 'h' }, (gauge) => gauge.set(7))
    metrics.histogram({ name: 'duration_seconds', help: 'h', buckets: [1] }).observe(0.5)
    const text = await metrics.text()
    expect(text).toContain(`${metricPrefix}refusals_total{reason="a"} 1`)
    expect(text).toContain(`${metricPrefix}open 7`)
    const names = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    expect(names.length).toBeGreaterThan(20)
    for (const name of names) expect(name.startsWith(metricPrefix)).toBe(true)
  })

  test('are served on a port of their own, and nothing else is', async () => {
    const server = new MetricsServer({ metrics: new Metrics(), host: '127.0.0.1', port: 0 })
    await server.run()
    try {
      const answer = await fetch(`http://${server.address}/metrics`)
      expect(answer.headers.get('content-type')).toContain('text/plain')
      expect(await answer.text()).toContain(metricPrefix)
      expect((await fetch(`http://${server.address}/graphql`)).status).toBe(404)
    } finally {
      await server.stop()
      await server.stop()
    }
  })
})
