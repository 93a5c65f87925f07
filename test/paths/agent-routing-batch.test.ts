import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ReplicaPicker } from '../../agent/src/replicas/replica-picker.js'
import type { TargetTable } from '../../proto/policy/tables.js'
import { denyKey, makeTables } from '../harness/agent-door.js'
import {
  answers,
  type FakeClient,
  later,
  nothingLeft,
  type Reaction,
  refuses,
  stalls,
  streams,
  VirtualAgent,
} from '../harness/virtual-agent.js'

/** Targets with a limit: places, the line before them, and who is asked when it is too long. On virtual time. */
type Options = ConstructorParameters<typeof VirtualAgent>[1]
type Limits = Partial<Pick<TargetTable, 'batchSize' | 'batchWaitMs'>>

/** Target `gpu` with a limit, `cloud` without any. */
function gpuFirst(limits: Limits, options: Options = {}): VirtualAgent {
  const agent = new VirtualAgent([{ name: 'gpu', routing: limits }, { name: 'cloud' }], options)
  agent.upstreams.on('gpu', stalls)
  agent.upstreams.on('cloud', answers)
  return agent
}

/** Only `gpu`, which answers after `ms`. */
function gpuOnly(limits: Limits, ms = 1_000, options: Options = {}): VirtualAgent {
  const agent = new VirtualAgent([{ name: 'gpu', routing: limits }], options)
  agent.upstreams.on(
    'gpu',
    later(agent.clock, ms, (call) => (call.body['stream'] ? streams(call) : answers(call))),
  )
  return agent
}

const askedOf = (agent: VirtualAgent) => agent.upstreams.calls.map(({ name }) => name)
const outcomesOf = (agent: VirtualAgent) => agent.meter.last.hops?.map(({ outcome }) => outcome)
/** Places taken and requests in line, at a target. */
const batchOf = (agent: VirtualAgent, name = 'gpu') => {
  const batch = agent.handler.healths.find(agent.target(name))?.batch
  return batch && [batch.runningCount, batch.waitingCount]
}
const nobody = [0, 0]

