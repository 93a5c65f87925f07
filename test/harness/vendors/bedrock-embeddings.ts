import { vectorFor } from './embedding-vectors.js'
import type { VendorAnswer } from './vendor-fake.js'

/**
 * What `InvokeModel` takes and gives for models of embeddings: a body that is each model's own. Sources: AWS's Bedrock user
 * guide, "Amazon Titan Embeddings G1 - Text" (and V2), "Cohere Embed v3", "Cohere Embed v4"; Amazon Nova user guide,
 * "Complete embeddings request and response schema"; sentences as recorded from it.
 */
type Json = Record<string, unknown>

interface EmbeddingModel {
  /** Members beside the required ones. */
  readonly optional: readonly string[]
  readonly required: readonly string[]
  verify(body: Json): string[]
  answer(body: Json, answer: VendorAnswer): object
}

const inputTypes = ['search_document', 'search_query', 'classification', 'clustering']

const models: readonly (readonly [RegExp, EmbeddingModel])[] = [
  [/amazon\.titan-embed-(?:text-v1|g1-text-02)$/, titan([], null)],
  [/amazon\.titan-embed-text-v2:0$/, titan(['dimensions', 'normalize', 'embeddingTypes'], [256, 512, 1024])],
  [/cohere\.embed-(?:english|multilingual)-v3$/, cohere(['truncate', 'embedding_types'], ['START', 'END'], null)],
  [
    /cohere\.embed-v4:0$/,
    cohere(
      ['truncate', 'embedding_types', 'output_dimension', 'max_tokens'],
      ['LEFT', 'RIGHT'],
      [256, 512, 1024, 1536],
    ),
  ],
  [/amazon\.nova-2-multimodal-embeddings-v1:0$/, nova()],
]

/** Null: it makes no embeddings. */
export function embeddingModelOf(modelId: string): EmbeddingModel | null {
  return models.find(([pattern]) => pattern.test(modelId))?.[1] ?? null
}

export function verifyInvoke(modelId: string, body: Json): string[] {
  const model = embeddingModelOf(modelId)
  if (model === null) return ["The model doesn't take InvokeModel here: it makes no embeddings."]
  const malformed = (what: string) => `Malformed input request: #: ${what}, please reformat your input and try again.`
  const missing = model.required.filter((name) => body[name] === undefined)
  const known = [...model.required, ...model.optional]
  return [
    ...missing.map((name) => malformed(`required key [${name}] not found`)),
    ...Object.keys(body)
      .filter((name) => !known.includes(name))
      .map((name) => malformed(`extraneous key [${name}] is not permitted`)),
    ...model.verify(body),
  ]
}

function isText(value: unknown, lengthMax: number): boolean {
  return typeof value === 'string' && value !== '' && value.length <= lengthMax
}

/** `lengths` null: it can be told nothing. */
function titan(optional: readonly string[], lengths: readonly number[] | null): EmbeddingModel {
  return {
    required: ['inputText'],
    optional,
    verify: ({ inputText, dimensions, normalize }) => [
      ...(isText(inputText, 50_000) ? [] : ['inputText: a text of 1 to 50,000 characters.']),
      ...(dimensions === undefined || lengths?.includes(dimensions as number) ? [] : ['dimensions: 1024, 512, 256.']),
      ...(normalize === undefined || typeof normalize === 'boolean' ? [] : ['normalize: a boolean.']),
    ],
    answer: ({ inputText, dimensions }, { usage }) => {
      const embedding = vectorFor(String(inputText), typeof dimensions === 'number' ? dimensions : 8)
      const counted = { embedding, inputTextTokenCount: usage?.input ?? 21 }
      return lengths === null ? counted : { ...counted, embeddingsByType: { float: embedding } }
    },
  }
}

function cohere(
  optional: readonly string[],
  cuts: readonly string[],
  lengths: readonly number[] | null,
): EmbeddingModel {
  return {
    required: ['texts', 'input_type'],
    optional,
    verify: ({ texts, input_type: inputType, truncate, embedding_types: types, output_dimension: length }) => {
      const isList = Array.isArray(texts) && texts.length > 0 && texts.length <= 96
      return [
        ...(isList && texts.every((text) => isText(text, 2_048)) ? [] : ['texts: 1 to 96, of 1 to 2048 characters.']),
        ...(inputTypes.includes(String(inputType)) ? [] : ['input_type is not valid.']),
        ...([undefined, 'NONE', ...cuts].includes(truncate as string) ? [] : ['truncate is not valid.']),
        ...(types === undefined || Array.isArray(types) ? [] : ['embedding_types: a list.']),
        ...(length === undefined || lengths?.includes(length as number) ? [] : ['output_dimension is not valid.']),
      ]
    },
    answer: ({ texts, embedding_types: types, output_dimension: length }) => {
      const float = (texts as string[]).map((text) => vectorFor(text, typeof length === 'number' ? length : 8))
      const id = '5f0c3a1e-aaaa-4000-8000-000000000001'
      if (types === undefined) return { id, embeddings: float, response_type: 'embeddings_floats', texts }
      return { id, embeddings: { float }, response_type: 'embeddings_by_type', texts }
    },
  }
}

function nova(): EmbeddingModel {
  const purposes = ['GENERIC_INDEX', 'GENERIC_RETRIEVAL', 'TEXT_RETRIEVAL', 'CLASSIFICATION', 'CLUSTERING']
  const members = ['embeddingPurpose', 'embeddingDimension', 'text', 'image', 'audio', 'video']
  return {
    required: ['taskType', 'singleEmbeddingParams'],
    optional: ['schemaVersion'],
    verify: ({ taskType, singleEmbeddingParams }) => {
      const params = (singleEmbeddingParams ?? {}) as Json
      const text = (params['text'] ?? {}) as Json
      const length = params['embeddingDimension']
      return [
        ...(taskType === 'SINGLE_EMBEDDING' ? [] : ['taskType is not valid.']),
        ...(purposes.includes(String(params['embeddingPurpose'])) ? [] : ['embeddingPurpose is not valid.']),
        ...(length === undefined || [256, 384, 1024, 3072].includes(length as number) ? [] : ['embeddingDimension.']),
        ...Object.keys(params)
          .filter((name) => !members.includes(name))
          .map((name) => `singleEmbeddingParams: extraneous key [${name}] is not permitted.`),
        ...Object.keys(text)
          .filter((name) => !['truncationMode', 'value', 'source'].includes(name))
          .map((name) => `text: extraneous key [${name}] is not permitted.`),
        ...(['START', 'END', 'NONE'].includes(String(text['truncationMode'])) ? [] : ['truncationMode is required.']),
        ...(isText(text['value'], 8_192) ? [] : ['text.value: 1 to 8192 characters.']),
      ]
    },
    answer: ({ singleEmbeddingParams }) => {
      const { embeddingDimension, text } = singleEmbeddingParams as { embeddingDimension?: number; text: Json }
      const embedding = vectorFor(String(text['value']), embeddingDimension ?? 8)
      return { embeddings: [{ embeddingType: 'TEXT', embedding }] }
    },
  }
}

/** What AWS says of every call beside its body. */
export function invokeHeaders({ usage }: VendorAnswer): Record<string, string> {
  return {
    'x-amzn-bedrock-input-token-count': String(usage?.input ?? 21),
    'x-amzn-bedrock-invocation-latency': '62',
  }
}
