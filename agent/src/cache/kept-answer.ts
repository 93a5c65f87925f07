import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { ApiKeyTable, RouteTable, TargetTable } from '../../../proto/policy/tables.js'
import type { JsonObject } from '../conversation/json-object.js'
import type { RequestBody, UpstreamOperation } from '../providers/provider-dialect.js'
import { heldBytesOf } from './byte-memory.js'

/** What the cache is asked about: one request of one client, after its targets were chosen and before any is asked. */
export interface CacheQuestion {
  readonly key: ApiKeyTable
  /** Of the cluster. */
  readonly region: string
  readonly route: RouteTable
  /** Those that may be asked, in order; never empty. */
  readonly targets: readonly TargetTable[]
  readonly operation: UpstreamOperation
  readonly body: RequestBody
  /** Of the client, by lower-case name. */
  header(name: string): string | undefined
  /** Hashes of what else shapes the answer: prompts and guardrails. */
  readonly shapes: readonly string[]
  readonly prompt: { readonly id: string; readonly version: string } | null
  /** As routing knows it; null where nobody says. Asked only where something is kept. */
  promptClass(): string | null
  readonly startedAtMs: number
  /** When the whole request must be over, on the monotonic clock. */
  readonly dueUs: number
  /** It is made for nobody but the cache, because a stale answer was given; left out: a client asks. */
  readonly isRenewal?: boolean
}

/** What is known of an answer beside its bytes. */
export interface ToldAnswer {
  /** As the vendor told or we counted it; null where nobody knows. */
  readonly usage: TokenUsage | null
  /** As the vendor called it. */
  readonly model: string | null
  /** The body as JSON, where somebody has parsed it already. */
  readonly parsed?: JsonObject | null
  /** As the response's headers said it: what of the request was left out, and what was lowered. Null or left out: nothing. */
  readonly dropped?: string | null
  readonly capped?: string | null
}

/**
 * An answer as the client got it: the body, or all bytes of the stream. Kept for one key, which says for whom and for what;
 * what is here beside it is for purging, for ageing and for the record.
 */
export interface KeptAnswer {
  readonly stream: boolean
  readonly bytes: Buffer
  /** Where a stream's terminal event begins; the length for a whole answer. */
  readonly tailAt: number
  /** As the vendor told or we counted it; null where nobody knows. */
  readonly usage: TokenUsage | null
  /** As the vendor called it. */
  readonly model: string | null
  readonly modelId: string
  /** What its response said was left out of the request, but for hints, which differ from client to client; null: nothing. */
  readonly dropped: string | null
  /** What its response said was lowered; null: nothing. */
  readonly capped: string | null
  /** When the request came in that it answered. */
  readonly bornAtMs: number
  /** Of the prompt: what decides how long it is fresh. Empty where that is to be seen when the very same is asked again. */
  readonly classes: readonly string[]
  readonly keptSeconds: number
  readonly origin: KeptOrigin
  /** What the user said last; null where the cache does not look for what means the same. */
  readonly question: string | null
}

/** A kept answer and how it was found. */
export interface FoundAnswer {
  readonly kept: KeptAnswer
  /** Null: the very same was asked; otherwise how close the question is that it answered. */
  readonly similarity: number | null
}

/** What a purge names. */
export interface KeptOrigin {
  readonly tenantId: string
  readonly environmentId: string
  readonly routeId: string
  readonly promptId: string | null
  readonly promptVersion: string | null
  readonly tags: readonly string[]
  readonly documents: readonly string[]
}

/** Bytes of memory beside the answer itself and its texts: the objects around them. */
const overheadBytes = 768
/** Of a text beside its characters. */
const textOverheadBytes = 24

/** Bytes of memory that it takes, rather more than less. `heldBytes`: of the memory that its bytes stand in. */
export function sizeOf(kept: KeptAnswer, heldBytes = heldBytesOf(kept.bytes)): number {
  const { question, model, modelId, dropped, capped, classes, origin } = kept
  const { tenantId, environmentId, routeId, promptId, promptVersion, tags, documents } = origin
  return (
    overheadBytes +
    heldBytes +
    textSizeOf(question) +
    textSizeOf(model) +
    textSizeOf(modelId) +
    textSizeOf(dropped) +
    textSizeOf(capped) +
    textSizeOf(tenantId) +
    textSizeOf(environmentId) +
    textSizeOf(routeId) +
    textSizeOf(promptId) +
    textSizeOf(promptVersion) +
    listSizeOf(classes) +
    listSizeOf(tags) +
    listSizeOf(documents)
  )
}

function textSizeOf(text: string | null): number {
  return text === null ? 0 : textOverheadBytes + text.length * 2
}

function listSizeOf(texts: readonly string[]): number {
  let size = 0
  for (const text of texts) size += textSizeOf(text)
  return size
}
