import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/**
 * A vendor that cannot run here: speaks its wire to the byte, verifies what it is sent as the vendor would (and more
 * strictly: a member that the vendor does not document is a problem), and answers as it is told, in the vendor's words.
 */
export interface VendorAnswer {
  readonly reasoning?: string
  /** Comes in several pieces when streamed. */
  readonly text?: string
  readonly toolCalls?: readonly { readonly id: string; readonly name: string; readonly input: object }[]
  /** Default: `tool_calls` where there are any, otherwise `stop`. */
  readonly finish?: 'stop' | 'stop_sequence' | 'length' | 'tool_calls' | 'content_filter' | 'refusal'
  readonly stopSequence?: string
  readonly usage?: VendorUsage
  /** The connection breaks after so many pieces of the answer. */
  readonly cutAfter?: number
  /** The vendor's own error event (or what it has for one) after so many pieces of the answer. */
  readonly errorAfter?: number
}

/** Subsets are part of their whole, as our records count; each fake writes them as its vendor counts. */
export interface VendorUsage {
  readonly input: number
  readonly cached?: number
  readonly written?: number
  readonly output: number
  readonly reasoning?: number
}

export interface VendorFault {
  readonly status: number
  readonly message: string
  readonly retryAfterSeconds?: number
}

export type VendorScript = VendorAnswer | VendorFault

export interface VendorRequest {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
  /** Parsed; null when it is no JSON. */
  readonly body: Record<string, unknown> | null
}

export const plainUsage: VendorUsage = { input: 21, output: 9 }
export const plainAnswer: VendorAnswer = { text: 'Hello there, how are you today?', usage: plainUsage }

export abstract class VendorFake {
  /** What provider records call it. */
  abstract readonly kind: string
  /** Path of the base URL. */
  abstract readonly basePath: string
  readonly received: VendorRequest[] = []
  /** Everything that the vendor would not have taken; a test that passes leaves it empty. */
  readonly problems: string[] = []
  /** Off: what is not documented is taken too, for tests of what passes untouched. */
  strict = true
  readonly #scripts: VendorScript[] = []
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const { method = '', url = '', headers } = request
        const bytes = Buffer.concat(chunks)
        void this.#serve({ method, path: url, headers, bytes, body: objectIn(bytes) }, response)
      })
    })
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The body of the last request. */
  get lastBody(): Record<string, unknown> {
    const body = this.received.at(-1)?.body
    if (!body) throw new Error('nothing was received')
    return body
  }

  /** What to answer next, in order; when there is none left it is `plainAnswer`. */
  willAnswer(...scripts: VendorScript[]): void {
    this.#scripts.push(...scripts)
  }

  /** Answers one request. `problems` that were found are answered as the vendor's own 400. */
  protected abstract answer(request: VendorRequest, script: VendorScript, response: ServerResponse): Promise<void>
  /** What is wrong with a request: the vendor's own rules, one sentence each. */
  protected abstract verify(request: VendorRequest): readonly string[]
  /** An error in the vendor's words. */
  protected abstract fault(fault: VendorFault, response: ServerResponse): void

  async #serve(request: VendorRequest, response: ServerResponse): Promise<void> {
    this.received.push(request)
    const problems = this.strict ? this.verify(request) : []
    this.problems.push(...problems)
    if (problems.length > 0) return this.fault({ status: 400, message: problems.join(' ') }, response)
    const script = this.#scripts.shift() ?? plainAnswer
    if ('status' in script) return this.fault(script, response)
    try {
      await this.answer(request, script, response)
    } catch (fault) {
      this.problems.push(`the fake failed: ${String(fault)}`)
      response.destroy()
    }
  }
}

/** A text in pieces of unequal length, as models send it; never an empty one. */
export function piecesOf(text: string, size = 7): string[] {
  const pieces: string[] = []
  for (let at = 0; at < text.length; at += size) pieces.push(text.slice(at, at + size))
  return pieces
}

/** Members of `value` that are not in `known`, with the path in front: what the vendor does not document. */
export function unknownMembers(value: unknown, known: readonly string[], path: string): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path} is not an object.`]
  return Object.keys(value)
    .filter((name) => !known.includes(name))
    .map((name) => `${path}.${name} is not known.`)
}

export function writeJson(response: ServerResponse, status: number, value: unknown, headers: object = {}): void {
  const body = JSON.stringify(value)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...headers,
  })
  response.end(body)
}

/** Lets the event loop turn, so that pieces leave as packets of their own. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function objectIn(bytes: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null
  } catch {
    return null
  }
}

/** The objects in an array; anything else holds none. */
export function objectsIn(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value)
    ? value.filter((item) => typeof item === 'object' && item !== null && !Array.isArray(item))
    : []
}
