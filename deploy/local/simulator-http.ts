import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Behaviour } from './simulator-behaviour.js'
import { type ApiError, apiError } from './simulator-request.js'

const bodyBytesMax = 32 * 1024 * 1024

export function answerJson(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

export function answerText(response: ServerResponse, text: string): void {
  response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' })
  response.end(text)
}

export function textHeader(request: IncomingMessage, name: string): string | null {
  const value = request.headers[name]
  return typeof value === 'string' ? value : null
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** The JSON of a body; an `Error` that says what is wrong with it. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > bodyBytesMax) return new Error('The request body is too large.')
    parts.push(part)
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8'))
  } catch {
    return new Error('We could not parse the JSON body of your request.')
  }
}

export function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    response.once('drain', () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** An error in OpenAI's body shape. */
export function refuse(response: ServerResponse, error: ApiError): void {
  const { status, message, type, param, code } = error
  answerJson(response, status, { error: { message, type, param, code } })
}

/** The 429, with the headers by which clients know when to come back. */
export function rateLimited(behaviour: Behaviour, response: ServerResponse): ApiError {
  response.setHeader('retry-after', Math.max(1, Math.ceil(behaviour.retryAfterMs / 1_000)))
  response.setHeader('retry-after-ms', behaviour.retryAfterMs)
  if (!response.hasHeader('x-ratelimit-limit-requests')) {
    response.setHeader('x-ratelimit-limit-requests', 1)
    response.setHeader('x-ratelimit-remaining-requests', 0)
    response.setHeader('x-ratelimit-reset-requests', `${Math.ceil(behaviour.retryAfterMs / 1_000)}s`)
  }
  return apiError(429, 'Rate limit reached for the simulator: requests per minute. Please try again later.', {
    type: 'requests',
    code: 'rate_limit_exceeded',
  })
}
