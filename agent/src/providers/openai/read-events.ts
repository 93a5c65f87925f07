import type { ChatEventReader, TakeEvent } from '../../conversation/chat-event.js'
import { isJsonObject, type JsonObject, objectsOf, textOf } from '../../conversation/json-object.js'
import { type SseData, SseFields } from '../sse-fields.js'
import { usageOf } from './answer.js'
import { argumentsIn, contentIn, finishOf, logprobsOf, reasoningIn } from './read-answer.js'

/** A call as its pieces come. */
interface OpenCall {
  /** As the server counts; some count every call as 0. */
  readonly index: number
  readonly id: string | null
  hasArguments: boolean
  /** Something else was said since, so nothing can be added any more. */
  isClosed: boolean
}

/** More than any model calls in one answer. */
const callsMax = 1_024

/** Reads a stream of chat completion chunks as events. */
export class OpenaiEventReader implements ChatEventReader {
  readonly #sse = new SseFields()
  #hasBegun = false
  #hasFinished = false
  /** The tool call whose arguments are coming; null before the first. */
  #call: OpenCall | null = null
  #callCount = 0
  readonly #callIds = new Set<string>()

  push(chunk: Buffer, take: TakeEvent) {
    this.#sse.push(chunk, (data) => this.#read(data, take))
    if (this.#sse.malformed) take({ type: 'malformed' })
  }

  end(take: TakeEvent) {
    this.#sse.end((data) => this.#read(data, take))
    if (this.#sse.malformed) take({ type: 'malformed' })
  }

  #read(data: SseData, take: TakeEvent) {
    if ('text' in data) {
      if (data.text !== '[DONE]') return take({ type: 'malformed' })
      if (!this.#hasFinished) this.#closeCall(take)
      return take({ type: 'done' })
    }
    const chunk = data.fields
    const error = chunk['object'] === 'error' ? chunk : chunk['error']
    if (error !== undefined && error !== null) {
      const message = isJsonObject(error) ? textOf(error['message']) : textOf(error)
      return take({ type: 'error', message: message ?? 'the upstream reported an error' })
    }
    // Only the first choice: more were not asked for.
    const choice = objectsOf(chunk['choices'])[0]
    // Azure's first chunk, about the prompt, has none and names nothing.
    if (choice && !this.#hasBegun) {
      this.#hasBegun = true
      take({ type: 'start', id: textOf(chunk['id']) || null, model: textOf(chunk['model']) || null })
    }
    if (choice) this.#readChoice(choice, take)
    const usage = usageOf(chunk)
    // A running total counts what its own chunk brought, so it comes after.
    if (usage !== null) take({ type: 'usage', usage, final: true })
  }

  #readChoice(choice: JsonObject, take: TakeEvent) {
    const delta = choice['delta']
    if (isJsonObject(delta)) this.#readDelta(delta, choice, take)
    const reason = textOf(choice['finish_reason'])
    if (reason === null || reason === '') return
    // Of a call that the limit cut off before its arguments nobody knows that it has none.
    if (reason !== 'length') this.#closeCall(take)
    this.#hasFinished = true
    take({ type: 'finish', finish: finishOf(choice, this.#callCount > 0) })
  }

  #readDelta(delta: JsonObject, choice: JsonObject, take: TakeEvent) {
    const reasoning = reasoningIn(delta)
    const text = contentIn(delta)
    const refusal = textOf(delta['refusal']) ?? ''
    if (text === null) return take({ type: 'malformed' })
    if (reasoning !== '' || text !== '' || refusal !== '') this.#closeCall(take)
    if (reasoning !== '') take({ type: 'reasoning', text: reasoning })
    if (text !== '') take({ type: 'text', text, logprobs: logprobsOf(choice['logprobs']) })
    if (refusal !== '') take({ type: 'refusal', text: refusal })
    for (const call of objectsOf(delta['tool_calls'])) this.#readCall(call, take)
  }

  #readCall(call: JsonObject, take: TakeEvent) {
    const called = isJsonObject(call['function']) ? call['function'] : {}
    const id = textOf(call['id']) || null
    const name = textOf(called['name']) ?? ''
    const text = argumentsIn(called)
    if (text === null) return take({ type: 'malformed' })
    const open = this.#call
    const index = typeof call['index'] === 'number' ? call['index'] : (open?.index ?? 0)
    // Ollama and others give every call the index 0; another call is then known by its id. A server that makes up an id for
    // every piece names the function in the first one only.
    const isOther = open !== null && id !== null && id !== open.id
    const isKnown = id !== null && this.#callIds.has(id)
    if (open === null || index > open.index || (isOther && !isKnown && name !== '' && index === open.index)) {
      if (this.#callCount === callsMax) return take({ type: 'malformed' })
      this.#openCall({ index, id, hasArguments: false, isClosed: false }, name, take)
    } else if (index < open.index || (isOther && isKnown) || (open.isClosed && text !== '')) {
      // Pieces of two calls in turns: no server does it, and no other language can say it.
      return take({ type: 'malformed' })
    }
    if (text === '' || this.#call === null) return
    this.#call.hasArguments = true
    take({ type: 'tool_arguments', text })
  }

  #openCall(call: OpenCall, name: string, take: TakeEvent) {
    this.#closeCall(take)
    if (call.id !== null) this.#callIds.add(call.id)
    take({ type: 'tool_call', id: call.id ?? `call_${this.#callCount}`, name })
    this.#call = call
    this.#callCount += 1
  }

  /** A call of which no arguments came has none. */
  #closeCall(take: TakeEvent) {
    const call = this.#call
    if (call === null || call.hasArguments || call.isClosed) return
    call.isClosed = true
    take({ type: 'tool_arguments', text: '{}' })
  }
}
