import { describe, expect, test } from 'vitest'
import type { ClassifierOutcome } from '../../../proto/policy/classifier.js'
import type { Measure, RouteTable } from '../../../proto/policy/tables.js'
import { signsCharactersMax } from '../../../proto/policy/text-signs.js'
import { makeTarget, type TargetSpec } from '../../../test/harness/agent-door.js'
import {
  answers,
  type FakeCall,
  nothingLeft,
  type Reaction,
  refuses,
  stalls,
  VirtualAgent,
} from '../../../test/harness/virtual-agent.js'
import { classifierAnswerBytesMax, readMeasures } from './ask-classifier.js'

const says = (answer: unknown): Reaction => saying(JSON.stringify(answer))
const saying =
  (text: string): Reaction =>
  (call) =>
    call.connect().head(200).data(text).end()
const hard = says({ complexity: 0.9, class: 'code', label: 'v7' })

interface Plan {
  readonly judge?: Omit<TargetSpec, 'origin'>
  readonly external?: boolean
  readonly measures?: readonly Measure[]
  readonly timeoutMs?: number
  readonly route?: Partial<RouteTable>
  readonly world?: NonNullable<ConstructorParameters<typeof VirtualAgent>[1]>['world']
  readonly secrets?: Record<string, string>
}

/** By tiers: `small` for what is easy, `large` for what is hard. The client's own words are easy. */
function tiered(plan: Plan = {}): VirtualAgent {
  const { judge = {}, external = false, measures = ['complexity'], timeoutMs = 100, secrets = {} } = plan
  const { provider } = makeTarget({ origin: 'http://judge', basePath: '', name: 'judge', kind: 'classifier', ...judge })
  const classifier = { provider: { ...provider, external }, timeoutMs }
  const agent = new VirtualAgent(
    [
      { name: 'small', routing: { tier: 'low', tasks: new Set(['chat']) } },
      { name: 'large', routing: { tier: 'high', tasks: new Set(['code']) } },
    ],
    {
      world: {
        route: { classifier, measures: new Set(measures), ...plan.route },
        rule: { strategy: measures[0] === 'prompt_class' ? 'task' : 'complexity' },
        ...plan.world,
      },
      secrets,
    },
  )
  for (const name of ['small', 'large']) agent.upstreams.on(name, answers)
  return agent
}

const counted = async (agent: VirtualAgent) =>
  (await agent.numbers('classifier_calls_total')).map((line) => line.replace(/.*outcome="(\w+)"} /, '$1 '))

