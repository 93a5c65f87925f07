import type { ProviderTable, TargetTable } from '../../../../proto/policy/tables.js'
import type { ProviderDialect, ProviderSecret, StreamReaderOptions, UsageDepth } from '../provider-dialect.js'
import { readAnswer } from './answer.js'
import { readChatAnswer, readErrorMessage } from './read-answer.js'
import { OpenaiEventReader } from './read-events.js'
import { requestBody } from './request-body.js'
import { ChatStreamReader } from './stream.js'
import { writeChatRequest } from './write-request.js'

const jsonHeaders = (stream: boolean) => [
  ...['content-type', 'application/json'],
  ...['accept', stream ? 'text/event-stream' : 'application/json'],
]

/** OpenAI and what speaks like it: vLLM, Ollama and any compatible server. */
export const openaiDialect: ProviderDialect = Object.freeze({
  native: Object.freeze({
    chat_completions: Object.freeze({
      path: (target: TargetTable) => `${target.provider.basePath}/chat/completions`,
      headers: jsonHeaders,
      passedHeaders: [],
      body: requestBody,
      readAnswer,
      streamReader: (options: StreamReaderOptions) => new ChatStreamReader(options),
    }),
    embeddings: Object.freeze({
      path: (target: TargetTable) => `${target.provider.basePath}/embeddings`,
      headers: jsonHeaders,
      passedHeaders: [],
      body: requestBody,
      readAnswer,
      streamReader: null,
    }),
  }),
  chat: Object.freeze({
    path: (target: TargetTable) => `${target.provider.basePath}/chat/completions`,
    headers: jsonHeaders,
    write: writeChatRequest,
    readAnswer: readChatAnswer,
    streamContentType: 'text/event-stream',
    eventReader: () => new OpenaiEventReader(),
    readError: readErrorMessage,
  }),
  authorize: (_call: unknown, secret: ProviderSecret | null) =>
    typeof secret === 'string' ? ['authorization', `Bearer ${secret}`] : [],
  // OpenAI itself refuses members it does not know; vLLM documents the running total. A compatible server is asked once
  // and remembered if it says no.
  usageDepth: (provider: ProviderTable): UsageDepth =>
    provider.kind === 'vllm' || provider.kind === 'openai-compatible' ? 'continuous' : 'final',
  refusesUsageDepth: (status: number, body: Buffer) =>
    (status === 400 || status === 422) &&
    (body.includes('stream_options') || body.includes('continuous_usage_stats') || body.includes('include_usage')),
} satisfies ProviderDialect)
