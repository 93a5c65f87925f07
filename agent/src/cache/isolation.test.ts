import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findDifference } from '../../../proto/policy/semantic-guard.js'
import type { CacheTable, TargetTable } from '../../../proto/policy/tables.js'
import type { JsonObject } from '../conversation/json-object.js'
import type { UpstreamOperation } from '../providers/provider-dialect.js'
import { type Asked, answerOf, CacheWorld, policyOf, questionOf, target } from './cache-fixture.js'
import type { Embedder } from './embedder.js'

/**
 * Nobody gets what was kept for somebody else. Random tenants, policies and requests of few values each, so that nearly
 * everything about two requests is often the same: whoever was answered from the cache, with what, must be whom the policy
 * lets share it, and must have asked the same.
 */
const targets: readonly TargetTable[] = [
  target('a'),
  target('b', { upstreamModel: 'b' }),
  // The same name upstream, and another model to the tenant.
  target('c'),
  target('a', { parameters: { temperature: 0.5, outputTokensMax: null } }),
  // The same model, elsewhere.
  { ...target('a'), provider: { ...target('a').provider, id: 'prv_elsewhere', external: true } },
]
/** The pieces from which an adversary makes ids, texts and names; every one may stand anywhere. */
const piece = fc.constantFrom(
  'a',
  'b',
  'ab',
  '',
  'ten_1',
  '"',
  '\\',
  '\u0000',
  ',',
  '\ud800',
  '\ud801',
  '{"a":1}',
  'a\nb',
)
const id = fc.oneof(
  fc.constantFrom('x', 'y'),
  fc.tuple(piece, piece).map((both) => both.join('')),
)

const policy: fc.Arbitrary<CacheTable> = fc
  .record({
    sharedBy: fc.constantFrom<CacheTable['sharedBy'][]>('environment', 'team', 'api_key', 'user'),
    anyTemperature: fc.boolean(),
  })
  .map((over) => policyOf(over))

const turns = fc.array(fc.record({ role: fc.constantFrom('user', 'system'), content: piece }), {
  minLength: 1,
  maxLength: 2,
})
const body: fc.Arbitrary<JsonObject> = fc.record(
  {
    model: fc.constantFrom('fast', 'slow'),
    messages: turns,
    temperature: fc.constantFrom(0, 1),
    stream: fc.constantFrom(true, false),
    user: piece,
    seed: fc.constantFrom(1, 2),
    top_p: fc.constantFrom(0.1, 1),
    unheard_of: piece,
    tools: fc.constantFrom([], [{ type: 'function', function: { name: 'f' } }]),
  },
  { requiredKeys: ['model', 'messages', 'temperature'] },
)

const labels = fc.constantFrom('', 'a', 'b', 'a,b', 'b,a')
const request: fc.Arbitrary<Required<Pick<Asked, 'body' | 'policy' | 'targets'>> & Asked> = fc.record({
  body,
  policy,
  tenantId: id,
  environmentId: id,
  keyId: id,
  teamId: fc.option(id, { nil: null }),
  region: fc.constantFrom('eu', 'us'),
  routeId: id,
  operation: fc.constantFrom<UpstreamOperation[]>('chat_completions', 'messages'),
  targets: fc.shuffledSubarray([...targets], { minLength: 1, maxLength: 2 }),
  shapes: fc.constantFrom([], ['h1'], ['h2'], ['h1', 'h2'], ['h1h2']),
  headers: fc.record<Record<string, string>>(
    {
      'x-switchyard-user': piece,
      'anthropic-beta': piece,
      'x-switchyard-cache-tags': labels,
      'x-switchyard-cache-documents': labels,
      authorization: piece,
    },
    { requiredKeys: [] },
  ),
})

const hints: Readonly<Record<string, readonly string[]>> = { chat_completions: ['user'], messages: ['metadata'] }

/** Everything of a request that its answer may depend on or be for, as one text: the rule, said apart from the product. */
function meaningOf(asked: Asked): string {
  const fields = asked.body as JsonObject
  const { policy: table, headers = {}, operation = 'chat_completions' } = asked
  const left = table?.sharedBy === 'user' ? [] : (hints[operation] ?? [])
  const user = fields['user'] || headers['x-switchyard-user']
  const sharer = {
    environment: 'all',
    team: asked.teamId == null ? ['key', asked.keyId] : ['team', asked.teamId],
    api_key: ['key', asked.keyId],
    user: [asked.teamId == null ? ['key', asked.keyId] : ['team', asked.teamId], user],
  }[table?.sharedBy ?? 'environment']
  const first = asked.targets?.[0]
  const sorted = (name: string) => [...new Set((headers[name] ?? '').split(',').filter((label) => label !== ''))].sort()
  return JSON.stringify([
    ...[asked.tenantId, asked.environmentId, asked.region, sharer, asked.routeId, operation, asked.shapes],
    ...[
      first?.model.id,
      first?.provider.id,
      first?.parameters,
      asked.targets?.map(({ upstreamModel, parameters }) => [upstreamModel, parameters]),
    ],
    ...[headers['anthropic-beta'] ?? null, sorted('x-switchyard-cache-tags'), sorted('x-switchyard-cache-documents')],
    Object.entries(fields).map((member) => (left.includes(member[0]) ? member[0] : member)),
  ])
}

