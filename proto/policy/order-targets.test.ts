import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRefusal } from '../std/refusal.js'
import { type Choice, chooseTarget } from './choose-target.js'
import { explainChoice, explainRequest } from './explain.js'
import type { HealthFacts, TargetHealth } from './health.js'
import { expectedCost, tierFor } from './order-targets.js'
import { Readings } from './readings.js'
import type { RequestFacts } from './request-facts.js'
import { stableDraw } from './stable-draw.js'
import { type KeySketch, type RuleSketch, sketchKey, sketchRoute, sketchRule, sketchTarget } from './table-fixture.js'
import type { TargetTable } from './tables.js'

const target = sketchTarget

interface Asked extends Partial<RequestFacts> {
  readonly complexity?: number
  readonly promptClass?: string
  readonly tokensIn?: number
}

function factsOf({ complexity = 0.5, promptClass = 'chat', tokensIn = 1_000, ...more }: Asked = {}): RequestFacts {
  return {
    ...{ operation: 'chat_completions', model: 'r' },
    prompt: { complexity: () => complexity, promptClass: () => promptClass as 'chat', tokensIn: () => tokensIn },
    ...more,
  }
}

const healthy: TargetHealth = { state: 'closed', retryInMs: 0, latencyUs: null, inFlightCount: 0 }

function choose(
  rule: RuleSketch,
  asked: Asked = {},
  key: KeySketch = {},
  known?: Record<string, Partial<TargetHealth>>,
): Choice {
  const health: HealthFacts | undefined = known && { of: ({ id }) => ({ ...healthy, ...known[id] }) }
  const choice = chooseTarget(factsOf(asked), sketchKey([sketchRoute('r', rule)], key), health)
  if (isRefusal(choice)) throw new Error(choice.message)
  return choice
}
const idsOf = (choice: Choice) => choice.targets.map(({ id }) => id).join(' ')

/** Seeded; the same sequence everywhere. */
function drawsOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

describe('weighted', () => {
  const targets = [target('stable', { weight: 90 }), target('canary', { weight: 10 }), target('spare')]
  const rule = { id: 'rul_1', strategy: 'weighted', targets } as const

  test.each([
    ['the lowest draw', 0, 'stable canary spare'],
    ['the last draw of the first share', 0.8999, 'stable canary spare'],
    ['the first draw of the second share', 0.9, 'canary stable spare'],
    ['the highest draw', 0.999999, 'canary stable spare'],
  ])('%s', (_, draw, expected) => {
    expect(idsOf(choose(rule, { draw }))).toBe(expected)
  })

  test('a weight of 0 is never first, wherever it stands', () => {
    const zero = { ...rule, targets: [target('none'), target('all', { weight: 1 }), target('nobody')] }
    for (const draw of [0, 0.5, 0.999999]) expect(idsOf(choose(zero, { draw }))).toBe('all none nobody')
  })

  test('shares come near the weights over many draws', () => {
    const draw = drawsOf(1)
    let canary = 0
    for (let n = 0; n < 20_000; n++) if (choose(rule, { draw: draw() }).targets[0]?.id === 'canary') canary += 1
    // 10 % ± 5 standard deviations of a binomial draw.
    expect(Math.abs(canary / 20_000 - 0.1)).toBeLessThan(5 * Math.sqrt((0.1 * 0.9) / 20_000))
  })

  test('somebody sticky draws the same whatever is drawn, and shares come near the weights over many people', () => {
    const sticky = { ...rule, stickyBy: 'user' } as const
    let canary = 0
    for (let n = 0; n < 5_000; n++) {
      const userId = `user-${n}`
      const first = choose(sticky, { userId, draw: 0 }).targets[0]?.id
      expect(choose(sticky, { userId, draw: 0.95 }).targets[0]?.id).toBe(first)
      if (first === 'canary') canary += 1
    }
    expect(Math.abs(canary / 5_000 - 0.1)).toBeLessThan(5 * Math.sqrt((0.1 * 0.9) / 5_000))
  })

  test('a growing canary takes people and gives none back', () => {
    const at = (weight: number, userId: string) => {
      const grown = [target('stable', { weight: 90 }), target('canary', { weight })]
      return choose({ ...rule, stickyBy: 'session', targets: grown }, { sessionId: userId }).targets[0]?.id
    }
    for (let n = 0; n < 2_000; n++) {
      if (at(10, `s${n}`) === 'canary') expect(at(30, `s${n}`)).toBe('canary')
    }
  })

  test('a target that is left alone moves only its own people', () => {
    const three = ['a', 'b', 'c'].map((id) => target(id, { weight: 1 }))
    const sticky = { ...rule, stickyBy: 'user', targets: three } as const
    for (let n = 0; n < 1_000; n++) {
      const before = choose(sticky, { userId: `u${n}` }).targets[0]?.id
      const after = choose(sticky, { userId: `u${n}` }, {}, { a: { state: 'open' } }).targets[0]?.id
      if (before === 'a') expect(['b', 'c']).toContain(after)
      else expect(after).toBe(before)
    }
  })

  test('who names nobody draws anew', () => {
    const sticky = { ...rule, stickyBy: 'user' } as const
    expect(idsOf(choose(sticky, { draw: 0.95 }))).toBe('canary stable spare')
    expect(idsOf(choose(sticky, { draw: 0.1, userId: '' }))).toBe('stable canary spare')
  })
})

