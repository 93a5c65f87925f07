import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import type { Finish } from '../../conversation/chat-answer.js'
import type { ChatEvent, ChatStreamWriter } from '../../conversation/chat-event.js'
import type { AnswerContext } from '../../request/ports.js'
import { newAnswerId } from '../chat-completions/write-answer.js'
import { messageUsage, stopReasonOf } from './write-answer.js'

/**
 * A stream of message events: one block after the other, each opened and closed. Source: Anthropic's documentation,
 * "Streaming Messages". Input tokens that the vendor tells only at the end stand in `message_delta`, where Anthropic's
 * clients look for them too.
 */
type Block = 'text' | 'thinking' | 'tool_use'

export class MessageEventWriter implements ChatStreamWriter {
  #hasBegun = false
  #id: string
  #model: string
  #blockCount = 0
  #block: Block | null = null
  #finish: Finish = { reason: 'stop', stopSequence: null }

  constructor(context: AnswerContext) {
    this.#id = newAnswerId('msg_')
    this.#model = context.model
  }

  write(event: ChatEvent): string {
    switch (event.type) {
      case 'start':
        this.#id = event.id ?? this.#id
        this.#model = event.model ?? this.#model
        return ''
      case 'text':
      case 'refusal':
        return this.#in('text', { type: 'text_delta', text: event.text })
      case 'reasoning':
        return this.#in('thinking', { type: 'thinking_delta', thinking: event.text })
      case 'reasoning_signature':
        // It ends its thought: another one that follows has a block and a signature of its own.
        return this.#in('thinking', { type: 'signature_delta', signature: event.signature }) + this.#close()
      case 'reasoning_redacted':
        return (
          this.#begin() + this.#close() + this.#open({ type: 'redacted_thinking', data: event.data }) + this.#close()
        )
      case 'tool_call':
        return this.#begin() + this.#close() + this.#open(toolUse(event.id, event.name), 'tool_use')
      case 'tool_arguments':
        return this.#delta({ type: 'input_json_delta', partial_json: event.text })
      case 'finish':
        this.#finish = event.finish
        return this.#begin()
      default:
        return ''
    }
  }

  end(usage: TokenUsage | null): string {
    return (
      this.#begin() +
      this.#close() +
      eventText('message_delta', {
        delta: { stop_reason: stopReasonOf(this.#finish.reason), stop_sequence: this.#finish.stopSequence },
        usage: messageUsage(usage),
      }) +
      eventText('message_stop', {})
    )
  }

  #begin(): string {
    if (this.#hasBegun) return ''
    this.#hasBegun = true
    return eventText('message_start', {
      message: {
        id: this.#id,
        type: 'message',
        role: 'assistant',
        model: this.#model,
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: messageUsage(null),
      },
    })
  }

  /** A delta within a block of that kind, opened where none is open. */
  #in(block: 'text' | 'thinking', delta: object): string {
    if (this.#block === block) return this.#delta(delta)
    const opening = block === 'text' ? { type: 'text', text: '' } : { type: 'thinking', thinking: '', signature: '' }
    return this.#begin() + this.#close() + this.#open(opening, block) + this.#delta(delta)
  }

  #open(content_block: object, block: Block | null = null): string {
    this.#block = block ?? 'text'
    return eventText('content_block_start', { index: this.#blockCount, content_block })
  }

  #delta(delta: object): string {
    return eventText('content_block_delta', { index: this.#blockCount, delta })
  }

  #close(): string {
    if (this.#block === null) return ''
    this.#block = null
    return eventText('content_block_stop', { index: this.#blockCount++ })
  }
}

function toolUse(id: string, name: string): object {
  return { type: 'tool_use', id, name, input: {} }
}

function eventText(type: string, rest: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`
}