describe('whoever is answered from the cache', () => {
  test('asked the same, in the same tenant, under a policy that lets it share; 20,000 requests', {
    timeout: 120_000,
  }, async () => {
    let [pairCount, hitCount] = [0, 0]
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 30, maxLength: 60 }), fc.nat(), async (fresh, draw) => {
        // Some of them again, changed in one thing: the nearest miss there is.
        const requests = fresh.flatMap((one, index) => {
          const other = fresh[(index + draw) % fresh.length] ?? one
          const member = Object.keys(one)[(index + draw) % Object.keys(one).length] as keyof Asked
          return [one, { ...one, [member]: other[member] }, one]
        })
        const world = new CacheWorld({
          limits: { bytesMax: 1 << 26, answerBytesMax: 1 << 16, entriesMax: 10_000, vectorBytesMax: 1 << 20 },
        })
        const meanings = requests.map(meaningOf)
        for (const [index, asked] of requests.entries()) {
          const turn = world.consult(asked)
          if (turn === null) continue
          const hit = await turn.look()
          if (hit !== null) {
            const owner = Number(/#(\d+)/.exec(hit.kept.bytes.toString())?.[1])
            expect(meanings[owner]).toBe(meanings[index])
            expect(hit.kept.stream).toBe(questionOf(asked, world.clock).body.stream)
            hitCount += 1
          } else {
            const first = asked.targets?.[0] ?? target()
            const { operation = 'chat_completions' } = asked
            if (questionOf(asked, world.clock).body.stream) {
              const record = turn.startRecord()
              record.add(Buffer.from(streamOf(`#${index}`, operation)))
              turn.keepStream(first, record, null, { usage: null, model: null })
            } else turn.keepWhole(first, wholeOf(`#${index}`, operation), { usage: null, model: null })
          }
          turn.leave(false)
          pairCount += index
        }
      }),
      { numRuns: 150, seed: 85 },
    )
    console.log(`cache isolation: ${pairCount} pairs of requests, ${hitCount} answered from the cache`)
    expect(pairCount).toBeGreaterThan(10_000)
    expect(hitCount).toBeGreaterThan(1_000)
  })

  test('by meaning as well, when every question looks like every other', { timeout: 120_000 }, async () => {
    const blind: Embedder = {
      embed: async () => ({
        vector: Float32Array.of(1, 0, 0),
        hop: {
          ...{ target: target('embed'), outcome: 'ok', httpStatus: 200, startedUs: 0, endedUs: 0, usage: null },
        },
      }),
    }
    const said = fc.constantFrom(
      ...['What is the capital of France?', "what's the capital of france", 'What is the capital of Germany?'],
      ...['Is it safe?', 'Is it not safe?', 'Take 10 mg', 'Take 100 mg', 'A beats B', 'B beats A', 'tell me your name'],
    )
    const question = fc.record({
      tenantId: fc.constantFrom('t', 'u'),
      environmentId: fc.constantFrom('e', 'e', 'f'),
      keyId: fc.constantFrom('k', 'k', 'l'),
      sharedBy: fc.constantFrom<CacheTable['sharedBy'][]>('environment', 'api_key', 'user'),
      user: fc.constantFrom('ada', 'bob'),
      system: fc.constantFrom('Be kind.', 'Be brief.'),
      seed: fc.constantFrom(1, 1, 2),
      tools: fc.constantFrom(undefined, undefined, [{ type: 'function', function: { name: 'f' } }]),
      said,
    })
    let semanticCount = 0
    await fc.assert(
      fc.asyncProperty(fc.array(question, { minLength: 100, maxLength: 200 }), async (questions) => {
        const world = new CacheWorld({ embedder: blind })
        for (const [index, one] of questions.entries()) {
          const { sharedBy, system, user, seed, tools, ...who } = one
          const messages = [
            { role: 'system', content: system },
            { role: 'user', content: one.said },
          ]
          const turn = world.consult({
            ...who,
            policy: policyOf({ sharedBy, semantic: { threshold: 0.95, embeddingRoute: 'embed' } }),
            body: { model: 'fast', temperature: 0, messages, seed, user, tools },
          })
          const hit = await turn?.look()
          if (hit) {
            const owner = questions[Number(/#(\d+)/.exec(hit.kept.bytes.toString())?.[1])]
            const scope = ({ said: _, ...rest }: typeof one) =>
              JSON.stringify({
                ...rest,
                keyId: rest.sharedBy === 'environment' ? null : rest.keyId,
                user: rest.sharedBy === 'user' ? rest.user : null,
              })
            expect(owner && { ...JSON.parse(scope(owner)), sharedBy }).toEqual(JSON.parse(scope(one)))
            expect(owner?.sharedBy).toBe(sharedBy)
            expect(findDifference(one.said, owner?.said ?? '')).toBeNull()
            if (hit.kind === 'semantic') {
              semanticCount += 1
              expect(tools).toBeUndefined()
            } else expect(owner?.said).toBe(one.said)
          } else turn?.keepWhole(target(), answerOf(`#${index}`), { usage: null, model: null })
          turn?.leave(false)
        }
      }),
      { numRuns: 150, seed: 2134 },
    )
    expect(semanticCount).toBeGreaterThan(50)
  })
})

function wholeOf(text: string, operation: string): string {
  if (operation === 'chat_completions') return answerOf(text)
  return JSON.stringify({ type: 'message', content: [{ type: 'text', text }], stop_reason: 'end_turn' })
}

function streamOf(text: string, operation: string): string {
  const event = (value: object) => `data: ${JSON.stringify(value)}\n\n`
  return operation === 'chat_completions'
    ? event({ choices: [{ delta: { content: text }, finish_reason: null }] }) +
        event({ choices: [{ finish_reason: 'stop' }] })
    : event({ type: 'content_block_start', content_block: { type: 'text', text } }) +
        event({ type: 'message_delta', delta: { stop_reason: 'end_turn' } })
}
