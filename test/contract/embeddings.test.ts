import type { ServerResponse } from 'node:http'
import OpenAI, { APIError } from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { randomFrom } from '../../deploy/local/simulator-text.js'
import {
  type Door,
  makeTables,
  makeTarget,
  openDoor,
  ScriptedUpstream,
  type TargetSpec,
} from '../harness/agent-door.js'
import { damaged } from '../harness/damaged-bytes.js'
import { AzureOpenaiFake } from '../harness/vendors/azure-openai-fake.js'
import { BedrockFake } from '../harness/vendors/bedrock-fake.js'
import { vectorFor } from '../harness/vendors/embedding-vectors.js'
import { OpenaiFake } from '../harness/vendors/openai-fake.js'
import type { VendorFake } from '../harness/vendors/vendor-fake.js'
import { VertexFake } from '../harness/vendors/vertex-fake.js'

/** `POST /v1/embeddings` through the agent's door: what goes to each vendor, to the member, and what becomes of its answer. */
const cleanUps: (() => Promise<void>)[] = []
const fakes: VendorFake[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
  for (const fake of fakes.splice(0)) expect(fake.problems).toEqual([])
})

interface World extends Door {
  readonly client: OpenAI
  /** The body as it is, and the answer as it came. */
  post(body: string | object): Promise<{ status: number; headers: Headers; text: string }>
}

/** A route `embed` to `targets` in order, each with the secret of its own. */
async function openWorld(
  targets: readonly { spec: TargetSpec; secret: string }[],
  { dropsUnsupported = false } = {},
): Promise<World> {
  const credentialOf = (index: number) => ({ id: `crd${index}`, version: 1 })
  const { tables, apiKey } = makeTables({
    routes: { embed: targets.map(({ spec }, index) => makeTarget({ ...spec, credential: credentialOf(index) })) },
    dropsUnsupported,
  })
  const secrets = Object.fromEntries(targets.map(({ secret }, index) => [`crd${index}/1`, secret]))
  const door = await openDoor({ tables, secrets })
  cleanUps.push(() => door.stop())
  return Object.assign(door, {
    client: new OpenAI({ baseURL: `${door.url}/v1`, apiKey, maxRetries: 0 }),
    post: async (body: string | object) => {
      const response = await fetch(`${door.url}/v1/embeddings`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      })
      return { status: response.status, headers: response.headers, text: await response.text() }
    },
  })
}

async function started<T extends VendorFake>(fake: T): Promise<T> {
  await fake.start()
  fakes.push(fake)
  cleanUps.push(() => fake.stop())
  return fake
}

async function vertex(model = 'text-embedding-005') {
  const fake = await started(new VertexFake())
  return { fake, spec: fake.target(model), secret: fake.secret }
}

async function bedrock(upstreamModel = 'amazon.titan-embed-text-v2:0') {
  const fake = await started(new BedrockFake())
  const place = { origin: fake.origin, basePath: '', vendorRegion: fake.region }
  return { fake, spec: { kind: fake.kind, ...place, upstreamModel }, secret: fake.secret }
}

async function openai() {
  const fake = await started(new OpenaiFake())
  const spec = { kind: fake.kind, origin: fake.origin, upstreamModel: 'text-embedding-3-small' }
  return { fake, spec, secret: fake.secret }
}

async function refusalOf(work: PromiseLike<unknown>): Promise<APIError> {
  const fault = await work.then(
    () => null,
    (error: unknown) => error,
  )
  if (!(fault instanceof APIError)) throw new Error(`not refused: ${String(fault)}`)
  return fault
}

const cohere = 'cohere.embed-multilingual-v3'

