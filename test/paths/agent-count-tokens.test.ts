import Anthropic from '@anthropic-ai/sdk'
import { afterEach, describe, expect, test } from 'vitest'
import { Simulator } from '../../deploy/local/simulator.js'
import type { BreakerTable } from '../../proto/policy/tables.js'
import { answerJson, makeTables, makeTarget, openDoor, ScriptedUpstream } from '../harness/agent-door.js'
import {
  type FakeClient,
  later,
  nothingLeft,
  type Reaction,
  refuses,
  stalls,
  VirtualAgent,
} from '../harness/virtual-agent.js'

/** `count_tokens` where the route's first target is a server that counts beside its API. */

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

describe('with the official client, at a server like vLLM', () => {
  const messages: Anthropic.MessageParam[] = [
    { role: 'user', content: 'What is the weather in Oslo, and in Zürich?' },
    {
      role: 'assistant',
      content: [
        { type: 'text', text: 'Let me see.' },
        { type: 'tool_use', id: 'call_1', name: 'weather', input: { city: 'Oslo' } },
      ],
    },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'call_1', content: '3 degrees' }] },
  ]
  const tools: Anthropic.Tool[] = [{ name: 'weather', description: 'Of a place.', input_schema: { type: 'object' } }]

  test('a count is what the message then uses, system, tools, calls and results included', async () => {
    const simulator = new Simulator({ port: 0 })
    await simulator.start()
    cleanUps.push(() => simulator.stop())
    const target = makeTarget({ origin: simulator.url, kind: 'vllm', upstreamModel: 'simulator-small' })
    const { tables, apiKey } = makeTables({ routes: { chat: [target] } })
    const door = await openDoor({ tables })
    cleanUps.push(() => door.stop())
    const client = new Anthropic({ baseURL: door.url, apiKey, maxRetries: 0 })
    const asked = { model: 'chat', system: 'Be brief.', messages, tools }
    const { data, response } = await client.messages.countTokens(asked).withResponse()
    expect(response.headers.get('x-switchyard-target')).toBe(`${target.provider.name}/simulator-small`)
    expect(door.meter.last).toMatchObject({
      ...{ operation: 'count_tokens', status: 'ok', httpStatus: 200, fallbackUsed: false },
      hops: [{ targetId: target.id, outcome: 'ok', httpStatus: 200 }],
    })
    expect(door.meter.last.tokensIn).toBeUndefined()
    const message = await client.messages.create({ ...asked, max_tokens: 20 })
    expect(data).toEqual({ input_tokens: message.usage.input_tokens })
  })

  test('it is asked beside its API, in the words of a chat, as whom the provider knows', async () => {
    const upstream = await new ScriptedUpstream((_, response) =>
      answerJson(response, 200, { count: 1_234, max_model_len: 8, tokens: [1, 2] }),
    ).start()
    cleanUps.push(() => upstream.stop())
    const target = makeTarget({
      ...{ origin: upstream.origin, kind: 'openai-compatible', basePath: '/inference/v1' },
      credential: { id: 'crd', version: 1 },
    })
    const { tables, apiKey } = makeTables({ routes: { chat: [target] } })
    const door = await openDoor({ tables, secrets: { 'crd/1': 'sk-server' } })
    cleanUps.push(() => door.stop())
    const client = new Anthropic({ baseURL: door.url, apiKey, maxRetries: 0 })
    expect(await client.messages.countTokens({ model: 'chat', system: 'Be brief.', messages, tools })).toEqual({
      input_tokens: 1_234,
    })
    const [received] = upstream.received
    expect([received?.method, received?.path]).toEqual(['POST', '/inference/tokenize'])
    expect(received?.headers.authorization).toBe('Bearer sk-server')
    expect(JSON.parse(String(received?.body))).toEqual({
      model: 'upstream-model',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'What is the weather in Oslo, and in Zürich?' },
        {
          role: 'assistant',
          content: 'Let me see.',
          tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } }],
        },
        { role: 'tool', tool_call_id: 'call_1', content: '3 degrees' },
      ],
      add_generation_prompt: true,
      tools: [
        { type: 'function', function: { name: 'weather', description: 'Of a place.', parameters: { type: 'object' } } },
      ],
    })
  })
})

/** Of the tests' counter, for the text `hi`. */
const ownCount = { input_tokens: 1 }
const counts = (count: unknown): Reaction => says({ count, max_model_len: 10, tokens: [] })

function says(body: unknown): Reaction {
  return (call) => {
    call.connect().head(200, { 'content-type': 'application/json' })
    call.data(JSON.stringify(body)).end()
  }
}

function agentOf(...kinds: string[]): VirtualAgent {
  const breaker: BreakerTable = { failures: 3, openMs: 5_000, failureRatio: 0, windowMs: 30_000, requestsMin: 20 }
  return new VirtualAgent(kinds.map((kind, index) => ({ name: 'abc'[index] ?? '', kind, routing: { breaker } })))
}

