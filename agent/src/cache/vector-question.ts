import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { TargetTable } from '../../../proto/policy/tables.js'
import type { EmbeddingRequest } from '../conversation/embedding.js'
import { objectsOf, parseJsonObject } from '../conversation/json-object.js'
import { Losses } from '../conversation/losses.js'
import { findMembers } from '../providers/json-members.js'
import type { ProviderDialect, RequestBody } from '../providers/provider-dialect.js'

/** How a target is asked for the vector of one text, on its vendor's wire. */
export interface VectorQuestion {
  readonly path: string
  /** Flat name, value list, without credentials. */
  readonly headers: readonly string[]
  readonly body: Buffer
  read(bytes: Buffer): { readonly vector: Float32Array | null; readonly usage: TokenUsage | null }
}

/** Null where its vendor makes no vectors, or cannot be asked for one in so few words. */
export function vectorQuestion(dialect: ProviderDialect, target: TargetTable, text: string): VectorQuestion | null {
  const native = dialect.native.embeddings
  if (native !== undefined) {
    return {
      path: native.path(target, false),
      headers: native.headers(false),
      body: native.body(requestFor(text), target, 'none'),
      read: (bytes) => ({ vector: vectorIn(bytes), usage: native.readAnswer(bytes)?.usage ?? null }),
    }
  }
  const wire = dialect.embeddings
  if (wire === null) return null
  const request = neutralFor(text)
  const losses = new Losses()
  const body = wire.write(request, target, losses)
  if (losses.blocking(false) !== null) return null
  return {
    path: wire.path(target, false),
    headers: wire.headers(false),
    body,
    read: (bytes) => {
      const answer = wire.readAnswer(bytes, request)
      const numbers = answer?.vectors[0]
      return { vector: numbers === undefined ? null : Float32Array.from(numbers), usage: answer?.usage ?? null }
    },
  }
}

/** The body that a client would send for it. */
function requestFor(text: string): RequestBody {
  const fields = { model: 'embedding', input: text }
  const bytes = Buffer.from(JSON.stringify(fields))
  const members = findMembers(bytes, 0, ['model'])
  if (members === null) throw new Error('an object has members')
  return {
    ...{ bytes, members, fields, model: fields.model, stream: false, wantsUsage: false, wantsContinuousUsage: false },
    ...{ user: null, temperature: null, prompt: text },
  }
}

/** All texts of the cache are questions: both sides of a comparison are made alike. */
function neutralFor(text: string): EmbeddingRequest {
  return {
    inputs: [{ at: 'input', text }],
    ...{ dimensions: null, encoding: 'float', inputType: 'query', user: null, losses: [] },
    names: { model: 'model', input: 'input', dimensions: 'dimensions', inputType: 'input_type', user: 'user' },
  }
}

function vectorIn(bytes: Buffer): Float32Array | null {
  const numbers = objectsOf(parseJsonObject(bytes.toString('utf8'))?.['data'])[0]?.['embedding']
  if (!Array.isArray(numbers) || numbers.length === 0) return null
  return numbers.every((number) => typeof number === 'number') ? Float32Array.from(numbers as number[]) : null
}
