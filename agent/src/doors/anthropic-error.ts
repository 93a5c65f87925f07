import type { RequestRefusal } from '../request/request-refusal.js'

/**
 * The body that Anthropic's clients expect of an error, with our code and the field beside the type. Source: Anthropic's
 * API reference, "Errors".
 */
export function anthropicErrorBody(refusal: RequestRefusal, status: number): string {
  return JSON.stringify({
    type: 'error',
    error: { type: typeOf(status), message: refusal.message, code: refusal.code, param: refusal.field ?? null },
  })
}

/** How a stream of Anthropic's says that it broke. */
export function anthropicErrorEvent(refusal: RequestRefusal, status: number): string {
  return `event: error\ndata: ${anthropicErrorBody(refusal, status)}\n\n`
}

function typeOf(status: number): string {
  switch (status) {
    case 401:
      return 'authentication_error'
    case 403:
      return 'permission_error'
    case 404:
      return 'not_found_error'
    case 413:
      return 'request_too_large'
    case 429:
      return 'rate_limit_error'
    case 503:
      return 'overloaded_error'
    case 504:
      return 'timeout_error'
    default:
      return status >= 500 ? 'api_error' : 'invalid_request_error'
  }
}
