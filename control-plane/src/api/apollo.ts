import { ApolloServer, type ApolloServerPlugin } from '@apollo/server'
import { ApolloServerPluginLandingPageDisabled } from '@apollo/server/plugin/disabled'
import { SpanStatusCode, trace } from '@opentelemetry/api'
import type { GraphQLSchema } from 'graphql'
import type { Clock } from '../../../proto/std/clock.js'
import type { Log } from '../../../proto/std/service.js'
import type { Metrics } from '../observability/metrics.js'
import type { GraphContext } from './context.js'
import { formatGraphError, refusalError } from './error-format.js'
import { limitRules, type QueryLimits, refuseComplexity } from './query-limits.js'
import { unknownRequestId } from './request-id.js'

export interface ApolloOptions {
  readonly schema: GraphQLSchema
  readonly limits: QueryLimits
  readonly introspection: boolean
  readonly metrics: Metrics
  readonly clock: Clock
  readonly log: Log
}

/** Apollo with our limits, our errors, our measures, and nothing that reaches out to the network. */
export function makeApolloServer(options: ApolloOptions): ApolloServer<GraphContext> {
  const { schema, limits, log } = options
  // Apollo formats an error without its context, so the context is noted when the error is first met.
  const requestIds = new WeakMap<Error, string>()
  return new ApolloServer<GraphContext>({
    schema,
    introspection: options.introspection,
    csrfPrevention: true,
    cache: 'bounded',
    persistedQueries: false,
    allowBatchedHttpRequests: false,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    parseOptions: { maxTokens: limits.tokensMax },
    validationRules: [...limitRules(limits)],
    formatError: (formatted, error) => {
      const requestId = (error instanceof Error ? requestIds.get(error) : undefined) ?? idIn(formatted.extensions)
      return formatGraphError(formatted, error, { requestId, log })
    },
    logger: apolloLog(log),
    plugins: [
      ApolloServerPluginLandingPageDisabled(),
      noteRequestIds(requestIds),
      limitComplexity(limits),
      measure(options.metrics, options.clock),
    ],
  })
}

function idIn(extensions: Readonly<Record<string, unknown>> | undefined): string {
  const requestId = extensions?.['requestId']
  return typeof requestId === 'string' ? requestId : unknownRequestId
}

function noteRequestIds(requestIds: WeakMap<Error, string>): ApolloServerPlugin<GraphContext> {
  return {
    requestDidStart: async ({ contextValue }) => ({
      didEncounterErrors: async ({ errors }) => {
        for (const error of errors) requestIds.set(error, contextValue.requestId)
      },
    }),
  }
}

function limitComplexity(limits: QueryLimits): ApolloServerPlugin<GraphContext> {
  return {
    requestDidStart: async () => ({
      didResolveOperation: async ({ schema, document, request, contextValue }) => {
        const refusal = refuseComplexity(
          schema,
          document,
          request.variables ?? {},
          request.operationName,
          limits.complexityMax,
        )
        if (refusal !== null) throw refusalError(refusal, contextValue.requestId, 400)
      },
    }),
  }
}

/** Counts and times operations by their kind (their names are the callers' and would be labels without end). */
function measure(metrics: Metrics, clock: Clock): ApolloServerPlugin<GraphContext> {
  const durations = metrics.histogram({
    name: 'graphql_duration_seconds',
    help: 'Time from the parsed request to the answer, by kind of operation and outcome.',
    labels: ['operation', 'outcome'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  })
  const tracer = trace.getTracer('switchyard-control-plane')
  return {
    requestDidStart: async ({ contextValue }) => {
      const startUs = clock.monotonicUs()
      const span = tracer.startSpan('graphql', { attributes: { 'switchyard.request_id': contextValue.requestId } })
      return {
        willSendResponse: async ({ operation, operationName, errors }) => {
          const kind = operation?.operation ?? 'none'
          const outcome = errors === undefined || errors.length === 0 ? 'ok' : 'errors'
          durations.observe({ operation: kind, outcome }, (clock.monotonicUs() - startUs) / 1e6)
          span.updateName(operationName ? `${kind} ${operationName}` : kind)
          span.setAttribute('graphql.operation.type', kind)
          if (outcome === 'errors') span.setStatus({ code: SpanStatusCode.ERROR })
          span.end()
        },
      }
    },
  }
}

/** What Apollo says of itself is for whoever debugs it. */
function apolloLog(log: Log) {
  const say = (level: 'debug' | 'warn') => (message?: unknown) => log[level]({ from: 'apollo' }, String(message))
  return { debug: say('debug'), info: say('debug'), warn: say('warn'), error: say('warn') }
}
