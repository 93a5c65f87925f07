import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { LossList } from './losses.js'

/** Texts to be made vectors of, in no vendor's words: what the door reads and the providers write. */
export interface EmbeddingRequest {
  /** In order. Empty only where what was lost stands in the way anyhow. */
  readonly inputs: readonly EmbeddingInput[]
  /** How many numbers a vector is to have; null: the client said nothing. */
  readonly dimensions: number | null
  /** How the client wants the numbers written. */
  readonly encoding: VectorEncoding
  /** What the texts are for; null: the client said nothing. */
  readonly inputType: InputType | null
  /** Whom the client serves, opaque. */
  readonly user: string | null
  /** What the client's own words call the parts above, for losses and refusals. */
  readonly names: EmbeddingFieldNames
  /** What the client gave that no other language has a word for. */
  readonly losses: LossList
}

/** Knows where it stands in the client's body (`input[3]`). */
export interface EmbeddingInput {
  readonly at: string
  readonly text: string
}

/** JSON numbers, or the base64 of little-endian IEEE 754 numbers of 32 bits. */
export type VectorEncoding = 'float' | 'base64'

/**
 * What models that tell a question from what answers it want to know: a text that is searched for (`query`), one that is
 * found (`document`), one to be put into a class, or into a group with others.
 */
export type InputType = 'query' | 'document' | 'classification' | 'clustering'

export interface EmbeddingFieldNames {
  readonly model: string
  readonly input: string
  readonly dimensions: string
  readonly inputType: string
  readonly user: string
}

/** What providers read and the door writes. */
export interface EmbeddingAnswer {
  /** One for each input, in the order of the inputs; finite numbers, none empty. */
  readonly vectors: readonly (readonly number[])[]
  /** The vendor's actual model. */
  readonly model: string | null
  readonly usage: TokenUsage | null
}

/** The numbers of a vector; null where it is none, or an empty one. */
export function vectorOf(value: unknown): readonly number[] | null {
  if (!Array.isArray(value) || value.length === 0) return null
  return value.every(Number.isFinite) ? (value as number[]) : null
}

/** Vectors as an answer, where there is one for each of `inputs`; else null. */
export function embeddingAnswerOf(
  vectors: readonly (readonly number[] | null)[],
  { inputs }: EmbeddingRequest,
  usage: TokenUsage | null,
): EmbeddingAnswer | null {
  if (vectors.length !== inputs.length || vectors.includes(null)) return null
  return { vectors: vectors as readonly (readonly number[])[], model: null, usage }
}

/** Tokens of an embedding, which has no output; null where nobody told. */
export function inputUsage(tokens: number | null): TokenUsage | null {
  if (tokens === null) return null
  return { input: tokens, output: 0, cachedInput: null, cacheWriteInput: null, reasoningOutput: null }
}
