import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import {
  type DocumentNode,
  type ExecutionArgs,
  type FormattedExecutionResult,
  GraphQLError,
  type GraphQLFormattedError,
  type GraphQLSchema,
  getOperationAST,
  parse,
  specifiedRules,
  validate,
} from 'graphql'
import type { ServerOptions, SubscribePayload } from 'graphql-ws'
import { type Extra, useServer } from 'graphql-ws/use/ws'
import { type WebSocket, WebSocketServer } from 'ws'
import type { Clock } from '../../../proto/std/clock.js'
import { isRefusal } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import type { Principal } from '../access/principal.js'
import type { Metrics } from '../observability/metrics.js'
import type { GraphContext } from './context.js'
import { formatGraphError, graphCodes, refusalError } from './error-format.js'
import { Loaders } from './loaders.js'
import { limitRules, type QueryLimits, refuseComplexity } from './query-limits.js'
import { requestIdHeader, requestIdOf } from './request-id.js'
import type { ResolverInstances } from './resolver-instances.js'
import { type Authentication, contextOf } from './who-asks.js'

export interface SubscriptionOptions {
  readonly schema: GraphQLSchema
  readonly authentication: Authentication
  readonly resolvers: ResolverInstances
  readonly limits: QueryLimits
  readonly socketsMax: number
  readonly subscriptionsPerSocketMax: number
  /** How often a connection's token is judged again, so that an expired or disabled one stops listening. */
  readonly recheckMs: number
  readonly metrics: Metrics
  readonly clock: Clock
  readonly log: Log
}

const closeUnauthorized = 4401
const closeGoingAway = 1001

/**
 * Subscriptions over `graphql-transport-ws`, and only those: queries and mutations go over HTTP, where their limits and
 * measures are. The token comes in the connection's parameters (`{"Authorization": "Bearer …"}`), because browsers
 * cannot send headers with a WebSocket; a page of another origin has no token to send, so the origin proves nothing here.
 */
export class Subscriptions {
  readonly #options: SubscriptionOptions
  readonly #server: WebSocketServer
  readonly #dispose: { dispose: () => void | Promise<void> }
  readonly #contexts = new WeakMap<WebSocket, GraphContext>()
  readonly #cancelRecheck = new WeakMap<WebSocket, () => void>()

