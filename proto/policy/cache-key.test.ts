import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type BodyPart,
  type CacheKeyFacts,
  type CacheSharer,
  cacheKeyBytes,
  cacheKeyHead,
  routeShape,
} from './cache-key.js'
import { sketchRoute, sketchTarget } from './table-fixture.js'
import type { RouteTable, TargetTable } from './tables.js'

const target = (over: Partial<TargetTable> = {}): TargetTable => ({
  ...sketchTarget('1', { price: [1n, 1n], upstreamModel: 'gpt' }),
  ...over,
})

const facts = (over: Partial<CacheKeyFacts> = {}): CacheKeyFacts => ({
  tenantId: 'ten_1',
  environmentId: 'env_1',
  region: 'eu',
  sharer: { kind: 'environment', id: null, user: null },
  routeId: 'rte_1',
  requestedModel: 'fast',
  operation: 'chat_completions',
  stream: false,
  target: target(),
  routeShape: 'shape',
  shapes: [],
  headers: [],
  tags: [],
  documents: [],
  body: [Buffer.from('{"a":1}')],
  ...over,
})

const keyOf = (given: CacheKeyFacts) => Buffer.from(cacheKeyBytes(given)).toString('latin1')
const same = keyOf(facts())

describe('a key', () => {
  test('is the same for the same', () => expect(keyOf(facts())).toBe(same))

  const others: [string, Partial<CacheKeyFacts>][] = [
    ['tenant', { tenantId: 'ten_2' }],
    ['environment', { environmentId: 'env_2' }],
    ['region', { region: 'us' }],
    ['team', { sharer: { kind: 'team', id: 'x', user: null } }],
    ['API key', { sharer: { kind: 'api_key', id: 'x', user: null } }],
    ['user of a team', { sharer: { kind: 'team', id: 'x', user: 'x' } }],
    ['user of an API key', { sharer: { kind: 'api_key', id: 'x', user: 'x' } }],
    ['user of another API key', { sharer: { kind: 'api_key', id: 'y', user: 'x' } }],
    ['user without a name', { sharer: { kind: 'api_key', id: 'x', user: '' } }],
    ['route', { routeId: 'rte_2' }],
    ['requested model', { requestedModel: 'slow' }],
    ['door', { operation: 'responses' }],
    ['stream', { stream: true }],
    ['model that answers', { target: target({ model: { ...target().model, id: 'mdl_2' } }) }],
    ['model sent upstream', { target: target({ upstreamModel: 'gpt-5' }) }],
    ['provider', { target: target({ provider: { ...target().provider, id: 'prv_2' } }) }],
    ['temperature of the target', { target: target({ parameters: { temperature: 0, outputTokensMax: null } }) }],
    ['limit of the target', { target: target({ parameters: { temperature: null, outputTokensMax: 9 } }) }],
    ['shape of the route', { routeShape: 'other' }],
    ['prompt or guardrail', { shapes: ['h'] }],
    ['header that the vendor is shown', { headers: [['anthropic-version', '2023-06-01']] }],
    ['header that was not given', { headers: [['anthropic-version', null]] }],
    ['tag', { tags: ['t'] }],
    ['document', { documents: ['t'] }],
    ['body', { body: [Buffer.from('{"a":2}')] }],
    ['hint left out', { body: [Buffer.from('{"a":'), { without: 'a' }, Buffer.from('}')] }],
  ]
  test.each(others)('is another one for another %s', (_name, over) => expect(keyOf(facts(over))).not.toBe(same))

  test('is the same wherever it is written, also where there is too little room', () => {
    for (const scratch of [new Uint8Array(4_096).fill(7), new Uint8Array(8), new Uint8Array(0)]) {
      expect(Buffer.from(cacheKeyBytes(facts(), scratch)).toString('latin1')).toBe(same)
    }
  })

  test('no two of these are alike', () => {
    const keys = others.map(([, over]) => keyOf(facts(over)))
    expect(new Set(keys).size).toBe(keys.length)
  })

  test('is the same for another target of the same model at the same provider, wherever that is', () => {
    const provider = { ...target().provider, origin: 'https://second.example' }
    expect(keyOf(facts({ target: target({ id: 'tgt_2', provider }) }))).toBe(same)
  })

  test('says of the body how long its pieces are, and leaves its bytes to who hashes them', () => {
    const text = '{"a":1}'.repeat(20_000)
    const body = [Buffer.from(text), { without: 'user' }, Buffer.from('}')]
    const scratch = new Uint8Array(4_096)
    const head = cacheKeyHead(facts({ body }), scratch)
    expect(head.buffer).toBe(scratch.buffer)
    const whole = Buffer.concat([head, Buffer.from(text), Buffer.from('}')])
    expect(Buffer.from(cacheKeyBytes(facts({ body }))).equals(whole)).toBe(true)
  })

  test('tells halves of surrogate pairs apart, which UTF-8 does not', () => {
    const of = (user: string) => keyOf(facts({ sharer: { kind: 'api_key', id: 'key', user } }))
    expect(of('\u00ff')).not.toBe(of('\u01ff'))
    expect(of('\ud800')).not.toBe(of('\ud801'))
    expect(of('\ud800')).not.toBe(of('\ufffd'))
  })
})

