import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { countOf, isJsonObject, type JsonObject } from '../../conversation/json-object.js'
import { isShort, parseMembers, readMembers } from '../json-reader.js'
import type { Answer } from '../provider-dialect.js'

const memberNames = ['usage', 'model', 'prompt_eval_count', 'eval_count'] as const

/**
 * Usage and model of a whole answer; null when the bytes are not one JSON object from first to last. Only these become
 * values: an answer of a thousand embeddings is read, not built.
 */
export function readAnswer(bytes: Buffer): Answer | null {
  const parsed = isShort(bytes) ? parseMembers(bytes) : null
  const fields = parsed ?? readMembers(bytes, memberNames)
  if (fields === null) return null
  return { usage: usageOf(fields), model: typeof fields['model'] === 'string' ? fields['model'] : null, parsed }
}

/** Usage in an answer or chunk: OpenAI's `usage`, or Ollama's own counts where only those are present. */
export function usageOf(answer: JsonObject): TokenUsage | null {
  const usage = answer['usage']
  if (isJsonObject(usage)) return tokensOf(usage)
  const input = countOf(answer['prompt_eval_count'])
  const output = countOf(answer['eval_count'])
  if (input === null && output === null) return null
  return { input: input ?? 0, output: output ?? 0, cachedInput: null, cacheWriteInput: null, reasoningOutput: null }
}

/** Tokens of OpenAI's `usage` object; null when it holds no count. */
export function tokensOf(usage: JsonObject): TokenUsage | null {
  const input = countOf(usage['prompt_tokens'])
  const output = countOf(usage['completion_tokens'])
  if (input === null && output === null) return null
  const inputDetails = usage['prompt_tokens_details']
  const outputDetails = usage['completion_tokens_details']
  return {
    input: input ?? 0,
    output: output ?? 0,
    cachedInput: isJsonObject(inputDetails) ? countOf(inputDetails['cached_tokens']) : null,
    cacheWriteInput: null,
    reasoningOutput: isJsonObject(outputDetails) ? countOf(outputDetails['reasoning_tokens']) : null,
  }
}
