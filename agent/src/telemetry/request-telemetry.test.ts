import { describe, expect, test } from 'vitest'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import { VirtualClock } from '../../../proto/std/clock.js'
import { createAgentLog } from './log.js'
import { AgentMetrics } from './metrics.js'
import { RequestTelemetry } from './request-telemetry.js'

const startedAtUnixMs = Date.UTC(2026, 0, 1)

function recordOf(number: number, more: Partial<UsageRecord> = {}): UsageRecord {
  return {
    requestId: `req_${number}`,
    startedAtUnixMs,
    operation: 'chat_completions',
    status: 'ok',
    stream: false,
    latencyUs: 1_500_000,
    providerLatencyUs: 1_499_000,
    tokensIn: 7,
    tokensOut: 3,
    hops: [{ upstreamModel: 'm', outcome: 'ok' }],
    ...more,
  }
}

async function openTelemetry(logRequests = true) {
  const clock = new VirtualClock()
  const metrics = new AgentMetrics()
  const lines: Record<string, unknown>[] = []
  const destination = { write: (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>) }
  const log = createAgentLog({ level: 'info', agentName: 'a-1', clock, destination })
  const telemetry = new RequestTelemetry({ metrics, log, clock, logRequests })
  await telemetry.run()
  return { clock, metrics, lines, telemetry }
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('what is told of requests', () => {
  test('waits a moment and is then told of all of them, in order, of the instant they ended', async () => {
    const { clock, lines, telemetry } = await openTelemetry()
    for (const number of [1, 2, 3]) telemetry.add(recordOf(number))
    expect(lines).toEqual([])
    await clock.advance(1_000)
    expect(lines.map((line) => line['request_id'])).toEqual(['req_1', 'req_2', 'req_3'])
    expect(lines[0]).toMatchObject({
      timestamp: '2026-01-01T00:00:01.500Z',
      level: 'info',
      tokens_in: 7,
      input_tokens: 7,
      latency_ms: 1500,
      hops: 'm:ok',
      message: 'request',
    })
  })

  test('never gathers without bound: enough of it is told after the turn', async () => {
    const { lines, telemetry } = await openTelemetry()
    for (let number = 0; number < 64; number++) telemetry.add(recordOf(number))
    expect(lines).toHaveLength(0)
    await nextTurn()
    expect(lines).toHaveLength(64)
  })

  test('is in the numbers that a scrape reads, whenever it comes', async () => {
    const { metrics, telemetry } = await openTelemetry(false)
    telemetry.add(recordOf(1))
    telemetry.add(recordOf(2, { status: 'failed', stream: true }))
    const text = await metrics.text()
    expect(text).toContain('switchyard_agent_requests_total{operation="chat_completions",status="ok"} 1')
    expect(text).toContain('switchyard_agent_requests_total{operation="chat_completions",status="failed"} 1')
    expect(text).toContain('switchyard_agent_tokens_total{direction="in"} 14')
    expect(text).toContain('switchyard_agent_overhead_seconds_sum{operation="chat_completions",stream="false"} 0.001')
  })

  test('is told before it stops, and of a straggler after it', async () => {
    const { lines, telemetry } = await openTelemetry()
    telemetry.add(recordOf(1))
    await telemetry.stop()
    expect(lines).toHaveLength(1)
    telemetry.add(recordOf(2))
    expect(lines).toHaveLength(2)
  })

  test('is told when the process exits for whatever reason, before the log writes its last', async () => {
    const { lines, telemetry } = await openTelemetry()
    telemetry.add(recordOf(1))
    expect(process.listeners('exit')[0]).toBe(telemetry.flush)
    process.listeners('exit')[0]?.(0)
    expect(lines).toHaveLength(1)
    await telemetry.stop()
    expect(process.listeners('exit')).not.toContain(telemetry.flush)
  })
})
