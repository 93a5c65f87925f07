import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { isJsonObject, type JsonObject, parseJsonObject, textOf } from '../../conversation/json-object.js'
import type { StreamReader } from '../provider-dialect.js'
import { SaidText } from '../said-text.js'
import { SseSplitter } from '../sse-splitter.js'
import { responseFacts } from './response-usage.js'

/**
 * Reads a stream of response events as it passes; the bytes go on as they came. Source: OpenAI's API reference, "Streaming
 * events" of the Responses API.
 *
 * The first events repeat the request (instructions, tools) and come long before the model has said anything. They are
 * held here until it has, so that another target can still be asked. The terminal event repeats the whole answer, pictures
 * included, which is why the bound of one event is higher than for other wires.
 */
const eventBytesMax = 32 * 1024 * 1024
/** Of the events held: two repetitions of a request of the largest size that agents take by default, and some. */
const headBytesMax = 48 * 1024 * 1024

/** Events that open something: until something is said in it, that is silence. */
const silentTypes: ReadonlySet<string> = new Set([
  'keepalive',
  'response.created',
  'response.queued',
  'response.in_progress',
  'response.output_item.added',
  'response.content_part.added',
  'response.reasoning_summary_part.added',
])

export class ResponseStreamReader implements StreamReader {
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
  readonly #said = new SaidText()
  #head: Buffer[] = []
  #headBytes = 0

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
    return this.#release(end === 0 ? null : bytes.subarray(0, end))
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

  /** Holds what comes before something is said, and gives it then. */
  #release(bytes: Buffer | null): Buffer | null {
    if (this.started) {
      if (this.#headBytes === 0) return bytes
      const head = bytes === null ? this.#head : [...this.#head, bytes]
      this.#head = []
      this.#headBytes = 0
      return Buffer.concat(head)
    }
    if (bytes === null) return null
    this.#headBytes += bytes.length
    if (this.#headBytes > headBytesMax) this.malformed = true
    else this.#head.push(Buffer.from(bytes))
    return null
  }

  #read(text: string): void {
    const event = parseJsonObject(text)
    const type = textOf(event?.['type'])
    if (event === null || (type === null && !isJsonObject(event['error']))) {
      this.malformed = true
      return
    }
    const { response } = event
    switch (type) {
      case 'response.completed':
      case 'response.incomplete':
        if (!isJsonObject(response)) {
          this.malformed = true
          return
        }
        this.#readResponse(response)
        this.started = true
        this.finished = true
        this.done = true
        return
      case 'response.failed':
        if (isJsonObject(response)) this.#readResponse(response)
        this.error = messageOf(isJsonObject(response) ? response['error'] : null)
        return
      case 'error':
      case null:
        // Documented flat; OpenAI itself sends it within `error`, as other errors.
        this.error = messageOf(isJsonObject(event['error']) ? event['error'] : event)
        return
    }
    if (isJsonObject(response)) this.model = textOf(response['model']) ?? this.model
    if (silentTypes.has(type)) {
      this.#said.add(nameIn(event['item']))
      return
    }
    this.started = true
    if (type.endsWith('.delta') && type !== 'response.audio.delta') this.#said.add(textOf(event['delta']) ?? '')
  }

  #readResponse(response: JsonObject): void {
    const { usage, model } = responseFacts(response)
    this.model = model ?? this.model
    if (usage === null) return
    this.usage = usage
    this.#said.clear()
  }
}

/** A call begins with the name of its tool, which the model has generated too. */
function nameIn(item: unknown): string {
  return isJsonObject(item) && item['type'] === 'function_call' ? (textOf(item['name']) ?? '') : ''
}

function messageOf(error: unknown): string {
  const message = isJsonObject(error) ? textOf(error['message']) : null
  return message ?? 'the upstream reported an error'
}
