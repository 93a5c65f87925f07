import { expect, test } from 'vitest'
import { isRefusal } from '../../../../proto/std/refusal.js'
import type { RequestBody } from '../../providers/provider-dialect.js'
import { readChatConversation } from './read-conversation.js'

function lossesOf(fields: object): string[] {
  const conversation = readChatConversation({ fields: { model: 'm', ...fields } } as unknown as RequestBody)
  if (isRefusal(conversation)) throw new Error(conversation.message)
  return conversation.losses.map(({ weight, field }) => `${weight} ${field}`)
}

const cache_control = { type: 'ephemeral' }
const user = { role: 'user', content: 'hi' }
const text = { type: 'text', text: 'hi', cache_control }
const image = { type: 'image_url', image_url: { url: 'https://example.com/a.png' }, cache_control }
const call = { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }

test.each([
  ['the body', { messages: [user], cache_control }, 'cache_control'],
  ['a message', { messages: [{ ...user, cache_control }] }, 'messages[0].cache_control'],
  ['instructions', { messages: [{ role: 'system', content: [text] }, user] }, 'messages[0].content[0].cache_control'],
  ['a text', { messages: [{ role: 'user', content: [text] }] }, 'messages[0].content[0].cache_control'],
  ['a picture', { messages: [{ role: 'user', content: [image] }] }, 'messages[0].content[0].cache_control'],
  ['an answer', { messages: [user, { role: 'assistant', content: [text] }] }, 'messages[1].content[0].cache_control'],
  [
    'a call',
    { messages: [user, { role: 'assistant', tool_calls: [{ ...call, cache_control }] }] },
    'messages[1].tool_calls[0].cache_control',
  ],
  [
    'a result',
    { messages: [user, { role: 'tool', tool_call_id: 'a', content: [text] }] },
    'messages[1].content[0].cache_control',
  ],
  [
    'a tool',
    { messages: [user], tools: [{ type: 'function', function: { name: 'f' }, cache_control }] },
    'tools[0].cache_control',
  ],
  [
    'a function',
    { messages: [user], tools: [{ type: 'function', function: { name: 'f', cache_control } }] },
    'tools[0].function.cache_control',
  ],
])('a mark for Anthropic’s cache on %s is a hint', (_words, fields, field) => {
  expect(lossesOf(fields)).toEqual([`hint ${field}`])
})