describe('to OpenAI and Azure', () => {
  test('bytes go on as they came, tokens and members that nobody knows too', async () => {
    const at = await openai()
    at.fake.strict = false
    const world = await openWorld([at])
    const { text } = await world.post('{ "brand_new": 1.50,\n "model":"embed" , "input":[[1, 2],[3]],"input_type":"x"}')
    expect(at.fake.received[0]?.bytes.toString()).toBe(
      '{ "brand_new": 1.50,\n "model":"text-embedding-3-small" , "input":[[1, 2],[3]],"input_type":"x"}',
    )
    expect(JSON.parse(text)).toMatchObject({ object: 'list', model: 'text-embedding-3-small-2026-08-01' })
    expect(world.meter.last).toMatchObject({ operation: 'embeddings', tokensIn: 21, actualModel: expect.anything() })
  })

  test('Azure finds the deployment in the path or in the body', async () => {
    for (const apiVersion of ['2024-10-21', 'v1']) {
      const fake = await started(new AzureOpenaiFake({ apiVersion }))
      const place = { kind: fake.kind, origin: fake.origin, basePath: '', apiVersion }
      const world = await openWorld([{ spec: { ...place, upstreamModel: fake.deployment }, secret: fake.secret }])
      const answer = await world.client.embeddings.create({ model: 'embed', input: ['a', 'b'], dimensions: 4 })
      expect(answer.data.map(({ embedding }) => embedding)).toEqual([vectorFor('a', 4), vectorFor('b', 4)])
    }
  })
})

describe('to Vertex AI', () => {
  test('several texts, what they are for, and how long their vectors are to be', async () => {
    const at = await vertex()
    const world = await openWorld([at])
    const { text } = await world.post({
      ...{ model: 'embed', input: ['a', 'b'], dimensions: 3, input_type: 'search_query', truncate: 'NONE' },
    })
    expect(at.fake.lastBody).toEqual({
      instances: [
        { task_type: 'RETRIEVAL_QUERY', content: 'a' },
        { task_type: 'RETRIEVAL_QUERY', content: 'b' },
      ],
      parameters: { autoTruncate: false, outputDimensionality: 3 },
    })
    expect(at.fake.received[0]?.path).toBe(
      '/v1/projects/acme-prod-1/locations/europe-west4/publishers/google/models/text-embedding-005:predict',
    )
    expect(JSON.parse(text)).toEqual({
      object: 'list',
      data: [
        { object: 'embedding', index: 0, embedding: vectorFor('a', 3) },
        { object: 'embedding', index: 1, embedding: vectorFor('b', 3) },
      ],
      model: 'text-embedding-005',
      usage: { prompt_tokens: 21, total_tokens: 21 },
    })
    expect(world.meter.last).toMatchObject({
      ...{ status: 'ok', operation: 'embeddings', usageSource: 'provider', tokensIn: 21, tokensOut: 0, stream: false },
      ...{ actualModel: 'text-embedding-005', requestedModel: 'embed' },
    })
    // 21 tokens at 1,000 nano-dollars each.
    expect(world.meter.last.costNanoUsd).toBe(21_000)
  })

  test('a Gemini from 2 on is asked by its own method', async () => {
    const at = await vertex('gemini-embedding-2')
    at.fake.willAnswer({ usage: { input: 6, output: 0 } })
    const world = await openWorld([at])
    const answer = await world.client.embeddings.create({ model: 'embed', input: 'a', dimensions: 3 })
    expect(at.fake.lastBody).toEqual({
      content: { role: 'user', parts: [{ text: 'a' }] },
      embedContentConfig: { outputDimensionality: 3 },
    })
    expect(at.fake.received[0]?.path).toMatch(/models\/gemini-embedding-2:embedContent$/)
    expect(answer.data[0]?.embedding).toEqual(vectorFor('a', 3))
    expect(world.meter.last).toMatchObject({ tokensIn: 6 })
  })

  test('250 texts in one call', async () => {
    const at = await vertex()
    const world = await openWorld([at])
    const input = Array.from({ length: 250 }, (_none, index) => `text ${index}`)
    const answer = await world.client.embeddings.create({ model: 'embed', input })
    expect(answer.data.map(({ embedding }) => embedding)).toEqual(input.map((text) => vectorFor(text, 8)))
    const fault = await refusalOf(world.client.embeddings.create({ model: 'embed', input: [...input, 'one more'] }))
    expect(fault).toMatchObject({ code: 'unsupported_field', param: 'input' })
    expect(fault.message).toContain('text-embedding-005 takes 250 texts at a time')
  })

  test('a text that is too long is refused, and never cut', async () => {
    const at = await vertex()
    const world = await openWorld([at])
    const fault = await refusalOf(world.client.embeddings.create({ model: 'embed', input: 'a'.repeat(9_000) }))
    expect(fault).toMatchObject({ status: 400, code: 'upstream_rejected' })
    expect(fault.message).toContain('the model supports up to 2048')
  })

  test('a vector of a text that was cut all the same is no answer', async () => {
    const at = await vertex('gemini-embedding-2')
    const world = await openWorld([at])
    const fault = await refusalOf(world.client.embeddings.create({ model: 'embed', input: 'a'.repeat(40_000) }))
    expect(fault).toMatchObject({ status: 502, code: 'upstream_malformed' })
  })

  test('one token serves several requests', async () => {
    const at = await vertex()
    const world = await openWorld([at])
    for (const input of ['a', 'b']) await world.client.embeddings.create({ model: 'embed', input })
    const [first, second] = at.fake.received
    expect(second?.headers['authorization']).toBe(first?.headers['authorization'])
  })
})

