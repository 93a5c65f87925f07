import type { TargetTable } from '../../../../proto/policy/tables.js'
import { modelPath } from './model-path.js'

/**
 * How a model that makes vectors of texts is asked. Two methods serve them, and which one is a matter of the model, as
 * Google's own SDK has it (`google-genai`, "embed_content"): Gemini from 2 on and open models as a service
 * (`…-maas`) by `embedContent`, which makes one vector of all that it is given; all others by `predict`, which takes up to
 * 250 texts, but of `gemini-embedding-001` one (Google Cloud's documentation, "Get text embeddings"). There is no
 * `batchEmbedContents` on Vertex AI. A model of pictures and texts together (`multimodalembedding`) speaks another language.
 */
export interface EmbeddingModel {
  readonly method: 'predict' | 'embedContent'
  /** In one call. */
  readonly textsMax: number
  /** Can be told what texts are for, and not to cut them: "only applicable to text-only embedding models". */
  readonly isTextOnly: boolean
  readonly isKnown: boolean
}

const predicting: EmbeddingModel = { method: 'predict', textsMax: 250, isTextOnly: true, isKnown: true }

export function embeddingModelOf({ upstreamModel }: TargetTable): EmbeddingModel {
  const id = upstreamModel.slice(upstreamModel.lastIndexOf('/') + 1)
  if (id.startsWith('multimodalembedding')) return { ...predicting, isKnown: false }
  if (/^gemini-embedding-001(?:@|$)/.test(id)) return { ...predicting, textsMax: 1 }
  const isGemini = id.startsWith('gemini')
  if (!isGemini && !id.endsWith('-maas')) return predicting
  return { method: 'embedContent', textsMax: 1, isTextOnly: !isGemini, isKnown: true }
}

/** Where it is called: at the place where a model that talks would be, by another method. */
export function embeddingPath(target: TargetTable): string {
  const path = modelPath(target, false)
  return `${path.slice(0, path.lastIndexOf(':'))}:${embeddingModelOf(target).method}`
}
