import type { TokenLogprob } from '../../conversation/chat-answer.js'
import type { CarriedThought } from '../../providers/openai/carried-thought.js'
import {
  type Call,
  callItem,
  type ItemStatus,
  logprobOf,
  messageItem,
  refusalPart,
  type ThoughtPlace,
  textPart,
  thoughtItem,
  thoughtPart,
} from './output-items.js'

/**
 * The item of a streamed response that is being said, as the events that open it, add to it and close it. Source: OpenAI's
 * API reference, "Streaming events" of the Responses API: every item and every part of one is opened, told piece by piece,
 * told whole, and closed.
 */
export interface OpenItem {
  open(): Frame[]
  /** Whole, as it stands now. */
  item(status: ItemStatus): object
  close(status: ItemStatus): Frame[]
}

/** One event without its number. */
export interface Frame {
  readonly type: string
  readonly [member: string]: unknown
}

/** Where an item stands: its id, and its place in the output. */
export interface ItemPlace {
  readonly id: string
  readonly index: number
}

function added(item: OpenItem, { index }: ItemPlace): Frame {
  return { type: 'response.output_item.added', output_index: index, item: item.item('in_progress') }
}

function done(item: OpenItem, { index }: ItemPlace, status: ItemStatus): Frame {
  return { type: 'response.output_item.done', output_index: index, item: item.item(status) }
}

type SaidType = 'output_text' | 'refusal'

export class OpenMessage implements OpenItem {
  readonly #place: ItemPlace
  readonly #content: object[] = []
  #part: { readonly type: SaidType; text: string; readonly logprobs: TokenLogprob[] } | null = null

  constructor(place: ItemPlace) {
    this.#place = place
  }

  open(): Frame[] {
    return [added(this, this.#place)]
  }

  say(type: SaidType, text: string, logprobs: readonly TokenLogprob[]): Frame[] {
    const frames: Frame[] = []
    if (this.#part?.type !== type) {
      frames.push(...this.#closePart())
      this.#part = { type, text: '', logprobs: [] }
      frames.push({ type: 'response.content_part.added', ...this.#at(), part: this.#written() })
    }
    this.#part.text += text
    this.#part.logprobs.push(...logprobs)
    const delta = { type: `response.${type}.delta`, ...this.#at(), delta: text }
    frames.push(type === 'output_text' ? { ...delta, logprobs: logprobs.map(logprobOf) } : delta)
    return frames
  }

  close(status: ItemStatus): Frame[] {
    return [...this.#closePart(), done(this, this.#place, status)]
  }

  item(status: ItemStatus): object {
    return messageItem(this.#place.id, status, [...this.#content])
  }

  #closePart(): Frame[] {
    const part = this.#part
    if (part === null) return []
    const { type, text, logprobs } = part
    const written = this.#written()
    const whole = type === 'output_text' ? { text, logprobs: logprobs.map(logprobOf) } : { refusal: text }
    const frames: Frame[] = [
      { type: `response.${type}.done`, ...this.#at(), ...whole },
      { type: 'response.content_part.done', ...this.#at(), part: written },
    ]
    this.#content.push(written)
    this.#part = null
    return frames
  }

  #written(): object {
    const { type = 'output_text', text = '', logprobs = [] } = this.#part ?? {}
    return type === 'output_text' ? textPart(text, logprobs) : refusalPart(text)
  }

  #at(): object {
    return { item_id: this.#place.id, output_index: this.#place.index, content_index: this.#content.length }
  }
}

/** Thoughts, in the item's content or in its summary, which have names of their own for the same events. */
export class OpenThought implements OpenItem {
  readonly #place: ItemPlace
  readonly #in: ThoughtPlace
  #thought: CarriedThought

  constructor(place: ItemPlace, thoughtPlace: ThoughtPlace, redacted: string | null = null) {
    this.#place = place
    this.#in = thoughtPlace
    this.#thought = { text: '', signature: null, redacted }
  }

  open(): Frame[] {
    return [added(this, this.#place)]
  }

  say(text: string): Frame[] {
    if (text === '') return []
    const isFirst = this.#thought.text === ''
    this.#thought = { ...this.#thought, text: this.#thought.text + text }
    const delta = { type: `${this.#names.text}.delta`, ...this.#at(), delta: text }
    return isFirst ? [{ type: `${this.#names.part}.added`, ...this.#at(), part: this.#part('') }, delta] : [delta]
  }

  sign(signature: string): void {
    this.#thought = { ...this.#thought, signature }
  }

  close(status: ItemStatus): Frame[] {
    const { text } = this.#thought
    const end = done(this, this.#place, status)
    if (text === '') return [end]
    return [
      { type: `${this.#names.text}.done`, ...this.#at(), text },
      { type: `${this.#names.part}.done`, ...this.#at(), part: this.#part(text) },
      end,
    ]
  }

  item(status: ItemStatus): object {
    return thoughtItem(this.#place.id, status, this.#thought, this.#in)
  }

  get #names() {
    return this.#in === 'summary'
      ? { part: 'response.reasoning_summary_part', text: 'response.reasoning_summary_text' }
      : { part: 'response.content_part', text: 'response.reasoning_text' }
  }

  #part(text: string): object {
    return thoughtPart(text, this.#in)
  }

  #at(): object {
    const indexName = this.#in === 'summary' ? 'summary_index' : 'content_index'
    return { item_id: this.#place.id, output_index: this.#place.index, [indexName]: 0 }
  }
}

export class OpenCall implements OpenItem {
  readonly #place: ItemPlace
  #call: Call

  constructor(place: ItemPlace, callId: string, name: string) {
    this.#place = place
    this.#call = { callId, name, argumentsText: '' }
  }

  open(): Frame[] {
    return [added(this, this.#place)]
  }

  say(text: string): Frame[] {
    this.#call = { ...this.#call, argumentsText: this.#call.argumentsText + text }
    return [{ type: 'response.function_call_arguments.delta', ...this.#at(), delta: text }]
  }

  close(status: ItemStatus): Frame[] {
    // A call of a tool that takes nothing is a call with an empty object, and some vendors say nothing instead.
    const missing = this.#call.argumentsText === '' && status === 'completed' ? this.say('{}') : []
    return [
      ...missing,
      { type: 'response.function_call_arguments.done', ...this.#at(), arguments: this.#call.argumentsText },
      done(this, this.#place, status),
    ]
  }

  item(status: ItemStatus): object {
    return callItem(this.#place.id, status, this.#call)
  }

  #at(): object {
    return { item_id: this.#place.id, output_index: this.#place.index }
  }
}
