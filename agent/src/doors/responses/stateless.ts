import { refuse } from '../../../../proto/std/refusal.js'
import { isJsonObject, type JsonObject } from '../../conversation/json-object.js'
import type { RequestRefusal } from '../../request/request-refusal.js'
import { checkOptional } from '../parse-body.js'

/**
 * This door keeps no conversation, and has no provider keep one: what was said before is in the request. What refers to what
 * an account remembers of a conversation is refused, also where the provider would take it: no policy permits that content
 * be kept there, and the next target of the route, at another account, could not know it. Files and vector stores, which
 * somebody put into the tenant's own account on purpose, are not meant.
 */
export const statefulNames = ['previous_response_id', 'conversation', 'prompt', 'background', 'store'] as const

const advice = "Nothing is kept between two requests: send the whole conversation in 'input'."

/** The first member that asks for memory, refused by its name; null when there is none. `input` is an array or a text. */
export function refuseState(fields: JsonObject): RequestRefusal | null {
  for (const name of ['previous_response_id', 'conversation'] as const) {
    if (isGiven(fields, name)) return stateful(name, `'${name}' is not supported. ${advice}`)
  }
  if (isGiven(fields, 'prompt')) {
    return stateful(
      'prompt',
      "'prompt' is not supported: it is kept at one provider. Send its text in 'instructions' or 'input'.",
    )
  }
  const wrong = checkOptional(fields, 'background', 'boolean') ?? checkOptional(fields, 'store', 'boolean')
  if (wrong !== null) return wrong
  if (fields['background'] === true) {
    return stateful('background', "'background' is not supported: nobody keeps the answer until it is asked for.")
  }
  if (fields['store'] === true) {
    return stateful('store', `'store' cannot be true: no policy lets a provider keep what is said. ${advice}`)
  }
  return refuseReferences(fields['input'])
}

function refuseReferences(input: unknown): RequestRefusal | null {
  if (!Array.isArray(input)) return null
  for (let index = 0; index < input.length; index++) {
    const item: unknown = input[index]
    if (!isReference(item)) continue
    const field = `input[${index}]`
    return stateful(field, `'${field}' refers to an item that is kept at a provider. ${advice}`)
  }
  return null
}

/** A reference may leave its type out; then it has an id and no role. */
function isReference(item: unknown): boolean {
  if (!isJsonObject(item)) return false
  const { type, role, id } = item
  return type === 'item_reference' || ((type ?? null) === null && (role ?? null) === null && typeof id === 'string')
}

function isGiven(fields: JsonObject, name: string): boolean {
  return fields[name] !== undefined && fields[name] !== null
}

function stateful(field: string, message: string): RequestRefusal {
  return refuse('unsupported_field', message, { field })
}
