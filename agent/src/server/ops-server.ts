import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Service } from '../../../proto/std/service.js'
import type { AgentMetrics } from '../telemetry/metrics.js'
import { type Health, writeHealthy, writeReadiness } from './health.js'
import { writeAnswer } from './respond.js'

export interface OpsServerOptions {
  readonly host: string
  readonly port: number
  readonly metrics: AgentMetrics
  readonly health: Health
}

/** The door for operators: `/metrics`, `/healthz`, `/readyz`. A port of its own, so that clients never reach it. */
export class OpsServer implements Service {
  readonly name = 'ops-server'
  readonly #options: OpsServerOptions
  readonly #server: Server

  constructor(options: OpsServerOptions) {
    this.#options = options
    this.#server = createServer({ maxHeaderSize: 16 * 1024, requestTimeout: 10_000 }, (request, response) => {
      void this.#onRequest(request, response)
    })
    this.#server.maxConnections = 64
  }

  get address(): { readonly host: string; readonly port: number } {
    const address = this.#server.address() as AddressInfo | null
    return { host: this.#options.host, port: address?.port ?? this.#options.port }
  }

  run(): Promise<void> {
    const { host, port } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#server.listening) return resolve()
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '/').replace(/\?.*$/s, '')
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return writeAnswer(response, 405, 'text/plain', 'GET only\n', null, { allow: 'GET, HEAD' })
    }
    switch (path) {
      case '/metrics':
        return writeAnswer(response, 200, this.#options.metrics.contentType, await this.#options.metrics.text(), null)
      case '/healthz':
        return writeHealthy(response)
      case '/readyz':
        return writeReadiness(response, this.#options.health)
      default:
        return writeAnswer(response, 404, 'text/plain', 'try /metrics, /healthz or /readyz\n', null)
    }
  }
}
