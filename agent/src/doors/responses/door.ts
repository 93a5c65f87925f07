import { isRefusal } from '../../../../proto/std/refusal.js'
import { wrongTypeRefusal } from '../../conversation/fields.js'
import { isJsonObject, type JsonObject } from '../../conversation/json-object.js'
import type { RequestBody } from '../../providers/provider-dialect.js'
import type { AnswerContext, Door } from '../../request/ports.js'
import { type RequestRefusal, statusOf } from '../../request/request-refusal.js'
import { openaiErrorBody } from '../openai-error.js'
import { checkOptional, emptyArray, finiteOf, missing, parseJsonBody, requestBodyOf } from '../parse-body.js'
import { responseErrorEvent } from './error-event.js'
import { readResponseConversation } from './read-conversation.js'
import { refuseState, statefulNames } from './stateless.js'
import { writeResponseAnswer } from './write-answer.js'
import { ResponseEventWriter } from './write-stream.js'

/** `POST /v1/responses`, as OpenAI's, without its memory. */
export const responsesDoor: Door = Object.freeze({
  operation: 'responses',
  parse,
  errorBody: openaiErrorBody,
  errorEvent: (refusal: RequestRefusal) => responseErrorEvent(refusal, statusOf(refusal.code)),
  conversation: Object.freeze({
    read: readResponseConversation,
    writeAnswer: writeResponseAnswer,
    streamWriter: (context: AnswerContext) => new ResponseEventWriter(context),
  }),
} satisfies Door)

/** Those that are replaced in the bytes, and those that must not be read in two ways. */
const names = ['model', 'input', ...statefulNames] as const

function parse(bytes: Buffer): RequestBody | RequestRefusal {
  const parsed = parseJsonBody(bytes, names)
  if (isRefusal(parsed)) return parsed
  const { fields } = parsed
  const refusal =
    refuseState(fields) ??
    checkInput(fields) ??
    checkOptional(fields, 'instructions', 'string') ??
    checkOptional(fields, 'stream', 'boolean') ??
    checkOptional(fields, 'temperature', 'number') ??
    checkOptional(fields, 'user', 'string') ??
    checkOptional(fields, 'safety_identifier', 'string')
  if (refusal !== null) return refusal
  const user = fields['user'] ?? fields['safety_identifier']
  return requestBodyOf(parsed, {
    stream: fields['stream'] === true,
    // A response always tells its usage.
    wantsUsage: true,
    wantsContinuousUsage: false,
    user: typeof user === 'string' ? user : null,
    temperature: finiteOf(fields['temperature']),
    prompt: promptOf(fields),
  })
}

/** A text, or an array of items, at least one. */
function checkInput(fields: JsonObject): RequestRefusal | null {
  const { input } = fields
  if (input === undefined || input === null) return missing('input', "Missing required parameter: 'input'.")
  if (typeof input === 'string') return null
  if (!Array.isArray(input)) return wrongTypeRefusal('input', 'a string or an array of objects', input)
  if (input.length === 0) return emptyArray('input')
  for (let index = 0; index < input.length; index++) {
    if (!isJsonObject(input[index])) return wrongTypeRefusal(`input[${index}]`, 'an object', input[index])
  }
  return null
}

/** Everything that is read by the model, as turns with who speaks: for estimates, and counted where no vendor tells. */
function promptOf({ instructions, input }: JsonObject): unknown {
  const items: unknown[] = Array.isArray(input) ? input.map(turnOf) : [input]
  if (typeof instructions === 'string') items.unshift({ role: 'system', content: instructions })
  return items
}

/** What a tool gave stands in `output`; the counter looks for `content`. */
function turnOf(item: JsonObject): unknown {
  return item['type'] === 'function_call_output' ? { role: 'tool', content: item['output'] } : item
}
