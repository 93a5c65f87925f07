import { AssertionFault } from '../../../../proto/std/assert.js'
import type { Door } from '../../request/ports.js'
import { type RequestRefusal, statusOf } from '../../request/request-refusal.js'
import { anthropicErrorBody, anthropicErrorEvent } from '../anthropic-error.js'
import { openaiErrorBody, openaiErrorEvent } from '../openai-error.js'
import { anthropicModels, openaiModels } from './write-models.js'

/** `GET /v1/models` and `GET /v1/models/{id}`: the routes that a key may use, without a body to read. */
export const modelsDoor: Door = Object.freeze({
  operation: 'models',
  parse,
  errorBody: openaiErrorBody,
  errorEvent: (refusal: RequestRefusal) => openaiErrorEvent(refusal, statusOf(refusal.code)),
  conversation: null,
  models: openaiModels,
} satisfies Door)

/** The same, for who says that it is a client of Anthropic's (`anthropic-version`). */
export const anthropicModelsDoor: Door = Object.freeze({
  ...modelsDoor,
  errorBody: anthropicErrorBody,
  errorEvent: (refusal: RequestRefusal) => anthropicErrorEvent(refusal, statusOf(refusal.code)),
  models: anthropicModels,
} satisfies Door)

function parse(): never {
  throw new AssertionFault('a request for models has no body')
}