describe('least latency', () => {
  const targets = ['a', 'b', 'c'].map((id) => target(id))
  const rule = { strategy: 'least_latency', targets } as const
  const ms = (latencyUs: number, inFlightCount = 0) => ({ latencyUs: latencyUs * 1000, inFlightCount })

  test.each([
    ['of two drawn, the faster', 0, { a: ms(20), b: ms(10), c: ms(5) }, 'b c a'],
    ['of two others', 0.99, { a: ms(20), b: ms(10), c: ms(30) }, 'b a c'],
    ['running requests count', 0, { a: ms(20), b: ms(10, 3), c: ms(99) }, 'a b c'],
    ['one that nobody knows is tried', 0, { a: ms(1), c: ms(1) }, 'b a c'],
    ['of two that nobody knows, the idler', 0, { a: { inFlightCount: 2 }, b: { inFlightCount: 1 }, c: ms(1) }, 'b a c'],
    ['of equals, the one drawn first', 0.4, { a: ms(5), b: ms(5), c: ms(5) }, 'b a c'],
    ['one that is left alone is no choice', 0, { a: { state: 'open' }, b: ms(9), c: ms(5) }, 'c b a'],
  ] as [string, number, Record<string, Partial<TargetHealth>>, string][])('%s', (_, draw, known, expected) => {
    expect(idsOf(choose(rule, { draw }, {}, known))).toBe(expected)
  })

  test('spreads over equals, and leaves the slowest of three alone', () => {
    const draw = drawsOf(3)
    const equal: Record<string, number> = {}
    const slow: Record<string, number> = {}
    for (let n = 0; n < 3_000; n++) {
      const at = draw()
      const even = choose(rule, { draw: at }).targets[0]?.id ?? ''
      equal[even] = (equal[even] ?? 0) + 1
      const first = choose(rule, { draw: at }, {}, { a: ms(1), b: ms(1), c: ms(9) }).targets[0]?.id ?? ''
      slow[first] = (slow[first] ?? 0) + 1
    }
    for (const id of ['a', 'b', 'c']) expect(equal[id]).toBeGreaterThan(850)
    expect(slow['c'] ?? 0).toBe(0)
  })
})

