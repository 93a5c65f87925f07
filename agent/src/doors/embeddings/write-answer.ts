import { endianness } from 'node:os'
import type { EmbeddingAnswer, EmbeddingRequest } from '../../conversation/embedding.js'

/**
 * An answer as OpenAI's list of embeddings. The numbers stand as the vendor wrote them, or as base64 where the client asked
 * for it, as OpenAI's own clients do. Usage has no place for "nobody told" that clients would understand: then it is 0,
 * and counted on the record. Source: OpenAI's API reference, "Create embeddings".
 */
export function writeEmbeddingAnswer(
  answer: EmbeddingAnswer,
  { encoding }: EmbeddingRequest,
  /** For where the vendor does not say. */
  model: string,
): string {
  const tokens = answer.usage?.input ?? 0
  return JSON.stringify({
    object: 'list',
    data: answer.vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: encoding === 'base64' ? base64Of(vector) : vector,
    })),
    model: answer.model ?? model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  })
}

/** Numbers of 32 bits, the lowest byte first. */
export function base64Of(vector: readonly number[]): string {
  const bytes = Buffer.from(new Float32Array(vector).buffer)
  return (endianness() === 'LE' ? bytes : bytes.swap32()).toString('base64')
}
