import { isRefusal, refuse } from '../../../../proto/std/refusal.js'
import { wrongTypeRefusal } from '../../conversation/fields.js'
import { hints } from '../../conversation/hints.js'
import type { JsonObject } from '../../conversation/json-object.js'
import type { RequestBody } from '../../providers/provider-dialect.js'
import type { Door } from '../../request/ports.js'
import { type RequestRefusal, statusOf } from '../../request/request-refusal.js'
import { openaiErrorBody, openaiErrorEvent } from '../openai-error.js'
import { checkOptional, emptyArray, missing, parseJsonBody, requestBodyOf } from '../parse-body.js'
import { readEmbeddingRequest } from './read-request.js'
import { writeEmbeddingAnswer } from './write-answer.js'

/** `POST /v1/embeddings`, as OpenAI's. */
export const embeddingsDoor: Door = Object.freeze({
  operation: 'embeddings',
  parse,
  errorBody: openaiErrorBody,
  errorEvent: (refusal: RequestRefusal) => openaiErrorEvent(refusal, statusOf(refusal.code)),
  conversation: null,
  embeddings: Object.freeze({ read: readEmbeddingRequest, writeAnswer: writeEmbeddingAnswer }),
} satisfies Door)

const names = ['model', ...hints.embeddings]

function parse(bytes: Buffer): RequestBody | RequestRefusal {
  const parsed = parseJsonBody(bytes, names, 1)
  if (isRefusal(parsed)) return parsed
  const { fields } = parsed
  const refusal = checkInput(fields) ?? checkOptional(fields, 'user', 'string')
  if (refusal !== null) return refusal
  return requestBodyOf(parsed, {
    stream: false,
    wantsUsage: false,
    wantsContinuousUsage: false,
    user: typeof fields['user'] === 'string' ? fields['user'] : null,
    temperature: null,
    prompt: fields['input'],
  })
}

function checkInput(fields: JsonObject): RequestRefusal | null {
  const { input } = fields
  if (input === undefined || input === null) return missing('input', "Missing required parameter: 'input'.")
  if (typeof input !== 'string' && !Array.isArray(input))
    return wrongTypeRefusal('input', 'a string or an array', input)
  if (input.length > 0) return null
  return Array.isArray(input)
    ? emptyArray('input')
    : refuse('invalid_type', "'input' cannot be an empty string.", { field: 'input' })
}