describe('cheapest', () => {
  const cheap = target('cheap', { price: [100n, 400n], contextTokensMax: 8_000, outputTokensMax: 4_000 })
  const dear = target('dear', { price: [3_000n, 15_000n], contextTokensMax: 200_000 })
  const reader = target('reader', { price: [1_000n, 100n] })
  const unknown = target('unknown')
  const rule = { strategy: 'cheapest', targets: [unknown, dear, cheap, reader] } as const

  test.each([
    ['by expected cost, unknown prices last', {}, 'cheap reader dear unknown'],
    ['a long answer is not expected to be longer than usual', { outputTokensMax: 3_000 }, 'cheap reader dear unknown'],
    ['a short answer costs less', { outputTokensMax: 1, tokensIn: 1 }, 'cheap reader dear unknown'],
    ['prompt and answer must fit', { tokensIn: 7_000, outputTokensMax: 1_001 }, 'reader dear unknown cheap'],
    ['they just fit', { tokensIn: 7_000, outputTokensMax: 1_000 }, 'cheap reader dear unknown'],
    ['the answer must be allowed', { outputTokensMax: 4_001 }, 'reader dear unknown cheap'],
  ] as [string, Asked, string][])('%s', (_, asked, expected) => {
    expect(idsOf(choose(rule, asked))).toBe(expected)
  })

  test.each([0.5, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e300])(
    'whatever number is told as tokens, every target has its place: %s',
    (tokens) => {
      for (const asked of [
        { outputTokensMax: tokens },
        { tokensIn: tokens },
        { outputTokensMax: tokens, tokensIn: tokens },
      ]) {
        const { targets, excluded } = choose(rule, asked)
        expect(targets.length + excluded.length).toBe(rule.targets.length)
      }
    },
  )

  test('half a token costs as a whole one', () => {
    const one = target('one', { price: [0n, 10n] })
    const readings = (asked: Asked) => new Readings(factsOf(asked), sketchKey([]))
    expect(expectedCost(one, readings({ outputTokensMax: 0.5 }))).toBe(10n)
    expect(expectedCost(one, readings({ outputTokensMax: Number.NaN }))).toBe(5_120n)
  })

  test('where input and output differ, the prompt decides', () => {
    const [input, output] = [target('input', { price: [1n, 100n] }), target('output', { price: [10n, 1n] })]
    const both = { strategy: 'cheapest', targets: [output, input] } as const
    expect(idsOf(choose(both, { tokensIn: 100 }))).toBe('output input')
    expect(idsOf(choose(both, { tokensIn: 100_000 }))).toBe('input output')
  })
})

describe('preference', () => {
  const targets = [
    target('weak', { quality: 20, price: [1n, 1n] }),
    target('fair', { quality: 50, price: [30n, 30n] }),
    target('good', { quality: 70, price: [20n, 20n] }),
    target('best', { quality: 90, price: [90n, 90n] }),
    target('unrated', { price: [5n, 5n] }),
  ]
  const rule = { strategy: 'preference', targets } as const

  test.each([
    ['cheapest', 'weak unrated good fair best'],
    ['balanced', 'good best fair weak unrated'],
    ['best', 'best good fair weak unrated'],
  ] as const)('%s', (preference, expected) => {
    expect(idsOf(choose(rule, {}, { preference }))).toBe(expected)
  })

  test('balanced without any quality is cheapest; of three it takes the cheaper of the better two', () => {
    const plain = [target('dear', { price: [9n, 9n] }), target('cheap', { price: [1n, 1n] })]
    expect(idsOf(choose({ ...rule, targets: plain }, {}, { preference: 'balanced' }))).toBe('cheap dear')
    const three = [targets[3], targets[0], targets[2]].filter((one) => one !== undefined)
    expect(idsOf(choose({ ...rule, targets: three }, {}, { preference: 'balanced' }))).toBe('good best weak')
  })
})

