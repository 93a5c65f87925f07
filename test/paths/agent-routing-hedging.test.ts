import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answers, later, nothingLeft, refuses, stalls, streams, VirtualAgent } from '../harness/virtual-agent.js'

/** Hedging on the request path, on virtual time. */
const hedging = { budgetRatio: 1, delayMinMs: 50 }
const usualMs = 200

/** An agent whose target `a` is known to answer within `usualMs`, for streams and whole answers alike. */
async function hedged(
  options: { budgetRatio?: number; delayMinMs?: number; samples?: number; targets?: string[] } = {},
): Promise<VirtualAgent> {
  const { samples = 20, targets = ['a', 'b', 'c'], ...given } = options
  const agent = new VirtualAgent(
    targets.map((name) => ({ name })),
    { world: { route: { hedging: { ...hedging, ...given } }, spanSamplePpm: 1_000_000 } },
  )
  agent.upstreams.on(
    'a',
    later(agent.clock, usualMs, (call) => (call.body['stream'] ? streams(call) : answers(call))),
  )
  for (let sample = 0; sample < samples; sample++) {
    for (const stream of [true, false]) {
      await agent.ask({ stream })
      await agent.advance(usualMs)
    }
  }
  for (const name of ['b', 'c']) {
    agent.upstreams.on(
      name,
      later(agent.clock, 100, (call) => (call.body['stream'] ? streams(call) : answers(call))),
    )
  }
  agent.upstreams.calls.length = 0
  return agent
}

const namesOf = (agent: VirtualAgent) => agent.upstreams.calls.map(({ name, state }) => `${name} ${state}`)
/** A percentile is at most a fifth too high. */
const slowMs = usualMs * 1.2