describe('a route with a classifier', () => {
  test('goes where it says, and asks it once', async () => {
    const agent = tiered()
    agent.upstreams.on('judge', hard)
    expect((await agent.ask()).said).toBe('from large')
    const [asked] = agent.upstreams.to('judge')
    expect([asked?.path, agent.upstreams.to('judge').length]).toEqual(['/classify', 1])
    expect(asked?.body).toEqual({
      text: 'hi',
      turns: 1,
      tools: 0,
      images: 0,
      tokens: expect.any(Number),
      model: 'fast',
    })
    expect(asked?.headers).toMatchObject({ 'content-type': 'application/json', 'x-request-id': expect.any(String) })
    expect(asked?.headers).not.toHaveProperty('authorization')
    expect(await counted(agent)).toEqual(['ok 1'])
    expect(agent.left).toEqual(nothingLeft)
  })

  test('shows it the ends of what the user says and no more, and never the key of the client', async () => {
    const agent = tiered({ judge: { credential: { id: 'crd_1', version: 2 } }, secrets: { 'crd_1/2': 'sk-judge' } })
    agent.upstreams.on('judge', hard)
    const messages = [
      { role: 'system', content: 'secret instructions' },
      { role: 'user', content: `first ${'x'.repeat(40_000)} last` },
    ]
    await agent.ask({ messages, tools: [{ type: 'function', function: { name: 'f' } }] })
    const asked = agent.upstreams.to('judge')[0]
    const text = String(asked?.body['text'])
    expect(text.length).toBeLessThanOrEqual(signsCharactersMax + 1)
    expect([text.startsWith('first '), text.endsWith(' last'), text.includes('secret')]).toEqual([true, true, false])
    expect(asked?.body).toMatchObject({ turns: 2, tools: 1 })
    expect(asked?.headers['authorization']).toBe('Bearer sk-judge')
    expect(JSON.stringify([asked?.headers, asked?.body])).not.toContain(agent.apiKey)
  })

  test('takes the class from it, too, unless the client says one', async () => {
    const agent = tiered({ measures: ['prompt_class', 'complexity'] })
    agent.upstreams.on('judge', says({ class: 'code', complexity: 0.1 }))
    expect((await agent.ask()).said).toBe('from large')
    const named = await agent.ask({}, { headers: { 'x-switchyard-prompt-class': 'chat' } })
    expect(named.said).toBe('from small')
    expect(agent.upstreams.to('judge')).toHaveLength(2)
  })

  test.each<[string, Plan, Record<string, string>]>([
    ['a rule that wants to know', { measures: ['tokens_in'] }, {}],
    ['what the client did not say', { measures: ['prompt_class'] }, { 'x-switchyard-prompt-class': 'code' }],
    ['a choice', { world: { key: { mayPin: true } } }, { 'x-switchyard-target': 'small/upstream-model' }],
    ['a route that the key may use', { world: { key: { allowedRoutes: new Set(['other']) } } }, {}],
  ])('asks nobody without %s', async (_words, plan, headers) => {
    const agent = tiered(plan)
    agent.upstreams.on('judge', hard)
    await agent.ask({}, { headers })
    expect(agent.upstreams.to('judge')).toEqual([])
    expect(await counted(agent)).toEqual([])
  })

  test('is timed, as time of an upstream', async () => {
    const agent = tiered()
    agent.upstreams.on('judge', (call) => {
      call.connect()
      agent.clock.after(60, () => call.head(200).data('{"complexity":1}').end())
    })
    const client = await agent.ask()
    await agent.advance(60)
    expect(client.said).toBe('from large')
    expect(agent.meter.last).toMatchObject({ latencyUs: 60_000, providerLatencyUs: 60_000, status: 'ok' })
    expect(agent.meter.last.hops).toHaveLength(1)
    expect(await agent.numbers('classifier_seconds_sum')).toEqual(['switchyard_agent_classifier_seconds_sum 0.06'])
  })

  test('says on a sampled span who measured, and nothing of what was said', async () => {
    const agent = tiered({ world: { spanSamplePpm: 1_000_000 } })
    agent.upstreams.on('judge', hard)
    await agent.ask({ messages: [{ role: 'user', content: 'a wish of mine' }] })
    const span = agent.meter.spans.find(({ name }) => name === 'classify')
    expect(span).toMatchObject({
      status: 'ok',
      attributes: [
        { key: 'switchyard.provider', text: 'judge' },
        { key: 'switchyard.outcome', text: 'ok' },
        { key: 'switchyard.classifier.label', text: 'v7' },
      ],
    })
    const spans = JSON.stringify(agent.meter.spans)
    expect(spans).toContain('classifier judge (v7) measured complexity')
    expect(spans).not.toContain('a wish of mine')
  })
})

