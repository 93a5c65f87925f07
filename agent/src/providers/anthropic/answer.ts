import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { countOf, isJsonObject, type JsonObject, textOf } from '../../conversation/json-object.js'
import { readMembers } from '../json-reader.js'
import type { Answer } from '../provider-dialect.js'

const memberNames = ['type', 'usage', 'model'] as const

/** Usage and model of a whole message; null when the bytes are not one. */
export function readUsage(bytes: Buffer): Answer | null {
  const fields = readMembers(bytes, memberNames)
  if (fields === null || fields['type'] !== 'message') return null
  const usage = fields['usage']
  return { usage: isJsonObject(usage) ? tokensOf(usage) : null, model: textOf(fields['model']) }
}

/** A count of tokens costs none itself. */
export function readCount(bytes: Buffer): Answer | null {
  const fields = readMembers(bytes, ['input_tokens'])
  return countOf(fields?.['input_tokens']) === null ? null : { usage: null, model: null }
}

/**
 * Tokens of Anthropic's `usage`, which counts the parts of the input side by side: what was read from its cache and what
 * was written into it is not in `input_tokens`. Null when it holds no count.
 */
export function tokensOf(usage: JsonObject): TokenUsage | null {
  const input = countOf(usage['input_tokens'])
  const output = countOf(usage['output_tokens'])
  if (input === null && output === null) return null
  const cachedInput = countOf(usage['cache_read_input_tokens'])
  const cacheWriteInput = countOf(usage['cache_creation_input_tokens'])
  const details = usage['output_tokens_details']
  return {
    input: (input ?? 0) + (cachedInput ?? 0) + (cacheWriteInput ?? 0),
    output: output ?? 0,
    cachedInput,
    cacheWriteInput,
    reasoningOutput: isJsonObject(details) ? countOf(details['thinking_tokens']) : null,
  }
}