describe('a target that is full', () => {
  test('is passed over for the next at once where nobody may wait, and that says nothing of its health', async () => {
    const agent = gpuFirst({ batchSize: 2 })
    await agent.ask()
    await agent.ask()
    const client = await agent.ask()
    expect(askedOf(agent)).toEqual(['gpu', 'gpu', 'cloud'])
    expect([client.status, client.said]).toEqual([200, 'from cloud'])
    expect(client.head).toMatchObject({ hop: 2, target: 'cloud/upstream-model', fallbackReason: 'busy' })
    expect(agent.meter.last).toMatchObject({
      ...{ status: 'ok', fallbackUsed: true },
      hops: [{ outcome: 'busy', httpStatus: 0, durationUs: 0 }, { outcome: 'ok' }],
    })
    for (let request = 0; request < 10; request++) await agent.ask()
    const known = agent.handler.healths.find(agent.target('gpu'))
    expect(known?.phase(agent.clock.monotonicUs())).toBe('closed')
    expect(await agent.numbers('outcome="busy"')).toEqual(
      expect.arrayContaining([expect.stringMatching(/^switchyard_agent_target_hops_total\{.*outcome="busy"\} 11$/)]),
    )
  })

  test('is waited for, first come first served; the wait is on record, and the deadlines begin after it', async () => {
    const agent = gpuOnly({ batchSize: 1, batchWaitMs: 5_000 }, 1_900)
    const clients: FakeClient[] = []
    for (let number = 0; number < 3; number++) clients.push(await agent.ask())
    expect([askedOf(agent).length, batchOf(agent)]).toEqual([1, [1, 2]])
    // The first token of each is due after 2 s: the third waited nearly twice as long.
    await agent.advance(10_000)
    expect(clients.map(({ status, lastByteMs }) => [status, lastByteMs])).toEqual([
      [200, 1_900],
      [200, 3_800],
      [200, 5_700],
    ])
    expect(agent.meter.last).toMatchObject({
      ...{ status: 'ok', fallbackUsed: false, latencyUs: 5_700_000, providerLatencyUs: 5_700_000 },
      hops: [{ outcome: 'ok', startedUs: 0, durationUs: 5_700_000 }],
    })
    expect([batchOf(agent), agent.left]).toEqual([nobody, nothingLeft])
  })

  test('is given up for the next when nobody left in time', async () => {
    const agent = gpuFirst({ batchSize: 1, batchWaitMs: 300 })
    await agent.ask()
    const client = await agent.ask()
    await agent.advance(299)
    expect([client.status, batchOf(agent)]).toEqual([0, [1, 1]])
    await agent.advance(1)
    expect([client.said, client.lastByteMs, client.head?.fallbackReason]).toEqual(['from cloud', 300, 'busy'])
    expect(agent.meter.last.hops).toMatchObject([
      { outcome: 'busy', durationUs: 300_000 },
      { outcome: 'ok', startedUs: 300_000, durationUs: 0 },
    ])
    expect(batchOf(agent)).toEqual([1, 0])
  })

  test('is waited for no longer than the route has time', async () => {
    const agent = gpuOnly({ batchSize: 1, batchWaitMs: 60_000 }, 9_000, { world: { totalTimeoutMs: 1_000 } })
    agent.upstreams.on('gpu', stalls)
    await agent.ask()
    await agent.advance(400)
    const client = await agent.ask()
    await agent.advance(600)
    // The place of the first is free now.
    expect([client.status, batchOf(agent), askedOf(agent).length]).toEqual([0, [1, 0], 2])
    const late = await agent.ask()
    await agent.advance(1_000)
    expect([client.code, late.code]).toEqual(['upstream_timeout', 'upstream_timeout'])
    expect(batchOf(agent)).toEqual(nobody)
  })

  test('and the only one is a refusal that says when to come again, at both kinds of door', async () => {
    const agent = gpuOnly({ batchSize: 1, batchWaitMs: 100 })
    agent.upstreams.on('gpu', stalls)
    await agent.ask()
    const openai = await agent.ask()
    const anthropic = await agent.ask({ max_tokens: 9 }, { operation: 'messages' })
    await agent.advance(100)
    for (const { status, code, head } of [openai, anthropic]) {
      expect([status, code, head?.retryAfterSeconds]).toEqual([503, 'upstream_busy', 1])
    }
    const message = 'The upstream is full, and no place there came free in time.'
    expect(openai.json).toEqual({ error: { message, type: 'server_error', param: null, code: 'upstream_busy' } })
    expect(anthropic.json).toMatchObject({ type: 'error', error: { type: 'overloaded_error', message } })
    expect(agent.meter.last).toMatchObject({
      ...{ status: 'failed', code: 'upstream_busy', httpStatus: 503 },
      hops: [{ outcome: 'busy', durationUs: 100_000 }],
    })
  })

  test('is a reason for the last resort', async () => {
    const lastResort = { cachedAgeMaxSeconds: 0, apology: '', safeAnswer: 'Please come back later.' }
    const agent = gpuOnly({ batchSize: 1 }, 1_000, { world: { route: { lastResort } } })
    await agent.ask()
    const client = await agent.ask()
    expect([client.status, client.said, client.head?.lastResort]).toEqual([
      ...[200, 'Please come back later.', 'safe-answer'],
    ])
    expect(agent.meter.last).toMatchObject({ status: 'ok', code: 'last_resort', hops: [{ outcome: 'busy' }] })
  })

  test('is waited for by who names it, too', async () => {
    const agent = gpuFirst({ batchSize: 1, batchWaitMs: 2_000 }, { world: { key: { mayPin: true } } })
    agent.upstreams.on('gpu', later(agent.clock, 500))
    await agent.ask()
    const pinned = await agent.ask({}, { headers: { 'x-switchyard-target': 'gpu/upstream-model' } })
    await agent.advance(499)
    expect([pinned.status, batchOf(agent)]).toEqual([0, [1, 1]])
    await agent.advance(501)
    expect([pinned.said, pinned.lastByteMs]).toEqual(['from gpu', 1_000])
  })

  test('does not hold up what counts tokens', async () => {
    const agent = new VirtualAgent([{ name: 'gpu', kind: 'vllm', routing: { batchSize: 1, batchWaitMs: 9_000 } }])
    agent.upstreams.on('gpu', stalls)
    await agent.ask()
    agent.upstreams.on('gpu', (call) =>
      call.connect().head(200, { 'content-type': 'application/json' }).data('{"count":7,"max_model_len":9}').end(),
    )
    const client = await agent.ask({}, { operation: 'count_tokens' })
    expect([client.json, batchOf(agent)]).toEqual([{ input_tokens: 7 }, [1, 0]])
  })
})