describe('a classifier that gives no answer', () => {
  const tooMuch = saying(JSON.stringify({ complexity: 0.9, more: 'x'.repeat(classifierAnswerBytesMax) }))
  test.each<[string, Reaction, ClassifierOutcome]>([
    ['hangs', stalls, 'timeout'],
    ['never connects', () => {}, 'timeout'],
    ['stops in the middle', (call) => void call.connect().head(200).data('{"comp'), 'timeout'],
    ['breaks off', (call) => call.connect().head(200).fail(), 'connect_error'],
    ['cannot be reached', (call) => call.fail(), 'connect_error'],
    [
      'cannot be dispatched to',
      () => {
        throw new Error('no')
      },
      'connect_error',
    ],
    ['fails', refuses(500), 'http_error'],
    ['is not there', refuses(404), 'http_error'],
    ['redirects', refuses(302, { location: 'http://elsewhere' }), 'http_error'],
    ['has nothing to say', (call) => call.connect().head(204).end(), 'http_error'],
    ['says too often', refuses(429), 'rate_limited'],
    ['says too much', tooMuch, 'too_large'],
    ['says no JSON', saying('hard'), 'malformed'],
    ['says a number that is none', says({ complexity: 'high' }), 'malformed'],
    ['says nothing', saying(''), 'malformed'],
    ['abstains', says({}), 'abstained'],
    ['says only what nobody wants', says({ class: 'code' }), 'abstained'],
  ])('and %s leaves the built-in estimate', async (_words, reaction, outcome) => {
    const agent = tiered()
    agent.upstreams.on('judge', reaction)
    const client = await agent.ask()
    await agent.advance(100)
    expect([client.status, client.said]).toEqual([200, 'from small'])
    expect(client.lastByteMs).toBeLessThanOrEqual(100)
    expect(await counted(agent)).toEqual([`${outcome} 1`])
    expect({ ...agent.left, open: 0 }).toEqual(nothingLeft)
    expect(agent.upstreams.to('judge').filter(({ state }) => state === 'open')).toEqual([])
    expect(agent.meter.closed).toHaveLength(1)
  })

  test('in time gets no second chance', async () => {
    const agent = tiered()
    let late: FakeCall | null = null
    agent.upstreams.on('judge', (call) => {
      late = call.connect()
    })
    const client = await agent.ask()
    await agent.advance(100)
    hard(late as unknown as FakeCall)
    expect([client.said, client.lastByteMs]).toEqual(['from small', 100])
  })

  test('while its question waits for a connection is not sent it later', async () => {
    const agent = tiered()
    agent.upstreams.on('judge', () => {})
    const client = await agent.ask()
    await agent.advance(100)
    expect(client.said).toBe('from small')
    expect(agent.upstreams.to('judge')[0]?.connect().state).toBe('aborted')
  })

  test('is left alone, but for a probe', async () => {
    const agent = tiered()
    agent.upstreams.on('judge', stalls)
    for (let request = 0; request < 5; request++) {
      await agent.ask()
      await agent.advance(100)
    }
    for (let request = 0; request < 20; request++) {
      const client = await agent.ask()
      expect([client.status, client.lastByteMs - client.startedUs / 1_000]).toEqual([200, 0])
    }
    expect(agent.upstreams.to('judge')).toHaveLength(5)
    await agent.advance(5_000)
    agent.upstreams.on('judge', stalls)
    const [probing, beside] = [await agent.ask(), await agent.ask()]
    expect([probing.status, beside.status, agent.upstreams.to('judge').length]).toEqual([0, 200, 6])
    await agent.advance(100)
    expect(probing.said).toBe('from small')
    await agent.advance(10_000)
    agent.upstreams.on('judge', hard)
    expect((await agent.ask()).said).toBe('from large')
    expect((await agent.ask()).said).toBe('from large')
    expect(await counted(agent)).toEqual(['timeout 6', 'circuit_open 21', 'ok 2'])
    expect(agent.left.inFlightCount).toBe(0)
  })

  test('of one route costs another provider nothing, nor the same at another server', async () => {
    const agent = tiered()
    agent.upstreams.on('judge', refuses(500))
    for (let request = 0; request < 6; request++) await agent.ask()
    expect(agent.upstreams.to('judge')).toHaveLength(5)
    const { current } = agent.tables
    for (const { routes } of current?.environments.values() ?? []) {
      const route = routes.get('fast') as { classifier: RouteTable['classifier'] }
      const { provider, timeoutMs } = route.classifier ?? { provider: null, timeoutMs: 0 }
      if (provider !== null) route.classifier = { provider: { ...provider, origin: 'http://moved' }, timeoutMs }
    }
    agent.upstreams.on('judge', hard)
    expect((await agent.ask()).said).toBe('from large')
  })

  test('for a while, by its own word, is left alone for that long', async () => {
    const agent = tiered()
    agent.upstreams.on('judge', refuses(429, { 'retry-after': '3' }))
    await agent.ask()
    agent.upstreams.on('judge', hard)
    await agent.advance(2_999)
    expect((await agent.ask()).said).toBe('from small')
    await agent.advance(1)
    expect((await agent.ask()).said).toBe('from large')
    expect(await counted(agent)).toEqual(['rate_limited 1', 'circuit_open 1', 'ok 1'])
  })
})

