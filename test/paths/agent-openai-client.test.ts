import OpenAI, { APIError } from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { ThreadTokenCounter } from '../../agent/src/request/count-tokens.js'
import { Simulator, type SimulatorOptions } from '../../deploy/local/simulator.js'
import type { AcceptedRequest } from '../../deploy/local/simulator-ledger.js'
import { systemClock } from '../../proto/std/clock.js'
import {
  type Door,
  makeTables,
  makeTarget,
  openDoor,
  silentLog,
  type TargetSpec,
  until,
} from '../harness/agent-door.js'

/** The unmodified official client, the agent's door, the simulator: what a user does on the first day. */
const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

interface World extends Door {
  readonly simulator: Simulator
  readonly client: OpenAI
}

async function world(options: Partial<SimulatorOptions> & { target?: Partial<TargetSpec> } = {}): Promise<World> {
  const { target, ...simulatorOptions } = options
  const simulator = new Simulator({ port: 0, seed: 7, ...simulatorOptions })
  await simulator.start()
  cleanUps.push(() => simulator.stop())
  const { tables, apiKey } = makeTables({
    routes: {
      chat: [makeTarget({ origin: simulator.url, upstreamModel: 'simulator-small', ...target })],
      embed: [makeTarget({ origin: simulator.url, upstreamModel: 'simulator-embedding', ...target })],
    },
  })
  const counter = new ThreadTokenCounter({ clock: systemClock, log: silentLog })
  cleanUps.push(() => counter.stop())
  const door = await openDoor({ tables, counter })
  cleanUps.push(() => door.stop())
  const client = new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 })
  return Object.assign(door, { simulator, client })
}

const messages = [{ role: 'user' as const, content: 'Tell me about the fox, please.' }]

function accepted(at: World): AcceptedRequest {
  const one = at.simulator.accepted()[0]
  if (!one) throw new Error('the simulator accepted nothing')
  return one
}

describe('the official client', () => {
  test('gets a chat completion', async () => {
    const at = await world()
    const completion = await at.client.chat.completions.create({ model: 'chat', messages })
    expect(completion.choices[0]?.message.content?.length).toBeGreaterThan(10)
    expect(at.meter.last).toMatchObject({
      status: 'ok',
      tokensIn: completion.usage?.prompt_tokens,
      tokensOut: completion.usage?.completion_tokens,
      actualModel: 'simulator-small',
    })
    expect(accepted(at).id).toBe(at.meter.last.requestId)
  })

  test.each(['vllm', 'openai', 'openai-compatible', 'ollama'])(
    'gets a streamed one from a provider of kind %s, with exact usage on the record',
    async (kind) => {
      const at = await world({ target: { kind } })
      const stream = await at.client.chat.completions.create({ model: 'chat', messages, stream: true })
      let text = ''
      for await (const part of stream) {
        expect(part.usage ?? null).toBeNull()
        expect(part.choices).toHaveLength(1)
        text += part.choices[0]?.delta.content ?? ''
      }
      expect(text.length).toBeGreaterThan(10)
      expect(at.meter.last).toMatchObject({
        status: 'ok',
        stream: true,
        usageSource: 'provider',
        tokensOut: accepted(at).completionTokens,
      })
    },
  )

  test('gets the usage of a stream when it asks', async () => {
    const at = await world()
    const stream = await at.client.chat.completions.create({
      model: 'chat',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    })
    let usage: OpenAI.CompletionUsage | null = null
    for await (const part of stream) usage = part.usage ?? usage
    expect(usage?.completion_tokens).toBe(accepted(at).completionTokens)
  })

  test('gets embeddings and models', async () => {
    const at = await world()
    const embedded = await at.client.embeddings.create({ model: 'embed', input: ['a', 'b'] })
    expect(embedded.data).toHaveLength(2)
    const models = await at.client.models.list()
    expect(models.data.map((model) => model.id)).toEqual(['chat', 'embed'])
    expect((await at.client.models.retrieve('chat')).id).toBe('chat')
  })

  test('understands a refusal', async () => {
    const at = await world()
    const failure = await at.client.chat.completions
      .create({ model: 'nope', messages })
      .catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(OpenAI.NotFoundError)
    expect(failure).toMatchObject({ status: 404, code: 'model_not_found', param: 'model' })
    const stranger = new OpenAI({ baseURL: `${at.url}/v1`, apiKey: 'sk-wrong', maxRetries: 0 })
    await expect(stranger.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError)
  })

  test('understands a stream that breaks off', async () => {
    const at = await world({ behaviour: { outputTokens: 50, failure: 'truncated_stream', failAfterTokens: 10 } })
    const stream = await at.client.chat.completions.create({ model: 'chat', messages, stream: true })
    const failure = await (async () => {
      for await (const _part of stream);
    })().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(APIError)
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_truncated' })
    expect(Number(at.meter.last.tokensOut)).toBeLessThanOrEqual(accepted(at).completionTokens)
  })

  test.each(['vllm', 'openai'])(
    'that leaves a stream (kind %s): the simulator sees it, the record lies between delivered and written',
    async (kind) => {
      const at = await world({ target: { kind }, behaviour: { outputTokens: 2_000, tokensPerSecond: 200 } })
      const stream = await at.client.chat.completions.create({ model: 'chat', messages, stream: true })
      let delivered = ''
      for await (const part of stream) {
        delivered += part.choices[0]?.delta.content ?? ''
        if (delivered.length > 200) break
      }
      const leftAtUs = systemClock.monotonicUs()
      await until(() => accepted(at).closedByClientAtMs !== null, 'the simulator sees the connection close')
      expect(systemClock.monotonicUs() - leftAtUs).toBeLessThan(5_000_000)
      await until(() => at.meter.closed.length === 1, 'the record')
      const { usageSource, tokensOut, status } = at.meter.last
      expect({ status, usageSource }).toEqual({
        status: 'aborted',
        usageSource: kind === 'vllm' ? 'provider' : 'counted',
      })
      expect(Number(tokensOut)).toBeGreaterThan(0)
      expect(Number(tokensOut)).toBeLessThanOrEqual(accepted(at).completionTokens)
    },
  )
})
