import type { TargetTable } from '../../../../proto/policy/tables.js'
import type { EmbeddingRequest, InputType } from '../../conversation/embedding.js'
import type { Losses } from '../../conversation/losses.js'
import { type EmbeddingModel, embeddingModelOf } from './embedding-model.js'

/**
 * Texts as the body of `predict` or `embedContent`. Google cuts texts that are too long unless told otherwise, and then
 * the vector would be one of another text; so it is told. Sources: Google Cloud's documentation, "Text embeddings API", and
 * Vertex AI's REST reference (v1), `projects.locations.publishers.models.predict` and `.embedContent`.
 */
export function writeEmbeddingRequest(request: EmbeddingRequest, target: TargetTable, losses: Losses): Buffer {
  const model = embeddingModelOf(target)
  const { inputs, names, inputType, user } = request
  if (!model.isKnown) losses.content(names.model, `${target.upstreamModel} is not one of texts`)
  if (inputs.length > model.textsMax) {
    const most = model.textsMax === 1 ? 'one text' : `${model.textsMax} texts`
    losses.content(names.input, `${target.upstreamModel} takes ${most} at a time`)
  }
  if (inputType !== null && !model.isTextOnly) {
    losses.setting(names.inputType, `${target.upstreamModel} is told in the text itself what it is for`)
  }
  if (user !== null) losses.hint(names.user)
  return Buffer.from(JSON.stringify(model.method === 'predict' ? predictBody(request) : contentBody(request, model)))
}

function predictBody({ inputs, inputType, dimensions }: EmbeddingRequest): object {
  return {
    instances: inputs.map(({ text }) => ({
      ...(inputType === null ? {} : { task_type: taskOf[inputType] }),
      content: text,
    })),
    parameters: {
      autoTruncate: false,
      ...(dimensions === null ? {} : { outputDimensionality: dimensions }),
    },
  }
}

function contentBody({ inputs, inputType, dimensions }: EmbeddingRequest, { isTextOnly }: EmbeddingModel): object {
  const config = {
    ...(isTextOnly ? { autoTruncate: false } : {}),
    ...(isTextOnly && inputType !== null ? { taskType: taskOf[inputType] } : {}),
    ...(dimensions === null ? {} : { outputDimensionality: dimensions }),
  }
  return {
    content: { role: 'user', parts: inputs.slice(0, 1).map(({ text }) => ({ text })) },
    ...(Object.keys(config).length === 0 ? {} : { embedContentConfig: config }),
  }
}

const taskOf: Readonly<Record<InputType, string>> = Object.freeze({
  query: 'RETRIEVAL_QUERY',
  document: 'RETRIEVAL_DOCUMENT',
  classification: 'CLASSIFICATION',
  clustering: 'CLUSTERING',
})
