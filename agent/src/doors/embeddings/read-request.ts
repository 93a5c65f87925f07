import type { Refusal } from '../../../../proto/std/refusal.js'
import type { EmbeddingFieldNames, EmbeddingInput, EmbeddingRequest, InputType } from '../../conversation/embedding.js'
import { type FieldRefusalCode, Fields, readStrictly } from '../../conversation/fields.js'
import { Losses } from '../../conversation/losses.js'
import type { RequestBody } from '../../providers/provider-dialect.js'

/**
 * An embedding request's body, whole and strictly. Besides OpenAI's own members (its API reference, "Create embeddings")
 * it knows what clients of asymmetric models add to them: `input_type` and `truncate`, in the words of Cohere ("Embed API"),
 * NVIDIA (NIM, "Text Embedding Reference") and Voyage ("Text embeddings").
 */
const embeddingFieldNames: EmbeddingFieldNames = Object.freeze({
  model: 'model',
  input: 'input',
  dimensions: 'dimensions',
  inputType: 'input_type',
  user: 'user',
})

const inputTypes: Readonly<Record<string, InputType>> = Object.freeze({
  query: 'query',
  search_query: 'query',
  document: 'document',
  passage: 'document',
  search_document: 'document',
  classification: 'classification',
  clustering: 'clustering',
})

export function readEmbeddingRequest(body: RequestBody): EmbeddingRequest | Refusal<FieldRefusalCode> {
  return readStrictly(() => read(new Fields(body.fields, '')))
}

function read(fields: Fields): EmbeddingRequest {
  const losses = new Losses()
  const inputs = readInputs(fields, losses)
  const inputType = fields.option('input_type', Object.keys(inputTypes))
  // To refuse what is too long is what every provider is told anyhow.
  const truncate = fields.text('truncate')
  if (truncate !== null && truncate.toUpperCase() !== 'NONE') losses.setting('truncate', 'texts are never cut')
  const request = {
    inputs,
    dimensions: fields.integer('dimensions', 1),
    encoding: fields.option('encoding_format', ['float', 'base64']) ?? 'float',
    inputType: inputType === null ? null : (inputTypes[inputType] ?? null),
    user: fields.text('user'),
    names: embeddingFieldNames,
  }
  fields.skip('model')
  fields.loseUnread(losses)
  return { ...request, losses: losses.all }
}

/** A text or several; tokens, one array or several, are a loss. */
function readInputs(fields: Fields, losses: Losses): EmbeddingInput[] {
  if (fields.isText('input')) return [{ at: 'input', text: filled(fields, 'input', fields.requiredText('input')) }]
  if (fields.array('input').every((input) => typeof input === 'number' || Array.isArray(input))) {
    losses.content('input', 'tokens are those of one model')
    return []
  }
  return fields.texts('input').map((text, index) => ({
    at: `input[${index}]`,
    text: filled(fields, `input[${index}]`, text),
  }))
}

/** No model makes a vector of nothing. */
function filled(fields: Fields, name: string, text: string): string {
  if (text === '') throw fields.invalid(name, 'it is empty')
  return text
}
