import type { RequestRefusal } from '../request/request-refusal.js'

/** The body that OpenAI's clients expect of an error. */
export function openaiErrorBody(refusal: RequestRefusal, status: number): string {
  return JSON.stringify({
    error: { message: refusal.message, type: typeOf(status), param: refusal.field ?? null, code: refusal.code },
  })
}

/** How a stream of OpenAI's says that it broke. */
export function openaiErrorEvent(refusal: RequestRefusal, status: number): string {
  return `data: ${openaiErrorBody(refusal, status)}\n\n`
}

function typeOf(status: number): string {
  if (status === 429) return 'rate_limit_error'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}
