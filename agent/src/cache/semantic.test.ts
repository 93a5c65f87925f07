import { describe, expect, test } from 'vitest'
import { readBodyParts } from './body-parts.js'
import { type Asked, answerOf, bodyOf, CacheWorld, chat, policyOf, target, told } from './cache-fixture.js'
import type { Embedder, Embedding } from './embedder.js'

const capital = 'What is the capital of France?'
const meaning = { threshold: 0.95, embeddingRoute: 'embed' }
const policy = policyOf({ semantic: meaning })

/** Vectors by text; what is not named is near nothing. */
class PlantedEmbedder implements Embedder {
  readonly asked: string[] = []
  model = target('embed')
  readonly #vectors: Readonly<Record<string, readonly number[]>>

  constructor(vectors: Readonly<Record<string, readonly number[]>>) {
    this.#vectors = vectors
  }

  async embed(text: string, routeName: string): Promise<Embedding> {
    this.asked.push(`${routeName}: ${text}`)
    const numbers = this.#vectors[text]
    const hop = { target: this.model, httpStatus: 200, startedUs: 1, endedUs: 2, usage: told.usage } as const
    return numbers === undefined
      ? { vector: null, hop: { ...hop, outcome: 'timeout_total' } }
      : { vector: Float32Array.from(numbers), hop: { ...hop, outcome: 'ok' } }
  }
}

const embedder = () =>
  new PlantedEmbedder({
    [capital]: [1, 0],
    "what's the capital of france": [1, 0.1],
    'What is the capital of Germany?': [1, 0.05],
    'Tell me a joke': [0, 1],
  })
const asked = (content: string, more = {}): Asked => ({ policy, body: chat(content, more) })

