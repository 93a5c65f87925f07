import type { ServerResponse } from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'
import {
  answerJson,
  chatAnswer,
  type Door,
  makeTables,
  makeTarget,
  openDoor,
  ScriptedUpstream,
  until,
  type WorldSpec,
} from '../harness/agent-door.js'

/** A classifier of the tenant's, over HTTP, that says where requests go: through a door, on sockets, in real time. */
const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

type Judge = (wish: { text: string; turns: number; model: string }, response: ServerResponse) => void

interface World {
  readonly door: Door
  readonly judge: ScriptedUpstream
  /** Upstream models, as they were asked. */
  readonly served: string[]
  ask(content: string, signal?: AbortSignal): Promise<{ status: number; model: string }>
}

async function open(judging: Judge, timeoutMs = 2_000, key: WorldSpec['key'] = {}): Promise<World> {
  const judge = await new ScriptedUpstream((received, response) =>
    judging(JSON.parse(received.body.toString()), response),
  ).start()
  const served: string[] = []
  const models = await new ScriptedUpstream((received, response) => {
    const { model } = JSON.parse(received.body.toString()) as { model: string }
    served.push(model)
    answerJson(response, 200, { ...chatAnswer, model })
  }).start()
  const { provider } = makeTarget({
    ...{ origin: judge.origin, basePath: '/v2', name: 'judge', kind: 'classifier' },
    credential: { id: 'crd_judge', version: 1 },
  })
  const tier = (name: 'low' | 'high') =>
    makeTarget({ origin: models.origin, upstreamModel: name, routing: { tier: name } })
  const { tables, apiKey } = makeTables({
    routes: { chat: [tier('low'), tier('high')] },
    route: { classifier: { provider: { ...provider, external: true }, timeoutMs }, measures: new Set(['complexity']) },
    rule: { strategy: 'complexity' },
    key,
  })
  const door = await openDoor({ tables, secrets: { 'crd_judge/1': 'sk-judge' } })
  stops.push(
    () => judge.stop(),
    () => models.stop(),
    () => door.stop(),
  )
  const ask = async (content: string, signal?: AbortSignal) => {
    const response = await fetch(`${door.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'chat', messages: [{ role: 'user', content }] }),
      ...(signal === undefined ? {} : { signal }),
    })
    return { status: response.status, model: ((await response.json()) as { model: string }).model }
  }
  return { door, judge, served, ask }
}

const numbers = async ({ door }: World) =>
  (await door.metrics.text()).split('\n').filter((line) => line.startsWith('switchyard_agent_classifier_calls_total{'))

describe('a classifier', () => {
  test('decides by the text, with its own credential', async () => {
    const world = await open(({ text }, response) =>
      answerJson(response, 200, { complexity: text.includes('Prove') ? 0.95 : 0.05, label: 'v1' }),
    )
    expect(await world.ask('Prove it.')).toEqual({ status: 200, model: 'high' })
    expect(await world.ask('Why? Why? Compare, prove, and explain the trade-offs, step by step.')).toEqual({
      status: 200,
      model: 'low',
    })
    expect(world.judge.received.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /v2/classify',
      'POST /v2/classify',
    ])
    expect(world.judge.received[0]?.headers).toMatchObject({
      authorization: 'Bearer sk-judge',
      'content-type': 'application/json',
      traceparent: expect.stringMatching(/^00-/),
    })
    expect(JSON.parse(world.judge.received[0]?.body.toString() ?? '')).toMatchObject({ text: 'Prove it.', turns: 1 })
    expect(await numbers(world)).toEqual(['switchyard_agent_classifier_calls_total{outcome="ok"} 2'])
    expect(world.door.upstreams.busyCount).toBe(0)
  })

  test('that is slow costs its time and no more, and none once it is known to be', async () => {
    const world = await open(() => {}, 30)
    for (let request = 0; request < 8; request++) expect((await world.ask('hi')).model).toBe('low')
    expect(world.judge.received).toHaveLength(5)
    await until(() => world.judge.received.every(({ closedByAgent }) => closedByAgent), 'nobody waits any more')
    expect(await numbers(world)).toEqual([
      'switchyard_agent_classifier_calls_total{outcome="timeout"} 5',
      'switchyard_agent_classifier_calls_total{outcome="circuit_open"} 3',
    ])
    expect(world.door.upstreams.busyCount).toBe(0)
  })

  test('that is not there changes nothing', async () => {
    const world = await open(() => {})
    await world.judge.stop()
    expect(await world.ask('hi')).toEqual({ status: 200, model: 'low' })
    expect(await numbers(world)).toEqual(['switchyard_agent_classifier_calls_total{outcome="connect_error"} 1'])
  })

  test('outside is not shown what a key may not send there', async () => {
    const world = await open((_, response) => answerJson(response, 200, { complexity: 1 }), 2_000, {
      allowExternal: false,
    })
    expect(await world.ask('hi')).toEqual({ status: 200, model: 'low' })
    expect(world.judge.received).toEqual([])
    expect(await numbers(world)).toEqual(['switchyard_agent_classifier_calls_total{outcome="not_permitted"} 1'])
  })

  test('is let go when the client leaves, and no model is asked', async () => {
    const world = await open(() => {})
    const leaving = new AbortController()
    const asked = world.ask('hi', leaving.signal).catch(() => null)
    await until(() => world.judge.received.length === 1, 'the classifier is asked')
    leaving.abort()
    await asked
    await until(() => world.judge.received[0]?.closedByAgent === true, 'its connection is closed')
    await until(() => world.door.meter.closed.length === 1, 'the record is closed')
    expect(world.door.meter.last).toMatchObject({ status: 'aborted', code: 'client_closed', hops: [] })
    expect(world.served).toEqual([])
    expect(world.door.handler.runningCount).toBe(0)
  })
})
