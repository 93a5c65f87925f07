import { isRefusal, refuse } from '../../../../proto/std/refusal.js'
import { wrongTypeRefusal } from '../../conversation/fields.js'
import { hints } from '../../conversation/hints.js'
import { isJsonObject, type JsonObject } from '../../conversation/json-object.js'
import type { RequestBody } from '../../providers/provider-dialect.js'
import type { AnswerContext, Door } from '../../request/ports.js'
import { type RequestRefusal, statusOf } from '../../request/request-refusal.js'
import { openaiErrorBody, openaiErrorEvent } from '../openai-error.js'
import { checkOptional, emptyArray, finiteOf, missing, parseJsonBody, requestBodyOf } from '../parse-body.js'
import { readCompletionConversation } from './read-conversation.js'
import { writeCompletionAnswer } from './write-answer.js'
import { CompletionChunkWriter } from './write-stream.js'

/** `POST /v1/completions`, as OpenAI's older API for texts that are continued. */
export const completionsDoor: Door = Object.freeze({
  operation: 'completions',
  parse,
  errorBody: openaiErrorBody,
  errorEvent: (refusal: RequestRefusal) => openaiErrorEvent(refusal, statusOf(refusal.code)),
  conversation: Object.freeze({
    read: readCompletionConversation,
    writeAnswer: writeCompletionAnswer,
    streamWriter: (context: AnswerContext) => new CompletionChunkWriter(context),
  }),
} satisfies Door)

const onceNames = ['model', 'stream_options'] as const
const names = [...onceNames, ...hints.completions]

function parse(bytes: Buffer): RequestBody | RequestRefusal {
  const parsed = parseJsonBody(bytes, names, onceNames.length)
  if (isRefusal(parsed)) return parsed
  const { fields } = parsed
  const options = fields['stream_options'] ?? null
  const refusal =
    checkPrompt(fields) ??
    checkOptional(fields, 'stream', 'boolean') ??
    checkOptional(fields, 'temperature', 'number') ??
    checkOptional(fields, 'user', 'string') ??
    (options === null || isJsonObject(options) ? null : wrongTypeRefusal('stream_options', 'an object', options))
  if (refusal !== null) return refusal
  const stream = fields['stream'] === true
  const asked = stream && isJsonObject(options) ? options : null
  return requestBodyOf(parsed, {
    stream,
    wantsUsage: asked?.['include_usage'] === true,
    wantsContinuousUsage: asked?.['continuous_usage_stats'] === true,
    user: typeof fields['user'] === 'string' ? fields['user'] : null,
    temperature: finiteOf(fields['temperature']),
    prompt: fields['prompt'],
  })
}

/** A text, texts, tokens, or arrays of tokens. */
function checkPrompt(fields: JsonObject): RequestRefusal | null {
  const { prompt } = fields
  if (prompt === undefined || prompt === null) return missing('prompt', "Missing required parameter: 'prompt'.")
  if (typeof prompt === 'string') return null
  if (!Array.isArray(prompt)) return wrongTypeRefusal('prompt', 'a string or an array', prompt)
  if (prompt.length === 0) return emptyArray('prompt')
  for (let index = 0; index < prompt.length; index++) {
    const item: unknown = prompt[index]
    if (typeof item === 'string' || typeof item === 'number') continue
    const field = `prompt[${index}]`
    if (!Array.isArray(item)) return wrongTypeRefusal(field, 'a string or tokens', item)
    if (!item.every((token) => typeof token === 'number')) {
      return refuse('invalid_type', `Invalid type for '${field}': expected an array of tokens.`, { field })
    }
  }
  return null
}