describe('to Bedrock', () => {
  test('Titan is asked in its language, signed, and tells its tokens', async () => {
    const at = await bedrock()
    at.fake.willAnswer({ usage: { input: 4, output: 0 } })
    const world = await openWorld([at])
    const answer = await world.client.embeddings.create({ model: 'embed', input: ['a'], dimensions: 256 })
    expect(at.fake.lastBody).toEqual({ inputText: 'a', dimensions: 256, normalize: true })
    const [received] = at.fake.received
    expect(received?.path).toBe('/model/amazon.titan-embed-text-v2%3A0/invoke')
    expect(received?.headers).toMatchObject({ accept: 'application/json', 'x-amz-date': expect.anything() })
    expect(answer).toMatchObject({ model: 'amazon.titan-embed-text-v2:0', usage: { prompt_tokens: 4 } })
    expect(answer.data[0]?.embedding).toEqual(vectorFor('a', 256))
    expect(world.meter.last).toMatchObject({ usageSource: 'provider', tokensIn: 4, costNanoUsd: 4_000 })
  })

  test.each([
    [null, 'search_document'],
    ['query', 'search_query'],
    ['passage', 'search_document'],
    ['classification', 'classification'],
    ['clustering', 'clustering'],
  ])('Cohere is told what texts are for (%s: %s)', async (given, told) => {
    const at = await bedrock(cohere)
    const world = await openWorld([at])
    const { status } = await world.post({
      ...{ model: 'embed', input: ['a', 'b'], ...(given === null ? {} : { input_type: given }) },
    })
    expect(status).toBe(200)
    expect(at.fake.lastBody).toEqual({
      ...{ texts: ['a', 'b'], input_type: told, truncate: 'NONE', embedding_types: ['float'] },
    })
  })

  test('what Cohere does not tell is 0 for the client, and counted on the record', async () => {
    const at = await bedrock(cohere)
    const world = await openWorld([at])
    const answer = await world.client.embeddings.create({ model: 'embed', input: 'a' })
    expect(answer.usage).toEqual({ prompt_tokens: 0, total_tokens: 0 })
    expect(world.meter.last).toMatchObject({ status: 'ok', usageSource: 'counted', tokensIn: 1, costNanoUsd: 1_000 })
  })

  test('a model that talks makes no vectors', async () => {
    const at = await bedrock('anthropic.claude-sonnet-4-20250514-v1:0')
    const world = await openWorld([at])
    const fault = await refusalOf(world.client.embeddings.create({ model: 'embed', input: 'a' }))
    expect(fault).toMatchObject({ status: 400, code: 'unsupported_field', param: 'model' })
    expect(fault.message).toContain('kind bedrock: anthropic.claude-sonnet-4-20250514-v1:0 is none of')
    expect(at.fake.received).toEqual([])
  })
})

