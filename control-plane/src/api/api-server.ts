import type { AddressInfo } from 'node:net'
import type { ApolloServer } from '@apollo/server'
import { fastifyApolloHandler } from '@as-integrations/fastify'
import fastifyCors from '@fastify/cors'
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { GraphQLSchema } from 'graphql'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal } from '../../../proto/std/refusal.js'
import type { Log, Service } from '../../../proto/std/service.js'
import type { Metrics } from '../observability/metrics.js'
import { makeApolloServer } from './apollo.js'
import type { GraphContext } from './context.js'
import { faultCode, graphCodes, refusalError } from './error-format.js'
import { registerExplorer } from './explorer.js'
import type { QueryLimits } from './query-limits.js'
import { nameRequest, requestIdHeader, requestIdOf } from './request-id.js'
import type { ResolverInstances } from './resolver-instances.js'
import { Subscriptions } from './subscriptions.js'
import { isTypedAddress } from './typed-address.js'
import { type Authentication, contextOf } from './who-asks.js'

export interface ApiServerOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  /** Null: plain HTTP. PEM texts. */
  readonly tls: { readonly certificate: string; readonly key: string } | null
  readonly schema: GraphQLSchema
  readonly resolvers: ResolverInstances
  readonly authentication: Authentication
  readonly limits: QueryLimits
  readonly introspection: boolean
  readonly explorer: boolean
  /** Exact origins of pages that may call us; `*`: all of them. */
  readonly corsOrigins: readonly string[]
  readonly requestTimeoutMs: number
  readonly socketsMax: number
  readonly subscriptionsPerSocketMax: number
  readonly recheckMs: number
  /** What must hold for `/readyz`, by name; asked at each call, within a second. */
  readonly readiness: () => Promise<Readonly<Record<string, boolean>>>
  readonly metrics: Metrics
  readonly clock: Clock
  readonly log: Log
}

export const graphPath = '/graphql'
const readinessMs = 1_000

/**
 * The door for people and their programs: `/graphql` (HTTP and WebSocket), `/explorer`, `/healthz`, `/readyz`. It
 * authenticates, limits, answers and closes; what is asked it does not know.
 */
export class ApiServer implements Service {
  readonly name = 'api-server'
  readonly #options: ApiServerOptions
  readonly #apollo: ApolloServer<GraphContext>
  readonly #subscriptions: Subscriptions
  readonly #server: FastifyInstance
  #draining = false
  #stopping: Promise<void> | null = null

  constructor(options: ApiServerOptions) {
    this.#options = options
    this.#apollo = makeApolloServer(options)
    this.#subscriptions = new Subscriptions(options)
    this.#server = makeFastify(options)
  }

