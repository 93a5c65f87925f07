import { connect, type Socket } from 'node:net'

/**
 * A client that costs little: raw sockets, ready-made requests, responses read only for their end. Closed loop (each
 * connection asks again when it has its answer) or open loop (requests leave at their instants whatever came back, on a
 * connection of their own if need be, so that a slow server cannot slow the load down).
 */
export interface LoadTarget {
  readonly url: string
  readonly apiKey?: string
  /** Further header lines, `name: value`. */
  readonly headers?: readonly string[]
}

export interface LoadResult {
  readonly requestCount: number
  readonly seconds: number
  /** Milliseconds, ascending. */
  readonly latenciesMs: number[]
  readonly failedCount: number
}

const body = (stream: boolean) =>
  JSON.stringify({
    model: 'chat',
    messages: [
      { role: 'system', content: 'You are a helpful assistant that answers briefly and to the point. '.repeat(4) },
      {
        role: 'user',
        content: `${'Tell me what the quick brown fox does, in the style of a technical manual. '.repeat(8)} Nr. ${number}`,
      },
    ],
    temperature: 0.2,
    max_tokens: 256,
    user: 'user-4711',
    ...(stream ? { stream: true } : {}),
  })

/** Where a request has its number: no two are the same, so that no cache has an answer. */
const number = '0000000000'
let requestCount = 0

/** `bytes` of a request with a number of its own. They must not be on their way any more. */
function numbered(bytes: Buffer, at: number): Buffer {
  bytes.write(String(++requestCount).padStart(number.length, '0'), at, 'latin1')
  return bytes
}

function requestBytes(target: LoadTarget, stream: boolean): Buffer {
  const text = body(stream)
  const head = [
    'POST /v1/chat/completions HTTP/1.1',
    `host: ${new URL(target.url).host}`,
    'content-type: application/json',
    'accept: application/json',
    'user-agent: OpenAI/JS 7.55.0',
    'x-stainless-lang: js',
    'x-stainless-package-version: 7.55.0',
    'x-stainless-runtime: node',
    `authorization: Bearer ${target.apiKey ?? 'none'}`,
    `content-length: ${Buffer.byteLength(text)}`,
    ...(target.headers ?? []),
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${text}`)
}

const streamEnd = Buffer.from('\r\n0\r\n\r\n')

/** One keep-alive connection with one request at a time. */
class Connection {
  busy = false
  onDone: (ok: boolean) => void = () => {}
  readonly #socket: Socket
  readonly #stream: boolean
  readonly #bytes: Buffer
  readonly #numberAt: number
  #need = -1
  #ok = true
  #tail: Buffer = Buffer.alloc(0)

  constructor(target: LoadTarget, stream: boolean) {
    const { hostname, port } = new URL(target.url)
    this.#stream = stream
    this.#bytes = requestBytes(target, stream)
    this.#numberAt = this.#bytes.indexOf(number)
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true })
    this.#socket.on('data', (data) => this.#onData(data))
    this.#socket.on('error', () => this.#finish(false))
  }

  /** One at a time: whoever answered it has read it whole. */
  send(): void {
    this.busy = true
    this.#need = -1
    this.#tail = Buffer.alloc(0)
    this.#socket.write(numbered(this.#bytes, this.#numberAt))
  }

  close(): void {
    this.onDone = () => {}
    this.#socket.destroy()
  }

  #onData(data: Buffer) {
    if (!this.busy) return
    if (this.#need === -1) {
      const head = this.#tail.length === 0 ? data : Buffer.concat([this.#tail, data])
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) {
        this.#tail = head
        return
      }
      const text = head.toString('latin1', 0, end)
      this.#ok = text.startsWith('HTTP/1.1 200')
      const length = /content-length: (\d+)/i.exec(text)?.[1]
      if (length === undefined && !this.#stream) return this.#finish(false)
      this.#need = length === undefined ? Number.POSITIVE_INFINITY : end + 4 + Number(length) - head.length
      if (this.#need === Number.POSITIVE_INFINITY) return this.#lookForEnd(head)
      if (this.#need <= 0) this.#finish(this.#ok)
      return
    }
    if (this.#need === Number.POSITIVE_INFINITY) return this.#lookForEnd(data)
    this.#need -= data.length
    if (this.#need <= 0) this.#finish(this.#ok)
  }

  #lookForEnd(data: Buffer) {
    const seen = data.length >= streamEnd.length ? data : Buffer.concat([this.#tail, data])
    this.#tail = seen.subarray(Math.max(0, seen.length - streamEnd.length))
    if (this.#tail.equals(streamEnd)) this.#finish(this.#ok)
  }

  #finish(ok: boolean): void {
    this.busy = false
    this.onDone(ok)
  }
}

const nowMs = () => performance.now()

/** Connections that each ask again as soon as they have their answer, in as many slices as wanted. */
export class ClosedLoad {
  readonly #connections: Connection[]

  constructor(target: LoadTarget, options: { readonly stream: boolean; readonly connectionCount: number }) {
    this.#connections = Array.from({ length: options.connectionCount }, () => new Connection(target, options.stream))
  }

  /** Asks for `durationMs`; what is under way then is awaited. */
  run(durationMs: number): Promise<LoadResult> {
    const latenciesMs: number[] = []
    let failedCount = 0
    let open = this.#connections.length
    const startMs = nowMs()
    return new Promise((resolve) => {
      for (const connection of this.#connections) {
        let sentMs = nowMs()
        connection.onDone = (ok) => {
          const doneMs = nowMs()
          if (ok) latenciesMs.push(doneMs - sentMs)
          else failedCount += 1
          if (ok && doneMs - startMs < durationMs) {
            sentMs = doneMs
            connection.send()
            return
          }
          open -= 1
          if (open > 0) return
          latenciesMs.sort((a, b) => a - b)
          resolve({ requestCount: latenciesMs.length, seconds: (nowMs() - startMs) / 1000, latenciesMs, failedCount })
        }
        connection.send()
      }
    })
  }

  close(): void {
    for (const connection of this.#connections) connection.close()
  }
}

/** Requests at a steady `ratePerSecond` for `durationMs`, on as many connections as that takes. */
export function loadOpen(
  target: LoadTarget,
  options: { ratePerSecond: number; durationMs: number },
): Promise<LoadResult> {
  const latenciesMs: number[] = []
  const idle: Connection[] = []
  const all: Connection[] = []
  let failedCount = 0
  let sentCount = 0
  let doneCount = 0
  const total = Math.floor((options.ratePerSecond * options.durationMs) / 1000)
  const startMs = nowMs()
  return new Promise((resolve) => {
    const finish = () => {
      for (const connection of all) connection.close()
      latenciesMs.sort((a, b) => a - b)
      resolve({ requestCount: latenciesMs.length, seconds: (nowMs() - startMs) / 1000, latenciesMs, failedCount })
    }
    const send = () => {
      let connection = idle.pop()
      if (connection === undefined) {
        connection = new Connection(target, false)
        all.push(connection)
      }
      const used = connection
      const sentMs = nowMs()
      used.onDone = (ok) => {
        if (ok) {
          latenciesMs.push(nowMs() - sentMs)
          idle.push(used)
        } else failedCount += 1
        doneCount += 1
        if (doneCount === total) finish()
      }
      used.send()
    }
    const pump = () => {
      const elapsedMs = nowMs() - startMs
      while (sentCount < total && (sentCount * 1000) / options.ratePerSecond <= elapsedMs) {
        send()
        sentCount += 1
      }
      if (sentCount < total) setTimeout(pump, 1)
    }
    pump()
  })
}
