/**
 * Takes secrets out of what is about to be logged: by the name of the member that holds them, and by their shape
 * wherever they stand in a text. Bounded in depth, breadth and length, because a log line is no place for a document.
 */
const secretName =
  /authorization|cookie|password|passwd|secret|private.?key|api.?key$|credential|ciphertext|^token$|[a-z]Token$|_token$|join.?token/i
/** Names that match above and are ids or counts. */
const harmlessName = /(?:Id|Ids|Count|Prefix|Version|Name)$|^apiKeyId$/

const secretShapes: readonly [RegExp, string][] = [
  // An API key of ours: all but its recognisable prefix.
  [/\b(sy_[a-z0-9]{1,12}_[A-Za-z0-9_-]{6})[A-Za-z0-9_-]{40,43}/g, '$1…'],
  // A join token: its id stays.
  [/\b(sjt_[A-Za-z0-9_]+)\.[A-Za-z0-9_.-]+/g, '$1.[redacted]'],
  [/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+/gi, '$1 [redacted]'],
  // A JSON Web Token.
  [/\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, '[redacted]'],
  // A provider's key.
  [/\bsk-[A-Za-z0-9_-]{8,}/g, 'sk-[redacted]'],
  // The password inside a URL.
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s/@]+@/gi, '$1:[redacted]@'],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, '[redacted]'],
]

const depthMax = 6
const membersMax = 100
const textLengthMax = 8_192

export function redactText(text: string): string {
  let redacted = text.length > textLengthMax ? `${text.slice(0, textLengthMax)}…` : text
  for (const [shape, replacement] of secretShapes) redacted = redacted.replace(shape, replacement)
  return redacted
}

export function redactFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return redactMembers(fields, 0)
}

function redactMembers(object: object, depth: number): Record<string, unknown> {
  const redacted: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(object).slice(0, membersMax)) {
    const isSecret = secretName.test(name) && !harmlessName.test(name) && value !== null && value !== undefined
    redacted[name] = isSecret ? '[redacted]' : redactValue(value, depth + 1)
  }
  return redacted
}

function redactValue(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      return redactText(value)
    case 'bigint':
      return value.toString()
    case 'function':
    case 'symbol':
      return undefined
    case 'object':
      if (value === null) return null
      if (value instanceof Error) return redactError(value, depth)
      if (value instanceof Date) return value.toISOString()
      if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
      if (depth > depthMax) return '[deeper]'
      if (value instanceof Map || value instanceof Set) return `[${value.size} entries]`
      if (Array.isArray(value)) return value.slice(0, membersMax).map((item) => redactValue(item, depth + 1))
      return redactMembers(value, depth)
    default:
      return value
  }
}

function redactError(error: Error, depth: number): Record<string, unknown> {
  return {
    type: error.name,
    message: redactText(error.message),
    ...('code' in error && error.code !== undefined ? { code: redactValue(error.code, depth + 1) } : {}),
    ...(error.stack === undefined ? {} : { stack: redactText(error.stack) }),
    ...(error.cause === undefined || depth > depthMax ? {} : { cause: redactValue(error.cause, depth + 1) }),
  }
}
