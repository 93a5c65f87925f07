import type { ProviderTable } from '../../../../proto/policy/tables.js'
import type { ProviderDialect, UpstreamOperation, UsageDepth } from '../provider-dialect.js'
import { readAnswer } from './answer.js'
import { requestBody } from './request-body.js'
import { ChatStreamReader } from './stream.js'

/** OpenAI and what speaks like it: vLLM, Ollama and any compatible server. */
export const openaiDialect: ProviderDialect = Object.freeze({
  path: (provider: ProviderTable, operation: UpstreamOperation) =>
    operation === 'embeddings' ? `${provider.basePath}/embeddings` : `${provider.basePath}/chat/completions`,
  headers: (secret: string | null, stream: boolean) => {
    const headers = ['content-type', 'application/json', 'accept', stream ? 'text/event-stream' : 'application/json']
    if (secret !== null) headers.push('authorization', `Bearer ${secret}`)
    return headers
  },
  body: requestBody,
  readAnswer,
  streamReader: (options) => new ChatStreamReader(options),
  // OpenAI itself refuses members it does not know; vLLM documents the running total. A compatible server is asked once
  // and remembered if it says no.
  usageDepth: (provider: ProviderTable): UsageDepth =>
    provider.kind === 'vllm' || provider.kind === 'openai-compatible' ? 'continuous' : 'final',
  refusesUsageDepth: (status: number, body: Buffer) =>
    (status === 400 || status === 422) &&
    (body.includes('stream_options') || body.includes('continuous_usage_stats') || body.includes('include_usage')),
} satisfies ProviderDialect)
