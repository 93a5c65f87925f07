import { expect, test } from 'vitest'
import { isRefusal } from '../../../proto/std/refusal.js'
import type { ChatAnswer } from '../conversation/chat-answer.js'
import type { Door } from '../request/ports.js'
import { doorOf } from './door-table.js'

const bodies = {
  chat_completions: { model: 'm', messages: [{ role: 'user', content: 'hi' }] },
  completions: { model: 'm', prompt: 'hi' },
  messages: { model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] },
  responses: { model: 'm', input: 'hi' },
}
const said: ChatAnswer = {
  ...{ id: null, model: null, usage: null, parts: [{ type: 'text', text: 'Hello.', logprobs: null }] },
  finish: { reason: 'stop', stopSequence: null },
}

/** The texts that a client is sent of one answer: whole, and as a stream. */
function told(door: Door, requestId: string, id: string | null): string[] {
  const body = door.parse(Buffer.from(JSON.stringify(bodies[door.operation as keyof typeof bodies])))
  if (isRefusal(body) || door.conversation === null) throw new Error('it is a conversation')
  const context = { requestId, createdAtSeconds: 1, model: 'm', wantsUsage: false, body }
  const writer = door.conversation.streamWriter(context)
  const stream =
    writer.write({ type: 'start', id, model: null }) +
    writer.write({ type: 'text', text: 'Hello.', logprobs: null }) +
    writer.write({ type: 'finish', finish: said.finish }) +
    writer.end(null)
  return [door.conversation.writeAnswer({ ...said, id }, context) ?? '', stream]
}

const idIn = (text: string) => /"id":"([^"]+)"/.exec(text)?.[1]

test.each(Object.keys(bodies) as (keyof typeof bodies)[])(
  'an answer at the door %s that its vendor gave no id has one of its own, and nothing of the request’s',
  (operation) => {
    const door = doorOf(operation)
    const once = told(door, 'order-4711', null)
    const ids = [...once, ...told(door, 'order-4711', null)].map(idIn)
    expect(ids).not.toContain(undefined)
    expect(new Set(ids).size).toBe(4)
    for (const text of once) expect(text).not.toMatch(/order-?4711/)
    for (const text of told(door, 'order-4711', 'theirs1')) expect(text).toMatch(/theirs1/)
  },
)
