import { describe, expect, test } from 'vitest'
import type { BreakerTable } from '../../proto/policy/tables.js'
import {
  answers,
  later,
  nothingLeft,
  type Reaction,
  refuses,
  stalls,
  streams,
  VirtualAgent,
} from '../harness/virtual-agent.js'

/** Circuit breakers, cooldowns and outliers on the request path, on virtual time. */
const breaker: BreakerTable = { failures: 3, openMs: 5_000, failureRatio: 0, windowMs: 30_000, requestsMin: 20 }
const routing = { breaker }
const lastResort = { cachedAgeMaxSeconds: 0, apology: '', safeAnswer: 'Please come back later.' }

function pair(): VirtualAgent {
  return new VirtualAgent([
    { name: 'a', routing },
    { name: 'b', routing },
  ])
}

/** Asks one after the other; the targets that were asked, per request. */
async function askedOf(agent: VirtualAgent, count: number): Promise<string[]> {
  const asked: string[] = []
  for (let request = 0; request < count; request++) {
    const before = agent.upstreams.calls.length
    await agent.ask()
    asked.push(
      agent.upstreams.calls
        .slice(before)
        .map(({ name }) => name)
        .join(''),
    )
  }
  return asked
}

describe('a target that fails', () => {
  test('is left alone after its failures in a row; nobody waits for it any more', async () => {
    const agent = pair()
    agent.upstreams.on('a', refuses(500))
    agent.upstreams.on('b', answers)
    expect(await askedOf(agent, 5)).toEqual(['ab', 'ab', 'ab', 'b', 'b'])
    expect(agent.meter.last).toMatchObject({ status: 'ok', hops: [{ outcome: 'ok' }], fallbackUsed: false })
    expect(agent.left).toEqual(nothingLeft)
  })

  test('is tried by exactly one request when its time has come, and is back when that succeeds', async () => {
    const agent = pair()
    agent.upstreams.on('a', refuses(500))
    agent.upstreams.on('b', answers)
    await askedOf(agent, 3)
    await agent.advance(4_999)
    expect(await askedOf(agent, 1)).toEqual(['b'])
    await agent.advance(1)
    agent.upstreams.on('a', later(agent.clock, 1_000))
    // All at once: one of them probes, the others see it left alone.
    expect(await askedOf(agent, 4)).toEqual(['a', 'b', 'b', 'b'])
    await agent.advance(1_000)
    agent.upstreams.on('a', answers)
    expect(await askedOf(agent, 2)).toEqual(['a', 'a'])
    expect(agent.left).toEqual(nothingLeft)
  })

  test('is left alone twice as long when the probe fails; the client of the probe is served by the next', async () => {
    const agent = pair()
    agent.upstreams.on('a', refuses(503))
    agent.upstreams.on('b', answers)
    await askedOf(agent, 3)
    await agent.advance(5_000)
    const client = await agent.ask()
    expect([client.status, client.said]).toEqual([200, 'from b'])
    expect(agent.meter.last.hops).toMatchObject([{ outcome: 'upstream_5xx' }, { outcome: 'ok' }])
    await agent.advance(9_999)
    expect(await askedOf(agent, 1)).toEqual(['b'])
    await agent.advance(1)
    expect(await askedOf(agent, 1)).toEqual(['ab'])
  })

  test('is back as soon as the probe’s stream begins, not when it ends', async () => {
    const agent = pair()
    agent.upstreams.on('a', refuses(500))
    agent.upstreams.on('b', answers)
    await askedOf(agent, 3)
    await agent.advance(5_000)
    agent.upstreams.on('a', (call) => call.connect().stream().say('it lives'))
    const probe = await agent.ask({ stream: true })
    agent.upstreams.on('a', answers)
    expect(await askedOf(agent, 1)).toEqual(['a'])
    probe.leave()
    await agent.advance(0)
    expect(agent.left).toEqual(nothingLeft)
  })

  test('may be probed by the next where the client of the probe leaves', async () => {
    const agent = pair()
    agent.upstreams.on('a', refuses(500))
    agent.upstreams.on('b', answers)
    await askedOf(agent, 3)
    await agent.advance(5_000)
    agent.upstreams.on('a', stalls)
    const probe = await agent.ask()
    expect(await askedOf(agent, 1)).toEqual(['b'])
    probe.leave()
    agent.upstreams.on('a', answers)
    expect(await askedOf(agent, 1)).toEqual(['a'])
  })

  const failures: [string, Reaction, Record<string, unknown>][] = [
    ['no connection', (call) => call.fail(), {}],
    ['silence', stalls, {}],
    ['500', refuses(500), {}],
    ['503', refuses(503), {}],
    ['a redirect', refuses(302), {}],
    ['what is no answer', (call) => call.connect().head(200).data('<html>').end(), {}],
    ['a stream without an event', (call) => call.connect().stream().end(), { stream: true }],
    ['a stream that breaks off', (call) => call.connect().stream().say('a').fail(), { stream: true }],
  ]
  test.each(failures)('fails by %s', async (_words, reaction, body) => {
    const agent = new VirtualAgent([{ name: 'a', routing, deadlines: { totalMs: 1_000 } }], {
      world: { route: { lastResort } },
    })
    agent.upstreams.on('a', reaction)
    for (let request = 0; request < 3; request++) {
      await agent.ask(body)
      await agent.advance(1_000)
    }
    expect(await askedOf(agent, 1)).toEqual([''])
    expect(agent.left).toEqual(nothingLeft)
  })

  const noFailures: [string, Reaction][] = [
    ['400', refuses(400)],
    ['401', refuses(401)],
    ['404', refuses(404)],
    ['429 that may come again at once', refuses(429, { 'retry-after': '0' })],
  ]
  test.each(noFailures)('does not fail by %s, however often', async (_words, reaction) => {
    const agent = new VirtualAgent([{ name: 'a', routing }], { world: { route: { lastResort } } })
    agent.upstreams.on('a', reaction)
    expect(await askedOf(agent, 10)).toEqual(Array(10).fill('a'))
  })

  test('does not fail by clients that leave', async () => {
    const agent = new VirtualAgent([{ name: 'a', routing }], { world: { route: { lastResort } } })
    agent.upstreams.on('a', stalls)
    for (let request = 0; request < 10; request++) (await agent.ask()).leave()
    expect(await askedOf(agent, 1)).toEqual(['a'])
    await agent.advance(600_000)
    expect(agent.left).toEqual(nothingLeft)
  })

  test('does not fail by a client that takes its stream too slowly, however the time runs out', async () => {
    const agent = new VirtualAgent([{ name: 'a', routing, deadlines: { idleMs: 60_000, totalMs: 20_000 } }], {
      world: { route: { lastResort } },
    })
    agent.upstreams.on('a', (call) => void call.connect().stream().say('one'))
    for (let request = 0; request < 5; request++) {
      const client = await agent.ask({ stream: true })
      client.takes = false
      for (let second = 0; second < 20; second += 4) {
        agent.upstreams.calls.at(-1)?.say('more')
        await agent.advance(4_000)
        // Just before it would be given up.
        client.drains()
      }
      await agent.advance(1_000)
      expect(agent.meter.last).toMatchObject({ status: 'aborted', code: 'client_stalled' })
      expect(agent.meter.last.hops).toMatchObject([{ outcome: 'aborted' }])
    }
    agent.upstreams.on('a', answers)
    expect(await askedOf(agent, 1)).toEqual(['a'])
    expect(agent.left).toEqual(nothingLeft)
  })

  test('fails by its own time, although the client was full when that ran out', async () => {
    const agent = new VirtualAgent([{ name: 'a', routing, deadlines: { idleMs: 60_000, totalMs: 20_000 } }])
    agent.upstreams.on('a', (call) => void call.connect().stream().say('one'))
    const client = await agent.ask({ stream: true })
    await agent.advance(19_990)
    client.takes = false
    agent.upstreams.calls.at(-1)?.say('more')
    await agent.advance(10)
    expect(agent.meter.last).toMatchObject({ status: 'failed', code: 'upstream_timeout' })
    expect(agent.meter.last.hops).toMatchObject([{ outcome: 'timeout_total' }])
    expect(agent.left).toEqual(nothingLeft)
  })

  test('does not fail by what cannot be said to it', async () => {
    const agent = new VirtualAgent([
      { name: 'a', kind: 'anthropic', routing },
      { name: 'b', kind: 'openai', routing },
    ])
    agent.upstreams.on('b', answers)
    for (let request = 0; request < 5; request++) await agent.ask({ seed: 7 })
    expect(agent.meter.last.hops).toMatchObject([{ outcome: 'not_expressible' }, { outcome: 'ok' }])
    expect(agent.handler.healths.find(agent.target('a'))?.phase(0)).toBe('closed')
  })

  test('does not fail by waiting for a connection of ours to come free', async () => {
    const agent = new VirtualAgent([{ name: 'a', routing, deadlines: { connectMs: 100 } }], {
      world: { route: { lastResort } },
    })
    agent.upstreams.of(agent.target('a').provider).full = true
    for (let request = 0; request < 5; request++) {
      await agent.ask()
      await agent.advance(100)
    }
    expect(agent.meter.last.hops).toMatchObject([{ outcome: 'timeout_connect' }])
    expect(await askedOf(agent, 1)).toEqual(['a'])
  })

  test('does not fail by what a slower target before it left of the route’s time', async () => {
    const agent = new VirtualAgent(
      [
        { name: 'a', deadlines: { totalMs: 9_500 }, routing: { breaker: { ...breaker, failures: 100 } } },
        { name: 'b', deadlines: { totalMs: 9_000 }, routing },
      ],
      { world: { totalTimeoutMs: 10_000 } },
    )
    agent.upstreams.on('a', stalls)
    agent.upstreams.on('b', stalls)
    for (let request = 0; request < 5; request++) {
      await agent.ask()
      await agent.advance(10_000)
    }
    expect(agent.meter.last.hops).toMatchObject([{ outcome: 'timeout_total' }, { outcome: 'timeout_total' }])
    const nowUs = agent.clock.monotonicUs()
    expect(agent.handler.healths.find(agent.target('b'))?.phase(nowUs)).toBe('closed')
  })
})

