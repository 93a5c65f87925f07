import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { countOf, isJsonObject, type JsonObject, textOf } from '../../conversation/json-object.js'
import { readMembers } from '../json-reader.js'
import type { Answer } from '../provider-dialect.js'

const memberNames = ['object', 'usage', 'model'] as const

/**
 * Usage and model of a whole response; null when the bytes are not one. Source: OpenAI's API reference, "The response
 * object".
 */
export function readResponse(bytes: Buffer): Answer | null {
  const fields = readMembers(bytes, memberNames)
  return fields === null || fields['object'] !== 'response' ? null : responseFacts(fields)
}

/** The same of a response that was parsed already, as the events of a stream hold it. */
export function responseFacts(response: JsonObject): Answer {
  const { usage, model } = response
  return { usage: isJsonObject(usage) ? tokensOf(usage) : null, model: textOf(model) }
}

/** Null when it holds no count. */
function tokensOf(usage: JsonObject): TokenUsage | null {
  const input = countOf(usage['input_tokens'])
  const output = countOf(usage['output_tokens'])
  if (input === null && output === null) return null
  const { input_tokens_details: inputDetails, output_tokens_details: outputDetails } = usage
  return {
    input: input ?? 0,
    output: output ?? 0,
    cachedInput: isJsonObject(inputDetails) ? countOf(inputDetails['cached_tokens']) : null,
    cacheWriteInput: isJsonObject(inputDetails) ? countOf(inputDetails['cache_write_tokens']) : null,
    reasoningOutput: isJsonObject(outputDetails) ? countOf(outputDetails['reasoning_tokens']) : null,
  }
}
