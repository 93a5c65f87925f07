import type { TargetTable } from '../../../../proto/policy/tables.js'
import { featuresOf } from './model-features.js'

/**
 * How a model that makes vectors of texts is asked by `InvokeModel`, whose body is each model's own. Sources: AWS's Bedrock
 * user guide, "Amazon Titan Embeddings G1 - Text" (and V2), "Cohere Embed v3", "Cohere Embed v4"; Amazon Nova user guide,
 * "Complete embeddings request and response schema".
 */
export interface EmbeddingModel {
  readonly id: string
  readonly language: 'titan' | 'cohere' | 'nova'
  /** In one call. */
  readonly textsMax: number
  /** Lengths of its vectors. */
  readonly dimensions: readonly number[]
  /** Can be told the length; one that cannot has only one. */
  readonly takesDimensions: boolean
}

type Kind = Omit<EmbeddingModel, 'id'>

const kinds: readonly (readonly [RegExp, Kind])[] = [
  [
    /amazon\.titan-embed-text-v2/,
    { language: 'titan', textsMax: 1, dimensions: [256, 512, 1024], takesDimensions: true },
  ],
  [
    /amazon\.titan-embed-(?:text-v1|g1-text)/,
    { language: 'titan', textsMax: 1, dimensions: [1536], takesDimensions: false },
  ],
  [/cohere\.embed-v4/, { language: 'cohere', textsMax: 96, dimensions: [256, 512, 1024, 1536], takesDimensions: true }],
  [
    /cohere\.embed-(?:english|multilingual)-v3/,
    { language: 'cohere', textsMax: 96, dimensions: [1024], takesDimensions: false },
  ],
  [
    /amazon\.nova-.*embed/,
    { language: 'nova', textsMax: 1, dimensions: [256, 384, 1024, 3072], takesDimensions: true },
  ],
]

/** Null: none whose language is known here. */
export function embeddingModelOf(target: TargetTable): EmbeddingModel | null {
  const { modelId: id } = featuresOf(target)
  const kind = kinds.find(([pattern]) => pattern.test(id))?.[1]
  return kind === undefined ? null : { id, ...kind }
}
