import OpenAI, { APIError } from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { Simulator, type SimulatorOptions } from '../../deploy/local/simulator.js'
import { randomFrom } from '../../deploy/local/simulator-text.js'
import {
  answerJson,
  type Door,
  makeTables,
  makeTarget,
  openDoor,
  type Script,
  ScriptedUpstream,
  type TargetSpec,
  until,
} from '../harness/agent-door.js'
import { AnthropicFake } from '../harness/vendors/anthropic-fake.js'

/**
 * `POST /v1/completions` with the official client, unmodified: passed on to servers that speak it, and one prompt as one
 * turn of a conversation to those that do not.
 */
const cleanUps: (() => Promise<void>)[] = []
const fakes: AnthropicFake[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  for (const fake of fakes.splice(0)) expect(fake.problems).toEqual([])
})

interface World extends Door {
  readonly client: OpenAI
  readonly apiKey: string
}

async function openWorld(target: TargetSpec, { dropsUnsupported = false, secret = 'sk-up' } = {}): Promise<World> {
  const { tables, apiKey } = makeTables({
    routes: { text: [makeTarget({ credential: { id: 'crd', version: 1 }, ...target })] },
    dropsUnsupported,
  })
  const door = await openDoor({ tables, secrets: { 'crd/1': secret } })
  cleanUps.push(() => door.stop())
  return Object.assign(door, {
    apiKey,
    client: new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 }),
  })
}

async function simulatorWorld(kind: string, options: Partial<SimulatorOptions> = {}) {
  const simulator = new Simulator({ port: 0, seed: 7, ...options })
  await simulator.start()
  cleanUps.push(() => simulator.stop())
  const at = await openWorld({ kind, origin: simulator.url, upstreamModel: 'simulator-small' })
  return Object.assign(at, { simulator })
}

async function scriptedWorld(script: Script, kind = 'vllm') {
  const upstream = await new ScriptedUpstream(script).start()
  cleanUps.push(() => upstream.stop())
  return Object.assign(await openWorld({ kind, origin: upstream.origin }), { upstream })
}

async function anthropicWorld(options = {}) {
  const fake = await new AnthropicFake().start()
  fakes.push(fake)
  cleanUps.push(() => fake.stop())
  const target = { kind: fake.kind, origin: fake.origin, upstreamModel: 'claude-sonnet-4-20250514' }
  return Object.assign(await openWorld(target, { secret: fake.secret, ...options }), { fake })
}