  constructor(options: SubscriptionOptions) {
    this.#options = options
    this.#server = new WebSocketServer({
      noServer: true,
      maxPayload: options.limits.bodyBytesMax,
      clientTracking: true,
    })
    this.#dispose = useServer<Record<string, unknown>>(this.#serverOptions(), this.#server)
    options.metrics.gauge({ name: 'subscription_sockets', help: 'Open WebSocket connections.' }, (gauge) =>
      gauge.set(this.#server.clients.size),
    )
  }

  /** Takes over an HTTP upgrade; refuses beyond the limit of sockets. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#server.clients.size >= this.#options.socketsMax) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n')
      return
    }
    this.#server.handleUpgrade(request, socket, head, (client) => this.#server.emit('connection', client, request))
  }

  async stop(): Promise<void> {
    for (const client of this.#server.clients) client.close(closeGoingAway, 'the control plane stops')
    await this.#dispose.dispose()
  }

  #serverOptions(): ServerOptions<Record<string, unknown>, Extra> {
    return {
      connectionInitWaitTimeout: 10_000,
      onConnect: async (connection) => {
        const { socket, request } = connection.extra
        const header = tokenIn(connection.connectionParams) ?? request.headers.authorization
        const requestId = requestIdOf(request.headers[requestIdHeader], this.#options.clock.nowMs())
        const context = await contextOf(this.#options.authentication, this.#options.resolvers, header, requestId)
        if (isRefusal(context) || context.actor === null) {
          socket.close(
            closeUnauthorized,
            isRefusal(context) ? closeReasonOf(context.message) : 'send a token at connection_init',
          )
          return false
        }
        this.#contexts.set(socket, { ...context, loaders: new Loaders(context.actor, { remember: false }) })
        this.#recheck(socket, header, context.actor.principal)
        return true
      },
      onDisconnect: (connection) => this.#cancelRecheck.get(connection.extra.socket)?.(),
      onSubscribe: (connection, _, payload) => {
        const context = this.#contexts.get(connection.extra.socket)
        if (context === undefined) return [new GraphQLError('not connected')]
        if (Object.keys(connection.subscriptions).length > this.#options.subscriptionsPerSocketMax) {
          return [limitError(`more than ${this.#options.subscriptionsPerSocketMax} subscriptions on one connection`)]
        }
        return this.#prepare(context, payload)
      },
      onNext: (connection, _, __, ___, result) => this.#formatResult(connection.extra.socket, result),
      onError: (connection, _, __, errors) => errors.map((error) => this.#format(connection.extra.socket, error)),
    }
  }

  /** What the HTTP door does to an operation, done here. */
  #prepare(context: GraphContext, payload: SubscribePayload): ExecutionArgs | readonly GraphQLError[] {
    const { schema, limits } = this.#options
    let document: DocumentNode
    try {
      document = parse(payload.query, { maxTokens: limits.tokensMax })
    } catch (error) {
      return [
        error instanceof GraphQLError ? withCode(error, 'GRAPHQL_PARSE_FAILED') : new GraphQLError('not a document'),
      ]
    }
    const errors = validate(schema, document, [...specifiedRules, ...limitRules(limits)])
    if (errors.length > 0) return errors.map((error) => withCode(error, 'GRAPHQL_VALIDATION_FAILED'))
    if (getOperationAST(document, payload.operationName)?.operation !== 'subscription') {
      return [
        withCode(new GraphQLError('only subscriptions here; send queries and mutations over HTTP'), 'BAD_REQUEST'),
      ]
    }
    const variables = payload.variables ?? {}
    const refusal = refuseComplexity(schema, document, variables, payload.operationName, limits.complexityMax)
    if (refusal !== null) return [refusalError(refusal, context.requestId)]
    return {
      schema,
      document,
      variableValues: variables,
      contextValue: context,
      ...(payload.operationName ? { operationName: payload.operationName } : {}),
    }
  }

  /** A token that expired, a member that was disabled or holds other roles now: the connection ends, a new one may begin. */
  #recheck(socket: WebSocket, header: string | undefined, principal: Principal): void {
    const { clock, recheckMs, authentication } = this.#options
    const cancel = clock.after(recheckMs, () => {
      authentication.authenticate(header).then(
        (outcome) => {
          if (isRefusal(outcome) && outcome.code === 'unauthenticated') {
            socket.close(closeUnauthorized, closeReasonOf(outcome.message))
          } else if (!isRefusal(outcome) && !isSame(outcome, principal)) {
            socket.close(closeUnauthorized, 'your roles have changed; connect again')
          } else if (socket.readyState === socket.OPEN) this.#recheck(socket, header, principal)
        },
        (fault: unknown) => {
          this.#options.log.warn({ fault }, 'could not judge the token of a subscription again; trying later')
          if (socket.readyState === socket.OPEN) this.#recheck(socket, header, principal)
        },
      )
    })
    this.#cancelRecheck.set(socket, cancel)
  }

  #formatResult(socket: WebSocket, result: { errors?: readonly GraphQLError[] | undefined }): FormattedExecutionResult {
    const { errors, ...rest } = result
    return errors === undefined ? rest : { ...rest, errors: errors.map((error) => this.#format(socket, error)) }
  }

  #format(socket: WebSocket, error: GraphQLError): GraphQLFormattedError {
    const requestId = this.#contexts.get(socket)?.requestId ?? 'unknown'
    return formatGraphError(error.toJSON(), error, { requestId, log: this.#options.log })
  }
}

/** At most the 123 bytes that a close frame holds (RFC 6455, 5.5): `ws` throws for more. Cut between characters. */
export function closeReasonOf(message: string): string {
  let reason = ''
  let bytes = 0
  for (const character of message) {
    bytes += Buffer.byteLength(character)
    if (bytes > closeReasonBytesMax) break
    reason += character
  }
  return reason
}

const closeReasonBytesMax = 123

function withCode(error: GraphQLError, code: string): GraphQLError {
  if (error.extensions['code'] !== undefined) return error
  const { nodes = null, source = null, positions = null, path = null } = error
  return new GraphQLError(error.message, { nodes, source, positions, path, extensions: { code } })
}

function limitError(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: graphCodes.limit_exceeded } })
}

/** Header names are not case-sensitive; neither are we with what stands in for one. */
function tokenIn(parameters: Readonly<Record<string, unknown>> | undefined): string | undefined {
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (name.toLowerCase() === 'authorization' && typeof value === 'string') return value
  }
  return undefined
}

function isSame(a: Principal, b: Principal): boolean {
  return a.tenantId === b.tenantId && a.roles.size === b.roles.size && [...a.roles].every((role) => b.roles.has(role))
}
