import { isUtf8 } from 'node:buffer'
import { refuse } from '../../../proto/std/refusal.js'
import { findMembers } from '../providers/json-members.js'
import type { RequestBody, UpstreamOperation } from '../providers/provider-dialect.js'
import type { RequestRefusal } from '../request/request-refusal.js'

/**
 * One parse of a client's body: enough to decide, with the bytes kept so that everything we do not know passes untouched.
 * Only the fields that the agent itself reads are checked; the rest is between the client and the upstream.
 */
const members = ['model', 'stream_options'] as const
/** Names of routes are far shorter; this keeps a hostile one out of records and logs. */
const modelLengthMax = 256

/** The body of `operation`, or a refusal that names the field. */
export function parseBody(operation: UpstreamOperation, bytes: Buffer): RequestBody | RequestRefusal {
  if (!isUtf8(bytes)) return refuse('invalid_json', 'The body is not UTF-8.')
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (fault) {
    return refuse('invalid_json', `We could not parse the JSON body of your request: ${messageOf(fault)}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return refuse('invalid_json', 'The body has to be a JSON object.')
  }
  const fields = value as Readonly<Record<string, unknown>>
  const located = findMembers(bytes, 0, members)
  if (located === null) return refuse('invalid_json', 'The body has to be a JSON object.')
  // Parsers disagree about which of two equal names counts: the upstream must not read another model than was authorised.
  if (located.duplicate !== null) {
    return refuse('duplicate_field', `'${located.duplicate}' is given more than once.`, { field: located.duplicate })
  }
  const refusal = checkModel(fields) ?? (operation === 'embeddings' ? checkInput(fields) : checkChat(fields))
  if (refusal !== null) return refusal
  const stream = operation === 'chat_completions' && fields['stream'] === true
  const options = stream
    ? (fields['stream_options'] as Readonly<Record<string, unknown>> | null | undefined)
    : undefined
  const temperature = fields['temperature']
  return {
    bytes,
    members: located,
    model: fields['model'] as string,
    stream,
    wantsUsage: options?.['include_usage'] === true,
    wantsContinuousUsage: options?.['continuous_usage_stats'] === true,
    user: typeof fields['user'] === 'string' ? fields['user'] : null,
    temperature: typeof temperature === 'number' && Number.isFinite(temperature) ? temperature : null,
    prompt: operation === 'embeddings' ? fields['input'] : fields['messages'],
  }
}

type Fields = Readonly<Record<string, unknown>>

function checkModel(fields: Fields): RequestRefusal | null {
  const model = fields['model']
  if (model === undefined || model === null) return missing('model', 'you must provide a model parameter')
  if (typeof model !== 'string') return wrongType('model', 'a string', model)
  if (model === '') return missing('model', 'you must provide a model parameter')
  if (model.length > modelLengthMax) {
    return refuse('invalid_type', `'model' is longer than ${modelLengthMax} characters.`, { field: 'model' })
  }
  return null
}

function checkChat(fields: Fields): RequestRefusal | null {
  const { messages } = fields
  if (messages === undefined || messages === null) return missing('messages', "Missing required parameter: 'messages'.")
  if (!Array.isArray(messages)) return wrongType('messages', 'an array of objects', messages)
  if (messages.length === 0) return emptyArray('messages')
  for (let index = 0; index < messages.length; index++) {
    const message: unknown = messages[index]
    if (typeof message !== 'object' || message === null || Array.isArray(message)) {
      return wrongType(`messages[${index}]`, 'an object', message)
    }
    const { role } = message as { role?: unknown }
    if (typeof role !== 'string') {
      return role === undefined
        ? missing(`messages[${index}].role`, `Missing required parameter: 'messages[${index}].role'.`)
        : wrongType(`messages[${index}].role`, 'a string', role)
    }
  }
  return (
    checkOptional(fields, 'stream', 'boolean', 'a boolean') ??
    checkOptional(fields, 'temperature', 'number', 'a number') ??
    checkOptional(fields, 'user', 'string', 'a string') ??
    checkStreamOptions(fields)
  )
}

function checkInput(fields: Fields): RequestRefusal | null {
  const { input } = fields
  if (input === undefined || input === null) return missing('input', "Missing required parameter: 'input'.")
  if (typeof input !== 'string' && !Array.isArray(input)) return wrongType('input', 'a string or an array', input)
  if (input.length === 0) {
    return Array.isArray(input)
      ? emptyArray('input')
      : refuse('invalid_type', "'input' cannot be an empty string.", { field: 'input' })
  }
  return checkOptional(fields, 'user', 'string', 'a string')
}

function checkStreamOptions(fields: Fields): RequestRefusal | null {
  const options = fields['stream_options']
  if (options === undefined || options === null) return null
  if (typeof options !== 'object' || Array.isArray(options)) return wrongType('stream_options', 'an object', options)
  for (const name of ['include_usage', 'continuous_usage_stats']) {
    const value = (options as Fields)[name]
    if (value !== undefined && value !== null && typeof value !== 'boolean') {
      return wrongType(`stream_options.${name}`, 'a boolean', value)
    }
  }
  return null
}

function checkOptional(fields: Fields, name: string, type: string, words: string): RequestRefusal | null {
  const value = fields[name]
  return value === undefined || value === null || typeof value === type ? null : wrongType(name, words, value)
}

function missing(field: string, message: string): RequestRefusal {
  return refuse('missing_field', message, { field })
}

/** In OpenAI's own words: clients compare them. */
function emptyArray(field: string): RequestRefusal {
  const message = `Invalid '${field}': empty array. Expected an array with minimum length 1, but got an empty array instead.`
  return refuse('empty_array', message, { field })
}

function wrongType(field: string, expected: string, value: unknown): RequestRefusal {
  const got = value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`
  return refuse('invalid_type', `Invalid type for '${field}': expected ${expected}, but got ${got} instead.`, { field })
}

function messageOf(fault: unknown): string {
  // V8 quotes the text around the fault; a body is the client's secret, also in its own error.
  const message = fault instanceof Error ? fault.message : ''
  const position = /position (\d+)/.exec(message)
  return position ? `it is not valid JSON at byte ${position[1]}.` : 'it is not valid JSON.'
}
