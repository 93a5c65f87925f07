import type { GraphQLFormattedError } from 'graphql'
import { GraphQLError } from 'graphql'
import { type Refusal, RefusalError } from '../../../proto/std/refusal.js'
import type { Log } from '../../../proto/std/service.js'
import { unavailableRefusal } from '../database/database-error.js'

/**
 * The only place where refusals and faults become GraphQL errors. `extensions.code` is from this closed set (plus
 * `GRAPHQL_PARSE_FAILED`, `GRAPHQL_VALIDATION_FAILED` and the few of Apollo's own about the request itself);
 * `extensions.field` is the path of the input a refusal is about. A fault is masked: its text goes to the log, a reference
 * to the caller.
 */
export const graphCodes = {
  bad_input: 'BAD_USER_INPUT',
  unauthenticated: 'UNAUTHENTICATED',
  forbidden: 'FORBIDDEN',
  not_found: 'NOT_FOUND',
  conflict: 'CONFLICT',
  limit_exceeded: 'LIMIT_EXCEEDED',
  unavailable: 'UNAVAILABLE',
} as const

export type RefusalCode = keyof typeof graphCodes
export const faultCode = 'INTERNAL'

export interface ErrorBoundary {
  readonly requestId: string
  readonly log: Log
}

/** One error as the caller may see it. Faults are logged here, once, and nowhere else. */
export function formatGraphError(
  formatted: GraphQLFormattedError,
  error: unknown,
  boundary: ErrorBoundary,
): GraphQLFormattedError {
  const cause = rootCause(error)
  const place = {
    ...(formatted.locations === undefined ? {} : { locations: formatted.locations }),
    ...(formatted.path === undefined ? {} : { path: formatted.path }),
  }
  if (cause instanceof RefusalError) {
    return { ...place, message: cause.refusal.message, extensions: refusalExtensions(cause.refusal, boundary) }
  }
  if (cause instanceof GraphQLError) {
    // The language itself said no: syntax, unknown field, wrong type of a variable, a limit of ours.
    // Apollo puts its own code over that of a validation rule; the rule's is the one that says what to do.
    const code = String(cause.extensions['code'] ?? formatted.extensions?.['code'] ?? 'BAD_REQUEST')
    if (code !== 'INTERNAL_SERVER_ERROR') {
      const field = fieldOfCoercion(formatted.message)
      return {
        ...place,
        message: formatted.message,
        extensions: { code, ...(field === null ? {} : { field }), requestId: boundary.requestId },
      }
    }
  }
  const unavailable = unavailableRefusal(cause)
  if (unavailable !== null) {
    boundary.log.warn({ requestId: boundary.requestId, fault: cause }, 'the database did not answer')
    return { ...place, message: unavailable.message, extensions: refusalExtensions(unavailable, boundary) }
  }
  boundary.log.error({ requestId: boundary.requestId, path: formatted.path, fault: cause }, 'a resolver failed')
  return {
    ...place,
    message: `something broke on our side; quote the reference ${boundary.requestId} to your operator`,
    extensions: { code: faultCode, reference: boundary.requestId, requestId: boundary.requestId },
  }
}

/** A refusal as a GraphQL error of its own, for the doors that refuse before anything is executed. */
export function refusalError(refusal: Refusal, requestId: string, httpStatus?: number): GraphQLError {
  return new GraphQLError(refusal.message, {
    originalError: new RefusalError(refusal),
    extensions: {
      code: codeOf(refusal),
      requestId,
      ...(httpStatus === undefined ? {} : { http: { status: httpStatus } }),
    },
  })
}

function refusalExtensions(refusal: Refusal, boundary: ErrorBoundary): Record<string, unknown> {
  return {
    code: codeOf(refusal),
    ...(refusal.field === undefined ? {} : { field: refusal.field }),
    ...(refusal.detail === undefined ? {} : { detail: refusal.detail }),
    requestId: boundary.requestId,
  }
}

function codeOf(refusal: Refusal): string {
  return (graphCodes as Readonly<Record<string, string>>)[refusal.code] ?? graphCodes.bad_input
}

/** The innermost error: graphql-js and Apollo wrap what a resolver threw. */
function rootCause(error: unknown): unknown {
  let cause = error
  while (cause instanceof GraphQLError && cause.originalError !== undefined) cause = cause.originalError
  return cause
}

/** `input.targets[0].name` of graphql-js' sentence about a variable of the wrong shape. */
function fieldOfCoercion(message: string): string | null {
  const at = /got invalid value .* at "([^"]+)"/s.exec(message)?.[1]
  if (at !== undefined) return at
  return /^Variable "\$([A-Za-z0-9_]+)"/.exec(message)?.[1] ?? null
}
