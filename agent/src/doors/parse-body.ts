import { isUtf8 } from 'node:buffer'
import { refuse } from '../../../proto/std/refusal.js'
import { wrongTypeRefusal } from '../conversation/fields.js'
import { isJsonObject, type JsonObject } from '../conversation/json-object.js'
import { findMembers, type Members } from '../providers/json-members.js'
import type { RequestBody } from '../providers/provider-dialect.js'
import type { RequestRefusal } from '../request/request-refusal.js'

/**
 * One parse of a client's body: enough to decide, with the bytes kept so that everything we do not know passes untouched.
 * Only the fields that the agent itself reads are checked; the rest is between the client and the upstream.
 */
export interface ParsedBody {
  readonly bytes: Buffer
  readonly members: Members
  readonly fields: JsonObject
  readonly model: string
}

/** Names of routes are far shorter; this keeps a hostile one out of records and logs. */
const modelLengthMax = 256

/**
 * Levels of objects and arrays in a body, itself included. What is nested by the thousand can be parsed, but overflows the
 * stack of whoever writes it again; a schema that people use has a dozen.
 */
const depthMax = 100

/**
 * What every door's body has: a JSON object with a model, not nested beyond reason, in which none of the first `onceCount` of
 * `names` is given twice. `names`: what is looked for in the bytes.
 */
export function parseJsonBody(
  bytes: Buffer,
  names: readonly string[],
  onceCount = names.length,
): ParsedBody | RequestRefusal {
  if (!isUtf8(bytes)) return refuse('invalid_json', 'The body is not UTF-8.')
  let fields: unknown
  try {
    fields = JSON.parse(bytes.toString('utf8'))
  } catch (fault) {
    return refuse('invalid_json', `We could not parse the JSON body of your request: ${messageOf(fault)}`)
  }
  if (!isJsonObject(fields)) return refuse('invalid_json', 'The body has to be a JSON object.')
  const members = findMembers(bytes, 0, names, depthMax)
  if (members === null) return refuse('invalid_json', 'The body has to be a JSON object.')
  if (members.tooDeep) {
    return refuse(
      'invalid_json',
      `The JSON body is nested too deeply: it may have ${depthMax} levels of objects and arrays.`,
    )
  }
  // Parsers disagree about which of two equal names counts: the upstream must not read another model than was authorised.
  if (members.duplicate !== null && names.indexOf(members.duplicate) < onceCount) {
    return refuse('duplicate_field', `'${members.duplicate}' is given more than once.`, { field: members.duplicate })
  }
  return checkModel(fields) ?? { bytes, members, fields, model: fields['model'] as string }
}

/** `parsed` as a body, with what the door read of it. */
export function requestBodyOf(parsed: ParsedBody, read: Omit<RequestBody, keyof ParsedBody>): RequestBody {
  const { bytes, members, fields, model } = parsed
  const { stream, wantsUsage, wantsContinuousUsage, user, temperature, prompt } = read
  return { bytes, members, fields, model, stream, wantsUsage, wantsContinuousUsage, user, temperature, prompt }
}

/** A finite number, or null. */
export function finiteOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}

function checkModel(fields: JsonObject): RequestRefusal | null {
  const model = fields['model']
  if (model === undefined || model === null) return missing('model', 'you must provide a model parameter')
  if (typeof model !== 'string') return wrongTypeRefusal('model', 'a string', model)
  if (model === '') return missing('model', 'you must provide a model parameter')
  if (model.length > modelLengthMax) {
    return refuse('invalid_type', `'model' is longer than ${modelLengthMax} characters.`, { field: 'model' })
  }
  return null
}

/** An array of messages, each an object with a role, at least one. */
export function checkMessages(fields: JsonObject): RequestRefusal | null {
  const { messages } = fields
  if (messages === undefined || messages === null) return missing('messages', "Missing required parameter: 'messages'.")
  if (!Array.isArray(messages)) return wrongTypeRefusal('messages', 'an array of objects', messages)
  if (messages.length === 0) return emptyArray('messages')
  for (let index = 0; index < messages.length; index++) {
    const message: unknown = messages[index]
    if (!isJsonObject(message)) return wrongTypeRefusal(`messages[${index}]`, 'an object', message)
    const { role } = message
    if (typeof role !== 'string') {
      return role === undefined
        ? missing(`messages[${index}].role`, `Missing required parameter: 'messages[${index}].role'.`)
        : wrongTypeRefusal(`messages[${index}].role`, 'a string', role)
    }
  }
  return null
}

export function checkOptional(
  fields: JsonObject,
  name: string,
  type: 'boolean' | 'number' | 'string',
): RequestRefusal | null {
  const value = fields[name]
  return value === undefined || value === null || typeof value === type
    ? null
    : wrongTypeRefusal(name, `a ${type}`, value)
}

export function missing(field: string, message: string): RequestRefusal {
  return refuse('missing_field', message, { field })
}

/** In OpenAI's own words: clients compare them. */
export function emptyArray(field: string): RequestRefusal {
  const message = `Invalid '${field}': empty array. Expected an array with minimum length 1, but got an empty array instead.`
  return refuse('empty_array', message, { field })
}

function messageOf(fault: unknown): string {
  // V8 quotes the text around the fault; a body is the client's secret, also in its own error.
  const message = fault instanceof Error ? fault.message : ''
  const position = /position (\d+)/.exec(message)
  return position ? `it is not valid JSON at byte ${position[1]}.` : 'it is not valid JSON.'
}