describe('a place', () => {
  test('is held by a stream to its end', async () => {
    const agent = gpuFirst({ batchSize: 1 })
    agent.upstreams.on('gpu', (call) => call.connect().stream().say('once '))
    const stream = await agent.ask({ stream: true })
    await agent.advance(1_500)
    expect((await agent.ask()).said).toBe('from cloud')
    agent.upstreams.calls[0]?.say('upon a time').finish()
    await agent.advance(0)
    expect([stream.said, batchOf(agent)]).toEqual(['once upon a time', nobody])
    await agent.ask()
    expect(askedOf(agent)).toEqual(['gpu', 'cloud', 'gpu'])
  })

  const ends: [string, Reaction, Record<string, unknown>][] = [
    ['an answer', answers, {}],
    ['a "no" to the client', refuses(400), {}],
    ['a failure', refuses(500), {}],
    ['no connection', (call) => call.fail(), {}],
    ['silence', stalls, {}],
    ['what is no answer', (call) => call.connect().head(200).data('<html>').end(), {}],
    ['a stream that breaks', (call) => call.connect().stream().say('a').fail(), { stream: true }],
  ]
  test.each(ends)('is given back after %s, once, to who waits', async (_words, reaction, more) => {
    const agent = gpuFirst({ batchSize: 1, batchWaitMs: 60_000 })
    agent.upstreams.on('gpu', later(agent.clock, 100, reaction))
    await agent.ask(more)
    agent.upstreams.on('gpu', answers)
    const next = await agent.ask()
    await agent.advance(10_000)
    expect(next.said).toBe('from gpu')
    expect([batchOf(agent), agent.left]).toEqual([nobody, nothingLeft])
  })

  test('is kept where the upstream refuses to be asked for its usage, and is asked for less', async () => {
    const agent = gpuFirst({ batchSize: 1, batchWaitMs: 60_000 }, {})
    let asked = 0
    agent.upstreams.on('gpu', (call) => {
      if (call.body['stream_options'] === undefined) return later(agent.clock, 100, streams)(call)
      asked += 1
      call.connect().head(400, { 'content-type': 'application/json' })
      call.data('{"error":{"message":"stream_options: unknown field"}}').end()
    })
    const first = await agent.ask({ stream: true })
    const second = await agent.ask({ stream: true })
    expect([asked, batchOf(agent)]).toEqual([1, [1, 1]])
    await agent.advance(300)
    expect([first.said, second.said, batchOf(agent)]).toEqual(['from gpu', 'from gpu', nobody])
  })

  test('is given back where nobody says who we are there, and not taken for what cannot be asked', async () => {
    const limits = { batchSize: 1, batchWaitMs: 9_000 }
    const aws = { id: 'aws', version: 1 }
    const agent = new VirtualAgent(
      [
        { name: 'signed', kind: 'bedrock', vendorRegion: 'eu-central-1', credential: aws, routing: limits },
        { name: 'locked', credential: { id: 'gone', version: 1 }, routing: limits },
        { name: 'cloud' },
      ],
      { secrets: { 'aws/1': { ambient: 'azure' } } },
    )
    agent.upstreams.on('cloud', answers)
    for (let request = 0; request < 3; request++) await agent.ask()
    expect(outcomesOf(agent)).toEqual(['not_ready', 'not_ready', 'ok'])
    const inexpressible = await agent.ask({ logit_bias: { 1: 2 } })
    expect(inexpressible.said).toBe('from cloud')
    expect(outcomesOf(agent)?.[0]).toBe('not_expressible')
    expect([batchOf(agent, 'signed'), batchOf(agent, 'locked')]).toEqual([nobody, nobody])
  })

  test('comes back after a fault of ours, before there is a hop as well as within one', async () => {
    const agent = gpuOnly({ batchSize: 1, batchWaitMs: 60_000 }, 100)
    await agent.ask()
    const waiting = await agent.ask()
    const { pick } = ReplicaPicker.prototype
    ReplicaPicker.prototype.pick = () => {
      throw new Error('a bug')
    }
    await agent.advance(100)
    ReplicaPicker.prototype.pick = pick
    expect([waiting.code, batchOf(agent)]).toEqual(['internal_error', nobody])
    agent.upstreams.of(agent.target('gpu').provider).pool.dispatch = () => {
      throw new Error('another one')
    }
    const broken = await agent.ask()
    expect([broken.status >= 500, batchOf(agent), agent.left]).toEqual([true, nobody, nothingLeft])
  })

  test('is there before a replica is picked: none is believed to have a prompt that it never gets', async () => {
    const routing = { batchSize: 1, batchWaitMs: 0 }
    const agent = new VirtualAgent([
      { ...{ name: 'gpu', kind: 'vllm', replicas: ['http://gpu-0', 'http://gpu-1'] }, routing },
      { name: 'cloud' },
    ])
    agent.upstreams.on('gpu', stalls)
    agent.upstreams.on('cloud', answers)
    const { pick } = ReplicaPicker.prototype
    const picked: string[] = []
    ReplicaPicker.prototype.pick = function (question) {
      picked.push(question.target.provider.name)
      return pick.call(this, question)
    }
    try {
      await agent.ask()
      const overflow = [await agent.ask(), await agent.ask()]
      expect(overflow.map(({ said }) => said)).toEqual(['from cloud', 'from cloud'])
      expect(picked).toEqual(['gpu', 'cloud', 'cloud'])
    } finally {
      ReplicaPicker.prototype.pick = pick
    }
  })

  test('of who could not reach its replica is the next that comes free: it came first', async () => {
    const agent = new VirtualAgent([
      {
        ...{ name: 'gpu', kind: 'vllm', replicas: ['http://gpu-0', 'http://gpu-1'] },
        routing: { batchSize: 1, batchWaitMs: 60_000 },
      },
    ])
    let failing = true
    agent.upstreams.on('gpu', (call) => {
      if (failing) agent.clock.after(50, () => call.fail())
      else later(agent.clock, 100)(call)
      failing = false
    })
    const unlucky = await agent.ask()
    await agent.advance(10)
    const [second, third] = [await agent.ask(), await agent.ask()]
    await agent.advance(1_000)
    expect([second, unlucky, third].map(({ lastByteMs }) => lastByteMs)).toEqual([150, 250, 350])
    expect([batchOf(agent), agent.left]).toEqual([nobody, nothingLeft])
  })
})