describe.each([
  ['a stream', true],
  ['a whole answer', false],
])('%s', (_words, stream) => {
  test('is asked for once where the first target is as quick as ever', async () => {
    const agent = await hedged()
    const client = await agent.ask({ stream })
    await agent.advance(usualMs)
    expect(client.said).toBe('from a')
    await agent.advance(10_000)
    expect(namesOf(agent)).toEqual(['a ended'])
    expect(agent.left).toEqual(nothingLeft)
  })

  test('is asked for again when the first takes longer than its 95th percentile; the first word wins', async () => {
    const agent = await hedged()
    agent.upstreams.on('a', stalls)
    const client = await agent.ask({ stream })
    await agent.advance(usualMs - 1)
    expect(namesOf(agent)).toEqual(['a open'])
    await agent.advance(slowMs - usualMs + 10)
    expect(namesOf(agent)).toEqual(['a open', 'b open'])
    await agent.advance(100)
    expect([client.status, client.said]).toEqual([200, 'from b'])
    expect(client.head).toMatchObject({ hop: 2, target: 'b/upstream-model', fallbackReason: 'hedge_lost' })
    expect(namesOf(agent)).toEqual(['a aborted', 'b ended'])
    expect(agent.left).toEqual(nothingLeft)
  })

  test('of the loser is billed beside the winner’s, and the record sums both', async () => {
    const agent = await hedged()
    agent.upstreams.on('a', stalls)
    await agent.ask({ stream, messages: [{ role: 'user', content: 'x'.repeat(400) }] })
    await agent.advance(1_000)
    const { hops, ...record } = agent.meter.last
    const [input, output] = stream ? [9, 2] : [11, 5]
    // The prompt as counted; of it nothing was said.
    expect(hops?.[0]).toMatchObject({ outcome: 'hedge_lost', tokensIn: 100, tokensOut: 0, costNanoUsd: 100_000 })
    expect(hops?.[1]).toMatchObject({ outcome: 'ok', tokensIn: input, tokensOut: output })
    expect(record).toMatchObject({
      ...{ status: 'ok', tokensIn: 100 + input, tokensOut: output, usageSource: 'counted', fallbackUsed: true },
      costNanoUsd: 100_000 + Number(hops?.[1]?.costNanoUsd),
      providerId: agent.target('b').provider.id,
    })
    // From the beginning of the first to the end of the second, and not both.
    expect(Number(record.providerLatencyUs)).toBe(Number(record.latencyUs))
  })

  test('goes on where the second fails first', async () => {
    const agent = await hedged()
    agent.upstreams.on('a', later(agent.clock, 800, stream ? streams : answers))
    agent.upstreams.on('b', refuses(500))
    const client = await agent.ask({ stream })
    await agent.advance(1_000)
    expect([client.said, client.head?.hop]).toEqual(['from a', 1])
    expect(agent.meter.last).toMatchObject({
      ...{ fallbackUsed: false, usageSource: 'provider', providerId: agent.target('a').provider.id },
      hops: [{ outcome: 'ok' }, { outcome: 'upstream_5xx' }],
    })
    expect(agent.left).toEqual(nothingLeft)
  })

  test('goes on where the first fails after the second was asked', async () => {
    const agent = await hedged()
    agent.upstreams.on('a', later(agent.clock, 300, refuses(500)))
    const client = await agent.ask({ stream })
    await agent.advance(1_000)
    expect([client.said, client.head?.fallbackReason]).toEqual(['from b', 'upstream_5xx'])
    expect(agent.meter.last.hops).toMatchObject([{ outcome: 'upstream_5xx' }, { outcome: 'ok' }])
    expect(agent.meter.last).toMatchObject({ usageSource: 'provider' })
    expect(agent.left).toEqual(nothingLeft)
  })

  test('goes to a third where both fail, and never to one of them again', async () => {
    const agent = await hedged()
    agent.upstreams.on('a', later(agent.clock, 300, refuses(500)))
    agent.upstreams.on('b', later(agent.clock, 300, refuses(503)))
    const client = await agent.ask({ stream })
    await agent.advance(1_000)
    expect(client.said).toBe('from c')
    expect(agent.meter.last.hops?.map(({ outcome }) => outcome)).toEqual(['upstream_5xx', 'upstream_5xx', 'ok'])
    expect(namesOf(agent)).toEqual(['a ended', 'b ended', 'c ended'])
  })

  test('of a client that leaves is ended at both in the same turn', async () => {
    const agent = await hedged()
    for (const name of ['a', 'b']) agent.upstreams.on(name, stalls)
    const client = await agent.ask({ stream })
    await agent.advance(1_000)
    expect(namesOf(agent)).toEqual(['a open', 'b open'])
    client.leave()
    expect(namesOf(agent)).toEqual(['a aborted', 'b aborted'])
    await agent.advance(0)
    expect(agent.meter.last).toMatchObject({
      status: 'aborted',
      hops: [{ outcome: 'aborted' }, { outcome: 'aborted' }],
    })
    expect(agent.left).toEqual(nothingLeft)
  })

  test('is ended at both by a drain, and by the deadlines of both', async () => {
    const agent = await hedged()
    for (const name of ['a', 'b', 'c']) agent.upstreams.on(name, stalls)
    const drained = await agent.ask({ stream })
    await agent.advance(1_000)
    agent.handler.endAll()
    await agent.advance(0)
    expect(drained.code).toBe('agent_draining')
    expect(agent.left).toEqual(nothingLeft)
    const slow = await agent.ask({ stream })
    await agent.advance(60_000)
    expect(slow.code).toBe('upstream_timeout')
    expect(agent.left).toEqual(nothingLeft)
  })

  test('waits at least as long as the route says', async () => {
    const agent = await hedged({ delayMinMs: 1_500 })
    agent.upstreams.on('a', stalls)
    await agent.ask({ stream })
    await agent.advance(1_499)
    expect(namesOf(agent)).toEqual(['a open'])
    await agent.advance(10)
    expect(namesOf(agent)).toEqual(['a open', 'b open'])
  })

  test('is not asked for again where too little is known of the first', async () => {
    const agent = await hedged({ samples: 19 })
    agent.upstreams.on('a', stalls)
    await agent.ask({ stream })
    await agent.advance(1_900)
    expect(namesOf(agent)).toEqual(['a open'])
  })

  test('is not asked for again where there is no second', async () => {
    const agent = await hedged({ targets: ['a'] })
    agent.upstreams.on('a', stalls)
    await agent.ask({ stream })
    await agent.advance(1_900)
    expect(namesOf(agent)).toEqual(['a open'])
  })

  test('passes over a second that is left alone', async () => {
    const agent = await hedged()
    const b = agent.handler.healths.of(agent.target('b'), {
      ...{ environment: [...(agent.tables.current?.environments.values() ?? [])][0] as never, ruleId: 'rule' },
      route: { id: 'rte_fast', name: 'fast' } as never,
    })
    const event = { outcome: 'rate_limited', stream, verdict: 'none', startedUs: 0, leaseUs: 0 } as const
    agent.handler.healths.take(b, { ...event, cooldownMs: 60_000 }, [])
    agent.upstreams.on('a', stalls)
    const client = await agent.ask({ stream })
    await agent.advance(1_000)
    expect(client.said).toBe('from c')
    expect(namesOf(agent)).toEqual(['a aborted', 'c ended'])
  })
})

