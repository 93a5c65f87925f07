import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../proto/std/clock.js'
import { eventually } from '../harness/process.js'
import { Stack } from '../harness/stack.js'

/** The agent as a process: signals, drain, a life without the control plane, one folder for one agent. */
const stack = new Stack({ queue: 'postgres', seed: 4 })

beforeAll(() => stack.start())
afterAll(() => stack.stop())

const chat = (body: object = {}) =>
  fetch(`${stack.agentUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.seed.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: stack.chatRoute, messages: [{ role: 'user', content: 'hello' }], ...body }),
  })

const storedCount = async () => {
  const { rows } = await stack.database.query<{ count: string }>('SELECT count(*) FROM "UsageRecord"')
  return Number(rows[0]?.count)
}

describe('an agent process', () => {
  it('drains on SIGTERM: unready and refusing at once, the running stream to its end, nothing left to report', async () => {
    stack.simulator.behave({ ttftMs: 50, tokensPerSecond: 20, outputTokens: 60 })
    const before = await storedCount()
    const running = await chat({ stream: true })
    expect(running.status).toBe(200)
    const text = running.text()
    const ended = stack.agent.end('SIGTERM')
    await eventually('unready', async () => (await fetch(`${stack.agentMetricsUrl}/readyz`)).status === 503)
    expect((await chat()).status).toBe(503)
    expect(await text).toContain('data: [DONE]')
    await ended
    expect(stack.agent.log).toContain('[agent ended: code 0, signal null]')
    await eventually('its record is stored', async () => (await storedCount()) === before + 1)
    stack.simulator.resetBehaviour()
    stack.agent.start()
    await stack.agentReady()
  })

  it('serves after its own restart while the control plane is gone, and reports when it is back', async () => {
    const before = await storedCount()
    await stack.controlPlane.end('SIGKILL')
    expect((await chat()).status).toBe(200)
    await stack.agent.end('SIGKILL')
    stack.agent.start()
    await stack.agentReady(20_000)
    expect((await chat()).status).toBe(200)
    stack.controlPlane.start()
    await stack.controlPlaneReady()
    await eventually('both records are stored', async () => (await storedCount()) === before + 2)
  })

  it('ends at once on a second signal', async () => {
    stack.simulator.behave({ ttftMs: 50, tokensPerSecond: 1, outputTokens: 90 })
    const running = await chat({ stream: true })
    const text = running.text().catch(() => 'cut')
    void stack.agent.end('SIGTERM')
    await eventually('draining', async () => (await fetch(`${stack.agentMetricsUrl}/readyz`)).status === 503)
    const startedUs = systemClock.monotonicUs()
    await stack.agent.end('SIGINT')
    expect(systemClock.monotonicUs() - startedUs).toBeLessThan(10_000_000)
    expect(await text).not.toContain('[DONE]')
    stack.simulator.resetBehaviour()
    stack.agent.start()
    await stack.agentReady()
  })
})
