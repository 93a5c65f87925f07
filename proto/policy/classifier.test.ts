import { describe, expect, test } from 'vitest'
import { chooseTarget } from './choose-target.js'
import type { Classified } from './classifier.js'
import { explainChoice } from './explain.js'
import { MeasuredPrompt, type PromptFacts } from './measured-prompt.js'
import { sketchKey, sketchRoute, sketchTarget } from './table-fixture.js'
import type { Measure, ProviderTable, RouteTable } from './tables.js'

const shape = { textBytes: 12, imageCount: 0, turnCount: 1, toolCount: 0, newestText: () => 'Say hello.' }
const judge: ProviderTable = { ...sketchTarget('judge').provider, name: 'judge', kind: 'classifier' }
const answered = (more: Partial<Classified> = {}): Classified => ({
  ...{ outcome: 'ok', complexity: 0.9, promptClass: 'code', label: '' },
  ...more,
})
const prompt = (classified?: Classified, said: 'chat' | null = null) =>
  new MeasuredPrompt(() => shape, said, classified)

describe('what a classifier measured', () => {
  test('counts before the built-in estimates', () => {
    expect([prompt().complexity(), prompt().promptClass()]).toEqual([0, 'chat'])
    const measured = prompt(answered())
    expect([measured.complexity(), measured.promptClass(), measured.tokensIn()]).toEqual([
      ...[0.9, 'code'],
      prompt().tokensIn(),
    ])
  })

  test('counts also where it is nothing at all', () => {
    const estimated = new MeasuredPrompt(() => ({ ...shape, newestText: () => 'Why? '.repeat(200) }))
    expect(estimated.complexity()).toBeGreaterThan(0)
    expect(new MeasuredPrompt(() => shape, null, answered({ complexity: 0 })).complexity()).toBe(0)
  })

  test('leaves the rest to them', () => {
    expect(prompt(answered({ complexity: null })).complexity()).toBe(0)
    expect(prompt(answered({ promptClass: null })).promptClass()).toBe('chat')
  })

  test('counts for less than the class that the client named', () => {
    expect(prompt(answered(), 'chat').promptClass()).toBe('chat')
  })
})

describe('an explanation', () => {
  const route = (measures: readonly Measure[], provider = judge): RouteTable => ({
    ...sketchRoute('r', { strategy: 'complexity', targets: [sketchTarget('t', { tier: 'high' })] }),
    ...{ classifier: { provider, timeoutMs: 100 }, measures: new Set(measures) },
  })
  const explain = (table: RouteTable, facts?: PromptFacts, key: Parameters<typeof sketchKey>[1] = {}) =>
    explainChoice(
      chooseTarget({ operation: 'chat_completions', model: 'r', prompt: facts }, sketchKey([table], key)),
    ).filter((sentence) => sentence.includes('classifier'))
  const both: readonly Measure[] = ['complexity', 'prompt_class', 'tokens_in']

  test.each<[string, readonly string[], readonly string[]]>([
    [
      'who measured',
      explain(route(both), prompt(answered({ label: 'v3' }))),
      ['classifier judge (v3) measured complexity and prompt_class'],
    ],
    [
      'what of it the classifier left out',
      explain(route(both), prompt(answered({ promptClass: null }))),
      ['classifier judge measured complexity: the built-in estimate of prompt_class counts'],
    ],
    [
      'why it measured nothing',
      explain(route(['complexity']), prompt(answered({ outcome: 'timeout', complexity: null, promptClass: null }))),
      ['classifier judge measured nothing (timeout): the built-in estimate of complexity counts'],
    ],
    [
      'that it would be asked',
      explain(route(both), prompt()),
      [
        'classifier judge would be asked for complexity and prompt_class, for at most 100 ms: until then the built-in estimate of complexity and prompt_class counts',
      ],
    ],
    [
      'that it would not be asked for what is said already',
      explain(route(both), prompt(undefined, 'chat')),
      [
        'classifier judge would be asked for complexity, for at most 100 ms: until then the built-in estimate of complexity counts',
      ],
    ],
    ['nothing where all is said', explain(route(['prompt_class']), prompt(undefined, 'chat')), []],
    ['nothing where no rule wants to know', explain(route(['tokens_in']), prompt()), []],
    ['nothing without a prompt', explain(route(both)), []],
    [
      'that it may not be asked outside',
      explain(route(['complexity'], { ...judge, external: true }), prompt(), { internalOnly: true }),
      ['classifier judge may not be asked, it is external: the built-in estimate of complexity counts'],
    ],
    [
      'that it may not be asked elsewhere',
      explain(route(['complexity'], { ...judge, region: 'us' }), prompt(), { regions: ['eu'] }),
      ['classifier judge may not be asked, its region is not permitted: the built-in estimate of complexity counts'],
    ],
  ])('says %s', (_words, sentences, expected) => {
    expect(sentences).toEqual(expected)
  })
})