test('a stream that lost had begun to think: what it said is counted, too', async () => {
  const agent = await hedged()
  const input = { prompt_tokens: 7, completion_tokens: 0, total_tokens: 7 }
  const first = { choices: [], usage: input }
  // Its usage is there, its first word is not.
  agent.upstreams.on('a', (call) =>
    call
      .connect()
      .stream()
      .data(`: wait\n\n`)
      .data(`data: ${JSON.stringify(first)}\n\n`),
  )
  await agent.ask({ stream: true })
  await agent.advance(1_000)
  expect(agent.meter.last.hops?.[0]).toMatchObject({ outcome: 'hedge_lost', tokensIn: 7, tokensOut: 0 })
})

test('a second that never reached its upstream is not billed', async () => {
  const agent = await hedged()
  agent.upstreams.on('a', later(agent.clock, 600, streams))
  // It waits for a connection.
  agent.upstreams.on('b', () => {})
  await agent.ask({ stream: true })
  await agent.advance(1_000)
  expect(agent.meter.last).toMatchObject({ tokensIn: 9, tokensOut: 2, usageSource: 'provider' })
  expect(agent.meter.last.hops?.[1]).toMatchObject({ outcome: 'hedge_lost' })
  expect(agent.meter.last.hops?.[1]?.tokensIn).toBeUndefined()
  expect(agent.left).toEqual(nothingLeft)
})

test('an unknown price in the sum makes the sum unknown, and the other share is kept', async () => {
  const agent = await hedged()
  Object.assign(agent.target('b'), { model: { ...agent.target('b').model, price: null } })
  agent.upstreams.on('a', stalls)
  await agent.ask({ stream: true })
  await agent.advance(1_000)
  expect(agent.meter.last).toMatchObject({ tokensIn: 9 + 1, hops: [{ costNanoUsd: 1_000 }, {}] })
  expect(agent.meter.last.costNanoUsd).toBeUndefined()
})

test('a winner that tells no usage leaves the sum unknown, and not the loser’s alone', async () => {
  const agent = await hedged()
  agent.upstreams.on('a', stalls)
  agent.upstreams.on('b', (call) => call.connect().answer('from b', null))
  const client = await agent.ask()
  await agent.advance(1_000)
  expect([client.status, client.said]).toEqual([200, 'from b'])
  const { hops, ...record } = agent.meter.last
  expect(hops).toMatchObject([{ outcome: 'hedge_lost', tokensIn: 1, costNanoUsd: 1_000 }, { outcome: 'ok' }])
  expect(record).toMatchObject({ status: 'ok', usageSource: 'none' })
  expect([record.tokensIn, record.tokensOut, record.costNanoUsd]).toEqual([undefined, undefined, undefined])
})

test('a share of the requests is hedged and no more, whatever the targets do', async () => {
  const agent = await hedged({ budgetRatio: 0.1, targets: ['a', 'b'] })
  const breaker = { failures: 1_000, openMs: 1_000, failureRatio: 0, windowMs: 1_000, requestsMin: 1 }
  Object.assign(agent.target('a'), { breaker })
  agent.upstreams.on('a', stalls)
  // The forty that made it known have saved up four.
  for (let request = 0; request < 60; request++) {
    await agent.ask()
    await agent.advance(20_000)
  }
  expect(await agent.numbers('hedges_total')).toEqual([
    'switchyard_agent_hedges_total{event="sent"} 10',
    'switchyard_agent_hedges_total{event="won"} 10',
    'switchyard_agent_hedges_total{event="over_budget"} 50',
  ])
  expect(agent.left).toEqual(nothingLeft)
})

