import { describe, expect, test } from 'vitest'
import type { RouteExplanationFieldsFragment } from '../client.js'
import { mismatchesOf, misroutesOf, parseSuite, suiteBytesMax } from './route-suite.js'

const suiteOf = (request: string, expectation: string) =>
  `cases: [{ name: one, request: { ${request} }, expect: { ${expectation} } }]`

describe('a suite', () => {
  test('is YAML or JSON, with everything that a request can have', () => {
    const suite = parseSuite(
      `environment: staging
cases:
  - name: everything
    request:
      model: chat
      key: key_1
      team: team_1
      internalOnly: true
      operation: messages
      user: ada
      session: s
      headers: { x-tier: gold, X-Two: "2" }
      prompt: |
        Two
        lines
      turns: 3
      tools: 2
      complexity: 0.7
      class: code
      tokensIn: 100
      maxTokens: 50
      stream: false
      region: eu-central-1
      at: "2026-12-31T00:00:00Z"
      draw: 0.5
      health: [{ target: tgt_1, state: half_open, latencyMs: 12.5, inFlight: 3 }]
    expect: { rule: r, targets: [a, b], excluded: [c] }
    label: MEDIUM
`,
      'suite.yaml',
    )
    expect(suite.environment).toBe('staging')
    expect(suite.cases[0]).toEqual({
      name: 'everything',
      request: {
        ...{ model: 'chat', apiKeyId: 'key_1', teamId: 'team_1', internalOnly: true, operation: 'MESSAGES' },
        ...{ userId: 'ada', sessionId: 's', prompt: 'Two\nlines\n', turnCount: 3, toolCount: 2, complexity: 0.7 },
        headers: [
          { name: 'x-tier', value: 'gold' },
          { name: 'X-Two', value: '2' },
        ],
        ...{ promptClass: 'CODE', tokensIn: 100, outputTokensMax: 50, stream: false, region: 'eu-central-1' },
        ...{ at: '2026-12-31T00:00:00Z', draw: 0.5 },
        health: [{ targetId: 'tgt_1', state: 'HALF_OPEN', latencyMs: 12.5, inFlightCount: 3 }],
      },
      expect: { rule: 'r', target: null, targets: ['a', 'b'], excluded: ['c'], refused: null },
      label: 'MEDIUM',
    })
    const json = JSON.stringify({ cases: [{ request: { model: 'chat' }, expect: { refused: 'model_not_found' } }] })
    expect(parseSuite(json, 'suite.json').cases[0]).toMatchObject({ name: 'case 1', request: { model: 'chat' } })
  })

  test.each([
    ['no YAML', 'cases: [', 's.yaml is no YAML: '],
    ['nothing', '', 's.yaml: expected names with values, found null'],
    ['no cases', 'environment: x', 's.yaml: cases: expected a list, found nothing'],
    ['a member that is not', 'case: []', 's.yaml: there is no case; there are environment, cases'],
    [
      'a typing error',
      suiteOf('model: chat, promt: x', 'rule: r'),
      's.yaml: cases[0].request: there is no promt; there are model,',
    ],
    ['no model', suiteOf('team: t', 'rule: r'), 's.yaml: cases[0].request.model: expected a text'],
    [
      'a number for a text',
      suiteOf('model: 5', 'rule: r'),
      's.yaml: cases[0].request.model: expected a text (numbers in quotation marks), found 5',
    ],
    [
      'a text for a number',
      suiteOf('model: c, complexity: high', 'rule: r'),
      's.yaml: cases[0].request.complexity: expected a number, found "high"',
    ],
    [
      'a class that is not',
      suiteOf('model: c, class: poetry', 'rule: r'),
      's.yaml: cases[0].request.class: expected one of summarisation',
    ],
    [
      'a header that is no text',
      suiteOf('model: c, headers: { x: 5 }', 'rule: r'),
      's.yaml: cases[0].request.headers.x: expected a text',
    ],
    ['an expectation of nothing', suiteOf('model: c', ''), 's.yaml: cases[0].expect: expects nothing'],
    [
      'a label that is no tier',
      'cases: [{ request: { model: c }, label: hard }]',
      's.yaml: cases[0].label: expected one of LOW',
    ],
    ['neither label nor expectation', 'cases: [{ request: { model: c } }]', 's.yaml: cases[0].expect: expected names'],
    [
      'an expectation of nothing beside a label',
      'cases: [{ request: { model: c }, label: LOW, expect: {} }]',
      's.yaml: cases[0].expect: expects nothing',
    ],
    [
      'a target of what is refused',
      suiteOf('model: c', 'refused: x, target: y'),
      's.yaml: cases[0].expect: a request that is refused has no target',
    ],
  ])('is refused with its path: %s', (_, text, message) => {
    expect(() => parseSuite(text, 's.yaml')).toThrow(message)
  })

  test('may say of a case only how hard it is', () => {
    const [only] = parseSuite('cases: [{ request: { model: c }, label: LOW }]', 's').cases
    expect(only?.label).toBe('LOW')
    const refused = { outcome: 'no_eligible_target', ruleName: null, targets: [], excluded: [] }
    expect(only && mismatchesOf(only.expect, refused as unknown as RouteExplanationFieldsFragment)).toEqual([])
    const misspelt = { ...refused, outcome: 'model_not_found' }
    expect(only && mismatchesOf(only.expect, misspelt as unknown as RouteExplanationFieldsFragment)).toEqual([
      'refused: model_not_found',
    ])
  })

  test('is bounded', () => {
    expect(() => parseSuite('#'.repeat(suiteBytesMax + 1), 's')).toThrow('larger than')
    const many = JSON.stringify({ cases: Array(1_001).fill({ request: { model: 'c' }, expect: { rule: 'r' } }) })
    expect(() => parseSuite(many, 's')).toThrow('at most 1000')
  })
})

