import { AssertionFault } from '../../../../proto/std/assert.js'
import type { Door } from '../../request/ports.js'
import { type RequestRefusal, statusOf } from '../../request/request-refusal.js'
import { openaiErrorBody, openaiErrorEvent } from '../openai-error.js'

/** `GET /v1/models` and `GET /v1/models/{id}`: the routes that a key may use, without a body to read. */
export const modelsDoor: Door = Object.freeze({
  operation: 'models',
  parse,
  errorBody: openaiErrorBody,
  errorEvent: (refusal: RequestRefusal) => openaiErrorEvent(refusal, statusOf(refusal.code)),
  conversation: null,
} satisfies Door)

function parse(): never {
  throw new AssertionFault('a request for models has no body')
}
