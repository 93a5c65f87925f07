import { isJsonObject, textOf } from '../../conversation/json-object.js'

/**
 * What Google's errors say: `{"error":{"code","message","status","details"}}`, in an array where a stream was asked for but
 * not as events. Source: Google Cloud's API design guide, "Errors", HTTP mapping.
 */
export function readErrorMessage(bytes: Buffer): string | null {
  return parseError(bytes.toString('utf8'))
}

export function parseError(text: string): string | null {
  try {
    return errorMessageIn(JSON.parse(text))
  } catch {
    return null
  }
}

/** Null when there is no error in it. */
export function errorMessageIn(value: unknown): string | null {
  const body: unknown = Array.isArray(value) ? value[0] : value
  const error = isJsonObject(body) ? body['error'] : null
  if (!isJsonObject(error)) return textOf(error)
  return textOf(error['message']) ?? textOf(error['status']) ?? 'the upstream reported an error'
}