describe('who waits', () => {
  test('and leaves is on record as such, frees nothing, and lets the next one move up', async () => {
    const agent = gpuFirst({ batchSize: 1, batchWaitMs: 60_000 })
    const first = await agent.ask()
    const second = await agent.ask()
    const third = await agent.ask()
    await agent.advance(200)
    second.leave()
    await agent.advance(0)
    expect([second.destroyed, batchOf(agent)]).toEqual([true, [1, 1]])
    expect(agent.meter.last).toMatchObject({
      ...{ status: 'aborted', code: 'client_closed' },
      hops: [{ outcome: 'aborted', durationUs: 200_000 }],
    })
    expect(agent.meter.last.tokensIn).toBeUndefined()
    agent.upstreams.on('gpu', answers)
    first.leave()
    await agent.advance(0)
    expect([third.said, batchOf(agent), agent.left]).toEqual(['from gpu', nobody, nothingLeft])
  })

  test('and leaves in the very turn in which a place came free gives it to the next', async () => {
    const agent = gpuFirst({ batchSize: 1, batchWaitMs: 60_000 })
    const [first, second, third] = [await agent.ask(), await agent.ask(), await agent.ask()]
    agent.upstreams.on('gpu', answers)
    first.leave()
    expect(batchOf(agent)).toEqual([1, 1])
    second.leave()
    await agent.advance(0)
    expect([third.said, askedOf(agent).length]).toEqual(['from gpu', 2])
    expect([batchOf(agent), agent.left]).toEqual([nobody, nothingLeft])
  })

  test('after another target failed and leaves is billed nothing', async () => {
    const agent = new VirtualAgent([{ name: 'cloud' }, { name: 'gpu', routing: { batchSize: 1, batchWaitMs: 9_000 } }])
    agent.upstreams.on('cloud', (call) => call.connect().stream().end())
    agent.upstreams.on('gpu', stalls)
    await agent.ask({ stream: true })
    const second = await agent.ask({ stream: true })
    second.leave()
    await agent.advance(0)
    expect(outcomesOf(agent)).toEqual(['malformed', 'aborted'])
    expect(agent.meter.last).toMatchObject({ status: 'aborted', usageSource: 'none' })
  })

  test('is told at once that the agent stops, or that its key is revoked', async () => {
    const agent = gpuFirst({ batchSize: 1, batchWaitMs: 60_000 })
    await agent.ask()
    const waiting = await agent.ask()
    const { current } = agent.tables
    if (current === null) throw new Error('there are tables')
    const [secretHash] = [...(current.keys as unknown as Map<string, unknown>).keys()]
    agent.tables.swap(denyKey(current, secretHash ?? '', true))
    await agent.advance(0)
    expect([waiting.code, batchOf(agent)]).toEqual(['revoked_api_key', nobody])
    agent.tables.swap(current)
    await agent.ask()
    const late = await agent.ask()
    agent.handler.endAll()
    await agent.advance(0)
    expect([late.status, late.code]).toEqual([503, 'agent_draining'])
    expect([batchOf(agent), agent.left]).toEqual([nobody, nothingLeft])
  })

  test('finds the target left alone by then, and goes on', async () => {
    const breaker = { failures: 1, openMs: 5_000, failureRatio: 0, windowMs: 30_000, requestsMin: 20 }
    const agent = new VirtualAgent([
      { name: 'gpu', routing: { batchSize: 1, batchWaitMs: 9_000, breaker } },
      { name: 'cloud' },
    ])
    agent.upstreams.on('cloud', answers)
    agent.upstreams.on('gpu', later(agent.clock, 100, refuses(500)))
    await agent.ask()
    const second = await agent.ask()
    await agent.advance(100)
    expect([second.said, askedOf(agent)]).toEqual(['from cloud', ['gpu', 'cloud', 'cloud']])
    expect(agent.meter.last.hops).toMatchObject([{ outcome: 'circuit_open', durationUs: 100_000 }, { outcome: 'ok' }])
    expect(batchOf(agent)).toEqual(nobody)
  })

  test('at the only one left, which fails, is told so in the end', async () => {
    const breaker = { failures: 1, openMs: 60_000, failureRatio: 0, windowMs: 30_000, requestsMin: 20 }
    const agent = gpuOnly({ batchSize: 1, batchWaitMs: 50, breaker } as Limits)
    agent.upstreams.on('gpu', refuses(500))
    await agent.ask()
    agent.upstreams.on('gpu', stalls)
    await agent.ask()
    const client = await agent.ask()
    await agent.advance(50)
    expect([client.code, outcomesOf(agent)]).toEqual(['upstream_busy', ['busy']])
  })
})

