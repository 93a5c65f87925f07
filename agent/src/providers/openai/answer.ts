import type { TokenUsage } from '../../../../proto/policy/price-usage.js'
import type { Answer } from '../provider-dialect.js'

type Fields = Readonly<Record<string, unknown>>

/** Usage and model of a whole answer; null when the bytes are not a JSON object. */
export function readAnswer(bytes: Buffer): Answer | null {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch {
    return null
  }
  if (!isFields(value)) return null
  return { usage: usageOf(value), model: typeof value['model'] === 'string' ? value['model'] : null }
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
