import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import type { ChatEvent, ChatStreamWriter } from '../../conversation/chat-event.js'
import type { AnswerContext } from '../../request/ports.js'
import { chatUsage, newAnswerId } from '../chat-completions/write-answer.js'
import { LogprobLists } from './logprob-lists.js'
import { completionFinishOf } from './write-answer.js'

/** A stream of completion chunks, which look like completions. Thoughts have no place in it. */
export class CompletionChunkWriter implements ChatStreamWriter {
  readonly #context: AnswerContext
  readonly #logprobs = new LogprobLists()
  #id: string
  #model: string

  constructor(context: AnswerContext) {
    this.#context = context
    this.#id = newAnswerId('cmpl-')
    this.#model = context.model
  }

  write(event: ChatEvent): string {
    switch (event.type) {
      case 'start':
        this.#id = event.id ?? this.#id
        this.#model = event.model ?? this.#model
        return ''
      case 'text':
        return this.#choice(event.text, this.#logprobs.next(event.logprobs ?? []), null)
      case 'refusal':
        return this.#choice(event.text, null, null)
      case 'finish':
        return this.#choice('', null, completionFinishOf(event.finish.reason))
      default:
        return ''
    }
  }

  end(usage: TokenUsage | null): string {
    const { wantsUsage } = this.#context
    const told = wantsUsage && usage !== null ? this.#event({ choices: [], usage: chatUsage(usage) }) : ''
    return `${told}data: [DONE]\n\n`
  }

  #choice(text: string, logprobs: object | null, finishReason: string | null): string {
    return this.#event({
      choices: [{ text, index: 0, logprobs, finish_reason: finishReason }],
      // A client that asked for usage gets the member in every chunk, null until the last.
      ...(this.#context.wantsUsage ? { usage: null } : {}),
    })
  }

  #event(rest: object): string {
    const chunk = {
      id: this.#id,
      object: 'text_completion',
      created: this.#context.createdAtSeconds,
      model: this.#model,
      ...rest,
    }
    return `data: ${JSON.stringify(chunk)}\n\n`
  }
}
