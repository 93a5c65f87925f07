import { crc32 } from 'node:zlib'
import { EventStreamCodec } from '@smithy/eventstream-codec'

/**
 * Messages of AWS's binary event stream, wherever the network cut them:
 *
 *     total length · length of headers · CRC of these two · headers · payload · CRC of all before
 *
 * Each message is gathered into memory of exactly its own size, announced by its first twelve bytes and trusted only once
 * their own checksum fits; so every byte is copied once, and no length in a message can make anything be read beyond it.
 * Source: AWS's documentation "Event stream encoding" (Amazon Transcribe, the same in all services) and Smithy's
 * "Amazon Event Stream Specification".
 */
export interface EventMessage {
  /** Of headers that are texts; others are left out. */
  readonly headers: Readonly<Record<string, string>>
  readonly payload: Uint8Array
}

const preludeBytes = 12
/** A message without headers and payload: the prelude and the last checksum. */
const messageBytesMin = 16
/** As for events of other vendors; AWS's own limit is 24 MiB, for services that stream files. */
const messageBytesMax = 4 * 1024 * 1024

export class EventMessages {
  /** Something passed that is not this protocol: a checksum that does not fit, or a message above the bound. */
  malformed = false
  readonly #codec = new EventStreamCodec(textOf, Buffer.from)
  /** What is being gathered: a prelude, or the message that it announced. */
  #memory = Buffer.allocUnsafeSlow(preludeBytes)
  #filledBytes = 0

  /** A message has begun and is not whole. */
  get isPartial(): boolean {
    return this.#filledBytes > 0
  }

  push(chunk: Buffer, take: (message: EventMessage) => void) {
    for (let at = 0; at < chunk.length && !this.malformed; ) {
      const count = chunk.copy(this.#memory, this.#filledBytes, at)
      at += count
      this.#filledBytes += count
      if (this.#filledBytes < this.#memory.length) return
      if (this.#filledBytes === preludeBytes) this.#open()
      else this.#close(take)
    }
  }

  /** The prelude is there: makes room for what it announces. */
  #open() {
    const prelude = this.#memory
    const totalBytes = prelude.readUInt32BE(0)
    const fits =
      crc32(prelude.subarray(0, 8)) === prelude.readUInt32BE(8) &&
      totalBytes >= messageBytesMin &&
      totalBytes <= messageBytesMax &&
      prelude.readUInt32BE(4) <= totalBytes - messageBytesMin
    if (!fits) {
      this.malformed = true
      return
    }
    this.#memory = Buffer.allocUnsafeSlow(totalBytes)
    prelude.copy(this.#memory)
  }

  #close(take: (message: EventMessage) => void) {
    const message = this.#decode()
    this.#memory = Buffer.allocUnsafeSlow(preludeBytes)
    this.#filledBytes = 0
    if (message === null) this.malformed = true
    else take(message)
  }

  #decode(): EventMessage | null {
    try {
      const { headers, body } = this.#codec.decode(this.#memory)
      const texts: Record<string, string> = Object.create(null)
      for (const [name, { type, value }] of Object.entries(headers)) if (type === 'string') texts[name] = value
      return { headers: texts, payload: body }
    } catch {
      return null
    }
  }
}

function textOf(bytes: Uint8Array | string): string {
  return typeof bytes === 'string'
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}
