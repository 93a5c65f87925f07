import type { TargetTable } from '../../../../proto/policy/tables.js'
import type { Conversation } from '../../conversation/conversation.js'
import type { ProviderDialect, ProviderSecret, UsageDepth } from '../provider-dialect.js'
import { readCount, readUsage } from './answer.js'
import { readErrorMessage, readMessageAnswer } from './read-answer.js'
import { AnthropicEventReader } from './read-events.js'
import { requestBody } from './request-body.js'
import { MessageStreamReader } from './stream.js'
import { writeMessageRequest } from './write-request.js'

/**
 * The version of the wire that this agent writes: the one that can still say how to sample, to models that listen. A client
 * of the native door names its own.
 */
const version = '2023-06-01'
const passedHeaders = ['anthropic-version', 'anthropic-beta'] as const

const jsonHeaders = (stream: boolean) => [
  ...['content-type', 'application/json'],
  ...['accept', stream ? 'text/event-stream' : 'application/json'],
  ...['anthropic-version', version],
]
const messagesPath = (target: TargetTable) => `${target.provider.basePath}/messages`

/** Anthropic's own API. */
export const anthropicDialect: ProviderDialect = Object.freeze({
  native: Object.freeze({
    messages: Object.freeze({
      path: messagesPath,
      headers: jsonHeaders,
      passedHeaders,
      body: requestBody,
      readAnswer: readUsage,
      streamReader: () => new MessageStreamReader(),
    }),
    count_tokens: Object.freeze({
      path: (target: TargetTable) => `${messagesPath(target)}/count_tokens`,
      headers: jsonHeaders,
      passedHeaders,
      body: requestBody,
      readAnswer: readCount,
      streamReader: null,
    }),
  }),
  chat: Object.freeze({
    path: messagesPath,
    headers: jsonHeaders,
    write: writeMessageRequest,
    readAnswer: readMessageAnswer,
    streamContentType: 'text/event-stream',
    eventReader: (conversation: Conversation) => new AnthropicEventReader(conversation),
    readError: readErrorMessage,
  }),
  embeddings: null,
  authorize: (_call: unknown, secret: ProviderSecret | null) =>
    typeof secret === 'string' ? ['x-api-key', secret] : [],
  // Every stream tells its input first and its output last, unasked.
  usageDepth: (): UsageDepth => 'final',
  refusesUsageDepth: () => false,
} satisfies ProviderDialect)