describe('a second target beside a slow first', () => {
  test('is not waited for, nor passed over: without a place there is none, and it stays the next', async () => {
    const agent = new VirtualAgent(
      [{ name: 'a' }, { name: 'b', routing: { batchSize: 1, batchWaitMs: 9_000 } }, { name: 'c' }],
      { world: { route: { hedging: { budgetRatio: 1, delayMinMs: 50 } } } },
    )
    agent.upstreams.on('a', later(agent.clock, 100))
    for (let sample = 0; sample < 20; sample++) {
      await agent.ask()
      await agent.advance(100)
    }
    agent.upstreams.on('a', stalls)
    agent.upstreams.on('b', stalls)
    agent.upstreams.on('c', answers)
    agent.upstreams.calls.length = 0
    await agent.ask()
    await agent.advance(200)
    expect([askedOf(agent), batchOf(agent, 'b')]).toEqual([
      ['a', 'b'],
      [1, 0],
    ])
    const second = await agent.ask()
    await agent.advance(200)
    expect(askedOf(agent)).toEqual(['a', 'b', 'a'])
    expect(await agent.numbers('event="no_place"')).toEqual(['switchyard_agent_hedges_total{event="no_place"} 1'])
    // The first fails: now the second may be waited for.
    agent.upstreams.on('b', answers)
    agent.upstreams.calls[2]?.refuse(500)
    await agent.advance(0)
    expect(batchOf(agent, 'b')).toEqual([1, 1])
    agent.upstreams.calls[1]?.answer('at last')
    await agent.advance(0)
    expect(second.said).toBe('from b')
    await agent.advance(60_000)
    expect([batchOf(agent, 'b'), agent.left]).toEqual([nobody, nothingLeft])
  })

  test('gives its place back when it loses', async () => {
    const agent = new VirtualAgent([{ name: 'a' }, { name: 'b', routing: { batchSize: 1 } }], {
      world: { route: { hedging: { budgetRatio: 1, delayMinMs: 50 } } },
    })
    agent.upstreams.on('a', later(agent.clock, 100))
    for (let sample = 0; sample < 20; sample++) {
      await agent.ask()
      await agent.advance(100)
    }
    agent.upstreams.on('a', later(agent.clock, 300))
    agent.upstreams.on('b', stalls)
    const client = await agent.ask()
    await agent.advance(200)
    expect(batchOf(agent, 'b')).toEqual([1, 0])
    await agent.advance(200)
    expect([client.said, outcomesOf(agent), batchOf(agent, 'b')]).toEqual(['from a', ['ok', 'hedge_lost'], nobody])
  })
})

