import type { ServerResponse } from 'node:http'
import { openaiErrorBody } from '../doors/openai-error.js'
import type { Door, ResponseHead } from '../request/ports.js'
import { type RequestRefusal, statusOf } from '../request/request-refusal.js'

/**
 * Writing responses. Heads are flat lists of names and values: Node writes those as they are, without a look-up per name.
 */
export interface ResponseExtra {
  /** Close the connection after this response. */
  readonly closing?: boolean
  readonly allow?: string
}

/** A whole response. Does not end it when `hold` is set: the length is told, the caller ends it later. */
export function writeAnswer(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: Buffer | string,
  head: ResponseHead | null,
  extra: ResponseExtra = noExtra,
  hold = false,
): void {
  const headers = ['content-type', contentType, 'content-length', String(Buffer.byteLength(body))]
  if (head !== null) pushHead(headers, head)
  if (extra.allow !== undefined) headers.push('allow', extra.allow)
  if (extra.closing === true) headers.push('connection', 'close')
  response.writeHead(status, headers)
  if (hold) response.write(body)
  else if (typeof body === 'string' || body.length > joinedBytesMax) response.end(body)
  else response.end(body.toString('latin1'), 'latin1')
}

/** Node sends head and body in one piece when both are text, and Latin-1 is text of any bytes; longer ones are not worth the copy. */
const joinedBytesMax = 8 * 1024

/** An error in the words of `door`; null for a request that found none, which speaks OpenAI's. */
export function writeRefusal(
  response: ServerResponse,
  refusal: RequestRefusal,
  door: Door | null,
  head: ResponseHead | null,
  extra: ResponseExtra = noExtra,
  hold = false,
): void {
  const status = statusOf(refusal.code)
  const body = (door?.errorBody ?? openaiErrorBody)(refusal, status)
  writeAnswer(response, status, 'application/json', body, head, extra, hold)
}

/**
 * A streamed response. Node writes each piece of a chunked body as four (length, line end, data, line end), which costs
 * the system call twice what one buffer does; so the pieces are framed here and Node is told that there is nothing to
 * frame. Where the client speaks HTTP/1.0 the body is not chunked and ends with its connection.
 */
export class StreamWriter {
  readonly #response: ServerResponse
  readonly #isChunked: boolean

  /** Writes the head; it leaves with the first piece. */
  constructor(response: ServerResponse, head: ResponseHead, closing: boolean) {
    const headers = ['content-type', 'text/event-stream; charset=utf-8', 'cache-control', 'no-cache']
    pushHead(headers, head)
    if (closing) headers.push('connection', 'close')
    response.writeHead(200, headers)
    this.#response = response
    this.#isChunked = response.chunkedEncoding
    response.chunkedEncoding = false
  }

  /** What is written in one turn of the event loop leaves together. False: the client is slow, wait for `drain`. */
  write(bytes: Buffer): boolean {
    if (bytes.length === 0) return true
    return this.#response.write(this.#isChunked ? framed(bytes, noBytes) : bytes)
  }

  end(tail: Buffer | string | null): void {
    const bytes = tail === null ? noBytes : typeof tail === 'string' ? Buffer.from(tail) : tail
    if (this.#isChunked) this.#response.end(bytes.length === 0 ? lastChunk : framed(bytes, lastChunk))
    else this.#response.end(bytes)
  }
}

const noBytes = Buffer.alloc(0)
const lastChunk = Buffer.from('0\r\n\r\n')
const hexDigits = Buffer.from('0123456789abcdef')

/** One chunk of `bytes` (RFC 9112, section 7.1), and `after` behind it. */
function framed(bytes: Buffer, after: Buffer): Buffer {
  const { length } = bytes
  let at = 1
  while (length >>> (at * 4) > 0) at += 1
  const frame = Buffer.allocUnsafe(at + 2 + length + 2 + after.length)
  for (let digit = at - 1, rest = length; digit >= 0; digit--, rest >>>= 4) frame[digit] = hexDigits[rest & 15] ?? 0
  frame[at++] = cr
  frame[at++] = lf
  frame.set(bytes, at)
  at += length
  frame[at++] = cr
  frame[at++] = lf
  if (after.length > 0) frame.set(after, at)
  return frame
}

const cr = 0x0d
const lf = 0x0a

/** An OpenAI error as bytes of a whole HTTP response, for a request that Node could not parse. */
export function rawRefusal(refusal: RequestRefusal): string {
  const status = statusOf(refusal.code)
  const body = openaiErrorBody(refusal, status)
  return (
    `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\n` +
    `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
  )
}

const noExtra: ResponseExtra = Object.freeze({})

function pushHead(headers: string[], head: ResponseHead): void {
  headers.push('x-request-id', head.requestId, 'traceparent', head.traceparent)
  if (head.route !== null) headers.push('x-switchyard-route', head.route)
  if (head.target !== null) {
    headers.push('x-switchyard-target', head.target, 'x-switchyard-hop', String(head.hop))
  }
  if (head.fallbackReason !== null) headers.push('x-switchyard-fallback-reason', head.fallbackReason)
  if (head.dropped !== null) headers.push('x-switchyard-dropped', head.dropped)
  if (head.capped !== null) headers.push('x-switchyard-capped', head.capped)
  if (head.lastResort !== null) headers.push('x-switchyard-last-resort', head.lastResort)
  for (const text of head.cache) headers.push(text)
  if (head.retryAfterSeconds !== null) headers.push('retry-after', String(head.retryAfterSeconds))
}