  /** `http(s)://host:port` as bound. */
  get url(): string {
    const { address, family, port } = this.#server.server.address() as AddressInfo
    return `${this.#options.tls === null ? 'http' : 'https'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  async run(): Promise<void> {
    const { host, port, log } = this.#options
    await this.#apollo.start()
    await this.#register()
    this.#server.server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => socket.destroy())
      if (this.#draining || request.url?.split('?')[0] !== graphPath) {
        socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n')
        return
      }
      this.#subscriptions.upgrade(request, socket, head)
    })
    await this.#server.listen({ host, port })
    log.info({ url: this.url }, 'GraphQL is served')
  }

  /** Unready at once; what runs may finish within the deadline. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    const { clock } = this.#options
    await Promise.race([this.stop(), new Promise<void>((resolve) => clock.after(deadlineMs, resolve))])
    this.#server.server.closeAllConnections()
  }

  stop(): Promise<void> {
    this.#draining = true
    this.#stopping ??= this.#close()
    return this.#stopping
  }

  async #close(): Promise<void> {
    await this.#subscriptions.stop()
    await this.#server.close()
    await this.#apollo.stop()
  }

  async #register(): Promise<void> {
    const { authentication, resolvers, corsOrigins } = this.#options
    const server = this.#server
    await server.register(fastifyCors, corsOptions(corsOrigins))
    server.addHook('onSend', async (request, reply) => {
      reply.header(requestIdHeader, request.id)
      reply.header('x-content-type-options', 'nosniff')
      // Chrome asks once more before a public page (Apollo Sandbox) may call a private address.
      const isPrivate = request.headers['access-control-request-private-network'] === 'true'
      if (isPrivate && reply.hasHeader('access-control-allow-origin')) {
        reply.header('access-control-allow-private-network', 'true')
      }
    })
    const answer = fastifyApolloHandler(this.#apollo, {
      context: async (request: FastifyRequest) => {
        const context = await contextOf(authentication, resolvers, request.headers.authorization, request.id)
        if (!isRefusal(context)) return context
        throw refusalError(context, request.id, context.code === 'unavailable' ? 503 : 401)
      },
    })
    server.route({
      method: ['GET', 'POST'],
      url: graphPath,
      preHandler: async (request, reply) => {
        if (!isTypedAddress(request)) return
        const people = this.#options.explorer ? '; for people there is /explorer' : ''
        const message = `GraphQL is asked by POST with content-type: application/json${people}`
        return reply.code(400).send(problem('BAD_REQUEST', message, request.id))
      },
      handler: async (request, reply) => {
        const body: unknown = await answer.call(server, request, reply)
        return typeof body === 'string' && reply.statusCode >= 400 ? nameRequest(body, request.id) : body
      },
    })
    server.get('/healthz', (_, reply) => reply.send({ status: 'ok' }))
    server.get('/readyz', async (_, reply) => this.#answerReadiness(reply))
    if (this.#options.explorer) {
      server.get('/', (_, reply) => reply.redirect('/explorer/', 302))
      await registerExplorer(server, graphPath, this.#options.tls !== null)
    }
  }

  async #answerReadiness(reply: FastifyReply): Promise<FastifyReply> {
    const { readiness, clock } = this.#options
    const late = new Promise<Readonly<Record<string, boolean>>>((resolve) =>
      clock.after(readinessMs, () => resolve({ inTime: false })),
    )
    const checks = {
      serving: !this.#draining,
      ...(await Promise.race([readiness().catch(() => ({ known: false })), late])),
    }
    const isReady = Object.values(checks).every((holds) => holds)
    return reply.code(isReady ? 200 : 503).send({ status: isReady ? 'ready' : 'unready', checks })
  }
}

function makeFastify(options: ApiServerOptions): FastifyInstance {
  const { limits, tls, clock, log, requestTimeoutMs } = options
  const server = fastify({
    bodyLimit: limits.bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: 65_000,
    forceCloseConnections: 'idle',
    genReqId: (request) => requestIdOf(request.headers[requestIdHeader], clock.nowMs()),
    https: tls === null ? null : { cert: tls.certificate, key: tls.key, minVersion: 'TLSv1.2' },
  }) as unknown as FastifyInstance
  server.addHook('onRequest', async (request, reply) => {
    // Absolute URLs are made from it further on.
    if (!/^[A-Za-z0-9.[\]:_-]{1,255}$/.test(request.headers.host ?? '')) {
      return reply.code(400).send(problem('BAD_REQUEST', 'the Host header is not a host', request.id))
    }
  })
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send(problem(graphCodes.not_found, `nothing at this path; GraphQL is at ${graphPath}`, request.id)),
  )
  server.setErrorHandler((error: FastifyError, request, reply) => {
    const status = error.statusCode ?? 500
    if (status === 413) {
      const message = `the body is larger than ${limits.bodyBytesMax} bytes`
      return reply.code(413).send(problem(graphCodes.limit_exceeded, message, request.id))
    }
    if (status >= 400 && status < 500) return reply.code(status).send(problem('BAD_REQUEST', error.message, request.id))
    log.error({ requestId: request.id, fault: error }, 'a request failed before GraphQL')
    const message = `something broke on our side; quote the reference ${request.id} to your operator`
    return reply.code(500).send(problem(faultCode, message, request.id))
  })
  return server
}

/** The shape of a GraphQL error, also where no GraphQL was reached. */
function problem(code: string, message: string, requestId: string) {
  return { errors: [{ message, extensions: { code, requestId } }] }
}

/** No cookies are involved, so no credentials are allowed. */
function corsOptions(origins: readonly string[]) {
  return {
    origin: origins.includes('*') ? '*' : [...origins],
    methods: ['GET', 'POST', 'OPTIONS'],
    allowedHeaders: [
      ...['authorization', 'content-type', requestIdHeader, 'traceparent', 'apollo-require-preflight'],
      ...['x-apollo-operation-name', 'apollographql-client-name', 'apollographql-client-version'],
    ],
    exposedHeaders: [requestIdHeader],
    maxAge: 600,
    strictPreflight: false,
  }
}
