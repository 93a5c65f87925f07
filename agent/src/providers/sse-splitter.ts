/**
 * Cuts a byte stream into server-sent events, wherever the network cut it. Lines end with LF or CRLF (a lone CR, which
 * the standard also allows, is used by no inference server and is taken as a byte of its line). Bytes are looked at once
 * and copied only when an event is not yet whole, so the usual chunk of whole events costs two native searches per event.
 *
 *     splitter.feed(chunk)
 *     while (splitter.next()) use(splitter.bytes, splitter.eventStart, splitter.eventEnd)
 *     splitter.keepRest()
 *
 * What `bytes` shows of finished events stays valid after `keepRest`: the rest moves to memory of its own.
 */
const lf = 0x0a
const cr = 0x0d
const empty = Buffer.alloc(0)

export class SseSplitter {
  /** What the offsets below refer to. */
  bytes: Buffer = empty
  /** The event that `next` found, its terminating empty line included. */
  eventStart = 0
  eventEnd = 0
  /** `data` lines of that event; with exactly one, it lies at [dataStart, dataEnd). */
  dataCount = 0
  dataStart = 0
  dataEnd = 0
  /** An event grew beyond the bound; nothing more is to be read. */
  overflown = false

  /** Memory of our own behind `bytes`, with room to grow; null while `bytes` is the chunk itself. */
  #memory: Buffer | null = null
  #next = 0
  #lineStart = 0
  #scanned = 0
  #openDataCount = 0
  #openDataStart = 0
  #openDataEnd = 0
  readonly #eventBytesMax: number

  constructor(eventBytesMax: number) {
    this.#eventBytesMax = eventBytesMax
  }

  /** Bytes of the event that is not whole yet. */
  get restBytes(): number {
    return this.bytes.length - this.#next
  }

  feed(chunk: Buffer): void {
    const held = this.bytes.length
    if (held === 0) {
      this.bytes = chunk
      this.#memory = null
      return
    }
    const length = held + chunk.length
    let memory = this.#memory
    if (memory === null || length > memory.length) {
      memory = Buffer.allocUnsafeSlow(length * 2)
      this.bytes.copy(memory)
      this.#memory = memory
    }
    chunk.copy(memory, held)
    this.bytes = memory.subarray(0, length)
  }

  /** True when another whole event is there. */
  next(): boolean {
    const bytes = this.bytes
    for (;;) {
      const end = bytes.indexOf(lf, this.#scanned)
      if (end === -1) {
        this.#scanned = bytes.length
        if (bytes.length - this.#next > this.#eventBytesMax) this.overflown = true
        return false
      }
      const lineStart = this.#lineStart
      const lineEnd = end > lineStart && bytes[end - 1] === cr ? end - 1 : end
      this.#lineStart = end + 1
      this.#scanned = end + 1
      if (lineEnd > lineStart) {
        if (isData(bytes, lineStart, lineEnd)) {
          this.#openDataCount += 1
          this.#openDataStart = bytes[lineStart + 5] === 0x20 ? lineStart + 6 : lineStart + 5
          this.#openDataEnd = lineEnd
        }
        continue
      }
      this.eventStart = this.#next
      this.eventEnd = end + 1
      this.dataCount = this.#openDataCount
      this.dataStart = this.#openDataStart
      this.dataEnd = this.#openDataEnd
      this.#openDataCount = 0
      this.#next = end + 1
      return true
    }
  }

  /** All `data` lines of the event, joined by a line feed as the standard says. */
  dataText(): string {
    if (this.dataCount === 1) return this.bytes.toString('utf8', this.dataStart, this.dataEnd)
    return this.bytes
      .toString('utf8', this.eventStart, this.eventEnd)
      .split(/\r?\n/)
      .filter((line) => line.startsWith('data:'))
      .map((line) => line.slice(line[5] === ' ' ? 6 : 5))
      .join('\n')
  }

  /** Keeps what belongs to the next event and lets go of the rest. */
  keepRest(): void {
    const next = this.#next
    const rest = this.bytes.length - next
    if (rest === 0) {
      this.bytes = empty
      this.#memory = null
      this.#lineStart = 0
      this.#scanned = 0
    } else if (next > 0 || this.#memory === null) {
      const memory = Buffer.allocUnsafeSlow(Math.max(512, rest * 2))
      this.bytes.copy(memory, 0, next)
      this.#memory = memory
      this.bytes = memory.subarray(0, rest)
      this.#lineStart -= next
      this.#scanned -= next
      this.#openDataStart -= next
      this.#openDataEnd -= next
    }
    this.#next = 0
  }
}

function isData(bytes: Buffer, start: number, end: number): boolean {
  return (
    end - start >= 5 &&
    bytes[start] === 0x64 &&
    bytes[start + 1] === 0x61 &&
    bytes[start + 2] === 0x74 &&
    bytes[start + 3] === 0x61 &&
    bytes[start + 4] === 0x3a
  )
}