describe('where every target is left alone', () => {
  test('the first is asked all the same: some chance is better than none', async () => {
    const agent = pair()
    for (const name of ['a', 'b']) agent.upstreams.on(name, refuses(500))
    expect(await askedOf(agent, 5)).toEqual(['ab', 'ab', 'ab', 'a', 'a'])
    agent.upstreams.on('a', answers)
    const client = await agent.ask()
    expect([client.status, client.head?.hop]).toEqual([200, 1])
    expect(agent.meter.last.hops).toMatchObject([{ outcome: 'ok' }, { outcome: 'circuit_open' }])
    expect(agent.meter.last.fallbackUsed).toBe(false)
    expect(await askedOf(agent, 1)).toEqual(['a'])
  })

  test('the last resort stands in at once, and nobody is asked', async () => {
    const agent = new VirtualAgent([{ name: 'a', routing }], { world: { route: { lastResort } } })
    agent.upstreams.on('a', refuses(500))
    expect(await askedOf(agent, 4)).toEqual(['a', 'a', 'a', ''])
    expect(agent.meter.last).toMatchObject({ status: 'ok', code: 'last_resort', hops: [{ outcome: 'circuit_open' }] })
  })
})

describe('a target that names a time', () => {
  test('is not asked before it, and the client is told when, without a try', async () => {
    const agent = new VirtualAgent([{ name: 'a', routing }])
    agent.upstreams.on('a', refuses(429, { 'retry-after': '7' }))
    const first = await agent.ask()
    expect([first.status, first.head?.retryAfterSeconds]).toEqual([429, 7])
    await agent.advance(2_500)
    const second = await agent.ask()
    expect([second.status, second.code, second.head?.retryAfterSeconds]).toEqual([429, 'upstream_rate_limited', 5])
    expect(agent.upstreams.calls).toHaveLength(1)
    agent.upstreams.on('a', answers)
    await agent.advance(4_499)
    expect(await askedOf(agent, 1)).toEqual([''])
    await agent.advance(1)
    expect(await askedOf(agent, 1)).toEqual(['a'])
  })

  test('is passed over for another meanwhile', async () => {
    const agent = pair()
    agent.upstreams.on('a', refuses(503, { 'retry-after': '60' }))
    agent.upstreams.on('b', answers)
    expect(await askedOf(agent, 3)).toEqual(['ab', 'b', 'b'])
    await agent.advance(60_000)
    agent.upstreams.on('a', answers)
    expect(await askedOf(agent, 1)).toEqual(['a'])
  })

  test('is held to the longest time it named, also when a later answer names a shorter one', async () => {
    const agent = new VirtualAgent([{ name: 'a', routing }])
    agent.upstreams.on('a', stalls)
    await agent.ask()
    await agent.ask()
    const [one, other] = agent.upstreams.calls
    one?.refuse(429, { 'retry-after': '60' })
    other?.refuse(429, { 'retry-after': '1' })
    await agent.advance(59_999)
    const early = await agent.ask()
    expect([early.code, agent.upstreams.calls.length]).toEqual(['upstream_rate_limited', 2])
  })

  test('and fails as well is left alone for the longer of the two', async () => {
    const agent = pair()
    agent.upstreams.on('a', refuses(503, { 'retry-after': '1' }))
    agent.upstreams.on('b', answers)
    for (let request = 0; request < 3; request++) {
      await agent.ask()
      await agent.advance(1_000)
    }
    // Its own second is over, the breaker's five are not.
    expect(await askedOf(agent, 1)).toEqual(['b'])
    await agent.advance(4_000)
    expect(await askedOf(agent, 1)).toEqual(['ab'])
  })
})