describe('a question that means the same', () => {
  test('gets the answer; similarity and question only for keys that may know', async () => {
    const world = new CacheWorld({ embedder: embedder() })
    expect(await world.ask(asked(capital))).toBe('made: Paris.')
    await world.clock.advance(5_000)
    const hit = await world.consult(asked("what's the capital of france"))?.look()
    expect(hit).toMatchObject({ kind: 'semantic', ageSeconds: 5 })
    expect(hit?.headers).toEqual(['x-switchyard-cache', 'semantic', 'age', '5'])
    const told = { ...asked("what's the capital of france"), policy: { ...policy, detailApiKeys: new Set(['key_1']) } }
    expect((await world.consult(told)?.look())?.headers.slice(4)).toEqual([
      ...['x-switchyard-cache-similarity', '0.9950'],
      ...['x-switchyard-cache-question', encodeURIComponent(capital)],
    ])
    expect(world.cache.counts).toMatchObject({ semantic: 2, exact: 0, miss: 1 })
  })

  test('not where the guard finds a difference, however near', async () => {
    const world = new CacheWorld({ embedder: embedder() })
    await world.ask(asked(capital))
    expect(await world.ask(asked('What is the capital of Germany?'), 'Berlin.')).toBe('made: Berlin.')
    expect(world.cache.counts.guarded).toBe(1)
  })

  test('not below the threshold', async () => {
    const world = new CacheWorld({ embedder: embedder() })
    const strict = policyOf({ semantic: { ...meaning, threshold: 0.999 } })
    await world.ask({ ...asked(capital), policy: strict })
    expect(await world.ask({ ...asked("what's the capital of france"), policy: strict }, 'new')).toBe('made: new')
  })

  test.each<[string, Asked]>([
    [
      'other instructions',
      {
        policy,
        body: {
          ...chat(''),
          messages: [
            { role: 'system', content: 'Be rude.' },
            { role: 'user', content: "what's the capital of france" },
          ],
        },
      },
    ],
    ['another parameter', asked("what's the capital of france", { seed: 7 })],
    ['a stream', asked("what's the capital of france", { stream: true })],
    ['another tenant', { ...asked("what's the capital of france"), tenantId: 'ten_2' }],
    ['another environment', { ...asked("what's the capital of france"), environmentId: 'env_2' }],
    ['another model', { ...asked("what's the capital of france"), targets: [target('b')] }],
    ['a route of another shape', { ...asked("what's the capital of france"), route: { dropsUnsupported: true } }],
    ['a guardrail', { ...asked("what's the capital of france"), shapes: ['guard'] }],
  ])('not with %s', async (_name, other) => {
    const world = new CacheWorld({ embedder: embedder() })
    await world.ask(asked(capital))
    expect(await world.ask(other, 'new')).toBe('made: new')
  })

  test('not where the model that makes vectors was replaced', async () => {
    const planted = embedder()
    const world = new CacheWorld({ embedder: planted })
    await world.ask(asked(capital))
    planted.model = target('embed', { upstreamModel: 'another' })
    expect(await world.ask(asked("what's the capital of france"), 'new')).toBe('made: new')
  })

  test('not when it is out of date, though it may still be a last resort', async () => {
    const world = new CacheWorld({ embedder: embedder() })
    await world.ask({ ...asked(capital), lastResortSeconds: 999_999 })
    await world.clock.advance(86_401_000)
    expect(await world.ask(asked("what's the capital of france"), 'new')).toBe('made: new')
  })

  test('also after its answer was made anew, without asking for a vector again', async () => {
    const planted = embedder()
    const world = new CacheWorld({ embedder: planted })
    await world.ask(asked(capital))
    for (const more of [{ isRenewal: true }, {}]) {
      await world.clock.advance(1_000)
      const refresh = { ...asked(capital), headers: { 'x-switchyard-cache': 'refresh' }, ...more }
      expect(await world.ask(refresh, 'new')).toBe('made: new')
      expect(await world.ask(asked("what's the capital of france"))).toBe('semantic: new')
    }
    expect(planted.asked.filter((text) => text === `embed: ${capital}`)).toHaveLength(1)
  })

  test('is not taken from who went by a lower threshold, or compared meaning at all, where this policy does not', async () => {
    const world = new CacheWorld({ embedder: embedder() })
    await world.ask(asked(capital))
    const other = asked("what's the capital of france")
    const strict = { ...other, policy: policyOf({ semantic: { ...meaning, threshold: 0.999 } }) }
    const none = { ...other, policy: policyOf() }
    const looks = [other, strict, none].map((one) => world.consult(one)?.look())
    expect(await Promise.all(looks)).toMatchObject([{ kind: 'semantic' }, null, null] as object)
  })

  test('the very same is found without asking for a vector', async () => {
    const planted = embedder()
    const world = new CacheWorld({ embedder: planted })
    await world.ask(asked(capital))
    expect(await world.ask(asked(capital))).toBe('exact: Paris.')
    expect(planted.asked).toEqual([`embed: ${capital}`])
  })

  test('without a vector it is a miss, and what was tried is a hop of the record', async () => {
    const world = new CacheWorld({ embedder: embedder() })
    const turn = world.consult(asked('Nobody planted this'))
    expect(turn?.callsUpstream).toBe(true)
    expect(await turn?.look()).toBeNull()
    expect(turn?.embedding).toMatchObject({ outcome: 'timeout_total' })
    turn?.keepWhole(target(), answerOf('x'), told)
    turn?.leave(false)
    expect(world.cache.counts.vectorMissing).toBe(1)
    expect(world.cache.vectorBytes).toBe(0)
  })

  test('an answer that left memory is not given, and its vector goes', async () => {
    const limits = { bytesMax: 4_000, answerBytesMax: 4_000, entriesMax: 1, vectorBytesMax: 1 << 20 }
    const world = new CacheWorld({ embedder: embedder(), limits })
    await world.ask(asked(capital))
    await world.ask(asked('Tell me a joke'), 'joke')
    expect(await world.ask(asked("what's the capital of france"), 'new')).toBe('made: new')
  })

  test('whoever waits for a leader gets what it found', async () => {
    const world = new CacheWorld({ embedder: embedder() })
    await world.ask(asked(capital))
    const [leader, follower] = [
      world.consult(asked("what's the capital of france")),
      world.consult(asked("what's the capital of france")),
    ]
    const looks = [leader?.look(), follower?.look()]
    expect(await Promise.all(looks)).toMatchObject([{ kind: 'semantic' }, { kind: 'semantic' }])
    leader?.leave(false)
    expect(world.cache.flightCount).toBe(0)
  })
})

