import {
  type EmbeddingAnswer,
  type EmbeddingRequest,
  embeddingAnswerOf,
  inputUsage,
  vectorOf,
} from '../../conversation/embedding.js'
import { countOf, isJsonObject, type JsonObject, parseJsonObject } from '../../conversation/json-object.js'

/**
 * An answer of `predict` (`predictions`) or `embedContent` (`embedding`); null when the bytes are neither, or a text was
 * cut all the same: its vector would be one of another text. Neither names the model. Sources as for the request.
 */
export function readEmbeddingAnswer(bytes: Buffer, request: EmbeddingRequest): EmbeddingAnswer | null {
  const answer = parseJsonObject(bytes.toString('utf8'))
  if (answer === null) return null
  const { predictions, embedding } = answer
  if (Array.isArray(predictions)) return answerOf(predictions.map(predictionOf), request)
  if (!isJsonObject(embedding)) return null
  const { usageMetadata, truncated } = answer
  const tokens = isJsonObject(usageMetadata) ? countOf(usageMetadata['promptTokenCount']) : null
  return answerOf([{ vector: truncated === true ? null : vectorOf(embedding['values']), tokens }], request)
}

interface Prediction {
  /** Null: it is none of the whole text. */
  readonly vector: readonly number[] | null
  readonly tokens: number | null
}

function predictionOf(prediction: unknown): Prediction {
  const embeddings = isJsonObject(prediction) ? prediction['embeddings'] : null
  if (!isJsonObject(embeddings)) return { vector: null, tokens: null }
  const { values, statistics } = embeddings
  const { token_count: tokens, truncated }: JsonObject = isJsonObject(statistics) ? statistics : {}
  return { vector: truncated === true ? null : vectorOf(values), tokens: countOf(tokens) }
}

/** Tokens are known where they are of every text. */
function answerOf(predictions: readonly Prediction[], request: EmbeddingRequest): EmbeddingAnswer | null {
  const tokens = predictions.reduce<number | null>(
    (sum, prediction) => (sum === null || prediction.tokens === null ? null : sum + prediction.tokens),
    0,
  )
  return embeddingAnswerOf(
    predictions.map(({ vector }) => vector),
    request,
    inputUsage(tokens),
  )
}