function post(at: World, body: string | object): ReturnType<typeof fetch> {
  return fetch(`${at.url}/v1/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${at.apiKey}`, 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

async function failureOf(work: PromiseLike<unknown>): Promise<unknown> {
  try {
    await work
  } catch (failure) {
    return failure
  }
  throw new Error('it did not fail')
}

/** All of a stream: what was said, why it ended, what it has used, and what any chunk said of usage. */
async function readAll(stream: AsyncIterable<OpenAI.Completion>) {
  let text = ''
  let finish: string | null = null
  let usage: OpenAI.CompletionUsage | null = null
  for await (const chunk of stream) {
    text += chunk.choices[0]?.text ?? ''
    finish = chunk.choices[0]?.finish_reason ?? finish
    usage = chunk.usage ?? usage
  }
  return { text, finish, usage }
}

const ask = { model: 'text', prompt: 'Once upon a time', max_tokens: 40 }

describe('to a server that speaks it', () => {
  test.each(['vllm', 'openai', 'openai-compatible', 'ollama'])('of kind %s, whole and streamed', async (kind) => {
    const at = await simulatorWorld(kind)
    const whole = await at.client.completions.create(ask)
    expect(whole.object).toBe('text_completion')
    expect(whole.choices[0]?.text.length).toBeGreaterThan(10)
    expect(at.meter.last).toMatchObject({
      ...{ operation: 'completions', status: 'ok', tokensIn: whole.usage?.prompt_tokens, usageSource: 'provider' },
      ...{ tokensOut: whole.usage?.completion_tokens, actualModel: 'simulator-small' },
    })
    const silent = await readAll(await at.client.completions.create({ ...ask, stream: true }))
    expect(silent).toEqual({ text: whole.choices[0]?.text, finish: whole.choices[0]?.finish_reason, usage: null })
    expect(at.meter.last).toMatchObject({
      stream: true,
      usageSource: 'provider',
      tokensOut: at.meter.closed[0]?.tokensOut,
    })
    const telling = await readAll(
      await at.client.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }),
    )
    expect(telling).toEqual({ ...silent, usage: whole.usage })
    expect(at.simulator.accepted().map(({ operation }) => operation)).toEqual(new Array(3).fill('completions'))
  })

  test('bytes go on as they came but for the model, with all that only that server knows', async () => {
    const bytes = '{"id":"cmpl-1", "object":"text_completion","choices":[{"text":"x"}],"model":"m-1","new":1.50}'
    const at = await scriptedWorld((_received, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(bytes)
    })
    const answered = await post(
      at,
      '{"prompt":[[1,2],[3]], "model" : "text","n":2,"best_of":3,"suffix":"." ,"echo":true,"min_p":1.50,"logprobs":5}',
    )
    expect(await answered.text()).toBe(bytes)
    expect(at.upstream.received[0]?.path).toBe('/v1/completions')
    expect(at.upstream.received[0]?.body.toString()).toBe(
      '{"prompt":[[1,2],[3]], "model" : "upstream-model","n":2,"best_of":3,"suffix":"." ,"echo":true,"min_p":1.50,"logprobs":5}',
    )
    expect(at.meter.last).toMatchObject({ operation: 'completions', status: 'ok', actualModel: 'm-1' })
  })

  test('a stream that breaks off ends with an error, and a client that leaves is seen', async () => {
    const cut = await simulatorWorld('vllm', {
      behaviour: { outputTokens: 50, failure: 'truncated_stream', failAfterTokens: 10 },
    })
    const failure = await failureOf(
      cut.client.completions.create({ ...ask, max_tokens: 60, stream: true }).then(readAll),
    )
    expect(failure).toBeInstanceOf(APIError)
    expect(cut.meter.last).toMatchObject({ status: 'failed', code: 'upstream_truncated', operation: 'completions' })

    const slow = await simulatorWorld('vllm', { behaviour: { outputTokens: 2_000, tokensPerSecond: 200 } })
    for await (const _chunk of await slow.client.completions.create({ ...ask, max_tokens: 2_000, stream: true })) break
    await until(() => slow.simulator.accepted()[0]?.closedByClientAtMs != null, 'the simulator sees it')
    await until(() => slow.meter.closed.length === 1, 'the record')
    expect(slow.meter.last).toMatchObject({ status: 'aborted', usageSource: 'provider' })
  })
})

const text = 'there was a “fox”,\nand an emoji 🦊.'
const usage = { input: 100, cached: 40, output: 20 }

