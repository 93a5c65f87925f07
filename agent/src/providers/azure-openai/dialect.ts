import type { ProviderTable, TargetTable } from '../../../../proto/policy/tables.js'
import { readAnswer } from '../openai/answer.js'
import { openaiDialect, responsesWire } from '../openai/dialect.js'
import { readChatAnswer, readErrorMessage } from '../openai/read-answer.js'
import { OpenaiEventReader } from '../openai/read-events.js'
import { requestBody } from '../openai/request-body.js'
import { ChatStreamReader } from '../openai/stream.js'
import type {
  OutgoingCall,
  ProviderDialect,
  ProviderSecret,
  RequestBody,
  StreamReaderOptions,
  UsageDepth,
} from '../provider-dialect.js'
import { isUndated, knows } from './api-version.js'
import { AzureAuthorizer, type AzureTools, tokenKey } from './authorize.js'
import { writeAzureRequest } from './write-request.js'

const jsonHeaders = (stream: boolean) => [
  ...['content-type', 'application/json'],
  ...['accept', stream ? 'text/event-stream' : 'application/json'],
]

/**
 * Where an operation is found. The upstream model's name is the deployment's: in the path with a dated version, and in the
 * body always. Source: Microsoft's documentation, "Azure OpenAI REST API reference", and "API version lifecycle" for v1.
 */
function pathOf({ provider, upstreamModel }: TargetTable, operation: string): string {
  const { basePath, apiVersion } = provider
  if (isUndated(apiVersion)) return `${basePath}/openai/v1/${operation}`
  const deployment = encodeURIComponent(upstreamModel)
  return `${basePath}/openai/deployments/${deployment}/${operation}?api-version=${encodeURIComponent(apiVersion)}`
}

const chatPath = (target: TargetTable) => pathOf(target, 'chat/completions')

/** Answers that draw on `data_sources` ("Azure OpenAI On Your Data") refuse to be asked for their usage. */
function chatBody(body: RequestBody, target: TargetTable, depth: UsageDepth): Buffer {
  return requestBody(body, target, body.fields['data_sources'] === undefined ? depth : 'none')
}

/** Azure OpenAI: OpenAI's wire, found and authorised in Azure's way. */
export function azureOpenaiDialect(tools: AzureTools): ProviderDialect {
  const authorizer = new AzureAuthorizer(tools)
  return Object.freeze({
    native: Object.freeze({
      chat_completions: Object.freeze({
        path: chatPath,
        headers: jsonHeaders,
        passedHeaders: [],
        body: chatBody,
        readAnswer,
        streamReader: (options: StreamReaderOptions) => new ChatStreamReader(options),
      }),
      embeddings: Object.freeze({
        path: (target: TargetTable) => pathOf(target, 'embeddings'),
        headers: jsonHeaders,
        passedHeaders: [],
        body: requestBody,
        readAnswer,
        streamReader: null,
      }),
      // Dated versions have it on other paths with other names: they get it translated.
      responses: responsesWire(
        (target) => pathOf(target, 'responses'),
        ({ apiVersion }) => isUndated(apiVersion),
      ),
    }),
    chat: Object.freeze({
      path: chatPath,
      headers: jsonHeaders,
      write: writeAzureRequest,
      readAnswer: readChatAnswer,
      streamContentType: 'text/event-stream',
      eventReader: () => new OpenaiEventReader(),
      readError: readErrorMessage,
    }),
    embeddings: null,
    authorize: (call: OutgoingCall, secret: ProviderSecret | null) => authorizer.authorize(call, secret),
    forgetAuthorization: (provider: ProviderTable) => tools.tokens.forget(tokenKey(provider)),
    usageDepth: ({ apiVersion }: ProviderTable): UsageDepth => (knows(apiVersion, 'streamUsage') ? 'final' : 'none'),
    refusesUsageDepth: openaiDialect.refusesUsageDepth,
  } satisfies ProviderDialect)
}