const countAt = (agent: VirtualAgent, body: Record<string, unknown> = {}): Promise<FakeClient> =>
  agent.ask(body, { operation: 'count_tokens' })

const outcomesOf = ({ meter }: VirtualAgent) => (meter.last.hops ?? []).map(({ outcome }) => outcome)

function expectOwnCount(agent: VirtualAgent, client: FakeClient): void {
  expect([client.status, client.json]).toEqual([200, ownCount])
  expect(client.head).toMatchObject({ target: null, fallbackReason: null })
  expect(agent.meter.last).toMatchObject({ status: 'ok', httpStatus: 200, operation: 'count_tokens' })
  expect(agent.meter.last.tokensIn).toBeUndefined()
  expect(agent.left).toEqual(nothingLeft)
}

describe('the agent counts itself', () => {
  test.each([
    ['no such path', refuses(404)],
    ['no such method', refuses(405)],
    ['no such feature', refuses(501)],
    ['a proxy that lets nobody there', refuses(403)],
    ['a proxy that wants another key', refuses(401)],
    ['something else at that path', says({ tokens: [] })],
    ['a page', (call) => void call.connect().head(200, { 'content-type': 'text/html' }).data('<html>').end()],
    ['no number', counts('12')],
  ] satisfies [string, Reaction][])(
    'where a server has it not, which is remembered for ten minutes: %s',
    async (_what, reaction) => {
      const agent = agentOf('vllm')
      agent.upstreams.on('a', reaction)
      expectOwnCount(agent, await countAt(agent))
      expectOwnCount(agent, await countAt(agent))
      expect(agent.upstreams.calls).toHaveLength(1)
      await agent.advance(600_000)
      agent.upstreams.on('a', counts(12))
      expect((await countAt(agent)).json).toEqual({ input_tokens: 12 })
      expect(agent.upstreams.calls).toHaveLength(2)
    },
  )

  test.each([
    ['it refuses what it is sent', refuses(400), 'upstream_4xx'],
    ['it refuses what it cannot read', refuses(422), 'upstream_4xx'],
    ['it is asked too often', refuses(429, { 'retry-after': '60' }), 'rate_limited'],
    ['it breaks', refuses(500), 'upstream_5xx'],
    ['it is not up', refuses(503, { 'retry-after': '60' }), 'upstream_5xx'],
    ['its connection breaks', (call) => call.connect().fail(), 'connect_error'],
  ] satisfies [string, Reaction, string][])(
    'where a server fails, which is not remembered: %s',
    async (_what, reaction, outcome) => {
      const agent = agentOf('vllm')
      agent.upstreams.on('a', reaction)
      expectOwnCount(agent, await countAt(agent))
      expect(outcomesOf(agent)).toEqual([outcome])
      agent.upstreams.on('a', counts(12))
      expect((await countAt(agent)).json).toEqual({ input_tokens: 12 })
    },
  )

  test('where a server takes long, for it is not waited for as an answer is', async () => {
    const agent = new VirtualAgent([
      { name: 'a', kind: 'vllm', deadlines: { firstTokenMs: 60_000, idleMs: 60_000, totalMs: 300_000 } },
    ])
    agent.upstreams.on('a', stalls)
    const client = await countAt(agent)
    await agent.advance(1_999)
    expect(client.status).toBe(0)
    await agent.advance(1)
    expectOwnCount(agent, client)
    // Who did not serve is on the record as a hop, and not as who did.
    expect(agent.meter.last).toMatchObject({ providerId: '', actualModel: '', hops: [{ outcome: 'timeout_total' }] })
    // For a minute nobody waits for it again.
    const before = agent.upstreams.calls.length
    expectOwnCount(agent, await countAt(agent))
    expect(agent.upstreams.calls).toHaveLength(before)
    await agent.advance(60_000)
    agent.upstreams.on('a', later(agent.clock, 1_900, counts(12)))
    const patient = await countAt(agent)
    await agent.advance(1_900)
    expect(patient.json).toEqual({ input_tokens: 12 })
  })

  test.each(['ollama', 'openai', 'azure-openai', 'bedrock', 'vertex'])('at once for kind %s', async (kind) => {
    const agent = agentOf(kind)
    agent.upstreams.on('a', counts(12))
    expectOwnCount(agent, await countAt(agent))
    expect(agent.upstreams.calls).toHaveLength(0)
    expect(outcomesOf(agent)).toEqual([])
  })

  test('where a server could not be told all of it, or what it says makes no conversation', async () => {
    const agent = agentOf('vllm')
    agent.upstreams.on('a', counts(12))
    const hi = { type: 'text', text: 'hi' }
    const byUrl = { type: 'document', source: { type: 'url', url: 'https://x.example/y.pdf' } }
    expectOwnCount(agent, await countAt(agent, { messages: [{ role: 'user', content: [hi, byUrl] }] }))
    expectOwnCount(agent, await countAt(agent, { messages: [{ role: 'user', content: [hi, { type: 'odd' }] }] }))
    expect(agent.upstreams.calls).toHaveLength(0)
    // Settings change no count.
    const settings = { temperature: 0.5, stop_sequences: ['x'], something_new: true }
    expect((await countAt(agent, settings)).json).toEqual({ input_tokens: 12 })
    expect(Object.keys(agent.upstreams.calls[0]?.body ?? {})).toEqual(['model', 'messages', 'add_generation_prompt'])
  })

  test('where the credential is not here yet', async () => {
    const agent = new VirtualAgent([{ name: 'a', kind: 'vllm', credential: { id: 'crd', version: 1 } }])
    expectOwnCount(agent, await countAt(agent))
    expect(outcomesOf(agent)).toEqual(['not_ready'])
  })

  test('and no other target is asked in the place of the first, whose vocabulary would be another one', async () => {
    const agent = agentOf('vllm', 'anthropic')
    agent.upstreams.on('a', refuses(500))
    agent.upstreams.on('b', says({ input_tokens: 99 }))
    expectOwnCount(agent, await countAt(agent))
    expect(agent.upstreams.to('b')).toHaveLength(0)
  })
})