describe('to Anthropic', () => {
  test('one prompt is one turn, whole and streamed', async () => {
    const at = await anthropicWorld()
    at.fake.willAnswer({ text, usage }, { text, usage }, { text, usage, finish: 'length' })
    const whole = await at.client.completions.create({ ...ask, stop: 'END', temperature: 0.5, user: 'u-1' })
    expect(at.fake.lastBody).toMatchObject({
      ...{ messages: [{ role: 'user', content: 'Once upon a time' }], max_tokens: 40, temperature: 0.5 },
      ...{ stop_sequences: ['END'], metadata: { user_id: 'u-1' } },
    })
    expect(whole).toMatchObject({
      ...{ object: 'text_completion', model: 'claude-sonnet-4-20250514' },
      choices: [{ text, index: 0, logprobs: null, finish_reason: 'stop' }],
      usage: { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 },
    })
    const silent = await readAll(await at.client.completions.create({ ...ask, stream: true }))
    expect(silent).toEqual({ text, finish: 'stop', usage: null })
    const telling = await readAll(
      await at.client.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }),
    )
    expect(telling).toMatchObject({ text, finish: 'length', usage: { total_tokens: 120 } })
    expect(at.meter.last).toMatchObject({
      ...{ operation: 'completions', status: 'ok', tokensIn: 100, tokensInCached: 40, tokensOut: 20 },
      usageSource: 'provider',
    })
  })

  test('who says nothing of a limit gets what this API gives', async () => {
    const at = await anthropicWorld()
    await at.client.completions.create({ model: 'text', prompt: ['Once'] })
    expect(at.fake.lastBody).toMatchObject({ messages: [{ role: 'user', content: 'Once' }], max_tokens: 16 })
  })

  test('a refusal ends as what a filter took', async () => {
    const at = await anthropicWorld()
    at.fake.willAnswer({ finish: 'refusal' })
    const refused = await at.client.completions.create(ask)
    expect(refused.choices[0]).toMatchObject({
      ...{ text: 'This is not something to help with.', finish_reason: 'content_filter' },
    })
  })

  test('errors are in OpenAI’s words, before and amid a stream', async () => {
    const at = await anthropicWorld()
    at.fake.willAnswer({ status: 400, message: 'Too strange.' }, { text, errorAfter: 2 })
    const refused = await failureOf(at.client.completions.create(ask))
    expect(refused).toMatchObject({ status: 400, code: 'upstream_rejected' })
    const failure = await failureOf(at.client.completions.create({ ...ask, stream: true }).then(readAll))
    expect(failure).toMatchObject({ code: 'upstream_failed' })
    expect(at.meter.last).toMatchObject({ status: 'failed', code: 'upstream_failed' })
    expect(Number(at.meter.last.tokensOut)).toBeGreaterThan(0)
  })

  test.each([
    [{ prompt: ['a', 'b'] }, 'prompt'],
    [{ prompt: [1, 2] }, 'prompt'],
    [{ suffix: '.' }, 'suffix'],
    [{ n: 2 }, 'n'],
    [{ best_of: 2 }, 'best_of'],
    [{ echo: true }, 'echo'],
    [{ logprobs: 2 }, 'logprobs'],
    [{ seed: 4 }, 'seed'],
  ])('what it has no word for is refused by name: %j', async (fields, param) => {
    const at = await anthropicWorld()
    const failure = await failureOf(at.client.completions.create({ ...ask, ...fields }))
    expect(failure).toMatchObject({ status: 400, code: 'unsupported_field', param })
    expect(at.fake.received).toEqual([])
  })

  test('and settings are left out where the route says so', async () => {
    const at = await anthropicWorld({ dropsUnsupported: true })
    const answered = await post(at, { ...ask, seed: 4, logprobs: 2 })
    expect(answered.status).toBe(200)
    expect(answered.headers.get('x-switchyard-dropped')).toBe('seed, logprobs')
    expect((await post(at, { ...ask, n: 2 })).status).toBe(400)
  })
})

test('damaged bodies are refused with a code, and never a fault of ours', async () => {
  const native = await scriptedWorld((_received, response) =>
    answerJson(response, 200, { object: 'text_completion', choices: [{ text: 'x' }] }),
  )
  const translated = await anthropicWorld()
  const ends = new Map<string, number>()
  for (let seed = 0; seed < 300; seed++) {
    const body = damagedBody(seed)
    for (const at of [native, translated]) {
      const answered = await post(at, body)
      const said = await answered.text()
      const code = answered.status === 200 ? 'ok' : (JSON.parse(said) as { error: { code: string } }).error.code
      expect(answered.status, `${seed}: ${body}`).toBeLessThan(500)
      ends.set(code, (ends.get(code) ?? 0) + 1)
    }
  }
  for (const code of ['ok', 'invalid_json', 'invalid_type', 'unsupported_field']) {
    expect(ends.get(code), code).toBeGreaterThan(5)
  }
}, 60_000)

function damagedBody(seed: number): string {
  const random = randomFrom(seed * 7 + 5)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const strange = [null, true, -1, 1e308, 'x', [], {}, [[]], [null], [{}], '\ud800', [1, 'a'], [[1], 2]]
  const body: Record<string, unknown> = {
    ...{ ...ask, stream: false, temperature: 0.5, top_p: 1, stop: ['x'], user: 'u' },
    ...{ n: 1, best_of: 1, echo: false, logit_bias: {}, stream_options: null, presence_penalty: 0 },
  }
  for (let wounds = Math.floor(random() * 3); wounds > 0; wounds--) {
    const name = pick(Object.keys(body))
    if (random() < 0.2) delete body[name]
    else body[name] = pick(strange)
  }
  const bytes = JSON.stringify(body)
  if (random() > 0.15) return bytes
  const at = Math.floor(random() * bytes.length)
  return bytes.slice(0, at) + pick(['"', '}', ']', ',', '\\', '\u0000']) + bytes.slice(at + pick([0, 1, 4]))
}
