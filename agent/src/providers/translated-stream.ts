import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { ChatEvent, ChatEventReader, ChatStreamWriter } from '../conversation/chat-event.js'
import type { StreamReader } from './provider-dialect.js'
import { SaidText } from './said-text.js'

/** A stream that leaves in other words than it came in: the provider's events, read, and written as the client's. */
export class TranslatedStream implements StreamReader {
  readonly contentType: string
  started = false
  done = false
  finished = false
  malformed = false
  tail: Buffer | null = null
  error: string | null = null
  usage: TokenUsage | null = null
  model: string | null = null

  readonly #reader: ChatEventReader
  readonly #writer: ChatStreamWriter
  #out = ''
  readonly #said = new SaidText()

  constructor(options: { contentType: string; reader: ChatEventReader; writer: ChatStreamWriter }) {
    this.contentType = options.contentType
    this.#reader = options.reader
    this.#writer = options.writer
  }

  push(chunk: Buffer): Buffer | null {
    this.#reader.push(chunk, this.#take)
    return this.#flush()
  }

  end(): Buffer | null {
    if (this.#hasEnded) return null
    this.#reader.end(this.#take)
    // A vendor's terminal event may be missing where the answer itself came to its end.
    if (!this.#hasEnded && this.finished) this.#finish()
    return this.#flush()
  }

  deliveredText(): string {
    return this.#said.toString()
  }

  get #hasEnded(): boolean {
    return this.done || this.malformed || this.error !== null
  }

  readonly #take = (event: ChatEvent) => {
    if (this.#hasEnded) return
    switch (event.type) {
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
        return this.#finish()
      case 'start':
        this.model = event.model ?? this.model
        break
      case 'finish':
        this.started = true
        this.finished = true
        break
      default:
        // Silence after a head is silence: the first thing said is what the first-token deadline waits for.
        this.started = true
        this.#said.add(saidIn(event))
    }
    this.#out += this.#writer.write(event)
  }

  #finish() {
    this.tail = Buffer.from(this.#writer.end(this.usage))
    this.done = true
  }

  #flush(): Buffer | null {
    if (this.#out === '') return null
    const bytes = Buffer.from(this.#out)
    this.#out = ''
    return bytes
  }
}

/** What of an event the vendor generated. */
function saidIn(event: ChatEvent): string {
  switch (event.type) {
    case 'text':
    case 'refusal':
    case 'reasoning':
    case 'tool_arguments':
      return event.text
    case 'tool_call':
      return event.name
    default:
      return ''
  }
}
