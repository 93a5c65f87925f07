import { packed, vectorFor } from './embedding-vectors.js'
import { unknownMembers } from './vendor-fake.js'

/** OpenAI's embeddings, which Azure has too. Source: OpenAI's API reference, "Create embeddings". */
const members = ['model', 'input', 'dimensions', 'encoding_format', 'user']
const lengthMax = 1536

export function verifyEmbeddings(body: Record<string, unknown>): string[] {
  const problems = unknownMembers(body, members, 'body')
  const { model, input, dimensions, encoding_format: encoding } = body
  if (typeof model !== 'string') problems.push('you must provide a model parameter')
  const isList = Array.isArray(input) && input.length > 0 && input.length <= 2048
  if (!isList && typeof input !== 'string') problems.push('input is required.')
  if (input === '' || (isList && input.includes(''))) problems.push("'$.input' is invalid.")
  if (dimensions !== undefined && !(Number(dimensions) >= 1 && Number(dimensions) <= lengthMax)) {
    problems.push(`Invalid value for 'dimensions' = ${String(dimensions)}. Must be less than or equal to ${lengthMax}.`)
  }
  if (encoding !== undefined && encoding !== 'float' && encoding !== 'base64') problems.push('encoding_format.')
  return problems
}

/** Its vectors are those of `vectorFor`; of tokens, those of their JSON. */
export function embeddingsOf(body: Record<string, unknown> | null, model: string, tokens: number): object {
  const { input, dimensions, encoding_format: encoding } = body ?? {}
  const isOne = !Array.isArray(input) || typeof input[0] === 'number'
  const texts = (isOne ? [input] : input).map((text) => (typeof text === 'string' ? text : JSON.stringify(text)))
  return {
    object: 'list',
    data: texts.map((text, index) => {
      const vector = vectorFor(text, typeof dimensions === 'number' ? dimensions : 8)
      return { object: 'embedding', index, embedding: encoding === 'base64' ? packed(vector) : vector }
    }),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  }
}
