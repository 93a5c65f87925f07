import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Service } from '../../../proto/std/service.js'
import type { Metrics } from './metrics.js'

/** `GET /metrics` on a port of its own, so that it can be kept from the users of the API. */
export class MetricsServer implements Service {
  readonly name = 'metrics-server'
  readonly #metrics: Metrics
  readonly #host: string
  readonly #port: number
  readonly #server: Server

  constructor(options: { readonly metrics: Metrics; readonly host: string; readonly port: number }) {
    this.#metrics = options.metrics
    this.#host = options.host
    this.#port = options.port
    this.#server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
      void this.#answer(request, response)
    })
  }

  /** `host:port` as bound. */
  get address(): string {
    const { address, family, port } = this.#server.address() as AddressInfo
    return `${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.#port, this.#host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' || request.url?.split('?')[0] !== '/metrics') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('GET /metrics\n')
      return
    }
    try {
      const text = await this.#metrics.text()
      response.writeHead(200, { 'content-type': this.#metrics.contentType }).end(text)
    } catch {
      response.writeHead(500, { 'content-type': 'text/plain' }).end('metrics could not be collected\n')
    }
  }
}