describe('a classifier is not asked', () => {
  test.each<[string, Plan, ClassifierOutcome]>([
    [
      'outside for a key that may not go there',
      { external: true, world: { key: { allowExternal: false } } },
      'not_permitted',
    ],
    [
      'in a region that is not permitted',
      { judge: { region: 'moon' }, world: { permittedRegions: ['local'] } },
      'not_permitted',
    ],
    ['without its credential', { judge: { credential: { id: 'crd_1', version: 1 } } }, 'not_ready'],
  ])('%s', async (_words, plan, outcome) => {
    const agent = tiered(plan)
    agent.upstreams.on('judge', hard)
    expect((await agent.ask()).said).toBe('from small')
    expect(agent.upstreams.to('judge')).toEqual([])
    expect(await counted(agent)).toEqual([`${outcome} 1`])
  })

  test('by more at once than its provider has connections', async () => {
    const agent = tiered({ judge: { connectionsMax: 2 } })
    agent.upstreams.on('judge', stalls)
    const waiting = [await agent.ask(), await agent.ask()]
    expect((await agent.ask()).said).toBe('from small')
    expect(await counted(agent)).toEqual(['busy 1'])
    await agent.advance(100)
    expect(waiting.map(({ said }) => said)).toEqual(['from small', 'from small'])
    agent.upstreams.on('judge', hard)
    expect((await agent.ask()).said).toBe('from large')
  })

  test('outside by a key that may, which is', async () => {
    const agent = tiered({ external: true })
    agent.upstreams.on('judge', hard)
    expect((await agent.ask()).said).toBe('from large')
  })
})

describe('a client that leaves while its prompt is measured', () => {
  test('ends the call, and says nothing of the classifier', async () => {
    const agent = tiered()
    agent.upstreams.on('judge', stalls)
    for (let request = 0; request < 8; request++) {
      const client = await agent.ask()
      client.leave()
      await agent.advance(0)
      expect(agent.upstreams.to('judge').at(-1)?.state).toBe('aborted')
      expect(agent.meter.last).toMatchObject({ status: 'aborted', code: 'client_closed', hops: [] })
    }
    expect(agent.left).toEqual(nothingLeft)
    expect(await counted(agent)).toEqual(['aborted 8'])
    agent.upstreams.on('judge', hard)
    expect((await agent.ask()).said).toBe('from large')
  })

  test('as an agent that stops does', async () => {
    const agent = tiered()
    agent.upstreams.on('judge', stalls)
    const client = await agent.ask()
    agent.handler.endAll()
    await agent.advance(0)
    expect([client.status, client.code]).toEqual([503, 'agent_draining'])
    expect(agent.left).toEqual(nothingLeft)
  })
})

test.each<[string, ReturnType<typeof readMeasures>]>([
  ['{"complexity":0.5}', { outcome: 'ok', complexity: 0.5, promptClass: null, label: '' }],
  [
    '{"complexity":0,"class":"other","label":"v1"}',
    { outcome: 'ok', complexity: 0, promptClass: 'other', label: 'v1' },
  ],
  ['{"complexity":null,"class":null,"label":null}', { outcome: 'ok', complexity: null, promptClass: null, label: '' }],
  ['{"class":"chat","scores":{"chat":1}}', { outcome: 'ok', complexity: null, promptClass: 'chat', label: '' }],
  ['{"complexity":1.01}', null],
  ['{"complexity":-0.1}', null],
  ['{"complexity":"0.5"}', null],
  ['{"class":"poetry"}', null],
  ['{"class":7}', null],
  ['{"label":7}', null],
  ['[]', null],
  ['null', null],
])('an answer %s is read as what it says', (text, expected) => {
  expect(readMeasures(Buffer.from(text))).toEqual(expected)
})
