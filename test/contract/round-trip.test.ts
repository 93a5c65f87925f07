import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ChatAnswer } from '../../agent/src/conversation/chat-answer.js'
import type { ChatEvent } from '../../agent/src/conversation/chat-event.js'
import type {
  AssistantPart,
  Conversation,
  ToolCallPart,
  Turn,
  UserPart,
} from '../../agent/src/conversation/conversation.js'
import { Losses } from '../../agent/src/conversation/losses.js'
import { chatFieldNames, readChatConversation } from '../../agent/src/doors/chat-completions/read-conversation.js'
import { writeChatAnswer } from '../../agent/src/doors/chat-completions/write-answer.js'
import { ChatChunkWriter } from '../../agent/src/doors/chat-completions/write-stream.js'
import { messageFieldNames, readMessagesConversation } from '../../agent/src/doors/messages/read-conversation.js'
import { writeMessageAnswer } from '../../agent/src/doors/messages/write-answer.js'
import { MessageEventWriter } from '../../agent/src/doors/messages/write-stream.js'
import { readMessageAnswer } from '../../agent/src/providers/anthropic/read-answer.js'
import { AnthropicEventReader } from '../../agent/src/providers/anthropic/read-events.js'
import { writeMessageRequest } from '../../agent/src/providers/anthropic/write-request.js'
import { readChatAnswer } from '../../agent/src/providers/openai/read-answer.js'
import { OpenaiEventReader } from '../../agent/src/providers/openai/read-events.js'
import { writeChatRequest } from '../../agent/src/providers/openai/write-request.js'
import type { RequestBody } from '../../agent/src/providers/provider-dialect.js'
import { isRefusal } from '../../proto/std/refusal.js'
import { makeTarget } from '../harness/agent-door.js'

/**
 * What a provider writes, the door of the same wire reads back as it was; what a door writes, the provider's reader reads
 * back as it was. So neither side of a wire can drop, merge or reorder anything without the other noticing.
 */
const word = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }).map((text) => `w${text}`)
const name = fc.stringMatching(/^[a-z_]{1,8}$/)
const argumentsText = fc
  .dictionary(name, fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null)), { maxKeys: 3 })
  .map((value) => JSON.stringify(value))
const text = word.map((said) => ({ type: 'text' as const, at: '', text: said }))
const image = fc.constantFrom('image/png', 'image/jpeg').map((mediaType) => ({
  ...{ type: 'image' as const, at: '', detail: null },
  source: { kind: 'base64' as const, mediaType, data: 'AAAA' },
}))

/** A user speaks, a model answers, with or without calls, and so on; every call gets its result. */
const turns: fc.Arbitrary<Turn[]> = fc
  .array(
    fc.record({
      said: fc.array(fc.oneof(text, image), { minLength: 1, maxLength: 3 }),
      answered: fc.array(text, { minLength: 1, maxLength: 2 }),
      calls: fc.array(fc.record({ name, argumentsText, result: text }), { maxLength: 3 }),
    }),
    { minLength: 1, maxLength: 4 },
  )
  .map((rounds) => {
    const made: Turn[] = []
    let results: UserPart[] = []
    let count = 0
    for (const { said, answered, calls } of rounds) {
      made.push({ role: 'user', at: '', parts: [...results, ...said] })
      const called = calls.map((call): ToolCallPart => {
        count += 1
        return { type: 'tool_call', at: '', id: `call_${count}`, name: call.name, argumentsText: call.argumentsText }
      })
      const parts: AssistantPart[] = [...answered, ...called]
      made.push({ role: 'assistant', at: '', parts })
      results = calls.map((call, index) => ({
        ...{ type: 'tool_result' as const, at: '', callId: called[index]?.id ?? '', isError: false },
        parts: [call.result],
      }))
    }
    made.push({ role: 'user', at: '', parts: [...results, { type: 'text', at: '', text: 'end' }] })
    return made
  })