describe('counting beside the API', () => {
  test('says nothing of the target: it neither opens its breaker nor closes it, nor takes its probe', async () => {
    const agent = agentOf('vllm')
    for (const reaction of [refuses(500), refuses(503, { 'retry-after': '60' }), refuses(429), stalls]) {
      agent.upstreams.on('a', reaction)
      for (let request = 0; request < 4; request++) await countAt(agent)
      await agent.advance(5_000)
    }
    // By then it is asked again, although it took too long.
    await agent.advance(60_000)
    const known = agent.handler.healths.of(agent.target('a'), {} as never)
    expect([known.breakerState, known.wholes.count]).toEqual([0, 0])
    // Three answers that fail do.
    agent.upstreams.on('a', refuses(500))
    for (let request = 0; request < 3; request++) await agent.ask()
    expect(known.breakerState).toBe(2)
    agent.upstreams.on('a', counts(12))
    const before = agent.upstreams.calls.length
    expectOwnCount(agent, await countAt(agent))
    expect(outcomesOf(agent)).toEqual(['circuit_open'])
    await agent.advance(5_000)
    expect(known.breakerState).toBe(1)
    expectOwnCount(agent, await countAt(agent))
    expect(agent.upstreams.calls).toHaveLength(before)
    agent.upstreams.on('a', (call) => call.connect().answer())
    expect((await agent.ask()).status).toBe(200)
    expect(known.breakerState).toBe(0)
  })

  test('a server that is not there is one that fails', async () => {
    const agent = agentOf('vllm')
    agent.upstreams.on('a', (call) => call.fail(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })))
    for (let request = 0; request < 3; request++) expectOwnCount(agent, await countAt(agent))
    expect(agent.handler.healths.of(agent.target('a'), {} as never).breakerState).toBe(2)
  })

  test('a client that leaves is not counted for', async () => {
    const agent = agentOf('vllm')
    agent.upstreams.on('a', stalls)
    const client = await countAt(agent)
    client.leave()
    await agent.advance(0)
    expect(agent.meter.last).toMatchObject({ status: 'aborted', hops: [{ outcome: 'aborted' }] })
    expect(agent.left).toEqual(nothingLeft)
  })

  test('stands in where a vendor that counts itself fails, and is no error of the client’s either', async () => {
    const agent = agentOf('anthropic', 'vllm')
    agent.upstreams.on('a', refuses(500))
    agent.upstreams.on('b', counts(12))
    expect((await countAt(agent)).json).toEqual({ input_tokens: 12 })
    agent.upstreams.on('b', refuses(404))
    expectOwnCount(agent, await countAt(agent))
  })

  test('a prompt that is counted at a replica is not taken to be in its cache', async () => {
    const replicas: ScriptedUpstream[] = []
    for (let index = 0; index < 4; index++) {
      const replica = await new ScriptedUpstream((_, response) => answerJson(response, 200, { count: 12 })).start()
      cleanUps.push(() => replica.stop())
      replicas.push(replica)
    }
    const origins = replicas.map(({ origin }) => origin)
    const target = makeTarget({ origin: 'http://pool.invalid', kind: 'vllm', replicas: origins })
    const { tables, apiKey } = makeTables({ routes: { chat: [target] } })
    const door = await openDoor({ tables })
    cleanUps.push(() => door.stop())
    const client = new Anthropic({ baseURL: door.url, apiKey, maxRetries: 0 })
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'the same beginning '.repeat(1_000) }]
    for (let request = 0; request < 8; request++) await client.messages.countTokens({ model: 'chat', messages })
    // One that was believed to hold it would be chosen each time.
    expect(replicas.map(({ received }) => received.length)).toEqual([2, 2, 2, 2])
    expect(replicas.map(({ received }) => received[0]?.path)).toEqual(Array(4).fill('/tokenize'))
  })
})