describe('a decision', () => {
  const found = {
    ...{ outcome: 'chosen', ruleName: 'tiers' },
    targets: [
      { targetId: 'tgt_1', upstreamModel: 'small', providerName: 'local' },
      { targetId: 'tgt_2', upstreamModel: 'large', providerName: 'openai' },
    ],
    excluded: [{ targetId: 'tgt_3' }],
  } as unknown as RouteExplanationFieldsFragment
  const refused = { ...found, outcome: 'no_eligible_target', targets: [] } as RouteExplanationFieldsFragment
  const nothing = { rule: null, target: null, targets: null, excluded: null, refused: null }

  test.each<[string, Parameters<typeof mismatchesOf>[0], RouteExplanationFieldsFragment, string[]]>([
    ['the rule', { ...nothing, rule: 'tiers' }, found, []],
    ['another rule', { ...nothing, rule: 'law' }, found, ['rule tiers decides, law was expected']],
    ['the target, by model and provider', { ...nothing, target: 'small@local' }, found, []],
    ['the target, by model', { ...nothing, target: 'small' }, found, []],
    ['the target, by id', { ...nothing, target: 'tgt_1' }, found, []],
    ['the second target', { ...nothing, target: 'large' }, found, ['small@local comes first, large was expected']],
    ['the order', { ...nothing, targets: ['small', 'tgt_2'] }, found, []],
    [
      'a part of the order',
      { ...nothing, targets: ['small'] },
      found,
      ['the order is small@local, large@openai; small was expected'],
    ],
    ['what is left out', { ...nothing, excluded: ['tgt_3'] }, found, []],
    ['what is not left out', { ...nothing, excluded: ['tgt_2'] }, found, ['tgt_2 should be left out']],
    ['a refusal', { ...nothing, refused: 'no_eligible_target' }, refused, []],
    ['a refusal that does not come', { ...nothing, refused: 'x' }, found, ['not refused, but x was expected']],
    ['one that nobody expected', { ...nothing, target: 'small' }, refused, ['refused: no_eligible_target']],
  ])('is held against %s', (_, expected, of, wrong) => {
    expect(mismatchesOf(expected, of)).toEqual(wrong)
  })
})

test('a misroute is a labelled decision of another tier, or of none', () => {
  expect(
    misroutesOf([
      { label: 'LOW', tier: 'LOW' },
      { label: 'LOW', tier: 'HIGH' },
      { label: 'HIGH', tier: null },
      { label: 'LOW', tier: 'HIGH' },
      { label: null, tier: 'HIGH' },
    ]),
  ).toEqual({
    ...{ labelledCount: 4, misroutedCount: 3 },
    kinds: [
      ['LOW→HIGH', 2],
      ['HIGH→none', 1],
    ],
  })
  expect(misroutesOf([{ label: null, tier: null }])).toEqual({ labelledCount: 0, misroutedCount: 0, kinds: [] })
})