const conversation: fc.Arbitrary<Conversation> = fc.record({
  system: fc.array(text, { maxLength: 2 }),
  turns,
  tools: fc.uniqueArray(
    fc.record({
      ...{ at: fc.constant(''), name, description: fc.option(word), strict: fc.option(fc.boolean()) },
      parameters: fc.constant({ type: 'object', properties: { a: { type: 'string' } } }),
    }),
    { minLength: 1, maxLength: 3, selector: (tool) => tool.name },
  ),
  toolChoice: fc.option(
    fc.constantFrom({ type: 'auto' as const }, { type: 'required' as const }, { type: 'none' as const }),
  ),
  parallelToolCalls: fc.constant(null),
  answerFormat: fc.constant(null),
  settings: fc.record({
    outputTokensMax: fc.integer({ min: 1, max: 9_999 }),
    temperature: fc.option(fc.constantFrom(0, 0.25, 0.5)),
    topP: fc.option(fc.constantFrom(0.5, 0.9)),
    topK: fc.constant(null),
    stop: fc.array(word, { maxLength: 3 }),
    seed: fc.constant(null),
    frequencyPenalty: fc.constant(null),
    presencePenalty: fc.constant(null),
    logprobs: fc.constant(null),
  }),
  reasoning: fc.constant(null),
  user: fc.option(word),
  stream: fc.boolean(),
  names: fc.constant(chatFieldNames),
  losses: fc.constant([]),
})

/** The same with instructions behind some of what the user says. */
const instructed: fc.Arbitrary<Conversation> = fc
  .tuple(conversation, fc.array(fc.boolean(), { minLength: 1, maxLength: 9 }), text)
  .map(([one, where, said]) => ({
    ...one,
    settings: { ...one.settings, temperature: null, topP: null },
    turns: one.turns.flatMap((turn, index): Turn[] =>
      turn.role === 'user' && where[index % where.length] ? [turn, { role: 'system', at: '', parts: [said] }] : [turn],
    ),
  }))

const context = { requestId: 'req_1', createdAtSeconds: 1, model: 'm', wantsUsage: true, body: {} as RequestBody }

