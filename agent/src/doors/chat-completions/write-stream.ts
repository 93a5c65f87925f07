import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import type { ChatEvent, ChatStreamWriter } from '../../conversation/chat-event.js'
import type { AnswerContext } from '../../request/ports.js'
import { chatUsage, finishReasonOf, logprobsOf, newAnswerId } from './write-answer.js'

/** A stream of chat completion chunks. Source: OpenAI's API reference, "The chat completion chunk object". */
export class ChatChunkWriter implements ChatStreamWriter {
  readonly #context: AnswerContext
  #id: string
  #model: string
  #hasBegun = false
  #callCount = 0

  constructor(context: AnswerContext) {
    this.#context = context
    this.#id = newAnswerId('chatcmpl-')
    this.#model = context.model
  }

  write(event: ChatEvent): string {
    switch (event.type) {
      case 'start':
        this.#id = event.id ?? this.#id
        this.#model = event.model ?? this.#model
        return ''
      case 'text':
        return this.#chunk({ content: event.text }, null, event.logprobs === null ? null : logprobsOf(event.logprobs))
      case 'refusal':
        return this.#chunk({ refusal: event.text })
      case 'reasoning':
        return this.#chunk({ reasoning_content: event.text })
      case 'tool_call':
        this.#callCount += 1
        return this.#toolCall({ id: event.id, type: 'function', function: { name: event.name, arguments: '' } })
      case 'tool_arguments':
        return this.#toolCall({ function: { arguments: event.text } })
      case 'finish':
        return this.#chunk({}, finishReasonOf(event.finish.reason))
      default:
        return ''
    }
  }

  end(usage: TokenUsage | null): string {
    const { wantsUsage } = this.#context
    const told = wantsUsage && usage !== null ? this.#event({ choices: [], usage: chatUsage(usage) }) : ''
    return `${told}data: [DONE]\n\n`
  }

  #toolCall(call: object): string {
    return this.#chunk({ tool_calls: [{ index: this.#callCount - 1, ...call }] })
  }

  #chunk(delta: object, finishReason: string | null = null, logprobs: object | null = null): string {
    const first = this.#hasBegun ? {} : { role: 'assistant', content: '' }
    this.#hasBegun = true
    return this.#event({
      choices: [{ index: 0, delta: { ...first, ...delta }, logprobs, finish_reason: finishReason }],
      // A client that asked for usage gets the member in every chunk, null until the last.
      ...(this.#context.wantsUsage ? { usage: null } : {}),
    })
  }

  #event(rest: object): string {
    const chunk = {
      id: this.#id,
      object: 'chat.completion.chunk',
      created: this.#context.createdAtSeconds,
      model: this.#model,
      ...rest,
    }
    return `data: ${JSON.stringify(chunk)}\n\n`
  }
}
