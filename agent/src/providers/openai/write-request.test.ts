import { expect, test } from 'vitest'
import { isRefusal } from '../../../../proto/std/refusal.js'
import { makeTarget } from '../../../../test/harness/agent-door.js'
import { Losses } from '../../conversation/losses.js'
import { readMessagesConversation } from '../../doors/messages/read-conversation.js'
import type { RequestBody } from '../provider-dialect.js'
import { writeChatRequest } from './write-request.js'

/** What Anthropic's clients say of thinking, to what speaks like OpenAI. */
function effortOf(kind: string, upstreamModel: string, said: object): unknown {
  const fields = { model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }], ...said }
  const conversation = readMessagesConversation({ fields } as unknown as RequestBody)
  if (isRefusal(conversation)) throw new Error(conversation.message)
  const losses = new Losses()
  const target = makeTarget({ origin: 'http://x', kind, upstreamModel })
  const body = JSON.parse(writeChatRequest(conversation, target, 'none', losses).toString()) as Record<string, unknown>
  expect(losses.all).toEqual([])
  return body['reasoning_effort']
}

test('a model gets only words for how much to think that it knows', () => {
  const disabled = { thinking: { type: 'disabled' } }
  expect(effortOf('openai', 'gpt-4.1', disabled)).toBeUndefined()
  expect(effortOf('vllm', 'qwen3', disabled)).toBeUndefined()
  expect(effortOf('openai', 'gpt-5.1', disabled)).toBe('none')
  const most = { thinking: { type: 'adaptive' }, output_config: { effort: 'max' } }
  expect(effortOf('openai', 'gpt-5.1', most)).toBe('high')
  expect(effortOf('openai', 'gpt-5.2', most)).toBe('xhigh')
})
