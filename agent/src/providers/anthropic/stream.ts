import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import type { ChatEvent } from '../../conversation/chat-event.js'
import { parseJsonObject } from '../../conversation/json-object.js'
import type { StreamReader } from '../provider-dialect.js'
import { SaidText } from '../said-text.js'
import { SseSplitter } from '../sse-splitter.js'
import { MessageEvents } from './read-events.js'

const eventBytesMax = 4 * 1024 * 1024

/** Reads a stream of message events as it passes; the bytes go on as they came. */
export class MessageStreamReader implements StreamReader {
  readonly contentType = 'text/event-stream'
  started = false
  done = false
  finished = false
  malformed = false
  tail: Buffer | null = null
  error: string | null = null
  usage: TokenUsage | null = null
  model: string | null = null

  readonly #splitter = new SseSplitter(eventBytesMax)
  readonly #events = new MessageEvents(null)
  readonly #said = new SaidText()

  push(chunk: Buffer): Buffer | null {
    const splitter = this.#splitter
    splitter.feed(chunk)
    const { bytes } = splitter
    let end = 0
    while (!this.#hasEnded && splitter.next()) {
      if (splitter.dataCount > 0) this.#read(splitter.dataText())
      // The terminal event waits in `tail`; a broken one and an error are answered by the caller, not passed on.
      end = this.#hasEnded ? splitter.eventStart : splitter.eventEnd
      if (this.done) this.tail = Buffer.from(bytes.subarray(splitter.eventStart, splitter.eventEnd))
    }
    if (splitter.overflown) this.malformed = true
    splitter.keepRest()
    return end === 0 ? null : bytes.subarray(0, end)
  }

  end(): Buffer | null {
    if (this.#splitter.restBytes === 0 || this.#hasEnded) return null
    return this.push(Buffer.from('\n\n'))
  }

  deliveredText(): string {
    return this.#said.toString()
  }

  get #hasEnded(): boolean {
    return this.done || this.malformed || this.error !== null
  }

  #read(text: string): void {
    const fields = parseJsonObject(text)
    if (fields === null) this.malformed = true
    else this.#events.read(fields, this.#take)
  }

  readonly #take = (event: ChatEvent): void => {
    switch (event.type) {
      case 'start':
        this.model = event.model
        return
      case 'usage':
        this.usage = event.usage
        if (event.final) this.#said.clear()
        return
      case 'error':
        this.error = event.message
        return
      case 'malformed':
        this.malformed = true
        return
      case 'done':
        this.done = true
        return
      case 'finish':
        this.started = true
        this.finished = true
        return
      case 'text':
      case 'reasoning':
      case 'refusal':
      case 'tool_arguments':
        this.#said.add(event.text)
    }
    this.started = true
  }
}
