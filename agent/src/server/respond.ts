import type { ServerResponse } from 'node:http'
import type { ResponseHead } from '../request/ports.js'
import { errorBody, type RequestRefusal, statusOf } from '../request/request-refusal.js'

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
  else response.end(body)
}

/** An OpenAI error. */
export function writeRefusal(
  response: ServerResponse,
  refusal: RequestRefusal,
  head: ResponseHead | null,
  extra: ResponseExtra = noExtra,
  hold = false,
): void {
  writeAnswer(response, statusOf(refusal.code), 'application/json', errorBody(refusal), head, extra, hold)
}

/** The head of a stream, sent at once. */
export function writeStreamHead(response: ServerResponse, head: ResponseHead, closing: boolean): void {
  const headers = ['content-type', 'text/event-stream; charset=utf-8', 'cache-control', 'no-cache']
  pushHead(headers, head)
  if (closing) headers.push('connection', 'close')
  response.writeHead(200, headers)
}

/** An OpenAI error as bytes of a whole HTTP response, for a request that Node could not parse. */
export function rawRefusal(refusal: RequestRefusal): string {
  const body = errorBody(refusal)
  return (
    `HTTP/1.1 ${statusOf(refusal.code)} Refused\r\ncontent-type: application/json\r\n` +
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
  if (head.retryAfterSeconds !== null) headers.push('retry-after', String(head.retryAfterSeconds))
}
