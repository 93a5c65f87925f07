import { describe, expect, test } from 'vitest'
import { isRefusal } from '../../../../proto/std/refusal.js'
import type { RequestBody } from '../../providers/provider-dialect.js'
import { readMessagesConversation } from './read-conversation.js'

function read(block: object) {
  const fields = { model: 'm', max_tokens: 9, messages: [{ role: 'user', content: [block] }] }
  const conversation = readMessagesConversation({ fields } as unknown as RequestBody)
  if (isRefusal(conversation)) throw new Error(conversation.message)
  const losses = conversation.losses.map(({ weight, field }) => `${weight} ${field}`)
  return { parts: conversation.turns[0]?.parts ?? [], losses }
}

const at = 'messages[0].content[0]'
const plain = { type: 'text', media_type: 'text/plain', data: 'It rains.' }
const pdf = { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0=' }

describe('a document', () => {
  test('of text keeps its title, in front', () => {
    expect(read({ type: 'document', source: plain, title: 'Weather' })).toEqual({
      ...{ parts: [{ type: 'text', at, text: 'Weather\n\nIt rains.' }], losses: [] },
    })
    for (const title of [undefined, null, '']) {
      expect(read({ type: 'document', source: plain, title }).parts).toEqual([{ type: 'text', at, text: 'It rains.' }])
    }
  })

  test.each([
    ['that is to be cited loses a setting', { enabled: true }, [`setting ${at}.citations.enabled`]],
    ['that is not to be cited loses nothing', { enabled: false }, []],
    ['of which nothing is said loses nothing', null, []],
  ])('%s', (_words, citations, losses) => {
    for (const source of [plain, pdf]) expect(read({ type: 'document', source, citations }).losses).toEqual(losses)
  })

  test('cited in a text from before is a hint', () => {
    expect(read({ type: 'text', text: 'Rain.', citations: [{ type: 'char_location' }] }).losses).toEqual([
      `hint ${at}.citations`,
    ])
  })
})
