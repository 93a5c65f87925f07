import type { ProviderTable } from '../../../../proto/policy/tables.js'
import type { Conversation } from '../../conversation/conversation.js'
import type { OutgoingCall, ProviderDialect, ProviderSecret, UsageDepth } from '../provider-dialect.js'
import { authorizeVertex, tokenKey, type VertexTools } from './authorize.js'
import { embeddingPath } from './embedding-model.js'
import { modelPath } from './model-path.js'
import { readContentAnswer } from './read-answer.js'
import { readEmbeddingAnswer } from './read-embedding-answer.js'
import { readErrorMessage } from './read-error.js'
import { GeminiEventReader } from './read-events.js'
import { writeEmbeddingRequest } from './write-embedding-request.js'
import { writeContentRequest } from './write-request.js'

/**
 * Gemini and the models of embeddings on Google Cloud's Vertex AI, v1. No door speaks its wire, so everything is
 * translated.
 */
export function vertexDialect(tools: VertexTools): ProviderDialect {
  return Object.freeze({
    native: Object.freeze({}),
    chat: Object.freeze({
      path: modelPath,
      headers: (stream: boolean) => [
        ...['content-type', 'application/json'],
        ...['accept', stream ? 'text/event-stream' : 'application/json'],
      ],
      write: writeContentRequest,
      readAnswer: readContentAnswer,
      streamContentType: 'text/event-stream',
      eventReader: (conversation: Conversation) => new GeminiEventReader(conversation),
      readError: readErrorMessage,
    }),
    embeddings: Object.freeze({
      path: embeddingPath,
      headers: () => ['content-type', 'application/json', 'accept', 'application/json'],
      write: writeEmbeddingRequest,
      readAnswer: readEmbeddingAnswer,
      readError: readErrorMessage,
    }),
    authorize: (call: OutgoingCall, secret: ProviderSecret | null) => authorizeVertex(tools, call, secret),
    forgetAuthorization: (provider: ProviderTable) => tools.tokens.forget(tokenKey(provider)),
    // Every stream tells its tokens at its end, unasked.
    usageDepth: (): UsageDepth => 'final',
    refusesUsageDepth: () => false,
  } satisfies ProviderDialect)
}
