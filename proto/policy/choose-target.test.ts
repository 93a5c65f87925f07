import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isRefusal } from '../std/refusal.js'
import { type Choice, chooseTarget, findRoute, hopDueUs, listRoutes } from './choose-target.js'
import { explainChoice } from './explain.js'
import type { HealthFacts, TargetHealth } from './health.js'
import type { RequestFacts } from './request-facts.js'
import { sketchKey, sketchRoute, sketchTarget } from './table-fixture.js'
import type { ApiKeyTable, TargetTable } from './tables.js'

const target = sketchTarget
const route = sketchRoute
const key = sketchKey

const chat = (model: string) => ({ operation: 'chat_completions', model }) as const

describe('choose target', () => {
  const a = target('a')
  const b = target('b', { region: 'us' })
  const e = target('e', { capabilities: ['embeddings'] })

  const cases: [string, ApiKeyTable, Parameters<typeof chooseTarget>[0], string[] | string][] = [
    ['all targets in order', key([route('r', { targets: [a, b] })]), chat('r'), ['a', 'b']],
    ['a route that is not there', key([]), chat('r'), 'model_not_found'],
    [
      'a route that the key may not use',
      key([route('r', { targets: [a] })], { allowed: ['s'] }),
      chat('r'),
      'model_not_found',
    ],
    ['a route that the key may use', key([route('r', { targets: [a] })], { allowed: ['r'] }), chat('r'), ['a']],
    [
      'no region listed permits every region',
      key([route('r', { targets: [a, b] })], { regions: [] }),
      chat('r'),
      ['a', 'b'],
    ],
    ['a region that is not permitted', key([route('r', { targets: [b, a] })], { regions: ['eu'] }), chat('r'), ['a']],
    [
      'no permitted region left',
      key([route('r', { targets: [b] })], { regions: ['eu'] }),
      chat('r'),
      'no_eligible_target',
    ],
    ['a model without the capability', key([route('r', { targets: [e, a] })]), chat('r'), ['a']],
    ['no model with the capability', key([route('r', { targets: [e] })]), chat('r'), 'operation_not_supported'],
    ['embeddings', key([route('r', { targets: [a, e] })]), { operation: 'embeddings', model: 'r' }, ['e']],
    ['the first rule that applies decides', key([route('r', { targets: [a] }, { targets: [b] })]), chat('r'), ['a']],
    [
      'a condition that nobody compiled does not apply',
      key([route('r', { condition: 'true', uncompiled: true, targets: [b] }, { targets: [a] })]),
      chat('r'),
      ['a'],
    ],
    ['no rule applies', key([route('r', { condition: 'false', targets: [b] })]), chat('r'), 'no_eligible_target'],
    ['a rule without targets', key([route('r', { targets: [] })]), chat('r'), 'no_eligible_target'],
    ['names that objects have', key([route('r', { targets: [a] })]), chat('__proto__'), 'model_not_found'],
  ]
  test.each(cases)('%s', (_name, of, facts, expected) => {
    const choice = chooseTarget(facts, of)
    if (typeof expected === 'string') expect(choice).toMatchObject({ refused: true, code: expected, field: 'model' })
    else expect(isRefusal(choice) ? choice.code : choice.targets.map((one) => one.id)).toEqual(expected)
    expect(explainChoice(choice).length).toBeGreaterThan(0)
  })

  test('a hidden route is answered like one that does not exist', () => {
    const hidden = chooseTarget(chat('r'), key([route('r', { targets: [a] })], { allowed: [] }))
    const missing = chooseTarget(chat('r'), key([]))
    expect(hidden).toEqual(missing)
  })

  test('gives the rule’s own list when nothing is left out', () => {
    const targets = [a, b]
    const choice = chooseTarget(chat('r'), key([route('r', { targets })]))
    expect(isRefusal(choice) ? null : choice.targets).toBe(targets)
  })

  test('explains in words what it left out and why', () => {
    const choice = chooseTarget(chat('r'), key([route('r', { targets: [b, e, a] })], { regions: ['eu'] }))
    expect(explainChoice(choice)).toEqual([
      'route r: rule rule-0 applies',
      'rule rule-0 has no condition',
      "target b is left out: its provider's region is not permitted in this environment",
      'target e is left out: its model does not serve chat',
      'hop 1: llama at provider a (connect 1 ms, first token 2 ms, idle 3 ms, total 4 ms)',
      'all hops together: 10 ms',
    ])
  })

  test('never gives a target outside the permitted regions, keeps the order, and says the same twice', () => {
    const regions = fc.subarray(['eu', 'us', 'ap'])
    const targets = fc.array(
      fc.record({ region: fc.constantFrom('eu', 'us', 'ap', ''), capabilities: fc.subarray(['chat', 'embeddings']) }),
      { maxLength: 6 },
    )
    fc.assert(
      fc.property(
        regions,
        targets,
        fc.constantFrom('chat_completions', 'embeddings' as const),
        (permitted, specs, operation) => {
          const made = specs.map((spec, index) => target(String(index), spec))
          const of = key([route('r', { targets: made })], { regions: permitted })
          const facts = { operation, model: 'r' }
          const choice = chooseTarget(facts, of)
          expect(chooseTarget(facts, of)).toEqual(choice)
          if (isRefusal(choice)) return
          const ids = choice.targets.map((one) => Number(one.id))
          expect(ids).toEqual([...ids].sort((x, y) => x - y))
          for (const one of choice.targets) {
            if (permitted.length > 0) expect(permitted).toContain(one.provider.region)
            expect(one.model.capabilities.has(operation === 'embeddings' ? 'embeddings' : 'chat')).toBe(true)
          }
          expect(choice.targets.length + choice.excluded.length).toBe(made.length)
        },
      ),
    )
  })

  test('routes of a key', () => {
    const routes = [route('x', { targets: [a] }), route('y', { targets: [a] })]
    expect(listRoutes(key(routes)).map((one) => one.name)).toEqual(['x', 'y'])
    expect(listRoutes(key(routes, { allowed: ['y', 'z'] })).map((one) => one.name)).toEqual(['y'])
    expect(findRoute('x', key(routes, { allowed: ['y'] }))).toBeNull()
  })

  test('a hop is due when its own time or the route’s is over', () => {
    expect(hopDueUs(a, 1_000, 100_000)).toBe(5_000)
    expect(hopDueUs(a, 1_000, 3_000)).toBe(3_000)
  })
})

