import type { AnswerPart, ChatAnswer, Finish } from '../../conversation/chat-answer.js'
import type { ChatEvent } from '../../conversation/chat-event.js'
import type { Conversation } from '../../conversation/conversation.js'
import { parseJsonObject } from '../../conversation/json-object.js'
import { ContentEvents } from './read-events.js'

/**
 * A whole answer is one response of those that a stream sends many of, so it is read as a stream of one; null when the
 * bytes are none, or tell that the model failed.
 */
export function readContentAnswer(bytes: Buffer, conversation: Conversation): ChatAnswer | null {
  const response = parseJsonObject(bytes.toString('utf8'))
  if (response === null) return null
  const gathered = new GatheredAnswer()
  new ContentEvents(conversation).read(response, gathered.take)
  return gathered.answer()
}

type Mutable<Part> = { -readonly [Member in keyof Part]: Part[Member] }
type ReasoningPart = Mutable<Extract<AnswerPart, { type: 'reasoning' }>>

class GatheredAnswer {
  readonly #parts: Mutable<AnswerPart>[] = []
  #id: string | null = null
  #model: string | null = null
  #finish: Finish | null = null
  #usage: ChatAnswer['usage'] = null
  #hasFailed = false

  answer(): ChatAnswer | null {
    if (this.#finish === null || this.#hasFailed) return null
    return { id: this.#id, model: this.#model, parts: this.#parts, finish: this.#finish, usage: this.#usage }
  }

  readonly take = (event: ChatEvent): void => {
    const last = this.#parts.at(-1)
    switch (event.type) {
      case 'start':
        this.#id = event.id
        this.#model = event.model
        break
      case 'text':
        this.#parts.push({ type: 'text', text: event.text, logprobs: event.logprobs })
        break
      case 'reasoning':
        this.#reasoning().text += event.text
        break
      case 'reasoning_signature':
        this.#reasoning().signature = event.signature
        break
      case 'tool_call':
        this.#parts.push({ type: 'tool_call', id: event.id, name: event.name, argumentsText: '' })
        break
      case 'tool_arguments':
        if (last?.type === 'tool_call') last.argumentsText += event.text
        break
      case 'finish':
        this.#finish = event.finish
        break
      case 'usage':
        this.#usage = event.usage
        break
      case 'error':
      case 'malformed':
        this.#hasFailed = true
    }
  }

  /** The one that is open, or a new one: a signature closes it. */
  #reasoning(): ReasoningPart {
    const last = this.#parts.at(-1)
    if (last?.type === 'reasoning' && last.signature === null) return last
    const opened: ReasoningPart = { type: 'reasoning', text: '', signature: null, redacted: null }
    this.#parts.push(opened)
    return opened
  }
}
