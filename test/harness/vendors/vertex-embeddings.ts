import { sharesOf, vectorFor } from './embedding-vectors.js'
import { objectsIn, unknownMembers, type VendorAnswer, type VendorFault } from './vendor-fake.js'

/**
 * What Vertex AI (v1) takes and gives for models of embeddings: `predict`, or `embedContent` for Gemini from 2 on and open
 * models as a service. Sources: Google Cloud's documentation, "Text embeddings API" and "Get text embeddings" (which models,
 * how many texts); REST reference, `projects.locations.publishers.models.embedContent`; Google's `google-genai` for which
 * model is called how.
 */
type Fields = Record<string, unknown>

const taskTypes = [
  ...['RETRIEVAL_QUERY', 'RETRIEVAL_DOCUMENT', 'SEMANTIC_SIMILARITY', 'CLASSIFICATION', 'CLUSTERING'],
  ...['QUESTION_ANSWERING', 'FACT_VERIFICATION', 'CODE_RETRIEVAL_QUERY'],
]
const lengthMax = 3_072
/** Of one text; here a token is four characters. */
const tokensMax = 2_048

export type EmbeddingMethod = 'predict' | 'embedContent'

export function verifyEmbedding(body: Fields, model: string, method: EmbeddingMethod): string[] {
  const isContent = (model.includes('gemini') && model !== 'gemini-embedding-001') || model.endsWith('-maas')
  if (isContent !== (method === 'embedContent')) return ['Precondition check failed.']
  return method === 'predict' ? verifyPredict(body, model) : verifyContent(body, model)
}

function verifyPredict(body: Fields, model: string): string[] {
  const problems = unknownMembers(body, ['instances', 'parameters'], 'body')
  const instances = objectsIn(body['instances'])
  const instancesMax = model === 'gemini-embedding-001' ? 1 : 250
  if (instances.length === 0 || instances.length > instancesMax) problems.push(`instances: 1 to ${instancesMax}.`)
  for (const [index, instance] of instances.entries()) {
    const at = `instances[${index}]`
    const { content, task_type: taskType, title } = instance
    problems.push(...unknownMembers(instance, ['content', 'task_type', 'title'], at))
    if (typeof content !== 'string' || content === '') problems.push(`${at}: The text content is empty.`)
    if (taskType !== undefined && !taskTypes.includes(String(taskType))) problems.push(`${at}.task_type is not valid.`)
    if (title !== undefined && taskType !== 'RETRIEVAL_DOCUMENT') problems.push(`${at}.title: only of a document.`)
  }
  const { parameters = {} } = body
  problems.push(...unknownMembers(parameters, ['autoTruncate', 'outputDimensionality'], 'parameters'))
  return [...problems, ...verifyLength((parameters as Fields)['outputDimensionality'])]
}

function verifyContent(body: Fields, model: string): string[] {
  const problems = unknownMembers(body, ['content', 'embedContentConfig'], 'body')
  const { content, embedContentConfig: config = {} } = body
  problems.push(...unknownMembers(content, ['role', 'parts'], 'content'))
  const parts = objectsIn((content as Fields | undefined)?.['parts'])
  if (parts.length !== 1) problems.push('content.parts: several would be one vector.')
  for (const part of parts) problems.push(...unknownMembers(part, ['text'], 'content.parts'))
  const { taskType, title, autoTruncate, outputDimensionality } = config as Fields
  problems.push(
    ...unknownMembers(config, ['taskType', 'title', 'autoTruncate', 'outputDimensionality'], 'embedContentConfig'),
  )
  // "Only applicable to text-only embedding models."
  if (model.includes('gemini')) {
    for (const [name, value] of Object.entries({ taskType, title, autoTruncate })) {
      if (value !== undefined) problems.push(`embedContentConfig.${name} is not applicable.`)
    }
  }
  if (taskType !== undefined && !taskTypes.includes(String(taskType))) problems.push('taskType is not valid.')
  return [...problems, ...verifyLength(outputDimensionality)]
}

function verifyLength(length: unknown): string[] {
  if (length === undefined || (Number.isInteger(length) && Number(length) >= 1 && Number(length) <= lengthMax))
    return []
  return [`outputDimensionality: 1 to ${lengthMax}.`]
}

export function embeddingOf(body: Fields, method: EmbeddingMethod, answer: VendorAnswer): object | VendorFault {
  return method === 'predict' ? predictionOf(body, answer) : contentEmbeddingOf(body, answer)
}

/** Cuts what is too long, unless it is told not to. */
function predictionOf({ instances, parameters }: Fields, { usage }: VendorAnswer): object | VendorFault {
  const { autoTruncate = true, outputDimensionality: length } = (parameters ?? {}) as Fields
  const texts = objectsIn(instances).map(({ content }) => String(content))
  const shares = sharesOf(usage?.input ?? 21, texts.length)
  const tooLong = texts.map((text) => Math.ceil(text.length / 4)).find((tokens) => tokens > tokensMax)
  if (tooLong !== undefined && autoTruncate === false) {
    const message = `The input token count is ${tooLong} but the model supports up to ${tokensMax}.`
    return { status: 400, message: `Unable to submit request because ${message}` }
  }
  return {
    predictions: texts.map((text, index) => ({
      embeddings: {
        values: vectorFor(text, typeof length === 'number' ? length : 8),
        statistics: { token_count: shares[index], truncated: text.length > tokensMax * 4 },
      },
    })),
    metadata: { billableCharacterCount: texts.join('').length },
  }
}

function contentEmbeddingOf({ content, embedContentConfig }: Fields, { usage }: VendorAnswer): object {
  const { outputDimensionality: length } = (embedContentConfig ?? {}) as Fields
  const [part] = objectsIn((content as Fields)['parts'])
  const text = String(part?.['text'])
  const tokens = usage?.input ?? 21
  return {
    embedding: { values: vectorFor(text, typeof length === 'number' ? length : 8) },
    usageMetadata: {
      ...{ promptTokenCount: tokens, totalTokenCount: tokens, trafficType: 'ON_DEMAND' },
      promptTokensDetails: [{ modality: 'TEXT', tokenCount: tokens }],
    },
    ...(text.length > tokensMax * 16 ? { truncated: true } : {}),
  }
}
