import { SseSplitter } from './sse-splitter.js'

/**
 * Server-sent events whose data is a JSON object each: what every vendor but one sends. `[DONE]` and other texts come as
 * they are.
 */
export type SseData = { readonly fields: Readonly<Record<string, unknown>> } | { readonly text: string }

const eventBytesMax = 4 * 1024 * 1024

export class SseFields {
  /** Something passed that is not this protocol, or an event grew above the bound. */
  malformed = false
  readonly #splitter = new SseSplitter(eventBytesMax)

  push(chunk: Buffer, take: (data: SseData) => void) {
    const splitter = this.#splitter
    splitter.feed(chunk)
    while (!this.malformed && splitter.next()) {
      if (splitter.dataCount > 0) this.#read(splitter.dataText(), take)
    }
    if (splitter.overflown) this.malformed = true
    splitter.keepRest()
  }

  /** A last event without its empty line still counts. */
  end(take: (data: SseData) => void) {
    if (this.#splitter.restBytes > 0) this.push(Buffer.from('\n\n'), take)
  }

  #read(text: string, take: (data: SseData) => void) {
    const trimmed = text.trim()
    if (trimmed === '') return
    if (!trimmed.startsWith('{')) return take({ text: trimmed })
    try {
      take({ fields: JSON.parse(trimmed) as Readonly<Record<string, unknown>> })
    } catch {
      this.malformed = true
    }
  }
}