describe('what a vendor has no word for', () => {
  const settings = { input_type: 'query', truncate: 'END', brand_new: { a: 1 } }

  test.each(Object.keys(settings))(
    '%s is refused by its name, or dropped and named where the route says so',
    async (name) => {
      const at = await bedrock()
      const body = { model: 'embed', input: 'a', [name]: settings[name as keyof typeof settings] }
      const strict = await openWorld([at])
      const refused = await strict.post(body)
      expect(refused.status).toBe(400)
      expect(JSON.parse(refused.text)).toMatchObject({ error: { code: 'unsupported_field', param: name } })
      expect(strict.meter.last).toMatchObject({ hops: [{ outcome: 'not_expressible' }] })
      const lenient = await openWorld([at], { dropsUnsupported: true })
      const dropped = await lenient.post(body)
      expect(dropped.status).toBe(200)
      expect(dropped.headers.get('x-switchyard-dropped')).toBe(name)
      expect(at.fake.lastBody).toEqual({ inputText: 'a', normalize: true })
    },
  )

  test.each([
    ['tokens', { input: [1, 2, 3] }, 'input'],
    ['a second text', { input: ['a', 'b'] }, 'input'],
    ['another length', { input: 'a', dimensions: 300 }, 'dimensions'],
  ])('%s is never dropped', async (_what, body, param) => {
    const at = await bedrock()
    const world = await openWorld([at], { dropsUnsupported: true })
    const refused = await world.post({ model: 'embed', ...body })
    expect(refused.status).toBe(400)
    expect(JSON.parse(refused.text)).toMatchObject({ error: { code: 'unsupported_field', param } })
    expect(at.fake.received).toEqual([])
  })

  test('an end user is always left out and named', async () => {
    const at = await vertex()
    const world = await openWorld([at])
    const { response } = await world.client.embeddings
      .create({ model: 'embed', input: 'a', user: 'u-1' })
      .withResponse()
    expect(response.headers.get('x-switchyard-dropped')).toBe('user')
    expect(JSON.stringify(at.fake.lastBody)).not.toContain('u-1')
    expect(world.meter.last).toMatchObject({ userId: 'u-1' })
  })

  test('a member of the wrong type is refused with its path, before anybody is asked', async () => {
    const at = await vertex()
    const world = await openWorld([at])
    const { status, text } = await world.post({ model: 'embed', input: ['a', ''] })
    expect(status).toBe(400)
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'invalid_value', param: 'input[1]' } })
    expect(at.fake.received).toEqual([])
  })
})

describe('when a target cannot', () => {
  test('several texts pass over one that takes one at a time', async () => {
    const [first, second] = [await bedrock(), await vertex()]
    const world = await openWorld([first, second])
    const answer = await world.client.embeddings.create({ model: 'embed', input: ['a', 'b'] })
    expect(answer.model).toBe('text-embedding-005')
    expect(first.fake.received).toEqual([])
    expect(world.meter.last).toMatchObject({
      ...{ status: 'ok', fallbackUsed: true, hops: [{ outcome: 'not_expressible' }, { outcome: 'ok' }] },
    })
  })

  test('tokens pass over all that are translated', async () => {
    const [first, second] = [await vertex(), await openai()]
    const world = await openWorld([first, second])
    const { status } = await world.post({ model: 'embed', input: [1, 2] })
    expect(status).toBe(200)
    expect(first.fake.received).toEqual([])
    expect(second.fake.lastBody).toMatchObject({ input: [1, 2] })
  })

  test.each([429, 503, 403])('%d: the next one is asked in its own words', async (status) => {
    const [first, second] = [await openai(), await bedrock(cohere)]
    first.fake.willAnswer({ status, message: 'No.', retryAfterSeconds: 1 })
    const world = await openWorld([first, second])
    const answer = await world.client.embeddings.create({ model: 'embed', input: ['a', 'b'] })
    expect(answer.data.map(({ embedding }) => embedding)).toEqual([vectorFor('a', 8), vectorFor('b', 8)])
    expect(answer.model).toBe(cohere)
  })

  test.each([
    ['a quota', 429, { status: 429, code: 'upstream_rate_limited' }],
    ['a credential', 403, { status: 502, code: 'upstream_credential_rejected' }],
    ['a fault', 500, { status: 502, code: 'upstream_failed' }],
  ])('with nowhere else to go, %s is told', async (_what, status, expected) => {
    for (const at of [await vertex(), await bedrock(cohere)]) {
      at.fake.willAnswer({ status, message: 'No.', retryAfterSeconds: 7 })
      const world = await openWorld([at])
      const fault = await refusalOf(world.client.embeddings.create({ model: 'embed', input: 'a' }))
      expect(fault).toMatchObject(expected)
      if (status === 429) expect(fault.headers?.get('retry-after')).toBe('7')
      expect(world.handler.runningCount).toBe(0)
    }
  })
})

