import { describe, expect, test } from 'vitest'
import type { DecisionTables } from '../../proto/policy/tables.js'
import { answers, later, nothingLeft, refuses, stalls, VirtualAgent } from '../harness/virtual-agent.js'

/** Synthetic requests, on virtual time. Every draw is a half: a new target is seen after a second and asked 2.5 s later. */
const warm = { routing: { warmUpIntervalMs: 60_000 } }
const firstMs = 4_000

async function warming(...targets: ConstructorParameters<typeof VirtualAgent>[0]): Promise<VirtualAgent> {
  const agent = new VirtualAgent(targets)
  for (const { name } of targets) agent.upstreams.on(name, later(agent.clock, 400))
  await agent.warmUp.run()
  return agent
}

describe('a target that is to be kept warm', () => {
  test('is asked for one token when it is new, and then when nobody asked it for its interval', async () => {
    const agent = await warming({ name: 'a', ...warm })
    await agent.advance(firstMs - 1_000)
    expect(agent.upstreams.calls).toHaveLength(0)
    await agent.advance(1_000)
    expect(agent.upstreams.calls).toHaveLength(1)
    expect(agent.upstreams.calls[0]?.body).toEqual({
      model: 'upstream-model',
      messages: [{ role: 'user', content: 'Hi' }],
      max_completion_tokens: 1,
    })
    await agent.advance(60_000)
    expect(agent.upstreams.calls).toHaveLength(1)
    // A twentieth of its interval late, as drawn, and by the second.
    await agent.advance(5_000)
    expect(agent.upstreams.calls).toHaveLength(2)
    await agent.warmUp.stop()
  })

  test('is not asked while clients ask it', async () => {
    const agent = await warming({ name: 'a', ...warm })
    await agent.advance(firstMs)
    for (let minute = 0; minute < 10; minute++) {
      await agent.ask()
      await agent.advance(50_000)
    }
    expect(agent.upstreams.calls).toHaveLength(1 + 10)
    await agent.warmUp.stop()
  })

  test('leaves no usage record, but numbers: how often, how long, how much', async () => {
    const agent = await warming({ name: 'a', ...warm })
    await agent.advance(firstMs + 400)
    expect([agent.meter.opened, agent.meter.closed]).toEqual([[], []])
    const target = `route="rte_fast",rule="rule",target="${agent.target('a').id}"`
    expect(await agent.numbers('warm_up')).toEqual(
      expect.arrayContaining([
        'switchyard_agent_warm_ups_total{outcome="ok"} 1',
        'switchyard_agent_warm_up_tokens_total{direction="in"} 11',
        'switchyard_agent_warm_up_tokens_total{direction="out"} 5',
        'switchyard_agent_warm_up_cost_nano_usd_total 19000',
        'switchyard_agent_warm_up_seconds_sum 0.4',
      ]),
    )
    expect(await agent.numbers('target_cold_start_seconds')).toEqual([
      `switchyard_agent_target_cold_start_seconds{${target}} 0.4`,
    ])
    // It is nobody's first token.
    expect(agent.handler.healths.find(agent.target('a'))?.health(agent.clock.monotonicUs(), false).latencyUs).toBeNull()
    expect(agent.left).toEqual(nothingLeft)
    await agent.warmUp.stop()
  })

  test('that fails is left alone like any other, and found to be back by the next', async () => {
    const agent = new VirtualAgent([
      {
        name: 'a',
        routing: {
          warmUpIntervalMs: 1_000,
          breaker: { failures: 3, openMs: 10_000, failureRatio: 0, windowMs: 1_000, requestsMin: 1 },
        },
      },
    ])
    agent.upstreams.on('a', refuses(500))
    await agent.warmUp.run()
    await agent.advance(30_000)
    const { length } = agent.upstreams.calls
    // Three, then a probe after ten seconds, then nothing for twenty.
    expect(length).toBe(4)
    agent.upstreams.on('a', answers)
    await agent.advance(20_000)
    const known = agent.handler.healths.find(agent.target('a'))
    expect(known?.phase(agent.clock.monotonicUs())).toBe('closed')
    await agent.warmUp.stop()
  })

  test.each<[string, Parameters<typeof warming>[0]]>([
    ['whose interval is none', { name: 'a' }],
    ['whose credential is not here', { name: 'a', ...warm, credential: { id: 'gone', version: 1 } }],
    ['of a kind that nobody knows', { name: 'a', ...warm, kind: 'carrier-pigeon' }],
    ['whose model holds no conversations', { name: 'a', ...warm, capabilities: ['embeddings'] }],
  ])('%s is not asked', async (_words, target) => {
    const agent = await warming(target)
    await agent.advance(600_000)
    expect(agent.upstreams.calls).toEqual([])
    await agent.warmUp.stop()
  })

  test('where its environment’s data may not go is not asked', async () => {
    const agent = new VirtualAgent([{ name: 'a', ...warm, region: 'us' }], { world: { permittedRegions: ['eu'] } })
    await agent.warmUp.run()
    await agent.advance(60_000)
    expect(agent.upstreams.calls).toEqual([])
    await agent.warmUp.stop()
  })
})

test('four at a time and no more, however many are due', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `t${index}`)
  const agent = await warming(...names.map((name) => ({ name, ...warm })))
  for (const name of names) agent.upstreams.on(name, stalls)
  await agent.advance(5_000)
  expect(agent.warmUp.runningCount).toBe(4)
  expect(agent.upstreams.openCount).toBe(4)
  // Each is given up at its deadline, and the next four begin.
  await agent.advance(11_000)
  expect(agent.warmUp.runningCount).toBe(4)
  expect(agent.upstreams.calls).toHaveLength(8)
  await agent.warmUp.stop()
})

test('a drain ends what runs and begins nothing more', async () => {
  const agent = await warming({ name: 'a', ...warm })
  agent.upstreams.on('a', stalls)
  await agent.advance(firstMs)
  expect(agent.upstreams.openCount).toBe(1)
  await agent.warmUp.drain()
  await agent.advance(600_000)
  expect(agent.upstreams.calls.map(({ state }) => state)).toEqual(['aborted'])
  expect(agent.warmUp.runningCount).toBe(0)
  expect(agent.left).toEqual(nothingLeft)
})

test('nothing happens before there is configuration, and new tables are followed', async () => {
  const agent = new VirtualAgent([
    { name: 'a', ...warm },
    { name: 'b', ...warm },
  ])
  const tables = agent.tables.current as DecisionTables
  agent.tables.current = null
  for (const name of ['a', 'b']) agent.upstreams.on(name, answers)
  await agent.warmUp.run()
  await agent.advance(60_000)
  expect(agent.upstreams.calls).toEqual([])
  const [environment] = tables.environments.values()
  const route = environment?.routes.get('fast')
  const [rule] = route?.rules ?? []
  const onlyB = { ...rule, targets: rule?.targets.slice(1) }
  const routes = new Map([['fast', { ...route, rules: [onlyB] }]])
  agent.tables.swap({
    ...tables,
    environments: new Map([['environment', { ...environment, routes } as never]]),
  })
  await agent.advance(10_000)
  expect(agent.upstreams.calls.map(({ name }) => name)).toEqual(['b'])
  await agent.warmUp.stop()
})
