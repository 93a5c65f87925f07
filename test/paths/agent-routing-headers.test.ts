import { describe, expect, test } from 'vitest'
import type { FallbackAnswer, FallbackQuestion } from '../../agent/src/request/ports.js'
import { answers, nothingLeft, refuses, stalls, streams, VirtualAgent } from '../harness/virtual-agent.js'

/** What a client says and is told of its routing by header: pins, limits, last resorts. */
const mayPin = { key: { mayPin: true } }

function three(world: ConstructorParameters<typeof VirtualAgent>[1] = { world: mayPin }): VirtualAgent {
  const agent = new VirtualAgent([{ name: 'a' }, { name: 'b' }, { name: 'c' }], world)
  for (const name of ['a', 'b', 'c']) agent.upstreams.on(name, answers)
  return agent
}

const pinning = (target: string, more: Record<string, string> = {}) => ({
  headers: { 'x-switchyard-target': target, ...more },
})

describe('a target that the client names', () => {
  test.each([
    ['by its id', (agent: VirtualAgent) => agent.target('b').id],
    ['as responses name it', () => 'b/upstream-model'],
  ])('%s is asked, alone, and the record says so', async (_words, nameOf) => {
    const agent = three()
    agent.upstreams.on('b', refuses(500))
    const client = await agent.ask({}, pinning(nameOf(agent)))
    expect(client.code).toBe('upstream_failed')
    expect(agent.upstreams.calls.map(({ name }) => name)).toEqual(['b'])
    expect(agent.meter.last).toMatchObject({
      ...{ status: 'failed', routingOverride: `target=${agent.target('b').id}` },
      hops: [{ targetId: agent.target('b').id }],
    })
    // Also on a record of which nothing but its beginning survives.
    expect(agent.meter.opened[0]?.routingOverride).toBe(`target=${agent.target('b').id}`)
    expect(await agent.numbers('routing_overrides_total')).toEqual([
      'switchyard_agent_routing_overrides_total{kind="target"} 1',
    ])
  })

  test('is asked also while it is left alone, and may have no last resort', async () => {
    const lastResort = { cachedAgeMaxSeconds: 0, apology: '', safeAnswer: 'Later.' }
    const agent = three({ world: { ...mayPin, route: { lastResort } } })
    agent.upstreams.on('a', refuses(500))
    for (let request = 0; request < 6; request++) await agent.ask()
    expect(agent.upstreams.to('a')).toHaveLength(5)
    const client = await agent.ask({}, pinning('a/upstream-model'))
    expect(client.code).toBe('upstream_failed')
    expect(agent.upstreams.to('a')).toHaveLength(6)
  })

  test('by a key that may not is refused before anybody is asked', async () => {
    const agent = three({})
    const client = await agent.ask({}, pinning('b/upstream-model'))
    expect([client.status, client.code, client.json['error']]).toEqual([
      403,
      'pin_not_permitted',
      expect.objectContaining({ param: 'x-switchyard-target', code: 'pin_not_permitted' }),
    ])
    expect(agent.upstreams.calls).toEqual([])
    expect(agent.meter.last).toMatchObject({ status: 'refused', code: 'pin_not_permitted' })
  })

  test.each(['', 'd/upstream-model', 'tgt_unknown', 'x'.repeat(600)])('that is none (%s) is refused', async (name) => {
    const agent = three()
    const client = await agent.ask({}, pinning(name))
    expect([client.status, client.code]).toEqual([400, 'invalid_value'])
    expect(client.json['error']).toMatchObject({ param: 'x-switchyard-target' })
    expect(agent.upstreams.calls).toEqual([])
  })

  test('stays where its data may not go', async () => {
    const agent = new VirtualAgent(
      [
        { name: 'a', region: 'eu' },
        { name: 'b', region: 'us' },
      ],
      {
        world: { ...mayPin, permittedRegions: ['eu'] },
      },
    )
    const client = await agent.ask({}, pinning('b/upstream-model'))
    expect(client.code).toBe('no_eligible_target')
    expect(agent.upstreams.calls).toEqual([])
  })

  test('may be one of a rule that does not apply', async () => {
    const agent = three()
    const route = [...(agent.tables.current?.environments.values() ?? [])][0]?.routes.get('fast')
    const rule = route?.rules[0]
    Object.assign(route ?? {}, {
      rules: [
        { ...rule, id: 'first', targets: [agent.target('a')] },
        { ...rule, id: 'second', targets: [agent.target('c')] },
      ],
    })
    const client = await agent.ask({}, pinning('c/upstream-model'))
    expect(client.said).toBe('from c')
  })

  test('of a model that there is not is answered as ever', async () => {
    const agent = three()
    const client = await agent.ask({ model: 'nope' }, pinning('a/upstream-model'))
    expect(client.code).toBe('model_not_found')
  })
})

