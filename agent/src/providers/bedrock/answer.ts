import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { countOf, type JsonObject } from '../../conversation/json-object.js'

/**
 * Tokens of a `TokenUsage`, which counts the parts of the input side by side: "inputTokens represents only the non-cached
 * input tokens", and the whole is it plus what was read from the cache and what was written into it (AWS's Bedrock user
 * guide, "Prompt caching"). Thinking is part of the output and not told apart. Null when it holds no count.
 */
export function tokensOf(usage: JsonObject): TokenUsage | null {
  const input = countOf(usage['inputTokens'])
  const output = countOf(usage['outputTokens'])
  if (input === null && output === null) return null
  const cachedInput = countOf(usage['cacheReadInputTokens'])
  const cacheWriteInput = countOf(usage['cacheWriteInputTokens'])
  return {
    input: (input ?? 0) + (cachedInput ?? 0) + (cacheWriteInput ?? 0),
    output: output ?? 0,
    cachedInput,
    cacheWriteInput,
    reasoningOutput: null,
  }
}
