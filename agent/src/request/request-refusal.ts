import type { Refusal } from '../../../proto/std/refusal.js'

/**
 * Every "no" that a client of the agent can get, and what it is in HTTP; each door has its own words for the rest. The only
 * place where a code becomes a status. 499 (a client that left) is never sent; it is what the record says.
 */
export const requestRefusals = Object.freeze({
  // The door.
  malformed_request: 400,
  header_too_large: 431,
  unknown_url: 404,
  method_not_allowed: 405,
  agent_overloaded: 503,
  agent_draining: 503,
  agent_not_ready: 503,
  // Who asks.
  missing_api_key: 401,
  invalid_api_key: 401,
  expired_api_key: 401,
  revoked_api_key: 401,
  // How much.
  rate_limit_exceeded: 429,
  concurrency_limit_exceeded: 429,
  usage_spool_full: 503,
  // What is asked.
  body_too_large: 413,
  body_timeout: 408,
  unsupported_encoding: 415,
  invalid_json: 400,
  missing_field: 400,
  invalid_type: 400,
  empty_array: 400,
  duplicate_field: 400,
  invalid_value: 400,
  // Fits the door, but no target of the route can be asked for it.
  unsupported_field: 400,
  model_not_found: 404,
  operation_not_supported: 400,
  no_eligible_target: 503,
  // What the client wants of the routing.
  pin_not_permitted: 403,
  // What became of the last hop.
  upstream_unavailable: 502,
  upstream_timeout: 504,
  upstream_rate_limited: 429,
  upstream_failed: 502,
  upstream_malformed: 502,
  upstream_truncated: 502,
  upstream_credential_rejected: 502,
  upstream_not_ready: 503,
  // Every target is left alone.
  upstream_circuit_open: 503,
  // As many run there as may.
  upstream_busy: 503,
  // Passed to the client as the upstream said it.
  upstream_rejected: 400,
  // How a request ends from outside.
  client_closed: 499,
  client_stalled: 499,
  // A fault of ours.
  internal_error: 500,
} satisfies Record<string, number>)

export type RequestRefusalCode = keyof typeof requestRefusals
export type RequestRefusal = Refusal<RequestRefusalCode>

/** HTTP status of a refusal code. */
export function statusOf(code: RequestRefusalCode): number {
  return requestRefusals[code]
}