describe('complexity', () => {
  const [low, medium, high] = (['low', 'medium', 'high'] as const).map((tier) => target(tier, { tier }))
  const all = [high, low, medium].filter((one) => one !== undefined)
  const rule = { strategy: 'complexity', targets: all } as const

  test.each([
    [0, 'low medium high'],
    [0.2999999, 'low medium high'],
    [0.3, 'medium high low'],
    [0.6999999, 'medium high low'],
    [0.7, 'high medium low'],
    [1, 'high medium low'],
    [Number.NaN, 'high medium low'],
  ])('a score of %s', (complexity, expected) => {
    expect(idsOf(choose(rule, { complexity }))).toBe(expected)
  })

  test.each([
    ['low is missing: the next higher', ['medium', 'high'], 0.1, 'medium high'],
    ['medium is missing: the next higher', ['low', 'high'], 0.5, 'high low'],
    ['high is missing: the next lower', ['low', 'medium'], 0.9, 'medium low'],
    ['only low', ['low'], 0.9, 'low'],
  ])('%s', (_, tiers, complexity, expected) => {
    const targets = tiers.map((tier) => target(tier, { tier: tier as 'low' }))
    expect(idsOf(choose({ ...rule, targets }, { complexity }))).toBe(expected)
  })

  test('equals keep their order, and one without a tier is last', () => {
    const targets = [target('none'), target('x', { tier: 'low' }), target('y', { tier: 'low' })]
    expect(idsOf(choose({ ...rule, targets }, { complexity: 0 }))).toBe('x y none')
  })

  test('thresholds of its own, and a score that is not known counts as hard', () => {
    const own = sketchRule('r', { ...rule, complexityLow: 0.5, complexityHigh: 0.5 })
    expect([0.49, 0.5].map((score) => tierFor(own, score))).toEqual(['low', 'high'])
    expect(tierFor(own, null)).toBe('high')
  })
})

describe('task', () => {
  const targets = [
    target('coder', { tasks: ['code'] }),
    target('any'),
    target('writer', { tasks: ['summarisation', 'translation'] }),
  ]
  const rule = { strategy: 'task', targets } as const
  test.each([
    ['code', 'coder any writer'],
    ['translation', 'writer any coder'],
    ['chat', 'any coder writer'],
  ])('%s', (promptClass, expected) => {
    expect(idsOf(choose(rule, { promptClass }))).toBe(expected)
  })
})

describe('an explanation', () => {
  const told = (rule: RuleSketch, key: KeySketch, known: Record<string, Partial<TargetHealth>>) => {
    const health: HealthFacts = { of: ({ id }) => ({ ...healthy, ...known[id] }) }
    return explainRequest(factsOf(), sketchKey([sketchRoute('r', rule)], key), health)
  }
  const reasons = ({ targets }: ReturnType<typeof told>) =>
    targets.map(({ target: { id }, reason }) => `${id}: ${reason}`)

  test('holds a weight against those that it was drawn with: nobody left out, those left alone by themselves', () => {
    const targets = [
      target('a', { weight: 6 }),
      target('away', { weight: 50, region: 'us' }),
      target('b', { weight: 4 }),
      target('c', { weight: 3 }),
      target('d', { weight: 2 }),
    ]
    const open = { state: 'open' } as const
    const found = told({ strategy: 'weighted', targets }, { regions: ['eu'] }, { c: open, d: open })
    expect(reasons(found)).toEqual(['a: weight 6 of 10', 'b: weight 4 of 10', 'c: weight 3 of 5', 'd: weight 2 of 5'])
  })

  test('names the median that targets were held to, of those left alone their own', () => {
    const targets = [20, 50, 70, 90].map((quality) => target(`q${quality}`, { quality, price: [1n, 1n] }))
    const rule = { strategy: 'preference', targets } as const
    const open = { state: 'open' } as const
    const balanced = (known: Record<string, Partial<TargetHealth>>) =>
      told(rule, { preference: 'balanced' }, known).strategyReason
    const behind = ', expected cost of 1000 tokens in'
    const start = 'the environment prefers balanced: the cheapest of quality'
    expect(balanced({})).toBe(`${start} 60 or better${behind}`)
    expect(balanced({ q90: open })).toBe(`${start} 50 or better${behind}`)
    expect(balanced({ q70: open, q90: open })).toBe(`${start} 35 or better (of those left alone 80)${behind}`)
    expect(balanced({ q20: open, q50: open, q70: open, q90: open })).toBe(`${start} 60 or better${behind}`)
  })

  test('of a choice has the sentences of the whole explanation', () => {
    fc.assert(
      fc.property(anyCase, ({ rules, key, facts, health }) => {
        const keyTable = sketchKey([sketchRoute('r', ...rules)], key)
        const asked = { ...facts, model: 'r' } as RequestFacts
        const known: HealthFacts = { of: ({ id }) => (health?.[Number(id.slice(1))] ?? healthy) as TargetHealth }
        const { sentences, rules: steps, targets, excluded } = explainRequest(asked, keyTable, known)
        const choice = chooseTarget(asked, keyTable, known)
        if (isRefusal(choice)) return
        expect(explainChoice(choice)).toEqual(sentences)
        expect(sentences.filter((one) => one.startsWith('rule '))).toHaveLength(steps.length)
        expect(sentences.filter((one) => one.startsWith('target '))).toHaveLength(excluded.length)
        for (const { reason } of targets) expect(sentences.some((one) => one.includes(reason))).toBe(true)
      }),
      { seed: 4, numRuns: 500 },
    )
  })
})