describe('an outlier', () => {
  test('that answers ten times slower than the same model elsewhere is left alone, and judged anew later', async () => {
    const agent = pair()
    // The same model at both.
    Object.assign(agent.target('b'), { model: agent.target('a').model })
    agent.upstreams.on('b', later(agent.clock, 200))
    agent.upstreams.on('a', refuses(401))
    // Falls through to the second, so that something is known of it.
    for (let request = 0; request < 20; request++) {
      await agent.ask()
      await agent.advance(200)
    }
    agent.upstreams.on('a', later(agent.clock, 4_000))
    const ask = async () => {
      const before = agent.upstreams.calls.length
      await agent.ask()
      await agent.advance(4_000)
      return agent.upstreams.calls[before]?.name
    }
    const asked: unknown[] = []
    while (asked.at(-1) !== 'b' && asked.length < 100) asked.push(await ask())
    // Enough to know: twenty of its times, looked at once in sixteen requests.
    expect(asked.length).toBeGreaterThan(20)
    expect(asked.length).toBeLessThan(40)
    await agent.advance(breaker.openMs)
    expect(await ask()).toBe('a')
    expect(agent.left).toEqual(nothingLeft)
  })

  test('is asked where the others fail', async () => {
    const agent = pair()
    agent.upstreams.on('a', answers)
    await agent.ask()
    agent.handler.healths.find(agent.target('a'))?.eject(agent.clock.monotonicUs())
    agent.upstreams.on('b', refuses(500))
    const client = await agent.ask()
    expect([client.status, client.said]).toEqual([200, 'from a'])
  })
})

