import type { TargetTable } from '../../../../proto/policy/tables.js'
import type { Conversation } from '../../conversation/conversation.js'
import type { OutgoingCall, ProviderDialect, ProviderSecret, UsageDepth } from '../provider-dialect.js'
import { AwsIdentity, type AwsTools } from './aws-identity.js'
import { readConverseAnswer, readErrorMessage } from './read-answer.js'
import { readEmbeddingAnswer } from './read-embedding-answer.js'
import { ConverseEventReader } from './read-events.js'
import { RequestSigner } from './request-signer.js'
import { writeEmbeddingRequest } from './write-embedding-request.js'
import { writeConverseRequest } from './write-request.js'

/**
 * AWS Bedrock, through its one language for all conversations: Converse and ConverseStream. Embeddings are another language
 * per model, through `InvokeModel`. Source: AWS's Bedrock API reference, "Converse", "ConverseStream" and "InvokeModel",
 * and its service model `bedrock-runtime` 2023-09-30.
 */
const streamContentType = 'application/vnd.amazon.eventstream'

export function bedrockDialect(tools: AwsTools): ProviderDialect {
  const identity = new AwsIdentity(tools)
  const signer = new RequestSigner(tools.clock)
  return Object.freeze({
    native: Object.freeze({}),
    chat: Object.freeze({
      path: ({ provider, upstreamModel }: TargetTable, stream: boolean) =>
        `${provider.basePath}/model/${encodeLabel(upstreamModel)}/converse${stream ? '-stream' : ''}`,
      headers: (stream: boolean) => [
        ...['content-type', 'application/json'],
        ...['accept', stream ? streamContentType : 'application/json'],
      ],
      write: writeConverseRequest,
      readAnswer: readConverseAnswer,
      streamContentType,
      eventReader: (conversation: Conversation) => new ConverseEventReader(conversation),
      readError: readErrorMessage,
    }),
    embeddings: Object.freeze({
      path: ({ provider, upstreamModel }: TargetTable) =>
        `${provider.basePath}/model/${encodeLabel(upstreamModel)}/invoke`,
      headers: () => ['content-type', 'application/json', 'accept', 'application/json'],
      write: writeEmbeddingRequest,
      readAnswer: readEmbeddingAnswer,
      readError: readErrorMessage,
    }),
    authorize: async (call: OutgoingCall, secret: ProviderSecret | null) => {
      // A provider that wants no credential signs for us: a proxy that holds the keys.
      if (secret === null) return []
      const credentials = await identity.get(call, secret)
      return 'fault' in credentials ? credentials : signer.sign(call, credentials)
    },
    // The last event of every stream tells all, unasked.
    usageDepth: (): UsageDepth => 'final',
    refusesUsageDepth: () => false,
  } satisfies ProviderDialect)
}

/** A path's label as Smithy's HTTP bindings want it: all but the unreserved characters of RFC 3986 encoded, `:` and `/` too. */
function encodeLabel(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
