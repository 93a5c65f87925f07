import type { ProviderTable, TargetTable } from '../../../../proto/policy/tables.js'
import type {
  NativeWire,
  ProviderDialect,
  ProviderSecret,
  StreamReaderOptions,
  UsageDepth,
} from '../provider-dialect.js'
import { readAnswer } from './answer.js'
import { readTokenCount, tokenizePath, writeTokenizeRequest } from './count-tokens.js'
import { readChatAnswer, readErrorMessage } from './read-answer.js'
import { OpenaiEventReader } from './read-events.js'
import { requestBody } from './request-body.js'
import { responseRequestBody } from './response-request.js'
import { ResponseStreamReader } from './response-stream.js'
import { readResponse } from './response-usage.js'
import { ChatStreamReader } from './stream.js'
import { writeChatRequest } from './write-request.js'

const jsonHeaders = (stream: boolean) => [
  ...['content-type', 'application/json'],
  ...['accept', stream ? 'text/event-stream' : 'application/json'],
]

/** What speaks like OpenAI: vLLM, Ollama and any compatible server. */
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
    completions: Object.freeze({
      path: (target: TargetTable) => `${target.provider.basePath}/completions`,
      headers: jsonHeaders,
      passedHeaders: [],
      body: requestBody,
      readAnswer,
      // Its chunks differ from chat's in where a choice's text stands, and the reader knows both.
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
  embeddings: null,
  count: Object.freeze({
    path: tokenizePath,
    headers: jsonHeaders,
    // Ollama has none. Who stands behind a compatible address, and has it, is found out by asking.
    serves: ({ kind }: ProviderTable) => kind === 'vllm' || kind === 'openai-compatible',
    write: writeTokenizeRequest,
    readAnswer: readTokenCount,
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

/**
 * The Responses API, which OpenAI serves, and Azure on its v1 paths. What vLLM, Ollama and others have of it differs with
 * every version and model (vLLM streams calls of tools as text for models with a parser of reasoning: its issues 29725 and
 * 36435; Ollama has it since 0.13.3 only), while all of them serve chat completions well. So they get it translated, and a
 * client finds the same door whatever stands behind it.
 */
export function responsesWire(
  path: (target: TargetTable) => string,
  serves: (provider: ProviderTable) => boolean = () => true,
): NativeWire {
  return Object.freeze({
    path,
    serves,
    headers: jsonHeaders,
    passedHeaders: [],
    body: responseRequestBody,
    readAnswer: readResponse,
    streamReader: () => new ResponseStreamReader(),
  })
}

/** OpenAI itself. */
export const openaiOwnDialect: ProviderDialect = Object.freeze({
  ...openaiDialect,
  native: Object.freeze({
    ...openaiDialect.native,
    responses: responsesWire((target) => `${target.provider.basePath}/responses`),
  }),
})
