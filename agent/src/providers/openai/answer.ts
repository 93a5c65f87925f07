import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import { readMembers } from '../json-reader.js'
import type { Answer } from '../provider-dialect.js'

type Fields = Readonly<Record<string, unknown>>

const memberNames = ['usage', 'model', 'prompt_eval_count', 'eval_count'] as const

/**
 * Usage and model of a whole answer; null when the bytes are not one JSON object from first to last. Only these become
 * values: an answer of a thousand embeddings is read, not built.
 */
export function readAnswer(bytes: Buffer): Answer | null {
  const fields = readMembers(bytes, memberNames)
  if (fields === null) return null
  return { usage: usageOf(fields), model: typeof fields['model'] === 'string' ? fields['model'] : null }
}

/** The JSON object that `text` is, or null. */
export function parseFields(text: string): Fields | null {
  try {
    const value: unknown = JSON.parse(text)
    return isFields(value) ? value : null
  } catch {
    return null
  }
}

/** Usage in an answer or chunk: OpenAI's `usage`, or Ollama's own counts where only those are present. */
export function usageOf(answer: Fields): TokenUsage | null {
  const usage = answer['usage']
  if (isFields(usage)) return tokensOf(usage)
  const input = countOf(answer['prompt_eval_count'])
  const output = countOf(answer['eval_count'])
  if (input === null && output === null) return null
  return { input: input ?? 0, output: output ?? 0, cachedInput: null, reasoningOutput: null }
}

/** Tokens of OpenAI's `usage` object; null when it holds no count. */
export function tokensOf(usage: Fields): TokenUsage | null {
  const input = countOf(usage['prompt_tokens'])
  const output = countOf(usage['completion_tokens'])
  if (input === null && output === null) return null
  const inputDetails = usage['prompt_tokens_details']
  const outputDetails = usage['completion_tokens_details']
  return {
    input: input ?? 0,
    output: output ?? 0,
    cachedInput: isFields(inputDetails) ? countOf(inputDetails['cached_tokens']) : null,
    reasoningOutput: isFields(outputDetails) ? countOf(outputDetails['reasoning_tokens']) : null,
  }
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function countOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null
}