describe('an adversary that moves text between fields', () => {
  // Few letters, among them everything that could be a separator, so that the same text is made in many ways.
  const piece = fc.string({
    unit: fc.constantFrom('a', 'b', '\0', '/', ',', '|', '\u0001', '\ud800', 'é'),
    maxLength: 4,
  })
  const pieces = fc.array(piece, { maxLength: 3 })
  const sharer: fc.Arbitrary<CacheSharer> = fc.record({
    kind: fc.constantFrom('environment', 'team', 'api_key'),
    ...{ id: fc.option(piece), user: fc.option(piece) },
  })
  const body: fc.Arbitrary<readonly BodyPart[]> = fc.array(
    fc.oneof(
      piece.map((text) => new Uint8Array(Buffer.from(text, 'utf16le'))),
      piece.map((without) => ({ without })),
    ),
    { maxLength: 3 },
  )
  const anything = fc.record({
    ...{ tenantId: piece, environmentId: piece, region: piece, sharer, routeId: piece, requestedModel: piece },
    ...{ operation: piece, stream: fc.boolean(), routeShape: piece, shapes: pieces, tags: pieces, documents: pieces },
    headers: fc.array(fc.tuple(piece, fc.option(piece)), { maxLength: 2 }),
    body,
    upstreamModel: piece,
  })

  /** What the key stands for, so that equal facts are told from different ones. */
  const meaning = (given: CacheKeyFacts) =>
    JSON.stringify({
      ...given,
      target: given.target.upstreamModel,
      body: given.body.map((part) => (part instanceof Uint8Array ? [...part] : part)),
    })

  test('finds no two different requests with one key, in 20,000 tries', () => {
    const seen = new Map<string, string>()
    fc.assert(
      fc.property(anything, ({ upstreamModel, ...rest }) => {
        const given: CacheKeyFacts = { ...rest, target: target({ upstreamModel }) }
        const key = keyOf(given)
        const means = meaning(given)
        expect(seen.get(key) ?? means).toBe(means)
        seen.set(key, means)
      }),
      { numRuns: 20_000, seed: 2026 },
    )
    expect(seen.size).toBeGreaterThan(15_000)
  }, 60_000)

  test('finds none by cutting one text in two neighbouring fields', () => {
    const fields = [
      'tenantId',
      'environmentId',
      'region',
      'routeId',
      'requestedModel',
      'operation',
      'routeShape',
    ] as const
    fc.assert(
      fc.property(fc.string({ maxLength: 8 }), fc.nat(8), fc.nat(8), fc.nat(fields.length - 2), (text, a, b, at) => {
        const [left, right] = [fields[at] ?? 'tenantId', fields[at + 1] ?? 'region']
        const cut = (where: number) => facts({ [left]: text.slice(0, where), [right]: text.slice(where) })
        const isSame = text.slice(0, a) === text.slice(0, b) && text.slice(a) === text.slice(b)
        expect(keyOf(cut(a)) === keyOf(cut(b))).toBe(isSame)
      }),
      { numRuns: 10_000 },
    )
  }, 60_000)
})

describe('what shapes a route’s answers', () => {
  const route = (over: Partial<RouteTable> = {}, targets = [target()]): RouteTable => ({
    ...sketchRoute('fast', { targets }),
    ...over,
  })
  const shape = routeShape(route())
  const provider = (over: object) => target({ provider: { ...target().provider, ...over } })
  const model = (over: object) => target({ model: { ...target().model, ...over } })

  test.each<[string, RouteTable]>([
    ['its deadline', route({ totalTimeoutMs: 99 })],
    ['what it keeps', route({ lastResort: { cachedAgeMaxSeconds: 1, apology: '', safeAnswer: '' } })],
    ['hedging', route({ hedging: { budgetRatio: 0.1, delayMinMs: 1 } })],
    ['a weight', route({}, [target({ weight: 50 })])],
    ['how many run at a target at once', route({}, [target({ batchSize: 8, batchWaitMs: 100 })])],
    [
      'deadlines of a target',
      route({}, [target({ deadlines: { connectMs: 9, firstTokenMs: 9, idleMs: 9, totalMs: 9 } })]),
    ],
    ['a rotated credential', route({}, [provider({ credential: { id: 'crd', version: 2 } })])],
    ['a replica more', route({}, [provider({ replicas: [] })])],
    ['a price', route({}, [model({ price: null })])],
    ['names', route({ name: 'x' }, [provider({ name: 'x' })])],
  ])('is not %s', (_name, other) => expect(routeShape(other)).toBe(shape))

  test.each<[string, RouteTable]>([
    ['what it leaves out', route({ dropsUnsupported: true })],
    ['another server', route({}, [provider({ origin: 'https://other.example' })])],
    ['another kind', route({}, [provider({ kind: 'openai' })])],
    ['another version of its API', route({}, [provider({ apiVersion: '2' })])],
    ['another model', route({}, [target({ upstreamModel: 'x' })])],
    ['a parameter', route({}, [target({ parameters: { temperature: 0, outputTokensMax: null } })])],
    ['a target more', route({}, [target(), target()])],
    ['another order', route({}, [provider({ kind: 'a' }), provider({ kind: 'b' })])],
    ['a member of a later version', { ...route(), promptHash: 'abc' } as RouteTable],
    [
      'a member of a target of a later version',
      route({}, [{ ...target(), guardrails: new Set(['g']) } as TargetTable]),
    ],
  ])('is %s', (_name, other) => expect(routeShape(other)).not.toBe(shape))

  test('does not depend on the order in which members or sets were made', () => {
    const one = route({}, [model({ capabilities: new Set(['chat', 'embeddings']) })])
    const two = route({}, [model({ capabilities: new Set(['embeddings', 'chat']) })])
    expect(routeShape(one)).toBe(routeShape(two))
    const turned = Object.fromEntries(Object.entries(one).reverse()) as unknown as RouteTable
    expect(routeShape(turned)).toBe(routeShape(one))
  })
})