// -------------------------------------------------------------------------------------------------------- all strategies

const strategies = ['ordered', 'weighted', 'least_latency', 'cheapest', 'preference', 'complexity', 'task'] as const
const anyTarget = (id: string) =>
  fc
    .record({
      weight: fc.nat({ max: 5 }),
      tier: fc.constantFrom('low', 'medium', 'high', null),
      quality: fc.option(fc.nat({ max: 100 })),
      tasks: fc.subarray(['code', 'chat', 'reasoning']),
      region: fc.constantFrom('eu', 'us'),
      external: fc.boolean(),
      capabilities: fc.subarray(['chat', 'embeddings']),
      contextTokensMax: fc.constantFrom(undefined, 1_000, 100_000),
      outputTokensMax: fc.constantFrom(undefined, 100, 10_000),
      price: fc.option(fc.tuple(fc.bigInt(0n, 10n ** 13n), fc.bigInt(0n, 10n ** 13n)), { nil: undefined }),
    })
    .map(({ contextTokensMax, outputTokensMax, price, ...sketch }) =>
      target(id, {
        ...sketch,
        ...(contextTokensMax === undefined ? {} : { contextTokensMax }),
        ...(outputTokensMax === undefined ? {} : { outputTokensMax }),
        ...(price === undefined ? {} : { price: price as [bigint, bigint] }),
      }),
    )
const anyTargets = fc
  .integer({ min: 1, max: 8 })
  .chain((count) => fc.tuple(...Array.from({ length: count }, (_, n) => anyTarget(`t${n}`))))
const anyHealth = fc.record({
  state: fc.constantFrom('closed', 'open', 'half_open'),
  retryInMs: fc.nat(),
  latencyUs: fc.option(fc.nat({ max: 10_000_000 })),
  inFlightCount: fc.nat({ max: 1_000 }),
})
const conditions = [
  ...[null, 'complexity > 0.5', 'headers["x-a"] == "b"', 'prompt_class in ["code"] && tokens_in > 100', 'hour < 12'],
  ...['user.startsWith("u") || session == ""', 'stream && weekday != 0', '!("x-a" in headers)'],
]

