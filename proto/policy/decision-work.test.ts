import { expect, test } from 'vitest'
import { decide } from './choose-target.js'
import { explainDecision } from './explain.js'
import type { RequestFacts } from './request-facts.js'
import { sketchKey, sketchRoute, sketchTarget } from './table-fixture.js'

const targets = [sketchTarget('a')]
const heavy = 'headers["x-long"].matches("(a|aa|aaa|b)*a(a|b){12}c")'
const factsOf = (long: string): RequestFacts => ({
  ...{ operation: 'chat_completions', model: 'r' },
  header: (name) => (name === 'x-long' ? long : undefined),
})

test('all patterns of a decision search so much and no more, and its explanation says the same', () => {
  const rules = Array.from({ length: 32 }, () => ({ condition: heavy, targets }))
  const key = sketchKey([sketchRoute('r', ...rules, { targets })])
  const decision = decide(factsOf('ab'.repeat(2_000)), key)
  expect(decision.ruleId).toBe('rule-32')
  const { rules: steps, sentences } = explainDecision(decision)
  const searched = steps.filter(({ outcome }) => outcome === 'not_held').length
  const failures = steps.filter(({ failure }) => failure === 'more to search than one decision may').length
  expect([searched > 0, searched < 5, searched + failures]).toEqual([true, true, 32])
  expect(decision.conditionFailureCount).toBe(failures)
  expect(sentences.filter((sentence) => sentence.includes('more to search')).length).toBe(failures)
  // What is usual fits.
  expect(decide(factsOf('ab'.repeat(20)), key).conditionFailureCount).toBe(0)
})
