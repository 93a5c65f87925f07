import type { TargetTable } from '../../../../proto/policy/tables.js'
import type { EmbeddingRequest, InputType } from '../../conversation/embedding.js'
import type { Losses } from '../../conversation/losses.js'
import { type EmbeddingModel, embeddingModelOf } from './embedding-model.js'

/**
 * Texts as the body that their model wants of `InvokeModel`. A text that is too long is refused by all of them and never
 * cut; vectors have the length 1, as OpenAI's. Sources: see `embedding-model.ts`.
 */
export function writeEmbeddingRequest(request: EmbeddingRequest, target: TargetTable, losses: Losses): Buffer {
  const { inputs, dimensions, inputType, names, user } = request
  const model = embeddingModelOf(target)
  // The logs of invocations know an end user only by Converse's `requestMetadata`.
  if (user !== null) losses.hint(names.user)
  if (model === null) {
    losses.content(
      names.model,
      `${target.upstreamModel} is none of Titan's, Cohere's and Nova's for embeddings of texts`,
    )
    return Buffer.from('{}')
  }
  if (inputs.length > model.textsMax) {
    const most = model.textsMax === 1 ? 'one text' : `${model.textsMax} texts`
    losses.content(names.input, `${model.id} takes ${most} at a time`)
  }
  // One of another length would not fit among the others that the client has: never left out.
  if (dimensions !== null && !model.dimensions.includes(dimensions)) {
    losses.content(names.dimensions, `${model.id} makes vectors of ${model.dimensions.join(', ')} numbers`)
  }
  if (inputType !== null && model.language === 'titan') {
    losses.setting(names.inputType, `${model.id} makes no difference`)
  }
  return Buffer.from(JSON.stringify(bodyOf(request, model)))
}

function bodyOf({ inputs, dimensions, inputType }: EmbeddingRequest, model: EmbeddingModel): object {
  const texts = inputs.map(({ text }) => text)
  const length = model.takesDimensions ? dimensions : null
  switch (model.language) {
    case 'titan':
      return {
        inputText: texts[0] ?? '',
        ...(length === null ? {} : { dimensions: length }),
        // The older one can be told nothing.
        ...(model.takesDimensions ? { normalize: true } : {}),
      }
    case 'cohere':
      return {
        texts,
        input_type: cohereTypeOf[inputType ?? 'document'],
        truncate: 'NONE',
        embedding_types: ['float'],
        ...(length === null ? {} : { output_dimension: length }),
      }
    case 'nova':
      return {
        taskType: 'SINGLE_EMBEDDING',
        singleEmbeddingParams: {
          embeddingPurpose: novaPurposeOf[inputType ?? 'document'],
          ...(length === null ? {} : { embeddingDimension: length }),
          text: { truncationMode: 'NONE', value: texts[0] ?? '' },
        },
      }
  }
}

/** It has to be said; where the client does not say, texts are taken for what is searched, as most are. */
const cohereTypeOf: Readonly<Record<InputType, string>> = Object.freeze({
  query: 'search_query',
  document: 'search_document',
  classification: 'classification',
  clustering: 'clustering',
})

const novaPurposeOf: Readonly<Record<InputType, string>> = Object.freeze({
  query: 'GENERIC_RETRIEVAL',
  document: 'GENERIC_INDEX',
  classification: 'CLASSIFICATION',
  clustering: 'CLUSTERING',
})
