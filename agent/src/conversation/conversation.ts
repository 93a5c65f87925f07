import type { JsonObject } from './json-object.js'
import type { LossList } from './losses.js'

/**
 * A request for one answer, in no vendor's words: what the doors read and the providers write. It holds what at least two
 * vendors can say; what only one can stays in the bytes of a request that goes to that vendor untranslated, and is a
 * *loss* on the way to any other.
 *
 * Readers make it regular, so that writers need not be clever: neighbouring turns of one role are one turn, tool results
 * stand in the user's turn before what the user says, and nothing is empty.
 */
export interface Conversation {
  /** Instructions before the first turn, in order. */
  readonly system: readonly TextPart[]
  /** Empty only where what was lost stands in the way anyhow. */
  readonly turns: readonly Turn[]
  readonly tools: readonly Tool[]
  /** Null: the client said nothing. */
  readonly toolChoice: ToolChoice | null
  /** Null: the client said nothing. */
  readonly parallelToolCalls: boolean | null
  /** Null: text. */
  readonly answerFormat: AnswerFormat | null
  readonly settings: Settings
  readonly reasoning: Reasoning | null
  /** Whom the client serves, opaque. */
  readonly user: string | null
  readonly stream: boolean
  /** What the client's own words call the parts above, for losses and refusals. */
  readonly names: FieldNames
  /** What the client gave that no other language has a word for. */
  readonly losses: LossList
}

export type Turn = UserTurn | AssistantTurn | SystemTurn

export interface UserTurn {
  readonly role: 'user'
  readonly at: string
  readonly parts: readonly UserPart[]
}

export interface AssistantTurn {
  readonly role: 'assistant'
  readonly at: string
  readonly parts: readonly AssistantPart[]
}

/** Instructions in the middle of a conversation. */
export interface SystemTurn {
  readonly role: 'system'
  readonly at: string
  readonly parts: readonly TextPart[]
}

export type UserPart = TextPart | ImagePart | DocumentPart | ToolResultPart
export type AssistantPart = TextPart | ReasoningPart | ToolCallPart

/** Each part knows where it stands in the client's body (`messages[2].content[0]`), for whoever cannot express it. */
export interface TextPart {
  readonly type: 'text'
  readonly at: string
  readonly text: string
}

export interface ImagePart {
  readonly type: 'image'
  readonly at: string
  readonly source: BytesSource | UrlSource
  /** OpenAI's `detail`: how closely to look. */
  readonly detail: string | null
}

/** A PDF. */
export interface DocumentPart {
  readonly type: 'document'
  readonly at: string
  readonly source: BytesSource | UrlSource
  readonly name: string | null
}

export interface BytesSource {
  readonly kind: 'base64'
  /** For example `image/png`. */
  readonly mediaType: string
  readonly data: string
}

export interface UrlSource {
  readonly kind: 'url'
  readonly url: string
}

export interface ToolResultPart {
  readonly type: 'tool_result'
  readonly at: string
  readonly callId: string
  readonly parts: readonly (TextPart | ImagePart)[]
  readonly isError: boolean
}

export interface ToolCallPart {
  readonly type: 'tool_call'
  readonly at: string
  readonly id: string
  readonly name: string
  /** JSON as the model wrote it; in a request always an object. */
  readonly argumentsText: string
}

/** What a model thought. Its vendor wants it back as it was (`signature`); to any other it means nothing. */
export interface ReasoningPart {
  readonly type: 'reasoning'
  readonly at: string
  readonly text: string
  readonly signature: string | null
  /** Encrypted by the vendor; `text` is then empty. */
  readonly redacted: string | null
}

export interface Tool {
  readonly at: string
  readonly name: string
  readonly description: string | null
  /** JSON Schema of its arguments; null: it takes none. */
  readonly parameters: JsonObject | null
  /** The vendor is to guarantee that arguments fit the schema; null: the client said nothing. */
  readonly strict: boolean | null
}

export type ToolChoice =
  | { readonly type: 'auto' | 'none' | 'required' }
  | { readonly type: 'tool'; readonly name: string }

export type AnswerFormat =
  | { readonly type: 'json' }
  | {
      readonly type: 'schema'
      readonly name: string
      readonly description: string | null
      readonly schema: JsonObject
      readonly strict: boolean | null
    }

/** Null: the client said nothing. */
export interface Settings {
  readonly outputTokensMax: number | null
  /** 0..2, as OpenAI counts. */
  readonly temperature: number | null
  readonly topP: number | null
  readonly topK: number | null
  readonly stop: readonly string[]
  readonly seed: number | null
  readonly frequencyPenalty: number | null
  readonly presencePenalty: number | null
  /** Log probabilities wanted: of so many alternatives per token, 0 for the chosen one only. */
  readonly logprobs: number | null
}

export const reasoningEfforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const
export type ReasoningEffort = (typeof reasoningEfforts)[number]

/** How much to think, in the words that were given; a vendor that uses the other measure converts. */
export interface Reasoning {
  readonly effort: ReasoningEffort | null
  readonly budgetTokens: number | null
}

/** What the client's own words call each member: every door gives its own. */
export interface FieldNames {
  readonly system: string
  readonly tools: string
  readonly toolChoice: string
  readonly parallelToolCalls: string
  readonly answerFormat: string
  readonly outputTokensMax: string
  readonly temperature: string
  readonly topP: string
  readonly topK: string
  readonly stop: string
  readonly seed: string
  readonly frequencyPenalty: string
  readonly presencePenalty: string
  readonly logprobs: string
  readonly reasoning: string
  readonly user: string
}

/** Tokens of thinking that an effort stands for where a vendor counts tokens; 0 for none. After LiteLLM's published table, doubled. */
export function budgetOfEffort(effort: ReasoningEffort): number {
  switch (effort) {
    case 'none':
      return 0
    case 'minimal':
    case 'low':
      return 2_048
    case 'medium':
      return 8_192
    case 'high':
      return 16_384
    default:
      return 32_768
  }
}

/** The effort that a budget of thinking tokens stands for where a vendor has words. */
export function effortOfBudget(tokens: number): ReasoningEffort {
  if (tokens <= 0) return 'none'
  if (tokens <= 2_048) return 'low'
  return tokens <= 8_192 ? 'medium' : 'high'
}
