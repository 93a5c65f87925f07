import { isRefusal } from '../../../../proto/std/refusal.js'
import { hints } from '../../conversation/hints.js'
import { isJsonObject, type JsonObject } from '../../conversation/json-object.js'
import type { Operation, RequestBody } from '../../providers/provider-dialect.js'
import type { AnswerContext, Door } from '../../request/ports.js'
import { type RequestRefusal, statusOf } from '../../request/request-refusal.js'
import { anthropicErrorBody, anthropicErrorEvent } from '../anthropic-error.js'
import { checkMessages, checkOptional, finiteOf, missing, parseJsonBody, requestBodyOf } from '../parse-body.js'
import { readMessagesConversation } from './read-conversation.js'
import { writeMessageAnswer } from './write-answer.js'
import { MessageEventWriter } from './write-stream.js'

/** `POST /v1/messages`, as Anthropic's. */
export const messagesDoor: Door = doorOf('messages', (fields) =>
  fields['max_tokens'] === undefined || fields['max_tokens'] === null
    ? missing('max_tokens', "Missing required parameter: 'max_tokens'.")
    : checkOptional(fields, 'max_tokens', 'number'),
)

/** `POST /v1/messages/count_tokens`, as Anthropic's: how many input tokens a message would have. */
export const countTokensDoor: Door = doorOf('count_tokens', () => null)

function doorOf(operation: Operation, check: (fields: JsonObject) => RequestRefusal | null): Door {
  return Object.freeze({
    operation,
    parse: (bytes: Buffer) => parse(bytes, check),
    errorBody: anthropicErrorBody,
    errorEvent: (refusal: RequestRefusal) => anthropicErrorEvent(refusal, statusOf(refusal.code)),
    conversation: Object.freeze({
      read: readMessagesConversation,
      writeAnswer: writeMessageAnswer,
      streamWriter: (context: AnswerContext) => new MessageEventWriter(context),
    }),
  } satisfies Door)
}

const names = ['model', ...hints.messages]

function parse(bytes: Buffer, check: (fields: JsonObject) => RequestRefusal | null): RequestBody | RequestRefusal {
  const parsed = parseJsonBody(bytes, names, 1)
  if (isRefusal(parsed)) return parsed
  const { fields } = parsed
  const refusal =
    check(fields) ??
    checkMessages(fields) ??
    checkOptional(fields, 'stream', 'boolean') ??
    checkOptional(fields, 'temperature', 'number')
  if (refusal !== null) return refusal
  const { metadata } = fields
  const userId = isJsonObject(metadata) ? metadata['user_id'] : null
  return requestBodyOf(parsed, {
    stream: fields['stream'] === true,
    // A message always tells its usage.
    wantsUsage: true,
    wantsContinuousUsage: false,
    user: typeof userId === 'string' ? userId : null,
    temperature: finiteOf(fields['temperature']),
    prompt: promptOf(fields),
  })
}

/** Everything that is read by the model, as turns with who speaks: for estimates, and counted where no vendor tells. */
function promptOf({ messages, system }: JsonObject): unknown {
  return system === undefined ? messages : [{ role: 'system', content: system }, ...(messages as readonly unknown[])]
}