describe('what can be asked in other words', () => {
  const questionOf = (body: string | object, operation = 'chat_completions') =>
    readBodyParts(
      bodyOf(typeof body === 'string' ? body : (body as Record<string, unknown>)),
      operation as 'chat_completions',
      {
        ...{ keepsHints: false, wantsQuestion: true },
      },
    )?.question?.text ?? null
  const messages = (...turns: object[]) => ({ model: 'm', messages: turns })
  const user = (content: unknown) => ({ role: 'user', content })

  test.each<[string, unknown, string | null]>([
    ['a plain text', messages(user('Why?')), 'Why?'],
    [
      'the last of a conversation',
      messages(user('A'), { role: 'assistant', content: 'B' }, user('And why?')),
      'And why?',
    ],
    ['a list of one text', messages(user([{ type: 'text', text: 'Why?' }])), 'Why?'],
    ['escapes', '{"model":"m","messages":[{"role":"user","content":"W\\u0068y \\"so\\"?"}]}', 'Why "so"?'],
    ['spaced', '{ "messages" : [ { "content" : "Why?" , "role" : "user" } ] , "model" : "m" }', 'Why?'],
    [
      'two pieces',
      messages(
        user([
          { type: 'text', text: 'Why?' },
          { type: 'text', text: 'Now.' },
        ]),
      ),
      null,
    ],
    ['a picture', messages(user([{ type: 'image_url', image_url: { url: 'x' } }])), null],
    ['a picture before', messages(user([{ type: 'image_url', image_url: { url: 'x' } }]), user('Why?')), null],
    ['tools', { ...messages(user('Why?')), tools: [{ type: 'function' }] }, null],
    ['no tools', { ...messages(user('Why?')), tools: [] }, 'Why?'],
    ['what a tool said', messages(user('A'), { role: 'tool', content: 'B', tool_call_id: 'c' }, user('Why?')), null],
    ['a call of a tool', messages({ role: 'assistant', content: null, tool_calls: [{}] }, user('Why?')), null],
    ['the assistant last', messages(user('Why?'), { role: 'assistant', content: 'B' }), null],
    ['too short', messages(user('A')), null],
    ['too long', messages(user('a'.repeat(4_097))), null],
    ['content given twice', '{"model":"m","messages":[{"role":"user","content":"Why?","content":"How?"}]}', null],
    ['messages given twice', '{"model":"m","messages":[],"messages":[{"role":"user","content":"Why?"}]}', null],
  ])('%s', (_name, body, expected) => expect(questionOf(body as object)).toBe(expected))

  test.each<[string, object, string | null]>([
    ['responses', { model: 'm', input: 'Why?' }, 'Why?'],
    ['responses', { model: 'm', input: [{ role: 'user', content: [{ type: 'input_text', text: 'Why?' }] }] }, 'Why?'],
    ['responses', { model: 'm', input: [{ type: 'function_call_output', output: 'x' }] }, null],
    ['completions', { model: 'm', prompt: 'Why?' }, 'Why?'],
    ['completions', { model: 'm', prompt: ['Why?', 'How?'] }, null],
    ['embeddings', { model: 'm', input: 'Why?' }, null],
    ['messages', { model: 'm', max_tokens: 5, messages: [user('Why?')] }, 'Why?'],
  ])('at the door %s: %j', (operation, body, expected) => expect(questionOf(body, operation)).toBe(expected))

  test('its surroundings are everything but it', () => {
    const partsOf = (content: string) =>
      readBodyParts(bodyOf(chat(content, { user: 'u' })), 'chat_completions', {
        keepsHints: false,
        wantsQuestion: true,
      })?.question?.surroundings.map((part) => (part instanceof Uint8Array ? Buffer.from(part).toString() : part))
    expect(partsOf('Why is that?')).toEqual(partsOf('How is that?'))
    expect(partsOf('Why is that?')).toEqual([
      ...['{"model":"fast","temperature":0,"messages":[{"role":"user","content":', { without: 'question' }],
      ...['}],"user":', { without: 'user' }, '}'],
    ])
  })
})
