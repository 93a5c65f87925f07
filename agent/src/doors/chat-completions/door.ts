import { isRefusal, refuse } from '../../../../proto/std/refusal.js'
import { wrongTypeRefusal } from '../../conversation/fields.js'
import { hints } from '../../conversation/hints.js'
import { isJsonObject, type JsonObject } from '../../conversation/json-object.js'
import type { RequestBody } from '../../providers/provider-dialect.js'
import type { AnswerContext, Door } from '../../request/ports.js'
import { type RequestRefusal, statusOf } from '../../request/request-refusal.js'
import { openaiErrorBody, openaiErrorEvent } from '../openai-error.js'
import { checkMessages, checkOptional, finiteOf, parseJsonBody, requestBodyOf } from '../parse-body.js'
import { readChatConversation } from './read-conversation.js'
import { writeChatAnswer } from './write-answer.js'
import { ChatChunkWriter } from './write-stream.js'

/** `POST /v1/chat/completions`, as OpenAI's. */
export const chatCompletionsDoor: Door = Object.freeze({
  operation: 'chat_completions',
  parse,
  errorBody: openaiErrorBody,
  errorEvent: (refusal: RequestRefusal) => openaiErrorEvent(refusal, statusOf(refusal.code)),
  conversation: Object.freeze({
    read: readChatConversation,
    writeAnswer: writeChatAnswer,
    streamWriter: (context: AnswerContext) => new ChatChunkWriter(context),
  }),
} satisfies Door)

const onceNames = ['model', 'stream_options'] as const
const names = [...onceNames, ...hints.chat_completions]

function parse(bytes: Buffer): RequestBody | RequestRefusal {
  const parsed = parseJsonBody(bytes, names, onceNames.length)
  if (isRefusal(parsed)) return parsed
  const { fields } = parsed
  const refusal =
    checkMessages(fields) ??
    checkOptional(fields, 'stream', 'boolean') ??
    checkOptional(fields, 'temperature', 'number') ??
    checkOptional(fields, 'user', 'string') ??
    checkStore(fields) ??
    checkStreamOptions(fields)
  if (refusal !== null) return refusal
  const stream = fields['stream'] === true
  const options = stream ? (fields['stream_options'] as JsonObject | null | undefined) : undefined
  return requestBodyOf(parsed, {
    stream,
    wantsUsage: options?.['include_usage'] === true,
    wantsContinuousUsage: options?.['continuous_usage_stats'] === true,
    user: typeof fields['user'] === 'string' ? fields['user'] : null,
    temperature: finiteOf(fields['temperature']),
    prompt: fields['messages'],
  })
}

/** Where nothing is said, OpenAI keeps nothing of a chat completion. */
function checkStore({ store }: JsonObject): RequestRefusal | null {
  if (store !== true) return null
  return refuse('unsupported_field', "'store' cannot be true: no policy lets a provider keep what is said.", {
    field: 'store',
  })
}

function checkStreamOptions(fields: JsonObject): RequestRefusal | null {
  const options = fields['stream_options']
  if (options === undefined || options === null) return null
  if (!isJsonObject(options)) return wrongTypeRefusal('stream_options', 'an object', options)
  for (const name of ['include_usage', 'continuous_usage_stats']) {
    const value = options[name]
    if (value !== undefined && value !== null && typeof value !== 'boolean') {
      return wrongTypeRefusal(`stream_options.${name}`, 'a boolean', value)
    }
  }
  return null
}