// ----------------------------------------------------------------------------------------------------------- conditions

/** Facts in a word or two. */
function facts(more: Partial<RequestFacts> & { complexity?: number; promptClass?: string; tokensIn?: number } = {}) {
  const { complexity, promptClass, tokensIn, ...rest } = more
  const missing = () => {
    throw new Error('asked for what nobody needs')
  }
  return {
    ...chat('r'),
    prompt: {
      complexity: complexity === undefined ? missing : () => complexity,
      promptClass: promptClass === undefined ? missing : () => promptClass as 'code',
      tokensIn: tokensIn === undefined ? missing : () => tokensIn,
    },
    ...rest,
  } satisfies RequestFacts
}

function idsOf(choice: ReturnType<typeof chooseTarget>): string {
  return isRefusal(choice) ? choice.code : choice.targets.map((one) => one.id).join(' ')
}

describe('rules with conditions', () => {
  const [big, mid, small] = [target('big'), target('mid'), target('small')]
  const of = key(
    [
      route(
        'r',
        { condition: 'team == "team_law"', targets: [big] },
        { condition: 'headers["x-tier"] == "gold"', targets: [mid] },
        { condition: 'hour >= 22 || hour < 6', targets: [small] },
        { targets: [mid, small] },
      ),
    ],
    {},
  )
  const at = (hour: number) => Date.UTC(2026, 10, 27, hour)
  test.each([
    ['the first that holds decides', { ...of, teamId: 'team_law' }, facts({ nowMs: at(3) }), 'big'],
    ['a header', of, facts({ header: () => 'gold', nowMs: at(3) }), 'mid'],
    ['another value of the header', of, facts({ header: () => 'tin', nowMs: at(23) }), 'small'],
    ['no header at all: that rule counts as false', of, facts({ header: () => undefined, nowMs: at(5) }), 'small'],
    ['none holds: the one without a condition', of, facts({ nowMs: at(6) }), 'mid small'],
    ['the instant is not known: it counts as false', of, facts(), 'mid small'],
  ])('%s', (_, from, asked, expected) => {
    expect(idsOf(chooseTarget(asked, from))).toBe(expected)
  })

  test('count what failed, and ask for what is dear only when it is needed, once', () => {
    expect((chooseTarget(facts({ nowMs: at(12) }), of) as Choice).conditionFailureCount).toBe(1)
    let asked = 0
    const dear = route(
      'r',
      { condition: 'model == "other" && complexity > 0.1', targets: [big] },
      { condition: 'complexity > 0.9', targets: [big] },
      { strategy: 'complexity', targets: [target('low', { tier: 'low' }), target('high', { tier: 'high' })] },
    )
    const complexity = () => {
      asked += 1
      return 0.8
    }
    const prompt = { ...facts().prompt, complexity } as NonNullable<RequestFacts['prompt']>
    expect(idsOf(chooseTarget({ ...facts(), prompt }, key([dear])))).toBe('high low')
    expect(asked).toBe(1)
    explainChoice(chooseTarget({ ...facts(), prompt }, key([dear])))
    expect(asked).toBe(2)
  })
})

