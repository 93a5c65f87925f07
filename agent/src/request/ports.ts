import type { Span } from '../../../proto/gen/switchyard/v1/Span.js'
import type { UsageRecord } from '../../../proto/gen/switchyard/v1/UsageRecord.js'
import type { ApiKeyTable, DecisionTables, RouteTable } from '../../../proto/policy/tables.js'
import type { Refusal } from '../../../proto/std/refusal.js'
import type { ChatAnswer } from '../conversation/chat-answer.js'
import type { ChatStreamWriter } from '../conversation/chat-event.js'
import type { Conversation } from '../conversation/conversation.js'
import type { EmbeddingAnswer, EmbeddingRequest } from '../conversation/embedding.js'
import type { FieldRefusalCode } from '../conversation/fields.js'
import type { Operation, ProviderSecret, RequestBody } from '../providers/provider-dialect.js'
import type { RequestRefusal } from './request-refusal.js'

/** What the request path borrows from the other rooms, as it needs it; their classes fit without knowing this file. */

/** `config/decision-tables`. */
export interface TablesSource {
  readonly current: DecisionTables | null
  onSwap(listener: (next: DecisionTables) => void): unknown
}

/** `config/credential-vault`: memory only. Null: not here (yet). */
export interface CredentialSource {
  get(credentialId: string, version: number): ProviderSecret | null
  /** The upstream said that this credential is not valid: the fleet shows it; it is still tried. */
  reportRejected(credentialId: string, version: number): void
  /** The upstream took it. */
  reportAccepted(credentialId: string, version: number): void
}

/**
 * `usage/meter`. Synchronous, never throws, never waits for disk; frames of one turn of the event loop may go to the file
 * together, and `written` tells when. `open` before the first byte goes upstream, `close` (once,
 * with what `open` gave) before the last byte goes to the client, `record` for what was refused before anything went
 * upstream. The record is filled in place between the two and not touched after `close`; who asked, for which route and
 * model, is settled before `open` and stays.
 */
export interface UsageMeter {
  readonly accepting: boolean
  open(facts: UsageRecord): unknown
  close(open: unknown, record: UsageRecord): void
  record(record: UsageRecord): void
  span(span: Span): void
  /** Resolves when everything up to now is in the file; null when it already is. */
  written(): Promise<void> | null
}

/** What a response says about itself besides its body. Filled as it becomes known, written once. */
export interface ResponseHead {
  requestId: string
  traceparent: string
  /** Fit for a header, like `target`. */
  route: string | null
  /** `provider/model`. */
  target: string | null
  /** 1 is the first hop. */
  hop: number
  /** Outcome of the hop before, when this is not the first. */
  fallbackReason: string | null
  retryAfterSeconds: number | null
  /** What was left out because the target's vendor has no word for it; null for nothing. */
  dropped: string | null
  /** Fields that asked for more than the target gives and were lowered to that; null for none. */
  capped: string | null
  /** Every target failed, and this is what the client gets all the same; null: it is an answer of a target. */
  lastResort: string | null
  /** What the cache says of the answer: flat names and values. */
  cache: readonly string[]
}

/** What is asked for when every target of a route failed. */
export interface FallbackQuestion {
  readonly key: ApiKeyTable
  readonly route: RouteTable
  readonly operation: Operation
  readonly body: RequestBody
  /** What the body says, where its door can read it as a conversation. */
  readonly conversation: Conversation | null
  /** Older ones are of no use. */
  readonly ageMaxSeconds: number
}

export interface FallbackAnswer {
  readonly answer: ChatAnswer
  readonly ageSeconds: number
}

/**
 * `cache`: an earlier answer to the very same request, given where no target gives a new one. It may say what only this
 * tenant, and whoever it shares answers with, may read, as any of its hits. Answers at once or within the few milliseconds
 * that a shared store has. Never rejects.
 */
export interface FallbackAnswers {
  find(question: FallbackQuestion): FallbackAnswer | null | Promise<FallbackAnswer | null>
}

/** Of an agent that keeps no answers. */
export const noFallbackAnswers: FallbackAnswers = Object.freeze({ find: () => null })

/** What a door says about itself: how its requests are read, and its answers and refusals written. */
export interface Door {
  readonly operation: Operation
  /** One parse of a body: enough to decide, or a refusal that names the field. Not called where there is no body. */
  parse(bytes: Buffer): RequestBody | RequestRefusal
  /** The body of an error, in the words of this door's clients. `status` is what the client is sent. */
  errorBody(refusal: RequestRefusal, status: number): string
  /** What a stream that had begun ends with when it breaks. */
  errorEvent(refusal: RequestRefusal): string
  /** Null: what it asks for is no conversation. */
  readonly conversation: ConversationDoor | null
  /** Only of a door for embeddings. */
  readonly embeddings?: EmbeddingsDoor
  /** Only of a door that lists models. */
  readonly models?: ModelsWriter
}

export interface EmbeddingsDoor {
  /** Reads all of it, strictly. */
  read(body: RequestBody): EmbeddingRequest | Refusal<FieldRefusalCode>
  /** `model` is for where the vendor does not say. */
  writeAnswer(answer: EmbeddingAnswer, request: EmbeddingRequest, model: string): string
}

export interface ModelsWriter {
  /** All that a key may use, in one piece: none of our lists has a second page. */
  list(routes: readonly RouteTable[]): string
  one(route: RouteTable): string
}

export interface ConversationDoor {
  /** Reads all of it, strictly. */
  read(body: RequestBody): Conversation | Refusal<FieldRefusalCode>
  /** Null where this door has no place for something in the answer. */
  writeAnswer(answer: ChatAnswer, context: AnswerContext): string | null
  streamWriter(context: AnswerContext): ChatStreamWriter
}

/** What an answer says besides what the vendor said. */
export interface AnswerContext {
  readonly requestId: string
  readonly createdAtSeconds: number
  /** For where the vendor does not say. */
  readonly model: string
  /** The client asked for a stream's usage. */
  readonly wantsUsage: boolean
  /** What was asked: some answers repeat it. */
  readonly body: RequestBody
}

/**
 * One request of one client, as the door sees it. Exactly one of `refuse`, `answer` and `startStream` is called, once;
 * after `startStream` any number of `write` and one `endStream`. Calls after the client has gone are harmless.
 */
export interface ClientCall {
  readonly door: Door
  /** Last part of the path of `GET /v1/models/{id}`. */
  readonly parameter: string | null
  /** On the monotonic clock, when the head was read. */
  readonly startedUs: number
  readonly startedAtMs: number
  readonly gone: boolean
  header(name: string): string | undefined
  /** Reads and parses the body within the limits; to be called once. */
  readBody(): Promise<RequestBody | RequestRefusal>
  /** Calls `listener` once if the client leaves before its response is complete. */
  onGone(listener: () => void): void
  refuse(refusal: RequestRefusal, head: ResponseHead): void
  answer(status: number, contentType: string, body: Buffer | string, head: ResponseHead): void
  startStream(head: ResponseHead): void
  /** False: wait for `onDrain` before more. */
  write(bytes: Buffer): boolean
  onDrain(listener: () => void): void
  endStream(tail: Buffer | string | null): void
  /** Ends the connection without an answer. */
  destroy(): void
}