describe('no fallback', () => {
  test('asks the first target and no other', async () => {
    const agent = three()
    agent.upstreams.on('a', refuses(500))
    const client = await agent.ask({}, { headers: { 'x-switchyard-fallback': 'none' } })
    expect(client.code).toBe('upstream_failed')
    expect(agent.upstreams.calls.map(({ name }) => name)).toEqual(['a'])
    expect(agent.meter.last.routingOverride).toBe('fallback=none')
  })

  test('and a target are both on the record', async () => {
    const agent = three()
    await agent.ask({}, pinning('c/upstream-model', { 'x-switchyard-fallback': 'none' }))
    expect(agent.meter.last.routingOverride).toBe(`target=${agent.target('c').id} fallback=none`)
  })

  test('is the only word for it', async () => {
    const agent = three()
    const client = await agent.ask({}, { headers: { 'x-switchyard-fallback': 'never' } })
    expect([client.code, client.json['error']]).toEqual([
      'invalid_value',
      expect.objectContaining({ param: 'x-switchyard-fallback' }),
    ])
  })

  test('is not for every key', async () => {
    const agent = three({})
    const client = await agent.ask({}, { headers: { 'x-switchyard-fallback': 'none' } })
    expect([client.status, client.code]).toEqual([403, 'pin_not_permitted'])
  })
})

describe('a target’s parameters', () => {
  const parameters = { temperature: 0.2, outputTokensMax: 90 }

  test('go with what is sent, and a limit that was lowered is told', async () => {
    const agent = new VirtualAgent([{ name: 'a', routing: { parameters } }])
    agent.upstreams.on('a', answers)
    const client = await agent.ask({ max_tokens: 500 })
    expect(agent.upstreams.calls[0]?.body).toMatchObject({ temperature: 0.2, max_tokens: 90 })
    expect(client.head?.capped).toBe('max_tokens')
    const modest = await agent.ask({ max_tokens: 50, temperature: 1 })
    expect(agent.upstreams.calls[1]?.body).toMatchObject({ temperature: 1, max_tokens: 50 })
    expect(modest.head?.capped).toBeNull()
  })

  test('go with what is translated, likewise', async () => {
    const agent = new VirtualAgent([
      { name: 'a', kind: 'anthropic', upstreamModel: 'claude-3-5-haiku', routing: { parameters } },
    ])
    agent.upstreams.on('a', stalls)
    const client = await agent.ask({ max_tokens: 500 })
    expect(agent.upstreams.calls[0]?.body).toMatchObject({ temperature: 0.2, max_tokens: 90 })
    agent.upstreams.calls[0]?.refuse(400)
    await agent.advance(0)
    expect(client.head?.capped).toBe('max_completion_tokens')
    await agent.ask({})
    expect(agent.upstreams.calls[1]?.body).toMatchObject({ temperature: 0.2, max_tokens: 90 })
  })

  test('are left out where the vendor cannot take them with what the client asks', async () => {
    const agent = new VirtualAgent([
      { name: 'a', kind: 'anthropic', upstreamModel: 'claude-opus-5', routing: { parameters } },
    ])
    agent.upstreams.on('a', stalls)
    await agent.ask({})
    expect(agent.upstreams.calls[0]?.body).toMatchObject({ max_tokens: 90 })
    expect(agent.upstreams.calls[0]?.body).not.toHaveProperty('temperature')
  })

  test('are on the trace with its model and where it runs', async () => {
    const agent = new VirtualAgent(
      [{ name: 'a', routing: { parameters, nodePool: 'h100-spot', owner: 'ml-platform' } }],
      { world: { spanSamplePpm: 1_000_000 } },
    )
    agent.upstreams.on('a', answers)
    await agent.ask()
    const attributes = Object.fromEntries(
      (agent.meter.spans[1]?.attributes ?? []).map(({ key, text, real, integer }) => [key, text ?? real ?? integer]),
    )
    expect(attributes).toMatchObject({
      'gen_ai.request.model': 'upstream-model',
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.max_tokens': 90,
      'switchyard.node_pool': 'h100-spot',
      'switchyard.owner': 'ml-platform',
      'switchyard.provider': 'a',
    })
  })
})

