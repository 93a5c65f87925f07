import { expect, test } from 'vitest'
import { answers, type FakeCall, nothingLeft, VirtualAgent } from '../../../test/harness/virtual-agent.js'

/**
 * What can be parsed and not be written again, because it is nested by the thousand, is never a fault of the agent: of a
 * client it is refused, of a vendor it is no answer.
 */
const deep = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`

function two(): VirtualAgent {
  const agent = new VirtualAgent([{ name: 'a', kind: 'anthropic' }, { name: 'b' }])
  agent.upstreams.on('b', answers)
  return agent
}

const json = (text: string) => (call: FakeCall) => {
  call.connect().head(200, { 'content-type': 'application/json' }).data(text).end()
}

const wholeAnswer = (input: string) =>
  `{"id":"m","type":"message","role":"assistant","model":"c","stop_reason":"tool_use","content":[{"type":"tool_use","id":"t","name":"f","input":${input}}],"usage":{"input_tokens":1,"output_tokens":1}}`

test('a tool’s input in a vendor’s answer', async () => {
  const agent = two()
  agent.upstreams.on('a', json(wholeAnswer('{"a":1}')))
  expect((await agent.ask()).status).toBe(200)
  expect(agent.meter.last?.hops).toHaveLength(1)
  agent.upstreams.on('a', json(wholeAnswer(deep)))
  const client = await agent.ask()
  expect([client.status, client.head?.fallbackReason]).toEqual([200, 'malformed'])
  expect(agent.left).toEqual(nothingLeft)
})

test('the same from the only target is told as its fault', async () => {
  const agent = new VirtualAgent([{ name: 'a', kind: 'anthropic' }])
  agent.upstreams.on('a', json(wholeAnswer(deep)))
  const client = await agent.ask()
  expect([client.status, client.code]).toEqual([502, 'upstream_malformed'])
})

const event = (type: string, rest: string) => `event: ${type}\ndata: {"type":"${type}",${rest}}\n\n`
const start = event(
  'message_start',
  '"message":{"id":"m","type":"message","role":"assistant","model":"c","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}',
)
const stop = event('content_block_stop', '"index":1')
const block = event(
  'content_block_start',
  `"index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":${deep}}`,
)

test('the same in a stream that has reached the client ends it with an error', async () => {
  const agent = two()
  const said = event('content_block_start', '"index":0,"content_block":{"type":"text","text":""}')
  const text = event('content_block_delta', '"index":0,"delta":{"type":"text_delta","text":"hi"}')
  const ended = event('content_block_stop', '"index":0')
  agent.upstreams.on('a', (call) => {
    call
      .connect()
      .stream()
      .data(start)
      .data(said)
      .data(text)
      .data(ended)
      .data(block + stop)
  })
  const client = await agent.ask({ stream: true })
  await agent.advance(2_000)
  expect(client.text).toContain('"hi"')
  expect(client.over).toBe(true)
  expect(agent.meter.last).toMatchObject({ status: 'failed', hops: [{ outcome: 'malformed' }] })
  expect(agent.left).toEqual(nothingLeft)
})

test('a tool’s arguments, which are a text in the client’s body', async () => {
  const messages = (argumentsText: string) => [
    { role: 'user', content: 'hi' },
    {
      role: 'assistant',
      tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: argumentsText } }],
    },
    { role: 'tool', tool_call_id: 'c', content: 'ok' },
  ]
  const agent = new VirtualAgent([{ name: 'a', kind: 'anthropic' }])
  agent.upstreams.on('a', json(wholeAnswer('{}')))
  expect((await agent.ask({ messages: messages('{"a":1}') })).status).toBe(200)
  const client = await agent.ask({ messages: messages(deep) })
  expect([client.status, client.code]).toEqual([400, 'invalid_value'])
  expect(agent.upstreams.calls).toHaveLength(1)
  expect(agent.meter.last).toMatchObject({ code: 'invalid_value', hops: [{ outcome: 'not_expressible' }] })
  expect(agent.left).toEqual(nothingLeft)
})