describe('the numbers', () => {
  test('show a target’s hops, its first tokens, its state and what runs there, by the ids of route, rule and target', async () => {
    const agent = pair()
    agent.upstreams.on('a', refuses(500))
    agent.upstreams.on('b', streams)
    for (let request = 0; request < 4; request++) await agent.ask({ stream: true })
    const labels = (name: string) => `route="rte_fast",rule="rule",target="${agent.target(name).id}"`
    expect(await agent.numbers('target_hops_total')).toEqual([
      `switchyard_agent_target_hops_total{${labels('a')},outcome="upstream_5xx"} 3`,
      `switchyard_agent_target_hops_total{${labels('b')},outcome="ok"} 4`,
    ])
    expect(await agent.numbers('target_breaker_state')).toEqual([
      `switchyard_agent_target_breaker_state{${labels('a')}} 2`,
      `switchyard_agent_target_breaker_state{${labels('b')}} 0`,
    ])
    expect(await agent.numbers('target_in_flight')).toContain(`switchyard_agent_target_in_flight{${labels('b')}} 0`)
    await agent.advance(5_000)
    expect(await agent.numbers('target_breaker_state')).toContain(
      `switchyard_agent_target_breaker_state{${labels('a')}} 1`,
    )
    agent.upstreams.on('b', later(agent.clock, 300, streams))
    await agent.ask({ stream: true })
    expect(await agent.numbers('target_in_flight')).toContain(`switchyard_agent_target_in_flight{${labels('b')}} 1`)
    await agent.advance(300)
    expect(await agent.numbers(`target_first_token_seconds_bucket{${labels('b')},le="0.25"}`)).toEqual([
      expect.stringMatching(/ 4$/),
    ])
    expect(await agent.numbers(`target_first_token_seconds_count{${labels('b')}}`)).toEqual([
      expect.stringMatching(/ 5$/),
    ])
  })
})

test('where all are left alone, one that has not said so itself is asked all the same, wherever it stands', async () => {
  const agent = pair()
  agent.upstreams.on('a', refuses(429, { 'retry-after': '300' }))
  agent.upstreams.on('b', refuses(500))
  await askedOf(agent, 3)
  expect(await askedOf(agent, 2)).toEqual(['b', 'b'])
  agent.upstreams.on('b', answers)
  const client = await agent.ask()
  expect([client.status, client.said]).toEqual([200, 'from b'])
  expect(agent.meter.last.hops).toMatchObject([{ outcome: 'circuit_open' }, { outcome: 'ok' }])
  expect(agent.left).toEqual(nothingLeft)
})

test('a part of a second that a target asks for is a whole one', async () => {
  const agent = pair()
  agent.upstreams.on('a', refuses(429, { 'retry-after': '1.5' }))
  agent.upstreams.on('b', answers)
  await askedOf(agent, 1)
  await agent.advance(1_999)
  expect(await askedOf(agent, 1)).toEqual(['b'])
  await agent.advance(1)
  expect(await askedOf(agent, 1)).toEqual(['ab'])
})

test('counting tokens says nothing of how fast a target answers', async () => {
  const agent = new VirtualAgent([{ name: 'a', kind: 'anthropic', routing }])
  agent.upstreams.on('a', (call) => {
    call.connect().head(200, { 'content-type': 'application/json' })
    call.data(JSON.stringify({ input_tokens: 5 })).end()
  })
  const client = await agent.ask({ max_tokens: 5 }, { operation: 'count_tokens' })
  expect([client.status, client.json]).toEqual([200, { input_tokens: 5 }])
  const known = agent.handler.healths.find(agent.target('a'))
  expect([known?.wholes.count, known?.inFlightCount]).toEqual([0, 0])
})
