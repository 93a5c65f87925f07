import type { Refusal } from '../../../proto/std/refusal.js'

/**
 * Every "no" that a client of the agent can get, and what it is in HTTP and in OpenAI's words. The only place where a code
 * becomes a status. 499 (a client that left) is never sent; it is what the record says.
 */
interface Shape {
  readonly status: number
  /** OpenAI's `error.type`. */
  readonly type: string
}

const invalid = 'invalid_request_error'
const limit = 'rate_limit_error'
const server = 'server_error'

export const requestRefusals = Object.freeze({
  // The door.
  malformed_request: { status: 400, type: invalid },
  header_too_large: { status: 431, type: invalid },
  unknown_url: { status: 404, type: invalid },
  method_not_allowed: { status: 405, type: invalid },
  agent_overloaded: { status: 503, type: server },
  agent_draining: { status: 503, type: server },
  agent_not_ready: { status: 503, type: server },
  // Who asks.
  missing_api_key: { status: 401, type: invalid },
  invalid_api_key: { status: 401, type: invalid },
  expired_api_key: { status: 401, type: invalid },
  revoked_api_key: { status: 401, type: invalid },
  // How much.
  rate_limit_exceeded: { status: 429, type: limit },
  concurrency_limit_exceeded: { status: 429, type: limit },
  usage_spool_full: { status: 503, type: server },
  // What is asked.
  body_too_large: { status: 413, type: invalid },
  body_timeout: { status: 408, type: invalid },
  unsupported_encoding: { status: 415, type: invalid },
  invalid_json: { status: 400, type: invalid },
  missing_field: { status: 400, type: invalid },
  invalid_type: { status: 400, type: invalid },
  empty_array: { status: 400, type: invalid },
  duplicate_field: { status: 400, type: invalid },
  model_not_found: { status: 404, type: invalid },
  operation_not_supported: { status: 400, type: invalid },
  no_eligible_target: { status: 503, type: server },
  // What became of the last hop.
  upstream_unavailable: { status: 502, type: server },
  upstream_timeout: { status: 504, type: server },
  upstream_rate_limited: { status: 429, type: limit },
  upstream_failed: { status: 502, type: server },
  upstream_malformed: { status: 502, type: server },
  upstream_truncated: { status: 502, type: server },
  upstream_credential_rejected: { status: 502, type: server },
  upstream_not_ready: { status: 503, type: server },
  // Passed to the client as the upstream said it.
  upstream_rejected: { status: 400, type: invalid },
  // How a request ends from outside.
  client_closed: { status: 499, type: invalid },
  client_stalled: { status: 499, type: invalid },
  // A fault of ours.
  internal_error: { status: 500, type: server },
} satisfies Record<string, Shape>)

export type RequestRefusalCode = keyof typeof requestRefusals
export type RequestRefusal = Refusal<RequestRefusalCode>

/** HTTP status of a refusal code. */
export function statusOf(code: RequestRefusalCode): number {
  return requestRefusals[code].status
}

/** The body OpenAI's clients expect. */
export function errorBody(refusal: RequestRefusal): string {
  return JSON.stringify({
    error: {
      message: refusal.message,
      type: requestRefusals[refusal.code].type,
      param: refusal.field ?? null,
      code: refusal.code,
    },
  })
}