test('a target that became slow for good is not hedged for good: its percentile follows', async () => {
  const agent = await hedged({ targets: ['a', 'b'] })
  agent.upstreams.on('a', later(agent.clock, 1_000))
  agent.upstreams.on('b', refuses(500))
  for (let request = 0; request < 10; request++) {
    await agent.ask()
    await agent.advance(2_000)
  }
  expect(agent.upstreams.to('b').length).toBeLessThan(5)
})

test('who won and who lost is counted', async () => {
  const agent = await hedged()
  agent.upstreams.on('a', later(agent.clock, 270))
  agent.upstreams.on('b', stalls)
  await agent.ask()
  await agent.advance(1_000)
  expect(await agent.numbers('hedges_total')).toEqual([
    'switchyard_agent_hedges_total{event="sent"} 1',
    'switchyard_agent_hedges_total{event="lost"} 1',
  ])
})

test('a loser counts as slow when targets are chosen, not as failing', async () => {
  const agent = await hedged()
  agent.upstreams.on('a', stalls)
  for (let request = 0; request < 10; request++) {
    await agent.ask()
    await agent.advance(1_000)
  }
  const nowUs = agent.clock.monotonicUs()
  const health = agent.handler.healths.find(agent.target('a'))?.health(nowUs, false)
  expect(health?.state).toBe('closed')
  expect(health?.latencyUs).toBeGreaterThan(slowMs * 1000)
})

test('a half-open second is probed by the hedge, and is back when it loses its race to nobody', async () => {
  const agent = await hedged()
  const b = agent.handler.healths.of(agent.target('b'), {
    ...{ environment: [...(agent.tables.current?.environments.values() ?? [])][0] as never, ruleId: 'rule' },
    route: { id: 'rte_fast', name: 'fast' } as never,
  })
  for (let failure = 0; failure < 5; failure++) {
    const event = { outcome: 'upstream_5xx', stream: true, verdict: 'failure', leaseUs: 0, cooldownMs: 0 } as const
    agent.handler.healths.take(b, { ...event, startedUs: agent.clock.monotonicUs() }, [])
  }
  await agent.advance(5_000)
  expect(b.phase(agent.clock.monotonicUs())).toBe('half_open')
  agent.upstreams.on('a', stalls)
  await agent.ask({ stream: true })
  await agent.advance(1_000)
  expect(b.phase(agent.clock.monotonicUs())).toBe('closed')
})

test('whatever two targets do, each client gets one answer, and nothing is left', async () => {
  const reaction = fc.record({
    kind: fc.constantFrom('answer', 'stall', 'fail', 'refuse', 'unconnected', 'malformed', 'break'),
    afterMs: fc.nat(900),
  })
  const leaves = fc.option(fc.nat(1_200))
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(reaction, reaction, reaction),
      fc.boolean(),
      leaves,
      async (reactions, stream, leaveMs) => {
        const agent = await hedged()
        for (const [index, { kind, afterMs }] of reactions.entries()) {
          const name = ['a', 'b', 'c'][index] ?? ''
          agent.upstreams.on(name, (call) => {
            if (kind !== 'unconnected') call.connect()
            if (kind === 'stall' || kind === 'unconnected') return
            agent.clock.after(afterMs, () => {
              if (kind === 'fail') call.fail()
              else if (kind === 'refuse') call.refuse(503)
              else if (kind === 'malformed') call.head(200, { 'content-type': 'application/json' }).data('{').end()
              else if (!stream) call.answer(`from ${name}`)
              else if (kind === 'break') call.stream().say(`from ${name}`).fail()
              else call.stream().say(`from ${name}`).finish()
            })
          })
        }
        const client = await agent.ask({ stream })
        if (leaveMs !== null) agent.clock.after(leaveMs, () => client.leave())
        await agent.advance(60_000)
        expect(client.over).toBe(true)
        expect(agent.left).toEqual(nothingLeft)
        const { hops, status } = agent.meter.last
        expect(hops?.length).toBeLessThanOrEqual(3)
        if (!client.gone && status === 'ok') expect(client.said).toMatch(/^from [abc]$/)
        // At most one hop served; who was asked twice at once is billed twice.
        expect(hops?.filter(({ outcome }) => outcome === 'ok').length).toBeLessThanOrEqual(1)
      },
    ),
    { numRuns: 60 },
  )
})