describe('damaged answers, by the hundred and from a seed', () => {
  const vectors = { values: [0.25, -1, 3e-5], statistics: { token_count: 3, truncated: false } }
  const answers: readonly [string, string, TargetSpec, string][] = [
    ...(
      [
        ['text-embedding-005', { predictions: [{ embeddings: vectors }] }],
        ['gemini-embedding-2', { embedding: { values: [0.5] }, usageMetadata: { promptTokenCount: 3 } }],
      ] as const
    ).map(([model, answer]): [string, string, TargetSpec, string] => {
      const place = { origin: '', basePath: '', kind: 'vertex', vendorProject: 'p', vendorRegion: 'r' }
      return [`vertex ${model}`, JSON.stringify(answer), { ...place, upstreamModel: model }, '']
    }),
    ...(
      [
        ['amazon.titan-embed-text-v2:0', { embedding: [1, 2.5], inputTextTokenCount: 3 }],
        [cohere, { id: 'i', embeddings: { float: [[1, 2.5]] }, response_type: 'embeddings_by_type', texts: ['a'] }],
      ] as const
    ).map(([model, answer]): [string, string, TargetSpec, string] => {
      const place = { origin: '', basePath: '', kind: 'bedrock', vendorRegion: 'eu-central-1' }
      const secret = '{"accessKeyId":"AKIAFAKEFAKEFAKEFAKE","secretAccessKey":"s"}'
      return [`bedrock ${model}`, JSON.stringify(answer), { ...place, upstreamModel: model }, secret]
    }),
  ]

  test.each(answers)('%s: a vector of numbers, or an error with a code', async (_name, whole, spec, secret) => {
    let seed = 0
    const upstream = await new ScriptedUpstream((_received, response: ServerResponse) => {
      const bytes = damaged(Buffer.from(whole), randomFrom(seed))
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length }).end(bytes)
    }).start()
    cleanUps.push(() => upstream.stop())
    const target = makeTarget({
      ...{ ...spec, origin: upstream.origin, credential: secret === '' ? null : { id: 'crd', version: 1 } },
    })
    const { tables, apiKey } = makeTables({ routes: { embed: [target] } })
    const door = await openDoor({ tables, secrets: { 'crd/1': secret } })
    cleanUps.push(() => door.stop())
    const ends = new Map<string, number>()
    const seedCount = 150
    for (; seed < seedCount; seed++) {
      const response = await fetch(`${door.url}/v1/embeddings`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        body: '{"model":"embed","input":"a"}',
      })
      const body = (await response.json()) as { error?: { code: string }; data?: { embedding: unknown[] }[] }
      if (response.status === 200) {
        const numbers = body.data?.[0]?.embedding ?? []
        expect(numbers.length).toBeGreaterThan(0)
        expect(numbers.every((number) => typeof number === 'number')).toBe(true)
      } else expect(['upstream_malformed', 'upstream_circuit_open']).toContain(body.error?.code)
      const end = body.error?.code ?? 'ok'
      ends.set(end, (ends.get(end) ?? 0) + 1)
    }
    expect(ends.get('ok'), 'some survive').toBeGreaterThan(0)
    expect(ends.get('upstream_malformed'), 'some do not').toBeGreaterThan(0)
    expect(door.meter.closed).toHaveLength(seedCount)
    expect(door.handler.runningCount).toBe(0)
  })
})
