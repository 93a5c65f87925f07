import type { IncomingMessage, ServerResponse } from 'node:http'
import { assert } from '../../../proto/std/assert.js'
import type { Clock } from '../../../proto/std/clock.js'
import { refuse } from '../../../proto/std/refusal.js'
import type { RequestBody } from '../providers/provider-dialect.js'
import type { ClientCall, Door, ResponseHead } from '../request/ports.js'
import type { RequestRefusal } from '../request/request-refusal.js'
import { StreamWriter, writeAnswer, writeRefusal } from './respond.js'

export interface HttpCallOptions {
  readonly door: Door
  readonly parameter: string | null
  readonly clock: Clock
  readonly bodyBytesMax: number
  /** The client waits for `100 Continue` before it sends its body. */
  readonly expectsContinue: boolean
  /** Whether the connection is to be closed after this response. */
  readonly closing: () => boolean
}

/** An unread body up to this size is read and thrown away, so that the connection can be used again. */
const discardBytesMax = 64 * 1024
/** A larger one is read this long and this far, so that the refusal arrives before the connection is reset. */
const lingerMs = 1_000
const lingerBytesMax = 16 * 1024 * 1024

const tooLarge = (bodyBytesMax: number): RequestRefusal =>
  refuse('body_too_large', `The body is larger than ${bodyBytesMax} bytes.`)
const closed: RequestRefusal = refuse('client_closed', 'The client closed the connection.')

/** One request over `node:http` as the request room sees it. */
export class HttpCall implements ClientCall {
  readonly door: Door
  readonly parameter: string | null
  readonly startedUs: number
  readonly startedAtMs: number
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #options: HttpCallOptions
  #stream: StreamWriter | null = null
  #onClosed: (() => void) | null = null

  constructor(request: IncomingMessage, response: ServerResponse, options: HttpCallOptions) {
    this.door = options.door
    this.parameter = options.parameter
    this.startedUs = options.clock.monotonicUs()
    this.startedAtMs = options.clock.nowMs()
    this.#request = request
    this.#response = response
    this.#options = options
  }

  get gone(): boolean {
    return this.#response.destroyed || this.#response.socket?.destroyed === true
  }

  header(name: string): string | undefined {
    const value = this.#request.headers[name]
    return typeof value === 'string' ? value : undefined
  }

  readBody(): Promise<RequestBody | RequestRefusal> {
    const { bodyBytesMax } = this.#options
    const encoding = this.header('content-encoding')
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
      return Promise.resolve(
        refuse('unsupported_encoding', 'Send the body without content-encoding.', { field: 'content-encoding' }),
      )
    }
    if (this.#declaredBytes() > bodyBytesMax) return Promise.resolve(tooLarge(bodyBytesMax))
    if (this.#options.expectsContinue) this.#response.writeContinue()
    return new Promise((resolve) => {
      const request = this.#request
      const chunks: Buffer[] = []
      let length = 0
      request.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (length > bodyBytesMax) {
          request.removeAllListeners('data')
          request.pause()
          return resolve(tooLarge(bodyBytesMax))
        }
        chunks.push(chunk)
      })
      request.on('end', () => {
        const bytes = chunks.length === 1 ? (chunks[0] ?? empty) : Buffer.concat(chunks, length)
        resolve(this.door.parse(bytes))
      })
      this.#onClosed = () => resolve(closed)
    })
  }

  onGone(listener: () => void): void {
    // The response closes with its connection, also while the body is still being read.
    this.#response.on('close', () => {
      if (this.#response.writableFinished) return
      this.#onClosed?.()
      listener()
    })
  }

  refuse(refusal: RequestRefusal, head: ResponseHead): void {
    const isUnread = this.#unreadBytes() > discardBytesMax
    const closing = isUnread || this.#options.closing()
    writeRefusal(this.#response, refusal, this.door, head, { closing }, isUnread)
    if (isUnread) this.#linger()
  }

  answer(status: number, contentType: string, body: Buffer | string, head: ResponseHead): void {
    writeAnswer(this.#response, status, contentType, body, head, { closing: this.#options.closing() })
  }

  startStream(head: ResponseHead): void {
    this.#stream = new StreamWriter(this.#response, head, this.#options.closing())
  }

  write(bytes: Buffer): boolean {
    assert(this.#stream !== null, 'a stream is started before it is written to')
    return this.#stream.write(bytes)
  }

  onDrain(listener: () => void): void {
    this.#response.once('drain', listener)
  }

  endStream(tail: Buffer | string | null): void {
    assert(this.#stream !== null, 'a stream is started before it is ended')
    this.#stream.end(tail)
  }

  destroy(): void {
    this.#response.destroy()
  }

  /** Bytes that the client said it would send; 0 when it did not say. */
  #declaredBytes(): number {
    const declared = Number(this.header('content-length') ?? 0)
    return Number.isFinite(declared) ? declared : 0
  }

  #unreadBytes(): number {
    if (this.#request.complete) return 0
    const isChunked = this.header('transfer-encoding') !== undefined
    return isChunked ? Number.POSITIVE_INFINITY : this.#declaredBytes()
  }

  /** Keeps reading for a while after a refusal has been sent; then ends the response and with it the connection. */
  #linger(): void {
    const request = this.#request
    let length = 0
    const cancel = this.#options.clock.after(lingerMs, () => end())
    const end = () => {
      cancel()
      request.removeAllListeners('data')
      this.#response.end()
    }
    request.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > lingerBytesMax) end()
    })
    request.on('end', end)
    request.on('error', end)
    request.resume()
  }
}

const empty = Buffer.alloc(0)
