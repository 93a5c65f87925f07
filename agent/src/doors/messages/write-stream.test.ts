import { expect, test } from 'vitest'
import type { ChatEvent } from '../../conversation/chat-event.js'
import type { RequestBody } from '../../providers/provider-dialect.js'
import { MessageEventWriter } from './write-stream.js'

const context = { requestId: 'r', createdAtSeconds: 1, model: 'm', wantsUsage: true, body: {} as RequestBody }

/** What a client puts together of the events. */
function blocks(...events: ChatEvent[]): object[] {
  const writer = new MessageEventWriter(context)
  const written = events.map((event) => writer.write(event)).join('') + writer.end(null)
  const found: Record<string, unknown>[] = []
  for (const line of written.split('\n')) {
    if (!line.startsWith('data: ')) continue
    const { type, index, content_block, delta } = JSON.parse(line.slice(6))
    if (type === 'content_block_start') found[index] = { ...content_block, isOpen: true }
    const block = found[index]
    if (block === undefined) continue
    if (type === 'content_block_stop') delete block['isOpen']
    if (type !== 'content_block_delta') continue
    expect(block['isOpen']).toBe(true)
    for (const name of ['thinking', 'signature', 'text'])
      if (name in delta) block[name] = `${block[name]}${delta[name]}`
  }
  return found
}

test('every signed thought has a block and a signature of its own', () => {
  const thought = (text: string): ChatEvent => ({ type: 'reasoning', text })
  const signed = (signature: string): ChatEvent => ({ type: 'reasoning_signature', signature })
  expect(
    blocks(thought('o'), thought('ne'), signed('s1'), thought('two'), signed('s2'), signed('s3'), {
      ...{ type: 'text', text: 'Hi.', logprobs: null },
    }),
  ).toEqual([
    { type: 'thinking', thinking: 'one', signature: 's1' },
    { type: 'thinking', thinking: 'two', signature: 's2' },
    { type: 'thinking', thinking: '', signature: 's3' },
    { type: 'text', text: 'Hi.' },
  ])
})
