import { expect, test } from 'vitest'
import type { ReasoningEffort } from '../../conversation/conversation.js'
import { effortFor } from './reasoning-effort.js'

const sent = (model: string, effort: ReasoningEffort) => effortFor({ effort, budgetTokens: null }, model)

test.each([
  ['o3', null, 'low', 'high'],
  ['gpt-4.1', null, 'low', 'high'],
  ['gpt-35-turbo', null, 'low', 'high'],
  ['llama3.1:8b', null, 'low', 'high'],
  ['openai/gpt-oss-120b', null, 'low', 'high'],
  ['gpt-5', null, 'minimal', 'high'],
  ['gpt-5-mini-2025-08-07', null, 'minimal', 'high'],
  ['gpt-5-codex', null, 'low', 'high'],
  ['gpt-5.1', 'none', 'low', 'high'],
  ['openai/gpt-5.1-2025-11-13', 'none', 'low', 'high'],
  ['gpt-5.1-codex-max', null, 'low', 'xhigh'],
  ['gpt-5.2', 'none', 'low', 'xhigh'],
  ['gpt-5.2-pro', null, 'low', 'xhigh'],
  ['gpt-5.3-chat-latest', null, 'low', 'high'],
  ['gpt-6', 'none', 'low', 'xhigh'],
] as const)('%s is told only words it knows', (model, none, minimal, most) => {
  expect(sent(model, 'none')).toBe(none)
  expect(sent(model, 'minimal')).toBe(minimal)
  for (const effort of ['xhigh', 'max'] as const) expect(sent(model, effort)).toBe(most)
  for (const effort of ['low', 'medium', 'high'] as const) expect(sent(model, effort)).toBe(effort)
})

test('a budget is told as the effort it stands for, and none as nothing', () => {
  expect(effortFor({ effort: null, budgetTokens: 4_000 }, 'o3')).toBe('medium')
  expect(effortFor({ effort: null, budgetTokens: 0 }, 'o3')).toBeNull()
  expect(effortFor({ effort: null, budgetTokens: null }, 'o3')).toBeNull()
  expect(effortFor(null, 'gpt-5.1')).toBeNull()
})
