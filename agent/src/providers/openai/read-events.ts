import type { ChatEventReader, TakeEvent } from '../../conversation/chat-event.js'
import { isJsonObject, type JsonObject, objectsOf, textOf } from '../../conversation/json-object.js'
import { type SseData, SseFields } from '../sse-fields.js'
import { usageOf } from './answer.js'
import { finishOf, logprobsOf, reasoningIn } from './read-answer.js'

/** Reads a stream of chat completion chunks as events. */
export class OpenaiEventReader implements ChatEventReader {
  readonly #sse = new SseFields()
  #hasBegun = false
  /** Index of the tool call whose arguments are coming; -1 before the first. */
  #callIndex = -1

  push(chunk: Buffer, take: TakeEvent) {
    this.#sse.push(chunk, (data) => this.#read(data, take))
    if (this.#sse.malformed) take({ type: 'malformed' })
  }

  end(take: TakeEvent) {
    this.#sse.end((data) => this.#read(data, take))
    if (this.#sse.malformed) take({ type: 'malformed' })
  }

  #read(data: SseData, take: TakeEvent) {
    if ('text' in data) return take(data.text === '[DONE]' ? { type: 'done' } : { type: 'malformed' })
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
    if (reason !== null && reason !== '') take({ type: 'finish', finish: finishOf(choice) })
  }

  #readDelta(delta: JsonObject, choice: JsonObject, take: TakeEvent) {
    const reasoning = reasoningIn(delta)
    if (reasoning !== '') take({ type: 'reasoning', text: reasoning })
    const text = textOf(delta['content'])
    if (text !== null && text !== '') take({ type: 'text', text, logprobs: logprobsOf(choice['logprobs']) })
    const refusal = textOf(delta['refusal'])
    if (refusal !== null && refusal !== '') take({ type: 'refusal', text: refusal })
    for (const call of objectsOf(delta['tool_calls'])) this.#readCall(call, take)
  }

  #readCall(call: JsonObject, take: TakeEvent) {
    const index = typeof call['index'] === 'number' ? call['index'] : this.#callIndex + (call['id'] ? 1 : 0)
    const called = isJsonObject(call['function']) ? call['function'] : {}
    if (index > this.#callIndex) {
      this.#callIndex = index
      take({ type: 'tool_call', id: textOf(call['id']) ?? `call_${index}`, name: textOf(called['name']) ?? '' })
    } else if (index < this.#callIndex) {
      // Pieces of two calls in turns: no server does it, and no other language can say it.
      return take({ type: 'malformed' })
    }
    const text = textOf(called['arguments'])
    if (text !== null && text !== '') take({ type: 'tool_arguments', text })
  }
}