describe('when tables change', () => {
  /** The tables of `agent`, with other limits of its target. */
  const swap = (agent: VirtualAgent, limits: Limits) => {
    const { current } = agent.tables
    const target = { ...agent.target('gpu'), ...limits }
    const made = makeTables({ routes: { fast: [target] }, totalTimeoutMs: 600_000 })
    const [environment] = made.tables.environments.values()
    const [[secretHash, key] = []] = [...((current?.keys ?? []) as Map<string, object>)]
    const keys = new Map([[secretHash, { ...key, environment }]])
    agent.tables.swap({ ...made.tables, keys } as never)
  }

  test('places and line stay; a larger batch lets those in that wait, a smaller one nobody', async () => {
    const agent = gpuOnly({ batchSize: 1, batchWaitMs: 60_000 }, 1_000)
    for (let request = 0; request < 6; request++) await agent.ask()
    expect(batchOf(agent)).toEqual([1, 5])
    swap(agent, { batchSize: 3 })
    expect(batchOf(agent)).toEqual([3, 3])
    await agent.advance(0)
    expect(askedOf(agent)).toHaveLength(3)
    swap(agent, { batchSize: 2 })
    await agent.advance(1_000)
    expect(batchOf(agent)).toEqual([2, 1])
    swap(agent, { batchSize: null, batchWaitMs: 0 })
    await agent.advance(5_000)
    expect([batchOf(agent), agent.left]).toEqual([nobody, nothingLeft])
    expect(await agent.numbers('target_batch_size{')).toEqual([])
  })

  test('a target that is gone is forgotten; what runs and waits there ends as it would', async () => {
    const agent = gpuOnly({ batchSize: 1, batchWaitMs: 60_000 }, 1_000)
    const clients = [await agent.ask(), await agent.ask()]
    const target = agent.target('gpu')
    const known = agent.handler.healths.find(target)
    const { current } = agent.tables
    agent.tables.swap({ ...(current as never as object), environments: new Map() } as never)
    // Its places are its own for as long as somebody has one: it may come back.
    expect(agent.handler.healths.find(target)).toBe(known)
    await agent.advance(2_000)
    expect(clients.map(({ said }) => said)).toEqual(['from gpu', 'from gpu'])
    expect([known?.batch?.runningCount, known?.batch?.waitingCount, agent.left]).toEqual([0, 0, nothingLeft])
    expect(agent.handler.healths.size).toBe(0)
  })

  test('a target that is gone for a while and comes back has the places that are taken', async () => {
    const agent = gpuOnly({ batchSize: 1, batchWaitMs: 0 }, 1_000)
    const first = await agent.ask()
    const { current } = agent.tables
    agent.tables.swap({ ...(current as never as object), environments: new Map() } as never)
    agent.tables.swap({ ...(current as never as object), environments: new Map(current?.environments) } as never)
    const second = await agent.ask()
    await agent.advance(2_000)
    expect([first.said, second.status]).toEqual(['from gpu', 503])
  })
})

