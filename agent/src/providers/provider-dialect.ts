import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { ProviderTable, TargetTable } from '../../../proto/policy/tables.js'
import type { Members } from './json-members.js'

export type Operation = 'chat_completions' | 'embeddings' | 'models'
/** Operations that go upstream. */
export type UpstreamOperation = Exclude<Operation, 'models'>

/** A client's body, parsed once; its bytes stay as they came. */
export interface RequestBody {
  readonly bytes: Buffer
  readonly members: Members
  readonly model: string
  readonly stream: boolean
  /** The client asked for the usage chunk itself. */
  readonly wantsUsage: boolean
  /** The client asked for usage in every chunk itself. */
  readonly wantsContinuousUsage: boolean
  readonly user: string | null
  readonly temperature: number | null
  /** Parsed `messages` or `input`: read again only to count tokens that no provider told. */
  readonly prompt: unknown
}

/**
 * How much an upstream tells about the tokens of a stream: `none` (refuses to be asked), `final` (one usage chunk at the
 * end), `continuous` (also a running total in every chunk, so that an aborted stream is known exactly).
 */
export type UsageDepth = 'none' | 'final' | 'continuous'

export interface StreamReaderOptions {
  readonly depth: UsageDepth
  readonly wantsUsage: boolean
  readonly wantsContinuousUsage: boolean
}

/** Reads one streamed answer as it passes. One per stream; holds less than one event plus what it counts. */
export interface StreamReader {
  /** Takes the next bytes, gives those to send on: whole events only, the client's own view. Null: nothing yet. */
  push(chunk: Buffer): Buffer | null
  /** A first event with data has passed. */
  readonly started: boolean
  /** The terminal event has passed; its bytes wait in `tail`. */
  readonly done: boolean
  /** A choice gave its finish reason, so an end without a terminal event is not a truncated stream. */
  readonly finished: boolean
  /** The terminal event as received, to be sent once the record is closed. */
  readonly tail: Buffer | null
  /** Message of an error event, once one passed. */
  readonly error: string | null
  /** Something that is not the protocol passed (or an event above the bound). */
  readonly malformed: boolean
  /** The newest total that the provider told. */
  readonly usage: TokenUsage | null
  readonly model: string | null
  /** What the client was sent as text while no usage was told; for counting. */
  deliveredText(): string
  /** The upstream ended: gives what is left to send on, a last event without its empty line included. */
  end(): Buffer | null
}

export interface Answer {
  readonly usage: TokenUsage | null
  readonly model: string | null
}

/** One kind of upstream wire. Everything in it is a function of its arguments. */
export interface ProviderDialect {
  path(provider: ProviderTable, operation: UpstreamOperation): string
  /** Flat name, value list. `secret` null when the provider wants none. */
  headers(secret: string | null, stream: boolean): string[]
  body(body: RequestBody, target: TargetTable, depth: UsageDepth): Buffer
  /** Usage and model of a whole answer; null when it is not an answer of this dialect. */
  readAnswer(bytes: Buffer): Answer | null
  streamReader(options: StreamReaderOptions): StreamReader
  /** What to ask for first. */
  usageDepth(provider: ProviderTable): UsageDepth
  /** Whether a 400 or 422 with this body refuses the way we asked for usage, so that asking for less may succeed. */
  refusesUsageDepth(status: number, body: Buffer): boolean
}