/** A world and a request, out of everything that can be said. */
const anyCase = fc.record({
  rules: fc.array(
    fc.record({
      condition: fc.constantFrom(...conditions),
      strategy: fc.constantFrom(...strategies),
      stickyBy: fc.constantFrom(null, 'user', 'session'),
      targets: anyTargets as fc.Arbitrary<readonly TargetTable[]>,
    }),
    { minLength: 1, maxLength: 4 },
  ),
  key: fc.record({
    internalOnly: fc.boolean(),
    regions: fc.subarray(['eu', 'us']),
    preference: fc.constantFrom('cheapest', 'balanced', 'best'),
  }),
  facts: fc.record({
    operation: fc.constantFrom('chat_completions', 'embeddings', 'messages'),
    userId: fc.constantFrom('', 'u1', 'u2'),
    sessionId: fc.constantFrom('', 's1'),
    header: fc.constantFrom(
      undefined,
      () => undefined,
      () => 'b',
    ),
    stream: fc.constantFrom(true, false, undefined),
    nowMs: fc.option(fc.nat({ max: 2 ** 41 }), { nil: undefined }),
    draw: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(undefined, 1, -1, Number.NaN, 2)),
    outputTokensMax: fc.option(fc.oneof(fc.nat({ max: 100_000 }), fc.double()), { nil: undefined }),
    bodyBytes: fc.option(fc.nat(), { nil: undefined }),
    prompt: fc.option(
      fc.record({
        complexity: fc.oneof(fc.double(), fc.constant(Number.NaN)).map((value) => () => value),
        promptClass: fc.constantFrom('code', 'chat', 'other').map((value) => () => value),
        tokensIn: fc.nat({ max: 1_000_000 }).map((value) => () => value),
      }),
      { nil: undefined },
    ),
  }),
  health: fc.option(fc.array(anyHealth, { minLength: 8, maxLength: 8 })),
})

test('10,000 worlds: every eligible target exactly once, excluded ones never, the last never lost, nothing throws', () => {
  fc.assert(
    fc.property(anyCase, ({ rules, key, facts, health }) => {
      const keyTable = sketchKey([sketchRoute('r', ...rules)], key)
      const asked = { ...facts, model: 'r' } as RequestFacts
      const known: HealthFacts | undefined = health
        ? { of: ({ id }) => (health[Number(id.slice(1))] ?? healthy) as TargetHealth }
        : undefined
      const choice = chooseTarget(asked, keyTable, known)
      expect(explainChoice(choice).length).toBeGreaterThan(0)
      const explanation = explainRequest(asked, keyTable, known)
      if (isRefusal(choice)) {
        expect(explanation.refusal).toEqual(choice)
        return
      }
      expect(explanation.targets.map(({ target: one }) => one)).toEqual(choice.targets)
      expect(explanation.rules.at(-1)).toMatchObject({ ruleId: choice.ruleId, outcome: 'held' })
      expect(chooseTarget(asked, keyTable, known)).toMatchObject({ targets: choice.targets, ruleId: choice.ruleId })
      const excluded = new Set(choice.excluded.map(({ target: one }) => one))
      expect(new Set(choice.targets).size).toBe(choice.targets.length)
      expect(choice.targets.length + excluded.size).toBe(choice.rule.targets.length)
      for (const one of choice.targets) {
        expect(excluded.has(one)).toBe(false)
        expect(one.model.capabilities.has(facts.operation === 'embeddings' ? 'embeddings' : 'chat')).toBe(true)
        if (key.regions.length > 0) expect(key.regions).toContain(one.provider.region)
        expect(one.provider.external && key.internalOnly).toBe(false)
      }
      const states = choice.targets.map((one) => known?.of(one).state ?? 'closed')
      // Once one is left alone, so are all behind it.
      expect(
        states.slice(Math.max(0, states.indexOf('open'))).every((state) => state === 'open') ||
          !states.includes('open'),
      ).toBe(true)
    }),
    { seed: 20261127, numRuns: 10_000 },
  )
}, 60_000)

test('a stable draw is between 0 and 1, spread, and the same everywhere', () => {
  expect(stableDraw('rul_1', 'tgt_1', 'ada')).toBe(stableDraw('rul_1', 'tgt_1', 'ada'))
  expect(stableDraw('ab', 'c')).not.toBe(stableDraw('a', 'bc'))
  const tenths = new Array(10).fill(0)
  for (let n = 0; n < 10_000; n++) tenths[Math.floor(stableDraw('rule', `user-${n}`) * 10)] += 1
  for (const count of tenths) expect(Math.abs(count - 1_000)).toBeLessThan(150)
})