test('operators see size, places, line and waits', async () => {
  const agent = gpuOnly({ batchSize: 2, batchWaitMs: 60_000 }, 1_000)
  for (let request = 0; request < 5; request++) await agent.ask()
  const labels = `route="rte_fast",rule="rule",target="${agent.target('gpu').id}"`
  expect(await agent.numbers('target_batch_size')).toEqual([`switchyard_agent_target_batch_size{${labels}} 2`])
  expect(await agent.numbers('target_batch_running')).toEqual([`switchyard_agent_target_batch_running{${labels}} 2`])
  expect(await agent.numbers('target_queue_length')).toEqual([`switchyard_agent_target_queue_length{${labels}} 3`])
  await agent.advance(5_000)
  expect(await agent.numbers('target_queue_length')).toEqual([`switchyard_agent_target_queue_length{${labels}} 0`])
  expect(await agent.numbers('target_batch_wait_seconds_')).toEqual(
    expect.arrayContaining([
      // Two at once, two after one second, one after two.
      `switchyard_agent_target_batch_wait_seconds_bucket{${labels},le="0.05"} 2`,
      `switchyard_agent_target_batch_wait_seconds_bucket{${labels},le="1"} 4`,
      `switchyard_agent_target_batch_wait_seconds_sum{${labels}} 4`,
      `switchyard_agent_target_batch_wait_seconds_count{${labels}} 5`,
    ]),
  )
})

test('whatever happens in whatever order, every place comes back and nobody is left in line', async () => {
  const reactions: Reaction[] = [answers, stalls, streams, refuses(500), refuses(400), (call) => call.fail()]
  const step = fc.record({
    kind: fc.constantFrom('ask', 'ask', 'ask', 'leave', 'pass', 'end'),
    number: fc.nat(1_000),
    stream: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const agent = new VirtualAgent(
        [
          {
            name: 'a',
            kind: 'vllm',
            routing: { batchSize: 1, batchWaitMs: 700 },
            replicas: ['http://a0', 'http://a1'],
          },
          { name: 'b', routing: { batchSize: 2, batchWaitMs: 0 } },
          { name: 'c', routing: { batchSize: 1, batchWaitMs: 5_000 } },
        ],
        { world: { totalTimeoutMs: 4_000, route: { hedging: { budgetRatio: 1, delayMinMs: 1 } } } },
      )
      let turn = 0
      for (const name of ['a', 'b', 'c']) {
        agent.upstreams.on(name, (call) => {
          const { number } = steps[turn++ % steps.length] ?? { number: 0 }
          const reaction = reactions[number % reactions.length] ?? answers
          if (number % 3 === 0) reaction(call)
          else agent.clock.after(number % 600, () => reaction(call))
        })
      }
      const clients: FakeClient[] = []
      for (const { kind, number, stream } of steps) {
        if (kind === 'ask') clients.push(await agent.ask({ stream }))
        else if (kind === 'leave') clients[number % Math.max(1, clients.length)]?.leave()
        else if (kind === 'pass') await agent.advance(number)
        else if (number > 900) agent.handler.endAll()
        for (const [name, size] of [
          ['a', 1],
          ['b', 2],
          ['c', 1],
        ] as const) {
          expect(batchOf(agent, name)?.[0] ?? 0).toBeLessThanOrEqual(size)
        }
      }
      await agent.advance(60_000)
      for (const name of ['a', 'b', 'c']) expect(batchOf(agent, name) ?? nobody).toEqual(nobody)
      expect(agent.left).toEqual(nothingLeft)
      expect(agent.meter.closed).toHaveLength(clients.length)
    }),
    { numRuns: 60 },
  )
}, 30_000)
