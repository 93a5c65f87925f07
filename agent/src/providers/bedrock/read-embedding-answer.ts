import {
  type EmbeddingAnswer,
  type EmbeddingRequest,
  embeddingAnswerOf,
  inputUsage,
  vectorOf,
} from '../../conversation/embedding.js'
import { countOf, isJsonObject, parseJsonObject } from '../../conversation/json-object.js'

/**
 * What `InvokeModel` gives for texts, told apart by its shape; null when it is none. Titan tells its tokens in the body, so
 * may Nova; Cohere does not. AWS tells them for all models in the header `x-amzn-bedrock-input-token-count`, which does
 * not come this far. Sources: see `embedding-model.ts`.
 */
export function readEmbeddingAnswer(bytes: Buffer, request: EmbeddingRequest): EmbeddingAnswer | null {
  const answer = parseJsonObject(bytes.toString('utf8'))
  if (answer === null) return null
  const { embedding, embeddings } = answer
  const usage = inputUsage(countOf(answer['inputTextTokenCount']) ?? countOf(answer['inputTokenCount']))
  if (embedding !== undefined) return embeddingAnswerOf([vectorOf(embedding)], request, usage)
  // Cohere's by type, since we name a type; Nova's list of objects; Cohere's plain list.
  const list = isJsonObject(embeddings) ? embeddings['float'] : embeddings
  if (!Array.isArray(list)) return null
  const vectors = list.map((item: unknown) => vectorOf(isJsonObject(item) ? item['embedding'] : item))
  return embeddingAnswerOf(vectors, request, usage)
}
