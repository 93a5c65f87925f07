import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { newTraceId } from '../../../../proto/std/ids.js'
import type { Finish, TokenLogprob } from '../../conversation/chat-answer.js'
import type { ChatEvent, ChatStreamWriter } from '../../conversation/chat-event.js'
import type { AnswerContext } from '../../request/ports.js'
import { type Frame, type ItemPlace, OpenCall, type OpenItem, OpenMessage, OpenThought } from './open-item.js'
import { callItemId, type ItemStatus, messageId, type ThoughtPlace, thoughtId, thoughtPlaceOf } from './output-items.js'
import { type IncompleteReason, incompleteReasonOf, responseName, responseObject } from './response-object.js'

/**
 * A stream of response events: the response is created, each item of it is opened, said and closed, and at the end the
 * whole is told once more. The wire demands that repetition, so what was said is held to the end, within a bound; a stream
 * beyond it breaks off like one that its upstream broke off.
 */
const saidLengthMax = 16 * 1024 * 1024
/** Of a log probability and its alternatives, about. */
const logprobLength = 64

export class ResponseEventWriter implements ChatStreamWriter {
  readonly #context: AnswerContext
  readonly #thoughtPlace: ThoughtPlace
  #name: string
  #model: string
  #sequenceNumber = 0
  #hasBegun = false
  #saidLength = 0
  #saidRefusal = false
  #open: OpenItem | null = null
  readonly #output: object[] = []
  #finish: Finish = { reason: 'stop', stopSequence: null }

  constructor(context: AnswerContext) {
    this.#context = context
    this.#thoughtPlace = thoughtPlaceOf(context)
    // Not the request's, which is often the client's own word: an answer that is kept is given to others.
    this.#name = responseName(newTraceId(), context)
    this.#model = context.model
  }

  write(event: ChatEvent): string {
    switch (event.type) {
      case 'start':
        if (event.id !== null) this.#name = responseName(event.id, this.#context)
        this.#model = event.model ?? this.#model
        return ''
      case 'text':
        return this.#say('output_text', event.text, event.logprobs ?? [])
      case 'refusal':
        this.#saidRefusal = true
        return this.#say('refusal', event.text, [])
      case 'reasoning':
        this.#count(event.text.length)
        return this.#inThought((thought) => thought.say(event.text))
      case 'reasoning_signature':
        return this.#inThought((thought) => {
          thought.sign(event.signature)
          return []
        }, true)
      case 'reasoning_redacted': {
        const thought = new OpenThought(this.#placeOf(thoughtId), this.#thoughtPlace, event.data)
        return this.#opened(thought) + this.#close('completed')
      }
      case 'tool_call':
        return this.#opened(new OpenCall(this.#placeOf(callItemId), event.id, event.name))
      case 'tool_arguments':
        this.#count(event.text.length)
        return this.#open instanceof OpenCall ? this.#written(this.#open.say(event.text)) : ''
      case 'finish':
        this.#finish = event.finish
        return this.#begin() + this.#close(this.#lastStatus)
      default:
        return ''
    }
  }

  end(usage: TokenUsage | null): string {
    const closed = this.#begin() + this.#close(this.#lastStatus)
    const reason = this.#incompleteReason
    const status = reason === null ? 'completed' : 'incomplete'
    const response = this.#response(status, reason, usage)
    return closed + this.#written([{ type: `response.${status}`, response }])
  }

  get #incompleteReason(): IncompleteReason | null {
    return incompleteReasonOf(this.#finish, this.#saidRefusal)
  }

  get #lastStatus(): ItemStatus {
    return this.#incompleteReason === null ? 'completed' : 'incomplete'
  }

  #begin(): string {
    if (this.#hasBegun) return ''
    this.#hasBegun = true
    const response = this.#response('in_progress', null, null)
    return this.#written([
      { type: 'response.created', response },
      { type: 'response.in_progress', response },
    ])
  }

  #response(
    status: 'in_progress' | 'completed' | 'incomplete',
    incompleteReason: IncompleteReason | null,
    usage: TokenUsage | null,
  ): object {
    return responseObject(
      { name: this.#name, model: this.#model, output: this.#output, status, incompleteReason, usage },
      this.#context,
    )
  }

  #say(type: 'output_text' | 'refusal', text: string, logprobs: readonly TokenLogprob[]): string {
    if (text === '' && logprobs.length === 0) return ''
    this.#count(text.length + logprobs.reduce((sum, { top }) => sum + (1 + top.length) * logprobLength, 0))
    if (this.#open instanceof OpenMessage) return this.#written(this.#open.say(type, text, logprobs))
    const message = new OpenMessage(this.#placeOf(messageId))
    return this.#opened(message) + this.#written(message.say(type, text, logprobs))
  }

  #inThought(say: (thought: OpenThought) => Frame[], isLast = false): string {
    let out = ''
    let thought = this.#open
    if (!(thought instanceof OpenThought)) {
      thought = new OpenThought(this.#placeOf(thoughtId), this.#thoughtPlace)
      out = this.#opened(thought)
    }
    out += this.#written(say(thought as OpenThought))
    return isLast ? out + this.#close('completed') : out
  }

  /** Where the next item stands: behind what is there, the one that is open included. */
  #placeOf(idOf: (name: string, index: number) => string): ItemPlace {
    const index = this.#output.length + (this.#open === null ? 0 : 1)
    return { id: idOf(this.#name, index), index }
  }

  /** Closes what is open and opens `item`. */
  #opened(item: OpenItem): string {
    const out = this.#begin() + this.#close('completed')
    this.#open = item
    return out + this.#written(item.open())
  }

  #close(status: ItemStatus): string {
    const item = this.#open
    if (item === null) return ''
    this.#open = null
    const out = this.#written(item.close(status))
    this.#output.push(item.item(status))
    return out
  }

  #count(length: number): void {
    this.#saidLength += length
    if (this.#saidLength > saidLengthMax) throw new AnswerTooLong()
  }

  #written(frames: readonly Frame[]): string {
    let out = ''
    for (const { type, ...rest } of frames) {
      const event = { type, sequence_number: this.#sequenceNumber, ...rest }
      this.#sequenceNumber += 1
      out += `event: ${type}\ndata: ${JSON.stringify(event)}\n\n`
    }
    return out
  }
}

/** Ends the hop: the upstream's connection is closed, and the client's stream ends with an error. */
class AnswerTooLong extends Error {
  override readonly name = 'AnswerTooLong'
  constructor() {
    super(`the answer is longer than ${saidLengthMax} characters`)
  }
}