/** Without what belongs to one body: places and names. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, member) => (key === 'at' || key === 'names' ? undefined : member)))
}

function bodyOf(bytes: Buffer): RequestBody {
  return { fields: JSON.parse(bytes.toString()) } as RequestBody
}

describe('a conversation', () => {
  test('written for OpenAI is read back by OpenAI’s door', () => {
    const target = makeTarget({ origin: 'http://x', kind: 'openai' })
    fc.assert(
      fc.property(conversation, (one) => {
        const losses = new Losses()
        const read = readChatConversation(bodyOf(writeChatRequest(one, target, 'final', losses)))
        if (isRefusal(read)) throw new Error(read.message)
        expect(losses.all).toEqual([])
        expect(plain(read)).toEqual(plain(one))
      }),
    )
  })

  test('written for Anthropic is read back by Anthropic’s door', () => {
    const target = makeTarget({ origin: 'http://x', kind: 'anthropic', upstreamModel: 'claude-sonnet-4-20250514' })
    fc.assert(
      fc.property(conversation, (one) => {
        const losses = new Losses()
        const read = readMessagesConversation(bodyOf(writeMessageRequest(one, target, 'final', losses)))
        if (isRefusal(read)) throw new Error(read.message)
        expect(losses.all).toEqual([])
        expect(plain(read)).toEqual(plain({ ...one, names: messageFieldNames }))
      }),
    )
  })

  test('with instructions in the middle is so, too, at the models that take them there', () => {
    const openai = makeTarget({ origin: 'http://x', kind: 'openai' })
    const anthropic = makeTarget({ origin: 'http://x', kind: 'anthropic', upstreamModel: 'claude-opus-4-8' })
    fc.assert(
      fc.property(instructed, (one) => {
        const losses = new Losses()
        const there = readMessagesConversation(bodyOf(writeMessageRequest(one, anthropic, 'final', losses)))
        const here = readChatConversation(bodyOf(writeChatRequest(one, openai, 'final', losses)))
        expect(losses.all).toEqual([])
        expect(plain(there)).toEqual(plain({ ...one, names: messageFieldNames }))
        expect(plain(here)).toEqual(plain(one))
      }),
    )
  })

  test('read by one door and written for the other vendor keeps what both can say', () => {
    const openai = makeTarget({ origin: 'http://x', kind: 'openai' })
    const anthropic = makeTarget({ origin: 'http://x', kind: 'anthropic', upstreamModel: 'claude-sonnet-4-20250514' })
    fc.assert(
      fc.property(conversation, (one) => {
        const there = readMessagesConversation(bodyOf(writeMessageRequest(one, anthropic, 'final', new Losses())))
        if (isRefusal(there)) throw new Error(there.message)
        const back = readChatConversation(bodyOf(writeChatRequest(there, openai, 'final', new Losses())))
        if (isRefusal(back)) throw new Error(back.message)
        expect(plain(back)).toEqual(plain(one))
      }),
    )
  })
})

const usage = { input: 10, output: 5, cachedInput: 4, cacheWriteInput: null, reasoningOutput: null }
const finish = fc.constantFrom('stop' as const, 'length' as const)
const parts = fc.record({
  reasoning: fc.option(word),
  text: fc.option(word, { nil: 'said' }),
  calls: fc.array(fc.record({ name, argumentsText }), { maxLength: 3 }),
})

const answer: fc.Arbitrary<ChatAnswer> = fc.tuple(parts, finish).map(([{ reasoning, text: said, calls }, reason]) => ({
  id: 'id_1',
  model: 'model-1',
  parts: [
    ...(reasoning === null ? [] : [{ type: 'reasoning' as const, text: reasoning, signature: null, redacted: null }]),
    ...(said === null ? [] : [{ type: 'text' as const, text: said, logprobs: null }]),
    ...calls.map((call, index) => ({ type: 'tool_call' as const, id: `call_${index}`, ...call })),
  ],
  finish: { reason: calls.length > 0 ? ('tool_calls' as const) : reason, stopSequence: null },
  usage,
}))

const none = { answerFormat: null, tools: [] } as unknown as Conversation

describe('an answer', () => {
  test('written by OpenAI’s door is read back as OpenAI’s', () => {
    fc.assert(
      fc.property(answer, (one) => {
        expect(readChatAnswer(Buffer.from(writeChatAnswer(one, context)))).toEqual(one)
      }),
    )
  })

  test('written by Anthropic’s door is read back as Anthropic’s', () => {
    fc.assert(
      fc.property(answer, (one) => {
        const written = writeMessageAnswer(one, context)
        const read = written === null ? null : readMessageAnswer(Buffer.from(written), none)
        const signed = one.parts.map((part) => (part.type === 'reasoning' ? { ...part, signature: '' } : part))
        expect(read).toEqual({ ...one, parts: signed, usage: { ...usage, cacheWriteInput: 0 } })
      }),
    )
  })
})

function eventsOf(one: ChatAnswer): ChatEvent[] {
  return [
    { type: 'start', id: one.id, model: one.model },
    ...one.parts.flatMap((part): ChatEvent[] => {
      switch (part.type) {
        case 'tool_call':
          return [
            { type: 'tool_call', id: part.id, name: part.name },
            ...part.argumentsText.split(/(?<=:)/).map((piece) => ({ type: 'tool_arguments' as const, text: piece })),
          ]
        case 'text':
          return [...part.text].map((piece) => ({ type: 'text' as const, text: piece, logprobs: null }))
        default:
          return [{ type: 'reasoning', text: part.text }]
      }
    }),
    { type: 'finish', finish: one.finish },
  ]
}

describe('a stream', () => {
  const read = (written: string, reader: OpenaiEventReader | AnthropicEventReader): ChatEvent[] => {
    const events: ChatEvent[] = []
    reader.push(Buffer.from(written), (event) => events.push(event))
    reader.end((event) => events.push(event))
    return events
  }

  test('written by OpenAI’s door is read back as OpenAI’s', () => {
    fc.assert(
      fc.property(answer, (one) => {
        const writer = new ChatChunkWriter(context)
        const events = eventsOf(one)
        const written = events.map((event) => writer.write(event)).join('') + writer.end(usage)
        expect(read(written, new OpenaiEventReader())).toEqual([
          ...events,
          { type: 'usage', usage, final: true },
          { type: 'done' },
        ])
      }),
    )
  })

  test('written by Anthropic’s door is read back as Anthropic’s', () => {
    fc.assert(
      fc.property(answer, (one) => {
        const writer = new MessageEventWriter(context)
        const events = eventsOf(one)
        const written = events.map((event) => writer.write(event)).join('') + writer.end(usage)
        const found = read(written, new AnthropicEventReader(none)).filter(
          (event) => event.type !== 'usage' && !(event.type === 'reasoning_signature' && event.signature === ''),
        )
        expect(found).toEqual([...events, { type: 'done' }])
      }),
    )
  })
})
