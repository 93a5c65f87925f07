import { anthropicDialect } from './anthropic/dialect.js'
import { openaiDialect } from './openai/dialect.js'
import type { ProviderDialect } from './provider-dialect.js'

const dialects: ReadonlyMap<string, ProviderDialect> = new Map([
  ['openai', openaiDialect],
  ['anthropic', anthropicDialect],
  ['vllm', openaiDialect],
  ['ollama', openaiDialect],
  ['openai-compatible', openaiDialect],
])

/** The wire that providers of `kind` speak; null for a kind this agent does not know yet. */
export function findDialect(kind: string): ProviderDialect | null {
  return dialects.get(kind) ?? null
}