describe('the last resort', () => {
  const lastResort = { cachedAgeMaxSeconds: 600, apology: 'We apologize.', safeAnswer: 'Please come back later.' }
  const kept: FallbackAnswer = {
    answer: {
      ...{ id: 'kept-1', model: 'up-1' },
      parts: [
        { type: 'text', text: 'Berlin.', logprobs: null },
        { type: 'tool_call', id: 'call_1', name: 'map', argumentsText: '{"city":"Berlin"}' },
      ],
      finish: { reason: 'tool_calls', stopSequence: null },
      usage: { input: 5, output: 6, cachedInput: null, cacheWriteInput: null, reasoningOutput: null },
    },
    ageSeconds: 60,
  }
  const questions: FallbackQuestion[] = []

  function failing(found: FallbackAnswer | null = null, table = lastResort): VirtualAgent {
    questions.length = 0
    const find = (question: FallbackQuestion) => {
      questions.push(question)
      return found
    }
    const agent = new VirtualAgent([{ name: 'a' }], { world: { route: { lastResort: table } }, answers: { find } })
    agent.upstreams.on('a', refuses(500))
    return agent
  }

  test('is a kept answer after an apology', async () => {
    const agent = failing(kept)
    const client = await agent.ask({ user: 'u' })
    expect([client.status, client.head?.lastResort]).toEqual([200, 'cached'])
    expect(client.json['choices']).toMatchObject([
      {
        finish_reason: 'tool_calls',
        message: { content: 'We apologize.\n\nBerlin.', tool_calls: [{ id: 'call_1', function: { name: 'map' } }] },
      },
    ])
    expect(client.json['usage']).toBeUndefined()
    expect(agent.meter.last).toMatchObject({
      ...{ status: 'ok', code: 'last_resort', httpStatus: 200, usageSource: 'none', fallbackUsed: true },
      ...{ providerId: '', modelId: '', actualModel: '', hops: [{ outcome: 'upstream_5xx' }] },
    })
    expect(agent.meter.last.tokensIn).toBeUndefined()
    expect(agent.meter.last.costNanoUsd).toBeUndefined()
    expect(questions).toMatchObject([{ operation: 'chat_completions', ageMaxSeconds: 600, route: { name: 'fast' } }])
    expect(questions[0]?.conversation?.user).toBe('u')
    expect(await agent.numbers('last_resorts_total')).toEqual(['switchyard_agent_last_resorts_total{kind="cached"} 1'])
    expect(agent.left).toEqual(nothingLeft)
  })

  test('is a stream where a stream was asked for', async () => {
    const agent = failing(kept)
    const client = await agent.ask({ stream: true })
    expect(client.said).toBe('We apologize.\n\nBerlin.')
    expect(client.text).toContain('"arguments":"{\\"city\\":\\"Berlin\\"}"')
    expect(client.text.endsWith('"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n')).toBe(true)
    expect(agent.meter.last).toMatchObject({ status: 'ok', code: 'last_resort' })
  })

  test('is the fixed answer where none is kept, or only an older one', async () => {
    for (const found of [null, { ...kept, ageSeconds: 601 }]) {
      const agent = failing(found)
      const client = await agent.ask()
      expect([client.said, client.head?.lastResort]).toEqual(['Please come back later.', 'safe-answer'])
      expect(client.json).toMatchObject({ model: 'fast', choices: [{ finish_reason: 'stop' }] })
    }
  })

  test('does not ask for a kept answer where the route wants none', async () => {
    const agent = failing(kept, { ...lastResort, cachedAgeMaxSeconds: 0 })
    expect((await agent.ask()).said).toBe('Please come back later.')
    expect(questions).toEqual([])
  })

  test('is the error where there is nothing to give', async () => {
    const agent = failing(null, { ...lastResort, safeAnswer: '' })
    const client = await agent.ask()
    expect([client.status, client.code]).toEqual([502, 'upstream_failed'])
    expect(client.head?.lastResort).toBeNull()
  })

  test('gives JSON to who asked for JSON: a kept answer as it was, no words', async () => {
    const json = { response_format: { type: 'json_object' } }
    const whole = {
      ...kept,
      answer: { ...kept.answer, parts: [{ type: 'text' as const, text: '{}', logprobs: null }] },
    }
    expect((await failing(whole).ask(json)).said).toBe('{}')
    expect((await failing().ask(json)).code).toBe('upstream_failed')
  })

  test('is in the words of Anthropic’s door', async () => {
    const agent = failing()
    const client = await agent.ask({ max_tokens: 5 }, { operation: 'messages' })
    expect(client.json).toMatchObject({ type: 'message', content: [{ text: 'Please come back later.' }] })
    const streamed = await agent.ask({ max_tokens: 5, stream: true }, { operation: 'messages' })
    expect(streamed.text).toContain('event: message_stop')
  })

  test('is not for what a client did wrong', async () => {
    const agent = failing()
    agent.upstreams.on('a', refuses(400))
    expect((await agent.ask()).status).toBe(400)
    expect((await agent.ask({ messages: [] })).code).toBe('empty_array')
    const anthropic = new VirtualAgent([{ name: 'a', kind: 'anthropic' }], { world: { route: { lastResort } } })
    expect((await anthropic.ask({ n: 2 })).code).toBe('unsupported_field')
  })

  test('is not for a stream that had begun', async () => {
    const agent = failing()
    agent.upstreams.on('a', (call) => call.connect().stream().say('half').fail())
    const client = await agent.ask({ stream: true })
    expect(client.text).toContain('upstream_truncated')
    expect(agent.meter.last).toMatchObject({ status: 'failed', code: 'upstream_truncated' })
  })

  test('is not for embeddings', async () => {
    const agent = failing()
    expect((await agent.ask({ input: 'x' }, { operation: 'embeddings' })).code).toBe('upstream_failed')
  })

  test('is for targets that are not ready', async () => {
    const agent = new VirtualAgent([{ name: 'a', credential: { id: 'gone', version: 1 } }], {
      world: { route: { lastResort } },
    })
    expect((await agent.ask()).said).toBe('Please come back later.')
  })

  test('comes to a client that is still there', async () => {
    let give: (found: null) => void = () => {}
    const waiting = new Promise<null>((resolve) => {
      give = resolve
    })
    const agent = new VirtualAgent([{ name: 'a' }], {
      world: { route: { lastResort } },
      answers: { find: () => waiting },
    })
    agent.upstreams.on('a', refuses(500))
    const client = await agent.ask()
    client.leave()
    give(null)
    await agent.advance(0)
    expect(client.status).toBe(0)
    expect(agent.meter.last).toMatchObject({ status: 'aborted', code: 'client_closed' })
    expect(agent.left).toEqual(nothingLeft)
  })
})

test('a stream that is answered well says nothing of any of it', async () => {
  const agent = three()
  agent.upstreams.on('a', streams)
  const client = await agent.ask({ stream: true })
  expect(client.head).toMatchObject({ capped: null, lastResort: null, dropped: null, fallbackReason: null })
})
