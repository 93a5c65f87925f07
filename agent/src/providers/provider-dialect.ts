import type { TokenUsage } from '../../../proto/policy/price-usage.js'
import type { ProviderTable, TargetTable } from '../../../proto/policy/tables.js'
import type { ChatAnswer } from '../conversation/chat-answer.js'
import type { ChatEventReader } from '../conversation/chat-event.js'
import type { Conversation } from '../conversation/conversation.js'
import type { EmbeddingAnswer, EmbeddingRequest } from '../conversation/embedding.js'
import type { JsonObject } from '../conversation/json-object.js'
import type { Losses } from '../conversation/losses.js'
import type { Members } from './json-members.js'

/** What a client asks for: one per door. */
export type Operation =
  | 'chat_completions'
  | 'completions'
  | 'responses'
  | 'embeddings'
  | 'messages'
  | 'count_tokens'
  | 'models'
/** Operations that go upstream. */
export type UpstreamOperation = Exclude<Operation, 'models'>

/** A client's body, parsed once; its bytes stay as they came. */
export interface RequestBody {
  readonly bytes: Buffer
  readonly members: Members
  /** What was parsed, read again only to translate it. */
  readonly fields: Readonly<Record<string, unknown>>
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
  /** What the upstream calls a stream in `content-type`; anything else is a whole answer. */
  readonly contentType: string
  /** Takes the next bytes, gives those to send on: whole events only, the client's own view. Null: nothing yet. */
  push(chunk: Buffer): Buffer | null
  /** What `push` gave last is events like one that it gave before, but for the text they bring. Left out: it cannot tell. */
  readonly alike?: boolean
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
  /** All of it, where it had to be parsed for that. */
  readonly parsed?: JsonObject | null
}

/** Where an operation is found at a provider, and what its requests say besides who asks. */
export interface Endpoint {
  /** Path and query of the call. */
  path(target: TargetTable, stream: boolean): string
  /** Flat name, value list, without credentials. */
  headers(stream: boolean): string[]
}

/**
 * An operation whose wire is the client's own: bytes go on as they came, both ways, except for the model's name and what
 * is asked about usage.
 */
export interface NativeWire extends Endpoint {
  /** Absent: all providers of the kind. Where it says no, the operation is translated. */
  readonly serves?: (provider: ProviderTable) => boolean
  /** The client's headers that go on: versions and betas of the wire, never credentials. */
  readonly passedHeaders: readonly string[]
  body(body: RequestBody, target: TargetTable, depth: UsageDepth): Buffer
  /** Usage and model of a whole answer; null when it is not an answer of this wire. */
  readAnswer(bytes: Buffer): Answer | null
  /** Null where the operation has no streams. */
  readonly streamReader: ((options: StreamReaderOptions) => StreamReader) | null
}

/** Through which the conversation of any door goes: written and read in the vendor's words. */
export interface ChatWire extends Endpoint {
  /** The request's body; whatever it cannot say goes to `losses`, and what it can goes into the bytes all the same. */
  write(conversation: Conversation, target: TargetTable, depth: UsageDepth, losses: Losses): Buffer
  /** Null when the bytes are not an answer of this wire. */
  readAnswer(bytes: Buffer, conversation: Conversation): ChatAnswer | null
  /** What the upstream calls a stream in `content-type`. */
  readonly streamContentType: string
  eventReader(conversation: Conversation): ChatEventReader
  /** What an error body says, for the client; null when it says nothing that can be read. */
  readError(bytes: Buffer): string | null
}

/** Through which embeddings go where the vendor's wire is not the client's own. Never streamed. */
export interface EmbeddingsWire extends Endpoint {
  /** The request's body; whatever it cannot say goes to `losses`, and what it can goes into the bytes all the same. */
  write(request: EmbeddingRequest, target: TargetTable, losses: Losses): Buffer
  /** Null when the bytes are not an answer of this wire, or not one vector for each input, of all of it. */
  readAnswer(bytes: Buffer, request: EmbeddingRequest): EmbeddingAnswer | null
  /** What an error body says, for the client; null when it says nothing that can be read. */
  readError(bytes: Buffer): string | null
}

/**
 * Through which the tokens of a conversation are counted at an address beside the API, where no wire of the client's own
 * counts them. Never streamed. Its servers may lack it, and say so.
 */
export interface CountWire extends Endpoint {
  /** Whether providers like this may have it. */
  serves(provider: ProviderTable): boolean
  /** The request's body; whatever it cannot say goes to `losses`. */
  write(conversation: Conversation, target: TargetTable, losses: Losses): Buffer
  /** Null when the bytes tell no count. */
  readAnswer(bytes: Buffer): number | null
}

/** Who we are to a provider: a text, or the identity of the machine that the agent runs on. */
export type ProviderSecret = string | AmbientIdentity

export interface AmbientIdentity {
  readonly ambient: 'aws' | 'azure' | 'google'
}

/** A request as it goes out, for signing. */
export interface OutgoingCall {
  readonly provider: ProviderTable
  readonly path: string
  /** Flat name, value list. */
  readonly headers: readonly string[]
  readonly body: Buffer
  /** Longest that asking somebody else who we are may take, milliseconds. */
  readonly timeoutMs: number
}

/** Why a call could not be authorised: the vendor said no to the credential, or could not be asked. */
export interface AuthorizationFault {
  readonly fault: 'rejected' | 'unavailable'
  /** For the operator's log; never for a client. */
  readonly message: string
}

/** Headers to add to a call, flat; at once where nothing has to be asked or computed elsewhere. */
export type Authorization = readonly string[] | AuthorizationFault

/** One kind of upstream. */
export interface ProviderDialect {
  /** By operation; one that is not named is translated: a conversation through `chat`, embeddings through `embeddings`. */
  readonly native: Readonly<Partial<Record<UpstreamOperation, NativeWire>>>
  /** Null: serves no conversations but native ones. */
  readonly chat: ChatWire | null
  /** Null: serves no embeddings but native ones. */
  readonly embeddings: EmbeddingsWire | null
  /** Left out: counts no conversations but native ones. */
  readonly count?: CountWire
  /** `secret` null when the provider wants none. Never rejects, never throws. */
  authorize(call: OutgoingCall, secret: ProviderSecret | null): Authorization | Promise<Authorization>
  /** The provider refused a call that `authorize` had authorised: what was exchanged for the credential is not used again. */
  readonly forgetAuthorization?: (provider: ProviderTable) => void
  /** What to ask for first. */
  usageDepth(provider: ProviderTable): UsageDepth
  /** Whether a 400 or 422 with this body refuses the way we asked for usage, so that asking for less may succeed. */
  refusesUsageDepth(status: number, body: Buffer): boolean
}
