import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { countOf, type JsonObject } from '../../conversation/json-object.js'

/**
 * Tokens of Gemini's `usageMetadata`, which counts what a model thought beside what it said, and what came from its cache
 * as part of the prompt. A class that it leaves out is not known, except for the output of an answer that is still to come.
 * Null when it holds no count: the chunks of a stream but the last usually tell only what kind of traffic they are. Source:
 * Vertex AI's REST reference, `GenerateContentResponse.UsageMetadata`.
 */
export function tokensOf(usage: JsonObject): TokenUsage | null {
  const prompt = countOf(usage['promptTokenCount'])
  const said = countOf(usage['candidatesTokenCount'])
  const thought = countOf(usage['thoughtsTokenCount'])
  if (prompt === null && said === null) return null
  return {
    // What tools that run at Google gave the model; none are ever asked for.
    input: (prompt ?? 0) + (countOf(usage['toolUsePromptTokenCount']) ?? 0),
    output: (said ?? 0) + (thought ?? 0),
    cachedInput: countOf(usage['cachedContentTokenCount']),
    cacheWriteInput: null,
    reasoningOutput: thought,
  }
}