// ----------------------------------------------------------------------------------------------------------- exclusions

describe('targets that are left out', () => {
  const inside = target('inside')
  const outside = target('outside', { external: true })
  const [short, long] = [target('short', { contextTokensMax: 8_000 }), target('long', { contextTokensMax: 128_000 })]
  const one = (...targets: TargetTable[]) => [route('r', { targets })]
  test.each([
    [
      'an internal key meets no external provider',
      key(one(outside, inside), { internalOnly: true }),
      facts(),
      'inside',
    ],
    ['any other key meets it', key(one(outside, inside)), facts(), 'outside inside'],
    ['nothing internal is left', key(one(outside), { internalOnly: true }), facts(), 'no_eligible_target'],
    ['a prompt of as many tokens as fit', key(one(short, long)), facts({ tokensIn: 8_000 }), 'short long'],
    ['a prompt of one more', key(one(short, long)), facts({ tokensIn: 8_001 }), 'long'],
    ['too long for all: the roomiest stays', key(one(short, long)), facts({ tokensIn: 200_000 }), 'long'],
    ['a small body is not measured', key(one(short, long)), facts({ bodyBytes: 600 }), 'short long'],
    ['a model of unknown room is not measured', key(one(inside)), facts(), 'inside'],
    [
      'too long where only it may serve',
      key(one(outside, short), { internalOnly: true }),
      facts({ tokensIn: 9_000 }),
      'short',
    ],
  ])('%s', (_, of, asked, expected) => {
    expect(idsOf(chooseTarget(asked, of))).toBe(expected)
  })

  test('a refusal says when it is the key that may not go outside', () => {
    const refusal = chooseTarget(facts(), key(one(outside), { internalOnly: true }))
    expect(refusal).toMatchObject({ code: 'no_eligible_target', detail: { reason: 'external_not_permitted' } })
  })
})

// ---------------------------------------------------------------------------------------------------------------- health

const healthy: TargetHealth = { state: 'closed', retryInMs: 0, latencyUs: null, inFlightCount: 0 }
function healthOf(known: Record<string, Partial<TargetHealth>>): HealthFacts {
  return { of: ({ id }) => ({ ...healthy, ...known[id] }) }
}

describe('health', () => {
  const [a, b, c] = [target('a'), target('b'), target('c')]
  const of = key([route('r', { targets: [a, b, c] })])
  const open = { state: 'open', retryInMs: 500 } as const
  test.each([
    ['all well: as given', {}, 'a b c'],
    ['one that is left alone goes behind the others', { a: open }, 'b c a'],
    ['two of them, in their order', { a: open, b: open }, 'c a b'],
    ['all of them: none is lost', { a: open, b: open, c: open }, 'a b c'],
    ['one that may be tried keeps its place', { a: { state: 'half_open' }, c: open }, 'a b c'],
  ] as [string, Record<string, Partial<TargetHealth>>, string][])('%s', (_, known, expected) => {
    const choice = chooseTarget(facts(), of, healthOf(known))
    expect(idsOf(choice)).toBe(expected)
    if (Object.keys(known).length === 0)
      expect((choice as Choice).targets).toBe(of.environment.routes.get('r')?.rules[0]?.targets)
  })

  test('the chosen share of a weighted rule is among the healthy', () => {
    const rule = { strategy: 'weighted', targets: [target('a', { weight: 99 }), target('b', { weight: 1 })] } as const
    expect(idsOf(chooseTarget(facts({ draw: 0 }), key([route('r', rule)]), healthOf({ a: open })))).toBe('b a')
  })
})
