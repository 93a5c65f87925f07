import type { ChatEventReader, TakeEvent } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { isJsonObject, type JsonObject, parseJsonObject, textOf } from '../../conversation/json-object.js'
import { tokensOf } from './answer.js'
import { type EventMessage, EventMessages } from './event-stream.js'
import { isJsonTool } from './json-tool.js'
import { finishOf, isServerTool } from './read-answer.js'

/**
 * Reads a stream of Converse's events: messageStart, the blocks one after the other, messageStop, metadata.
 *
 * There is no terminal event. `metadata` is documented to come last, after messageStop, and is the only one that tells the
 * usage: so the stream is done once both are there. Done at messageStop the usage would be lost; done at the end of the
 * bytes a connection that AWS keeps open would hold the client for as long. A stream that ends after messageStop without
 * `metadata` is whole all the same, its usage then counted by us. Source: AWS's Bedrock API reference, "ConverseStream".
 */
export class ConverseEventReader implements ChatEventReader {
  readonly #messages = new EventMessages()
  readonly #conversation: Conversation
  /** Index of the block whose deltas are arguments of a call; null outside of one. */
  #toolBlock: number | null = null
  /** Index of the last block that calls a tool which runs at AWS. */
  #serverToolBlock: number | null = null
  /** The block that is open is our own tool for JSON: its arguments are the answer's text. */
  #isJsonAnswer = false
  #hasArguments = false
  #hasCalled = false
  #hasStopped = false
  #isUnreadable = false
  #hasUsage = false
  #hasEnded = false

  constructor(conversation: Conversation) {
    this.#conversation = conversation
  }

  push(chunk: Buffer, take: TakeEvent) {
    if (this.#hasEnded) return
    this.#messages.push(chunk, (message) => {
      if (!this.#hasEnded) this.#read(message, take)
    })
    if (this.#messages.malformed && !this.#hasEnded) this.#break(take)
  }

  end(take: TakeEvent) {
    if (this.#hasEnded) return
    if (this.#messages.isPartial) this.#break(take)
    else if (this.#isUnreadable) this.#fail(unreadable, take)
  }

  #break(take: TakeEvent) {
    this.#hasEnded = true
    take({ type: 'malformed' })
  }

  #fail(message: string, take: TakeEvent) {
    this.#hasEnded = true
    take({ type: 'error', message })
  }

  #read({ headers, payload }: EventMessage, take: TakeEvent) {
    const fields = parseJsonObject(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8'))
    switch (headers[':message-type']) {
      case 'event':
        return fields === null ? this.#break(take) : this.#readEvent(headers[':event-type'] ?? '', fields, take)
      case 'exception':
        return this.#fail(textOf(fields?.['message']) ?? `the upstream reported ${headers[':exception-type']}`, take)
      case 'error':
        return this.#fail(headers[':error-message'] ?? `the upstream reported ${headers[':error-code']}`, take)
      default:
        return this.#break(take)
    }
  }

  #readEvent(type: string, fields: JsonObject, take: TakeEvent) {
    switch (type) {
      case 'messageStart':
        return take({ type: 'start', id: null, model: null })
      case 'contentBlockStart':
        return this.#readStart(fields, take)
      case 'contentBlockDelta':
        return this.#readDelta(fields, take)
      case 'contentBlockStop':
        return this.#closeTool(take)
      case 'messageStop':
        return this.#readStop(fields, take)
      case 'metadata':
        return this.#readMetadata(fields, take)
      default:
      // What comes later is passed over, as AWS's own clients do.
    }
  }

  #readStart({ start, contentBlockIndex }: JsonObject, take: TakeEvent) {
    this.#closeTool(take)
    const toolUse = isJsonObject(start) ? start['toolUse'] : null
    if (!isJsonObject(toolUse)) return
    const { toolUseId: id, name } = toolUse
    if (typeof contentBlockIndex !== 'number' || typeof id !== 'string' || typeof name !== 'string') {
      return this.#break(take)
    }
    if (isServerTool(toolUse)) {
      this.#serverToolBlock = contentBlockIndex
      return
    }
    this.#toolBlock = contentBlockIndex
    this.#hasArguments = false
    this.#isJsonAnswer = isJsonTool(name, this.#conversation)
    if (this.#isJsonAnswer) return
    this.#hasCalled = true
    take({ type: 'tool_call', id, name })
  }

  #readDelta({ delta, contentBlockIndex }: JsonObject, take: TakeEvent) {
    if (!isJsonObject(delta)) return this.#break(take)
    if (contentBlockIndex !== this.#toolBlock) this.#closeTool(take)
    const { text, reasoningContent, toolUse } = delta
    if (typeof text === 'string') return text === '' ? undefined : take({ type: 'text', text, logprobs: null })
    if (isJsonObject(reasoningContent)) return this.#readReasoning(reasoningContent, take)
    if (isJsonObject(toolUse)) return this.#readArguments(toolUse, contentBlockIndex, take)
  }

  #readArguments({ input }: JsonObject, contentBlockIndex: unknown, take: TakeEvent) {
    if (contentBlockIndex === this.#serverToolBlock) return
    // Of a call that nobody announced, or that was over: whose they are cannot be told.
    if (this.#toolBlock === null || contentBlockIndex !== this.#toolBlock) return this.#break(take)
    const text = textOf(input) ?? ''
    if (text === '') return
    this.#hasArguments = true
    take(this.#isJsonAnswer ? { type: 'text', text, logprobs: null } : { type: 'tool_arguments', text })
  }

  #readReasoning({ text, signature, redactedContent }: JsonObject, take: TakeEvent) {
    if (typeof text === 'string' && text !== '') take({ type: 'reasoning', text })
    else if (typeof signature === 'string') take({ type: 'reasoning_signature', signature })
    else if (typeof redactedContent === 'string') take({ type: 'reasoning_redacted', data: redactedContent })
  }

  /** A call without arguments has none of their pieces; clients want the JSON of an object all the same. */
  #closeTool(take: TakeEvent) {
    if (this.#toolBlock !== null && !this.#hasArguments && !this.#isJsonAnswer)
      take({ type: 'tool_arguments', text: '{}' })
    this.#toolBlock = null
    this.#isJsonAnswer = false
  }

  #readStop(fields: JsonObject, take: TakeEvent) {
    this.#closeTool(take)
    const finish = finishOf(fields, this.#hasCalled)
    this.#hasStopped = true
    // Told once the usage is known: it was generated, and is billed.
    if (finish === null) this.#isUnreadable = true
    else take({ type: 'finish', finish })
    this.#complete(take)
  }

  #readMetadata({ usage }: JsonObject, take: TakeEvent) {
    const tokens = isJsonObject(usage) ? tokensOf(usage) : null
    if (tokens !== null) take({ type: 'usage', usage: tokens, final: true })
    this.#hasUsage = true
    this.#complete(take)
  }

  #complete(take: TakeEvent) {
    if (!this.#hasStopped || !this.#hasUsage) return
    if (this.#isUnreadable) return this.#fail(unreadable, take)
    this.#hasEnded = true
    take({ type: 'done' })
  }
}

const unreadable = 'The model wrote an answer that the provider could not read.'
